"""migrate: apply what is pending, each file exactly once, or raise with the cause and the cure."""

from __future__ import annotations

from contextlib import closing

from migrator.actions.status import about_users, describe
from migrator.job import Job, View
from migrator.plan import AHEAD
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
            return report._replace(warnings=(*report.warnings, *left))
        from migrator.actions.apply_pending import apply_pending  # noqa: PLC0415 - half of the code, for this only

        return apply_pending(job, folder, connection, view)
