"""Adoption: finding out which files are applied to a database that has tables and no history of ours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

from migrator.adoption.imported import UnappliedFile, find_unapplied
from migrator.adoption.other_tools import REVISION, AdoptedFile, Tool, ToolRow, adopted_by_tool, read_histories
from migrator.adoption.search import SearchResult, search
from migrator.context import RunContext
from migrator.database import Connection, lock_lost
from migrator.drift import difference_fields, in_words
from migrator.errors import ContradictoryEvidence, NothingProven, ServerError
from migrator.files import REPEATABLE, Migration
from migrator.formatting import listed
from migrator.history import AppliedMigration, History, Record
from migrator.planning import Inspection, Pending, states, up_to

ADOPTED, BASELINE, IMPORTED = "adopted", "baseline", "imported"
NONE = "none"
"""The target of a baseline for which no file is applied."""

_WAYS_OUT = (
    "adopt shows all differences; write a file that makes them, or change the database, so that it is what some of the "
    'files build; or record what you know: baseline --target N ("none": run all files)'
)
_UNCHANGING = "it changes no object, so whether it is applied does not show, and it is taken as applied"
_BASELINED = "baselined, not verified"


class Adoption(NamedTuple):
    """What is known to be applied, by what evidence, and the mode that the history records for it.

    ``details`` are for the answer. ``refusal`` is why nothing may be recorded, and nothing run.
    """

    mode: str
    rows: tuple[tuple[AppliedMigration, str], ...] = ()
    details: Mapping[str, Any] = {}
    refusal: NothingProven | ContradictoryEvidence | None = None

    def body(self) -> dict[str, Any]:
        """Return the fields of an answer."""
        lines = [{"number": row.number, "name": row.name, "evidence": text} for row, text in self.rows]
        return {"adopted_migrations": lines, **self.details}


def adoptable(inspection: Inspection) -> bool:
    """Return whether a database has tables, files that may be applied, and no history of ours."""
    return bool(inspection.imported) or (inspection.plan.state == states.UNTRACKED and bool(inspection.plan.pending))


def baseline(context: RunContext, inspection: Inspection) -> Adoption:
    """Return what the request names as applied, without reading the database; raises UnknownTarget."""
    if inspection.imported:
        return _imported(inspection)
    items = [] if context.request.target == NONE else up_to(context.request.target, _numbered(inspection.plan.pending))
    return Adoption(BASELINE, _rows(AdoptedFile(item, _BASELINED) for item in items))


def _imported(inspection: Inspection) -> Adoption:
    """Return what the table of the first generation records."""
    return Adoption(IMPORTED, tuple((row, History.FIRST_GENERATION) for row in inspection.imported))


def _unapplied(found: Sequence[UnappliedFile]) -> ContradictoryEvidence:
    names = listed([item.row.name for item in found])
    makes = listed([text for item in found for text in item.makes])
    return ContradictoryEvidence(
        f"public.schema_migrations names {names}, and the database has nothing of what is made there: {makes}",
        fix="repair takes over all other names, and the next migrate runs these files; or, if they have run, and what "
        "they made is gone on purpose: baseline --target head",
        applied="nothing was run, nothing was recorded",
    )


def find_applied(context: RunContext, connection: Connection, inspection: Inspection) -> Adoption:
    """Return what the history of another tool proves to be applied, or else what a scratch database proves.

    Raises ContradictoryEvidence, and ScratchRefused where the server allows no scratch database.
    """
    if inspection.imported:
        unapplied = find_unapplied(context, connection, context.read_folder(), inspection.imported)
        return _imported(inspection)._replace(refusal=_unapplied(unapplied) if unapplied else None)
    histories = read_histories(connection)
    with_versions = [tool for tool, rows in histories if rows[0].meaning != REVISION]
    if len(with_versions) > 1:
        names = " and ".join(f"{tool.table} ({tool.name})" for tool in with_versions)
        raise ContradictoryEvidence(
            f"several tools have a history here: {names}",
            fix="record what you know: baseline --target N; or give the table that is out of use another name",
        )
    for tool, rows in histories:
        if files := _by_tool(context, tool, rows, _numbered(inspection.plan.pending)):
            return Adoption(ADOPTED, _rows(files))
    return _by_search(context, connection, inspection.plan.pending)


def _by_tool(context: RunContext, tool: Tool, rows: Sequence[ToolRow], items: Sequence[Pending]) -> list[AdoptedFile]:
    if rows[0].meaning != REVISION:
        return adopted_by_tool(tool, rows, items, _read_file)
    if not context.request.target or context.request.action != "adopt":
        return []  # a revision of Alembic's matches no file until the request names one
    revisions = ", ".join(row.version for row in rows)
    evidence = f"{tool.table} of {tool.name}: {revisions}, matched by the request with {context.request.target}"
    return [AdoptedFile(item, evidence) for item in up_to(context.request.target, items)]


def _numbered(items: Sequence[Pending]) -> list[Pending]:
    """Leave out the repeatable files: other tools know none of them, and they can simply run again."""
    return [item for item in items if not item.migration.name.startswith(REPEATABLE)]


def _read_file(file: Migration) -> bytes:
    with open(file.path, "rb") as text:
        return text.read()


def _by_search(context: RunContext, connection: Connection, items: Sequence[Pending]) -> Adoption:
    found = search(context, connection, items)
    applied = items[: found.applied]
    unchanging = {item.migration.name for item in applied[found.applied - found.unchanging :]}
    if unchanging:
        context.warnings.append(f"{listed(sorted(unchanging))}: {_UNCHANGING}; check whether the data is there")
    details = {
        "not_compared": list(found.not_compared),
        "not_verifiable": list(found.not_verifiable),
        **difference_fields(found.differences),
    }
    refusal = None if found.applied or found.unrelated else _refusal(found, items)
    return Adoption(ADOPTED, _rows(_with_evidence(applied, unchanging)), details, refusal)


def _with_evidence(applied: Sequence[Pending], unchanging: AbstractSet[str]) -> Iterator[AdoptedFile]:
    proven = f"the database is what the files up to {applied[-1].migration.name} build" if applied else ""
    for item in applied:
        yield AdoptedFile(item, f"{proven}; {_UNCHANGING}" if item.migration.name in unchanging else proven)


def _refusal(found: SearchResult, items: Sequence[Pending]) -> NothingProven:
    nearest = f"up to {items[found.nearest - 1].migration.name}" if found.nearest else "before the first"
    failed = f"; {found.failed}" if found.failed else ""
    return NothingProven(
        "the database has tables and no history, and it is not what these files build, up to whichever of them; "
        f"closest is {nearest}: {in_words(found.differences)}{failed}",
        fix=_WAYS_OUT,
        applied="nothing was run, nothing was recorded",
    )


def _rows(files: Iterable[AdoptedFile]) -> tuple[tuple[AppliedMigration, str], ...]:
    return tuple(
        (AppliedMigration(item.migration.name, item.number, item.migration.checksum, "applied"), text)
        for item, text in files
    )


def record_adoption(context: RunContext, connection: Connection, adoption: Adoption) -> None:
    """Record an adoption, in the transaction that creates the history.

    Else a run killed on the way would leave an empty history, by which nothing is applied.
    """
    history = History(connection)
    try:
        connection.run("BEGIN")
        history.create()
        history.refuse_tampering()
        run_id = history.begin_run(adoption.mode, context.request_id)
        history.record_known(adoption.rows, adoption.mode, run_id)
        history.end_run(run_id, "succeeded", "", {})
        connection.run("COMMIT")
    except ServerError as error:
        if Record.is_fence(error):
            raise lock_lost("the adoption") from error
        raise
    finally:
        connection.rollback()
    connection.take_notices()
