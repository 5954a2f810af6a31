"""rollback: roll back what was applied last, each migration by its down migration."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import closing, nullcontext
from functools import partial
from typing import TYPE_CHECKING

from migrator.context import RunContext
from migrator.database import Connection
from migrator.errors import DbSetupError, MissingDownFile, Progress
from migrator.execution import Runner, Supervision, Work, retry_on_lost_connection, supervised
from migrator.files import Folder, down_name
from migrator.formatting import counted, listed
from migrator.history import Recorded, RollbackHistory, RollbackRecord
from migrator.planning import Inspection, Pending, RollbackPlan, inspect, match, plan_back_to, plan_rollback
from migrator.report import Report, ReportedMigration, describe
from migrator.scripts import Script, differs, read_down, stored_down
from migrator.scripts.session_needs import refuse_needs_of

if TYPE_CHECKING:
    from migrator.users import UserProvisioner

_NOTHING = "Nothing to roll back."
_FURTHER = "ask again to go further"

Downs = list[tuple[Recorded, Script]]
"""Rows that are to be rolled back, the last one first, each with its down migration."""


def rollback(context: RunContext) -> Report:
    """Roll back to the target, or some steps, when the request confirms it; else report what would be done.

    A lost connection is settled by the history, as in migrate. Steps are done once for each request: until it is
    acknowledged that the caller has the answer, the same request is that one again.
    """
    if context.request.heard:
        _acknowledge(context, context.request.heard)
    run = _Rollback(context, context.read_folder())
    try:
        if context.request.confirm:
            report = retry_on_lost_connection(context, run.carry_out)
        else:
            with closing(context.connect()) as connection:
                return run.state(connection) if context.request.heard else run.preview(connection)
    except DbSetupError as error:
        raise run.failed(error) from error
    if run.run_id and context.request.heard is None:
        context.acknowledge = partial(_acknowledge, context, run.run_id)
    return report


def _acknowledge(context: RunContext, run_id: int) -> None:
    """Record that the caller has the answer of a run; where that fails, the same request is answered once more."""
    try:
        with closing(context.connect(patience=0.0)) as connection:
            RollbackHistory(connection).acknowledge(run_id)
    except DbSetupError as error:
        context.listen("run.unrecorded", {"run": run_id, "reason": error.what})


def _begun(downs: Downs) -> set[str]:
    return {script.migration.name for row, script in downs if row.state == "reverting"}


class _Rollback:
    """One rollback, on one connection after another if need be; what it is to roll back is chosen once."""

    def __init__(self, context: RunContext, folder: Folder) -> None:
        self._context = context
        self._folder = folder
        self._steps = context.request.steps or 1
        self._plan: RollbackPlan | None = None
        self._unheard = ""  # what the rollback has done that this one is again
        self.run_id = 0
        """The number of the last run that was begun."""
        self._warnings: list[str] = []
        self._done: dict[str, ReportedMigration] = {}  # by the name of the migration
        self._left: set[str] = set()  # the names of those that were there when the last connection began
        self._provisioner: UserProvisioner | None = None
        if context.provisions_users:
            from migrator.users import UserProvisioner  # noqa: PLC0415 - for those who have such users

            self._provisioner = UserProvisioner(context)

    def preview(self, connection: Connection) -> Report:
        """Report what would be rolled back; writes nothing, takes no lock."""
        inspection, _, downs = self._inspect(connection)
        lines = tuple(ReportedMigration(row.number, row.name, script.mode) for row, script in downs)
        names = listed([line.name for line in lines], 20)
        remark = f"{counted(len(lines))} would be rolled back: {names}. Nothing was done: confirm it (--yes)."
        return self._report(inspection)._replace(
            affected=lines, remark=remark if lines else self._nothing("confirm that (--yes), then ")
        )

    def state(self, connection: Connection) -> Report:
        """Report what there is, to one who only says that an answer was heard."""
        inspection = inspect(self._context, self._folder, connection, target="")
        remark = f"The answer of run {self._context.request.heard} was heard."
        return self._report(inspection)._replace(target="", remark=remark)

    def carry_out(self, connection: Connection) -> Report:
        """Roll back under the run lock."""
        context, begun = self._context, self._plan is not None
        with supervised(context, connection) as run:
            run.lock()
            if not begun and (report := self._done_already(connection)):
                return report
            inspection, plan, downs = self._inspect(connection)
            if not downs and not begun and not self._unheard:
                return self._report(inspection)._replace(remark=_NOTHING)
            if self._provisioner:
                self._provisioner.check(connection)
            run.failure_note = "" if context.request.target else RollbackHistory.goal_note(self._steps, plan.goal)
            what = f"rolled back {listed([row.name for row, _ in downs], 20) or 'nothing more'}"
            run.message = f"{what}\n{run.failure_note}".rstrip()
            self.run_id = run.begin("rollback", run.failure_note)
            self._apply(run, downs)
            # Read before the end is recorded: what fails here is no success.
            connection.run(connection.reset_sql())
            after = inspect(context, self._folder, connection, target="")
        done = tuple(self._line(row) for row in plan.rows)
        what = f"Rolled back {counted(len(done))}: {listed([line.name for line in done], 20)}."
        remark = what if done else self._nothing()
        report = self._report(after)._replace(affected=done, done=True, remark=remark)
        return report._replace(previous_revision=inspection.plan.revision)

    def failed(self, error: DbSetupError) -> DbSetupError:
        """Return the error that a rollback has ended with, in the terms of a rollback: what went back, what is left."""
        names = [row.name for row in self._plan.rows] if self._plan else []
        left = tuple(name for name in names if name in self._left and name not in self._done)
        done = tuple(name for name in names if name not in left)
        progress = error.progress._replace(applied=done, back=left, left=left if error.progress.left else ())
        return error.after(progress) if error.progress != Progress() else error.replace(progress=progress)

    def _nothing(self, before: str = "") -> str:
        """Return the remark that nothing is left to be done; ``before`` is to be done before one can ask again."""
        return f"Nothing to roll back: {self._unheard}; {before}{_FURTHER}." if self._unheard else _NOTHING

    def _done_already(self, connection: Connection) -> Report | None:
        """Return the answer where another rollback has done the steps that this one is to do; not for a target."""
        inspection, history = inspect(self._context, self._folder, connection, target=""), RollbackHistory(connection)
        if self._context.request.target or not inspection.history.exists:
            return None
        if not history.is_done_already(self._context.request_id):
            return None
        remark = f"Rolled back meanwhile by {history.last_run()}; {_FURTHER}."
        return self._report(inspection)._replace(remark=remark)

    def _inspect(self, connection: Connection) -> tuple[Inspection, RollbackPlan, Downs]:
        """Return what there is, what is to be rolled back in all, and what of it is left, with its down migrations."""
        inspection, history = inspect(self._context, self._folder, connection, target=""), RollbackHistory(connection)
        rows = history.recorded() if inspection.history.exists else []
        if inspection.history.exists:
            history.refuse_tampering()
        if self._plan is None:
            self._plan = self._choose(history, rows, exists=inspection.history.exists)
        wanted = {row.position for row in self._plan.rows}
        left = [row for row in reversed(rows) if row.position in wanted]
        self._left = {row.name for row in left}
        return inspection, self._plan, self._downs(connection, inspection, left)

    def _choose(self, history: RollbackHistory, rows: Sequence[Recorded], *, exists: bool) -> RollbackPlan:
        request = self._context.request
        unheard = history.unheard(self._steps) if exists and not request.target else None
        if unheard is not None:
            self._warnings.append("the last rollback was cut off; this one goes where that was going, and no further")
            done = listed(unheard.names, 20) or "what was left"
            self._unheard = f"run {unheard.run_id} has rolled back {done}, and was cut off before it could say so"
            return plan_back_to(rows, unheard.goal)
        plan = plan_rollback(rows, request.target, self._steps)
        self._warnings += plan.warnings
        return plan

    def _downs(self, connection: Connection, inspection: Inspection, rows: Sequence[Recorded]) -> Downs:
        """Return each row with its down migration: the companion file here, else the text in the history.

        Raises MissingDownFile that names every row with neither, and what reading the texts raises.
        """
        stored = RollbackHistory(connection).stored_downs(rows)
        folder, standard = self._folder, connection.standard_strings
        known = match(folder.files, inspection.applied, folder.others).known
        here = {row.name: name for name, row in known.items()}
        paths = {file.name: file.path for file in (*folder.files, *folder.others)}
        downs: Downs = []
        missing = []
        for row in rows:
            name = here.get(row.name, row.name)
            down = down_name(name)
            path = down_name(paths.get(name, os.path.join(folder.path, row.name)))
            if os.path.isfile(path):
                downs.append((row, script := read_down(down, path, standard_strings=standard)))
                if row.position in stored and differs(script, stored[row.position]):
                    self._warn(f"{down} differs from what was stored when {row.name} was applied; the file is used")
            elif row.position in stored:
                script = stored_down(down, stored[row.position], standard_strings=standard)
                downs.append((row, script._replace(not_resumable=True)))  # nobody can write that into it
            else:
                missing.append((row.name, down))
        if missing:
            raise MissingDownFile(
                f"no down migration for {listed([name for name, _ in missing], 20)}",
                applied="nothing",
                fix=f"write {listed([down for _, down in missing], 20)}; empty where nothing has to be undone",
            )
        scripts = refuse_needs_of((script for _, script in downs), _begun(downs))
        for script in scripts:
            for text in script.warnings:
                self._warn(text)
        return [(row, script) for (row, _), script in zip(downs, scripts, strict=True)]

    def _warn(self, text: str) -> None:
        if text not in self._warnings:  # a run on another connection reads them again
            self._warnings.append(text)

    def _apply(self, run: Supervision, downs: Downs) -> None:
        runner = Runner(run, self._context.listen)
        work = [
            Work(
                Pending(script.migration, row.number, resumed=row.state == "reverting"),
                script,
                RollbackRecord(row, run.run_id),
            )
            for row, script in downs
        ]
        migrations = {item.name: item.record.name for item in work}
        try:
            with self._provisioner.around(run.connection) if self._provisioner else nullcontext():
                runner.apply_all(work)
        except DbSetupError as error:
            self._note(runner, migrations)
            raise self.failed(error) from error
        self._note(runner, migrations)

    def _note(self, runner: Runner, migrations: Mapping[str, str]) -> None:
        self._done.update((migrations[item.name], item) for item in runner.applied)
        self._warnings += runner.warnings

    def _line(self, row: Recorded) -> ReportedMigration:
        done = self._done.get(row.name)
        mode, took = (done.mode, done.duration_ms) if done else ("", None)
        return ReportedMigration(row.number, row.name, mode, took)

    def _report(self, inspection: Inspection) -> Report:
        about = self._provisioner.warnings if self._provisioner else ()
        warnings = (*self._folder.warnings, *self._context.warnings, *self._warnings, *about)
        report = describe(self._context, inspection, warnings, action="rollback")
        return report._replace(
            target=self._context.request.target or f"-{self._steps}",
            problems=(),
            fixes=(),
            details={"run_id": self.run_id or None},
            warnings=(*report.warnings, *report.problems),
        )
