"""The search for what is applied: the longest run of files, from the first, that builds what the database has.

1. The files are built one after another in a scratch database.
2. After each, the counts of its objects are compared with those of the live database: where these differ, the
   databases differ, and nothing else is read. To read a whole catalog after each file would take longer than to apply
   them all.
3. Where the counts are equal, the catalog of the scratch database is read and compared with the live one; it is not
   read again where nothing was written to it since, and no more than a few times. A file after which both are equal
   is a candidate.
4. Only schemas, extensions and grants that the files have to do with are compared. Later files can add to these, so the
   last candidate that is still equal at the end is the result.
5. If a catalog was left out in step 3 after a file behind the result, all files are built once more with every
   catalog read.
6. If nothing was found, and the database has objects of the names that the files give to theirs, the files are built
   again up to each of those with the closest counts, to find the one after which the fewest objects differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from migrator.adoption.fingerprint import (
    Counts,
    catalog_stamp,
    count_objects,
    count_scratch_objects,
    count_scratch_relations,
    create_counters,
    lower_bound,
)
from migrator.context import RunContext
from migrator.database import Connection
from migrator.drift import Build, Catalog, CatalogObject, Difference, building, compare, read_catalog
from migrator.errors import ScratchFailed
from migrator.planning import Pending

_IN_EVERY_DATABASE = frozenset({"schema", "extension", "grants", "default privileges", "comment", "language"})
_WITH_GRANTEES = frozenset({"grants", "default privileges"})
_MAX_READS = 5  # of the scratch database's catalog, in the first build
_MAX_NEAREST = 10  # files that are compared in full to find the nearest


class SearchResult(NamedTuple):
    """What the comparison has shown: the first ``applied`` files are proven, or these are the differences.

    The last ``unchanging`` of the proven ones change nothing that is compared (they load data), so nothing shows
    whether they are applied. ``unrelated``: the database has no object of a name that the files give to one.
    ``nearest`` is how many files come closest. ``failed`` says why not all files could be built.
    """

    applied: int
    unchanging: int
    unrelated: bool
    nearest: int
    differences: list[Difference]
    not_compared: tuple[str, ...]
    not_verifiable: tuple[str, ...]
    failed: str


def search(context: RunContext, live: Connection, items: Sequence[Pending]) -> SearchResult:
    """Return what is proven of the files to be applied to the live database, in their order."""
    for reads in (_MAX_READS, len(items)):
        with building(context, live, context.warnings.append) as build:
            search = _Search(live, build)
            failed = search.build_all(items, reads)
            found = search.longest()
            unrelated = not found and search.unrelated()
        if search.last_unread <= found:
            break
    nearest, differences = 0, list[Difference]()
    if not found and not unrelated:
        nearest, differences = _nearest(context, live, items, search)
    return SearchResult(
        found, search.unchanging(found), unrelated, nearest, differences,
        search.not_compared(), build.not_verifiable, failed,
    )  # fmt: skip


def _nearest(
    context: RunContext, live: Connection, items: Sequence[Pending], search: _Search
) -> tuple[int, list[Difference]]:
    """Return after how many of the files the fewest objects differ, and the differences."""
    closest = {number for _, number in sorted(search.lower_bounds)[:_MAX_NEAREST]}
    best: tuple[int, list[Difference]] | None = None
    with building(context, live, context.warnings.append) as build:
        again = _Search(live, build, search.scope)
        for number in range(max(closest) + 1):
            if number:
                build.apply(items[number - 1])
            if number in closest:
                found = again.differences()
                best = (number, found) if best is None or len(found) <= len(best[1]) else best
    return best or (0, [])


class _Scope:
    """The schemas and extensions that the files have made so far: only these are compared."""

    def __init__(self) -> None:
        self.schemas: set[str] = set()
        self.extensions: set[str] = set()

    def widen(self, counts: Counts, extensions: set[str]) -> None:
        self.schemas |= counts.keys()
        self.extensions |= extensions


class _Search:
    """One build of the files, and the numbers of files after which the scratch database equals the live one."""

    def __init__(self, live: Connection, build: Build, scope: _Scope | None = None) -> None:
        self._live, self._build = live, build
        self._counts, self._extensions = count_objects(live)
        create_counters(build.connection)
        self.scope = scope or _Scope()
        self.lower_bounds: list[tuple[int, int]] = []  # how many objects differ at least, after how many files
        self._stamp: object = None  # of the scratch database's catalog when it was read last
        self._built: Catalog = {}
        self._read_last: tuple[tuple[str, ...] | None, Catalog] = (None, {})  # hidden schemas, the live catalog
        self._candidates: list[tuple[int, Catalog]] = []
        self._last_compared = 0
        self._unchanging: set[int] = set()
        self.last_unread = 0  # the last file after which the catalog was to be read once more

    def build_all(self, items: Sequence[Pending], reads: int) -> str:
        """Build all files, and compare after each of them; return why it ended early, if it did.

        The catalog is read up to ``reads`` times, and after the last file.
        """
        self._may_be_equal(0)
        for number, item in enumerate(items, 1):
            try:
                self._build.apply(item)
            except ScratchFailed as error:
                return error.cause
            if self._may_be_equal(number):
                reads -= self._compare(number, reads if number < len(items) else 1)
        return ""

    def _may_be_equal(self, number: int) -> bool:
        """Return whether the counts of the two databases are equal."""
        scratch = self._build.connection
        counts, extensions = count_scratch_relations(scratch)
        self.scope.widen(counts, extensions)
        live = {name: found for name, found in self._counts.items() if name in self.scope.schemas}
        bound = lower_bound(counts, live) or lower_bound(count_scratch_objects(scratch), live)
        self.lower_bounds.append((bound, number))
        return not bound and counts.keys() == live.keys()

    def _compare(self, number: int, reads: int) -> bool:
        """Compare the two catalogs; return whether that of the scratch database had to be read."""
        stamp = catalog_stamp(self._build.connection)
        written = stamp != self._stamp
        if written and not reads:
            self.last_unread = number
            return False
        if not written and self._last_compared == number - 1:
            self._unchanging.add(number)
        self._last_compared = number
        before, built = self._built, self._read_built(stamp)
        if before == built and self._candidates and self._candidates[-1][0] == number - 1:
            self._unchanging.add(number)  # what it wrote is nothing that is compared, such as an owner
        if built == self._read_live(built):
            self._candidates.append((number, built))
        return written

    def longest(self) -> int:
        """Return the last candidate that is still equal when all that the files have made is compared."""
        last = self._read_built() if self._candidates else {}
        for number, built in reversed(self._candidates):
            if built == self._read_live(built, last):
                return number
        return 0

    def unrelated(self) -> bool:
        """Return whether nothing that the files have built has the name of anything in the live database."""
        built = {key for key in self._read_built() if key[0] not in _IN_EVERY_DATABASE}
        return not built.intersection(self._read_live(self._built))

    def unchanging(self, found: int) -> int:
        """Return how many of the first ``found`` files, the last ones, have changed nothing that is compared."""
        first = found
        while first in self._unchanging:
            first -= 1
        return found - first

    def differences(self) -> list[Difference]:
        """Return what differs between the files built so far and the live database."""
        built = self._read_built()
        return compare(built, self._read_live(built))

    def not_compared(self) -> tuple[str, ...]:
        """Return what of the live database the files have nothing to do with."""
        schemas = sorted(self._counts.keys() - self.scope.schemas)
        extensions = sorted(self._extensions - self.scope.extensions)
        return (*(f"schema {name}" for name in schemas), *(f"extension {name}" for name in extensions))

    def _read_built(self, stamp: object = None) -> Catalog:
        """Return the catalog of the scratch database, read again only where something was written to it."""
        stamp = stamp or catalog_stamp(self._build.connection)
        if stamp != self._stamp:
            self._stamp, self._built = stamp, read_catalog(self._build.connection, self._own_roles(), owners=False)
        return self._built

    def _read_live(self, *built: Catalog) -> Catalog:
        """Return the live catalog, as far as the files have to do with it."""
        hidden = tuple(sorted(self._counts.keys() - self.scope.schemas))
        if self._read_last[0] != hidden:
            self._read_last = hidden, read_catalog(self._live, self._own_roles(), owners=False, hidden=hidden)
        grantees = {_grantee(line) for catalog in built for line in _grant_lines(catalog)} | {"PUBLIC", "nobody"}
        entries = (self._within_scope(entry, grantees) for entry in self._read_last[1].values())
        return {entry.key: entry for entry in entries if entry is not None}

    def _within_scope(self, entry: CatalogObject, grantees: set[str]) -> CatalogObject | None:
        if entry.kind == "extension" and entry.identity.strip('"') not in self.scope.extensions:
            return None
        if entry.kind not in _WITH_GRANTEES:
            return entry
        lines = [line for line in entry.definition.splitlines() if _grantee(line) in grantees]
        return entry._replace(definition="\n".join(lines)) if lines else None

    def _own_roles(self) -> list[str]:
        return [str(name) for (name,) in self._live.rows("SELECT SESSION_USER::text UNION SELECT CURRENT_USER")]


def _grant_lines(catalog: Catalog) -> list[str]:
    return [
        line for entry in catalog.values() if entry.kind in _WITH_GRANTEES for line in entry.definition.splitlines()
    ]


def _grantee(line: str) -> str:
    return line.partition(": ")[0]
