"""TODO."""

from __future__ import annotations

from migrator.context import RunContext
from migrator.database.connection import Connection
from migrator.files import Folder
from migrator.history import reader
from migrator.history.rows import AppliedMigration
from migrator.planning.plan import Plan, Policy, make_plan


class Inspection:
    """One look at files and history, and the plan that follows from it; reads only.

    ``whole`` plans for all files, whatever target the request names; ``target`` is another one than the request's.
    """

    def __init__(
        self,
        context: RunContext,
        folder: Folder,
        connection: Connection,
        *,
        whole: bool = False,
        target: str | None = None,
    ) -> None:
        self._context, self._folder, self._connection = context, folder, connection
        self._target = "" if whole else context.request.target if target is None else target
        self.plan = self._look(dates=False)
        if self.plan.problems:
            self.plan = self._look(dates=True)
        self.skipped = folder.skipped
        self.imported = self.applied if self.history.first_generation else ()

    def _look(self, *, dates: bool) -> Plan:
        self.history = reader.read(self._connection, dates=dates)
        self.applied: tuple[AppliedMigration, ...] = self.history.applied
        files, settings = self._folder.files, self._context.settings
        if self.history.first_generation:
            from migrator.history import legacy  # noqa: PLC0415 - once in the life of a database

            self.applied = legacy.translate(legacy.read_names(self._connection), files)
        if skipped := self._folder.skipped:  # applied, perhaps, when this database was of another environment
            self.applied = tuple(row for row in self.applied if row.name not in skipped)
        policy = Policy(self._target, settings.strict_order, settings.allow_missing)
        plan = make_plan(files, self.applied, self.history.has_tables, policy)
        if self._folder.repeatable:
            from migrator.planning.plan import _with_repeatables  # noqa: PLC0415 - for folders that have some

            plan = _with_repeatables(plan, self._folder.repeatable, self.applied)
        return plan

    @property
    def nothing_to_do(self) -> bool:
        """Tell whether a run would write nothing."""
        return not (self.plan.pending or self.plan.renames or self.imported or self.plan.problems)
