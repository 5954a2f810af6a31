"""Export: what is pending as one script that psql runs to the same end, the history included.

The statements of the history are those of the runner, written down by a connection that is a tape. Each file is in the
transactions that a run would give it, so a script that fails half way leaves what a failed run leaves.

A tape: a connection that writes down, for psql, what it is asked to send.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import closing
from typing import Any

from migrator import version
from migrator.context import RunContext
from migrator.database.connection import Connection, Row
from migrator.database.deadline import Deadline
from migrator.errors import NotExportable
from migrator.execution.checks import rows_sql
from migrator.execution.indexes import IndexBuild
from migrator.formatting import counted
from migrator.history import integrity, legacy, runs
from migrator.history.records import begin_step, close_steps, done_sql, end_step, open_steps, record_sql
from migrator.history.rows import AppliedMigration
from migrator.history.run_lock import KEY
from migrator.history.schema import SCHEMA
from migrator.planning.inspection import Inspection
from migrator.planning.plan import Pending
from migrator.scripts import ENDS, STEPWISE, Script, read_scripts, terminated
from migrator.sql import Kind, Statement

_COPY_CHUNK = 1 << 16  # characters
_HEAD = """\
-- {what}, made by db_setup {version}.
-- Run it with: psql -X -f FILE DATABASE; it stops at the first error, and what was not committed is not recorded.
\\set ON_ERROR_STOP on
\\set ON_ERROR_ROLLBACK off
\\set AUTOCOMMIT on
\\encoding UTF8
SET client_min_messages = warning;
DO $$ BEGIN
    IF NOT pg_catalog.pg_try_advisory_lock({key}) THEN
        RAISE EXCEPTION 'db_setup is at work on this database: try again when it has finished';
    END IF;
END $$;
"""
_CHECK = """\
SELECT count(*) = {count} AS db_setup_done FROM {schema}.history
    WHERE state = 'applied' AND (name, checksum) IN ({rows}) \\gset
\\if :db_setup_done
\\echo 'Nothing to do: this script has been run on this database.'
\\quit
\\endif
DO $$ BEGIN
    IF (SELECT count(*) FROM {schema}.history) <> {known} THEN
        RAISE EXCEPTION 'the history is not the one this script was made for: make it again (plan --sql)';
    END IF;
END $$;
"""
_UNLOCK = f"DO $$ BEGIN PERFORM pg_catalog.pg_advisory_unlock({KEY}); END $$;\n"
_NOTE = """SELECT coalesce(pg_catalog.json_agg(indexrelid::int8)::text, '[]') AS db_setup_note
    FROM pg_catalog.pg_index WHERE indrelid = pg_catalog.to_regclass({table}) \\gset
"""
_FOUND = """SELECT pg_catalog.set_config('db_setup.place', {place}, true) AS db_setup_place, pg_catalog.set_config(
    'db_setup.found', coalesce(pg_catalog.string_agg(found, ', '), ''), true) AS db_setup_found FROM (
{query}
) r \\gset
DO $$ BEGIN
    IF pg_catalog.current_setting('db_setup.found') !~ '^({{"([^"\\\\]|\\\\.)*":true}})?$' THEN
        RAISE EXCEPTION '%: the check found this: %',
            pg_catalog.current_setting('db_setup.place'), pg_catalog.current_setting('db_setup.found');
    END IF;
