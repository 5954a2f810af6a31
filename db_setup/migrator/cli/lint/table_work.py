"""What a statement works through row by row, as far as its text shows: what is slow on a large table. Pure.

How large a table is, or which indexes it has, no text shows: WHERE with a value is taken for narrow, a change of type
to text or varchar for one that reads nothing, as most are, and a table whose name ends in "version" for one of one row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from migrator.cli.lint.clauses import Clauses, after, begins_with
from migrator.sql import Kind, contains_any
from migrator.sql.relation_names import NAME, last_name

MANY = 10_000
"""Lines of COPY data in a file that take a while."""

_PIECE = 1 << 16
_FREE_TYPE = r"(?:text|varchar|character\s+varying)\b(?!.*\busing\b)"
_VOLATILE = r"\b(?:random|gen_random_uuid|uuid_generate_v\w+|uuidv\d|clock_timestamp|timeofday|nextval)\s*\("
_NEW_COLUMN = (
    r"add\s+(?:column\s+)?(?!(?:constraint|check|unique|primary|foreign|exclude|not)\b)"
    rf"(?:if\s+not\s+exists\s+)?{NAME}\s"
)
_FILLED = rf"\bstored\b|\b(?:small|big)?serial\d?\b|\bas\s+identity\b|\bdefault\b.*{_VOLATILE}"
_EXAMINED = r"\bunique\b|\bprimary\s+key\b|\bcheck\s*\("
_COLUMN = rf"alter\s+(?:column\s+)?{NAME}\s+"
_ADD = rf"add\s+(?:constraint\s+{NAME}\s+)?"
_ACTIONS = (
    ("VALIDATE CONSTRAINT", r"validate\s+constraint\b"),
    ("ADD FOREIGN KEY", rf"{_ADD}foreign\s+key\b(?!.*\bnot\s+valid\b)"),
    ("ADD CHECK", rf"{_ADD}check\s*\((?!.*\bnot\s+valid\b)"),
    ("ADD NOT NULL", rf"{_ADD}not\s+null\b(?!.*\bnot\s+valid\b)"),
    ("ADD UNIQUE", rf"{_ADD}unique\b(?!.*\busing\s+index\b)"),
    ("ADD PRIMARY KEY", rf"{_ADD}primary\s+key\b(?!.*\busing\s+index\b)"),
    ("ADD EXCLUDE", rf"{_ADD}exclude\b"),
    ("SET NOT NULL", rf"{_COLUMN}set\s+not\s+null\b"),
    ("ALTER COLUMN ... TYPE", rf"{_COLUMN}(?:set\s+data\s+)?type\s+(?!{_FREE_TYPE})"),
    ("SET LOGGED", r"set\s+logged\b"),
    ("SET UNLOGGED", r"set\s+unlogged\b"),
    ("SET TABLESPACE", r"set\s+tablespace\b"),
    ("SET ACCESS METHOD", r"set\s+access\s+method\b"),
    (
        "ADD COLUMN",
        rf"{_NEW_COLUMN}.*(?:{_FILLED}|{_EXAMINED})",
    ),
)
_SLOW_ACTIONS = [(what, re.compile(pattern, re.IGNORECASE)) for what, pattern in _ACTIONS]
_INDEXED, _ATTACHED, _REFRESHED = after("on"), after(r"attach\s+partition"), after(r"view(?:\s+concurrently)?")
_COPIED = begins_with(r"copy\s+")
_AS_QUERY = re.compile(r"\bas\s*(?:\(|select\b|with\b|table\b)", re.IGNORECASE)
_WITH_NO_DATA = re.compile(r"\bwith\s+no\s+data\b", re.IGNORECASE)
_WRITES = re.compile(r"\b(?:insert\s+into|update|delete\s+from|merge\s+into)\b", re.IGNORECASE)
_NO_QUERY = re.compile(r"\b(?:values|default\s+values)\b", re.IGNORECASE)
_OF_ONE_ROW = re.compile(r"version$", re.IGNORECASE)


class Work(NamedTuple):
    """What is slow, in the words of SQL, and the tables that are worked through, by their names without schemas."""

    what: str
    tables: tuple[str, ...]


def work_of(clauses: Clauses) -> Iterator[Work]:
    """Yield what is slow in a statement, where its tables are large."""
    words, verb = clauses.statement.words, clauses.verb
    if clauses.altered:
        yield from _of_alter_table(clauses)
    elif verb == "create":
        yield from _of_create(clauses)
    elif words[:2] == ("refresh", "materialized"):
        yield Work("REFRESH MATERIALIZED VIEW", tuple(clauses.named(_REFRESHED)[:1]))
    elif verb in {"reindex", "cluster"}:
        yield Work(verb.upper(), tuple(clauses.tables()))
    elif verb == "copy" and "from" in words and _is_much(clauses):
        yield Work("COPY ... FROM", tuple(clauses.named(_COPIED)[:1]))
    elif verb == "select" and re.search(r"\binto\b", clauses.flat, re.IGNORECASE):
        yield from _of_query("SELECT INTO", clauses, clauses.tables()[1:])
    elif verb in {"update", "delete", "merge", "with"} or (verb == "insert" and _may_query(clauses)):
        yield from _of_writing(clauses)


def _of_alter_table(clauses: Clauses) -> Iterator[Work]:
    for action in clauses.actions():
        for what, pattern in _SLOW_ACTIONS:
            if pattern.match(action):
                yield Work(f"ALTER TABLE ... {what}", (last_name(clauses.altered),))
                break
    if attached := clauses.named(_ATTACHED):
        yield Work("ALTER TABLE ... ATTACH PARTITION", tuple(attached))


def _of_create(clauses: Clauses) -> Iterator[Work]:
    words = clauses.statement.words
    if "index" in words[1:3]:
        partial = re.search(r"\bon\s+only\b", clauses.code, re.IGNORECASE)
        if "concurrently" not in words and not partial:
            yield Work("CREATE INDEX", tuple(clauses.named(_INDEXED)[:1]))
    elif "materialized" in words[1:2] and not _WITH_NO_DATA.search(clauses.flat):
        yield from _of_query("CREATE MATERIALIZED VIEW", clauses, clauses.tables())
    elif "table" in words[1:4] and _AS_QUERY.search(clauses.flat) and not _WITH_NO_DATA.search(clauses.flat):
        yield from _of_query("CREATE TABLE AS", clauses, clauses.tables())


def _of_query(what: str, clauses: Clauses, tables: list[str]) -> Iterator[Work]:
    large = [name for name in tables if not _OF_ONE_ROW.search(name)]
    if large and not clauses.is_narrow():
        yield Work(what, tuple(large))


def _of_writing(clauses: Clauses) -> Iterator[Work]:
    """Yield the work of INSERT, UPDATE, DELETE and MERGE, behind WITH as well."""
    found = _WRITES.search(clauses.flat)
    if found is None:
        return
    what, tables = found[0].split()[0].upper(), clauses.tables()
    if what == "INSERT":
        target = last_name(next(iter(clauses.named(after(r"insert\s+into"))), "x"))
        rest = clauses.flat[found.end() :]
        sources = _without_first(tables, target)
        if _NO_QUERY.search(rest) or ("select" in rest.lower() and "from" not in rest.lower()):
            return
        yield from _of_query("INSERT ... SELECT", clauses, sources)
    else:
        yield from _of_query(what, clauses, tables)


def _may_query(clauses: Clauses) -> bool:
    """Return whether an INSERT may have a query: of those that only have values, a file may have very many."""
    return contains_any(clauses.statement.text, "select", "table")


def _without_first(names: list[str], name: str) -> list[str]:
    """Return names without the first of one name."""
    at = names.index(name) if name in names else len(names)
    return names[:at] + names[at + 1 :]


def _is_much(clauses: Clauses) -> bool:
    """Return whether COPY reads a file of the server, or much data from the migration; reads the data."""
    if clauses.statement.kind is not Kind.COPY_IN:
        return True
    data, lines = clauses.statement.data, 0
    while data is not None and lines < MANY and (piece := data.read(_PIECE)):
        lines += piece.count("\n")
    return lines >= MANY
