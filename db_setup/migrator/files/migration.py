"""A migration: one .sql file and what its name says. Pure.

The rules of names are in db_setup/README.md, "Files and numbers".
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

Number = tuple[int, ...]
_SUFFIX = ".sql"
DOWN_SUFFIX = ".down.sql"
CHECK_SUFFIX = ".check.sql"
REPEATABLE = "repeatable/"
"""What the names of repeatable files begin with."""
_COMPANIONS = (DOWN_SUFFIX, CHECK_SUFFIX)
_UP = ".up"  # what other tools put before .sql where there is a .down.sql


class Migration(NamedTuple):
    """A file of the migrations folder: its name, path, SHA-256 of the normalised text, and size in bytes.

    ``down`` and ``check`` are the paths of its down migration and its check, empty where it has none; ``environments``
    those that it is for, none where it is for all. ``forward_only`` says that its first line overrules what name and
    marks say; ``marked`` that it has a line like the mark with which another tool begins a down migration.
    """

    name: str
    path: str
    checksum: str
    size: int
    down: str = ""
    check: str = ""
    environments: tuple[str, ...] = ()
    forward_only: bool = False
    marked: bool = False

    @property
    def number(self) -> Number | None:
        """Return the number the file name begins with, or None for an unnumbered file."""
        return number_of(self.name)


@cache
def _grammar() -> re.Pattern[str]:
    """Return the pattern of a file name's number; compiled late, since a run with nothing to do needs none."""
    return re.compile(
        r"(?:[Vv](?P<version>[0-9]+(?:[._][0-9]+)*)(?=__|[_.-]|$)"  # V1_2__name, V13.1__name
        r"|(?P<date>[0-9]{4}[-_][0-9]{2}[-_][0-9]{2}(?:[-_][0-9]{4,6})?)"  # 2017-09-23-182408_name
        r"|(?P<plain>[0-9]+(?:(?:\.[0-9]+)+(?:_[0-9]{1,3}(?=_))?)?))"  # 003_name, 1.2-name, 1.2.0_01_name
        r"(?:[-_. ]+|$)"
    )


def is_migration(file_name: str) -> bool:
    """Return whether a file name is a migration's: it ends in .sql, is not hidden, no down migration, no check."""
    if not file_name.endswith(_SUFFIX) or file_name.startswith("."):
        return False
    return not file_name.lower().endswith(_COMPANIONS)


def down_name(file_name: str) -> str:
    """Return the name of a file's down migration."""
    return _bare(file_name) + DOWN_SUFFIX


def check_name(file_name: str) -> str:
    """Return the name of a file's check."""
    return _bare(file_name) + CHECK_SUFFIX


def _bare(file_name: str) -> str:
    return file_name.removesuffix(_SUFFIX).removesuffix(_UP)


def looks_like_a_mistake(file_name: str) -> bool:
    """Return whether somebody may believe that a file is run although it is not (003_x.SQL, 003_x.sql.txt)."""
    lower = file_name.lower()
    misspelt = lower.endswith(_COMPANIONS) and not file_name.endswith(_COMPANIONS)
    return ".sql" in lower and not file_name.startswith(".") and (misspelt or not file_name.endswith(_SUFFIX))


@cache
def split_name(file_name: str) -> tuple[str, str]:
    """Return the number as it is spelled ("003", "" when there is none) and the rest of the name."""
    stem = file_name.rpartition("/")[2].removesuffix(_SUFFIX)
    match = _grammar().match(stem)
    if match is None:
        return "", stem
    return match["version"] or match["date"] or match["plain"], stem[match.end() :]


@cache
def number_of(file_name: str) -> Number | None:
    """Return the number of a file name in comparable form, or None when it has none."""
    text, _ = split_name(file_name)
    return parse_number(text) if text else None


@cache
def parse_number(text: str) -> Number:
    """Return a spelled number in comparable form: "003" and "3" are equal, "1_10" comes after "1.9"."""
    if text.isdecimal():  # nearly always, and ten times as fast
        return (int(text),)
    parts = [int(part) for part in re.findall("[0-9]+", text)]
    while len(parts) > 1 and parts[-1] == 0:
        parts.pop()
    return tuple(parts)
