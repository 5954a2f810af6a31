"""Adoption: finding out which files are applied to a database that has tables and no history, and recording that.

What is recorded is proven, by the history of another tool or by the search in a scratch database, or it is a baseline,
which the user names. It is recorded whole or not at all.
May import drift and what that may import.
"""

from __future__ import annotations

from migrator.adoption.adoption import (
    ADOPTED,
    BASELINE,
    IMPORTED,
    Adoption,
    find_applied,
    record_adoption,
)
from migrator.adoption.baseline import baseline
from migrator.adoption.imported import find_unapplied

__all__ = [
    "ADOPTED",
    "BASELINE",
    "IMPORTED",
    "Adoption",
    "baseline",
    "find_applied",
    "find_unapplied",
    "record_adoption",
]
