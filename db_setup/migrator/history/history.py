"""The history as one connection reads and writes it: the tables ``db_setup.history`` and ``db_setup.runs``.

What runs next to a migration's own statements names its schema, and its operators too, so that no search_path can
lead it astray.

The end of a run that writes the history seals it: each row gets its place in the hash chain, in the transaction that
records the end. A run that was killed, one that is at work, one of an earlier version and a script for psql leave their
row in ``runs`` without a head: then the rows are not sealed, nothing can be said of them, and the next run that ends
seals them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import starmap
from typing import TYPE_CHECKING

from psycopg2 import errorcodes

from migrator.database import SAFE_PATH_SQL, Connection
from migrator.errors import InconsistentHistory, ServerError
from migrator.formatting import quoted
from migrator.history.rows import QUESTION, SCHEMA, AppliedMigration, HistorySnapshot
from migrator.version import VERSION

if TYPE_CHECKING:
    from migrator.files import Migration
    from migrator.history.hash_chain import TamperedRow

# A column that tables of an earlier version do not have is found in what stands before LATERAL.
_MISSING = """(SELECT NULL::text AS history_head, NULL::text AS evidence, NULL::text AS down_sql,
    NULL::text AS chain, NULL::text AS previous, NULL::text AS step_session) missing"""
_ROWS = f"""
SELECT h.position, h.name, h.state, pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(h.facts, 'UTF8')), 'hex'),
    h.duration_ms, h.chain, h.previous
FROM {_MISSING}, LATERAL (
    SELECT position, name, state, duration_ms, chain, previous, pg_catalog.json_build_array(
        position, name, number, checksum, state, mode, steps, steps_checksum, step_begun, step_note,
        pg_catalog.to_char(applied_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US'), run_id, applied_by,
        package_version, evidence,
        pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(down_sql, 'UTF8')), 'hex'))::text
        OPERATOR(pg_catalog.||) coalesce(step_session, '') AS facts
    FROM {SCHEMA}.history) h"""
_HEAD = f"""
SELECT NULL::bigint, r.package_version, '', '', NULL::integer, r.history_head, NULL::text
FROM {_MISSING}, LATERAL (
    SELECT history_head, package_version FROM {SCHEMA}.runs WHERE action <> 'rotate' AND id <> {{but}}
    ORDER BY id DESC LIMIT 1) r"""
_PATIENCE = "SET statement_timeout = '10s'"  # the time of the run may be over, and this is to be recorded
_TABLES = f"""
SELECT pg_catalog.count(*) > 0, pg_catalog.bool_or(
    n.nspname = 'public' AND c.relname = 'schema_migrations' AND c.relkind IN ('r', 'p')
    AND c.relowner IN (d.datdba, (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = SESSION_USER)) AND 2 = (
        SELECT pg_catalog.count(*) FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = c.oid AND a.attname IN ('id', 'migration_name')))
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_database d ON d.datname = pg_catalog.current_database()
WHERE c.relkind IN ('r', 'p', 'f', 'm', 'v')
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', '{SCHEMA}')
  AND n.nspname !~ '^pg_(toast|temp)'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')"""

_TAKE_NEWER = "take the newer folder, since this one does not know what has changed"


