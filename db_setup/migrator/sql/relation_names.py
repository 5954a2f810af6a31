"""The relations that the text of a statement names or makes. Pure.

A name is that of a table, view or sequence, with its schema or without, as the server reads it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from migrator.formatting import quoted
from migrator.sql.classify import Kind, first_code, without_comments
from migrator.sql.statements import Statement

_RESERVED = r"(?:full|freeze|verbose|analyze|analyse|only|concurrently)\b"  # no name of a table, unless in quotes
_UESCAPE = r"(?:\s+uescape\s+'.')?"
NAME = rf'(?:u&"(?:[^"]|"")+"{_UESCAPE}|"(?:[^"]|"")+"|(?!{_RESERVED})[^\s".(),;*]+)'
TABLE = rf"{NAME}(?:\s*\.\s*{NAME})*"
"""Patterns of a name, and of one that may have a schema; to be used with re.IGNORECASE."""

_LONGEST = 63  # bytes; the server cuts what is longer
_EACH = re.compile(NAME, re.IGNORECASE)
_ESCAPED = re.compile(r"u&\"((?:[^\"]|\"\")+)\"(?:\s+uescape\s+'(.)')?", re.IGNORECASE)
_CREATE = (
    r"create\s+(?:or\s+replace\s+)?(?:(?:unlogged|foreign|materialized|recursive)\s+)*(?:table|view|sequence)\s+"
    rf"(?P<kept>if\s+not\s+exists\s+)?(?P<name>{TABLE})"
)
_RENAME = (
    r"alter\s+(?:(?:foreign|materialized)\s+)?(?:table|view|sequence)\s+(?:if\s+exists\s+)?(?:only\s+)?"
    rf"{TABLE}\s*\*?\s*rename\s+to\s+(?P<name>{NAME})"
)
_INTO = rf"(?:insert|merge)\s+into\b|into\s+(?:(?:unlogged|table)\s+)*(?P<name>{TABLE})"
_CREATED, _CREATED_WITHIN, _RENAMED, _RENAMED_WITHIN, _SELECTED = (
    re.compile(pattern, re.IGNORECASE)
    for pattern in (rf"\s*{_CREATE}", rf"\b{_CREATE}", rf"\s*{_RENAME}", rf"\b{_RENAME}", rf"\b(?:{_INTO})")
)
_QUERY = re.compile(r"(?:select|with)\b", re.IGNORECASE)


def relations_made(statements: Iterable[Statement]) -> frozenset[str]:
    """Return the names, without schemas, that a text gives to tables, views and sequences; not to temporary ones.

    What a block of code may make counts, too.
    """
    found = (match["name"] for statement in statements for match in _makes(statement))
    return frozenset(last_name(name) for name in found if name)


def kept(statement: Statement) -> list[str]:
    """Return the names of what a statement makes only IF NOT EXISTS, as they are written."""
    return [plain(match["name"]) for match in _creates(statement) if match["kept"]]


def may_move_names(statement: Statement) -> bool:
    """Return whether what follows may mean something else by a name without a schema than what goes before."""
    of_session = statement.kind is Kind.SESSION or statement.words[:1] == ("set",)
    return of_session or statement.words[:2] == ("create", "schema")


def as_stored(name: str) -> str:
    """Return a name, without a schema, as the server has it in its catalogs."""
    name = plain(name)
    name = name[1:-1].replace('""', '"') if name.startswith('"') else _lowered(name)
    return name.encode(errors="replace")[:_LONGEST].decode(errors="ignore")


def plain(name: str) -> str:
    """Return a name, with or without a schema, without the escapes of U&"..."."""
    return _ESCAPED.sub(lambda found: quoted(_unescaped(found[1].replace('""', '"'), found[2] or "\\")), name)


def last_name(name: str) -> str:
    """Return a name without its schema, as the server has it in its catalogs."""
    return as_stored(_EACH.findall(name)[-1])


def has_schema(name: str) -> bool:
    """Return whether a name has a schema."""
    return len(_EACH.findall(name)) > 1


def _unescaped(text: str, escape: str) -> str:
    sign = re.escape(escape)
    digits = re.compile(rf"{sign}(?:{sign}|\+([0-9a-f]{{6}})|([0-9a-f]{{4}}))", re.IGNORECASE)
    return digits.sub(lambda found: chr(int(found[1] or found[2], 16)) if found[1] or found[2] else escape, text)


def _lowered(name: str) -> str:
    """Return what the server makes of a name without quotes: in UTF8, only the letters of ASCII have a lower case."""
    return "".join(char.lower() if char.isascii() else char for char in name)


def _makes(statement: Statement) -> Iterator[re.Match[str]]:
    yield from _creates(statement)
    verb = statement.words[:1]
    if verb == ("alter",) and (renamed := _RENAMED.match(without_comments(statement.text))):
        yield renamed
    elif verb == ("do",):
        yield from _RENAMED_WITHIN.finditer(without_comments(statement.text))
    elif not verb and _QUERY.match(statement.text, first_code(statement.text)):
        yield from _SELECTED.finditer(without_comments(statement.text))


def _creates(statement: Statement) -> Iterator[re.Match[str]]:
    if statement.words[:2] == ("create", "schema") or statement.words[:1] == ("do",):
        yield from _CREATED_WITHIN.finditer(without_comments(statement.text))
    elif statement.words[:1] == ("create",) and (created := _CREATED.match(without_comments(statement.text))):
        yield created
