"""Which action a request names; each is loaded when it is asked for."""

from __future__ import annotations

from migrator.context import RunContext
from migrator.report import Report


def perform(context: RunContext) -> Report:
    """Carry out what the context's request asks for."""
    if context.request.action == "status":
        from migrator.actions.status import status  # noqa: PLC0415

        return status(context)
    if context.request.action == "plan":
        from migrator.actions.plan import plan  # noqa: PLC0415

        return plan(context)
    if context.request.action == "history":
        from migrator.actions.history import history  # noqa: PLC0415

        return history(context)
    if context.request.action == "verify":
        from migrator.actions.verify import verify  # noqa: PLC0415

        return verify(context)
    if context.request.action in {"adopt", "baseline"}:
        from migrator.actions.adopt import adopt  # noqa: PLC0415

        return adopt(context)
    if context.request.action == "rotate":
        from migrator.actions.rotate import rotate  # noqa: PLC0415

        return rotate(context)
    if context.request.action == "rehearse":
        from migrator.actions.rehearse import rehearse  # noqa: PLC0415

        return rehearse(context)
    if context.request.action == "rollback":
        from migrator.actions.rollback import rollback  # noqa: PLC0415

        return rollback(context)
    if context.request.action == "repair":
        from migrator.actions.repair import repair  # noqa: PLC0415

        return repair(context)
    from migrator.actions.migrate import migrate  # noqa: PLC0415

    return migrate(context)
