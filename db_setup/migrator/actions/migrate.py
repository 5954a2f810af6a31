"""migrate: apply what is pending, each file exactly once, or raise with the cause and the fix.

The steps of a deploy, in their order; a test holds them to what a trace sees:

1. ``read_folder``: names, numbers and checksums of the files.
2. ``connect``: a session on a primary server.
3. ``inspect``: read the history without a lock, and plan. Nothing to do: answer, without having written anything.
4. ``before_applying``: on a database with tables and no history, adopt what is proven to be applied.
5. ``read_scripts``: split the pending files into statements; what can be refused is refused before anything is touched.
6. ``supervised``: from here on every message is bounded by the deadline, and SIGINT and SIGTERM end the run cleanly.
7. ``lock``: take the run lock, so that there is one runner.
8. ``inspect``: read the history again: somebody else may have done the work.
9. ``refuse_tampering``: raise where the history was changed by hand.
10. ``check``: refuse roles, secrets and schemas that cannot serve for the limited users.
11. ``create``: create the tables of the history on the first run.
12. ``begin_run``: record that a run has begun.
13. ``prepare``: create the roles of the limited users, and set their passwords.
14. ``grant``: grant them their privileges, which migrations may need.
15. ``apply_all``: each file in one transaction with its row in the history, or step by step.
16. ``finish``: repeat roles and grants, for what the migrations have created or dropped.
17. ``end_run``: record how the run ended, and seal the history.

A lost connection is settled by the history: connect again and go on at 6, once the old session is gone.
"""

from __future__ import annotations

from contextlib import closing, nullcontext
from typing import TYPE_CHECKING

from migrator.actions.summary import users_summary
from migrator.context import RunContext
from migrator.database import Connection
from migrator.errors import PlanError, Progress, RunLockLost, StepUndecided
from migrator.files import Folder, parse_number
from migrator.formatting import listed
from migrator.planning import Inspection, inspect, states
from migrator.report import Report, ReportedMigration, describe

if TYPE_CHECKING:
    from migrator.adoption import Adoption
    from migrator.execution import Runner, Supervision, Trace
    from migrator.rehearsal import LockReport
    from migrator.scripts import Script
    from migrator.users import UserProvisioner

USERS_LEFT = "the users are left as they are, for the package that knows the newer migrations"


def migrate(context: RunContext) -> Report:
    """Apply the pending migrations; a run that a deploy makes with AUTO_MIGRATE=false reports them instead."""
    folder = context.read_folder()
    with closing(context.connect()) as connection:
        inspection = inspect(context, folder, connection)
        if context.request.by_deploy and not context.settings.auto_migrate:
            users = ", and users are left as they are" if context.provisions_users else ""
            report = _nothing(context, folder, inspection)
            return report._replace(remark=f"AUTO_MIGRATE=false: nothing was applied{users}.")
        inspection.plan.refuse_problems(locked=False)
        if inspection.nothing_to_do and (inspection.plan.state == states.AHEAD or not context.provisions_users):
            left = (USERS_LEFT,) if context.provisions_users else users_summary(context, connection)[1]
            report = _nothing(context, folder, inspection, left)
        else:
            report = _Deploy(context, folder, inspection).run(connection)
    if context.settings.verify:
        from migrator.actions.verify import after_deploy  # noqa: PLC0415 - for those who ask for it

        return after_deploy(context, report)
    return report


def _nothing(context: RunContext, folder: Folder, inspection: Inspection, left: tuple[str, ...] = ()) -> Report:
    return describe(context, inspection, (*folder.warnings, *context.warnings, *left), action="migrate")


