"""rotate: new passwords for limited users, on their other logins, while applications keep using the old ones."""

from __future__ import annotations

from contextlib import closing

from migrator.actions.summary import describe
from migrator.context import OTHER_SECRET, RunContext
from migrator.database.connection import Connection
from migrator.errors import ConnectionLost, DbSetupError, InvalidRequest
from migrator.history import run_lock, runs
from migrator.planning.inspection import Inspection
from migrator.report import Report
from migrator.users.names import chosen
from migrator.users.passwords import rotation_token
from migrator.users.provision import UserProvisioner


def rotate(context: RunContext) -> Report:
    """Rotate the passwords that the request names; run again after a failure, it carries on and rotates once."""
    if OTHER_SECRET in context.warnings:
        raise InvalidRequest(OTHER_SECRET, fix="send rotate without secret_name")
    if not context.settings.create_users:
        raise InvalidRequest("CREATE_USERS=false: there is no user to rotate", fix="set CREATE_USERS to true")
    rotation = _Rotation(context)
    try:
        return rotation.run()
    except ConnectionLost:
        context.deadline.check()
        return rotation.run()  # once more on another connection; what is done already stays as it is


class _Rotation:
    """One rotation, on one connection after another if need be."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._folder = context.read_folder()
        self._caretaker = UserProvisioner(context)
        self._users = chosen(self._caretaker.users, context.request.user)
        self._run: tuple[int, str] | None = None

    def run(self) -> Report:
        """Rotate under the run lock, record it, and report."""
        context = self._context
        with closing(context.connect()) as connection:
            run_lock.acquire(connection, context.deadline, lambda who: context.listen("lock.waiting", {"holder": who}))
            self._caretaker.check(connection)
            runs.create(connection)
            self._run = self._run or runs.rotation(connection, context.request_id)
            report = self._report(Inspection(context, self._folder, connection))
            self._recorded(connection, *self._run)
        return report._replace(remark=self._caretaker.remark, duration_ms=context.elapsed_ms())

    def _recorded(self, connection: Connection, run_id: int, started: str) -> None:
        database = self._context.credentials().name  # not the address: a re-run may come by another way
        try:
            self._caretaker.rotate(
                connection, self._users, lambda kind: rotation_token(database, run_id, started, kind)
            )
        except ConnectionLost:
            raise  # nothing can be recorded; the row of the run stays "running"
        except DbSetupError as error:
            runs.end_run(connection, run_id, "failed", str(error), {})
            raise
        runs.end_run(connection, run_id, "succeeded", "", {})

    def _report(self, inspection: Inspection) -> Report:
        warnings = (*self._folder.warnings, *self._context.warnings, *self._caretaker.warnings)
        report = describe(self._context, inspection, warnings, action="rotate")
        return report._replace(problems=(), fixes=(), warnings=(*report.warnings, *report.problems))
