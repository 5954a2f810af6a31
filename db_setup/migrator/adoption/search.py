"""The search for what is applied: the longest run of files, from the first, that builds what the database has.

1. The files are built one after another in a scratch database, and the names of what they make are noted after each.
2. After each, the counts of its objects are compared with those of the live database: where these differ, the
   databases differ, and nothing else is read. To read a whole catalog after each file would take longer than to apply
   them all.
3. Where the counts are equal, the catalog of the scratch database is read and compared with the live one; it is not
   read again where nothing was written to it since, and no more than a few times. A file after which both are equal
   is a candidate, if it has left anything that could be equal.
4. Only schemas, extensions and grants that the files have to do with are compared. Later files can add to these, so the
   last candidate that is still equal at the end is the result. Whether the files behind the first one are applied does
   not show: what they have changed they have taken back.
5. What no file ever gives a name to is somebody else's, and not compared. Where there is such a thing, all files are
   built once more without it; and so they are, with every catalog read, if one was left out in step 3.
6. If nothing was found, and the database has objects of the names that the files give to theirs, the files are built
   again up to each of those with the closest counts, to find the one after which the fewest objects differ.

A file that cannot be built is built again in a scratch database with the extensions and schemas that the live one has.
So are all files where the live one makes tables in another schema than public, by its settings, and no file makes that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from typing import NamedTuple

from migrator.adoption.fingerprint import (
    FUNCTION,
    RELATION,
    SCHEMA,
    TYPE,
    Contents,
    Counts,
    Name,
    catalog_stamp,
    count_scratch_objects,
    count_scratch_relations,
    create_counters,
    lower_bound,
    noted_names,
    read_contents,
)
from migrator.adoption.prerequisites import Prerequisites
from migrator.context import RunContext
from migrator.database import Connection, Row
from migrator.drift import Build, Catalog, CatalogObject, Difference, building, compare, query_catalog, read_catalog
from migrator.errors import ScratchFailed
from migrator.planning import Pending

_IN_EVERY_DATABASE = frozenset({("schema", "public"), ("extension", "plpgsql"), ("language", "plpgsql")})
_WITH_GRANTEES = frozenset({"grants", "default privileges"})
_REMARKS = frozenset({"comment", "security label"})
ABOUT_OBJECTS = _WITH_GRANTEES | _REMARKS
"""Kinds of a catalog's entries that are about objects, and prove none."""
_KINDS = {
    **dict.fromkeys(("table", "view", "materialised view", "sequence"), RELATION),
    **dict.fromkeys(("function", "procedure", "aggregate"), FUNCTION),
    **dict.fromkeys(("enum", "domain", "composite type", "range", "base type"), TYPE),
}
"""By the kind of a catalog's entry: that of its name."""
_PART = r'("(?:[^"]|"")+"|[^".(]+)'
_IDENTITY = re.compile(rf"{_PART}\.{_PART}")
_MAX_READS = 5  # of the scratch database's catalog, in the first build
_MAX_NEAREST = 10  # files that are compared in full to find the nearest


class Failure(NamedTuple):
    """Which file, counted from 0, could not be built, and why."""

    place: int
    error: ScratchFailed


class SearchResult(NamedTuple):
    """What the comparison has shown: the first ``applied`` files are proven, or these are the differences.

    The last ``unchanging`` of the proven ones change, taken together, nothing that is compared (they load data, or take
    back what they make), so nothing shows whether they are applied. ``related``: the database has an object of a name
    that the files give to one. ``nearest`` is how many files come closest. ``failure`` is what kept files from being
    built. ``made`` are all names that the files give, as far as they were built; ``prerequisites`` what they need and
    do not make.
    """

    applied: int
    unchanging: int
    related: bool
    nearest: int
    differences: list[Difference]
    not_compared: tuple[str, ...]
    not_verifiable: tuple[str, ...]
    failure: Failure | None
    made: frozenset[Name]
    prerequisites: Prerequisites


def search(context: RunContext, live: Connection, items: Sequence[Pending]) -> SearchResult:
    """Return what is proven of the files to be applied to the live database, in their order."""
    contents = read_contents(live)
    first = last = build_once(context, live, contents, lambda found: found.build_all(items, _MAX_READS))
    others = contents.names - first.made
    built = items[: first.failure.place] if first.failure else items
    if others:
        last = build_again(context, first, others, lambda found: found.build_all(built, _MAX_READS))
    if last.unread:
        last = build_again(context, first, others, lambda found: found.build_all(built, len(built)))
    related = others != contents.names
    nearest, differences = 0, list[Difference]()
    if not last.applied and related:
        nearest, differences = _nearest(context, items, last)
    return SearchResult(
        last.applied, last.unchanging, related, nearest, differences, last.not_compared(), first.not_verifiable,
        first.failure, first.made, first.prerequisites,
    )  # fmt: skip


