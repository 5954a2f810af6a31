"""rotate: new passwords for limited users, on their other logins, while applications keep using the old ones."""

from __future__ import annotations

from contextlib import closing

from migrator import history, lock
from migrator.actions.status import describe
from migrator.caretaker import Caretaker
from migrator.errors import ConnectionLost, DbSetupError, InvalidRequest
from migrator.job import Job, View
from migrator.passwords import rotation_token
from migrator.report import Report
from migrator.roles import chosen


def rotate(job: Job) -> Report:
    """Rotate the passwords that the request names; run again after a failure, it carries on and rotates once."""
    if not job.settings.create_users:
        raise InvalidRequest("CREATE_USERS=false: there is no user to rotate", cure="set CREATE_USERS to true")
    folder, caretaker = job.read_folder(), Caretaker(job)
    users = chosen(caretaker.users, job.request.user)
    with closing(job.connect()) as connection:
        lock.acquire(connection, job.deadline, lambda who: job.listen("lock.waiting", {"holder": who}))
        caretaker.check(connection)
        history.create(connection)
        run_id, started = history.rotation(connection, job.request_id)
        place = job.credentials()
        server = f"{place.host}:{place.port}/{place.name}"
        try:
            caretaker.rotate(connection, users, lambda kind: rotation_token(server, run_id, started, kind))
        except ConnectionLost:
            raise  # nothing can be recorded; the row of the run stays "running"
        except DbSetupError as error:
            history.end_run(connection, run_id, "failed", str(error), {})
            raise
        history.end_run(connection, run_id, "succeeded", "", {})
        view = View(job, folder, connection)
    warnings = (*folder.warnings, *job.warnings, *caretaker.warnings)
    report = describe(job, view, warnings, action="rotate")
    return report._replace(remark=caretaker.remark, problems=(), warnings=(*report.warnings, *report.problems))
