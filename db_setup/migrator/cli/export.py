"""Export: what is pending as one script that psql runs to the same end, the history included.

The statements of the history are those of the runner, written by a connection that is a tape. Each file is in the
transactions that a run would give it, so a script that fails half way leaves what a failed run leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from typing import Any

from migrator.adoption import find_applied
from migrator.context import RunContext
from migrator.database import Connection, Deadline, Readable, Row
from migrator.errors import NotExportable
from migrator.execution import FileFence, StepwiseRun, rows_sql
from migrator.files import Folder
from migrator.formatting import counted
from migrator.history import SCHEMA, ApplyRecord, History, Record, RunLock
from migrator.planning import Inspection, Pending, inspect
from migrator.scripts import STEPWISE, Script, down_texts, read_scripts, terminated
from migrator.sql import Statement
from migrator.version import VERSION

_COPY_CHUNK = 1 << 16  # characters
_HEAD = """\
-- {what}, made by db_setup {version}.
-- Run it with: psql -X -f FILE DATABASE; it stops at the first error, and what was not committed is not recorded.
\\set ON_ERROR_STOP on
\\set ON_ERROR_ROLLBACK off
\\set AUTOCOMMIT on
\\encoding UTF8
SET client_min_messages = warning;
BEGIN;
{begin}
{row} \\gset {prefix}
{take} \\gset {prefix}
SELECT {held} AS held \\gset {prefix}
\\if :{prefix}held
COMMIT;
\\else
DO $$ BEGIN
    RAISE EXCEPTION 'db_setup is at work on this database: try again when it has finished';
END $$;
\\endif
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
_NO_LOCK_TIMEOUT = """\
SELECT pg_catalog.current_setting('lock_timeout') AS db_setup_lock_timeout \\gset
SET lock_timeout = 0;
"""
_LOCK_TIMEOUT_AGAIN = "SET lock_timeout = :'db_setup_lock_timeout';\n"
_FOUND = """SELECT pg_catalog.set_config('db_setup.place', {place}, true) AS db_setup_place, pg_catalog.set_config(
    'db_setup.found', coalesce(pg_catalog.string_agg(found, ', '), ''), true) AS db_setup_found FROM (
{query}
) r \\gset
DO $$ BEGIN
    IF pg_catalog.current_setting('db_setup.found') !~ E'^({{"([^"\\\\\\\\]|\\\\\\\\.)*":true}})?$' THEN
        RAISE EXCEPTION '%: the check found this: %',
            pg_catalog.current_setting('db_setup.place'), pg_catalog.current_setting('db_setup.found');
    END IF;
END $$;
"""


_PREFIX = "db_setup_"
_ANSWER: Row = (0, "", 0, "", None)


class Verbatim(str):
    """A value that is written into SQL as it stands."""

    __slots__ = ()


class _RunId(int):
    """The number of a run, which only psql will know: SQL gets the name of its variable."""

    def __format__(self, _: str) -> str:
        return f":{_PREFIX}id"


RUN_ID = _RunId(0)


class _Position(int):
    """The place of a row, which only the server will know."""

    def __format__(self, _: str) -> str:
        return ApplyRecord.BEHIND_ALL


