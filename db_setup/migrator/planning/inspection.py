"""Inspection: files and history as they are now, and the plan that follows from both. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from migrator.context import RunContext
from migrator.database import Connection
from migrator.files import Folder, Migration
from migrator.history import AppliedMigration, History, HistorySnapshot
from migrator.planning import states
from migrator.planning.plan import Plan, Policy, make_plan

if TYPE_CHECKING:
    from migrator.planning.removed import Removed


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

    @property
    def adoption_due(self) -> bool:
        """Whether it is not known which files are applied, so that a run has to find out before it runs any."""
        if self.history.applied:
            return False
        found = self.plan
        return bool(self.imported) or (found.state == states.UNTRACKED and bool(found.pending or found.held_back))


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
    plan = _planned(folder, connection, snapshot, applied, policy)
    state = states.PENDING if snapshot.none_applied and plan.state == states.EMPTY else plan.state
    plan = plan._replace(state=state, warnings=(*plan.warnings, *left))
    nothing = not (plan.pending or plan.renames or plan.gone or imported or plan.problems)
    return Inspection(snapshot, target, applied, imported, plan, folder.skipped, nothing)


def _planned(
    folder: Folder, connection: Connection, snapshot: HistorySnapshot, applied: tuple[AppliedMigration, ...],
    policy: Policy,
) -> Plan:  # fmt: skip
    removed: Removed | None = None

    def plan_of(files: Sequence[Migration], repeatable: Sequence[Migration]) -> Plan:
        unknown = snapshot.has_tables and not snapshot.none_applied
        return make_plan(files, applied, unknown, policy, repeatable, folder.others, removed)

    plan = plan_of(folder.files, folder.repeatable)
    if snapshot.exists and (plan.pending or plan.held_back) and (runs := History(connection).removals()):
        from migrator.planning.removed import read_removals  # noqa: PLC0415 - for histories that have lost rows

        removed = read_removals(runs, snapshot.applied)
        plan = plan_of(folder.files, folder.repeatable)
    if folder.suspects:
        from migrator.planning.foreign import without_foreign_files  # noqa: PLC0415 - for folders that have such files

        plan = without_foreign_files(plan, folder, plan_of)
    return plan
