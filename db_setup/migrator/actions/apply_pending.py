"""The work of migrate: apply what is pending, on one connection after another if need be."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

from migrator import first_generation, history, lock, sealing
from migrator.actions.plan import read_scripts
from migrator.actions.status import as_line, describe
from migrator.blockers import Blockers
from migrator.connection import Connection
from migrator.errors import ConnectionLost, DbSetupError, ServerError, ServerUnfit
from migrator.folder import Folder
from migrator.job import Job, View
from migrator.light import TYPE_CHECKING
from migrator.locking import LockReport
from migrator.migration import parse_number
from migrator.plan import AHEAD, PENDING, UP_TO_DATE
from migrator.report import Line, Report, listed
from migrator.runner import Runner
from migrator.script import Script
from migrator.watchdog import Watchdog

if TYPE_CHECKING:
    from migrator.caretaker import Caretaker

RECONNECTIONS = 5
_RECONNECT_PAUSE = 0.5  # seconds, growing


def apply_pending(job: Job, folder: Folder, connection: Connection, seen: View) -> Report:
    """Apply what is pending, beginning on the connection at hand.

    A lost connection is settled by the history: connect again, wait for the run lock (so the old session is gone),
    read what was committed, go on.
    """
    caretaker = caretaker_of(job)
    attempts = [_Attempt(job, folder, seen.plan.revision, caretaker)]
    attempts[0].read_scripts(seen)  # refuses before anything is touched
    try:
        return attempts[0].run(connection, ())
    except ConnectionLost as error:
        lost = error
        connection.close()  # or its session would keep the run lock from the next
    while len(attempts) <= RECONNECTIONS and server_is_back(job):
        attempts.append(_Attempt(job, folder, seen.plan.revision, caretaker))
        try:
            with closing(job.connect()) as another:
                return attempts[-1].run(another, attempts[:-1])
        except ConnectionLost as error:
            lost = error
    raise lost


def caretaker_of(job: Job) -> Caretaker | None:
    """Return who cares for limited users, where there are any."""
    if not job.settings.declares_users:
        return None
    from migrator.caretaker import Caretaker  # noqa: PLC0415 - for those who have such users

    return Caretaker(job)


def server_is_back(job: Job) -> bool:
    """Wait until a connection can be made, as long as the job may wait."""
    job.deadline.check()
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

    def __init__(self, job: Job, folder: Folder, before: str, caretaker: Caretaker | None) -> None:
        self.run_id = 0
        self._job = job
        self._folder = folder
        self._before = before
        self._scripts: dict[str, Script] = {}
        self._caretaker = caretaker
        self.locks = LockReport(job.settings.lock_report)

    def run(self, connection: Connection, earlier: Sequence[_Attempt]) -> Report:
        """Apply what is pending under the run lock; ``earlier`` are the attempts that lost their connection."""
        job = self._job
        waited = lock.acquire(connection, job.deadline, lambda who: job.listen("lock.waiting", {"holder": who}))
        view = View(job, self._folder, connection)
        view.plan.refuse_problems()
        nothing = view.nothing_to_do and not earlier
        if nothing and (self._caretaker is None or view.plan.state == AHEAD):
            remark = f"Done meanwhile by {history.last_run(connection)}." if waited else ""
            return self._describe(view)._replace(remark=remark)
        if view.facts.exists and not nothing:
            sealing.refuse_changes(connection)
        if self._caretaker:
            self._caretaker.check(connection, view.plan.pending)
        if not view.facts.exists or view.imported:
            history.create(connection)  # before the grants, which close it
        if self._caretaker and nothing:
            return self._care_only(connection, view, self._caretaker)
        self.run_id = history.begin_run(connection, "migrate", job.request_id)
        runner = self._apply(connection, view)
        return self._report(connection, view, runner, earlier)

    def _care_only(self, connection: Connection, view: View, caretaker: Caretaker) -> Report:
        """Care for the users where no migration is pending; the run is recorded if it changed something."""
        caretaker.prepare(connection)
        caretaker.finish(connection)
        if caretaker.changes:
            self.run_id = history.begin_run(connection, "migrate", self._job.request_id)
            sealing.end_run_beside(connection, self.run_id)
        return self._describe(view)._replace(remark=caretaker.remark)

    def read_scripts(self, view: View) -> list[Script]:
        """Return the scripts of the plan, in its order; each file is read once."""
        new = [item for item in view.plan.pending if item.migration.name not in self._scripts]
        self._scripts.update((script.migration.name, script) for script in read_scripts(new))
        return [self._scripts[item.migration.name] for item in view.plan.pending]

    def _apply(self, connection: Connection, view: View) -> Runner:
        first_generation.record(connection, view.imported, self.run_id)
        for rename in view.plan.renames:
            history.rename(connection, *rename)
        scripts = self.read_scripts(view)
        watchdog = Watchdog(connection, self._job.deadline)
        blockers = Blockers(self._job.connect)
        untracked = view.facts.has_tables and not view.applied
        self.locks.begin(connection)
        runner = Runner(connection, self._job.deadline, watchdog, blockers, self.run_id, untracked, self._job.listen)
        runner.trace = self.locks.trace
        try:
            with watchdog.watching():
                if self._caretaker:
                    self._caretaker.prepare(connection)
                    self._caretaker.grant(connection)  # for migrations that SET ROLE
                runner.apply_all(list(zip(view.plan.pending, scripts, strict=True)))
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
        skipped = f"for other environments: {listed(view.skipped, 20)}" if view.skipped else ""
        self._record_end(connection, runner, "succeeded", skipped)
        return runner

    def _record_end(self, connection: Connection, runner: Runner, outcome: str, message: str) -> None:
        """Record how the run ended; what matters is recorded already, so a failure here is only told."""
        durations = {item.name: item.duration_ms for item in runner.applied}
        try:
            connection.run(connection.reset_sql())
            sealing.end_run(connection, self.run_id, outcome, message, durations)
            self.locks.record(connection, self.run_id)
        except DbSetupError as error:
            self._job.listen("run.unrecorded", {"run": self.run_id, "reason": error.what})

    def _report(self, connection: Connection, view: View, runner: Runner, earlier: Sequence[_Attempt]) -> Report:
        applied = [Line(item.number, item.name, item.mode, item.duration_ms) for item in runner.applied]
        if lost := [attempt.run_id for attempt in earlier if attempt.run_id]:
            applied = [Line(*row) for row in history.applied_by(connection, lost)] + applied
        revisions = [text for text in (view.plan.revision, *(line.number for line in applied)) if text]
        return self._describe(view)._replace(
            state=PENDING if view.plan.held_back else UP_TO_DATE,
            applied=tuple(applied),
            pending=tuple(map(as_line, view.plan.held_back)),
            previous_revision=self._before,
            final_revision=max(revisions, key=parse_number, default=""),
            warnings=(*self._warnings(view), *view.plan.warnings, *runner.warnings),
            remark=self._caretaker.remark if self._caretaker else "",
            details=self.locks.details([attempt.locks for attempt in earlier]),
        )

    def _describe(self, view: View) -> Report:
        return describe(self._job, view, self._warnings(view), action="migrate")

    def _warnings(self, view: View) -> tuple[str, ...]:
        scripts = (self._scripts.get(item.migration.name) for item in view.plan.pending)
        marks = (text for script in scripts if script for text in script.warnings)
        about = self._caretaker.warnings if self._caretaker else ()
        return (*self._folder.warnings, *self._job.warnings, *marks, *about)
