"""The plan: what a run has to do, made from the files, the history and the request. Pure.

The rules are in db_setup/README.md, "Files and numbers" and "States".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from operator import itemgetter
from typing import NamedTuple

from migrator.errors import (
    DuplicateNumber,
    InconsistentHistory,
    OutOfOrder,
    PlanError,
    StepUndecided,
    UnfinishedRollback,
    UnknownTarget,
)
from migrator.files import Migration, Number, number_of, parse_number, split_name
from migrator.history import AppliedMigration
from migrator.planning import states
from migrator.planning.matching import Match, Rename, come_after, match
from migrator.planning.numbering import TAKE_NEXT, describe_duplicate, duplicates, free_numbers, highest

_LAST_NAME = "\U0010ffff"
_NO_END: tuple[Number, str] = ((10**300,), _LAST_NAME)
_NUMBER = re.compile(r"[vV]?[0-9]{1,99}(?:[-._][0-9]{1,99}){0,9}")


class Pending(NamedTuple):
    """A file that is to be applied, with the number it has or is given."""

    migration: Migration
    number: str
    late: bool = False
    resumed: bool = False

    @property
    def order(self) -> tuple[Number, str]:
        """Return the key that pending files are applied by."""
        return parse_number(self.number), self.migration.name


class Plan(NamedTuple):
    """What is to be done, and what is wrong. ``held_back`` are pending files beyond the target."""

    state: str
    pending: tuple[Pending, ...] = ()
    held_back: tuple[Pending, ...] = ()
    renames: tuple[Rename, ...] = ()
    warnings: tuple[str, ...] = ()
    problems: tuple[PlanError, ...] = ()
    revision: str = ""

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
    """What the user asks of planning."""

    target: str = ""
    strict_order: bool = False
    allow_missing: bool = False


def make_plan(
    files: Sequence[Migration],
    applied: Sequence[AppliedMigration],
    has_tables: bool,
    policy: Policy,
    repeatable: Sequence[Migration] = (),
) -> Plan:
    """Return the plan; raises UnknownTarget. What else is wrong stands in ``problems``."""
    found = match(files, applied)
    revision = _revision(applied)
    if found.missing and not found.new and come_after(found.missing, applied, found.rows):
        _find_target(policy.target, (), found)
        return Plan(states.AHEAD, warnings=_ahead_warnings(found), revision=revision)
    pending = _pending(found, files, applied)
    warnings, problems = _missing(found.missing, policy.allow_missing)
    problems += [*_undecided(applied), *_half_rolled_back(applied)]
    problems += [*_edited(found.edited), *_duplicates(files, pending)]
    late_warnings, late_problems = _late(pending, policy.strict_order)
    due, held_back, target_warnings = _split_at_target(pending, found, policy.target, revision)
    if again := _repeatable(repeatable, applied):  # they wait where the target holds a numbered file back
        due, held_back = (due, (*held_back, *again)) if held_back else ((*due, *again), held_back)
    return Plan(
        state=_state(bool(problems + late_problems), (*pending, *again), applied, has_tables),
        pending=due,
        held_back=held_back,
        renames=found.renames,
        warnings=(*warnings, *late_warnings, *_rename_warnings(found.renames), *target_warnings),
        problems=tuple(problems + late_problems),
        revision=revision,
    )


def _revision(applied: Sequence[AppliedMigration]) -> str:
    done = [row for row in applied if row.state == "applied"]
    ranked = zip(map(parse_number, [row.number for row in done]), done, strict=True)
    return max(ranked, key=itemgetter(0))[1].number if done else ""


def _ahead_warnings(match: Match) -> tuple[str, ...]:
    names = ", ".join(row.name for row in match.missing)
    warnings = [f"the database is ahead of these files: it knows {names}; nothing was written"]
    unfinished = [row.name for row in (*match.missing, *match.rows.values()) if row.state == "running"]
    if unfinished:
        warnings.append(f"{', '.join(unfinished)} is applied in part; deploying the newer package again finishes it")
    warnings += [problem.what for problem in _half_rolled_back((*match.missing, *match.rows.values()))]
    warnings += [f"{file.name} was edited after it was applied" for file, _ in match.edited]
    return tuple(warnings)


def _missing(missing: list[AppliedMigration], allowed: bool) -> tuple[list[str], list[PlanError]]:
    if allowed:
        return [f"{row.name} is applied, and its file is missing" for row in missing], []
    return [], [
        InconsistentHistory(
            f"{row.name} is applied{_since(row)}, and its file is missing",
            fix="put the file back as it was (its change is still in the database), or have repair forget it; "
            "ALLOW_MISSING=true is for development databases that several branches share",
        )
        for row in missing
    ]


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
            f"{file.name} was edited after it was applied{_since(row)} "
            f"(checksum {row.checksum[:12]} then, {file.checksum[:12]} now)",
            fix="put the file back as it was, and write the change as a new file; "
            "where the new text does what the old one did, repair accepts it",
        )
        for file, row in edited
    ]


def _since(row: AppliedMigration) -> str:
    """Return when a migration was applied, or that it was in part."""
    return (" in part" if row.state == "running" else "") + (f" on {row.applied_at}" if row.applied_at else "")


def _pending(match: Match, files: Sequence[Migration], applied: Sequence[AppliedMigration]) -> tuple[Pending, ...]:
    resumed = [
        Pending(file, match.rows[file.name].number, resumed=True)
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
    in_order = sorted(resumed + numbered, key=lambda item: item.order)
    unnumbered = {file.name: file for file, number in new if number is None}
    if not unnumbered:
        return tuple(in_order)
    free = free_numbers([file.name for file in files], [row.number for row in applied], len(unnumbered))
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


def _repeatable(files: Sequence[Migration], applied: Sequence[AppliedMigration]) -> tuple[Pending, ...]:
    """Return the repeatable files whose text has changed; they are run after all numbered ones."""
    rows = {row.name: row for row in applied} if files else {}
    return tuple(
        Pending(file, "", resumed=_goes_on(file, rows.get(file.name)))
        for file in files
        if not _is_done(file, rows.get(file.name))
    )


def _is_done(file: Migration, row: AppliedMigration | None) -> bool:
    return row is not None and row.state == "applied" and row.checksum == file.checksum


def _goes_on(file: Migration, row: AppliedMigration | None) -> bool:
    """Return whether a stepwise run of the same text has stopped half way; another text begins anew."""
    return row is not None and row.state == "running" and row.checksum == file.checksum