def build_once(context: RunContext, live: Connection, contents: Contents, work: Callable[[Search], None]) -> Search:
    """Build files, as far as they can be, with what the live database has beside them where that is needed."""
    prerequisites = Prerequisites()
    while True:
        with _prepared(context, live, prerequisites) as build:
            found = Search(live, build, contents, prerequisites)
            work(found)
        if found.failure is None:
            more = prerequisites if any(prerequisites) else Prerequisites.of_path(live).without((), found.scope.schemas)
        else:
            more = prerequisites.after(found.failure.error)
            if not any(prerequisites):
                more = Prerequisites.read(live).without(found.scope.extensions, found.scope.schemas)
        if more == prerequisites:
            return found
        prerequisites = more


def build_again(
    context: RunContext, earlier: Search, others: frozenset[Name], work: Callable[[Search], None]
) -> Search:
    """Build files once more, and compare them without the objects whose names no file gives."""
    with _prepared(context, earlier.live, earlier.prerequisites) as build:
        again = earlier.again(build, others)
        work(again)
    return again


@contextmanager
def _prepared(context: RunContext, live: Connection, prerequisites: Prerequisites) -> Iterator[Build]:
    """Make a scratch database that has the prerequisites."""
    with building(context, live, context.warnings.append) as build:
        prerequisites.create(build.connection, context.warnings.append)
        yield build


def _nearest(context: RunContext, items: Sequence[Pending], search: Search) -> tuple[int, list[Difference]]:
    """Return after how many of the files the fewest objects differ, and the differences."""
    closest = {number for *_, number in sorted(search.lower_bounds)[:_MAX_NEAREST]}
    best: list[tuple[int, list[Difference]]] = [(0, [])]

    def build_up_to(again: Search) -> None:
        found = dict(again.differences_after(items[: max(closest)], closest))
        _, least = min(found.items(), key=lambda item: (len(item[1]), -item[0]))
        best[0] = next(item for item in found.items() if item[1] == least)  # whether what is behind has run is not seen

    build_again(context, search, search.others, build_up_to)
    return best[0]


class _Scope:
    """The schemas and extensions that the files have made so far: only these are compared."""

    def __init__(self) -> None:
        self.schemas: set[str] = set()
        self.extensions: set[str] = set()

    def widen(self, counts: Counts, extensions: set[str]) -> None:
        self.schemas |= counts.keys()
        self.extensions |= extensions


