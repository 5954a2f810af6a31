"""migrate: apply what is pending, each file exactly once, or raise with the cause and the cure."""

from __future__ import annotations

from contextlib import closing

from migrator import first_generation, history, lock
from migrator.actions.plan import plan, read_scripts, refuse_problems
from migrator.actions.status import as_line, describe
from migrator.blockers import Blockers
from migrator.connection import Connection
from migrator.errors import ConnectionLost, DbSetupError, ServerUnfit
from migrator.folder import Folder
from migrator.job import Job, View
from migrator.migration import parse_number
from migrator.plan import PENDING, UP_TO_DATE
from migrator.report import Line, Report
from migrator.runner import Runner
from migrator.script import Script
from migrator.watchdog import Watchdog

_RECONNECTIONS = 5
_RECONNECT_PAUSE = 0.5  # seconds, growing


def migrate(job: Job) -> Report:
    """Apply the pending migrations up to the target.

    A run that a deploy makes with AUTO_MIGRATE=false reports instead. A lost connection is settled by the
    history: connect again, wait for the run lock (so the old session is gone), read what was committed, go on.
    """
    if job.request.dry_run:
        return plan(job)
    attempts = [_Attempt(job, job.read_folder())]
    while True:
        try:
            return attempts[-1].run(attempts[:-1])
        except ConnectionLost:
            job.deadline.check()
            if len(attempts) > _RECONNECTIONS or not _server_is_back(job):
                raise
            attempts.append(_Attempt(job, attempts[-1].folder))


def _server_is_back(job: Job) -> bool:
    """Wait until a connection can be made, as long as the job may wait."""
    pause = _RECONNECT_PAUSE
    while job.deadline.pause(pause):
        try:
            job.connect().close()
        except ServerUnfit:
            pause *= 2
        else:
            return True
    return False


class _Attempt:
    """One try on one connection; what it applied counts for those that follow."""

    def __init__(self, job: Job, folder: Folder) -> None:
        self.job = job
        self.folder = folder
        self.run_id = 0
        self.before = ""
        self._scripts: dict[str, Script] = {}

    def run(self, earlier: list[_Attempt]) -> Report:
        """Look without a lock first: most deploys have nothing to do."""
        with closing(self.job.connect()) as connection:
            view = View(self.job, self.folder, connection)
            self.before = earlier[0].before if earlier else view.plan.revision
            if self.job.request.by_deploy and not self.job.settings.auto_migrate:
                return self._describe(view)._replace(remark="AUTO_MIGRATE=false: nothing was applied.")
            refuse_problems(view.plan)
            if view.nothing_to_do and not earlier:
                return self._describe(view)
            self._read_scripts(view)  # refuses before anything is touched
            return self._under_lock(connection, earlier)

    def _under_lock(self, connection: Connection, earlier: list[_Attempt]) -> Report:
        job = self.job
        waited = lock.acquire(connection, job.deadline, lambda who: job.listen("lock.waiting", {"holder": who}))
        view = View(job, self.folder, connection)
        refuse_problems(view.plan)
        if view.nothing_to_do and not earlier:
            remark = f"Done meanwhile by {history.last_run(connection)}." if waited else ""
            return self._describe(view)._replace(remark=remark)
        if not view.facts.exists:
            history.create(connection)
        self.run_id = history.begin_run(connection, "migrate", job.request_id)
        runner = self._apply(connection, view)
        return self._report(connection, view, runner, earlier)

    def _read_scripts(self, view: View) -> list[Script]:
        """Return the scripts of the plan, in its order; each file is read once."""
        new = [item for item in view.plan.pending if item.migration.name not in self._scripts]
        self._scripts.update((script.migration.name, script) for script in read_scripts(new))
        return [self._scripts[item.migration.name] for item in view.plan.pending]

    def _apply(self, connection: Connection, view: View) -> Runner:
        first_generation.record(connection, view.imported, self.run_id)
        for rename in view.plan.renames:
            history.rename(connection, *rename)
        scripts = self._read_scripts(view)
        watchdog = Watchdog(connection, self.job.deadline)
        blockers = Blockers(self.job.connect)
        untracked = view.facts.has_tables and not view.applied
        runner = Runner(connection, self.job.deadline, watchdog, blockers, self.run_id, untracked, self.job.listen)
        try:
            with watchdog.watching():
                runner.apply_all(list(zip(view.plan.pending, scripts, strict=True)))
        except ConnectionLost:
            raise  # nothing can be recorded; the row of the run stays "running"
        except DbSetupError as error:
            self._record_end(connection, runner, "failed", str(error))
            raise
        finally:
            blockers.close()
        self._record_end(connection, runner, "succeeded", "")
        return runner

    def _record_end(self, connection: Connection, runner: Runner, outcome: str, message: str) -> None:
        """Record how the run ended; what matters is recorded already, so a failure here is only told."""
        durations = {item.name: item.duration_ms for item in runner.applied}
        try:
            connection.run(connection.reset_sql())
            history.end_run(connection, self.run_id, outcome, message, durations)
        except DbSetupError as error:
            self.job.listen("run.unrecorded", {"run": self.run_id, "reason": error.what})

    def _report(self, connection: Connection, view: View, runner: Runner, earlier: list[_Attempt]) -> Report:
        applied = [Line(item.number, item.name, item.mode, item.duration_ms) for item in runner.applied]
        if lost := [attempt.run_id for attempt in earlier if attempt.run_id]:
            applied = [Line(*row) for row in history.applied_by(connection, lost)] + applied
        revisions = [text for text in (view.plan.revision, *(line.number for line in applied)) if text]
        return self._describe(view)._replace(
            state=PENDING if view.plan.held_back else UP_TO_DATE,
            applied=tuple(applied),
            pending=tuple(map(as_line, view.plan.held_back)),
            previous_revision=self.before,
            final_revision=max(revisions, key=parse_number, default=""),
            warnings=(*self._warnings(view), *view.plan.warnings, *runner.warnings),
        )

    def _describe(self, view: View) -> Report:
        return describe(self.job, view, self._warnings(view), action="migrate")

    def _warnings(self, view: View) -> tuple[str, ...]:
        scripts = (self._scripts.get(item.migration.name) for item in view.plan.pending)
        marks = (text for script in scripts if script for text in script.warnings)
        return (*self.folder.warnings, *self.job.warnings, *marks)
