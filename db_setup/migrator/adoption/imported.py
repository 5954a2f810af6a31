"""The table of the first generation, held against the database: it may name files that never ran.

The first generation marked files as applied, without running them, where it found tables and no history. So the files
are built in a scratch database, and one of which the live database has nothing is not believed. What differs otherwise
is a drift, which verify shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from migrator.context import RunContext
from migrator.database import Connection
from migrator.drift import Build, building, read_catalog
from migrator.errors import ScratchFailed, ScratchRefused, TextError
from migrator.files import Folder
from migrator.history import AppliedMigration
from migrator.planning import Pending, match

_ABOUT_OBJECTS = frozenset({"comment", "grants", "default privileges", "column order"})

Parents = dict[tuple[str, str], str]
"""The objects of a catalog by kind and identity, each with the identity of what it belongs to."""


class UnappliedFile(NamedTuple):
    """A row of the table whose file has left nothing, and what the file makes."""

    row: AppliedMigration
    makes: tuple[str, ...]


def find_unapplied(
    context: RunContext, live: Connection, folder: Folder, rows: Sequence[AppliedMigration]
) -> list[UnappliedFile]:
    """Return the rows of files that have left nothing in the live database; warns where they cannot be built."""
    of_files = match(folder.files, rows, folder.others).known
    files = {of_files[file.name].name: file for file in (*folder.files, *folder.others) if file.name in of_files}
    known = [row for row in rows if row.name in files]
    items = [Pending(files[row.name], row.number) for row in known]
    try:
        return list(_unapplied(context, live, known, items))
    except (ScratchFailed, ScratchRefused, TextError) as error:
        context.warnings.append(f"what public.schema_migrations says is not compared with the database: {error.cause}")
        return []


def _unapplied(
    context: RunContext, live: Connection, rows: Sequence[AppliedMigration], items: Sequence[Pending]
) -> Iterator[UnappliedFile]:
    own = [str(name) for (name,) in live.rows("SELECT SESSION_USER::text UNION SELECT CURRENT_USER")]
    there = _objects(live, own)
    with building(context, live, context.warnings.append) as build:
        for item in items:
            build.apply(item)
        missing = _objects(build.connection, own).keys() - there.keys()
    if not missing:  # nearly always, and a catalog is not read after each file
        return
    with building(context, live, context.warnings.append) as build:
        made = list(_made_by_each(build, items, own))
        lasting = _objects(build.connection, own)
    for row, keys in zip(rows, made, strict=True):
        if (left := keys & lasting.keys()) and left <= missing:
            heads = {identity for _, identity in left}
            whole = (f"{kind} {identity}" for kind, identity in left if lasting[kind, identity] not in heads)
            yield UnappliedFile(row, tuple(sorted(whole)))


def _made_by_each(build: Build, items: Sequence[Pending], own: Sequence[str]) -> Iterator[set[tuple[str, str]]]:
    before = _objects(build.connection, own)
    for item in items:
        build.apply(item)
        after = _objects(build.connection, own)
        yield after.keys() - before.keys()
        before = after


def _objects(connection: Connection, own: Sequence[str]) -> Parents:
    found = read_catalog(connection, own, owners=False)
    return {key: entry.parent for key, entry in found.items() if key[0] not in _ABOUT_OBJECTS}
