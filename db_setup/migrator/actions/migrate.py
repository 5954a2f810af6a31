"""The work of migrate: apply what is pending, on one connection after another if need be.

migrate: apply what is pending, each file exactly once, or raise with the cause and the fix.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from migrator.actions.summary import describe, provisioner_of, reported, users_summary
from migrator.context import RunContext
from migrator.database.connection import Connection
from migrator.errors import ConnectionLost, DbSetupError, ServerError
from migrator.execution.blockers import Blockers
from migrator.execution.reconnect import RECONNECTIONS, server_is_back
from migrator.execution.runner import Runner
from migrator.execution.watchdog import Watchdog
from migrator.files import Folder, parse_number
from migrator.formatting import listed
from migrator.history import integrity, legacy, run_lock, runs
from migrator.planning.inspection import Inspection
from migrator.planning.plan import AHEAD, PENDING, UNTRACKED, UP_TO_DATE
from migrator.rehearsal.lock_trace import LockReport
from migrator.report import Report, ReportedMigration
from migrator.scripts import Script, read_scripts

if TYPE_CHECKING:
    from migrator.users.provision import UserProvisioner


def apply_pending(context: RunContext, folder: Folder, connection: Connection, seen: Inspection) -> Report:
    """Apply what is pending, beginning on the connection at hand.

    A lost connection is settled by the history: connect again, wait for the run lock (so the old session is gone),
    read what was committed, go on.
    """
    caretaker = provisioner_of(context)
    attempts = [_Attempt(context, folder, seen.plan.revision, caretaker)]
    attempts[0].read_scripts(seen)  # refuses before anything is touched
    try:
        return attempts[0].run(connection, ())
    except ConnectionLost as error:
        lost = error
        connection.close()  # or its session would keep the run lock from the next
    while len(attempts) <= RECONNECTIONS and server_is_back(context):
        attempts.append(_Attempt(context, folder, seen.plan.revision, caretaker))
        try:
            with closing(context.connect()) as another:
                return attempts[-1].run(another, attempts[:-1])
        except ConnectionLost as error:
            lost = error
    raise lost


class _Attempt:
    """One try on one connection; what it applied counts for those that follow."""

    def __init__(self, context: RunContext, folder: Folder, before: str, caretaker: UserProvisioner | None) -> None:
        self.run_id = 0
        self._context = context
        self._folder = folder
        self._before = before
        self._scripts: dict[str, Script] = {}
        self._caretaker = caretaker
        self.locks = LockReport(context.settings.lock_report)

    def run(self, connection: Connection, earlier: Sequence[_Attempt]) -> Report:
        """Apply what is pending under the run lock; ``earlier`` are the attempts that lost their connection."""
        context = self._context
        waited = run_lock.acquire(
            connection, context.deadline, lambda who: context.listen("lock.waiting", {"holder": who})
        )
        inspection = Inspection(context, self._folder, connection)
        inspection.plan.refuse_problems()
        nothing = inspection.nothing_to_do and not earlier
        if nothing and (self._caretaker is None or inspection.plan.state == AHEAD):
            remark = f"Done meanwhile by {runs.last_run(connection)}." if waited else ""
            return self._describe(inspection)._replace(remark=remark)
        if inspection.history.exists and not nothing:
            integrity.refuse_changes(connection)
        if self._caretaker:
            self._caretaker.check(connection, self.read_scripts(inspection))
        if not inspection.history.exists or inspection.imported:
            runs.create(connection)  # before the grants, which close it
        if self._caretaker and nothing:
            return self._care_only(connection, inspection, self._caretaker)
        self.run_id = runs.begin_run(connection, "migrate", context.request_id)
        runner = self._apply(connection, inspection)
        return self._report(connection, inspection, runner, earlier)

    def _care_only(self, connection: Connection, inspection: Inspection, caretaker: UserProvisioner) -> Report:
        """Care for the users where no migration is pending; the run is recorded if it changed something."""
        caretaker.prepare(connection)
        caretaker.finish(connection)
        if caretaker.changes:
            self.run_id = runs.begin_run(connection, "migrate", self._context.request_id)
            integrity.end_run_beside(connection, self.run_id)
        return self._describe(inspection)._replace(remark=caretaker.remark)

    def read_scripts(self, inspection: Inspection) -> list[Script]:
        """Return the scripts of the plan, in its order; each file is read once."""
        names = self._scripts
        new = [item.migration for item in inspection.plan.pending if item.migration.name not in names]
        self._scripts.update((script.migration.name, script) for script in read_scripts(new))
        return [self._scripts[item.migration.name] for item in inspection.plan.pending]

    def _apply(self, connection: Connection, inspection: Inspection) -> Runner:
        legacy.import_rows(connection, inspection.imported, self.run_id)
        for rename in inspection.plan.renames:
            runs.rename(connection, *rename)
        scripts = self.read_scripts(inspection)
        watchdog = Watchdog(connection, self._context.deadline)
        blockers = Blockers(self._context.connect)
        untracked = inspection.history.has_tables and not inspection.applied
        self.locks.begin(connection)
        runner = Runner(
            connection, self._context.deadline, watchdog, blockers, self.run_id, untracked, self._context.listen
        )
        runner.trace = self.locks.trace
        try:
            with watchdog.watching():
                if self._caretaker:
                    self._caretaker.prepare(connection)
                    self._caretaker.grant(connection)  # for migrations that SET ROLE
                runner.apply_all(list(zip(inspection.plan.pending, scripts, strict=True)))
                if self._caretaker:
                    connection.run(connection.reset_sql())
                    self._caretaker.finish(connection)
        except ConnectionLost:
            raise  # nothing can be recorded; the row of the run stays "running"
        except DbSetupError as error:
            ended = watchdog.reason() if watchdog.fired and isinstance(error, ServerError) else error
            self._record_end(connection, runner, "failed", str(ended))
            raise ended from error.__cause__
        finally:
            blockers.close()
        skipped = f"for other environments: {listed(inspection.skipped, 20)}" if inspection.skipped else ""
        self._record_end(connection, runner, "succeeded", skipped)
        return runner

    def _record_end(self, connection: Connection, runner: Runner, outcome: str, message: str) -> None:
        """Record how the run ended; what matters is recorded already, so a failure here is only told."""
        durations = {item.name: item.duration_ms for item in runner.applied}
        try:
            connection.run(connection.reset_sql())
            integrity.end_run(connection, self.run_id, outcome, message, durations)
            self.locks.record(connection, self.run_id)
        except DbSetupError as error:
            self._context.listen("run.unrecorded", {"run": self.run_id, "reason": error.what})

    def _report(
        self, connection: Connection, inspection: Inspection, runner: Runner, earlier: Sequence[_Attempt]
    ) -> Report:
        applied = [ReportedMigration(item.number, item.name, item.mode, item.duration_ms) for item in runner.applied]
        if lost := [attempt.run_id for attempt in earlier if attempt.run_id]:
            applied = [ReportedMigration(*row) for row in runs.applied_by(connection, lost)] + applied
        revisions = [text for text in (inspection.plan.revision, *(line.number for line in applied)) if text]
        return self._describe(inspection)._replace(
            state=PENDING if inspection.plan.held_back else UP_TO_DATE,
            applied=tuple(applied),
            pending=tuple(map(reported, inspection.plan.held_back)),
            previous_revision=self._before,
            final_revision=max(revisions, key=parse_number, default=""),
            warnings=(*self._warnings(inspection), *inspection.plan.warnings, *runner.warnings),
            remark=self._caretaker.remark if self._caretaker else "",
            details=self.locks.details([attempt.locks for attempt in earlier]),
        )

    def _describe(self, inspection: Inspection) -> Report:
        return describe(self._context, inspection, self._warnings(inspection), action="migrate")

    def _warnings(self, inspection: Inspection) -> tuple[str, ...]:
        scripts = (self._scripts.get(item.migration.name) for item in inspection.plan.pending)
        marks = (text for script in scripts if script for text in script.warnings)
        about = self._caretaker.warnings if self._caretaker else ()
        return (*self._folder.warnings, *self._context.warnings, *marks, *about)


LEFT_AS_THEY_ARE = "the users are left as they are, for the package that knows the newer migrations"


def migrate(context: RunContext) -> Report:
    """Look without a lock first, since most deploys have nothing to do; then apply the pending migrations.

    A run that a deploy makes with AUTO_MIGRATE=false reports instead.
    """
    folder = context.read_folder()
    with closing(context.connect()) as connection:
        inspection = Inspection(context, folder, connection)
        report = describe(context, inspection, (*folder.warnings, *context.warnings), action="migrate")
        if context.request.by_deploy and not context.settings.auto_migrate:
            users = ", and users are left as they are" if context.settings.declares_users else ""
            return report._replace(remark=f"AUTO_MIGRATE=false: nothing was applied{users}.")
        inspection.plan.refuse_problems()
        if inspection.nothing_to_do and (inspection.plan.state == AHEAD or not context.settings.declares_users):
            left = (LEFT_AS_THEY_ARE,) if context.settings.declares_users else users_summary(context, connection)[1]
            report = report._replace(warnings=(*report.warnings, *left))
        else:
            report = _apply(context, folder, connection, inspection)
    if context.settings.verify:
        from migrator.actions.verify import after_deploy  # noqa: PLC0415 - for those who ask for it

        return after_deploy(context, report)
    return report


def _apply(context: RunContext, folder: Folder, connection: Connection, inspection: Inspection) -> Report:

    unknown = inspection.plan.state == UNTRACKED and (inspection.plan.pending or inspection.plan.held_back)
    if inspection.history.exists or not (inspection.imported or unknown):
        return apply_pending(context, folder, connection, inspection)
    from migrator.actions.adopt import before_applying, with_adoption  # noqa: PLC0415 - once in the life of a database

    inspection, finding = before_applying(context, folder, connection, inspection)
    return with_adoption(apply_pending(context, folder, connection, inspection), finding)
