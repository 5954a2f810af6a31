"""SQL text into statements, as psql cuts them, and what a statement does.

A statement's text is a piece of the file as it stands, so places in the one are places in the other; a large file is
read piece by piece. Imports errors and formatting only. ``sql.effects`` is imported from its module, by those who ask
what a statement does outside its transaction: a deploy does not need it. So are ``sql.relation_names`` and
``sql.mentions``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from migrator.sql.classify import Kind, contains_any, first_code, without_comments
from migrator.sql.decode import read_text
from migrator.sql.statements import Statement, sets_reading, split, split_chunks

if TYPE_CHECKING:
    from migrator.sql import effects, mentions, relation_names

__all__ = [
    "Kind",
    "Statement",
    "contains_any",
    "effects",
    "first_code",
    "mentions",
    "read_text",
    "relation_names",
    "sets_reading",
    "split",
    "split_chunks",
    "without_comments",
]