class Tape(Connection):
    """A connection that writes, for psql, what it is asked to send; every answer is the same."""

    def __init__(self, real: Connection, write: Callable[[str], Any]) -> None:
        vars(self).update(vars(real))  # what literals and settings depend on
        self._deadline = Deadline(None)  # a script has all the time it needs
        self.shares_sessions, self.is_pooled = False, True  # for all that is known here: psql may be
        self.holds_run_lock = RunLock.held_sql(self, others_hold_key=True)
        self.write = write

    def run(self, sql: str) -> None:
        """Write the statements."""
        self.write(f"{sql.strip().removesuffix(';')};\n")

    def rows(self, sql: str) -> list[Row]:
        """Write a statement with one row, which psql keeps in variables."""
        self.write(f"{sql.strip()} \\gset {_PREFIX}\n")
        return [_ANSWER]

    def literal(self, value: object) -> str:
        """Return a value as an SQL literal."""
        return str(value) if isinstance(value, Verbatim) else super().literal(value)

    def copy(self, sql: str, data: Readable) -> None:
        """Write a COPY with its data."""
        self.write(f"{terminated(sql)}\n")
        piece = last = "\n"
        while piece:
            last, piece = piece, data.read(_COPY_CHUNK)
            self.write(piece)
        self.write("\\.\n" if last.endswith("\n") else "\n\\.\n")

    def copy_out(self, sql: str) -> None:
        """Write a COPY to the client."""
        self.run(sql)

    @property
    def idle(self) -> bool:
        """A script has no state: every transaction in it ends where it has to."""
        return True

    in_transaction = idle


class _ScriptRun(StepwiseRun):
    """A stepwise file as a part of a script: what a run finds out from the server, psql has to."""

    def __init__(self, tape: Tape, script: Script, record: Record, ask: Callable[[Script], None]) -> None:
        super().__init__(tape, script, record, lambda _: None, lambda _: None, lambda _: None, None)
        self._tape = tape
        self._ask_psql = ask

    def _run_bare(self, statement: Statement) -> None:
        """Write a step outside any transaction, announced before and recorded after, as a run does it."""
        self._tape.write(f"SELECT {self.note_sql(statement)} AS db_setup_note \\gset\n")
        self._record.begin_step(self._tape, self._step, Verbatim(":'db_setup_note'"))
        waits = statement.is_concurrent
        self._tape.write(_NO_LOCK_TIMEOUT * waits)
        self._tape.write(f"{terminated(statement.text)}\n")
        self._tape.write(_LOCK_TIMEOUT_AGAIN * waits)
        self._record.end_step(self._tape, self._step, self._digest.hexdigest())

    def _open_session(self) -> None:
        """A script records no session: what the steps have set is made again from the text."""

    def _ask(self, check: Script) -> None:
        self._tape.run("BEGIN")
        self._ask_psql(check)
        self._tape.run("ROLLBACK")


def export(context: RunContext, write: Callable[[str], Any]) -> None:
    """Write the script; raises what ``plan`` raises, and NotExportable for a file that is applied in part."""
    folder = context.read_folder()
    with closing(context.connect()) as connection:
        inspection = inspect(context, folder, connection)
        inspection.plan.refuse_problems()
        if inspection.history.exists and not inspection.nothing_to_do:
            History(connection).refuse_tampering()
        if inspection.imported and (refusal := find_applied(context, connection, inspection).refusal):
            raise refusal
        if inspection.adoption_due and not inspection.imported:
            raise NotExportable(
                "the database has tables and no history, so nothing says which files are still to be run",
                fix="run migrate, which finds it out; or record what you know with baseline, and export then",
            )
        for item in inspection.plan.pending:
            if item.resumed:
                raise NotExportable(
                    f"{item.migration.name} is applied in part", fix="finish it with migrate; then export the rest"
                )
        files = (item.migration for item in inspection.plan.pending)
        scripts = read_scripts(files, standard_strings=connection.standard_strings)
        _refuse_fenced(connection, inspection, scripts)
        if not (inspection.plan.pending or inspection.plan.renames or inspection.imported):
            write("-- Nothing to do.\n")
            return
        warnings = (
            *folder.warnings,
            *context.warnings,
            *inspection.plan.warnings,
            *(t for s in scripts for t in s.warnings),
        )
        for text in warnings:
            write(_warning(text))
        _Export(context, folder, inspection, Tape(connection, write)).whole(scripts)


def _warning(text: str) -> str:
    return f"-- Warning: {' '.join(text.split())}\n"


