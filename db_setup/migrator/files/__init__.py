"""The migrations folder: names, numbers and checksums of its files, their companions and their environments.

It only reads: a file for its checksum, piece by piece, and nothing of its SQL. Imports errors and formatting only,
since a deploy with nothing to do loads this and not the lexer. ``files.directives`` is imported from its module, late,
by those who have found a directive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from migrator.files.folder import Folder, checksum, default_path, read_folder
from migrator.files.migration import (
    REPEATABLE,
    Migration,
    Number,
    check_name,
    down_name,
    is_migration,
    number_of,
    parse_number,
    split_name,
)

if TYPE_CHECKING:
    from migrator.files import directives

__all__ = [
    "REPEATABLE",
    "Folder",
    "Migration",
    "Number",
    "check_name",
    "checksum",
    "default_path",
    "directives",
    "down_name",
    "is_migration",
    "number_of",
    "parse_number",
    "read_folder",
    "split_name",
]
