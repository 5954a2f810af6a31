"""resolve: a person says what became of a step that nothing shows, and the file can go on.

It never runs a file, and touches nothing but the history.
"""

from __future__ import annotations

from contextlib import closing

from migrator.context import RunContext
from migrator.database import Connection
from migrator.execution import retry_on_lost_connection, supervised
from migrator.files import Folder
from migrator.history import AppliedMigration, History
from migrator.planning import Inspection, inspect
from migrator.report import Report, ReportedMigration, describe

_NOTHING = "Nothing to resolve: no file waits for an answer."
_FOLLOWS = {"done": "counts as done, and the next {} goes on behind it", "repeat": "is run again by the next {}"}


def resolve(context: RunContext) -> Report:
    """Report what the answer would mean, and record it when the request confirms it."""
    run = _Resolution(context, context.read_folder())
    if context.request.confirm:
        return retry_on_lost_connection(context, run.answer)
    with closing(context.connect()) as connection:
        return run.preview(connection)


class _Resolution:
    """One answer, on one connection after another if need be."""

    def __init__(self, context: RunContext, folder: Folder) -> None:
        self._context = context
        self._folder = folder
        self._row: AppliedMigration | None = None  # what is answered, once it is found

    def preview(self, connection: Connection) -> Report:
        """Report what would follow; writes nothing, takes no lock."""
        inspection = self._find(connection)
        remark = f"{self._remark()} Nothing was written: confirm it (--yes)." if self._row else _NOTHING
        return self._report(inspection)._replace(remark=remark)

    def answer(self, connection: Connection) -> Report:
        """Record the answer, under the run lock."""
        context, history = self._context, History(connection)
        with supervised(context, connection) as run:
            run.lock()
            earlier = self._row
            inspection = self._find(connection)
            found, self._row = self._row, self._row or earlier  # a lost connection may have recorded it
            if self._row is None:
                return self._report(inspection)._replace(remark=_NOTHING)
            history.refuse_tampering()
            run.message = f"{self._row.name}: {context.request.step}"
            run.begin("resolve")
            if found is not None:
                history.answer(found, done=context.request.step == "done")
        after = inspect(context, self._folder, connection, target="")
        return self._report(after)._replace(done=True, remark=self._remark())

    def _find(self, connection: Connection) -> Inspection:
        inspection = inspect(self._context, self._folder, connection, target="")
        self._row = next((row for row in inspection.history.applied if row.question), None)
        return inspection

    def _remark(self) -> str:
        assert self._row is not None
        follows = _FOLLOWS[self._context.request.step]
        action = "rollback" if self._row.state == "reverting" else "migrate"
        return f"{self._row.undecided.cause}: this step {follows.format(action)}."

    def _report(self, inspection: Inspection) -> Report:
        warnings = (*self._folder.warnings, *self._context.warnings)
        report = describe(self._context, inspection, warnings, action="resolve")
        row = self._row
        affected = (ReportedMigration(row.number, row.name, self._context.request.step),) if row else ()
        asked = row.undecided.cause if row else ""  # in the remark, with what follows
        others = [text for text in report.problems if text != asked]
        return report._replace(problems=(), fixes=(), warnings=(*report.warnings, *others), affected=affected)
