"""The history as one connection reads and writes it: the tables ``db_setup.history`` and ``db_setup.runs``.

What runs next to a migration's own statements names its schema, and its operators too, so that no search_path can
lead it astray.

The end of a run that writes the history seals it: each row gets its place in the hash chain, in the transaction that
records the end. A run that was killed, one that is at work, one of an earlier version and a script for psql leave their
row in ``runs`` without a head: then the rows are not sealed, nothing can be said of them, and the next run that ends
seals them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import starmap
from typing import TYPE_CHECKING

from psycopg2 import errorcodes

from migrator.database import Connection
from migrator.errors import DbSetupError, InconsistentHistory, ServerError
from migrator.formatting import quoted
from migrator.history.refusals import creation_refused, locked
from migrator.history.rows import DIGITS, NEXT_POSITION, QUESTION, SCHEMA, AppliedMigration, HistorySnapshot
from migrator.version import VERSION

if TYPE_CHECKING:
    from migrator.files import Migration
    from migrator.history.fence import Fence
    from migrator.history.hash_chain import TamperedRow

# A column that tables of an earlier version do not have is found in what stands before LATERAL.
_MISSING = """(SELECT NULL::text AS history_head, NULL::text AS evidence, NULL::text AS down_sql,
    NULL::text AS chain, NULL::text AS previous, NULL::text AS earlier_checksums, NULL::text AS step_session) missing"""
_ROWS = f"""
SELECT h.position, h.name, h.state, pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(h.facts, 'UTF8')), 'hex'),
    h.duration_ms, h.chain, h.previous
