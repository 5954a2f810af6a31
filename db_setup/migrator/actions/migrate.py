"""migrate: apply what is pending, each file exactly once, or raise with the cause and the cure."""

from __future__ import annotations

from contextlib import closing

from migrator.actions.status import describe
from migrator.connection import Connection
from migrator.folder import Folder
from migrator.job import Job, View
from migrator.plan import UNTRACKED
from migrator.report import Report


def migrate(job: Job) -> Report:
    """Look without a lock first, since most deploys have nothing to do; then apply the pending migrations.

    A run that a deploy makes with AUTO_MIGRATE=false reports instead.
    """
    folder = job.read_folder()
    with closing(job.connect()) as connection:
        view = View(job, folder, connection)
        report = describe(job, view, (*folder.warnings, *job.warnings), action="migrate")
        if job.request.by_deploy and not job.settings.auto_migrate:
            return report._replace(remark="AUTO_MIGRATE=false: nothing was applied.")
        view.plan.refuse_problems()
        if not view.nothing_to_do:
            report = _apply(job, folder, connection, view)
    if job.settings.verify:
        from migrator.actions.verify import after_deploy  # noqa: PLC0415 - for those who ask for it

        return after_deploy(job, report)
    return report


def _apply(job: Job, folder: Folder, connection: Connection, view: View) -> Report:
    from migrator.actions.apply_pending import apply_pending  # noqa: PLC0415 - half of the code, for this only

    if view.facts.exists or not (view.imported or view.plan.state == UNTRACKED):
        return apply_pending(job, folder, connection, view)
    from migrator.actions.adopt import before_applying, told  # noqa: PLC0415 - once in the life of a database

    view, finding = before_applying(job, folder, connection, view)
    return told(apply_pending(job, folder, connection, view), finding)
