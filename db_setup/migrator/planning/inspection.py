"""Inspection: files and history as they are now, and the plan that follows from both. Reads only."""

from __future__ import annotations

from typing import NamedTuple

from migrator.context import RunContext
from migrator.database import Connection
from migrator.files import Folder
from migrator.history import AppliedMigration, History, HistorySnapshot
from migrator.planning import states
from migrator.planning.plan import Plan, Policy, make_plan


class Inspection(NamedTuple):
    """What was read of a database, and what is to be done with it.

    ``applied`` are the rows for the files of this environment; ``imported`` the same where they are those of the first
    generation's table, which are still to be taken over; ``skipped`` the names of files for other environments.
    ``nothing_to_do``: a run would write nothing. ``unproven``: there are tables, and nothing says that the pending
    files are not applied to them, so a run adopts before it applies anything.
    """

    history: HistorySnapshot
    target: str
    applied: tuple[AppliedMigration, ...]
    imported: tuple[AppliedMigration, ...]
    plan: Plan
    skipped: tuple[str, ...]
    nothing_to_do: bool
    unproven: bool


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
    applied = snapshot.applied
    if snapshot.first_generation:
        applied = History(connection).read_first_generation(folder.files)
    if folder.skipped:  # applied, perhaps, when this database was of another environment
        applied = tuple(row for row in applied if row.name not in folder.skipped)
    policy = Policy(target, context.settings.strict_order, context.settings.allow_missing)
    plan = make_plan(folder.files, applied, snapshot.has_tables, policy, folder.repeatable)
    if snapshot.exists and (plan.pending or plan.held_back) and (runs := History(connection).removals()):
        from migrator.planning.removed import read_removals  # noqa: PLC0415 - for histories that have lost rows

        removed = read_removals(runs, snapshot.applied)
        plan = make_plan(folder.files, applied, snapshot.has_tables, policy, folder.repeatable, removed)
    imported = applied if snapshot.first_generation else ()
    nothing = not (plan.pending or plan.renames or imported or plan.problems)
    unproven = plan.state == states.UNTRACKED and not snapshot.applied and bool(plan.pending or plan.held_back)
    if unproven and snapshot.exists:
        unproven = not History(connection).none_is_applied()
    return Inspection(snapshot, target, applied, imported, plan, folder.skipped, nothing, unproven)
