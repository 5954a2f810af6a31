"""The lock trace: runs statements one at a time, and reads after each which locks its transaction holds now.

Only relations that were there before the run are of interest; what they are is read once, before. Indexes and TOAST
tables count as their table. Names and operators are qualified, since a file may have set any search_path.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection
from typing import NamedTuple

from psycopg2 import errorcodes

from migrator.database import Connection
from migrator.errors import RunError, ServerError
from migrator.execution import run_statement
from migrator.formatting import quoted
from migrator.history import SCHEMA
from migrator.rehearsal.lock_report import (
    BLOCKS_WRITES,
    MODES,
    LockEntries,
    Session,
    StatementLocks,
    Touched,
    conflicts,
    statement_locks,
)
from migrator.sql import Kind, Statement

_COMMA = "', '"
_MODES_SQL = f"ARRAY['{_COMMA.join(MODES)}']"
_HERE = "(SELECT oid FROM pg_catalog.pg_database WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database())"
_STRENGTH = f"pg_catalog.array_position({_MODES_SQL}, l.mode)"
_OURS = "l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()"
_ON_RELATIONS = f"l.locktype OPERATOR(pg_catalog.=) 'relation' AND l.database OPERATOR(pg_catalog.=) {_HERE}"
_NEXTVAL = MODES.index("RowExclusiveLock") + 1
_SEARCHED = 10_000  # characters of a statement
_EMPTIES = "truncate"  # gives a table a new, empty file: nothing is rewritten or read


class Relation(NamedTuple):
    """What was there before: a table, or an index or TOAST table, which counts as its ``owner``."""

    oid: int
    full_name: str
    name: str
    kind: str
    owner: int
    rows: int
    size: int
    file: int


class _Held(NamedTuple):
    """What the transaction holds of one relation, the file it is in, and how often it was read from end to end."""

    strength: int
    file: int
    scans: int


class LockTrace:
    """Runs the statements of files and keeps what each of them did; one for a session and a run.

    A file is begun, its statements are run in its transaction, and it is ended when what it did counts.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._relations = _read_relations(connection)
        self._files = {oid: relation.file for oid, relation in self._relations.items() if relation.kind in "rm"}
        self._last_known = max(self._relations, default=0)
        self._before = _locks_of_others(connection, None)  # held before the first statement
        self._transaction = ""  # whose locks are known; none before the first statement of it
        self._locked: dict[int, int] = {}  # the strength of the lock on each table that was there before
        self._scans: dict[int, int] = {}
        self._scans_are_known = False
        self._migration = ""
        self._of_file = LockEntries()
        self.entries = LockEntries()
        self.moved_sequences: set[str] = set()  # sequences

    def begin_file(self, migration: str, *, same_locks: bool = False) -> None:
        """Expect the statements of a file; forget those of a file that was not ended.

        ``same_locks``: the transaction goes on, and has taken no lock since the last statement, so that its locks need
        not be read again.
        """
        self._migration, self._of_file = migration, LockEntries()
        self._scans_are_known = False
        if not same_locks:
            self._transaction = ""

    def run(self, connection: Connection, statement: Statement) -> None:
        """Run a statement and add its entry; raises what running it raises."""
        self._read_state()
        started = time.monotonic()
        run_statement(connection, statement)
        entry = statement_locks(self._migration, statement, time.monotonic() - started)
        self._of_file.add(self._with_locks(entry, statement))

    def add(self, entry: StatementLocks) -> None:
        """Add the entry of a statement that did not come to its end."""
        self._of_file.add(entry)

    def end_file(self) -> None:
        """Keep the entries of the file."""
        self.entries.merge(self._of_file)
        self._of_file = LockEntries()

    def _read_state(self) -> None:
        """Read, before the first statement of a file, what the next is compared with."""
        if not self._scans_are_known:
            self._scans, self._scans_are_known = self._read_scans(), True
        if not self._transaction:
            self._transaction, held = self._read_held()
            self._locked = self._by_table(held)

    def _with_locks(self, entry: StatementLocks, statement: Statement) -> StatementLocks:
        transaction, held = self._read_held()
        if transaction != self._transaction:
            raise RunError("a statement ended the transaction it ran in", fix="remove its COMMIT or ROLLBACK")
        locked = self._by_table(held)
        new = {oid: strength for oid, strength in locked.items() if strength > self._locked.get(oid, 0)}
        rewritten, scanned = self._rewritten(held, statement), self._scanned(held, statement)
        oids = {*new, *rewritten, *scanned}
        touched = [self._touched(oid, new.get(oid, 0), oid in rewritten, oid in scanned) for oid in oids]
        touched.sort(key=lambda item: (not item.rewritten, -item.strength, item.table))
        again = self._named_again(statement, new)
        self._locked = locked
        return entry._replace(touched=tuple(touched), held=again, sessions=self._sessions(new))

    def _read_held(self) -> tuple[str, dict[int, _Held]]:
        """Return which transaction this is, and what it holds of the relations that were there before.

        Most of what a run creates has a higher OID than all of these, and is left out by the server.
        """
        rows = self._connection.rows(
            f"SELECT l.virtualtransaction, l.relation::pg_catalog.int8, pg_catalog.max({_STRENGTH}), "
            "pg_catalog.pg_relation_filenode(l.relation)::pg_catalog.int8, "
            "pg_catalog.pg_stat_get_xact_numscans(l.relation) FROM pg_catalog.pg_locks l "
            f"WHERE {_OURS} AND l.granted AND {_ON_RELATIONS} "
            f"AND l.relation OPERATOR(pg_catalog.<=) {self._last_known}::pg_catalog.oid GROUP BY 1, 2, 4, 5 "
            "UNION ALL SELECT l.virtualtransaction, 0, 0, 0, 0 FROM pg_catalog.pg_locks l "
            f"WHERE {_OURS} AND l.locktype OPERATOR(pg_catalog.=) 'virtualxid'"
        )
        held = {oid: _Held(mode, file or 0, scans or 0) for _, oid, mode, file, scans in rows if oid in self._relations}
        return str(rows[0][0]) if rows else "", held

    def _read_scans(self) -> dict[int, int]:
        """Return the counts of tables read before in this session; the server sets them back when it likes."""
        if not self._scans:
            return {}
        oids = ", ".join(map(str, self._scans))
        return dict(self._connection.rows(
            "SELECT o::pg_catalog.int8, coalesce(pg_catalog.pg_stat_get_xact_numscans(o), 0) "
            f"FROM pg_catalog.unnest(ARRAY[{oids}]::pg_catalog.oid[]) o"
        ))  # fmt: skip

    def _by_table(self, held: dict[int, _Held]) -> dict[int, int]:
        strengths: dict[int, int] = {}
        for oid, what in held.items():
            relation = self._relations[oid]
            strengths[relation.owner] = max(what.strength, strengths.get(relation.owner, 0))
            if relation.kind == "S" and what.strength == _NEXTVAL:
                self.moved_sequences.add(relation.full_name)
        return strengths

    def _rewritten(self, held: dict[int, _Held], statement: Statement) -> set[int]:
        """Return the tables that are in another file now; one that is gone is in none."""
        now = {oid: what.file for oid, what in held.items() if what.file and oid in self._files}
        changed = {oid for oid, file in now.items() if file != self._files[oid]}
        self._files.update(now)
        goes_back = statement.kind is Kind.SAVEPOINT  # to the file that the table had
        return set() if goes_back or statement.words[:1] == (_EMPTIES,) else changed

    def _scanned(self, held: dict[int, _Held], statement: Statement) -> set[int]:
        now = {oid: what.scans for oid, what in held.items() if what.scans and oid in self._files}
        more = {oid for oid, scans in now.items() if scans > self._scans.get(oid, 0)}
        self._scans.update(now)
        return set() if statement.words[:1] == (_EMPTIES,) else more

    def _touched(self, oid: int, strength: int, rewritten: bool, scanned: bool) -> Touched:
        relation = self._relations[oid]
        return Touched(relation.full_name, strength, rewritten, scanned, relation.size, relation.rows)

    def _named_again(self, statement: Statement, new: Collection[int]) -> tuple[str, ...]:
        """Return the tables a statement names that are locked already, so that its own lock cannot be seen."""
        strong = [oid for oid, strength in self._locked.items() if strength >= BLOCKS_WRITES and oid not in new]
        head = statement.text[:_SEARCHED] if strong else ""
        found = (self._relations[oid] for oid in strong)
        return tuple(sorted(relation.full_name for relation in found if names_relation(head, relation.name)))

    def _sessions(self, new: dict[int, int]) -> tuple[Session, ...]:
        """Return who held, before the run, or awaits now what the new locks exclude."""
        strong = {oid: strength for oid, strength in new.items() if strength >= BLOCKS_WRITES}
        if not strong:
            return ()
        waiting = [(oid, session) for oid, session in _locks_of_others(self._connection, strong) if session.waiting]
        found = [
            session for oid, session in (*self._before, *waiting)
            if oid in strong and conflicts(strong[oid], session.strength)
        ]  # fmt: skip
        return tuple(dict.fromkeys(found))


