"""adopt: which files are applied to a database without a history of ours, by evidence; baseline: by word alone.

Both only tell, until the request confirms. A deploy adopts by itself, before it applies the rest.
"""

from __future__ import annotations

from contextlib import closing

from migrator.actions.summary import describe
from migrator.adoption import adoption
from migrator.adoption.adoption import BASELINE, Adoption, adoptable, find, record
from migrator.context import RunContext
from migrator.database.connection import Connection
from migrator.errors import AdoptionNeeded
from migrator.files import Folder
from migrator.formatting import counted, listed
from migrator.history import run_lock
from migrator.planning.inspection import Inspection
from migrator.report import Report

_UNPROVEN = (
    "a baseline compares nothing: whether the tables, columns, functions, grants and rows are what the files make is "
    "not known; verify tells what differs, rows excepted"
)


def adopt(context: RunContext) -> Report:
    """Tell which files are applied already; record it when the request confirms.

    Raises NothingProven, when confirmed, where nothing is known; ContradictoryEvidence; ScratchRefused.
    """
    folder, action = context.read_folder(), context.request.action
    with closing(context.connect()) as connection:
        if context.request.confirm:
            _lock(context, connection)
        inspection = Inspection(context, folder, connection, whole=True)
        inspection.plan.refuse_problems()
        finding = Adoption(action)
        if adoptable(inspection):
            finding = (
                adoption.baseline(context, inspection)
                if action == "baseline"
                else find(context, connection, inspection)
            )
        if adoptable(inspection) and context.request.confirm:
            if finding.refusal:
                raise finding.refusal
            record(context, connection, finding)
        after = Inspection(context, folder, connection, whole=True)
    warnings = (
        *folder.warnings,
        *context.warnings,
        *([_UNPROVEN] if finding.mode == BASELINE and finding.rows else []),
    )
    report = describe(context, after, warnings, action=action)._replace(details=finding.body())
    if not adoptable(inspection):
        return report._replace(remark=f"Nothing to adopt: {_why_not(inspection)}.")
    if finding.refusal:
        return report._replace(problems=(finding.refusal.what,), fixes=(finding.refusal.fix,))
    return report._replace(remark=_remark(context, finding))


def _lock(context: RunContext, connection: Connection) -> None:
    run_lock.acquire(connection, context.deadline, lambda who: context.listen("lock.waiting", {"holder": who}))


def _why_not(inspection: Inspection) -> str:
    if inspection.applied:
        return "the database has a history"
    return "the database has no tables" if inspection.plan.pending else "there are no files"


def _remark(context: RunContext, finding: Adoption) -> str:
    count = counted(len(finding.rows)) if finding.rows else "no migration"
    if context.request.confirm:
        return f"Recorded as applied: {count}."
    how = 'say --yes, or "confirm": true in the event, to record it'
    return f"Would be recorded as applied: {count}. Nothing was written: {how}."


def before_applying(
    context: RunContext, folder: Folder, connection: Connection, inspection: Inspection
) -> tuple[Inspection, Adoption]:
    """Record, at a deploy on a database with tables and no history, what is proven to be applied to it.

    Raises NothingProven when nothing is and the files would touch what is there, and AdoptionNeeded with ADOPT=manual.
    Once the history is there, even empty, the question has been answered.
    """
    if context.settings.adopt == "manual":
        raise AdoptionNeeded(
            "the database has tables and no history, and ADOPT=manual leaves it to you to say which files are applied",
            fix='see what adopt finds, and confirm it with --yes ("confirm": true); or baseline --target N',
            applied="nothing was run, nothing was recorded",
        )
    if inspection.imported:
        return inspection, Adoption(adoption.IMPORTED)  # the run that applies the rest takes it over
    _lock(context, connection)
    whole = Inspection(context, folder, connection, whole=True)
    finding = Adoption(adoption.ADOPTED)
    if not whole.history.exists and adoptable(whole):
        finding = find(context, connection, whole)
    if finding.refusal:
        context.listen("run.refused", dict(finding.details))  # the whole; an error has room for its beginning
        raise finding.refusal
    if finding.rows:
        record(context, connection, finding)
    return Inspection(context, folder, connection), finding


def with_adoption(report: Report, finding: Adoption) -> Report:
    """Add to the report of a deploy what was adopted on its way."""
    if not finding.rows:
        return report
    names = listed([row.name for row, _ in finding.rows])
    warning = f"recorded as applied, and not run: {names} ({finding.rows[-1][1]})"
    return report._replace(warnings=(warning, *report.warnings), details={**report.details, **finding.body()})
