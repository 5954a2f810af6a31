"""An assertion, in the SQL standard's sense: the tables of the history are as the runner has left them.

It is asked before each COMMIT, in the message of the file, and costs no more in a long history than in a short one: it
compares the versions of a few rows of the catalog, and how many rows of the tables the session has written. Where it
does not hold, what has changed is found out statement by statement; what does no harm, such as GRANT SELECT, is let be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from migrator.database import Connection, Row
from migrator.errors import HistoryChanged, RunError, ServerError
from migrator.formatting import listed
from migrator.history.records import AS_OWNER, ApplyRecord
from migrator.history.rows import SCHEMA
from migrator.history.run_lock import RunLock

_MARK = "db_setup: its tables are not as they were, or the transaction is another one"
_BEGIN, _CHECK, _CHECK_ALL = "db_setup_begin", "db_setup_check", "db_setup_check_all"  # prepared statements
_MAY_ALTER = ("alter", "advisory")
_SAVEPOINT = "db_setup_assertion"
_FIX = (
    f"name the schemas whose objects the file may change, or leave {SCHEMA} out (schema <> '{SCHEMA}'); in place of "
    "DROP OWNED and REASSIGN OWNED, name the objects"
)
_ASPECTS = {
    "place": "{} was renamed or moved",
    "owner": "{} was given to another owner",
    "rights": "this user lost privileges on {}",
    "row_security": "the row security of {} was changed",
    "triggers": "the triggers of {} were changed",
    "rules": "the rules of {} were changed",
    "columns": "the columns of {} were changed",
}
"""What a table has, by the columns of the query below, and what is said where that has changed."""

_RIGHTS = " AND ".join(
    f"pg_catalog.has_table_privilege(SESSION_USER, c.oid, '{right}')"
    for right in ("SELECT", "INSERT", "UPDATE", "DELETE")
)
_OURS = (
    f"n.nspname OPERATOR(pg_catalog.=) '{SCHEMA}' "
    "AND c.relname OPERATOR(pg_catalog.=) ANY (ARRAY['history', 'runs', 'run_lock']::pg_catalog.name[])"
)
_STATE = """
SELECT c.oid::pg_catalog.int8, pg_catalog.concat_ws(' ', 'pg_class', c.ctid, c.xmin),
    pg_catalog.concat_ws(' ', 'pg_namespace', n.ctid, n.xmin),
    (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', 'pg_class', i.ctid, i.xmin), ';' ORDER BY i.oid)
        FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class i ON i.oid OPERATOR(pg_catalog.=) x.indexrelid
        WHERE x.indrelid OPERATOR(pg_catalog.=) c.oid),
    (SELECT pg_catalog.array_agg(xmin::pg_catalog.text ORDER BY attnum) FROM pg_catalog.pg_attribute
        WHERE attnum OPERATOR(pg_catalog.>) 0 AND attrelid OPERATOR(pg_catalog.=) c.oid),
    pg_catalog.format('%I.%I %s%s', n.nspname, c.relname, c.relkind, c.relpersistence),
    pg_catalog.concat(c.relowner, ' ', n.nspowner),
    ({rights} AND pg_catalog.has_schema_privilege(SESSION_USER, n.oid, 'USAGE'))::pg_catalog.text,
    pg_catalog.concat(c.relrowsecurity, c.relforcerowsecurity),
    (SELECT pg_catalog.string_agg(pg_catalog.concat(tgname, ' ', tgenabled), ', ' ORDER BY oid)
        FROM pg_catalog.pg_trigger WHERE tgrelid OPERATOR(pg_catalog.=) c.oid),
    (SELECT pg_catalog.string_agg(rulename::pg_catalog.text, ', ' ORDER BY oid)
        FROM pg_catalog.pg_rewrite WHERE ev_class OPERATOR(pg_catalog.=) c.oid),
    pg_catalog.concat((SELECT pg_catalog.string_agg(pg_catalog.concat(attname, ' ', atttypid, attnotnull), ', '
            ORDER BY attnum)
        FROM pg_catalog.pg_attribute
        WHERE attrelid OPERATOR(pg_catalog.=) c.oid AND attnum OPERATOR(pg_catalog.>) 0 AND NOT attisdropped),
        (SELECT pg_catalog.string_agg(pg_catalog.concat(conname, contype), ', ' ORDER BY oid)
        FROM pg_catalog.pg_constraint WHERE conrelid OPERATOR(pg_catalog.=) c.oid)),
    pg_catalog.concat('ISOLATION LEVEL ', pg_catalog.current_setting('default_transaction_isolation'), ' READ WRITE ',
        CASE pg_catalog.current_setting('default_transaction_deferrable') WHEN 'off' THEN 'NOT ' END, 'DEFERRABLE'),
    pg_catalog.current_setting('track_counts')
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE {which} ORDER BY c.relname"""
_ROWS = (
    "(SELECT pg_catalog.concat(pg_catalog.count(*), ' ', pg_catalog.sum(pg_catalog.hashtextextended("
    f"t::pg_catalog.text, 0))) FROM {SCHEMA}.{{}} t)"
)
_TABLES = ("history", "runs")  # whose rows are put back; that of the run lock is of no use to anybody else
_CONTENTS = "SELECT " + ", ".join(
    f"(SELECT pg_catalog.json_agg(t)::pg_catalog.text FROM {SCHEMA}.{name} t)" for name in _TABLES
)
_ALL_ROWS = f"SELECT {_ROWS.format('history')}, {_ROWS.format('runs')}, {_ROWS.format('run_lock')}"
"""Number and checksum of the rows of each table."""


_EVENT_TRIGGERS = (
    "SELECT pg_catalog.quote_ident(evtname) FROM pg_catalog.pg_event_trigger e "
    "WHERE evtenabled OPERATOR(pg_catalog.<>) 'D' AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend "
    "WHERE classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_event_trigger'::pg_catalog.regclass::pg_catalog.oid "
    "AND objid OPERATOR(pg_catalog.=) e.oid AND deptype OPERATOR(pg_catalog.=) 'e') ORDER BY 1"
)
"""Those of no extension: one that a file of yesterday has made acts in each file of today."""


class _Table(NamedTuple):
    """A table of ours: its number, the versions of its rows in the catalog, and what it has.

    ``versions`` are catalog, place and transaction of the rows of the table and its schema, ``indexes`` those of its
    indexes; ``columns`` are the transactions that have written its columns.
    """

    oid: int
    versions: tuple[str, ...]
    indexes: tuple[str, ...]
    columns: tuple[str, ...]
    aspects: tuple[str | None, ...]


class Assertion:
    """What has to hold of the tables of the history in one session; ``learn`` says how they are now."""

    EXECUTE_BEGIN = f"EXECUTE {_BEGIN}"
    """What ``begin`` is, once prepared: five times as fast."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._tables: tuple[_Table, ...] = ()
        self.counts = True
        """Whether the server counts what a session writes (track_counts); else ``check`` says little."""
        self._written = self._transaction = ""  # when the transaction began
        self._rows: tuple[str, ...] = ()
        self.characteristics = ""
        """What the session's transactions are by default, as BEGIN says it."""

    def learn(self, reset: str) -> None:
        """Take the tables as they are, in the message of a reset, outside any transaction."""
        rows = self._connection.rows(f"{reset} {_STATE.format(rights=_RIGHTS, which=_OURS)}")
        self._tables = _tables(rows)
        if len(rows) < 3:
            raise HistoryChanged(f"the tables of the schema {SCHEMA} are not all there", fix=_FIX)
        self.characteristics, self.counts = str(rows[0][-2]), rows[0][-1] == "on"

    # ---- in the message of a file

    @property
    def begin(self) -> str:
        """The statement that notes, for ``check``, what the session has written so far; after the runner's own."""
        return f"SELECT pg_catalog.set_config('db_setup.written', ({self._counters})::pg_catalog.text, true)"

    @property
    def check(self) -> str:
        """The statement that fails where the assertion does not hold; it takes the key of earlier versions again."""
        return self._checked(*self._thorough)

    @staticmethod
    def execute_check(text: str) -> str:
        """Return what ``check`` is, once prepared, for a file of that text.

        Columns, constraints and the run lock are left out for one that does not so much as mention what changes them.
        """
        lower = text.lower()
        return f"EXECUTE {_CHECK_ALL if any(word in lower for word in _MAY_ALTER) else _CHECK}"

    @property
    def prepare(self) -> str:
        """The statements that prepare ``begin``, ``check`` and the record; a file that prepares others is found out."""
        alone = "(SELECT pg_catalog.count(*) FROM pg_catalog.pg_prepared_statement()) OPERATOR(pg_catalog.=) 4"
        prepared = {
            _BEGIN: self.begin,
            _CHECK: self._checked(alone),
            _CHECK_ALL: self._checked(alone, *self._thorough),
        }
        statements = (f"PREPARE {name} AS {sql}" for name, sql in prepared.items())
        return "; ".join(["DEALLOCATE ALL", ApplyRecord.prepare_sql(self._connection), *statements])

    def _checked(self, *also: str) -> str:
        written = f"({self._counters})::pg_catalog.text OPERATOR(pg_catalog.=) "
        conditions = (f"{written}pg_catalog.current_setting('db_setup.written', true)", *self._same_tables, *also)
        return (
            f"SELECT CASE WHEN {' AND '.join(conditions)} "
            f"THEN 0 ELSE pg_catalog.concat('{_MARK} ', pg_catalog.txid_current())::pg_catalog.int4 END"
        )

    @property
    def _thorough(self) -> tuple[str, ...]:
        return (*self._same_parts, f"{RunLock.key_sql(self._connection)} IS NOT NULL")

    @property
    def _counters(self) -> str:
        """What the session has written to the tables: it rises with each row, and falls with TRUNCATE only."""
        functions = (
            f"pg_catalog.pg_stat_get_xact_tuples_{what}({table.oid})"
            for table in self._tables
            for what in ("inserted", "updated", "deleted")
        )
        return " OPERATOR(pg_catalog.+) ".join(functions)

    @property
    def _same_tables(self) -> tuple[str, ...]:
        """Whether the catalog's rows are still there: what changes a table or schema writes another version of one."""
        return _are_there(version for table in self._tables for version in table.versions)

    @property
    def _same_parts(self) -> tuple[str, ...]:
        """The same of columns and indexes, which change while the rows of their tables stay."""
        oids = ", ".join(str(table.oid) for table in self._tables)
        columns = [version for table in self._tables for version in table.columns]
        same_columns = (
            "(SELECT pg_catalog.count(*) FROM pg_catalog.pg_attribute WHERE attnum OPERATOR(pg_catalog.>) 0 "
            f"AND attrelid OPERATOR(pg_catalog.=) ANY ('{{{oids}}}'::pg_catalog.oid[]) AND xmin OPERATOR(pg_catalog.=) "
            f"ANY ('{{{', '.join(sorted(set(columns)))}}}'::pg_catalog.xid[])) OPERATOR(pg_catalog.=) {len(columns)}"
        )
        return same_columns, *_are_there(version for table in self._tables for version in table.indexes)

    @staticmethod
    def fails(error: ServerError) -> bool:
        """Return whether an error says that ``check`` does not hold, or that a file has taken it away."""
        return _MARK in error.message or any(f'"{name}"' in error.message for name in (_BEGIN, _CHECK, _CHECK_ALL))

    # ---- between the messages of a transaction

    def open(self) -> None:
        """Note, in a transaction that has begun, how the tables are, for ``examine`` and ``check``."""
        self._written, self._transaction = self._now()
        _, self._rows = self._look(self.begin)

    def examine(self) -> None:
        """Raise HistoryChanged that says what has changed since ``open``, and RunError in another transaction.

        What has changed and does no harm holds from now on.
        """
        written, transaction = self._now() if self._connection.in_transaction else ("", "")
        if transaction != self._transaction:  # pragma: no cover - no text is known that gets here, and none may go on
            raise RunError("a statement ended the transaction of its file", fix="remove its COMMIT or ROLLBACK")
        if written == self._written and self.counts:
            return
        tables, rows = self._look()
        if found := _differences(self._tables, tables) or _differences_of_rows(self._rows, rows):
            raise self._with_event_triggers(self.error(found))
        self._tables = tables
        self._connection.run(self.begin)
        self._written = self._now()[0]

    @contextmanager
    def across(self) -> Iterator[None]:
        """Compare the tables before and after what commits by itself; raises HistoryChanged, and puts the rows back."""
        tables, rows = self._look_apart()
        kept = self._connection.rows(f"BEGIN; {AS_OWNER}{_CONTENTS}")[0]
        self._connection.run("ROLLBACK")
        yield
        now, rows_now = self._look_apart()
        if found := _differences(tables, now) or _differences_of_rows(rows, rows_now):
            put_back = "the rows were put back" if self._put_back(kept) else "the rows could not be put back"
            raise self.error(found, f"it has committed that by itself, and {put_back}")
        self._tables = now

    def _put_back(self, kept: Row) -> bool:
        """Give the tables the rows that they had, as JSON, and make those that are gone; False where that fails."""
        from migrator.history.schema import CREATE_SQL, UPGRADE  # noqa: PLC0415 - for failures

        inserts = (
            f"DELETE FROM {SCHEMA}.{name}; INSERT INTO {SCHEMA}.{name} OVERRIDING SYSTEM VALUE SELECT * FROM "
            f"pg_catalog.json_populate_recordset(NULL::{SCHEMA}.{name}, {self._connection.literal(text)}); "
            for name, text in zip(_TABLES, kept, strict=True)
        )
        quietly = "SET LOCAL client_min_messages = warning;"
        try:
            self._connection.run(f"BEGIN READ WRITE; {AS_OWNER}{quietly}{CREATE_SQL}{UPGRADE}{''.join(inserts)}COMMIT")
        except ServerError:
            self._connection.rollback()
            return False
        return True

    @staticmethod
    def error(found: Sequence[str] = (), what_became: str = "it was rolled back") -> HistoryChanged:
        """Return the error of a file that has touched the history."""
        what = "; ".join(found) or f"the tables of {SCHEMA} were changed"
        return HistoryChanged(f"a file must not touch the history of the migrations: {what}; {what_became}", fix=_FIX)

    def _with_event_triggers(self, error: HistoryChanged) -> HistoryChanged:
        """Return the error with the event triggers that may have done it, whichever file has made them."""
        if not (names := [str(name) for (name,) in self._connection.rows(_EVENT_TRIGGERS)]):
            return error
        return error.replace(
            what=f"{error.what}; if no statement of this file did, an event trigger may have: {listed(names)}",
            fix=f"{error.fix}; or take {SCHEMA} out of what the event trigger does (ALTER EVENT TRIGGER ... DISABLE)",
        )

    def _look_apart(self) -> tuple[tuple[_Table, ...], tuple[str, ...]]:
        self._connection.run("BEGIN")
        found = self._look()
        self._connection.run("ROLLBACK")
        return found

    def _now(self) -> tuple[str, str]:
        """Return what tells quickly that something has changed, and which transaction this is."""
        written, same, transaction = self._connection.rows(
            f"SELECT ({self._counters})::pg_catalog.text, {' AND '.join((*self._same_tables, *self._same_parts))}, "
            "pg_catalog.txid_current()"
        )[0]
        return f"{written} {same}", str(transaction)

    def _look(self, after: str = "") -> tuple[tuple[_Table, ...], tuple[str, ...]]:
        """Return the tables as they are, and their rows where these can be asked for; sets the file's role aside."""
        oids = ", ".join(str(table.oid) for table in self._tables)
        which = f"c.oid OPERATOR(pg_catalog.=) ANY ('{{{oids}}}'::pg_catalog.oid[])"
        state = _STATE.format(rights=_RIGHTS, which=which)
        tables = _tables(self._connection.rows(f"SAVEPOINT {_SAVEPOINT}; {AS_OWNER}{state}"))
        alike = [table.aspects for table in tables] == [table.aspects for table in self._tables]
        rows = self._connection.rows(_ALL_ROWS)[0] if alike else ()
        self._connection.run(f"ROLLBACK TO {_SAVEPOINT}; RELEASE {_SAVEPOINT}; {after}")
        return tables, tuple(map(str, rows))