def names_relation(text: str, name: str) -> bool:
    """Return whether a relation's name stands in a text, in quotes or as a word of its own."""
    return quoted(name) in text or re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) is not None


def _read_relations(connection: Connection) -> dict[int, Relation]:
    """Return all relations of users by their number; sizes without waiting for what others have locked."""
    free = "c.oid <> ALL (SELECT relation FROM pg_catalog.pg_locks WHERE mode = 'AccessExclusiveLock' AND relation > 0)"
    try:
        rows = connection.rows(_relations_sql(f"CASE WHEN {free} THEN pg_catalog.pg_total_relation_size(c.oid) END"))
    except ServerError as error:
        if error.sqlstate != errorcodes.LOCK_NOT_AVAILABLE:  # another session has locked a table in the meantime
            raise
        rows = connection.rows(_relations_sql("NULL::int8"))
    found = {row[0]: Relation(*row) for row in rows}
    owned = {oid: _owner(relation, found) for oid, relation in found.items()}
    return {oid: found[oid]._replace(owner=owner) for oid, owner in owned.items() if owner}


def _owner(relation: Relation, found: dict[int, Relation]) -> int:
    """Return the table that a relation counts as: an index of a TOAST table counts as the table of that."""
    while relation.kind in "iIt":
        if relation.owner not in found or relation.owner == relation.oid:
            return 0
        relation = found[relation.owner]
    return relation.oid


