"""Adoption: finding out which files are applied to a database that has tables and no history of ours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

from migrator.adoption.claims import Claim, check_claim
from migrator.adoption.elsewhere import Elsewhere, find_elsewhere
from migrator.adoption.fencing import fence_around
from migrator.adoption.imported import UnappliedFile, find_unapplied
from migrator.adoption.other_tools import REVISION, AdoptedFile, Tool, ToolRow, adopted_by_tool, read_histories
from migrator.adoption.prerequisites import Prerequisites
from migrator.adoption.search import Failure, SearchResult, search
from migrator.context import RunContext
from migrator.database import Connection, lock_lost
from migrator.drift import difference_fields, in_words
from migrator.errors import ContradictoryEvidence, NotBuildable, NothingProven, PlanError, ServerError
from migrator.files import REPEATABLE, Migration
from migrator.formatting import listed, quoted
from migrator.history import NONE, AppliedMigration, Fence, History, Record
from migrator.planning import Inspection, Pending, up_to
from migrator.scripts import down_texts

ADOPTED, BASELINE, IMPORTED = "adopted", "baseline", "imported"

_WAYS_OUT = (
    "adopt shows all differences; write a file that makes them, or change the database, so that it is what some of the "
    'files build; or record what you know: baseline --target N ("none": run all files)'
)
_UNCHANGING = "it leaves no object changed, so whether it is applied does not show, and it is taken as applied"
_NOTHING_DONE = "nothing was run, nothing was recorded"


class Adoption(NamedTuple):
    """What is known to be applied, by what evidence, and the mode that the history records for it.

    ``forgotten`` are rows that go. ``fence`` is what the files that are not applied must leave as it is. ``details``
    are for the answer. ``refusal`` is why nothing may be recorded, and nothing run.
    """

    mode: str
    rows: tuple[tuple[AppliedMigration, str], ...] = ()
    forgotten: tuple[str, ...] = ()
    target: str = ""
    details: Mapping[str, Any] = {}
    fence: Fence | None = None
    refusal: PlanError | None = None

    def body(self) -> dict[str, Any]:
        """Return the fields of an answer."""
        lines = [{"number": row.number, "name": row.name, "evidence": text} for row, text in self.rows]
        forgotten = {"forgotten_migrations": list(self.forgotten)} if self.forgotten else {}
        return {"adopted_migrations": lines, **forgotten, **self.details}


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
        applied=_NOTHING_DONE,
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
            return _by_claim(context, connection, tool, files, inspection)
    return _by_search(context, connection, inspection)


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


def _by_claim(
    context: RunContext, connection: Connection, tool: Tool, files: Sequence[AdoptedFile], inspection: Inspection
) -> Adoption:
    """Return what of another tool's history the database does not contradict."""
    items = inspection.plan.pending
    evidence = {item.migration.name: text for item, text in files}
    claimed = [item for item, _ in files]
    rest = [item for item in _numbered(items) if item.migration.name not in evidence]
    found = check_claim(context, connection, claimed, rest)
    if found.unapplied:
        names = listed([item.migration.name for item in found.unapplied])
        context.warnings.append(f"{names}: {tool.table} counts it as applied, and the database has nothing of it")
    if found.failure is not None:
        context.warnings.append(f"what {tool.table} says is not compared with the database: {found.failure.error.what}")
    elif found.differences:
        context.warnings.append(
            f"the database is not what the files that {tool.name} has applied build: {in_words(found.differences)}"
        )
    details = _details(context, found)
    rows = _rows(AdoptedFile(item, evidence[item.migration.name]) for item in found.applied)
    left = sorted((*found.unapplied, *rest), key=lambda item: item.order)
    fence = fence_around(connection, items, left, inspection.skipped, found.made)
    return Adoption(ADOPTED, rows, details=details, fence=fence, refusal=_contradiction(tool, found, left))


