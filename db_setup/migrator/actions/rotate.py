"""rotate: new passwords for limited users, on their other logins, while applications keep using the old ones."""

from __future__ import annotations

from contextlib import closing

from migrator import history, lock
from migrator.actions.status import describe
from migrator.caretaker import Caretaker
from migrator.connection import Connection
from migrator.errors import ConnectionLost, DbSetupError, InvalidRequest
from migrator.job import OTHER_SECRET, Job, View
from migrator.passwords import rotation_token
from migrator.report import Report
from migrator.roles import chosen


def rotate(job: Job) -> Report:
    """Rotate the passwords that the request names; run again after a failure, it carries on and rotates once."""
    if OTHER_SECRET in job.warnings:
        raise InvalidRequest(OTHER_SECRET, cure="send rotate without secret_name")
    if not job.settings.create_users:
        raise InvalidRequest("CREATE_USERS=false: there is no user to rotate", cure="set CREATE_USERS to true")
    rotation = _Rotation(job)
    try:
        return rotation.run()
    except ConnectionLost:
        job.deadline.check()
        return rotation.run()  # once more on another connection; what is done already stays as it is


class _Rotation:
    """One rotation, on one connection after another if need be."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._folder = job.read_folder()
        self._caretaker = Caretaker(job)
        self._users = chosen(self._caretaker.users, job.request.user)
        self._run: tuple[int, str] | None = None

    def run(self) -> Report:
        """Rotate under the run lock, record it, and report."""
        job = self._job
        with closing(job.connect()) as connection:
            lock.acquire(connection, job.deadline, lambda who: job.listen("lock.waiting", {"holder": who}))
            self._caretaker.check(connection)
            history.create(connection)
            self._run = self._run or history.rotation(connection, job.request_id)
            report = self._report(View(job, self._folder, connection))
            self._recorded(connection, *self._run)
        return report._replace(remark=self._caretaker.remark, duration_ms=job.elapsed_ms())

    def _recorded(self, connection: Connection, run_id: int, started: str) -> None:
        database = self._job.credentials().name  # not the address: a re-run may come by another way
        try:
            self._caretaker.rotate(
                connection, self._users, lambda kind: rotation_token(database, run_id, started, kind)
            )
        except ConnectionLost:
            raise  # nothing can be recorded; the row of the run stays "running"
        except DbSetupError as error:
            history.end_run(connection, run_id, "failed", str(error), {})
            raise
        history.end_run(connection, run_id, "succeeded", "", {})

    def _report(self, view: View) -> Report:
        warnings = (*self._folder.warnings, *self._job.warnings, *self._caretaker.warnings)
        report = describe(self._job, view, warnings, action="rotate")
        return report._replace(problems=(), cures=(), warnings=(*report.warnings, *report.problems))
