"""Indexes built concurrently: found out whether they came to be, and cleaned up when they did not.

CREATE INDEX CONCURRENTLY that fails or is killed leaves an invalid index, which slows writes, serves no reads,
and makes IF NOT EXISTS skip the next attempt. An index is known as the statement's own by what it is: by the name
that the statement gives it, else by its definition and a name that the server would choose. What another session
builds is waited for, and never dropped.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Callable
from typing import NamedTuple

from migrator.database import Connection
from migrator.errors import InvalidIndex, ServerError
from migrator.formatting import quoted
from migrator.sql import without_comments

NAME = r'(?:"(?:[^"]|"")+"|[^\s".();,=*\']+)'
_BUILD = re.compile(
    rf"\s*create\s+(?P<unique>unique\s+)?index\s+concurrently\s+"
    rf"(?:(?:if\s+not\s+exists\s+)?(?!on\s)(?P<name>{NAME})\s*)?"
    rf"\bon\s+(?:only\s+)?(?P<table>{NAME}(?:\s*\.\s*{NAME})*)",
    re.IGNORECASE,
)
_MAX_NAME_BYTES = 63
_SUFFIX_BYTES = 6  # "_idx" and the digits that make a name unique: a longer one is cut to make room for them
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_PAUSE = 0.2  # seconds between two looks at what another session builds
_DEFINITION = """(SELECT pg_catalog.jsonb_build_array(a.amname, i.indisunique,
    pg_catalog.to_jsonb(i) OPERATOR(pg_catalog.->) 'indnullsnotdistinct', i.indnkeyatts, i.indclass::pg_catalog.text,
    i.indcollation::pg_catalog.text, i.indoption::pg_catalog.text, c.reloptions,
    pg_catalog.pg_get_expr(i.indpred, i.indrelid), (
        SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(
            pg_catalog.pg_get_indexdef(i.indexrelid, t.attnum, false), t.attoptions) ORDER BY t.attnum)
        FROM pg_catalog.pg_attribute t WHERE t.attrelid OPERATOR(pg_catalog.=) i.indexrelid))::pg_catalog.text
    FROM pg_catalog.pg_am a WHERE a.oid OPERATOR(pg_catalog.=) c.relam)"""
_INDEXES = f"""SELECT c.oid, pg_catalog.format('%I.%I', n.nspname, c.relname), c.relname, i.indisvalid, {_DEFINITION}
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) i.indexrelid
    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    WHERE i.indrelid OPERATOR(pg_catalog.=) """
# Who builds an index holds this lock on its table from before the index is seen to after it is valid. Whose progress
# may not be read is taken for one who does.
_BUILDING = """SELECT 1 FROM pg_catalog.pg_locks l
    JOIN pg_catalog.pg_stat_progress_create_index p ON p.pid OPERATOR(pg_catalog.=) l.pid
    WHERE l.relation OPERATOR(pg_catalog.=) {table} AND l.granted
    AND l.database OPERATOR(pg_catalog.=) p.datid AND l.mode OPERATOR(pg_catalog.=) 'ShareUpdateExclusiveLock'
    AND l.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()"""


class Index(NamedTuple):
    """An index of a table: its object id, quoted full name, plain name, whether it is valid, what it is."""

    oid: int
    full_name: str
    name: str
    valid: bool
    definition: str


class IndexBuild(NamedTuple):
    """What CREATE INDEX CONCURRENTLY is about to make; the name is empty when the server chooses it.

    ``unique`` and ``rest``, all that comes after the table, say what the index is.
    """

    name: str
    table: str
    unique: bool = False
    rest: str = ""

    @classmethod
    def parse(cls, text: str) -> IndexBuild | None:
        """Return what a statement builds concurrently, or None when it builds no index so."""
        code = without_comments(text)
        match = _BUILD.match(code)
        if match is None:
            return None
        return cls(folded(match["name"] or ""), match["table"], match["unique"] is not None, code[match.end() :])

    def note_sql(self, connection: Connection) -> str:
        """Return the SQL, a text, for what is there before the build."""
        return (
            "coalesce((SELECT pg_catalog.json_agg(indexrelid::pg_catalog.int8)::pg_catalog.text "
            f"FROM pg_catalog.pg_index WHERE indrelid OPERATOR(pg_catalog.=) {self.table_sql(connection)}), '[]')"
        )

    def table_sql(self, connection: Connection) -> str:
        """Return the SQL for the object id of the table, null when it does not exist."""
        return f"pg_catalog.to_regclass({connection.literal(self.table)})::pg_catalog.oid"


def folded(name: str) -> str:
    """Return a name, as it is written in SQL, as the server stores it: it folds ASCII letters only."""
    plain = name[1:-1].replace('""', '"') if name.startswith('"') else name.translate(_LOWER)
    return plain.encode()[:_MAX_NAME_BYTES].decode("utf-8", "ignore")


class Builder:
    """Runs the build of one index; ``note`` is what was there before it, ``pause`` waits or raises at the deadline."""

    def __init__(
        self, connection: Connection, build: IndexBuild, note: str, warn: Callable[[str], None],
        pause: Callable[[float], None],
    ) -> None:  # fmt: skip
        self._connection = connection
        self._build = build
        self._known = set(json.loads(note or "[]"))
        self._warn = warn
        self._pause = pause
        self._table = build.table_sql(connection)

    def was_built(self) -> bool | None:
        """Return whether a run that died in the build has made the index; None where nobody can tell."""
        own = self._own()
        if own is None:
            return None
        new = [index for index in own if index.valid and index.oid not in self._known]
        if not new or not self._build.name:
            return bool(new)
        expected = self._probe()
        return None if expected is None else new[0].definition == expected.definition

    def drop_invalid(self) -> None:
        """Drop what a build that failed has left: the index of the statement, where it is invalid."""
        for index in self._own() or ():
            if not index.valid:
                self._connection.run(f"DROP INDEX CONCURRENTLY IF EXISTS {index.full_name}")
                self._warn(f"the invalid index {index.full_name}, left by an attempt that failed, was dropped")

    def check(self) -> None:
        """Raise InvalidIndex where there is an index of the name that is invalid though nothing has failed."""
        for index in (self._own() or ()) if self._build.name else ():
            if not index.valid:
                raise InvalidIndex(
                    f"the index {index.full_name} was built and is invalid",
                    fix="run it again: it is dropped and built anew",
                )

    def _own(self) -> list[Index] | None:
        """Return the indexes that are the statement's, none of which is being built; None where nobody can tell."""
        while (own := self._matching()) and not all(index.valid for index in own) and self._others_build():
            self._pause(_PAUSE)
        return self._matching() if own else own  # who had just finished had made it valid before

    def _matching(self) -> list[Index] | None:
        indexes = self._indexes(self._table)
        if self._build.name:
            return [index for index in indexes if index.name == self._build.name]
        new = [index for index in indexes if index.oid not in self._known]
        expected = self._probe() if new else None
        if expected is None:
            return None if new else []
        return [
            index for index in new if index.definition == expected.definition and _is_choice(index.name, expected.name)
        ]

    def _indexes(self, table: str) -> list[Index]:
        return [Index._make(row) for row in self._connection.rows(_INDEXES + table)]

    def _others_build(self) -> bool:
        return bool(self._connection.rows(_BUILDING.format(table=self._table)))

    def _probe(self) -> Index | None:
        """Return what the statement makes, made on an empty copy of its table; None where that fails."""
        found = self._connection.rows(
            "SELECT oid::pg_catalog.regclass, relname FROM pg_catalog.pg_class "
            f"WHERE oid OPERATOR(pg_catalog.=) {self._table}"
        )
        if not found:  # pragma: no cover - somebody has dropped the table since the query before
            return None
        table, copy = found[0][0], f"pg_temp.{quoted(found[0][1])}"
        unique = "UNIQUE " if self._build.unique else ""
        try:
            self._connection.run(
                f"BEGIN; CREATE TEMP TABLE {copy} (LIKE {table}); CREATE {unique}INDEX ON {copy} {self._build.rest}"
            )
            literal = self._connection.literal(copy)
            return self._indexes(f"pg_catalog.to_regclass({literal})::pg_catalog.oid")[0]
        except ServerError:
            return None
        finally:
            self._connection.rollback()


def _is_choice(name: str, base: str) -> bool:
    """Return whether the server would choose a name, given what it chooses where every name is free."""
    stem = base.removesuffix("_idx")
    if len(base.encode()) > _MAX_NAME_BYTES - _SUFFIX_BYTES:  # the digits take their room from the stem
        stem = stem[: -2 * _SUFFIX_BYTES]
        return re.fullmatch(rf"{re.escape(stem)}.*_idx[0-9]*", name) is not None
    return re.fullmatch(rf"{re.escape(stem)}_idx[0-9]*", name) is not None


def leftovers(connection: Connection) -> list[str]:
    """Return the invalid copies that a failed REINDEX CONCURRENTLY has left behind."""
    rows = connection.rows(
        "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_index i "
        "JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) i.indexrelid "
        "JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace "
        "WHERE NOT i.indisvalid AND c.relname OPERATOR(pg_catalog.~) '_cc(new|old)[0-9]*$' "
        f"AND NOT EXISTS ({_BUILDING.format(table='i.indrelid')})"
    )
    return [str(name) for (name,) in rows]
