"""A proof of what is applied: the files are built one after another until they make what the database has.

The longest run of files, from the first, that equals the database is what was applied to it.
To read a whole catalogue after each file would take longer than to apply them all. So counts of objects, one short
query, sort out the files after which it cannot be; where nothing was written to the catalogue since it was read last,
it is not read again; and only where the last files do not decide it, all are built once more and looked at in full.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from migrator.adoption import fingerprint
from migrator.adoption.fingerprint import Counts
from migrator.context import RunContext
from migrator.database.connection import Connection
from migrator.drift import snapshot
from migrator.drift.build import Build, building
from migrator.drift.diff import Difference, compare
from migrator.drift.snapshot import Catalog, CatalogObject
from migrator.errors import ScratchFailed
from migrator.planning.plan import Pending

_OWN_IDENTITY = frozenset({"schema", "extension", "grants", "default privileges", "comment", "language"})

_MAX_READS, _LIKELY = 5, 10


class SearchResult(NamedTuple):
    """What the comparison has shown: ``applied`` files from the first are proven, or these are the differences.

    The last ``unseen`` of the proven ones change nothing that is compared (they load data), so they do not show.
    ``unrelated`` tells that the database has no object of a name that the files give to one. ``nearest`` is how many
    files come closest. ``failed`` says why not all files could be built.
    """

    applied: int
    unseen: int
    unrelated: bool
    nearest: int
    differences: list[Difference]
    not_compared: tuple[str, ...]
    not_verifiable: tuple[str, ...]
    failed: str


class _Scope:
    """What the files have to do with: schemas and extensions that they make, roles that they grant to."""

    def __init__(self) -> None:
        self.schemas: set[str] = set()
        self.extensions: set[str] = set()

    def widen(self, counts: Counts, extensions: set[str]) -> None:
        self.schemas |= counts.keys()
        self.extensions |= extensions


def search(context: RunContext, live: Connection, items: Sequence[Pending]) -> SearchResult:
    """Return what is proven of the files to be applied to the live database, in their order."""
    for reads in (_MAX_READS, len(items)):
        with building(context, live, context.warnings.append) as build:
            search = _Search(live, build)
            failed = search.through(items, reads)
            found = search.longest()
            unrelated = not found and search.unrelated()
        if search.skipped <= found:
            break
    nearest, differences = 0, list[Difference]()
    if not found and not unrelated:
        nearest, differences = _nearest(context, live, items, search)
    return SearchResult(
        found, search.unseen(found), unrelated, nearest, differences,
        search.not_compared(), build.not_verifiable, failed,
    )  # fmt: skip


def _nearest(
    context: RunContext, live: Connection, items: Sequence[Pending], search: _Search
) -> tuple[int, list[Difference]]:
    """Return after how many files the fewest objects differ, and these; looks at those whose counts come closest."""
    likely = {number for _, number in sorted(search.distances)[:_LIKELY]}
    best: tuple[int, list[Difference]] | None = None
    with building(context, live, context.warnings.append) as build:
        look = _Search(live, build, search.scope)
        for number in range(max(likely) + 1):
            if number:
                build.apply(items[number - 1])
            if number in likely:
                found = look.differences()
                best = (number, found) if best is None or len(found) <= len(best[1]) else best
    return best or (0, [])


class _Search:
    """The search for the number of files after which the scratch database equals the live one."""

    def __init__(self, live: Connection, build: Build, scope: _Scope | None = None) -> None:
        self._live, self._build = live, build
        self._counts, self._extensions = fingerprint.count(live)
        fingerprint.prepare(build.connection)
        self.scope = scope or _Scope()
        self.distances: list[tuple[int, int]] = []
        self._stamps: object = None
        self._last: Catalog = {}
        self._cached: tuple[object, Catalog] = (None, {})
        self._candidates: list[tuple[int, Catalog]] = []
        self._looked_at = 0
        self._unchanged: set[int] = set()
        self.skipped = 0

    def through(self, items: Sequence[Pending], reads: int) -> str:
        """Build all files and remember after which the two are equal; return why it ended early, if it did.

        The catalogue is read up to ``reads`` times, and after the last file; ``skipped`` is the last file after which
        it should have been read once more.
        """
        self._look(0, reads)
        for number, item in enumerate(items, 1):
            try:
                self._build.apply(item)
            except ScratchFailed as error:
                return error.what
            reads -= self._look(number, reads if number < len(items) else 1)
        return ""

    def _look(self, number: int, reads: int) -> bool:
        """Compare the two as far as is called for; return whether the catalogue was read for that."""
        counts, extensions = fingerprint.first_counts(self._build.connection)
        self.scope.widen(counts, extensions)
        there = {name: found for name, found in self._counts.items() if name in self.scope.schemas}
        far = fingerprint.lower_bound(counts, there) or fingerprint.lower_bound(
            fingerprint.count_scratch(self._build.connection), there
        )
        self.distances.append((far, number))
        if far or counts.keys() != there.keys() or not number:
            return False
        stamps = fingerprint.catalog_stamp(self._build.connection)
        changed = stamps != self._stamps
        if changed and not reads:
            self.skipped = number
            return False
        if not changed and self._looked_at == number - 1:
            self._unchanged.add(number)
        self._looked_at = number
        before, built = self._last, self._read_built(stamps)
        if before == built and self._candidates and self._candidates[-1][0] == number - 1:
            self._unchanged.add(number)  # what it wrote is nothing that is compared, such as an owner
        if built == self._read_live(built):
            self._candidates.append((number, built))
        return changed

    def _read_built(self, stamps: object = None) -> Catalog:
        """Return the catalogue of the scratch database, read again only where something was written to it."""
        stamps = stamps or fingerprint.catalog_stamp(self._build.connection)
        if stamps != self._stamps:
            self._stamps, self._last = stamps, snapshot.read_catalog(self._build.connection, self._own(), owners=False)
        return self._last

    def unseen(self, found: int) -> int:
        """Return how many of the first ``found`` files, the last ones, have changed nothing that is compared."""
        first = found
        while first in self._unchanged:
            first -= 1
        return found - first

    def _read_live(self, *built: Catalog) -> Catalog:
        """Return the live catalogue, as far as the files have to do with it."""
        hidden = tuple(sorted(self._counts.keys() - self.scope.schemas))
        if self._cached[0] != hidden:
            self._cached = hidden, snapshot.read_catalog(self._live, self._own(), owners=False, hidden=hidden)
        roles = {line.partition(": ")[0] for found in built for line in _grant_lines(found)} | {"PUBLIC"}
        entries = (self._within(entry, roles) for entry in self._cached[1].values())
        return {entry.key: entry for entry in entries if entry is not None}

    def _within(self, entry: CatalogObject, roles: set[str]) -> CatalogObject | None:
        if entry.kind == "extension" and entry.identity.strip('"') not in self.scope.extensions:
            return None
        if entry.kind not in {"grants", "default privileges"}:
            return entry
        kept = [line for line in entry.definition.splitlines() if line.partition(": ")[0] in roles | {"nobody"}]
        return entry._replace(definition="\n".join(kept)) if kept else None

    def _own(self) -> list[str]:
        return [str(name) for (name,) in self._live.rows("SELECT SESSION_USER::text UNION SELECT CURRENT_USER")]

    def longest(self) -> int:
        """Return the highest number of files that is still equal with all the files have to do with in view."""
        last = self._read_built() if self._candidates else {}
        for number, built in reversed(self._candidates):
            if built == self._read_live(built, last):
                return number
        return 0

    def unrelated(self) -> bool:
        """Tell whether nothing that the files have built has the name of anything in the live database."""
        mine = {key for key in self._read_built() if key[0] not in _OWN_IDENTITY}
        return not mine.intersection(self._read_live(self._last))

    def differences(self) -> list[Difference]:
        """Return what differs between the files built so far and the live database."""
        built = self._read_built()
        return compare(built, self._read_live(built))

    def not_compared(self) -> tuple[str, ...]:
        """Return what of the live database the files have nothing to do with."""
        schemas = sorted(self._counts.keys() - self.scope.schemas)
        extensions = sorted(self._extensions - self.scope.extensions)
        return (*(f"schema {name}" for name in schemas), *(f"extension {name}" for name in extensions))


def _grant_lines(found: Catalog) -> list[str]:
    kinds = {"grants", "default privileges"}
    return [line for entry in found.values() if entry.kind in kinds for line in entry.definition.splitlines()]