FROM {_MISSING}, LATERAL (
    SELECT position, name, state, duration_ms, chain, previous, pg_catalog.concat(pg_catalog.json_build_array(
        position, name, number, checksum, state, mode, steps, steps_checksum, step_begun, step_note,
        pg_catalog.to_char(applied_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US'), run_id, applied_by,
        package_version, evidence,
        pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(down_sql, 'UTF8')), 'hex'))::text,
        earlier_checksums, step_session) AS facts
    FROM {SCHEMA}.history) h"""
_HEAD = f"""
SELECT NULL::bigint, r.package_version, '', '', NULL::integer, r.history_head, NULL::text
FROM {_MISSING}, LATERAL (
    SELECT history_head, package_version FROM {SCHEMA}.runs WHERE action <> 'rotate' AND id <> {{but}}
    ORDER BY id DESC LIMIT 1) r"""
# Where the OIDs of a fence were read: those of a database that was restored from a dump, or upgraded, are others.
_STAMP = (
    f"pg_catalog.concat_ws('/', '{SCHEMA}.runs'::pg_catalog.regclass::pg_catalog.oid, "
    f"'{SCHEMA}'::pg_catalog.regnamespace::pg_catalog.oid, (SELECT oid FROM pg_catalog.pg_database "
    "WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database()))"
)
_NOT_RUN_HERE = "mode OPERATOR(pg_catalog.=) ANY ('{adopted,baseline,imported}')"
# The newest fence, while there can be a file that it holds: one that comes late, or one of its own that is not applied,
# under its name or renamed since.
_FENCE = f"""(SELECT pg_catalog.json_build_array(f.fence, (f.fence OPERATOR(pg_catalog.->>) 'stamp')
        OPERATOR(pg_catalog.=) {_STAMP}, (
            SELECT pg_catalog.json_agg(pg_catalog.json_build_array(name, number)) FROM {SCHEMA}.history
            WHERE {_NOT_RUN_HERE} AND NOT pg_catalog.starts_with(name, 'repeatable/')))::text
    FROM (SELECT NULL::jsonb AS fence) missing, LATERAL (
        SELECT fence FROM {SCHEMA}.runs WHERE fence IS NOT NULL ORDER BY id DESC LIMIT 1) f
    WHERE f.fence OPERATOR(pg_catalog.->>) 'last' OPERATOR(pg_catalog.<>) ''
        OR EXISTS (SELECT FROM pg_catalog.jsonb_array_elements(f.fence OPERATOR(pg_catalog.->) 'files') e(file)
        WHERE NOT EXISTS (SELECT FROM {SCHEMA}.history h WHERE h.state OPERATOR(pg_catalog.=) 'applied'
            AND (h.name OPERATOR(pg_catalog.=) (e.file OPERATOR(pg_catalog.->>) 0)
                OR h.checksum OPERATOR(pg_catalog.=) (e.file OPERATOR(pg_catalog.->>) 2))))) AS fence"""
# No number is taken from a sequence, which a file could move, and no rollback moves back. They are kept in step for the
# packages of an earlier version; one that is close to its end has been moved.
_SEQUENCES = f"""(VALUES
    ('runs', pg_catalog.pg_get_serial_sequence('{SCHEMA}.runs', 'id')::pg_catalog.regclass),
    ('history', pg_catalog.pg_get_serial_sequence('{SCHEMA}.history', 'position')::pg_catalog.regclass)
    ) AS s (of, sequence)"""
_MOVED = 1 << 62
_OUT_OF_TIME = f"""(SELECT pg_catalog.json_agg(CASE WHEN outcome OPERATOR(pg_catalog.=) 'failed'
        AND pg_catalog.strpos(message, '[deadline_reached]') OPERATOR(pg_catalog.>) 0 THEN message ELSE '' END
        ORDER BY id DESC)::pg_catalog.text FROM (SELECT id, outcome, message FROM {SCHEMA}.runs
        WHERE action OPERATOR(pg_catalog.=) {{action}} ORDER BY id DESC LIMIT 9) r) AS out_of_time"""
_LAST_POSITION = f"""(SELECT GREATEST(pg_catalog.max(position), (
        SELECT CASE WHEN last OPERATOR(pg_catalog.<) {_MOVED} THEN last END
        FROM {_SEQUENCES}, LATERAL (SELECT CASE WHEN pg_catalog.has_sequence_privilege(sequence, 'USAGE')
            THEN pg_catalog.pg_sequence_last_value(sequence) END) AS l (last)
        WHERE of OPERATOR(pg_catalog.=) 'history')) FROM {SCHEMA}.history) AS last_position"""
_WHEN = "pg_catalog.to_char(h.applied_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI UTC')"
_WHO = "pg_catalog.concat(' by ', h.applied_by, ' in run ' OPERATOR(pg_catalog.||) h.run_id)"
_PATIENCE = "statement_timeout = '10s'"  # the time of the run may be over, and this is to be recorded
_OF_SCHEMAS = ", ".join(
    f"'pg_catalog.{name}'::pg_catalog.regclass"
    for name in (
        "pg_class", "pg_proc", "pg_type", "pg_operator", "pg_collation", "pg_conversion", "pg_opclass", "pg_opfamily",
        "pg_ts_config", "pg_ts_dict", "pg_ts_parser", "pg_ts_template", "pg_statistic_ext",
    )
)  # fmt: skip
_CONTENTS = f"""
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_depend o
        ON o.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND o.refobjid = n.oid
    WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', '{SCHEMA}') AND n.nspname !~ '^pg_(toast|temp)'
        AND o.classid IN ({_OF_SCHEMAS}) AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e
            WHERE e.classid = o.classid AND e.objid = o.objid AND e.deptype = 'e')
), EXISTS (
    SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_database d ON d.datname = pg_catalog.current_database()
    WHERE n.nspname = 'public' AND c.relname = 'schema_migrations' AND c.relkind IN ('r', 'p')
        AND c.relowner IN (d.datdba, (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = SESSION_USER)) AND 2 = (
            SELECT pg_catalog.count(*) FROM pg_catalog.pg_attribute a
            WHERE a.attrelid = c.oid AND a.attname IN ('id', 'migration_name')))"""
_LAST_WORD = f"""
SELECT action FROM {SCHEMA}.runs WHERE outcome = 'succeeded' AND action IN ('rollback', 'baseline', 'adopted', 'repair')
    ORDER BY id DESC LIMIT 1"""
"""What has left a history without rows. One that a failed first run leaves says nothing of what is applied, nor does
one whose rows a repair has forgotten."""

_SAYS_NONE = ([("rollback",)], [("baseline",)])
_TAKEN_OVER = f"""
SELECT 1 FROM {SCHEMA}.runs WHERE action <> 'rotate' AND (outcome = 'succeeded' OR action = 'rollback') LIMIT 1"""
"""Finds a run that came after the import of the first generation's table: the import is part of the first one."""

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
        self.fence: Fence | None = None
        """The fence that holds in the run, which is read when that is begun."""
        self.out_of_time: list[str] = []
        """The messages of the runs of an action before the one that is begun, empty for one that had the time."""
        self._position = 0  # the last that was given, once a run has begun

    def read(self, *, dates: bool = False) -> HistorySnapshot:
        """Return what is applied, in the order of application; reads only, whatever it finds."""
        when, who = (_WHEN, _WHO) if dates else ("''", "''")
        question = f"CASE WHEN pg_catalog.starts_with(h.step_note, '{QUESTION}') THEN h.step_note ELSE '' END"
        query = (
            f"SELECT h.name, h.number, h.checksum, h.state, {when}, coalesce(h.earlier_checksums, ''), {question}, "
            f"{who} FROM {_MISSING}, LATERAL (SELECT name, number, checksum, state, applied_at, step_note, position, "
            f"earlier_checksums, applied_by, run_id FROM {SCHEMA}.history) h ORDER BY h.position"
        )
        query = f"SET LOCAL row_security = off; {query}"  # with it on, and forced, an owner would not see the rows
        try:
            rows, exists = self._connection.rows(query), True
        except ServerError as error:
            if error.sqlstate == errorcodes.INSUFFICIENT_PRIVILEGE:
                raise self._unreadable(error) from error
            if error.sqlstate != errorcodes.UNDEFINED_TABLE:
                raise
            rows, exists = [], False
        # The table of the first generation is believed only from the database's owner or from this user: a view, or a
        # table of somebody else's, could say anything, and run anything.
        if rows:
            return HistorySnapshot(tuple(starmap(AppliedMigration, rows)), exists, has_tables=True)
        has_tables, first_generation = self._connection.rows(_CONTENTS)[0]
        if exists and first_generation:  # its rows have been taken over, and are gone since: rolled back, or forgotten
            first_generation = not self._connection.rows(_TAKEN_OVER)
        none_applied = exists and has_tables and self._connection.rows(_LAST_WORD) in _SAYS_NONE
        return HistorySnapshot((), exists, has_tables, first_generation, none_applied)

    def read_first_generation(self, files: Sequence[Migration]) -> tuple[AppliedMigration, ...]:
        """Return the rows of the first generation's table as rows of ours, in the order of application."""
        from migrator.history.legacy import translate  # noqa: PLC0415 - once in the life of a database

        rows = self._connection.rows("SELECT migration_name FROM public.schema_migrations ORDER BY id")
        return translate([str(name) for (name,) in rows], files)

    def warn_of_first_generation(self) -> tuple[str, ...]:
        """Return a warning of the logins that the first generation has left."""
        from migrator.history.legacy import warn_of_logins  # noqa: PLC0415 - once in the life of a database

        return warn_of_logins(self._connection)

    def _unreadable(self, error: ServerError) -> DbSetupError:
        from migrator.history.schema import OBSTACLES  # noqa: PLC0415 - for failures

        if (remedy := self._connection.rows(f"SELECT {OBSTACLES}")[0][0]) is not None:
            return locked(remedy)
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
            raise creation_refused(self._connection, error) from error
        self._connection.take_notices()  # of what is there already

    # ---- runs

    def begin_run(self, action: str, request_id: str, message: str = "") -> int:
        """Record that a run has begun, and return its number; tables of an earlier version get what is new."""
        from migrator.history.schema import IS_NEWEST, OBSTACLES, UPGRADE  # noqa: PLC0415 - for runs that write

        values = self._connection.literals(action, request_id, VERSION, message)
        found = self._connection.rows(
            f"INSERT INTO {SCHEMA}.runs (id, action, request_id, package_version, message) OVERRIDING SYSTEM VALUE "
            f"SELECT (SELECT coalesce(pg_catalog.max(id), 0) OPERATOR(pg_catalog.+) 1 FROM {SCHEMA}.runs), {values} "
            f"WHERE {OBSTACLES} IS NULL RETURNING id, {IS_NEWEST}, {_FENCE}, {_LAST_POSITION}, "
            f"{_OUT_OF_TIME.format(action=self._connection.literal(action))}"
        )
        if not found:
            raise locked(self._connection.rows(f"SELECT {OBSTACLES}")[0][0])
        number, newest, fence, last = found[0][:4]
        self.fence, self._position, self.out_of_time = _fence(fence), int(last or 0), json.loads(found[0][4] or "[]")
        if not newest:
            self._connection.run(UPGRADE)
            self._connection.take_notices()
        return int(number)

    def next_position(self) -> int:
        """Return the place of the next row that the run writes, which it has the run lock for."""
        self._position += 1
        return self._position

    def end_run(self, run_id: int, outcome: str, message: str, durations: Mapping[str, int]) -> None:
        """Record how a run ended, and how many milliseconds each of its migrations took, and seal the rows."""
        from migrator.history.hash_chain import ChainRow, seal  # noqa: PLC0415 - for runs that write

        found = self._connection.rows(f"{self._ours_again()}; {_ROWS} ORDER BY 1")
        rows = list(map(ChainRow._make, found))
        seals, head = seal(rows, durations)
        changed = [
            (row.name, durations.get(row.name, row.duration_ms), item.chain, item.previous)
            for row, item in zip(rows, seals, strict=True)
            if (row.chain, row.previous) != (item.chain, item.previous)
        ]
        self._write_end(run_id, outcome, message, head, changed, self._sequences_sql())

    def _ours_again(self) -> str:
        """Return the settings for what follows, in the session if that is ours: no file runs in it any more."""
        return f"{self._connection.safe_path_sql}; {self._connection.setting} {_PATIENCE}"

    def _sequences_sql(self) -> str:
        """Return the statement that moves the sequences to the last numbers, where they can be moved."""
        return (
            f"SELECT pg_catalog.setval(sequence, last) FROM {_SEQUENCES} JOIN (VALUES "
            f"('runs', (SELECT pg_catalog.max(id) FROM {SCHEMA}.runs)), ('history', (SELECT GREATEST({self._position}, "
            f"pg_catalog.max(position)) FROM {SCHEMA}.history))) AS n (of, last) "
            "ON n.of OPERATOR(pg_catalog.=) s.of JOIN pg_catalog.pg_sequence p ON p.seqrelid "
            "OPERATOR(pg_catalog.=) sequence::pg_catalog.oid WHERE last OPERATOR(pg_catalog.>=) seqmin AND last "
            "OPERATOR(pg_catalog.<=) seqmax AND pg_catalog.has_sequence_privilege(sequence, 'UPDATE')"
        )

    def end_run_unsealed(self, run_id: int, outcome: str, message: str = "") -> None:
        """Record the end of a rotation, whose row says nothing about whether the history is sealed."""
        self._write_end(run_id, outcome, message, None, [])

    def end_run_as_sealed(self, run_id: int) -> None:
        """Record the end of a run that did not write the history: its rows stay sealed, or not, as they were before."""
        found = self._connection.rows(_HEAD.format(but=run_id))
        self._write_end(run_id, "succeeded", "", found[0][5] if found else None, [])

    def _write_end(
        self, run_id: int, outcome: str, message: str, head: str | None, changed: Sequence[Sequence[object]],
        also: str = "",
    ) -> None:  # fmt: skip
        """Write the end of a run, and the rows it changed (name, milliseconds, chain, previous), all or nothing."""
        literal = self._connection.literal
        sql = (
            f"{self._ours_again()}; "
            f"UPDATE {SCHEMA}.runs SET finished_at = pg_catalog.clock_timestamp(), outcome = {literal(outcome)}, "
            f"message = {literal(message)}{'' if head is None else f', history_head = {literal(head)}'} "
            f"WHERE id OPERATOR(pg_catalog.=) {run_id}"
        )
        if head is not None and self._connection.shares_sessions:  # a later run may have ended before this one
            sql += (
                f"; UPDATE {SCHEMA}.runs SET history_head = {literal(head)} WHERE id OPERATOR(pg_catalog.>) {run_id} "
                "AND outcome OPERATOR(pg_catalog.<>) 'running' AND action OPERATOR(pg_catalog.<>) 'rotate'"
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
        self._connection.run(f"{sql}; {also}" if also else sql)

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

    # ---- rows that are removed

    def removals(self) -> list[tuple[str, dict[str, str | None]]]:
        """Return of each run that took rows from the history its action, and the numbers by name, in order.

        None for a number: another file has taken the place of that one. Tables of an earlier version have none.
        """
        found = self._connection.rows(
            "SELECT action, removed FROM (SELECT id, action, pg_catalog.to_jsonb(r) -> 'removed' AS removed "
            f"FROM {SCHEMA}.runs r) r WHERE pg_catalog.jsonb_typeof(removed) = 'object' ORDER BY id"
        )
        return [(action, removed) for action, removed in found]

    def removal_sql(self, removed: Mapping[str, str | None]) -> str:
        """Return the statement with which the last run, which is at work, records what it takes from the history."""
        literal = self._connection.literal(json.dumps(removed))
        return (
            f"UPDATE {SCHEMA}.runs SET removed = coalesce(removed, '{{}}'::pg_catalog.jsonb) "
            f"OPERATOR(pg_catalog.||) {literal}::pg_catalog.jsonb "
            f"WHERE id OPERATOR(pg_catalog.=) (SELECT pg_catalog.max(id) FROM {SCHEMA}.runs)"
        )

    # ---- rows that no migration writes

    def rename(self, old: str, new: str, number: str) -> None:
        """Let the history follow a file that was renamed or renumbered."""
        literal = self._connection.literal
        self._connection.run(
            f"UPDATE {SCHEMA}.history SET name = {literal(new)}, number = {literal(number)} "
            f"WHERE name OPERATOR(pg_catalog.=) {literal(old)}"
        )

    def expect_again(self, names: Iterable[str]) -> None:
        """Have repeatable files that are gone run again should they come back; their texts stay known."""
        listed = ", ".join(map(self._connection.literal, names))
        text = f"pg_catalog.substr(checksum, 1, {DIGITS})"
        self._connection.run(
            f"UPDATE {SCHEMA}.history SET earlier_checksums = pg_catalog.concat_ws(' ', earlier_checksums, {text}), "
            f"checksum = '' WHERE name OPERATOR(pg_catalog.=) ANY (ARRAY[{listed}])"
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

    def record_known(
        self, rows: Iterable[tuple[AppliedMigration, str]], mode: str, run_id: int, downs: Mapping[str, str]
    ) -> None:
        """Record migrations that were applied before there was this history, each with its evidence; all or none.

        ``downs`` are the texts of their down migrations, by the name of the migration.
        """
        values = ", ".join(
            f"({self.next_position()}, {self._connection.literals(*row[:3])}, "
            f"CASE WHEN {self._connection.holds_run_lock} THEN 'applied' END, "
            f"'{mode}', {run_id}, '{VERSION}', {self._connection.literals(evidence, downs.get(row.name))})"
            for row, evidence in rows
        )
        if values:
            self._connection.run(
                f"INSERT INTO {SCHEMA}.history (position, name, number, checksum, state, mode, run_id, "
                f"package_version, evidence, down_sql) OVERRIDING SYSTEM VALUE VALUES {values} "
                "ON CONFLICT (name) DO NOTHING"
            )

    def not_run_here(self) -> list[str]:
        """Return the names of the migrations that were recorded as applied, and not run."""
        rows = self._connection.rows(
            f"SELECT name FROM {SCHEMA}.history WHERE {_NOT_RUN_HERE} ORDER BY position"
        )
        return [str(name) for (name,) in rows]

    def forget(self, names: Iterable[str]) -> None:
        """Remove the rows of migrations that were recorded as applied by mistake."""
        if listed_names := self._connection.literals(*names):
            self._connection.run(f"DELETE FROM {SCHEMA}.history WHERE name IN ({listed_names})")

    def record_sql(self, row: AppliedMigration, evidence: str, down: str | None) -> str:
        """Return the statement that records a file as applied, by the last run, which is at work."""
        return (
            f"INSERT INTO {SCHEMA}.history (position, name, number, checksum, state, mode, run_id, package_version, "
            f"evidence, down_sql) OVERRIDING SYSTEM VALUE SELECT {NEXT_POSITION}, "
            f"{self._connection.literals(*row[:3])}, 'applied', 'baseline', "
            f"pg_catalog.max(id), '{VERSION}', {self._connection.literals(evidence, down)} FROM {SCHEMA}.runs"
        )

    def import_first_generation(self, rows: Iterable[AppliedMigration], run_id: int, downs: Mapping[str, str]) -> None:
        """Take over the rows of the first generation's table, in one transaction; that table stays as it is."""
        self.record_known(((row, self.FIRST_GENERATION) for row in rows), "imported", run_id, downs)

    def record_locks(self, run_id: int, report: str) -> None:
        """Keep the lock report of a run, a text of JSON, in its row."""
        self._connection.run(
            f"UPDATE {SCHEMA}.runs SET lock_report = {self._connection.literal(report)}::pg_catalog.jsonb "
            f"WHERE id OPERATOR(pg_catalog.=) {run_id}"
        )

    # ---- the fence of an adoption

    def record_fence(self, run_id: int, fence: Fence) -> None:
        """Keep the fence of an adoption in its row; it holds from the next run on, in place of an earlier one."""
        stored = f"{self._connection.literal(fence.as_json())}::pg_catalog.jsonb"
        stamp = f"pg_catalog.jsonb_build_object('stamp', {_STAMP})"
        self._connection.run(
            f"UPDATE {SCHEMA}.runs SET fence = {stored} OPERATOR(pg_catalog.||) {stamp} "
            f"WHERE id OPERATOR(pg_catalog.=) {run_id}"
        )

    def lift_fence(self, run_id: int) -> None:
        """Record that no file is fenced any more: from now on a person answers for what they change."""
        from migrator.history.fence import Fence  # noqa: PLC0415 - for adoptions

        self.record_fence(run_id, Fence())

    def read_fence(self) -> Fence | None:
        """Return the fence that holds now, for those who begin no run; None where each of its files is applied."""
        return _fence(self._connection.rows(f"SELECT {_FENCE}")[0][0])


def _fence(found: str | None) -> Fence | None:
    """Return a fence as the history has it: its JSON, and whether the OIDs in it are those of this database."""
    if not found:
        return None
    from migrator.history.fence import Fence  # noqa: PLC0415 - for databases that were adopted

    stored, same, not_run_here = json.loads(found)
    return Fence.of_json(stored, not_run_here or (), oids_hold=bool(same))


def _numbers(version: str) -> list[int]:
    """Return a version in comparable form; one that is not made of numbers is older than all."""
    parts = version.split(".")
    return list(map(int, parts)) if all(part.isdecimal() for part in parts) else []


def _array(values: Iterable[object]) -> str:
    """Return an array as one text, since the server takes long to read a literal for each of thousands of values."""
    escaped = (None if value is None else str(value).replace("\\", "\\\\").replace('"', '\\"') for value in values)
    elements = ("NULL" if text is None else f'"{text}"' for text in escaped)
    return f"{{{','.join(elements)}}}"
