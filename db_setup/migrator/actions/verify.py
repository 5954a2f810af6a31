"""verify: is the database what its applied files build? Writes nothing to it, and makes a scratch database."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

from migrator import catalogue, sealing
from migrator.actions.status import describe
from migrator.build import Build, building
from migrator.catalogue_entry import Catalogue, Key
from migrator.connection import Connection
from migrator.differences import changed, compare, in_words, told, without
from migrator.errors import DbSetupError, InconsistentHistory
from migrator.evidence_errors import NothingProven
from migrator.folder import Folder
from migrator.history_tables import SCHEMA
from migrator.job import Job, View
from migrator.light import Any, NamedTuple
from migrator.matching import match
from migrator.migration import REPEATABLE, AppliedMigration
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
        if view.facts.exists:
            sealing.refuse_changes(connection)
        items = _applied_files(folder, view)
        differences, details = _drift(job, connection, items, live)
    details["not_verifiable"] += _beyond(folder, view)
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


class _Item(NamedTuple):
    """A file to be built; ``known`` is false where another text of it was applied."""

    pending: Pending
    known: bool = True


def _applied_files(folder: Folder, view: View) -> list[_Item]:
    """Return the files that are applied whole: in the order of application, then the repeatable ones."""
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
    done = [row for row in view.applied if row.state == "applied"]
    numbered = [_Item(Pending(by_row[row.name], row.number)) for row in done if row.name in by_row]
    return numbered + _repeatables(folder, done)


def _repeatables(folder: Folder, done: Sequence[AppliedMigration]) -> list[_Item]:
    """Return the repeatable files that have been applied, in the order of names, in which a new database gets them."""
    sums = {row.name: row.checksum for row in done}
    return [
        _Item(Pending(file, ""), known=sums[file.name] == file.checksum)
        for file in folder.repeatable
        if file.name in sums
    ]


def _beyond(folder: Folder, view: View) -> list[str]:
    """Return what of the history the files here cannot tell."""
    here = {file.name for file in folder.repeatable}
    return [
        *(f"{row.name} is applied in part" for row in view.applied if row.state != "applied"),
        *(
            f"{row.name} is applied, and its file is gone"
            for row in view.applied
            if row.name.startswith(REPEATABLE) and row.name not in here
        ),
    ]


def _drift(
    job: Job, connection: Connection, items: Sequence[_Item], live: Catalogue
) -> tuple[str, dict[str, Any]]:  # fmt: skip
    """Build the files and compare; return the drift in a sentence, empty for none, and the answer's details."""
    own = own_roles(connection, known=bool(items))
    with building(job, connection, job.warnings.append) as build:
        built, unknown = _build(build, items, own)
        differences = compare(without(built, unknown), without(live, unknown))
    edited = [item.pending.migration.name for item in items if not item.known]
    beyond = [f"{name} is to be run again: it, and the repeatable files after it" for name in edited[:1]]
    details = {
        "differences": [item.as_json() for item in told(differences)],
        "difference_count": len(differences),
        "not_verifiable": [*build.not_verifiable, *beyond],
    }
    count = f"{len(differences)} difference{'s' * (len(differences) > 1)}"
    return f"the database is not what its files build, {count}: {in_words(differences)}" * bool(differences), details


def _build(build: Build, items: Sequence[_Item], own: Sequence[str]) -> tuple[Catalogue, set[Key]]:
    """Build the files; return the catalogue, and the objects that nothing can be said of.

    These are what a file makes whose applied text is not known, and what the files after it make, which may use it.
    """
    before: Catalogue | None = None
    for item in items:
        if before is None and not item.known:
            before = catalogue.read(build.connection, own)
        build.apply(item.pending)
    built = catalogue.read(build.connection, own)
    return built, set() if before is None else changed(before, built)