def _refuse_fenced(connection: Connection, inspection: Inspection, scripts: Sequence[Script]) -> None:
    """Raise NotExportable where a pending file may change nothing that no file makes, which psql does not see to."""
    pending = inspection.plan.pending
    fence = History(connection).read_fence() if inspection.history.exists and pending else None
    for item, script in zip(pending, scripts, strict=True) if fence else ():
        if fence and FileFence.holds(connection, fence, item, script):
            raise NotExportable(
                f"{item.migration.name} was not applied when the database was adopted, and is watched until it is",
                fix="apply it with migrate, which rolls it back if it changes what no file makes; then export the rest",
            )


class _Export:
    """The script that is being written."""

    def __init__(self, context: RunContext, folder: Folder, inspection: Inspection, tape: Tape) -> None:
        self._folder = folder
        self._context, self._inspection, self._tape, self._write = context, inspection, tape, tape.write
        self._history = History(tape)
        self._reset = tape.reset_sql()

    def whole(self, scripts: Iterable[Script]) -> None:
        pending, history = self._inspection.plan.pending, self._history
        downs = down_texts(self._folder.every, {row.name for row in self._inspection.imported}, self._warn)
        what = counted(len(pending)) if pending else "what the history has to follow"
        self._write(self._head(what))
        if not self._inspection.history.exists:
            self._write("BEGIN;\n")
            history.create()
            self._write("COMMIT;\n")
        self._write(self._check())
        history.begin_run("migrate", f"psql, by {self._context.request_id}")
        history.import_first_generation(self._inspection.imported, RUN_ID, downs)
        for rename in self._inspection.plan.renames:
            history.rename(*rename)
        if self._inspection.plan.gone:
            history.expect_again(self._inspection.plan.gone)
        for item, script in zip(pending, scripts, strict=True):
            self._write(f"\n-- {script.migration.name}\n{self._reset};\n\\encoding UTF8\n")
            self._file(item, script)
            if script.sets_defaults and Tape.DEFAULTS_SQL not in self._reset:
                self._reset += f"; {Tape.DEFAULTS_SQL}"
        self._write(f"\n{self._reset};\n")
        history.end_run_unsealed(RUN_ID, "succeeded")
        self._write(f"{RunLock.release_sql(self._tape)} \\gset {_PREFIX}\n")

    def _head(self, what: str) -> str:
        """Return what takes the run lock; a script that finds it taken ends."""
        create = f"{'' if self._inspection.history.exists else RunLock.CREATE_SCHEMA_SQL}{RunLock.CREATE_SQL}"
        begin, row, take = RunLock.take_sql(self._tape, create)
        return _HEAD.format(
            what=what, version=VERSION, begin=begin, row=row.rstrip("; "), take=take, prefix=_PREFIX,
            held=self._tape.holds_run_lock,
        )  # fmt: skip

    def _warn(self, text: str) -> None:
        self._write(_warning(text))

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
        record = ApplyRecord(item.row, script.mode, RUN_ID, _Position(), script.down)
        if script.mode == STEPWISE:
            _ScriptRun(self._tape, script, record, self._ask).apply()
            return
        self._write(f"{script.opening}\n{record.sql(self._tape)};\n")
        for statement in script.body():
            self._statement(statement)
        if script.check is not None:
            self._write("SAVEPOINT db_setup_check;\n")
            self._ask(script.check)
            self._write("ROLLBACK TO db_setup_check;\n")
        self._write("COMMIT;\n")

    def _statement(self, statement: Statement) -> None:
        if statement.data is None:
            self._write(f"{terminated(statement.text)}\n")
        else:
            self._tape.copy(statement.text, statement.data)

    def _ask(self, check: Script) -> None:
        """Write the questions of a check; the script ends where one finds something."""
        for statement in check.body():
            query = rows_sql(statement)
            if query is None:
                self._statement(statement)
                continue
            place = f"{check.migration.name}:{statement.line}"
            self._write(_FOUND.format(query=query, place=self._tape.literal(place)))
