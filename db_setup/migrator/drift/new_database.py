"""A new database: whether the applied files build the same in the order in which it gets them.

Files without a number, and late ones, are applied here after files that a new database gets after them. What this
database has is built in the order of application; the other order is built in a scratch database of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from migrator.context import RunContext
from migrator.database import Connection
from migrator.drift.build import building
from migrator.drift.diff import compare, in_words
from migrator.drift.snapshot import Catalog, read_catalog
from migrator.errors import DuplicateNumber, ScratchFailed
from migrator.files import REPEATABLE, Folder, number_of, parse_number, split_name
from migrator.formatting import listed
from migrator.planning import Pending, Policy, make_plan, numbering

NEEDS_REPEATABLE = (
    "what it needs of a repeatable file has to be there before it: add a file with a number below its own that makes "
    "it, and does nothing where it is there already"
)
_NUMBER = '"python db_setup number" writes their numbers into the names of {}'


class NewDatabaseFails(NamedTuple):
    """Why a new database would not be what this one is, and how to make it so."""

    what: str
    fix: str


def order_of_new(items: Sequence[Pending]) -> list[Pending]:
    """Return applied files in the order in which a new database gets them."""
    files = [item.migration for item in items if not item.migration.name.startswith(REPEATABLE)]
    by_name = {item.migration.name: item for item in items}
    numbered = [by_name[item.migration.name] for item in make_plan(files, (), False, Policy()).pending]
    return numbered + sorted((item for item in items if item not in numbered), key=lambda item: item.migration.name)


def first_failure(context: RunContext, live: Connection, folder: Folder) -> ScratchFailed | None:
    """Build all files of a folder as a new database gets them; return why one cannot be, None if all can."""
    order = make_plan(folder.files, (), False, Policy(), folder.repeatable).pending
    with building(context, live, context.warnings.append) as build:
        for item in order:
            try:
                build.apply(item)
            except ScratchFailed as error:
                return error
    return None


def try_new_database(
    context: RunContext, live: Connection, items: Sequence[Pending], built: Catalog,
    *, own: Sequence[str], others: Collection[str],
) -> NewDatabaseFails | None:  # fmt: skip
    """Build applied files as a new database gets them, where that is another order; None where both are the same.

    ``built`` is what the order of application builds; ``others`` are names of files whose numbers are taken.
    """
    order = order_of_new(items)
    if order == list(items):
        return None
    fix = order_fix(items, others) or NEEDS_REPEATABLE
    with building(context, live, context.warnings.append) as build:
        for item in order:
            try:
                build.apply(item)
            except ScratchFailed as error:
                return NewDatabaseFails(f"a new database would fail: {error.cause}", fix)
        found = compare(built, read_catalog(build.connection, own), unknown=build.unknown)
    if not found or build.unknown_since:
        return None
    what = f"a new database would not be what this one is, since it gets the files in another order: {in_words(found)}"
    return NewDatabaseFails(what, fix)


def order_fix(items: Sequence[Pending], others: Collection[str]) -> str:
    """Return how to name the files so that a new database gets them in the order of application, "" if they are."""
    names = [item.migration.name for item in items if not item.migration.name.startswith(REPEATABLE)]
    unnumbered = [name for name in names if number_of(name) is None]
    parts = [_NUMBER.format(listed(unnumbered))] if unnumbered else []
    renames = _renames(names, {item.migration.name: item.number for item in items}, others)
    parts += [f"rename {old} to {new}" for old, new in renames.items()]
    if renames:
        parts.append("the history of each database follows a file that is only renamed")
    return "; ".join(parts)


def _renames(names: Sequence[str], given: dict[str, str], others: Collection[str]) -> dict[str, str]:
    """Return new names for the late files, which have a number below that of a file before them."""
    last: tuple[int, ...] = ()
    rests: dict[str, str] = {}  # by the name without its number: the late file
    order: list[tuple[str, str]] = []
    for name in names:
        number = parse_number(split_name(name)[0] or given[name])
        late = number_of(name) is not None and number < last
        if late:
            rests[_unnumbered(name)] = name
        order.append((_unnumbered(name), "") if late else (name, given[name]))
        last = max(last, number)
    taken = [name for name in {*names, *others} if name not in rests.values()]
    try:
        numbers = numbering.numbers_in_order(order, taken)
    except DuplicateNumber:
        return {}
    return {
        old: rest.removesuffix(own) + numbering.numbered_name(numbers[rest], own, names)
        for rest, old in rests.items()
        if rest in numbers and (own := rest.rpartition("/")[2])
    }


def _unnumbered(name: str) -> str:
    folder, slash, own = name.rpartition("/")
    return f"{folder}{slash}{split_name(own)[1]}.sql"