class History:
    """The history of the database that a connection is to."""

    TAMPERING_FIX = (
        "put the row back as it was; or repair, which shows what it finds, and with --yes "
        '("confirm": true) takes the history as it is'
    )
    FIRST_GENERATION = "named in public.schema_migrations, the history of an earlier version of this tool"
    """The evidence for a migration that the first generation of this tool has recorded."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.warnings: list[str] = []
        """What a check has found that is no reason to refuse."""

    def read(self, *, dates: bool = False) -> HistorySnapshot:
        """Return what is applied, in the order of application; reads only, whatever it finds."""
        when = "pg_catalog.to_char(applied_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI UTC')" if dates else "''"
        question = f"CASE WHEN pg_catalog.starts_with(step_note, '{QUESTION}') THEN step_note ELSE '' END"
        query = f"SELECT name, number, checksum, state, {when}, {question} FROM {SCHEMA}.history ORDER BY position"
        try:
            rows, exists = self._connection.rows(query), True
        except ServerError as error:
            if error.sqlstate == errorcodes.INSUFFICIENT_PRIVILEGE:
                raise self._not_the_owner(error) from error
            if error.sqlstate != errorcodes.UNDEFINED_TABLE:
                raise
            rows, exists = [], False
        # The table of the first generation is believed only from the database's owner or from this user: a view, or a
        # table of somebody else's, could say anything, and run anything.
        has_tables, first_generation = (True, False) if rows else self._connection.rows(_TABLES)[0]
        return HistorySnapshot(tuple(starmap(AppliedMigration, rows)), exists, bool(has_tables), bool(first_generation))

    def read_first_generation(self, files: Sequence[Migration]) -> tuple[AppliedMigration, ...]:
        """Return the rows of the first generation's table as rows of ours, in the order of application."""
        from migrator.history.legacy import translate  # noqa: PLC0415 - once in the life of a database

        rows = self._connection.rows("SELECT migration_name FROM public.schema_migrations ORDER BY id")
        return translate([str(name) for (name,) in rows], files)

    def _not_the_owner(self, error: ServerError) -> ServerError:
        owner = self._connection.rows(
            f"SELECT pg_catalog.pg_get_userbyid(nspowner) FROM pg_catalog.pg_namespace WHERE nspname = '{SCHEMA}'"
        )[0][0]
        fix = f"run with the credentials of {quoted(owner)}, who owns the schema {SCHEMA}"
        return ServerError(error.sqlstate, "this user may not read the history", fix=fix)

    def create(self) -> None:
        """Create the schema and its tables; harmless where they are."""
        from migrator.history.schema import CREATE_SQL, UPGRADE  # noqa: PLC0415 - for runs that write

        try:
            self._connection.run(CREATE_SQL + UPGRADE)
        except ServerError as error:
            if error.sqlstate != errorcodes.INSUFFICIENT_PRIVILEGE:
                raise
            self._connection.rollback()  # of a rehearsal, which would answer nothing any more
            database, user = self._connection.rows("SELECT pg_catalog.current_database(), SESSION_USER")[0]
            grant = f"GRANT CREATE ON DATABASE {quoted(database)} TO {quoted(user)}"
            raise error.replace(fix=f"as the database's owner: {grant}") from error
        self._connection.take_notices()  # of what is there already

    # ---- runs

    def begin_run(self, action: str, request_id: str, message: str = "") -> int:
        """Record that a run has begun, and return its number; tables of an earlier version get what is new."""
        from migrator.history.schema import IS_NEWEST, UPGRADE  # noqa: PLC0415 - for runs that write

        values = self._connection.literals(action, request_id, VERSION, message)
        sql = f"INSERT INTO {SCHEMA}.runs (action, request_id, package_version, message) VALUES ({values}) RETURNING id"
        number, newest = self._connection.rows(f"{sql}, {IS_NEWEST}")[0][:2]
        if not newest:
            self._connection.run(UPGRADE)
            self._connection.take_notices()
        return int(number)

    def end_run(self, run_id: int, outcome: str, message: str, durations: Mapping[str, int]) -> None:
        """Record how a run ended, and how many milliseconds each of its migrations took, and seal the rows."""
        from migrator.history.hash_chain import ChainRow, seal  # noqa: PLC0415 - for runs that write

        found = self._connection.rows(f"{SAFE_PATH_SQL}; {_PATIENCE}; {_ROWS} ORDER BY 1")
        rows = list(map(ChainRow._make, found))
        seals, head = seal(rows, durations)
        changed = [
            (row.name, durations.get(row.name, row.duration_ms), item.chain, item.previous)
            for row, item in zip(rows, seals, strict=True)
            if (row.chain, row.previous) != (item.chain, item.previous)
        ]
        self._write_end(run_id, outcome, message, head, changed)

    def end_run_unsealed(self, run_id: int, outcome: str, message: str = "") -> None:
        """Record the end of a rotation, whose row says nothing about whether the history is sealed."""
        self._write_end(run_id, outcome, message, None, [])

    def end_run_as_sealed(self, run_id: int) -> None:
        """Record the end of a run that did not write the history: its rows stay sealed, or not, as they were before."""
        found = self._connection.rows(_HEAD.format(but=run_id))
        self._write_end(run_id, "succeeded", "", found[0][5] if found else None, [])

    def _write_end(
        self, run_id: int, outcome: str, message: str, head: str | None, changed: Sequence[Sequence[object]]
    ) -> None:
        """Write the end of a run, and the rows it changed (name, milliseconds, chain, previous), all or nothing."""
        literal = self._connection.literal
        sql = (
            f"{SAFE_PATH_SQL}; "  # what follows in this session is ours again
            f"UPDATE {SCHEMA}.runs SET finished_at = pg_catalog.clock_timestamp(), outcome = {literal(outcome)}, "
            f"message = {literal(message)}{'' if head is None else f', history_head = {literal(head)}'} "
            f"WHERE id OPERATOR(pg_catalog.=) {run_id}"
        )
        if changed:
            columns = [_array(column) for column in zip(*changed, strict=True)]
            names, ms, chains, previous = map(literal, columns)
            sql += (
                f"; UPDATE {SCHEMA}.history h SET duration_ms = d.ms, chain = d.chain, previous = d.previous FROM ROWS "
                f"FROM (pg_catalog.unnest({names}::text[]), pg_catalog.unnest({ms}::integer[]), "
                f"pg_catalog.unnest({chains}::text[]), pg_catalog.unnest({previous}::text[])) "
                "AS d (name, ms, chain, previous) WHERE h.name OPERATOR(pg_catalog.=) d.name"
            )
        self._connection.run(sql)

    def unfinished_rotation(self, request_id: str) -> tuple[int, str]:
        """Return number and start of a rotation: one of the last hour that did not succeed, or a new one."""
        unfinished = (
            f"SELECT id, started_at::text FROM {SCHEMA}.runs WHERE id = (SELECT max(id) FROM {SCHEMA}.runs "
            "WHERE action = 'rotate') AND outcome <> 'succeeded' "
            "AND started_at > pg_catalog.clock_timestamp() - interval '1 hour'"
        )
        if not self._connection.rows(unfinished):
            self.begin_run("rotate", request_id)
        number, started = self._connection.rows(unfinished)[0]
        return int(number), str(started)

    def last_run(self) -> str:
        """Return which run was the last, for people."""
        rows = self._connection.rows(f"SELECT id, request_id FROM {SCHEMA}.runs ORDER BY id DESC LIMIT 1")
        return f"run {rows[0][0]} ({rows[0][1]})" if rows else "another run"

    def applied_by(self, run_ids: Sequence[int]) -> list[tuple[str, str, str, int]]:
        """Return number, name, mode and milliseconds of what the given runs applied."""
        rows = self._connection.rows(
            f"SELECT number, name, mode, coalesce(duration_ms, 0) FROM {SCHEMA}.history WHERE state = 'applied' "
            f"AND run_id IN ({', '.join(map(str, run_ids))}) ORDER BY position"
        )
        return [(number, name, mode, ms) for number, name, mode, ms in rows]

    # ---- integrity

    def tampered_rows(self) -> list[TamperedRow]:
        """Return what was changed by hand in a history that is there; one query, which reads only."""
        return self.check()[0]

    def check(self) -> tuple[list[TamperedRow], bool]:
        """Return what was changed by hand, and whether the rows are sealed, so that it would show."""
        from migrator.history.hash_chain import ChainRow, examine  # noqa: PLC0415 - for runs that write

        found = self._connection.rows(f"{_HEAD.format(but=0)} UNION ALL {_ROWS} ORDER BY 1 NULLS FIRST")
        if not found or found[0][0] is not None:
            return [], False  # without any run
        version, head = found[0][1], found[0][5]
        if version != VERSION and _numbers(version) > _numbers(VERSION):
            self.warnings = [f"the history was written by db_setup {version}, and this is {VERSION}: {_TAKE_NEWER}"]
        return examine(list(map(ChainRow._make, found[1:])), head), head is not None

    def refuse_tampering(self) -> None:
        """Raise InconsistentHistory that names what was changed by hand, if anything was; before a run writes."""
        self.refuse(self.tampered_rows())

    def refuse(self, found: Sequence[TamperedRow]) -> None:
        """Raise InconsistentHistory for rows that were found to be changed by hand, if there are any."""
        if found:
            what = "; ".join(row.message for row in found)
            raise InconsistentHistory(what, fix=self.TAMPERING_FIX, applied="nothing was run")

    # ---- rows that no migration writes

    def rename(self, old: str, new: str, number: str) -> None:
        """Let the history follow a file that was renamed or renumbered."""
        literal = self._connection.literal
        self._connection.run(
            f"UPDATE {SCHEMA}.history SET name = {literal(new)}, number = {literal(number)} "
            f"WHERE name OPERATOR(pg_catalog.=) {literal(old)}"
        )

    def answer(self, row: AppliedMigration, *, done: bool) -> None:
        """Record what a person says of the step that a row has a question about; raises StepUndecided."""
        from migrator.history.questions import Question  # noqa: PLC0415 - for files that wait for an answer

        question, literal = Question.parse(row.question), self._connection.literal
        if done:
            session = "step_session::pg_catalog.jsonb"
            known = f"{session} OPERATOR(pg_catalog.->) 'base', 'now', {session} OPERATOR(pg_catalog.->) 'before'"
            values = (
                f"steps = step_begun, steps_checksum = {literal(question.checksum)}, step_session = "
                f"CASE WHEN {session} OPERATOR(pg_catalog.?) 'before' "
                f"THEN pg_catalog.jsonb_build_object('base', {known})::pg_catalog.text ELSE step_session END"
            )
        else:
            values = "step_begun = 0"
        changed = self._connection.rows(
            f"UPDATE {SCHEMA}.history SET {values}, step_note = '' "
            f"WHERE name OPERATOR(pg_catalog.=) {literal(row.name)} "
            f"AND step_note OPERATOR(pg_catalog.=) {literal(row.question)}"
            f"{'' if done else ' AND step_begun OPERATOR(pg_catalog.>) steps'} RETURNING 1"
        )
        if not changed:
            raise row.undecided.replace(
                what=f"this step is done and cannot be repeated: {question.text}",
                fix="write SET statements for what the rest needs before the next one, then: "
                "python db_setup resolve --step done --yes",
            )

    def record_known(self, rows: Iterable[tuple[AppliedMigration, str]], mode: str, run_id: int) -> None:
        """Record migrations that were applied before there was this history, each with its evidence; all or none."""
        from migrator.history.run_lock import RunLock  # noqa: PLC0415 - for adoptions

        values = ", ".join(
            f"({self._connection.literals(*row[:3])}, CASE WHEN {RunLock.HELD_SQL} THEN 'applied' END, "
            f"'{mode}', {run_id}, '{VERSION}', {self._connection.literal(evidence)})"
            for row, evidence in rows
        )
        if values:
            self._connection.run(
                f"INSERT INTO {SCHEMA}.history (name, number, checksum, state, mode, run_id, package_version, "
                f"evidence) VALUES {values} ON CONFLICT (name) DO NOTHING"
            )

    def import_first_generation(self, rows: Iterable[AppliedMigration], run_id: int) -> None:
        """Take over the rows of the first generation's table, in one transaction; that table stays as it is."""
        self.record_known(((row, self.FIRST_GENERATION) for row in rows), "imported", run_id)

    def record_locks(self, run_id: int, report: str) -> None:
        """Keep the lock report of a run, a text of JSON, in its row."""
        self._connection.run(
            f"UPDATE {SCHEMA}.runs SET lock_report = {self._connection.literal(report)}::pg_catalog.jsonb "
            f"WHERE id OPERATOR(pg_catalog.=) {run_id}"
        )


def _numbers(version: str) -> list[int]:
    """Return a version in comparable form; one that is not made of numbers is older than all."""
    parts = version.split(".")
    return list(map(int, parts)) if all(part.isdecimal() for part in parts) else []


def _array(values: Iterable[object]) -> str:
    """Return an array as one text, since the server takes long to read a literal for each of thousands of values."""
    escaped = (None if value is None else str(value).replace("\\", "\\\\").replace('"', '\\"') for value in values)
    elements = ("NULL" if text is None else f'"{text}"' for text in escaped)
    return f"{{{','.join(elements)}}}"