END $$;
"""


def export(context: RunContext, write: Callable[[str], Any]) -> None:
    """Write the script; raises what ``plan`` raises, and NotExportable for a file that is applied in part."""
    folder = context.read_folder()
    with closing(context.connect()) as connection:
        inspection = Inspection(context, folder, connection)
        inspection.plan.refuse_problems()
        if inspection.history.exists and not inspection.nothing_to_do:
            integrity.refuse_changes(connection)
        for item in inspection.plan.pending:
            if item.resumed:
                raise NotExportable(
                    f"{item.migration.name} is applied in part", fix="finish it with migrate; then export the rest"
                )
        scripts = read_scripts(item.migration for item in inspection.plan.pending)
        if inspection.nothing_to_do:
            write("-- Nothing to do.\n")
            return
        warnings = (
            *folder.warnings,
            *context.warnings,
            *inspection.plan.warnings,
            *(t for s in scripts for t in s.warnings),
        )
        for text in warnings:
            write(f"-- Warning: {' '.join(text.split())}\n")
        _Export(context, inspection, Tape(connection, write), write).whole(scripts)


class _Export:
    """One script on its way out."""

    def __init__(self, context: RunContext, inspection: Inspection, tape: Tape, write: Callable[[str], Any]) -> None:
        self._context, self._inspection, self._tape, self._write = context, inspection, tape, write
        self._reset = tape.reset_sql()
        self._digest = hashlib.sha256()

    def whole(self, scripts: list[Script]) -> None:
        pending = self._inspection.plan.pending
        what = counted(len(pending)) if pending else "what the history has to follow"
        self._write(_HEAD.format(what=what, version=version.PACKAGE_VERSION, key=KEY))
        if not self._inspection.history.exists:
            self._write("BEGIN;\n")
            runs.create(self._tape)
            self._write("COMMIT;\n")
        self._write(self._check())
        runs.begin_run(self._tape, "migrate", f"psql, by {self._context.request_id}")
        legacy.import_rows(self._tape, self._inspection.imported, RUN_ID)
        for rename in self._inspection.plan.renames:
            runs.rename(self._tape, *rename)
        for item, script in zip(pending, scripts, strict=True):
            self._write(f"\n-- {script.migration.name}\n{self._reset};\n\\encoding UTF8\n")
            self._file(item, script)
            if script.sets_defaults and runs.DEFAULTS_SQL not in self._reset:
                self._reset += f"; {runs.DEFAULTS_SQL}"
        self._write(f"\n{self._reset};\n")
        runs.end_run(self._tape, RUN_ID, "succeeded", "", {})
        self._write(_UNLOCK)

    def _check(self) -> str:
        """Return what ends a script that was run before, and refuses a database it was not made for."""
        literal, given = self._tape.literal, self._inspection.plan.pending
        rows = [f"({literal(item.migration.name)}, {literal(item.migration.checksum)})" for item in given]
        rows += [f"({literal(row.name)}, {literal(row.checksum)})" for row in self._inspection.imported]
        sums = {row.name: row.checksum for row in self._inspection.applied}
        rows += [f"({literal(rename.new)}, {literal(sums[rename.old])})" for rename in self._inspection.plan.renames]
        known = len(self._inspection.history.applied)  # with those of other environments
        return _CHECK.format(count=len(rows), rows=", ".join(rows), known=known, schema=SCHEMA)

    def _file(self, item: Pending, script: Script) -> None:
        name, checksum = item.migration.name, item.migration.checksum
        row = AppliedMigration(name, item.number, checksum, "running" if script.mode == STEPWISE else "applied")
        if script.mode == STEPWISE:
            self._stepwise(row, script)
            return
        record = record_sql(self._tape, row, script.mode, RUN_ID, script.down)
        self._write(f"{script.opening}\n{record};\n")
        for statement in script.body():
            self._statement(statement)
        if script.check is not None:
            self._write("SAVEPOINT db_setup_check;\n")
            self._ask(script.check)
            self._write("ROLLBACK TO db_setup_check;\n")
        self._write("COMMIT;\n")

    def _statement(self, statement: Statement) -> None:
        if statement.kind is Kind.EMPTY:
            return
        self._write(f"{terminated(statement.text)}\n")
        if statement.data is None:
            return
        piece = last = "\n"
        while piece:
            last, piece = piece, statement.data.read(_COPY_CHUNK)
            self._write(piece)
        self._write("\\.\n" if last.endswith("\n") else "\n\\.\n")

    def _stepwise(self, row: AppliedMigration, script: Script) -> None:
        open_steps(self._tape, row, RUN_ID, script.down)
        self._digest = hashlib.sha256()
        statements = script.steps()
        for step, statement in enumerate(statements, 1):
            self._chain(statement)
            if statement.kind is Kind.OUTSIDE:
                self._bare(row.name, step, statement)
                continue
            end = None
            self._write("BEGIN;\n" if statement.kind is not Kind.BEGIN else f"{terminated(statement.text)}\n")
            if statement.kind is not Kind.BEGIN:
                self._statement(statement)
            else:
                for end in statements:
                    self._chain(end)
                    if end.kind in ENDS:
                        break
                    self._statement(end)
            self._close_step(row.name, step, end)
        if script.check is not None:
            self._write("BEGIN;\n")
            self._ask(script.check)
            self._write("ROLLBACK;\n")
        close_steps(self._tape, row.name)

    def _ask(self, check: Script) -> None:
        """Write the questions of a check; the script ends where one finds something."""
        for statement in check.body():
            query = rows_sql(statement)
            if query is None:
                self._statement(statement)
                continue
            place = f"{check.migration.name}:{statement.line}"
            self._write(_FOUND.format(query=query, place=self._tape.literal(place)))

    def _chain(self, statement: Statement) -> None:
        self._digest.update(f"{len(statement.text)}:{statement.text}".encode())

    def _close_step(self, name: str, step: int, end: Statement | None) -> None:
        """End a step's transaction as its block does, and record it: inside where it commits, else after."""
        digest = self._digest.hexdigest()
        if end is None or end.kind is Kind.COMMIT:
            self._write(f"{done_sql(self._tape, name, step, digest)};\nCOMMIT;\n")
            return
        self._write(f"{terminated(end.text)}\n" if end.kind is Kind.PREPARE_TRANSACTION else "ROLLBACK;\n")
        end_step(self._tape, name, step, digest)

    def _bare(self, name: str, step: int, statement: Statement) -> None:
        """Write a step outside any transaction, announced before and recorded after, as a run does it."""
        note: str = ""
        if build := IndexBuild.parse(statement.text):
            self._write(_NOTE.format(table=self._tape.literal(build.table)))
            note = Verbatim(":'db_setup_note'")
        begin_step(self._tape, name, step, note)
        self._write("SET lock_timeout = 0;\n")
        self._statement(statement)
        self._write(f"SET lock_timeout = {max(1, int(self._tape.lock_timeout * 1000))};\n")
        end_step(self._tape, name, step, self._digest.hexdigest())


_PREFIX = "db_setup_"
_ANSWER: Row = (0, "", 0, "")


class Verbatim(str):
    """A value that is written into SQL as it stands."""

    __slots__ = ()


class _RunId(int):
    """The number of a run, which only psql will know: SQL gets the name of its variable."""

    def __format__(self, _: str) -> str:
        return f":{_PREFIX}id"


RUN_ID = _RunId(0)


class Tape(Connection):
    """Stands in for a connection of the same server; nothing is sent, and every answer is the same."""

    def __init__(self, real: Connection, write: Callable[[str], Any]) -> None:
        vars(self).update(vars(real))  # what literals and settings depend on
        self._deadline = Deadline(None)  # a script has all the time it needs
        self._write = write

    def run(self, sql: str) -> None:
        """Write the statements down."""
        self._write(f"{sql.strip().removesuffix(';')};\n")

    def rows(self, sql: str) -> list[Row]:
        """Write down a statement with one row, which psql keeps in variables."""
        self._write(f"{sql.strip()} \\gset {_PREFIX}\n")
        return [_ANSWER]

    def literal(self, value: object) -> str:
        """Return a value as an SQL literal."""
        return str(value) if isinstance(value, Verbatim) else super().literal(value)
