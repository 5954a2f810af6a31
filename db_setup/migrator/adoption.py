"""Adoption: finding out which files are applied to a database that has tables and no history of ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from migrator import first_generation, history, proof, sealing
from migrator.connection import Connection
from migrator.differences import in_words, told
from migrator.errors import ServerError
from migrator.evidence import REVISION, Known, Row, Tool, prove
from migrator.evidence_errors import ContradictoryEvidence, NothingProven
from migrator.failure import lock_lost
from migrator.job import Job, View
from migrator.light import Any, NamedTuple
from migrator.migration import REPEATABLE, AppliedMigration, Migration
from migrator.other_tools import read_histories
from migrator.plan import UNTRACKED, Pending, up_to
from migrator.report import listed

ADOPTED, BASELINE, IMPORTED = "adopted", "baseline", "imported"
NONE = "none"
"""The target of a baseline that says that no file is applied."""

_WAYS_OUT = (
    "adopt shows all differences; write a file that makes them, or change the database, so that it is what some of the "
    'files build; or record what you know: baseline --target N ("none": run all files)'
)
_UNSEEN = "it changes no object, so whether it is applied does not show, and it is taken as applied"
_BY_WORD = "said by the user, and not compared with the database"


class Finding(NamedTuple):
    """What is known to be applied, with how it is known, and the word for it in the history.

    ``details`` are for the answer. ``refusal`` is why nothing may be recorded, and nothing run.
    """

    mode: str
    rows: tuple[tuple[AppliedMigration, str], ...] = ()
    details: Mapping[str, Any] = {}
    refusal: NothingProven | None = None

    def body(self) -> dict[str, Any]:
        """Return the fields that an answer tells of it."""
        lines = [{"number": row.number, "name": row.name, "evidence": text} for row, text in self.rows]
        return {"adopted_migrations": lines, **self.details}


def adoptable(view: View) -> bool:
    """Tell whether a database has tables, files that may be applied, and no history of ours."""
    return bool(view.imported) or (view.plan.state == UNTRACKED and bool(view.plan.pending))


def baseline(job: Job, view: View) -> Finding:
    """Return what the user says, without a look at the database; raises UnknownTarget."""
    if view.imported:
        return imported(view)
    items = [] if job.request.target == NONE else up_to(job.request.target, numbered(view.plan.pending))
    return Finding(BASELINE, _rows(Known(item, _BY_WORD) for item in items))


def imported(view: View) -> Finding:
    """Return what the table of the first generation says."""
    return Finding(IMPORTED, tuple((row, first_generation.EVIDENCE) for row in view.imported))


def find(job: Job, connection: Connection, view: View) -> Finding:
    """Return what the history of another tool proves, or else what a scratch database does.

    Raises ContradictoryEvidence, and ScratchRefused where the server lets no scratch database be made.
    """
    if view.imported:
        return imported(view)
    histories = read_histories(connection)
    speaking = [tool for tool, rows in histories if rows[0].says != REVISION]
    if len(speaking) > 1:
        names = " and ".join(f"{tool.table} ({tool.name})" for tool in speaking)
        raise ContradictoryEvidence(
            f"several tools have a history here: {names}", cure="drop the table that is out of use, and run again"
        )
    for tool, rows in histories:
        if known := _of_tool(job, tool, rows, numbered(view.plan.pending)):
            return Finding(ADOPTED, _rows(known))
    return _by_building(job, connection, view.plan.pending)


def _of_tool(job: Job, tool: Tool, rows: Sequence[Row], items: Sequence[Pending]) -> list[Known]:
    if rows[0].says != REVISION:
        return prove(tool, rows, items, _read_file)
    if not job.request.target or job.request.action != "adopt":
        return []  # a revision of Alembic's means nothing here until somebody says which file it is
    word = f"{tool.table} of {tool.name}: {', '.join(row.version for row in rows)}, by the user's word"
    return [Known(item, f"{word} {job.request.target}") for item in up_to(job.request.target, items)]


def numbered(items: Sequence[Pending]) -> list[Pending]:
    """Leave out the repeatable files: no other tool knows ours, and where nothing is known they simply run again."""
    return [item for item in items if not item.migration.name.startswith(REPEATABLE)]


def _read_file(file: Migration) -> bytes:
    with open(file.path, "rb") as text:
        return text.read()


def _by_building(job: Job, connection: Connection, items: Sequence[Pending]) -> Finding:
    found = proof.prove(job, connection, items)
    last = items[found.applied - 1].migration.name if found.applied else ""
    proven = f"the database is what the files up to {last} build"
    unseen = {item.migration.name for item in items[found.applied - found.unseen : found.applied]}
    known = (
        Known(item, f"{proven}; {_UNSEEN}" if item.migration.name in unseen else proven)
        for item in items[: found.applied]
    )
    if unseen:
        job.warnings.append(f"{listed(sorted(unseen))}: {_UNSEEN}; look whether the data is there")
    details = {
        "not_compared": list(found.not_compared),
        "not_verifiable": list(found.not_verifiable),
        "differences": [item.as_json() for item in told(found.differences)],
        "difference_count": len(found.differences),
    }
    nearest = f"up to {items[found.nearest - 1].migration.name}" if found.nearest else "before the first"
    refusal = None if found.applied or found.unrelated else _refusal(found, nearest)
    return Finding(ADOPTED, _rows(known), details, refusal)


def _refusal(found: proof.Proof, nearest: str) -> NothingProven:
    failed = f"; {found.failed}" if found.failed else ""
    return NothingProven(
        "the database has tables and no history, and it is not what these files build, up to whichever of them; "
        f"closest is {nearest}: {in_words(found.differences)}{failed}",
        cure=_WAYS_OUT,
        kept="nothing was run, nothing was recorded",
    )


def _rows(known: Iterable[Known]) -> tuple[tuple[AppliedMigration, str], ...]:
    return tuple(
        (AppliedMigration(item.migration.name, item.number, item.migration.checksum, "applied"), text)
        for item, text in known
    )


def record(job: Job, connection: Connection, finding: Finding) -> None:
    """Write a finding into the history, in one transaction with the history itself: it is there whole, or not at all.

    Else a run killed on the way would leave an empty history, which says that nothing is applied.
    """
    try:
        connection.run("BEGIN")
        history.create(connection)
        sealing.refuse_changes(connection)
        run_id = history.begin_run(connection, finding.mode, job.request_id)
        history.record_known(connection, finding.rows, finding.mode, run_id)
        sealing.end_run(connection, run_id, "succeeded", "", {})
        connection.run("COMMIT")
    except ServerError as error:
        if history.lock_was_lost(error):
            raise lock_lost("the adoption") from error
        raise
    finally:
        connection.rollback()
    connection.take_notices()