class Search:
    """One build of the files, and the numbers of files after which the scratch database equals the live one.

    ``others`` are the names in the live database that no file gives; they are not compared.
    """

    def __init__(
        self, live: Connection, build: Build, contents: Contents, prerequisites: Prerequisites,
        scope: _Scope | None = None, others: frozenset[Name] = frozenset(),
    ) -> None:  # fmt: skip
        self.live, self._build, self._contents, self.others = live, build, contents, others
        self.prerequisites = prerequisites
        self._counts = contents.counts(without=others)
        create_counters(build.connection)
        self.scope = scope or _Scope()
        self._counted, extensions = count_scratch_relations(build.connection)
        self.scope.widen(self._counted, extensions)
        self._before = noted_names(build.connection)
        self.lower_bounds: list[tuple[int, int, int]] = []  # by relations, by all; after how many files
        self._stamp: object = None  # of the scratch database's catalog when it was read last
        self._built: Catalog = {}
        self._read_last: tuple[tuple[str, ...] | None, Catalog] = (None, {})  # hidden schemas, the live catalog
        self._candidates: list[tuple[int, Catalog]] = []
        self.unread = False  # whether there is a file after which the catalog was to be read once more
        self.failure: Failure | None = None
        self._first_absent: int | None = None  # a file that was not applied: the server does not have its role
        self.made: frozenset[Name] = frozenset()
        self.applied = self.unchanging = 0

    def again(self, build: Build, others: frozenset[Name]) -> Search:
        """Return the same search in another build; ``others`` are the names that are not compared there."""
        return Search(self.live, build, self._contents, self.prerequisites, self.scope, others)

    def build_all(self, items: Sequence[Pending], reads: int) -> None:
        """Build all files, and compare after each of them; a file that cannot be built ends it.

        The catalog is read up to ``reads`` times, and after the last file.
        """
        self._may_be_equal(0)
        for number, item in enumerate(items, 1):
            if not self._apply(number, item):
                break
            if self._may_be_equal(number) and self._first_absent is None:
                reads -= self._compare(number, reads if number < len(items) else 1)
        self.made = self.names()
        self.applied, self.unchanging = self._longest()

    def build_plainly(self, items: Sequence[Pending], after: int = 0) -> None:
        """Build files, of which some came before, and compare nothing; a file that cannot be built ends it."""
        for number, item in enumerate(items, after + 1):
            if not self._apply(number, item):
                break
        self.made = self.names()

    def read_each(self, items: Sequence[Pending], query: str) -> Iterator[Row]:
        """Build files, and yield the rows of a query of the catalog after each of them."""
        for number, item in enumerate(items, 1):
            if not self._apply(number, item):
                break
            yield from query_catalog(self._build.connection, query)

    def differences_after(
        self, items: Sequence[Pending], numbers: AbstractSet[int]
    ) -> Iterator[tuple[int, list[Difference]]]:  # fmt: skip
        """Build files, and yield what differs from the live database after some of them."""
        for number in range(len(items) + 1):
            if number and not self._apply(number, items[number - 1]):
                return
            if number in numbers:
                yield number, self.differences()

    def _apply(self, number: int, item: Pending) -> bool:
        """Build a file, and note the names; return whether that was possible."""
        try:
            self._build.apply(item)
        except ScratchFailed as error:
            self.failure = Failure(number - 1, error)
            return False
        self._counted, extensions = count_scratch_relations(self._build.connection)
        self.scope.widen(self._counted, extensions)
        if self._build.needs_missing_role and self._first_absent is None:
            self._first_absent = number
        return True

    def names(self) -> frozenset[Name]:
        """Return all names that the files built so far have given."""
        return noted_names(self._build.connection) - self._before

    def _may_be_equal(self, number: int) -> bool:
        """Return whether the counts of the two databases are equal."""
        live = {name: found for name, found in self._counts.items() if name in self.scope.schemas}
        of_all, of_relations = 0, lower_bound(self._counted, live)
        if not of_relations:
            of_all = lower_bound(count_scratch_objects(self._build.connection), live)
        self.lower_bounds.append((of_relations, of_all, number))
        return not of_relations and not of_all and self._counted.keys() == live.keys()

    def _compare(self, number: int, reads: int) -> bool:
        """Compare the two catalogs; return whether that of the scratch database had to be read."""
        stamp = catalog_stamp(self._build.connection)
        written = stamp != self._stamp
        if written and not reads:
            self.unread = True
            return False
        built = self._read_built(stamp)
        if _shows_something(built) and built == self._read_live(built):
            self._candidates.append((number, built))
        return written

    def _longest(self) -> tuple[int, int]:
        """Return the last candidate that is still equal when all that the files have made is compared.

        And how many of its last files leave the catalog as it was before them.
        """
        last = self._read_built() if self._candidates else {}
        for number, built in reversed(self._candidates):
            if built == self._read_live(built, last):
                return number, number - min(earlier for earlier, same in self._candidates if same == built)
        return 0, 0

    @property
    def not_verifiable(self) -> tuple[str, ...]:
        """What the files do outside their database, which the build did not repeat."""
        return self._build.not_verifiable

    def differences(self) -> list[Difference]:
        """Return what differs between the files built so far and the live database."""
        return self.differences_of(self._read_built())

    def not_compared(self) -> tuple[str, ...]:
        """Return what of the live database the files have nothing to do with."""
        schemas = sorted(self._counts.keys() - self.scope.schemas)
        extensions = sorted(self._contents.extensions - self.scope.extensions)
        others = sorted(
            item.label for item in self._contents.objects
            if item.name in self.others and item.name.kind != SCHEMA and item.name.schema in self.scope.schemas
        )  # fmt: skip
        return (*(f"schema {name}" for name in schemas), *(f"extension {name}" for name in extensions), *others)

    def built_catalog(self) -> Catalog:
        """Return the catalog of what was built so far."""
        return self._read_built()

    def live_catalog(self, others: frozenset[Name], built: Catalog, *later: Catalog) -> Catalog:
        """Return the live catalog, as far as the files have to do with it, without the objects of other names."""
        self.others = others
        return self._read_live(built, *later)

    def differences_of(self, built: Catalog) -> list[Difference]:
        """Return what differs between the catalog of some of the files and the live database."""
        return compare(built, self._read_live(built))

    def _read_built(self, stamp: object = None) -> Catalog:
        """Return the catalog of the scratch database, read again only where something was written to it."""
        stamp = stamp or catalog_stamp(self._build.connection)
        if stamp != self._stamp:
            found = read_catalog(self._build.connection, self._own_roles(), owners=False)
            self._stamp, self._built = stamp, self._comparable(found)
        return self._built

    def _read_live(self, built: Catalog, *later: Catalog) -> Catalog:
        """Return the live catalog, as far as the files have to do with it, to be compared with what some have built.

        ``later`` is what all have built. An extension that only a later file makes, or asks for, may be there before.
        """
        hidden = tuple(sorted(self._counts.keys() - self.scope.schemas))
        if self._read_last[0] != hidden:
            found = read_catalog(self.live, self._own_roles(), owners=False, hidden=hidden)
            self._read_last = hidden, self._comparable(found)
        lines = (line for catalog in (built, *later) for line in _grant_lines(catalog))
        grantees = {"PUBLIC", "nobody", *map(_grantee, lines)}
        entries = (self._within_scope(entry, grantees) for entry in self._read_last[1].values())
        known = (entry for entry in entries if entry is not None)
        return {entry.key: entry for entry in known if entry.kind != "extension" or entry.key in built}

    def _comparable(self, catalog: Catalog) -> Catalog:
        """Return a catalog without what no file makes, and without the versions of extensions, the server's choice."""
        others = [entry for entry in catalog.values() if not entry.parent and self._is_others(entry)]
        if not others:
            return _without_versions(catalog)
        hidden, comments = _belonging_to({entry.identity for entry in others}, catalog), _comments_on(others)
        return _without_versions({
            key: entry for key, entry in catalog.items()
            if entry.identity not in hidden and entry.parent not in hidden
            and not (entry.kind in _REMARKS and comments.fullmatch(entry.identity))
        })  # fmt: skip

    def _is_others(self, entry: CatalogObject) -> bool:
        """Return whether no file makes an object that stands by itself."""
        if entry.kind == "schema":
            return _plain(entry.identity) in self.prerequisites.schemas
        if entry.kind == "extension":
            return any(item.name == _plain(entry.identity) for item in self.prerequisites.extensions)
        kind, parts = _KINDS.get(entry.kind, ""), _IDENTITY.match(entry.identity)
        return parts is not None and Name(_plain(parts[1]), kind, _plain(parts[2])) in self.others

    def _within_scope(self, entry: CatalogObject, grantees: set[str]) -> CatalogObject | None:
        if entry.kind not in _WITH_GRANTEES:
            return entry
        lines = [line for line in entry.definition.splitlines() if _grantee(line) in grantees]
        return entry._replace(definition="\n".join(lines)) if lines else None

    def _own_roles(self) -> list[str]:
        return [str(name) for (name,) in self.live.rows("SELECT SESSION_USER::text UNION SELECT CURRENT_USER")]


