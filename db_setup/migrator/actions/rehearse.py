"""rehearse: runs what is pending on the real database, tells what each statement locks, and rolls all of it back."""

from __future__ import annotations

from contextlib import closing

from migrator.actions.summary import adoption_warnings, describe
from migrator.context import RunContext
from migrator.database.connection import Connection
from migrator.database.deadline import Deadline
from migrator.events import Details
from migrator.execution.blockers import Blockers
from migrator.execution.watchdog import Watchdog
from migrator.files import Folder
from migrator.formatting import counted
from migrator.history import integrity, run_lock
from migrator.planning.inspection import Inspection
from migrator.rehearsal.lock_report import LockEntries
from migrator.rehearsal.rehearsal import Rehearsal
from migrator.report import Report, ReportedMigration
from migrator.scripts import read_scripts

_NOTHING: Details = {"rehearsal": [], "statements_left_out": 0, "not_rehearsed": []}


def rehearse(context: RunContext) -> Report:
    """Report statement by statement what migrate would do now; raises what migrate would raise, and keeps nothing.

    It holds the run lock, so no run is at work beside it, and lasts no longer than REHEARSE_TIMEOUT.
    """
    folder = context.read_folder()
    with closing(context.connect()) as connection:
        inspection = Inspection(context, folder, connection)
        inspection.plan.refuse_problems()
        if not inspection.plan.pending:
            return describe(context, inspection, (*folder.warnings, *context.warnings), action="rehearse")._replace(
                details=_NOTHING
            )
        read_scripts(item.migration for item in inspection.plan.pending)  # refuses before anything is touched
        run_lock.acquire(connection, context.deadline, lambda who: context.listen("lock.waiting", {"holder": who}))
        inspection = Inspection(context, folder, connection)
        inspection.plan.refuse_problems()
        if inspection.history.exists:
            integrity.refuse_changes(connection)
        return _rehearse(context, folder, connection, inspection)


def _rehearse(context: RunContext, folder: Folder, connection: Connection, inspection: Inspection) -> Report:
    scripts = read_scripts(item.migration for item in inspection.plan.pending)
    marks = (text for script in scripts for text in script.warnings)
    warnings = (*folder.warnings, *context.warnings, *adoption_warnings(inspection), *marks)
    deadline = Deadline(min(context.settings.rehearse_timeout, context.deadline.remaining()))
    watchdog, blockers = Watchdog(connection, deadline), Blockers(context.connect)
    untracked = inspection.history.has_tables and not inspection.applied
    rehearsal = Rehearsal(connection, deadline, watchdog, context.listen, untracked=untracked)
    try:
        with watchdog.watching():
            blockers.watch(connection.pid)
            rehearsal.run(
                list(zip(inspection.plan.pending, scripts, strict=True)), history_exists=inspection.history.exists
            )
    finally:
        blockers.close()
    entries = rehearsal.trace.entries
    modes = {script.migration.name: script.mode for script in scripts}
    lines = tuple(
        ReportedMigration(item.number, item.migration.name, modes[item.migration.name])
        for item in inspection.plan.pending
    )
    problem = rehearsal.ending.problem
    return describe(context, inspection, warnings, action="rehearse")._replace(
        pending=lines,
        problems=(f"{problem}{blockers.names()}",) if problem else (),
        remark=_remark(rehearsal.files, len(scripts), entries),
        details=_details(entries, rehearsal),
    )


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
