"""rehearse: runs what is pending on the real database, tells what each statement locks, and rolls all of it back."""

from __future__ import annotations

from contextlib import closing

from migrator import lock, sealing
from migrator.actions.plan import read_scripts
from migrator.actions.status import about_adoption, describe
from migrator.blockers import Blockers
from migrator.connection import Connection
from migrator.deadline import Deadline
from migrator.folder import Folder
from migrator.job import Job, View
from migrator.lock_report import Entries
from migrator.rehearsal import Rehearsal
from migrator.report import Details, Line, Report, counted
from migrator.watchdog import Watchdog

_NOTHING: Details = {"rehearsal": [], "statements_left_out": 0, "not_rehearsed": []}


def rehearse(job: Job) -> Report:
    """Report statement by statement what migrate would do now; raises what migrate would raise, and keeps nothing.

    It holds the run lock, so no run is at work beside it, and lasts no longer than REHEARSE_TIMEOUT.
    """
    folder = job.read_folder()
    with closing(job.connect()) as connection:
        view = View(job, folder, connection)
        view.plan.refuse_problems()
        if not view.plan.pending:
            return describe(job, view, (*folder.warnings, *job.warnings), action="rehearse")._replace(details=_NOTHING)
        read_scripts(view.plan.pending)  # refuses before anything is touched
        lock.acquire(connection, job.deadline, lambda who: job.listen("lock.waiting", {"holder": who}))
        view = View(job, folder, connection)
        view.plan.refuse_problems()
        if view.facts.exists:
            sealing.refuse_changes(connection)
        return _rehearse(job, folder, connection, view)


def _rehearse(job: Job, folder: Folder, connection: Connection, view: View) -> Report:
    scripts = read_scripts(view.plan.pending)
    marks = (text for script in scripts for text in script.warnings)
    warnings = (*folder.warnings, *job.warnings, *about_adoption(view), *marks)
    deadline = Deadline(min(job.settings.rehearse_timeout, job.deadline.remaining()))
    watchdog, blockers = Watchdog(connection, deadline), Blockers(job.connect)
    untracked = view.facts.has_tables and not view.applied
    rehearsal = Rehearsal(connection, deadline, watchdog, job.listen, untracked=untracked)
    try:
        with watchdog.watching():
            blockers.watch(connection.pid)
            rehearsal.run(list(zip(view.plan.pending, scripts, strict=True)), history_exists=view.facts.exists)
    finally:
        blockers.close()
    entries = rehearsal.trace.entries
    modes = {script.migration.name: script.mode for script in scripts}
    lines = tuple(Line(item.number, item.migration.name, modes[item.migration.name]) for item in view.plan.pending)
    problem = rehearsal.ending.problem
    return describe(job, view, warnings, action="rehearse")._replace(
        pending=lines,
        problems=(f"{problem}{blockers.names()}",) if problem else (),
        remark=_remark(rehearsal.files, len(scripts), entries),
        details=_details(entries, rehearsal),
    )


def _remark(files: int, of: int, entries: Entries) -> str:
    part = f"{files} of {counted(of)}" if files < of else counted(of)
    statements = f"{entries.count} statement{'' if entries.count == 1 else 's'}"
    return f"Rehearsed {part}: {statements} in {entries.seconds * 1000:,.0f} ms, all of it rolled back."


def _details(entries: Entries, rehearsal: Rehearsal) -> Details:
    not_rehearsed = [text for text in (rehearsal.ending.not_rehearsed, *rehearsal.limits) if text]
    return {
        "rehearsal": entries.bodies(),
        "statements_left_out": entries.omitted,
        "not_rehearsed": not_rehearsed,
    }
