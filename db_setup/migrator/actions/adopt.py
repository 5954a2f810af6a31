"""adopt: which files are applied to a database without a history of ours, by evidence; baseline: by word alone.

Both only tell, until the request confirms. A deploy adopts by itself, before it applies the rest.
"""

from __future__ import annotations

from contextlib import closing

from migrator import adoption, lock
from migrator.actions.status import describe
from migrator.adoption import BASELINE, Finding, adoptable, find, record
from migrator.connection import Connection
from migrator.evidence_errors import AdoptionNeeded
from migrator.folder import Folder
from migrator.job import Job, View
from migrator.report import Report, counted, listed

_UNPROVEN = (
    "a baseline compares nothing: whether the tables, columns, functions, grants and rows are what the files make is "
    "not known; verify tells what differs, rows excepted"
)


def adopt(job: Job) -> Report:
    """Tell which files are applied already; record it when the request confirms.

    Raises NothingProven, when confirmed, where nothing is known; ContradictoryEvidence; ScratchRefused.
    """
    folder, action = job.read_folder(), job.request.action
    with closing(job.connect()) as connection:
        if job.request.confirm:
            _lock(job, connection)
        view = View(job, folder, connection, whole=True)
        view.plan.refuse_problems()
        finding = Finding(action)
        if adoptable(view):
            finding = adoption.baseline(job, view) if action == "baseline" else find(job, connection, view)
        if adoptable(view) and job.request.confirm:
            if finding.refusal:
                raise finding.refusal
            record(job, connection, finding)
        after = View(job, folder, connection, whole=True)
    warnings = (*folder.warnings, *job.warnings, *([_UNPROVEN] if finding.mode == BASELINE and finding.rows else []))
    report = describe(job, after, warnings, action=action)._replace(details=finding.body())
    if not adoptable(view):
        return report._replace(remark=f"Nothing to adopt: {_why_not(view)}.")
    if finding.refusal:
        return report._replace(problems=(finding.refusal.what,), cures=(finding.refusal.cure,))
    return report._replace(remark=_remark(job, finding))


def _lock(job: Job, connection: Connection) -> None:
    lock.acquire(connection, job.deadline, lambda who: job.listen("lock.waiting", {"holder": who}))


def _why_not(view: View) -> str:
    if view.applied:
        return "the database has a history"
    return "the database has no tables" if view.plan.pending else "there are no files"


def _remark(job: Job, finding: Finding) -> str:
    count = counted(len(finding.rows)) if finding.rows else "no migration"
    if job.request.confirm:
        return f"Recorded as applied: {count}."
    how = 'say --yes, or "confirm": true in the event, to record it'
    return f"Would be recorded as applied: {count}. Nothing was written: {how}."


def before_applying(job: Job, folder: Folder, connection: Connection, view: View) -> tuple[View, Finding]:
    """Record, at a deploy on a database with tables and no history, what is proven to be applied to it.

    Raises NothingProven when nothing is and the files would touch what is there, and AdoptionNeeded with ADOPT=manual.
    Once the history is there, even empty, the question has been answered.
    """
    if job.settings.adopt == "manual":
        raise AdoptionNeeded(
            "the database has tables and no history, and ADOPT=manual leaves it to you to say which files are applied",
            cure='see what adopt finds, and confirm it with --yes ("confirm": true); or baseline --target N',
            kept="nothing was run, nothing was recorded",
        )
    if view.imported:
        return view, Finding(adoption.IMPORTED)  # the run that applies the rest takes it over
    _lock(job, connection)
    whole = View(job, folder, connection, whole=True)
    finding = Finding(adoption.ADOPTED)
    if not whole.facts.exists and adoptable(whole):
        finding = find(job, connection, whole)
    if finding.refusal:
        job.listen("run.refused", dict(finding.details))  # the whole; an error has room for its beginning
        raise finding.refusal
    if finding.rows:
        record(job, connection, finding)
    return View(job, folder, connection), finding


def told(report: Report, finding: Finding) -> Report:
    """Add to the report of a deploy what was adopted on its way."""
    if not finding.rows:
        return report
    names = listed([row.name for row, _ in finding.rows])
    warning = f"recorded as applied, and not run: {names} ({finding.rows[-1][1]})"
    return report._replace(warnings=(warning, *report.warnings), details={**report.details, **finding.body()})
