"""The plan: what a run has to do, made from the files, the history and the request. Pure.

The rules are in db_setup/README.md, "Files and numbers" and "States".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from migrator.errors import (
    DuplicateNumber,
    InconsistentHistory,
    OutOfOrder,
    PlanError,
    StepUndecided,
    UnfinishedRollback,
    UnknownTarget,
)
from migrator.files import REPEATABLE, Migration, Number, number_of, parse_number, split_name
from migrator.history import AppliedMigration
from migrator.planning import states
from migrator.planning.matching import Match, Rename, come_after, match
from migrator.planning.numbering import TAKE_NEXT, describe_duplicate, duplicates, free_numbers, highest
from migrator.planning.unfinished import half_run_repeatables, not_run_here

if TYPE_CHECKING:
    from migrator.planning.removed import Removed
    from migrator.planning.repeatable import GoingBack

_LAST_NAME = "\U0010ffff"
_NO_END: tuple[Number, str] = ((10**300,), _LAST_NAME)
_NUMBER = re.compile(r"[vV]?[0-9]{1,99}(?:[-._][0-9]{1,99}){0,9}")


Edit = tuple[Migration, AppliedMigration]
"""An applied file whose text has changed, and its row."""


class Pending(NamedTuple):
    """A file that is to be applied, with the number it has or is given.

    ``earlier`` is what the history is to keep of the texts that a repeatable file had before.
    """

    migration: Migration
    number: str
    late: bool = False
    resumed: bool = False
    earlier: str = ""

    @property
    def order(self) -> tuple[Number, str]:
        """Return the key that pending files are applied by."""
        return parse_number(self.number), self.migration.name

    @property
    def row(self) -> AppliedMigration:
        """Return the row that records the file once it is applied."""
        file = self.migration
        return AppliedMigration(file.name, self.number, file.checksum, "applied", earlier=self.earlier)


class Plan(NamedTuple):
    """What is to be done, and what is wrong.

    ``held_back`` are pending files beyond the target, ``replacements`` pending ones that may stand for what repair has
    forgotten. ``gone`` are the repeatable files that the history is to run again should they come back. ``revision`` is
    that of the history now, ``revision_followed`` that once it has followed the renames. ``strangers``: the history has
    other files, and none that is here as it is.
    """

    state: str
    pending: tuple[Pending, ...] = ()
    held_back: tuple[Pending, ...] = ()
    renames: tuple[Rename, ...] = ()
    warnings: tuple[str, ...] = ()
    problems: tuple[PlanError, ...] = ()
    revision: str = ""
    replacements: tuple[Pending, ...] = ()
    revision_followed: str = ""
    gone: tuple[str, ...] = ()
    strangers: bool = False

    @property
    def begun(self) -> frozenset[str]:
        """The names of the pending files that an earlier run has begun."""
        return frozenset(item.migration.name for item in self.pending if item.resumed)

    def refuse_problems(self, *, locked: bool = True) -> None:
        """Raise the first problem, with the others named in it; nothing was run then.

        A question about a step counts only under the run lock: without it, the run that can answer may be at work.
        """
        problems = [problem for problem in self.problems if locked or not isinstance(problem, StepUndecided)]
        if not problems:
            return
        first, *others = problems
        what = "; ".join([first.what, *(problem.cause for problem in others)])
        raise first.replace(what=what, applied="nothing was run")


class Policy(NamedTuple):
    """What the user asks of planning.

    ``importing``: the rows are names of the first generation. One that fits no file may still be that of a file here,
    which would run again, so that none may be missing. Nor are they of a newer package: each of these takes them over.
    """

    target: str = ""
    strict_order: bool = False
    allow_missing: bool = False
    importing: bool = False


def make_plan(
    files: Sequence[Migration], applied: Sequence[AppliedMigration], has_tables: bool, policy: Policy,
    repeatable: Sequence[Migration] = (), others: Sequence[Migration] = (), removed: Removed | None = None,
) -> Plan:  # fmt: skip
    """Return the plan; raises UnknownTarget. What else is wrong stands in ``problems``.

    ``others`` are the files for other environments, which are never pending.
    """
    found = match(files, applied, others)
    here = [row for row in applied if row not in found.elsewhere.values()]
    revision = _revision(here)
    older = removed is not None and removed.knows(found.new)  # what stands for them is missing here
    nothing_new = not found.new and not policy.importing
    if found.missing and (older or (nothing_new and come_after(found.missing, applied, found.rows))):
        _find_target(policy.target, (), found)
        return Plan(states.AHEAD, warnings=_ahead_warnings(found, applied, repeatable, others), revision=revision)
    pending = _pending(found, files, others, applied, removed)
    strangers = 0 if policy.importing else _strangers(found, files, applied, repeatable)
    warnings, problems = _missing(found.missing, policy, strangers)
    accepted, edited = _split_edits(found.edited)
    edits = [error.replace(fix=problems[0].fix) if strangers and problems else error for error in _edited(edited)]
    problems += [*_undecided(applied), *_half_rolled_back(applied), *edits, *_duplicates(files, pending)]
    replacements, replacement_problems = _replacements(pending, removed if applied else None)
    problems += replacement_problems
    late_warnings, late_problems = _late([item for item in pending if item not in replacements], policy.strict_order)
    due, held_back, target_warnings = _split_at_target(pending, found, policy.target, revision)
    again, going_back = _repeatable(repeatable, applied, others)
    new = pending or problems or len(again) > (len(going_back.names) if going_back else 0)
    if (accepted or going_back) and not new:  # the history knows all that is here
        texts = (*warnings, *_older_warnings(accepted), *(going_back.when_ahead() if going_back else ()))
        return Plan(states.AHEAD, warnings=texts, revision=revision)
    problems += _edited(accepted)
    if again:  # they wait where the target holds a numbered file back
        due, held_back = (due, (*held_back, *again)) if held_back else ((*due, *again), held_back)
    left = not_run_here(found.elsewhere, applied, repeatable, others, runs=bool(pending or again))
    problems += [*left.problems, *late_problems]
    texts = (*warnings, *late_warnings, *_rename_warnings(found.renames), *left.warnings, *target_warnings)
    return Plan(
        state=_state(bool(problems), (*pending, *again), applied, has_tables),
        pending=due,
        held_back=held_back,
        renames=found.renames,
        warnings=(*texts, *going_back.when_run()) if going_back else texts,
        problems=tuple(problems),
        revision=revision,
        replacements=replacements,
        revision_followed=_revision(_followed(here, found.renames)),
        gone=left.gone,
        strangers=bool(strangers),
    )


def _split_edits(edited: Sequence[Edit]) -> tuple[list[Edit], list[Edit]]:
    """Return the edits of which the text is an earlier one, before repair has accepted another, and the others."""
    accepted = [(file, row) for file, row in edited if row.had_before(file.checksum)]
    return accepted, [pair for pair in edited if pair not in accepted]


def _replacements(
    pending: Sequence[Pending], removed: Removed | None
) -> tuple[tuple[Pending, ...], Sequence[PlanError]]:  # fmt: skip
    """Return the new files that may stand for what repair has forgotten, and what is said of them."""
    if removed is None:
        return (), ()
    found = tuple(item for item in pending if not item.resumed and removed.may_replace(item.migration))
    return found, removed.problems([item.migration.name for item in found])


def _revision(applied: Sequence[AppliedMigration]) -> str:
    done = [row for row in applied if row.state == "applied"]
    ranked = zip(map(parse_number, [row.number for row in done]), done, strict=True)
    return max(ranked, key=itemgetter(0))[1].number if done else ""


def _followed(rows: Sequence[AppliedMigration], renames: Sequence[Rename]) -> list[AppliedMigration]:
    """Return rows with the numbers that they have once the history has followed the renames."""
    numbers = {rename.old: rename.number for rename in renames}
    return [row._replace(number=numbers.get(row.name, row.number)) for row in rows]


def _ahead_warnings(
    match: Match, applied: Sequence[AppliedMigration], repeatable: Sequence[Migration], others: Sequence[Migration]
) -> tuple[str, ...]:
    names = ", ".join(row.name for row in match.missing)
    warnings = [f"the database is ahead of these files: it knows {names}; nothing was written"]
    rows = (*match.missing, *match.known.values())
    unfinished = [row.name for row in rows if row.state == "running"]
    if unfinished:
        warnings.append(f"{', '.join(unfinished)} is applied in part; deploying the newer package again finishes it")
    warnings += [problem.what for problem in _half_rolled_back(rows)]
    warnings += [f"{file.name} was edited after it was applied" for file, _ in match.edited]
    return (*warnings, *half_run_repeatables(applied, repeatable, others))


def _older_warnings(older: Sequence[tuple[Migration, AppliedMigration]]) -> list[str]:
    names = ", ".join(file.name for file, _ in older)
    return [f"the database is ahead of these files: repair has accepted a newer text of {names}"] * bool(older)


def _strangers(
    found: Match, files: Sequence[Migration], applied: Sequence[AppliedMigration], repeatable: Sequence[Migration]
) -> int:
    """Return how many files are here, where the history has others and none of these as it is; 0 elsewhere."""
    if not found.missing or len(found.known) > len(found.edited):
        return 0
    names = {row.name for row in applied}
    return 0 if any(file.name in names for file in repeatable) else len(files)


def _missing(missing: Sequence[AppliedMigration], policy: Policy, strangers: int) -> tuple[list[str], list[PlanError]]:
    """Return what is said of rows without a file, as warnings and as errors."""
    if not missing:
        return [], []
    from migrator.planning.missing import missing_file, missing_files  # noqa: PLC0415 - for histories that have some

    if policy.allow_missing and not policy.importing:
        return [missing_file(row) for row in missing if row.state != "reverting"], []
    return [], missing_files(missing, strangers, importing=policy.importing)


def _undecided(applied: Sequence[AppliedMigration]) -> list[PlanError]:
    """Return an error for each migration of which a person has to say what became of a step."""
    return [row.undecided for row in applied if row.question]


def _half_rolled_back(applied: Sequence[AppliedMigration]) -> list[PlanError]:
    """Return an error for each migration whose down migration has not reached its end."""
    return [
        UnfinishedRollback(f"{row.name} is rolled back in part", fix="run rollback again: it goes on where it stopped")
        for row in applied
        if row.state == "reverting" and not row.question
    ]


def _edited(edited: list[tuple[Migration, AppliedMigration]]) -> list[PlanError]:
    return [
        InconsistentHistory(
            f"{file.name} was edited after it was applied{row.since} "
            f"(checksum {row.checksum[:12]} then, {file.checksum[:12]} now)",
            fix="put the file back as it was, and write the change as a new file; "
            "where the new text does what the old one did, repair accepts it",
        )
        for file, row in edited
    ]


def _pending(
    match: Match, files: Sequence[Migration], others: Sequence[Migration], applied: Sequence[AppliedMigration],
    removed: Removed | None,
) -> tuple[Pending, ...]:  # fmt: skip
    resumed = [
        Pending(file, split_name(file.name)[0] or match.rows[file.name].number, resumed=True)
        for file in files
        if file.name in match.rows and match.rows[file.name].state == "running"
    ]
    if not match.new and not resumed:
        return ()
    last = highest([*match.rows, *[row.name for row in match.missing]])
    numbers = list(map(number_of, [file.name for file in match.new]))
    new = list(zip(match.new, numbers, strict=True))
    numbered = [
        Pending(file, split_name(file.name)[0], late=number < last) for file, number in new if number is not None
    ]
    unnumbered = {file.name: file for file, number in new if number is None}
    numbers_before = removed.given(unnumbered, applied) if removed else {}
    again = [Pending(unnumbered.pop(name), number) for name, number in numbers_before.items()]
    in_order = sorted(resumed + numbered + again, key=lambda item: item.order)
    if not unnumbered:
        return tuple(in_order)
    taken = [*(row.number for row in applied), *numbers_before.values()]
    elsewhere = [file.name for file in others if not file.name.startswith(REPEATABLE)]
    names = [*(file.name for file in files), *elsewhere]  # a number in one environment is taken in all
    free = free_numbers(names, taken, len(unnumbered))
    given = (Pending(unnumbered[name], number) for name, number in zip(sorted(unnumbered), free, strict=True))
    return (*in_order, *given)


def _duplicates(files: Sequence[Migration], pending: Sequence[Pending]) -> list[PlanError]:
    numbers = [number_of(file.name) for file in files] if pending else []
    if len(set(numbers)) == len(numbers):
        return []
    due = {item.migration.name for item in pending}
    return [
        DuplicateNumber(
            describe_duplicate(names),
            fix="give one of them the next free number; the files that are applied already keep theirs",
        )
        for names in duplicates(files)
        if due.intersection(names)
    ]


def _late(pending: Sequence[Pending], strict: bool) -> tuple[list[str], list[PlanError]]:
    late = [item.migration.name for item in pending if item.late]
    if not strict:
        return [f"{name} comes before migrations that are applied already; it runs now" for name in late], []
    return [], [OutOfOrder(f"{name} comes before migrations that are applied already", fix=TAKE_NEXT) for name in late]


def _rename_warnings(renames: Sequence[Rename]) -> list[str]:
    return [f"{rename.old} is now {rename.new}; the history follows" for rename in renames]


def _split_at_target(
    pending: tuple[Pending, ...], found: Match, target: str, revision: str
) -> tuple[tuple[Pending, ...], tuple[Pending, ...], list[str]]:  # fmt: skip
    last = _find_target(target, pending, found)
    due = tuple(item for item in pending if item.order <= last)
    warnings = []
    if target and revision and parse_number(revision) > last[0]:
        warnings.append(f"the database is at {revision}, past the target {target}; migrate never goes back")
    return due, tuple(item for item in pending if item.order > last), warnings


def _find_target(target: str, pending: Sequence[Pending], found: Match) -> tuple[Number, str]:
    """Return the order key of the last migration a target admits: of a file by name, or of all with a number."""
    if not target:
        return _NO_END
    orders = {row.name: (row.rank, row.name) for row in found.missing}
    orders |= {name: (number_of(name) or row.rank, name) for name, row in found.rows.items()}
    orders |= {item.migration.name: item.order for item in pending}
    for name in (target, f"{target}.sql"):
        if name in orders:
            return orders[name]
    number = target_number(target)
    if number is not None and any(number == order[0] for order in orders.values()):
        return number, _LAST_NAME
    known = ", ".join(sorted(orders, key=lambda name: orders[name])[-5:]) or "none"
    raise UnknownTarget(
        f'there is no migration "{target}"', fix=f'use "head", a number or a file name; the last ones: {known}'
    )


def target_number(target: str) -> Number | None:
    """Return the number that a target is, None where it can only be a name."""
    return parse_number(target) if _NUMBER.fullmatch(target) else None


def up_to(target: str, items: Sequence[Pending]) -> list[Pending]:
    """Return the files up to a target, all for an empty one; raises UnknownTarget."""
    last = _find_target(target, items, match((), ()))
    return [item for item in items if item.order <= last]


def _state(broken: bool, pending: Sequence[Pending], applied: Sequence[AppliedMigration], has_tables: bool) -> str:
    if broken:
        return states.INCONSISTENT
    if not applied:
        return states.UNTRACKED if has_tables else states.EMPTY
    return states.PENDING if pending else states.UP_TO_DATE


def _repeatable(
    files: Sequence[Migration], applied: Sequence[AppliedMigration], others: Sequence[Migration]
) -> tuple[tuple[Pending, ...], GoingBack | None]:  # fmt: skip
    """Return the repeatable files to be run after all numbered ones, and which of them go back to an older text."""
    if not files:
        return (), None
    from migrator.planning.repeatable import again  # noqa: PLC0415 - for folders that have some

    found, going_back = again(files, applied, others)
    return tuple(Pending(file, "", resumed=goes_on, earlier=earlier) for file, goes_on, earlier in found), going_back