def _relations_sql(size: str) -> str:
    pages = "c.relpages::int8 * pg_catalog.current_setting('block_size')::int8"
    return f"""
        SELECT c.oid::int8, pg_catalog.format('%I.%I', n.nspname, c.relname), c.relname, c.relkind,
            coalesce(i.indrelid, t.oid, c.oid)::int8, CASE WHEN c.relpages = 0 THEN -1 ELSE c.reltuples::int8 END,
            CASE WHEN c.relkind IN ('r', 'm') THEN coalesce({size}, {pages}) ELSE 0 END,
            coalesce(pg_catalog.pg_relation_filenode(c.oid), 0)::int8
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
        LEFT JOIN pg_catalog.pg_class t ON t.reltoastrelid = c.oid AND c.relkind = 't'
        WHERE c.relkind IN ('r', 'p', 'm', 'f', 'v', 'S', 'i', 'I', 't')
          AND n.nspname NOT IN ('pg_catalog', 'information_schema', '{SCHEMA}') AND n.nspname !~ '^pg_temp'
    """


def _locks_of_others(connection: Connection, oids: Collection[int] | None) -> list[tuple[int, Session]]:
    """Return the locks that other sessions hold or await, on the given relations or on all."""
    which = "" if oids is None else f" AND l.relation IN ({', '.join(map(str, oids))})"
    rows = connection.rows(
        f"SELECT l.relation::pg_catalog.int8, l.pid, coalesce(a.application_name, ''), {_STRENGTH}, NOT l.granted "
        "FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid OPERATOR(pg_catalog.=) l.pid "
        f"WHERE {_ON_RELATIONS} AND l.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid(){which} LIMIT 10000"
    )
    return [(oid, Session(*rest)) for oid, *rest in rows]
