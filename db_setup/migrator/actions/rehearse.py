"""rehearse: runs what is pending on the real database, reports what each statement locks, and rolls all of it back."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing

from migrator.context import RunContext
from migrator.database import Connection
from migrator.events import Details
from migrator.execution import supervised
from migrator.files import Folder
from migrator.formatting import counted, listed
from migrator.history import Fence
from migrator.planning import Inspection, Pending, inspect
from migrator.rehearsal import LockEntries, Rehearsal
from migrator.report import Report, ReportedMigration, describe
from migrator.scripts import Script, read_scripts
from migrator.scripts.session_needs import refuse_needs_of

_NOTHING: Details = {"rehearsal": [], "statements_left_out": 0, "not_rehearsed": []}


def rehearse(context: RunContext) -> Report:
    """Report statement by statement what migrate would do now; raises what migrate would raise, and keeps nothing.

    It holds the run lock, so there is no other run at the same time, and lasts no longer than REHEARSE_TIMEOUT.
    """
    folder = context.read_folder()
    with closing(context.connect()) as connection:
        inspection = inspect(context, folder, connection)
        inspection.plan.refuse_problems()
        if not inspection.plan.pending:
            report = describe(context, inspection, (*folder.warnings, *context.warnings), action="rehearse")
            return report._replace(details=_NOTHING)
        _read(connection, inspection.plan.pending)  # refuses before anything is touched
        with supervised(context, connection) as run:
            run.lock_if_there()
            inspection = inspect(context, folder, connection, earlier=inspection)
            inspection.plan.refuse_problems()
            if inspection.history.exists:
                run.history.refuse_tampering()
            known, fence = _adopted(context, folder, connection, inspection)
            if inspection.history.exists and fence is None:
                fence = run.history.read_fence()
        return _rehearse(context, folder, connection, inspection, known, fence)


def _adopted(
    context: RunContext, folder: Folder, connection: Connection, inspection: Inspection
) -> tuple[frozenset[str], Fence | None]:  # fmt: skip
    """Return the names of what migrate would adopt, and so not run, and its fence; raises what it would raise."""
    if inspection.imported or not inspection.adoption_due:
        return frozenset(), None
    from migrator.actions.adopt import found_for_a_run  # noqa: PLC0415 - once in the life of a database

    finding = found_for_a_run(context, connection, inspect(context, folder, connection, target=""))
    return frozenset(row.name for row, _ in finding.rows), finding.fence


def _rehearse(
    context: RunContext, folder: Folder, connection: Connection, inspection: Inspection, known: frozenset[str],
    fence: Fence | None,
) -> Report:  # fmt: skip
    pending = [item for item in inspection.plan.pending if item.migration.name not in known]
    scripts = refuse_needs_of(_read(connection, pending), inspection.plan.begun)
    texts = (text for script in scripts for text in script.warnings)
    adopted = [f"{listed(sorted(known), 20)}: applied already, and not rehearsed"] if known else []
    warnings = (*folder.warnings, *context.warnings, *adopted, *texts)
    deadline = context.deadline.within(context.settings.rehearse_timeout)
    with supervised(context, connection, deadline=deadline) as run:
        untracked = inspection.history.has_tables and not inspection.applied
        rehearsal = Rehearsal(run, context.listen, untracked=untracked, fence=fence)
        run.watch_blockers()
        rehearsal.run(list(zip(pending, scripts, strict=True)), history_exists=inspection.history.exists)
    entries, problem = rehearsal.trace.entries, rehearsal.ending.problem
    lines = (
        ReportedMigration(item.number, item.migration.name, script.mode)
        for item, script in zip(pending, scripts, strict=True)
    )
    return describe(context, inspection, warnings, action="rehearse")._replace(
        unknown=False,
        pending=tuple(lines),
        problems=(f"{problem}{run.blocked_by()}",) if problem else (),
        remark=_remark(rehearsal.files, len(scripts), entries),
        details=_details(entries, rehearsal),
    )


def _read(connection: Connection, pending: Iterable[Pending]) -> list[Script]:
    return read_scripts((item.migration for item in pending), standard_strings=connection.standard_strings)


def _remark(files: int, of: int, entries: LockEntries) -> str:
    part = f"{files} of {counted(of)}" if files < of else counted(of)
    statements = f"{entries.count} statement{'' if entries.count == 1 else 's'}"
    return f"Rehearsed {part}: {statements} in {entries.seconds * 1000:,.0f} ms, all of it rolled back."


def _details(entries: LockEntries, rehearsal: Rehearsal) -> Details:
    not_rehearsed = [text for text in (rehearsal.ending.not_rehearsed, *rehearsal.limits) if text]
    return {
        "rehearsal": entries.bodies(),
        "statements_left_out": entries.omitted,
        "not_rehearsed": not_rehearsed,
    }
