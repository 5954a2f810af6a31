"""verify: is the database what its applied files build? Writes nothing to it, and makes a scratch database."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any, NamedTuple

from migrator.context import RunContext
from migrator.database import Connection
from migrator.drift import Build, Catalog, building, compare, difference_fields, in_words, read_catalog
from migrator.errors import DbSetupError, InconsistentHistory, NothingProven
from migrator.files import REPEATABLE, Folder
from migrator.formatting import counted
from migrator.history import SCHEMA, AppliedMigration, History
from migrator.planning import Inspection, Pending, inspect, match, states
from migrator.report import Report, describe


def verify(context: RunContext) -> Report:
    """Report the drift: every object that is not as the applied files build it.

    Raises what keeps the files from being built, and InconsistentHistory where they are not all that was applied.
    """
    folder = context.read_folder()
    with closing(context.connect()) as connection:
        inspection, live = _settled(context, folder, connection)
        inspection.plan.refuse_problems()
        if inspection.history.exists:
            History(connection).refuse_tampering()
        items = _applied_files(folder, inspection)
        differences, details = _drift(context, connection, items, live)
    details["not_verifiable"] += _beyond(folder, inspection)
    report = describe(context, inspection, (*folder.warnings, *context.warnings), action="verify")._replace(
        details=details
    )
    if not differences:
        return report._replace(remark=f"The database is what {counted(len(items))} build{'s' * (len(items) == 1)}.")
    return report._replace(state=states.DRIFTED, problems=(differences,))


def after_deploy(context: RunContext, report: Report) -> Report:
    """Add to the report of a deploy whether the database has drifted.

    What is committed stays, so neither a drift nor a verification that cannot be made fails the deploy: both are
    warnings, and a drift is the state.
    """
    try:
        found = verify(context)
    except DbSetupError as error:
        return report._replace(warnings=(*report.warnings, f"the database could not be verified: {error.cause}"))
    warnings = (*report.warnings, *found.problems)
    state = states.DRIFTED if found.problems else report.state
    return report._replace(
        state=state, warnings=warnings, details={**report.details, **found.details}, duration_ms=context.elapsed_ms()
    )


def _settled(context: RunContext, folder: Folder, connection: Connection) -> tuple[Inspection, Catalog]:
    """Return history and catalog of one moment: no run has changed the one while the other was read."""
    inspection = inspect(context, folder, connection)
    while True:
        live = read_catalog(connection, own_roles(connection, known=inspection.history.exists))
        again = inspect(context, folder, connection)
        if again.applied == inspection.applied:
            return inspection, live
        inspection = again


def own_roles(connection: Connection, *, known: bool) -> list[str]:
    """Return the roles that have applied migrations here: who asks, and those in the history."""
    earlier = f" UNION SELECT applied_by FROM {SCHEMA}.history" if known else ""
    return [str(name) for (name,) in connection.rows(f"SELECT SESSION_USER::text UNION SELECT CURRENT_USER{earlier}")]


class _Item(NamedTuple):
    """A file to be built; ``known`` is false where another text of it was applied."""

    pending: Pending
    known: bool = True


def _applied_files(folder: Folder, inspection: Inspection) -> list[_Item]:
    """Return the files that are applied whole: in the order of application, then the repeatable ones."""
    if inspection.plan.state == states.UNTRACKED:
        raise NothingProven(
            "the database has tables and no history, so nothing says what it should be",
            fix="adopt shows which files are applied already, and records it",
        )
    found = match(folder.files, inspection.applied, folder.others)
    if inspection.plan.state == states.AHEAD or found.missing:
        names = ", ".join(row.name for row in found.missing)
        raise InconsistentHistory(
            f"not all that is applied is among these files: {names}", fix="verify with the package that has them all"
        )
    by_row = {row.name: file for file in folder.files if (row := found.rows.get(file.name))}
    done = [row for row in inspection.applied if row.state == "applied"]
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


def _beyond(folder: Folder, inspection: Inspection) -> list[str]:
    """Return what of the history the files here do not show."""
    here = {file.name for file in (*folder.repeatable, *folder.others)}
    return [
        *(f"{row.name} is applied in part" for row in inspection.applied if row.state != "applied"),
        *(
            f"{row.name} is applied, and its file is gone"
            for row in inspection.applied
            if row.name.startswith(REPEATABLE) and row.name not in here
        ),
    ]


def _drift(
    context: RunContext, connection: Connection, items: Sequence[_Item], live: Catalog
) -> tuple[str, dict[str, Any]]:  # fmt: skip
    """Build the files and compare; return the drift in a sentence, empty for none, and the answer's details."""
    own = own_roles(connection, known=bool(items))
    with building(context, connection, context.warnings.append) as build:
        built, known = _build(build, items, own)
        differences = compare(built, live, known=known)
    edited = [item.pending.migration.name for item in items if not item.known]
    beyond = [f"{name} is to be run again: it, and the repeatable files after it" for name in edited[:1]]
    details = {
        **difference_fields(differences),
        "not_verifiable": [*build.not_verifiable, *beyond],
    }
    count = f"{len(differences)} difference{'s' * (len(differences) > 1)}"
    return f"the database is not what its files build, {count}: {in_words(differences)}" * bool(differences), details


def _build(build: Build, items: Sequence[_Item], own: Sequence[str]) -> tuple[Catalog, Catalog | None]:
    """Build the files; return the catalog, and that before the first file whose applied text is not known, if any.

    What that file has changed is not known, and neither is what the files after it have changed, which may use it.
    """
    before: Catalog | None = None
    for item in items:
        if before is None and not item.known:
            before = read_catalog(build.connection, own)
        build.apply(item.pending)
    return read_catalog(build.connection, own), before
