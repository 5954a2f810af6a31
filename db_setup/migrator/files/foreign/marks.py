"""The marks with which other tools divide a file into migration and down migration, in the spellings they accept. Pure.

Imported late, for files that have one of the words in them. A mark is a comment line; whether a line is a comment, and
whether a statement follows, is for ``scripts.down_section`` to find out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple


class _Family(NamedTuple):
    """Marks that belong together, as patterns of what follows ``--``: a down part goes on to the next mark for up.

    ``divides`` says that a mark means something only after a migration, or before a mark for up: above both, it may be
    the head of a comment such as "Rollback:", with the statement in the lines below it.
    """

    tool: str
    down: str
    up: str = ""
    divides: bool = False


# No two neighbours take the same characters, so that a long line costs no more than its length.
_GAP = r"[- \t]*"
_ANY = r"[^\r\n]*"
_SIGNS = r"(?:[^\w\r\n]|_)*"
_END = rf"{_SIGNS}(?=[\r\n]|\Z)"
_FAMILIES = (
    # Its own expression is ^\s*--[\s-]*down\s+migration, whatever stands behind; without a mark for up, it runs all.
    _Family("node-pg-migrate", rf"{_GAP}down[ \t]+migration", rf"{_GAP}up[ \t]+migration", divides=True),
    # goose takes all "--" and one "+goose" out of the line; sql-migrate and micrate want their word first.
    _Family(
        "goose, sql-migrate",
        rf"{_GAP}\+[ \t]*(?:\w+[- \t:]+)?down\b|{_GAP}down{_GAP}\+goose\b",
        rf"{_GAP}\+[ \t]*(?:\w+[- \t:]+)?up\b|{_GAP}up{_GAP}\+goose\b",
    ),
    _Family(
        "dbmate", rf"{_GAP}migrat(?:e|ions?)[ \t]*:[ \t]*down\b", rf"{_GAP}migrat(?:e|ions?)[ \t]*:[ \t]*up\b"
    ),
    _Family("tern", rf"{_ANY}create above[ \t]*/[ \t]*drop below"),
    _Family("MyBatis Migrations", rf"{_GAP}//{_ANY}(?-i:@UNDO)|{_GAP}(?:/+[ \t]*)?@undo\b"),
    _Family("Play evolutions", rf"{_ANY}(?-i:!Downs)", rf"{_ANY}(?-i:!Ups)"),
    _Family("Mojo::Pg", rf"{_GAP}[0-9]+[ \t]*down\b", rf"{_GAP}[0-9]+[ \t]*up\b"),
    _Family("rambler", rf"{_GAP}rambler[ \t]+down\b", rf"{_GAP}rambler[ \t]+up\b"),
    # One word with signs around it, as in "-- DOWN", "--;; down", "-- @down {", "-- ==== DOWN ====", "-- Rollback:".
    _Family(
        "several tools",
        rf"{_SIGNS}(?:downs?|downgrade|undo|roll ?back|revert){_END}"
        rf"|{_GAP}[@#!:%;]+[ \t]*down\b"
        rf"|{_GAP}down[ \t]*(?:[:(\[{{]|[-=]+[ \t])"
        rf"|{_GAP}down[ \t]+(?:script|sql|section|part|step|statements?)\b"
        rf"|{_GAP}migrat(?:e|ions?)[ \t]+down{_END}"
        rf"|{_GAP}(?:undo|roll ?back|revert|downgrade)[ \t]+(?:migration|script|sql|section|part|statements?){_END}",
        rf"{_SIGNS}(?:ups?|upgrade|do|apply|forward){_END}"
        rf"|{_GAP}changeset\b"  # Liquibase, whose "--rollback" may be empty
        rf"|{_GAP}[@#!:%;]+[ \t]*up\b"
        rf"|{_GAP}up[ \t]*(?:[:(\[{{]|[-=]+[ \t])"
        rf"|{_GAP}up[ \t]+(?:script|sql|section|part|step|statements?)\b"
        rf"|{_GAP}migrat(?:e|ions?)[ \t]+up{_END}",
        divides=True,
    ),
)  # fmt: skip
_LINE = r"(?:^|(?<=\r))[ \t\f\v#]*"  # Play once began its lines with #


@cache
def _down_line() -> re.Pattern[bytes]:
    downs = "|".join(family.down for family in _FAMILIES)
    return re.compile(rf"{_LINE}--(?:{downs})".encode(), re.IGNORECASE | re.MULTILINE)


def has_down_line(text: bytes) -> bool:
    """Return whether a text has a line like a mark for a down part, be it a comment or not."""
    return _down_line().search(text) is not None


class Mark(NamedTuple):
    """A mark: the tool or tools that it is known from, which family it is of, whether it is for a down part.

    ``start`` is the offset of its comment, ``text`` the comment; ``divides`` is as for the family.
    """

    tool: str
    family: int
    divides: bool
    down: bool
    start: int
    text: str


@cache
def _mark_line() -> re.Pattern[str]:
    ways = [f"(?P<d{n}>{family.down})" for n, family in enumerate(_FAMILIES)]
    ways += [f"(?P<u{n}>{family.up})" for n, family in enumerate(_FAMILIES) if family.up]
    flags = re.IGNORECASE | re.MULTILINE | re.ASCII
    return re.compile(rf"{_LINE}(?P<comment>--(?:{'|'.join(ways)})[^\r\n]*)", flags)


def marks_in(text: str, start: int, end: int) -> Iterator[Mark]:
    """Yield the marks between two places of a text, the first of which may be behind the indentation of its line."""
    line = max(text.rfind("\n", 0, start), text.rfind("\r", 0, start)) + 1
    for found in _mark_line().finditer(text, line, end):
        way = next(name for name, part in found.groupdict().items() if part is not None and name != "comment")
        family = int(way[1:])
        tool, _, _, divides = _FAMILIES[family]
        yield Mark(tool, family, divides, way[0] == "d", found.start("comment"), found["comment"].rstrip())
