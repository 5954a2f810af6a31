"""Inspection: files and history as they are now, and the plan that follows from both. Reads only."""

from __future__ import annotations

from typing import NamedTuple

from migrator.context import RunContext
from migrator.database import Connection
from migrator.files import Folder
from migrator.history import AppliedMigration, History, HistorySnapshot
from migrator.planning.plan import Plan, Policy, make_plan


class Inspection(NamedTuple):
    """What was read of a database, and what is to be done with it.

    ``applied`` are the rows of all environments; ``imported`` the same where they are those of the first generation's
    table, which are still to be taken over; ``skipped`` the names of files for other environments.
    ``nothing_to_do``: a run would write nothing.
    """

    history: HistorySnapshot
    target: str
    applied: tuple[AppliedMigration, ...]
    imported: tuple[AppliedMigration, ...]
    plan: Plan
    skipped: tuple[str, ...]
    nothing_to_do: bool


def inspect(
    context: RunContext, folder: Folder, connection: Connection, *,
    target: str | None = None, earlier: Inspection | None = None,
) -> Inspection:  # fmt: skip
    """Read the history and plan up to a target: that of the request, or another one; empty for all files.

    An ``earlier`` inspection is returned again where the history is still the same.
    """
    history = History(connection)
    snapshot, target = history.read(), context.request.target if target is None else target
    if earlier is not None and earlier.history == snapshot and not snapshot.first_generation:
        return earlier
    found = _inspected(context, folder, connection, snapshot, target)
    if found.plan.problems:  # which say when a file was applied
        found = _inspected(context, folder, connection, history.read(dates=True), target)
    return found


def _inspected(
    context: RunContext, folder: Folder, connection: Connection, snapshot: HistorySnapshot, target: str
) -> Inspection:  # fmt: skip
    applied, left = snapshot.applied, tuple[str, ...]()
    if snapshot.first_generation:
        history = History(connection)
        applied = history.read_first_generation((*folder.files, *folder.others))
        left = history.warn_of_first_generation()
    imported = applied if snapshot.first_generation else ()
    policy = Policy(target, context.settings.strict_order, context.settings.allow_missing, importing=bool(imported))
    plan = make_plan(folder.files, applied, snapshot.has_tables, policy, folder.repeatable, folder.others)
    plan = plan._replace(warnings=(*plan.warnings, *left))
    nothing = not (plan.pending or plan.renames or plan.gone or imported or plan.problems)
    return Inspection(snapshot, target, applied, imported, plan, folder.skipped, nothing)
