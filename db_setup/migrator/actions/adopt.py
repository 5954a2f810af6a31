"""adopt: which files are applied to a database without a history of ours, by evidence; baseline: as the user says.

Both only report, until the request confirms. A deploy adopts by itself, before it applies the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from migrator.adoption import ADOPTED, BASELINE, IMPORTED, Adoption, find_applied, record_adoption
from migrator.adoption import baseline as find_baseline
from migrator.context import RunContext
from migrator.database import Connection
from migrator.errors import AdoptionNeeded, NothingProven
from migrator.execution import supervised
from migrator.files import Folder
from migrator.formatting import counted, listed
from migrator.planning import Inspection, inspect, states
from migrator.report import Report, describe

_UNPROVEN = (
    "a baseline compares nothing: whether the tables, columns, functions, grants and rows are what the files make is "
    "not known; verify shows what differs, rows excepted"
)


def adopt(context: RunContext) -> Report:
    """Report which files are applied already, by evidence; record it when the request confirms.

    Raises NothingProven, when confirmed, where nothing is known; NotBuildable; ContradictoryEvidence; ScratchRefused.
    """
    folder = context.read_folder()

    def find(connection: Connection, inspection: Inspection) -> Adoption | None:
        return find_applied(context, connection, inspection) if inspection.adoption_due else None

    return _adopt(context, folder, find)


def baseline(context: RunContext) -> Report:
    """Report the files up to the target as applied, as the user says; record it when the request confirms.

    What an adoption or another baseline has recorded beyond the target is forgotten.
    """
    folder = context.read_folder()

    def find(connection: Connection, inspection: Inspection) -> Adoption | None:
        if inspection.plan.state in {states.EMPTY, states.AHEAD}:
            return None
        return find_baseline(context, folder, connection, inspection)

    return _adopt(context, folder, find)


def _adopt(
    context: RunContext, folder: Folder, find: Callable[[Connection, Inspection], Adoption | None]
) -> Report:  # fmt: skip
    confirmed, action = context.request.confirm, context.request.action
    with closing(context.connect()) as connection, supervised(context, connection) as run:
        if confirmed:
            run.lock()
        inspection = inspect(context, folder, connection, target="")
        inspection.plan.refuse_problems()
        finding = find(connection, inspection)
        if finding is not None and confirmed:
            _refuse_nothing(finding)
            record_adoption(context, connection, finding, folder.files)
        after = inspect(context, folder, connection, target="")
    if finding is None:
        report = describe(context, after, (*folder.warnings, *context.warnings), action=action)
        return report._replace(details=Adoption(action).body(), remark=f"Nothing to {action}: {_why_not(inspection)}.")
    unproven = [_UNPROVEN] if finding.mode == BASELINE and finding.rows else []
    warnings = (*folder.warnings, *context.warnings, *unproven)
    report = describe(context, after, warnings, action=action)._replace(details=finding.body())
    if finding.refusal:
        return report._replace(problems=(finding.refusal.cause,), fixes=(finding.refusal.fix,))
    return report._replace(remark=_remark(finding, confirmed))


def _refuse_nothing(finding: Adoption) -> None:
    """Raise why an adoption is not recorded: what it has found, or that it has found nothing."""
    if finding.refusal:
        raise finding.refusal
    if finding.mode == ADOPTED and not finding.rows:
        raise NothingProven(
            "nothing of what these files make is in the database, so there is nothing to adopt",
            fix="run migrate: it applies all files, and lets none change what no file makes",
            applied="nothing was run, nothing was recorded",
        )


def _why_not(inspection: Inspection) -> str:
    if inspection.plan.state == states.AHEAD:
        return "the database is ahead of these files"
    if inspection.history.exists and (inspection.applied or inspection.history.none_applied):
        return "the database has a history, which says what is applied"
    return "the database has no tables" if inspection.plan.pending else "there are no files"


def _remark(finding: Adoption, confirmed: bool) -> str:
    count = counted(len(finding.rows)) if finding.rows else "no migration"
    forgotten = f" Forgotten, so that migrate runs them: {listed(finding.forgotten)}." if finding.forgotten else ""
    if confirmed:
        return f"Recorded as applied: {count}.{forgotten}"
    how = 'say --yes, or "confirm": true in the event, to record it'
    return f"Would be recorded as applied: {count}.{forgotten} Nothing was written: {how}."


def before_applying(
    context: RunContext, folder: Folder, connection: Connection, inspection: Inspection
) -> tuple[Inspection, Adoption]:
    """Record, at a deploy on a database with tables and no history, what is proven to be applied to it.

    Raises NothingProven or NotBuildable where a file that is not proven to be applied is not proven absent either,
    ContradictoryEvidence where a history names what is not there, and AdoptionNeeded with ADOPT=manual. As long as no
    file is recorded, the question is asked again, unless a baseline or a rollback has answered it.
    """
    _refuse_manual(context)
    if inspection.imported:
        with supervised(context, connection):
            if refusal := find_applied(context, connection, inspection).refusal:
                raise refusal
        return inspection, Adoption(IMPORTED)  # the run that applies the rest takes it over
    with supervised(context, connection) as run:
        run.lock()
        whole = inspect(context, folder, connection, target="")
        finding = found_for_a_run(context, connection, whole) if whole.adoption_due else Adoption(ADOPTED)
        if finding.rows or finding.fence:
            record_adoption(context, connection, finding, folder.files)
    return inspect(context, folder, connection), finding


def found_for_a_run(context: RunContext, connection: Connection, inspection: Inspection) -> Adoption:
    """Return what is proven to be applied; raises why the rest may not run, if it may not."""
    _refuse_manual(context)
    finding = find_applied(context, connection, inspection)
    if finding.refusal:
        context.listen("run.refused", dict(finding.details))  # the whole; an error has space for its beginning only
        raise finding.refusal
    return finding


def _refuse_manual(context: RunContext) -> None:
    if context.settings.adopt == "manual":
        raise AdoptionNeeded(
            "the database has tables and no history, and ADOPT=manual leaves it to you to say which files are applied",
            fix='see what adopt finds, and confirm it with --yes ("confirm": true); or baseline --target N',
            applied="nothing was run, nothing was recorded",
        )


def with_adoption(report: Report, finding: Adoption) -> Report:
    """Add to the report of a deploy what was adopted on its way."""
    if not finding.rows:
        return report
    names = listed([row.name for row, _ in finding.rows])
    warning = f"recorded as applied, and not run: {names} ({finding.rows[-1][1]})"
    return report._replace(warnings=(warning, *report.warnings), details={**report.details, **finding.body()})
