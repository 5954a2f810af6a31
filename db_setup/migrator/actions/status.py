"""status: what is applied, what is pending, what is wrong. Writes nothing, creates nothing, takes no lock."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

from migrator.connection import Connection
from migrator.job import Job, View
from migrator.plan import AHEAD, INCONSISTENT, UNTRACKED, Pending
from migrator.report import Line, Report

_ADOPTION = (
    "the database has tables and no history: migrate first finds out which of these files are applied already, "
    "and runs the rest, or nothing; adopt shows it"
)


def status(job: Job) -> Report:
    """Report the state of the database; what is inconsistent is reported, not raised."""
    folder = job.read_folder()
    with closing(job.connect()) as connection:
        view = View(job, folder, connection)
        remark, warnings = about_users(job, connection)
        by_hand = done_by_hand(connection, view)
    warnings = (*folder.warnings, *job.warnings, *about_adoption(view), *warnings)
    report = with_problems(describe(job, view, warnings, action="status"), by_hand)
    suggestion = _suggestion([file.name for file in folder.files if file.number is None])
    return report._replace(remark=" ".join(filter(None, (remark, suggestion))))


def done_by_hand(connection: Connection, view: View) -> list[str]:
    """Return what was done to the history by hand, each in a sentence; reads only."""
    if not view.facts.exists:
        return []
    from migrator import sealing  # noqa: PLC0415 - a migrate with nothing to do needs it not

    return [problem.told for problem in sealing.problems(connection)]


def with_problems(report: Report, texts: Sequence[str]) -> Report:
    """Add problems to a report; where the database is ahead of these files, they are for the newer ones to solve."""
    if report.state == AHEAD or not texts:
        return report._replace(warnings=(*report.warnings, *texts))
    from migrator.sealing import CURE  # noqa: PLC0415 - as above

    return report._replace(state=INCONSISTENT, problems=(*report.problems, *texts), cures=(*report.cures, CURE))


def about_adoption(view: View) -> tuple[str, ...]:
    """Return the warning that not all that is pending may be run, where the tables have no history."""
    if view.plan.state != UNTRACKED or view.facts.exists or view.imported or not view.plan.pending:
        return ()
    return (_ADOPTION,)


def about_users(job: Job, connection: Connection) -> tuple[str, tuple[str, ...]]:
    """Return which limited users are still to be made, and warnings of them; reads only."""
    if job.settings.create_users and (job.settings.declares_users or connection.has_made_users):
        from migrator.caretaker import Caretaker  # noqa: PLC0415 - for those who have such users

        return Caretaker(job).preview(connection)
    return "", ()


def _suggestion(unnumbered: list[str]) -> str:
    """Suggest to write given numbers into the names, so that all databases of a team agree on them."""
    if not unnumbered:
        return ""
    return f'Without a number in its name: {", ".join(unnumbered)}; "python db_setup number" gives it one on disk.'


def describe(job: Job, view: View, warnings: tuple[str, ...], *, action: str) -> Report:
    """Return the report of a look at the database."""
    plan = view.plan
    return Report(
        action=action,
        state=plan.state,
        pending=tuple(as_line(item) for item in (*plan.pending, *plan.held_back)),
        previous_revision=plan.revision,
        final_revision=plan.revision,
        target=job.request.target,
        warnings=(*warnings, *plan.warnings),
        problems=tuple(problem.what for problem in plan.problems),
        cures=tuple(dict.fromkeys(problem.cure for problem in plan.problems)),
        duration_ms=job.elapsed_ms(),
        skipped=view.skipped,
    )


def as_line(item: Pending) -> Line:
    """Return a pending migration as a line of a report."""
    return Line(item.number, item.migration.name, "resumed" if item.resumed else "")