def _contradiction(tool: Tool, found: Claim, left: Sequence[Pending]) -> PlanError | None:
    """Return why the files that another tool has not applied may not run, if they may not."""
    if found.failure is not None and (left or not tool.records_each):
        return not_buildable(found.failure, (*found.applied, *left), found.applied[: found.failure.place])
    if not found.applied:
        return ContradictoryEvidence(
            f"{tool.table} of {tool.name} counts {listed([item.migration.name for item in found.unapplied])} as "
            "applied, and the database has nothing of what they make",
            fix="baseline --target none, if they are to run here; or connect to the database that has their tables",
            applied=_NOTHING_DONE,
        )
    if found.taken:
        return ContradictoryEvidence(
            f"{tool.table} of {tool.name} does not count the files as applied that make "
            f"{listed(found.taken)}, and the database has that",
            fix="record what you know: baseline --target N, the last file that is applied; or change the file that "
            "makes it, if the database has it from elsewhere",
            applied=_NOTHING_DONE,
        )
    return None


def _by_search(context: RunContext, connection: Connection, inspection: Inspection) -> Adoption:
    items = inspection.plan.pending
    found = search(context, connection, items)
    elsewhere = find_elsewhere(context, connection, items, found.made) if found.failure is None else None
    applied = items[: found.applied]
    unchanging = {item.migration.name for item in applied[found.applied - found.unchanging :]}
    if unchanging:
        context.warnings.append(f"{listed(sorted(unchanging))}: {_UNCHANGING}; check whether the data is there")
    details = _details(context, found)
    rows = _rows(_with_evidence(applied, unchanging))
    fence = fence_around(connection, items, items[found.applied :], inspection.skipped, found.made)
    return Adoption(ADOPTED, rows, details=details, fence=fence, refusal=_refusal(found, items, elsewhere))


def _details(context: RunContext, found: Claim | SearchResult) -> dict[str, Any]:
    """Return what the answer says of a comparison, and warn where the folder builds no new database."""
    if any(found.prerequisites):
        context.warnings.append(_first_file_missing(found.prerequisites))
    return {
        "not_compared": list(found.not_compared),
        "not_verifiable": list(found.not_verifiable),
        **difference_fields(found.differences),
    }


def _first_file_missing(prerequisites: Prerequisites) -> str:
    name = "000_extensions.sql" if prerequisites.extensions else "000_schema.sql"
    return (
        "the files need what none of them makes, so a new database cannot be built from them; "
        f"add {name}: {' '.join(prerequisites.statements)}"
    )


def _with_evidence(applied: Sequence[Pending], unchanging: AbstractSet[str]) -> Iterator[AdoptedFile]:
    proven = f"the database is what the files up to {applied[-1].migration.name} build" if applied else ""
    for item in applied:
        yield AdoptedFile(item, f"{proven}; {_UNCHANGING}" if item.migration.name in unchanging else proven)


def _refusal(found: SearchResult, items: Sequence[Pending], elsewhere: Elsewhere | None) -> PlanError | None:
    """Return why the files that are not proven to be applied may not run either, if they may not."""
    refusal = _reason(found, items, elsewhere)
    if refusal is None or not found.not_compared:
        return refusal
    return refusal.replace(fix=f"{refusal.fix}; after a baseline, files may change what no file makes, unwatched")


def _reason(found: SearchResult, items: Sequence[Pending], elsewhere: Elsewhere | None) -> PlanError | None:
    if found.failure is not None:
        return not_buildable(found.failure, items, items[: found.applied])
    applied, left = items[: found.applied], _numbered(items[found.applied :])
    if elsewhere is not None:
        return _made_elsewhere(elsewhere)
    if found.unchanging and left:
        return _unseen(applied, found.unchanging, left)
    if applied or not found.related:
        return None
    nearest = f"up to {items[found.nearest - 1].migration.name}" if found.nearest else "before the first"
    return NothingProven(
        "the database has tables and no history, and it is not what these files build, up to whichever of them; "
        f"closest is {nearest}: {in_words(found.differences)}",
        fix=_WAYS_OUT,
        applied=_NOTHING_DONE,
    )


def _made_elsewhere(found: Elsewhere) -> PlanError:
    """Return the refusal where the search_path has been changed since, or another application has the same names."""
    return NothingProven(
        f"the files would make what they make in the schema {found.place}, where the search_path begins, and the "
        f"schema {found.other} has some of it: {listed(found.objects)}",
        fix=f"if the files have made it: ALTER ROLE CURRENT_USER IN DATABASE {quoted(found.database)} SET search_path "
        f"= {quoted(found.other)}, and run it again; if it is somebody else's, or all files are to run in "
        f"{found.place}: baseline --target none",
        applied=_NOTHING_DONE,
    )


