"""migrate: apply what is pending, each file exactly once, or raise with the cause and the cure."""

from __future__ import annotations

from contextlib import closing

from migrator.actions.status import about_users, describe
from migrator.connection import Connection
from migrator.folder import Folder
from migrator.job import Job, View
from migrator.plan import AHEAD, UNTRACKED
from migrator.report import Report

LEFT_AS_THEY_ARE = "the users are left as they are, for the package that knows the newer migrations"


def migrate(job: Job) -> Report:
    """Look without a lock first, since most deploys have nothing to do; then apply the pending migrations.

    A run that a deploy makes with AUTO_MIGRATE=false reports instead.
    """
    folder = job.read_folder()
    with closing(job.connect()) as connection:
        view = View(job, folder, connection)
        report = describe(job, view, (*folder.warnings, *job.warnings), action="migrate")
        if job.request.by_deploy and not job.settings.auto_migrate:
            users = ", and users are left as they are" if job.settings.declares_users else ""
            return report._replace(remark=f"AUTO_MIGRATE=false: nothing was applied{users}.")
        view.plan.refuse_problems()
        if view.nothing_to_do and (view.plan.state == AHEAD or not job.settings.declares_users):
            left = (LEFT_AS_THEY_ARE,) if job.settings.declares_users else about_users(job, connection)[1]
            report = report._replace(warnings=(*report.warnings, *left))
        else:
            report = _apply(job, folder, connection, view)
    if job.settings.verify:
        from migrator.actions.verify import after_deploy  # noqa: PLC0415 - for those who ask for it

        return after_deploy(job, report)
    return report


def _apply(job: Job, folder: Folder, connection: Connection, view: View) -> Report:
    from migrator.actions.apply_pending import apply_pending  # noqa: PLC0415 - half of the code, for this only

    unknown = view.plan.state == UNTRACKED and (view.plan.pending or view.plan.held_back)
    if view.facts.exists or not (view.imported or unknown):
        return apply_pending(job, folder, connection, view)
    from migrator.actions.adopt import before_applying, told  # noqa: PLC0415 - once in the life of a database

    view, finding = before_applying(job, folder, connection, view)
    return told(apply_pending(job, folder, connection, view), finding)
