"""adopt: which files are applied to a database without a history of ours, by evidence; baseline: as the user says.

Both only report, until the request confirms. A deploy adopts by itself, before it applies the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from migrator.adoption import ADOPTED, BASELINE, IMPORTED, Adoption, adoptable, find_applied, record_adoption
from migrator.adoption import baseline as find_baseline
from migrator.context import RunContext
from migrator.database import Connection
from migrator.errors import AdoptionNeeded
from migrator.execution import supervised
from migrator.files import Folder
from migrator.formatting import counted, listed
from migrator.planning import Inspection, inspect
from migrator.report import Report, describe

_UNPROVEN = (
    "a baseline compares nothing: whether the tables, columns, functions, grants and rows are what the files make is "
    "not known; verify shows what differs, rows excepted"
)


def adopt(context: RunContext) -> Report:
    """Report which files are applied already, by evidence; record it when the request confirms.

    Raises NothingProven, when confirmed, where nothing is known; ContradictoryEvidence; ScratchRefused.
    """
    return _adopt(context, lambda connection, inspection: find_applied(context, connection, inspection))


def baseline(context: RunContext) -> Report:
    """Report the files up to the target as applied, as the user says; record it when the request confirms."""
    return _adopt(context, lambda _, inspection: find_baseline(context, inspection))


def _adopt(context: RunContext, found: Callable[[Connection, Inspection], Adoption]) -> Report:
    folder, action = context.read_folder(), context.request.action
    with closing(context.connect()) as connection, supervised(context, connection) as run:
        if context.request.confirm:
            run.lock()
        inspection = inspect(context, folder, connection, target="")
        inspection.plan.refuse_problems()
        finding = found(connection, inspection) if adoptable(inspection) else Adoption(action)
        if adoptable(inspection) and context.request.confirm:
            if finding.refusal:
                raise finding.refusal
            record_adoption(context, connection, finding)
        after = inspect(context, folder, connection, target="")
    unproven = [_UNPROVEN] if finding.mode == BASELINE and finding.rows else []
    warnings = (*folder.warnings, *context.warnings, *unproven)
    report = describe(context, after, warnings, action=action)._replace(details=finding.body())
    if not adoptable(inspection):
        return report._replace(remark=f"Nothing to adopt: {_why_not(inspection)}.")
    if finding.refusal:
        return report._replace(problems=(finding.refusal.what,), fixes=(finding.refusal.fix,))
    return report._replace(remark=_remark(context, finding))


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

    Raises NothingProven when nothing is and the files would touch what is there, ContradictoryEvidence where a history
    names what is not there, and AdoptionNeeded with ADOPT=manual.
    Once the history is there, even empty, the question has been answered.
    """
    if context.settings.adopt == "manual":
        raise AdoptionNeeded(
            "the database has tables and no history, and ADOPT=manual leaves it to you to say which files are applied",
            fix='see what adopt finds, and confirm it with --yes ("confirm": true); or baseline --target N',
            applied="nothing was run, nothing was recorded",
        )
    if inspection.imported:
        with supervised(context, connection):
            if refusal := find_applied(context, connection, inspection).refusal:
                raise refusal
        return inspection, Adoption(IMPORTED)  # the run that applies the rest takes it over
    with supervised(context, connection) as run:
        run.lock()
        whole = inspect(context, folder, connection, target="")
        finding = Adoption(ADOPTED)
        if not whole.history.exists and adoptable(whole):
            finding = find_applied(context, connection, whole)
        if finding.refusal:
            context.listen("run.refused", dict(finding.details))  # the whole; an error has space for its beginning only
            raise finding.refusal
        if finding.rows:
            record_adoption(context, connection, finding)
    return inspect(context, folder, connection), finding


def with_adoption(report: Report, finding: Adoption) -> Report:
    """Add to the report of a deploy what was adopted on its way."""
    if not finding.rows:
        return report
    names = listed([row.name for row, _ in finding.rows])
    warning = f"recorded as applied, and not run: {names} ({finding.rows[-1][1]})"
    return report._replace(warnings=(warning, *report.warnings), details={**report.details, **finding.body()})
