"""Statements outside any transaction: what shows, after the runner has died in one, whether it was done.

Each is examined by a note that is taken before it begins: was there what it is to make or to drop, and under which
object id? A block that prepares its transaction, which no record can be a part of, is examined likewise. A statement
that changes nothing by being run again needs none. Of every other one, DO and CALL that commit
among them, nothing shows it.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod

from migrator.database import Connection
from migrator.execution.indexes import NAME, folded
from migrator.scripts import ENDS, Script
from migrator.sql import Kind, Statement, without_comments

_NONE = "none"
_PATH = rf"{NAME}(?:\s*\.\s*{NAME})*"
_REPEATABLE_WORDS = frozenset({
    ("vacuum",), ("cluster",), ("reindex",), ("discard",), ("analyze",), ("alter", "system"), ("alter", "database"),
    ("alter", "subscription"),
})  # fmt: skip
_DROP_INDEX = re.compile(rf"\s*drop\s+index\s+concurrently\s+(?:if\s+exists\s+)?({_PATH})", re.IGNORECASE)
_DETACH = re.compile(
    rf"\s*alter\s+table\s+(?:if\s+exists\s+)?(?:only\s+)?({_PATH})\s*\*?\s*detach\s+partition\s+({_PATH})\s+concurrently",
    re.IGNORECASE,
)
_SHARED = re.compile(
    rf"\s*(create|drop)\s+(database|tablespace|subscription)\s+(?:if\s+exists\s+)?({NAME})", re.IGNORECASE
)
_PREPARED = re.compile(r"\s*(?:commit|rollback)\s+prepared\s+'((?:[^']|'')*)'", re.IGNORECASE)
_PREPARES = re.compile(r"\s*prepare\s+transaction\s+'((?:[^']|'')*)'", re.IGNORECASE)
_OWNER = re.compile(rf"\bowner\s*=?\s*({NAME})", re.IGNORECASE)
_CATALOGS = {
    "database": ("pg_database", "datname", "datdba"),
    "tablespace": ("pg_tablespace", "spcname", "spcowner"),
    "subscription": ("pg_subscription", "subname", "subowner"),
}
_OWN_TRANSACTION = (
    "SELECT pg_catalog.split_part(virtualtransaction, '/', 2)::pg_catalog.int8 FROM pg_catalog.pg_locks "
    "WHERE pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid() AND locktype OPERATOR(pg_catalog.=) 'virtualxid' "
    "AND virtualxid OPERATOR(pg_catalog.=) virtualtransaction"
)


class Evidence(ABC):
    """How it is found out whether a statement was done."""

    @abstractmethod
    def note_sql(self, connection: Connection) -> str:
        """Return the SQL, a text, for what is to be known before it begins."""

    @abstractmethod
    def was_done(self, connection: Connection, note: str) -> bool | None:
        """Return whether a run that died in it has done it, None where nothing shows it; may finish it."""

    def is_half_done(self, _connection: Connection, _note: str) -> bool:
        """Return whether a statement that the server has refused has left a half of its work to be finished."""
        return False


class _Repeatable(Evidence):
    """Of a statement that may be run again."""

    def note_sql(self, _connection: Connection) -> str:
        return "''"

    def was_done(self, _connection: Connection, _note: str) -> bool | None:
        return False


REPEATABLE = _Repeatable()


class _Object(Evidence):
    """The object that a statement makes or drops, found in a catalog by a name."""

    def __init__(self, verb: str, catalog: str, key: str, named: str, name: str, owner: str = "") -> None:
        self._makes = verb.lower() == "create"
        self._catalog = f"pg_catalog.{catalog}"
        self._key = key
        self._named = named
        self._name = name
        self._owner = owner

    def note_sql(self, connection: Connection) -> str:
        return f"coalesce((SELECT {self._key}::pg_catalog.text {self._found(connection)}), '{_NONE}')"

    def _found(self, connection: Connection) -> str:
        return f"FROM {self._catalog} WHERE {self._named.format(connection.literal(self._name))}"

    def was_done(self, connection: Connection, note: str) -> bool | None:
        if not note:  # an earlier version took none
            return None
        if self._makes:
            # one with another owner was made by somebody else
            query = f"SELECT 1 {self._found(connection)} AND {self._owner}"
            return note == _NONE and bool(connection.rows(query))
        key = f"{self._key}::pg_catalog.text OPERATOR(pg_catalog.=) {connection.literal(note)}"
        return note != _NONE and not connection.rows(f"SELECT 1 FROM {self._catalog} WHERE {key}")


class PreparedTransaction(Evidence):
    """The transaction that a block prepares, under an identifier of its own."""

    def __init__(self, identifier: str) -> None:
        self._identifier = identifier

    def note_sql(self, connection: Connection) -> str:
        """Return the SQL for the transaction that has the identifier already."""
        return f"coalesce((SELECT transaction::pg_catalog.text {self._found(connection)}), '{_NONE}')"

    def _found(self, connection: Connection) -> str:
        gid = connection.literal(self._identifier)
        return f"FROM pg_catalog.pg_prepared_xacts WHERE gid OPERATOR(pg_catalog.=) {gid}"

    def was_done(self, connection: Connection, note: str) -> bool | None:
        """Return whether it is prepared here, by this user; None where another role has prepared one in its place."""
        us = "ANY (ARRAY[CURRENT_USER, SESSION_USER]::pg_catalog.name[])"
        found = connection.rows(
            f"SELECT owner OPERATOR(pg_catalog.=) {us} {self._found(connection)} "
            "AND database OPERATOR(pg_catalog.=) pg_catalog.current_database()"
        )
        if not found or note != _NONE:
            return False
        return bool(found[0][0]) or None


def two_phase_steps(script: Script) -> dict[int, PreparedTransaction]:
    """Return what shows whether a step was done, by its number, for those that are blocks with PREPARE TRANSACTION."""
    steps, found, begun = 0, dict[int, PreparedTransaction](), False
    for statement in script.steps() if script.is_two_phase else ():
        steps += not begun
        begun = (begun or statement.kind is Kind.BEGIN) and statement.kind not in ENDS
        prepares = _PREPARES.match(without_comments(statement.text))
        if statement.kind is Kind.PREPARE_TRANSACTION and prepares:
            found[steps] = PreparedTransaction(prepares[1].replace("''", "'"))
    return found


class _Detachment(Evidence):
    """A partition that is detached: attached, then pending, then gone from its table."""

    def __init__(self, parent: str, child: str) -> None:
        self._parent = parent
        self._child = child

    def note_sql(self, connection: Connection) -> str:
        parent, child = map(connection.literal, (self._parent, self._child))
        return (
            "coalesce((SELECT pg_catalog.concat(i.inhparent, ' ', i.inhrelid) FROM pg_catalog.pg_inherits i "
            f"WHERE i.inhparent OPERATOR(pg_catalog.=) pg_catalog.to_regclass({parent})::pg_catalog.oid "
            f"AND i.inhrelid OPERATOR(pg_catalog.=) pg_catalog.to_regclass({child})::pg_catalog.oid "
            f"AND NOT {_PENDING}), '{_NONE}')"
        )

    def was_done(self, connection: Connection, note: str) -> bool | None:
        if not note:
            return None
        if note == _NONE:
            return False
        state = self._state(connection, note)
        if state is True:
            connection.run(f"ALTER TABLE {self._parent} DETACH PARTITION {self._child} FINALIZE")
        return state is not False

    def is_half_done(self, connection: Connection, note: str) -> bool:
        return note not in {"", _NONE} and self._state(connection, note) is True

    @staticmethod
    def _state(connection: Connection, note: str) -> bool | None:
        """Return whether the detachment is pending, None where there is no partition of that table any more."""
        parent, _, child = note.partition(" ")
        found = connection.rows(
            f"SELECT {_PENDING} FROM pg_catalog.pg_inherits i WHERE i.inhparent OPERATOR(pg_catalog.=) {parent} "
            f"AND i.inhrelid OPERATOR(pg_catalog.=) {child}"
        )
        return bool(found[0][0]) if found else None


_PENDING = (  # PostgreSQL 12 and 13 have no such column, and no such statement
    "coalesce((pg_catalog.to_jsonb(i) OPERATOR(pg_catalog.->>) 'inhdetachpending')::pg_catalog.bool, false)"
)


def evidence_of(statement: Statement) -> Evidence | None:
    """Return how it is found out whether a statement was done, None where nothing shows it."""
    if not {statement.words[:1], statement.words[:2]}.isdisjoint(_REPEATABLE_WORDS):
        return REPEATABLE
    text = without_comments(statement.text)
    if found := _DROP_INDEX.match(text):
        named = "oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass({})::pg_catalog.oid"
        return _Object("drop", "pg_class", "oid", named, found[1])
    if found := _DETACH.match(text):
        return _Detachment(found[1], found[2])
    if found := _PREPARED.match(text):
        named = "gid OPERATOR(pg_catalog.=) {}"
        return _Object("drop", "pg_prepared_xacts", "transaction", named, found[1].replace("''", "'"))
    if found := _SHARED.match(text):
        catalog, name, owner = _CATALOGS[found[2].lower()]
        right_owner = f"pg_catalog.pg_get_userbyid({owner}) OPERATOR(pg_catalog.=) {_owner(text)}"
        named = f"{name} OPERATOR(pg_catalog.=) {{}}"
        return _Object(found[1], catalog, "oid", named, folded(found[3]), right_owner)
    return None


def _owner(text: str) -> str:
    """Return the SQL for the owner that a statement gives to what it makes."""
    found = _OWNER.search(text)
    if found is None or found[1].lower() in {"current_user", "current_role", "default"}:
        return "CURRENT_USER"
    if found[1].lower() == "session_user":
        return "SESSION_USER"
    name = folded(found[1]).replace("'", "''")
    return f"'{name}'"


def transactions_begun(connection: Connection) -> int:
    """Return the number of the session's transaction, which grows by one with each: this query begins one."""
    return int(connection.rows(_OWN_TRANSACTION)[0][0])
