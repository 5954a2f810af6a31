"""rotate: new passwords for limited users, on their other logins, while applications keep using the old ones."""

from __future__ import annotations

from functools import partial

from migrator.context import OTHER_SECRET, RunContext
from migrator.database import Connection
from migrator.errors import InvalidRequest
from migrator.execution import retry_on_lost_connection, supervised
from migrator.planning import Inspection, inspect
from migrator.report import Report, describe
from migrator.users import UserProvisioner, chosen, rotation_token


def rotate(context: RunContext) -> Report:
    """Rotate the passwords that the request names; run again after a failure, it carries on and rotates once."""
    if OTHER_SECRET in context.warnings:
        raise InvalidRequest(OTHER_SECRET, fix="send rotate without secret_name")
    if not context.settings.create_users:
        raise InvalidRequest("CREATE_USERS=false: there is no user to rotate", fix="set CREATE_USERS to true")
    return retry_on_lost_connection(context, _Rotation(context).run)


class _Rotation:
    """One rotation, on one connection after another if need be."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._folder = context.read_folder()
        self._provisioner = UserProvisioner(context)
        self._users = chosen(self._provisioner.users, context.request.user)
        self._row: tuple[int, str] | None = None  # number and start

    def run(self, connection: Connection) -> Report:
        """Rotate under the run lock, record it, and report."""
        context = self._context
        with supervised(context, connection) as run:
            run.lock()
            self._provisioner.check(connection)
            run.history.create()
            self._row = self._row or run.history.unfinished_rotation(context.request_id)
            report = self._report(inspect(context, self._folder, connection))
            number, started = self._row
            run.record_end_with(partial(run.history.end_run_unsealed, number))
            database = context.credentials().name  # not the address: a re-run may come by another way
            self._provisioner.rotate(
                connection, self._users, lambda kind: rotation_token(database, number, started, kind)
            )
        return report._replace(remark=self._provisioner.remark, duration_ms=context.elapsed_ms())

    def _report(self, inspection: Inspection) -> Report:
        warnings = (*self._folder.warnings, *self._context.warnings, *self._provisioner.warnings)
        report = describe(self._context, inspection, warnings, action="rotate")
        return report._replace(problems=(), fixes=(), warnings=(*report.warnings, *report.problems))