def _are_there(versions: Iterable[str]) -> tuple[str, ...]:
    """Return the conditions that rows of the catalog are where they were, and the same."""
    return tuple(
        f"EXISTS (SELECT FROM pg_catalog.{catalog} WHERE ctid OPERATOR(pg_catalog.=) '{place}'::pg_catalog.tid "
        f"AND xmin OPERATOR(pg_catalog.=) '{transaction}'::pg_catalog.xid)"
        for catalog, place, transaction in sorted({tuple(version.split()) for version in versions})
    )


def _tables(rows: list[Row]) -> tuple[_Table, ...]:
    return tuple(
        _Table(oid, (own, schema), tuple(indexes.split(";") if indexes else ()), tuple(columns), tuple(aspects))
        for oid, own, schema, indexes, columns, *aspects, _, _ in rows
    )


def _differences(before: tuple[_Table, ...], after: tuple[_Table, ...]) -> list[str]:
    """Return what has become of the tables, for people."""
    here = {table.oid: table for table in after}
    found = []
    for table in before:
        name = str(table.aspects[0]).split()[0]
        if table.oid not in here:
            found.append(f"{name} was dropped")
            continue
        pairs = zip(_ASPECTS.values(), table.aspects, here[table.oid].aspects, strict=True)
        found += [text.format(name) for text, old, new in pairs if old != new]
    return found


def _differences_of_rows(before: tuple[str, ...], after: tuple[str, ...]) -> list[str]:
    found = []
    names = (f"{SCHEMA}.{name}" for name in (*_TABLES, "run_lock"))
    for name, old, new in zip(names, before, after, strict=False):
        less = int(old.split()[0]) - int(new.split()[0])
        if less > 0 and new.startswith("0 "):
            found.append(f"{name} was emptied")
        elif less:
            found.append(f"{abs(less)} row{'s' * (abs(less) > 1)} of {name} {'deleted' if less > 0 else 'added'}")
        elif old != new:
            found.append(f"rows of {name} were changed")
    return found
