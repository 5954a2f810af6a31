"""verify: is the database what its applied files build? Writes nothing to it, and makes a scratch database."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

from migrator import catalogue
from migrator.actions.status import describe
from migrator.build import building
from migrator.catalogue_entry import Catalogue
from migrator.connection import Connection
from migrator.differences import compare, in_words, told
from migrator.errors import DbSetupError, InconsistentHistory
from migrator.evidence_errors import NothingProven
from migrator.folder import Folder
from migrator.history_tables import SCHEMA
from migrator.job import Job, View
from migrator.light import Any
from migrator.matching import match
from migrator.plan import AHEAD, DRIFTED, UNTRACKED, Pending
from migrator.report import Report, counted


def verify(job: Job) -> Report:
    """Report the drift: every object that is not as the applied files build it.

    Raises what keeps the files from being built, and InconsistentHistory where they are not all that was applied.
    """
    folder = job.read_folder()
    with closing(job.connect()) as connection:
        view, live = _settled(job, folder, connection)
        view.plan.refuse_problems()
        items = _applied_files(folder, view)
        differences, details = _drift(job, connection, items, live)
    details["not_verifiable"] += [f"{row.name} is applied in part" for row in view.applied if row.state != "applied"]
    report = describe(job, view, (*folder.warnings, *job.warnings), action="verify")._replace(details=details)
    if not differences:
        return report._replace(remark=f"The database is what {counted(len(items))} build{'s' * (len(items) == 1)}.")
    return report._replace(state=DRIFTED, problems=(differences,))


def after_deploy(job: Job, report: Report) -> Report:
    """Add to the report of a deploy whether the database has drifted.

    What is committed stays, so neither a drift nor a verification that cannot be made fails the deploy: both are
    warnings, and a drift is the state.
    """
    try:
        found = verify(job)
    except DbSetupError as error:
        return report._replace(warnings=(*report.warnings, f"the database could not be verified: {error.what}"))
    warnings = (*report.warnings, *found.problems)
    state = DRIFTED if found.problems else report.state
    return report._replace(
        state=state, warnings=warnings, details={**report.details, **found.details}, duration_ms=job.elapsed_ms()
    )


def _settled(job: Job, folder: Folder, connection: Connection) -> tuple[View, Catalogue]:
    """Return history and catalogue of one moment: no run has changed the one while the other was read."""
    view = View(job, folder, connection)
    while True:
        live = catalogue.read(connection, own_roles(connection, known=view.facts.exists))
        again = View(job, folder, connection)
        if again.applied == view.applied:
            return view, live
        view = again


def own_roles(connection: Connection, *, known: bool) -> list[str]:
    """Return the roles that have applied migrations here: who asks, and those in the history."""
    earlier = f" UNION SELECT applied_by FROM {SCHEMA}.history" if known else ""
    return [str(name) for (name,) in connection.rows(f"SELECT SESSION_USER::text UNION SELECT CURRENT_USER{earlier}")]


def _applied_files(folder: Folder, view: View) -> list[Pending]:
    """Return the files that are applied whole, in the order of application."""
    if view.plan.state == UNTRACKED:
        raise NothingProven(
            "the database has tables and no history, so nothing says what it should be",
            cure="adopt shows which files are applied already, and records it",
        )
    found = match(folder.files, view.applied)
    if view.plan.state == AHEAD or found.missing:
        names = ", ".join(row.name for row in found.missing)
        raise InconsistentHistory(
            f"not all that is applied is among these files: {names}", cure="verify with the package that has them all"
        )
    by_row = {row.name: file for file in folder.files if (row := found.rows.get(file.name))}
    return [Pending(by_row[row.name], row.number) for row in view.applied if row.state == "applied"]


def _drift(
    job: Job, connection: Connection, items: Sequence[Pending], live: Catalogue
) -> tuple[str, dict[str, Any]]:  # fmt: skip
    """Build the files and compare; return the drift in a sentence, empty for none, and the answer's details."""
    own = own_roles(connection, known=bool(items))
    with building(job, connection, job.warnings.append) as build:
        for item in items:
            build.apply(item)
        differences = compare(catalogue.read(build.connection, own), live)
    details = {
        "differences": [item.as_json() for item in told(differences)],
        "difference_count": len(differences),
        "not_verifiable": list(build.not_verifiable),
    }
    count = f"{len(differences)} difference{'s' * (len(differences) > 1)}"
    return f"the database is not what its files build, {count}: {in_words(differences)}" * bool(differences), details