class _Deploy:
    """One migrate with something to do, on one connection after another if need be."""

    def __init__(self, context: RunContext, folder: Folder, inspection: Inspection) -> None:
        self._context = context
        self._folder = folder
        self._inspection = inspection
        self._before = inspection.plan.revision
        self._adoption: Adoption | None = None
        self._scripts: dict[str, Script] = {}
        self._standard_strings = True
        self._provisioner: UserProvisioner | None = None
        if context.provisions_users:
            from migrator.users import UserProvisioner  # noqa: PLC0415 - for those who have such users

            self._provisioner = UserProvisioner(context)
        self._runs: list[int] = []  # a run on a lost connection keeps its row
        self._locks: LockReport | None = None

    def run(self, connection: Connection) -> Report:
        from migrator.execution import retry_on_lost_connection  # noqa: PLC0415 - half of the code

        self._standard_strings = connection.standard_strings
        if self._inspection.adoption_due:
            connection.require_session("an adoption")
        if self._provisioner:
            connection.require_session("what makes the limited users")
        self._adopt(connection)
        self._read_scripts(self._inspection)
        self._refuse_steps(connection, self._inspection)
        report = retry_on_lost_connection(self._context, self._attempts, connection)
        if self._adoption is None:
            return report
        from migrator.actions.adopt import with_adoption  # noqa: PLC0415 - once in the life of a database

        return with_adoption(report, self._adoption)

    def _adopt(self, connection: Connection) -> None:
        inspection = self._inspection
        if inspection.adoption_due:
            from migrator.actions.adopt import before_applying  # noqa: PLC0415 - once in the life of a database

            self._inspection, self._adoption = before_applying(self._context, self._folder, connection, inspection)

    def _read_scripts(self, inspection: Inspection) -> list[Script]:
        """Return the scripts of the plan, in its order; each file is read once."""
        pending = [item.migration for item in inspection.plan.pending]
        if new := [migration for migration in pending if migration.name not in self._scripts]:
            from migrator.scripts import STEPWISE, read_scripts  # noqa: PLC0415 - half of the code

            scripts = read_scripts(new, standard_strings=self._standard_strings)
            if any(script.mode == STEPWISE for script in scripts):
                from migrator.scripts.session_needs import refuse_needs_of  # noqa: PLC0415 - for stepwise files

                scripts = refuse_needs_of(scripts, inspection.plan.begun)
            self._scripts.update((script.migration.name, script) for script in scripts)
        return [self._scripts[migration.name] for migration in pending]

    def _refuse_steps(self, connection: Connection, inspection: Inspection) -> None:
        """Raise UnsuitablePooler for a file that runs step by step where no session is ours."""
        if not connection.shares_sessions:
            return
        from migrator.scripts import STEPWISE  # noqa: PLC0415 - half of the code

        scripts = self._read_scripts(inspection)
        for item, script in zip(inspection.plan.pending, scripts, strict=True):
            if script.mode == STEPWISE or item.resumed:
                connection.require_session(f"{script.migration.name}, which runs step by step,")

    def _attempts(self, connection: Connection) -> Report:
        """Apply what is pending; where each file takes the lock by itself, go on behind what others have applied."""
        while True:
            try:
                return self._attempt(connection)
            except RunLockLost:
                if not connection.shares_sessions:
                    raise
                self._context.deadline.check()

    def _attempt(self, connection: Connection) -> Report:
        """Apply what is pending, on this connection; what earlier ones have applied counts as applied by this run."""
        from migrator.execution import supervised  # noqa: PLC0415 - half of the code

        context, provisioner = self._context, self._provisioner
        with supervised(context, connection) as run:
            waited = run.lock_each_file()
            inspection = inspect(context, self._folder, connection, earlier=self._inspection)
            self._refuse_problems(run, inspection)
            self._refuse_steps(connection, inspection)
            nothing = inspection.nothing_to_do and not self._runs
            if nothing and (provisioner is None or inspection.plan.state == states.AHEAD):
                remark = f"Done meanwhile by {run.history.last_run()}." if waited else ""
                return self._describe(inspection)._replace(remark=remark)
            if inspection.history.exists and not nothing:
                with run.holding():  # else the end of another run could come between its queries
                    run.history.refuse_tampering()
            if provisioner:
                provisioner.check(connection, self._read_scripts(inspection))
            if not inspection.history.exists or inspection.imported:
                with run.holding():
                    run.history.create()  # before the grants, which close it
            if provisioner and nothing:
                return self._provision_only(run, inspection)
            runner = self._apply(run, inspection)
        return self._report(inspection, runner)

    def _refuse_problems(self, run: Supervision, inspection: Inspection) -> None:
        """Raise the first problem; where earlier connections have applied files, it names them."""
        try:
            inspection.plan.refuse_problems()
        except PlanError as error:
            if not self._runs:
                raise
            applied = [name for _, name, *_ in run.history.applied_by(self._runs)]
            progress = Progress(tuple(applied), error.where.file if error.where else "")
            raise error.after(progress._replace(in_doubt=isinstance(error, StepUndecided))) from error

    def _provision_only(self, run: Supervision, inspection: Inspection) -> Report:
        """Provision the users where no migration is pending; the run is recorded if it changed something."""
        assert self._provisioner is not None
        self._provisioner.prepare(run.connection)
        self._provisioner.finish(run.connection)
        if self._provisioner.changes:
            number = run.history.begin_run("migrate", self._context.request_id)
            run.history.end_run_as_sealed(number)
        return self._describe(inspection)._replace(remark=self._provisioner.remark)

    def _apply(self, run: Supervision, inspection: Inspection) -> Runner:
        from migrator.execution import Runner, work_of  # noqa: PLC0415 - half of the code

        before = run.history.applied_by(self._runs) if self._runs else []
        with run.holding():
            self._begin(run, inspection)
        scripts = self._read_scripts(inspection)
        if inspection.skipped:
            run.message = f"for other environments: {listed(inspection.skipped, 20)}"
        runner = Runner(
            run,
            self._context.listen,
            untracked=inspection.history.has_tables and not inspection.applied,
            before=[ReportedMigration(*row) for row in before],
            trace=self._lock_trace(run),
        )
        pairs = zip(inspection.plan.pending, scripts, strict=True)
        with self._provisioner.around(run.connection) if self._provisioner else nullcontext():
            runner.apply_all([work_of(run.connection, item, script, run.run_id, run.history) for item, script in pairs])
        return runner

    def _begin(self, run: Supervision, inspection: Inspection) -> None:
        """Record that the run has begun, and what the history has to follow before a file runs."""
        self._runs.append(run.begin("migrate"))
        if inspection.imported:
            from migrator.scripts import down_texts  # noqa: PLC0415 - once in the life of a database

            downs = down_texts(self._folder.every, {row.name for row in inspection.imported}, self._context.warn)
            run.history.import_first_generation(inspection.imported, run.run_id, downs)
        for rename in inspection.plan.renames:
            run.history.rename(*rename)
        if inspection.plan.gone:
            run.history.expect_again(inspection.plan.gone)

    def _lock_trace(self, run: Supervision) -> Trace | None:
        """Return what watches which locks the statements take, where LOCK_REPORT asks for it."""
        if not self._context.settings.lock_report:
            return None
        from migrator.rehearsal import LockReport  # noqa: PLC0415 - for those who ask for it

        self._locks = report = self._locks or LockReport()
        run.after_end = lambda: report.record(run.connection, run.run_id)
        return report.trace(run.connection)

    def _report(self, inspection: Inspection, runner: Runner) -> Report:
        plan, applied = inspection.plan, tuple(runner.applied)
        revisions = [text for text in (plan.revision_followed, *(line.number for line in applied)) if text]
        report = self._describe(inspection)
        return report._replace(
            state=states.PENDING if plan.held_back else states.UP_TO_DATE,
            applied=applied,
            pending=tuple(map(ReportedMigration.of_pending, plan.held_back)),
            previous_revision=self._before,
            final_revision=max(revisions, key=parse_number, default=""),
            warnings=(*report.warnings, *runner.warnings),
            remark=self._provisioner.remark if self._provisioner else "",
            details=self._locks.details() if self._locks else {},
        )

    def _describe(self, inspection: Inspection) -> Report:
        scripts = (self._scripts.get(item.migration.name) for item in inspection.plan.pending)
        texts = [text for script in scripts if script for text in script.warnings]
        about = self._provisioner.warnings if self._provisioner else ()
        warnings = (*self._folder.warnings, *self._context.warnings, *texts, *about)
        return describe(self._context, inspection, warnings, action="migrate")
