"""Which action a request names; each is loaded when it is asked for."""

from __future__ import annotations

from migrator.job import Job
from migrator.report import Report


def perform(job: Job) -> Report:
    """Carry out what the job's request asks for."""
    if job.request.action == "status":
        from migrator.actions.status import status  # noqa: PLC0415

        return status(job)
    if job.request.action == "plan" or job.request.dry_run:
        from migrator.actions.plan import plan  # noqa: PLC0415

        return plan(job)
    if job.request.action == "history":
        from migrator.actions.recount import recount  # noqa: PLC0415

        return recount(job)
    if job.request.action == "verify":
        from migrator.actions.verify import verify  # noqa: PLC0415

        return verify(job)
    if job.request.action in {"adopt", "baseline"}:
        from migrator.actions.adopt import adopt  # noqa: PLC0415

        return adopt(job)
    if job.request.action == "rotate":
        from migrator.actions.rotate import rotate  # noqa: PLC0415

        return rotate(job)
    if job.request.action == "rehearse":
        from migrator.actions.rehearse import rehearse  # noqa: PLC0415

        return rehearse(job)
    if job.request.action == "rollback":
        from migrator.actions.rollback import rollback  # noqa: PLC0415

        return rollback(job)
    if job.request.action == "repair":
        from migrator.actions.repair import repair  # noqa: PLC0415

        return repair(job)
    from migrator.actions.migrate import migrate  # noqa: PLC0415

    return migrate(job)