def _unseen(applied: Sequence[Pending], unchanging: int, left: Sequence[Pending]) -> PlanError:
    """Return the refusal where files that leave no trace come before files that are to be run, and may need them."""
    names = [item.migration.name for item in applied]
    proven, unseen = names[:-unchanging], names[-unchanging:]
    state, all_of_them, none_of_them = "leaves no object changed, so whether it is", "it is", "it is not"
    if len(unseen) > 1:
        state, all_of_them = "together leave no object changed, so whether they are", "all of them are"
        none_of_them = "none of them is; or the last one that is"
    return NothingProven(
        f"{_range(proven)} proven to be applied; {listed(unseen)} {state} applied does not show, and "
        f"{left[0].migration.name} comes after",
        fix=f"look whether what they do to rows is done; then baseline --target {unseen[-1]} if {all_of_them} applied, "
        f"baseline --target {proven[-1]} if {none_of_them}",
        applied=_NOTHING_DONE,
    )


def not_buildable(failure: Failure, items: Sequence[Pending], proven: Sequence[Pending]) -> PlanError:
    """Return the refusal of a folder of which a file that is not known to be applied cannot be built."""
    names = [item.migration.name for item in items]
    applied = f"{_range([item.migration.name for item in proven])} proven to be applied; " if proven else ""
    return NotBuildable(
        f"{applied}{failure.error.what}, so whether {_range(names[len(proven):])} applied already is not known",
        where=failure.error.where,
        sqlstate=failure.error.sqlstate,
        fix="have an earlier file make what it needs, such as 000_extensions.sql; or record what you know: "
        + " ".join(_baselines(names, failure.place)),
        applied=_NOTHING_DONE,
    )


def _baselines(names: Sequence[str], place: int) -> Iterator[str]:
    """Yield what can be said of a file; a repeatable one can always run, so no baseline records it."""
    numbered = [name for name in names[:place] if not name.startswith(REPEATABLE)]
    if not names[place].startswith(REPEATABLE):
        yield f"baseline --target {names[place]} if that is applied,"
    yield f"baseline --target {numbered[-1] if numbered else NONE} if it is not"


def _range(names: Sequence[str]) -> str:
    """Return names as the subject of a sentence, with its verb."""
    return f"{names[0]} is" if len(names) == 1 else f"{names[0]} to {names[-1]} are"


def _rows(files: Iterable[AdoptedFile]) -> tuple[tuple[AppliedMigration, str], ...]:
    return tuple((item.row, text) for item, text in files)


def _lifts_fence(adoption: Adoption) -> bool:
    """Return whether a person has said that the files that are left are to run, and nothing else."""
    return adoption.target == NONE or (adoption.mode == BASELINE and not adoption.rows and not adoption.forgotten)


def record_adoption(
    context: RunContext, connection: Connection, adoption: Adoption, files: Iterable[Migration]
) -> None:
    """Record an adoption, in the transaction that creates the history.

    Else a run killed on the way would leave an empty history, by which nothing is applied. Of the files that are
    recorded the history keeps the down migrations, as it does of those that are run.
    """
    history, downs = History(connection), down_texts(files, {row.name for row, _ in adoption.rows}, context.warn)
    try:
        connection.run("BEGIN")
        history.create()
        history.refuse_tampering()
        run_id = history.begin_run(adoption.mode, context.request_id)
        history.forget(adoption.forgotten)
        history.record_known(adoption.rows, adoption.mode, run_id, downs)
        if adoption.fence is not None:
            history.record_fence(run_id, adoption.fence)
        elif history.fence is not None and _lifts_fence(adoption):
            history.lift_fence(run_id)
        history.end_run(run_id, "succeeded", adoption.target, {})
        connection.run("COMMIT")
    except ServerError as error:
        if Record.is_fence(error):
            raise lock_lost("the adoption") from error
        raise
    finally:
        connection.rollback()
    connection.take_notices()
