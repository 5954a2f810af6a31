"""Indexes built concurrently: found out whether they came to be, and cleaned up when they did not.

CREATE INDEX CONCURRENTLY that fails or is killed leaves an invalid index, which slows writes, serves no reads,
and makes IF NOT EXISTS skip the next attempt.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Callable
from typing import NamedTuple

from migrator.database import Connection
from migrator.errors import InvalidIndex
from migrator.sql import without_comments

_NAME = r'(?:"(?:[^"]|"")+"|[^\s".()]+)'
_BUILD = re.compile(
    rf"\s*create\s+(?:unique\s+)?index\s+concurrently\s+(?:(?:if\s+not\s+exists\s+)?(?!on\s)(?P<name>{_NAME})\s*)?"
    rf"\bon\s+(?:only\s+)?(?P<table>{_NAME}(?:\s*\.\s*{_NAME})*)",
    re.IGNORECASE,
)
_MAX_NAME_BYTES = 63
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


class Index(NamedTuple):
    """An index of a table: its object id, quoted full name, plain name, and whether it is valid."""

    oid: int
    full_name: str
    name: str
    valid: bool


class IndexBuild(NamedTuple):
    """What CREATE INDEX CONCURRENTLY is about to make; the name is empty when the server chooses it."""

    name: str
    table: str

    @classmethod
    def parse(cls, text: str) -> IndexBuild | None:
        """Return what a statement builds concurrently, or None when it builds no index so."""
        match = _BUILD.match(without_comments(text))
        if match is None:
            return None
        return cls(_folded(match["name"] or ""), match["table"])


def _folded(name: str) -> str:
    # the server folds ASCII letters only
    plain = name[1:-1].replace('""', '"') if name.startswith('"') else name.translate(_LOWER)
    return plain.encode()[:_MAX_NAME_BYTES].decode("utf-8", "ignore")


def of_table(connection: Connection, table: str) -> list[Index]:
    """Return the indexes of a table, none when it does not exist."""
    rows = connection.rows(
        "SELECT c.oid, pg_catalog.format('%I.%I', n.nspname, c.relname), c.relname, i.indisvalid "
        "FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) i.indexrelid "
        "JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace "
        f"WHERE i.indrelid OPERATOR(pg_catalog.=) pg_catalog.to_regclass({connection.literal(table)})"
    )
    return [Index._make(row) for row in rows]


def note(connection: Connection, build: IndexBuild) -> str:
    """Return what is there before a build, in the form that was_built reads."""
    return json.dumps([index.oid for index in of_table(connection, build.table)])


def was_built(connection: Connection, build: IndexBuild, earlier_note: str) -> bool:
    """Return whether a build that an earlier run began has come to its end."""
    known = set(json.loads(earlier_note or "[]"))
    return any(
        index.valid and index.oid not in known and build.name in {"", index.name}
        for index in of_table(connection, build.table)
    )


def drop_invalid(connection: Connection, build: IndexBuild, before: str, warn: Callable[[str], None]) -> None:
    """Drop the invalid index of the build's name, and those that have appeared since the note was taken."""
    known = set(json.loads(before or "[]"))
    for index in of_table(connection, build.table):
        if not index.valid and (index.name == build.name or index.oid not in known):
            connection.run(f"DROP INDEX CONCURRENTLY IF EXISTS {index.full_name}")
            warn(f"the invalid index {index.full_name}, left by an attempt that failed, was dropped")


def check(connection: Connection, build: IndexBuild, before: str) -> None:
    """Raise InvalidIndex when a build has left an index invalid without an error of its own."""
    known = set(json.loads(before or "[]"))
    for index in of_table(connection, build.table):
        if not index.valid and (index.name == build.name or index.oid not in known):
            raise InvalidIndex(
                f"the index {index.full_name} was built and is invalid",
                fix="run it again: it is dropped and built anew",
            )


def leftovers(connection: Connection) -> list[str]:
    """Return the invalid copies that REINDEX CONCURRENTLY leaves behind when it fails."""
    rows = connection.rows(
        "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_index i "
        "JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) i.indexrelid "
        "JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace "
        "WHERE NOT i.indisvalid AND c.relname OPERATOR(pg_catalog.~) '_cc(new|old)[0-9]*$'"
    )
    return [str(name) for (name,) in rows]
