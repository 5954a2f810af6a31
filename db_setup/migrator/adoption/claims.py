"""Claims: what the history of another tool says is applied, held against the database.

A tool may count a file as applied that never ran: golang-migrate keeps one version, and a file that was merged late is
below it. So the files are built, and the database must have what they make; what differs otherwise is a drift, which
another tool's word does not undo.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from migrator.adoption.fingerprint import Name, read_contents
from migrator.adoption.prerequisites import Prerequisites
from migrator.adoption.search import ABOUT_OBJECTS, Failure, Search, build_again, build_once
from migrator.context import RunContext
from migrator.database import Connection
from migrator.drift import Catalog, Difference, Key
from migrator.planning import Pending


class Claim(NamedTuple):
    """What was found out about the files of a claim.

    ``applied`` are those that the database does not contradict, and ``unapplied`` those of which it has nothing,
    although they are claimed. ``taken`` is what files outside the claim make and the database has. ``failure`` counts
    the files in the order of ``applied``, then all others. The rest is as in a SearchResult.
    """

    applied: tuple[Pending, ...]
    unapplied: tuple[Pending, ...]
    taken: tuple[str, ...]
    differences: list[Difference]
    failure: Failure | None
    not_compared: tuple[str, ...]
    not_verifiable: tuple[str, ...]
    made: frozenset[Name]
    prerequisites: Prerequisites


def check_claim(
    context: RunContext, live: Connection, claimed: Sequence[Pending], rest: Sequence[Pending]
) -> Claim:  # fmt: skip
    """Hold the claim that some files are applied, and the rest is not, against the live database."""
    contents = read_contents(live)
    built = _BuiltClaim()
    found = build_once(context, live, contents, lambda search: built.build(search, claimed, rest))
    others = contents.names - found.made
    live_catalog = found.live_catalog(others, built.claimed, built.all)
    missing = {key for key in built.claimed if key not in live_catalog and key[0] not in ABOUT_OBJECTS}
    unapplied: tuple[Pending, ...] = ()
    if missing:
        unapplied = tuple(_without_trace(context, found, others, claimed, missing))
    if unapplied:
        kept = [item for item in claimed if item not in unapplied]
        again = check_claim(context, live, kept, sorted((*unapplied, *rest), key=lambda item: item.order))
        return again._replace(unapplied=(*unapplied, *again.unapplied))
    return Claim(
        tuple(claimed), unapplied, built.taken(live_catalog, contents.names), found.differences_of(built.claimed),
        found.failure, found.not_compared(), found.not_verifiable, found.made, found.prerequisites,
    )  # fmt: skip


class _BuiltClaim:
    """The catalogs that the files of a claim build, and all files."""

    def __init__(self) -> None:
        self.claimed: Catalog = {}
        self.all: Catalog = {}
        self._names_of_claimed: frozenset[Name] = frozenset()
        self._names_of_all: frozenset[Name] = frozenset()

    def build(self, search: Search, claimed: Sequence[Pending], rest: Sequence[Pending]) -> None:
        """Build the files of the claim, then the rest; keep what there is after each of the two."""
        search.build_plainly(claimed)
        self.claimed, self._names_of_claimed = search.built_catalog(), search.made
        if search.failure is None:
            search.build_plainly(rest, after=len(claimed))
        self.all, self._names_of_all = search.built_catalog(), search.made

    def taken(self, live: Catalog, names: frozenset[Name]) -> tuple[str, ...]:
        """Return what only the rest of the files makes, and the database has."""
        keys = (self.all.keys() - self.claimed.keys()) & live.keys()
        named = {f"{kind} {identity}" for kind, identity in keys if kind not in ABOUT_OBJECTS}
        dropped = (self._names_of_all - self._names_of_claimed) & names
        return tuple(sorted(named)) or tuple(sorted(f"{name.kind} {name.schema}.{name.name}" for name in dropped))


def _without_trace(
    context: RunContext, earlier: Search, others: frozenset[Name], claimed: Sequence[Pending], missing: set[Key]
) -> Iterator[Pending]:
    """Yield the files of which the database has nothing that they make, and no later file of the claim drops."""
    lasting: dict[int, set[Key]] = {}

    def build(search: Search) -> None:
        before: Catalog = search.built_catalog()
        for place, item in enumerate(claimed):
            search.build_plainly([item], after=place)
            after = search.built_catalog()
            lasting[place] = {key for key in after.keys() - before.keys() if key[0] not in ABOUT_OBJECTS}
            before = after
        for place, made in lasting.items():
            lasting[place] = made & before.keys()

    build_again(context, earlier, others, build)
    return (item for place, item in enumerate(claimed) if lasting[place] and lasting[place] <= missing)