def _plain(identifier: str) -> str:
    """Return a name without the quotes that SQL wants around it."""
    return identifier[1:-1].replace('""', '"') if identifier.startswith('"') else identifier


def _shows_something(catalog: Catalog) -> bool:
    """Return whether there is an object that not every database has: without any, nothing is proven."""
    return any(entry.kind not in ABOUT_OBJECTS and entry.key not in _IN_EVERY_DATABASE for entry in catalog.values())


def _without_versions(catalog: Catalog) -> Catalog:
    return {key: _without_version(entry) if entry.kind == "extension" else entry for key, entry in catalog.items()}


def _without_version(extension: CatalogObject) -> CatalogObject:
    lines = [line for line in extension.definition.splitlines() if not line.startswith("version ")]
    return extension._replace(definition="\n".join(lines))


def _belonging_to(heads: set[str], catalog: Catalog) -> set[str]:
    """Return the identities of some objects, and of all that belongs to them: a table's sequence, its grants."""
    found = set(heads)
    while more := {entry.identity for entry in catalog.values() if entry.parent in found} - found:
        found |= more
    return found


def _comments_on(objects: Iterable[CatalogObject]) -> re.Pattern[str]:
    """Return the pattern of what a comment or a security label names when it is about one of some objects.

    There a function's identity has the types of its arguments only.
    """
    named = (_identity_pattern(entry) for entry in objects)
    return re.compile(rf"[a-z ]+ (?:{'|'.join(named)})(?: by .*)?")


def _identity_pattern(entry: CatalogObject) -> str:
    name = _IDENTITY.match(entry.identity)
    if name is None or _KINDS.get(entry.kind) != FUNCTION:
        return re.escape(entry.identity)
    return rf"{re.escape(name[0])}\(.*"


def _grant_lines(catalog: Catalog) -> list[str]:
    return [
        line for entry in catalog.values() if entry.kind in _WITH_GRANTEES for line in entry.definition.splitlines()
    ]


def _grantee(line: str) -> str:
    return line.partition(": ")[0]
