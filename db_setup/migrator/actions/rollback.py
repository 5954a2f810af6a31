"""rollback: take back what was applied last, each migration by the way back that stands beside it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing

from migrator.actions.summary import describe, provisioner_of
from migrator.context import RunContext
from migrator.database.connection import Connection
from migrator.errors import ConnectionLost, DbSetupError, MissingDownFile, ServerError
from migrator.execution.blockers import Blockers
from migrator.execution.reconnect import retry_on_lost_connection
from migrator.execution.runner import Applied, Runner
from migrator.execution.watchdog import Watchdog
from migrator.files import Folder, down_name
from migrator.formatting import counted, listed
from migrator.history import integrity, rollback_records, run_lock, runs
from migrator.history.rollback_records import RollbackRecords
from migrator.history.rows import Recorded
from migrator.planning.inspection import Inspection
from migrator.planning.matching import match
from migrator.planning.plan import Pending
from migrator.planning.rollback import RollbackPlan, plan_back_to, plan_rollback
from migrator.report import Report, ReportedMigration
from migrator.scripts import Script, differs, read_down, stored_down

Work = list[tuple[Recorded, Script]]


def rollback(context: RunContext) -> Report:
    """Roll back to the target, or some steps, when the request confirms it; else report what would be done.

    A lost connection is settled by the history, as in migrate.
    """
    run = _Rollback(context, context.read_folder())
    if not context.request.confirm:
        with closing(context.connect()) as connection:
            return run.preview(connection)
    return retry_on_lost_connection(context, run.on)


class _Rollback:
    """One rollback, on one connection after another if need be; what it is to take back is chosen once."""

    def __init__(self, context: RunContext, folder: Folder) -> None:
        self._context = context
        self._folder = folder
        self._steps = context.request.steps or 1
        self._reversal: RollbackPlan | None = None
        self._goes_on = False  # where a rollback that did not succeed was going
        self._note = ""
        self._warnings: list[str] = []
        self._durations: dict[str, Applied] = {}
        self._caretaker = provisioner_of(context)

    def preview(self, connection: Connection) -> Report:
        """Report what would be rolled back; writes nothing, takes no lock."""
        inspection, _, work = self._look(connection)
        lines = tuple(ReportedMigration(row.number, row.name, script.mode) for row, script in work)
        names = listed([line.name for line in lines], 20)
        told = f"{counted(len(lines))} would be rolled back: {names}. Nothing was done: confirm it (--yes)."
        return self._report(inspection)._replace(planned=lines, remark=told if lines else self._nothing())

    def on(self, connection: Connection) -> Report:
        """Roll back under the run lock."""
        context = self._context
        waited = run_lock.acquire(
            connection, context.deadline, lambda who: context.listen("lock.waiting", {"holder": who})
        )
        begun = self._reversal is not None
        if waited and not begun and (report := self._done_meanwhile(connection)):
            return report
        inspection, reversal, work = self._look(connection)
        if not work and not begun and not self._goes_on:
            return self._report(inspection)._replace(remark=self._nothing())
        if self._caretaker:
            self._caretaker.check(connection)
        self._note = "" if context.request.target else rollback_records.goal_note(self._steps, reversal.goal)
        run_id = runs.begin_run(connection, "rollback", context.request_id, self._note)
        self._carry_out(connection, run_id, work)
        done = tuple(self._line(row) for row in reversal.rows)
        after = Inspection(context, self._folder, connection, target="")
        told = f"Rolled back {counted(len(done))}: {listed([line.name for line in done], 20)}."
        told = told if done else self._nothing()
        return self._report(after)._replace(rolled_back=done, previous_revision=inspection.plan.revision, remark=told)

    def _done_meanwhile(self, connection: Connection) -> Report | None:
        """Return the answer where another rollback has done the steps that this one waited to do; not for a target."""
        inspection = Inspection(self._context, self._folder, connection, target="")
        if (
            self._context.request.target
            or not inspection.history.exists
            or not rollback_records.done_meanwhile(connection)
        ):
            return None
        remark = f"Rolled back meanwhile by {runs.last_run(connection)}; ask again to go further."
        return self._report(inspection)._replace(remark=remark)

    def _look(self, connection: Connection) -> tuple[Inspection, RollbackPlan, Work]:
        """Return what there is, what is to be taken back in all, and what of it is left, with its way back."""
        inspection = Inspection(self._context, self._folder, connection, target="")
        rows = rollback_records.read(connection) if inspection.history.exists else []
        if inspection.history.exists:
            integrity.refuse_changes(connection)
        if self._reversal is None:
            self._reversal = self._choose(connection, rows)
        wanted = {row.position for row in self._reversal.rows}
        left = [row for row in reversed(rows) if row.position in wanted]
        return inspection, self._reversal, self._ways_back(connection, inspection, left)

    def _choose(self, connection: Connection, rows: Sequence[Recorded]) -> RollbackPlan:
        request = self._context.request
        goal = rollback_records.unfinished_goal(connection, self._steps) if rows and not request.target else None
        if goal is not None:
            self._warnings.append("the last rollback was cut off; this one goes where that was going, and no further")
            self._goes_on = True
            return plan_back_to(rows, goal)
        reversal = plan_rollback(rows, request.target, self._steps)
        self._warnings += reversal.warnings
        return reversal

    def _ways_back(self, connection: Connection, inspection: Inspection, rows: Sequence[Recorded]) -> Work:
        """Return each row with its way back: the file beside it here, else the text in the history.

        Raises MissingDownFile that names every row with neither, and what reading the texts raises.
        """
        stored = rollback_records.stored(connection, rows)
        here = {row.name: name for name, row in match(self._folder.files, inspection.applied).rows.items()}
        paths = {file.name: file.path for file in self._folder.files}
        work: Work = []
        missing = []
        for row in rows:
            name = here.get(row.name, row.name)
            down = down_name(name)
            path = down_name(paths.get(name, os.path.join(self._folder.path, row.name)))
            if os.path.isfile(path):
                work.append((row, script := read_down(down, path)))
                if row.position in stored and differs(script, stored[row.position]):
                    self._warn(f"{down} differs from what was stored when {row.name} was applied; the file is used")
            elif row.position in stored:
                work.append((row, stored_down(down, stored[row.position])))
            else:
                missing.append((row.name, down))
        if missing:
            raise MissingDownFile(
                f"no way back for {listed([name for name, _ in missing], 20)}",
                applied="everything: nothing was rolled back",
                fix=f"write {listed([down for _, down in missing], 20)}; empty where nothing has to be undone",
            )
        return work

    def _warn(self, text: str) -> None:
        if text not in self._warnings:  # a run on another connection looks again
            self._warnings.append(text)

    def _carry_out(self, connection: Connection, run_id: int, work: Work) -> None:
        context = self._context
        watchdog = Watchdog(connection, context.deadline)
        blockers = Blockers(context.connect)
        ledger = RollbackRecords({script.migration.name: row for row, script in work})
        by_way_back = {script.migration.name: row.name for row, script in work}
        runner = Runner(connection, context.deadline, watchdog, blockers, run_id, False, context.listen, ledger)
        pending = [
            (Pending(script.migration, row.number, resumed=row.state == "reverting"), script) for row, script in work
        ]
        try:
            with watchdog.watching():
                if self._caretaker:
                    self._caretaker.prepare(connection)
                    self._caretaker.grant(connection)
                runner.apply_all(pending)
                if self._caretaker:
                    connection.run(connection.reset_sql())
                    self._caretaker.finish(connection)
        except ConnectionLost:
            raise  # nothing can be recorded; the row of the run stays "running"
        except DbSetupError as error:
            ended = watchdog.reason() if watchdog.fired and isinstance(error, ServerError) else error
            self._record_end(connection, run_id, "failed", f"{ended}\n{self._note}".rstrip())
            raise ended from error.__cause__
        finally:
            blockers.close()
            self._durations.update((by_way_back[item.name], item) for item in runner.applied)
            self._warnings += runner.warnings
        names = listed([row.name for row, _ in work], 20)
        self._record_end(connection, run_id, "succeeded", f"rolled back {names or 'nothing more'}")

    def _record_end(self, connection: Connection, run_id: int, outcome: str, message: str) -> None:
        """Record how the run ended; what matters is recorded already, so a failure here is only told."""
        try:
            connection.run(connection.reset_sql())
            integrity.end_run(connection, run_id, outcome, message, {})
        except DbSetupError as error:
            self._context.listen("run.unrecorded", {"run": run_id, "reason": error.what})

    def _line(self, row: Recorded) -> ReportedMigration:
        done = self._durations.get(row.name)
        return (
            ReportedMigration(row.number, row.name, done.mode, done.duration_ms)
            if done
            else ReportedMigration(row.number, row.name, "")
        )

    def _nothing(self) -> str:
        return "Nothing to roll back."

    def _report(self, inspection: Inspection) -> Report:
        about = self._caretaker.warnings if self._caretaker else ()
        warnings = (*self._folder.warnings, *self._context.warnings, *self._warnings, *about)
        report = describe(self._context, inspection, warnings, action="rollback")
        return report._replace(
            target=self._context.request.target or f"-{self._steps}",
            problems=(),
            fixes=(),
            warnings=(*report.warnings, *report.problems),
        )
