"""Differences between two catalogues: what the files build, and what a database has. Pure.

An object that is on one side only takes what belongs to it along: a table its columns, constraints and indexes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

from migrator.drift.snapshot import Catalog, CatalogObject, Key
from migrator.formatting import mask_passwords

ONLY_IN_FILES = "only in the files"
ONLY_IN_DATABASE = "only in the database"
DIFFERS = "differs"
_MAX_LINES, _MAX_LINE = 30, 300
_MAX_TOLD, _MAX_CHARACTERS = 100, 40_000
_ORDER = "column order"
_PLURALS = {"policy": "policies", "index": "indexes", "statistics": "statistics", "grants": "grants"}


class Difference(NamedTuple):
    """An object that is not the same: how, what goes with it, and the lines that differ (- files, + database)."""

    kind: str
    identity: str
    how: str
    lines: tuple[str, ...] = ()
    along: str = ""

    def __str__(self) -> str:
        """Return the difference for people: a line, and those that differ below it."""
        head = f"{self.kind} {self.identity}: {self.how}{f' (with {self.along})' if self.along else ''}"
        return "\n".join([head, *(f"  {line}" for line in self.lines)])

    def as_json(self) -> dict[str, Any]:
        """Return the difference ready for JSON."""
        truncated = {"kind": self.kind, "identity": self.identity, "difference": self.how, "along": self.along}
        return {**truncated, "lines": list(self.lines)}


def changed(before: Catalog, after: Catalog) -> set[Key]:
    """Return what tells the objects apart that are in one of the two only, or are not the same in both."""
    return {key for key in {**before, **after} if before.get(key) != after.get(key)}


def without(catalogue: Catalog, keys: AbstractSet[Key]) -> Catalog:
    """Return a catalogue without some objects, and without what goes with them."""
    heads = {identity for _, identity in keys}
    return {key: entry for key, entry in catalogue.items() if key not in keys and entry.parent not in heads}


def compare(files: Catalog, database: Catalog) -> list[Difference]:
    """Return what differs, in the order of kinds and names."""
    lone = {
        **{key: ONLY_IN_FILES for key in files if key not in database},
        **{key: ONLY_IN_DATABASE for key in database if key not in files},
    }
    everything = {**database, **files}
    heads = {(key[1], how): key for key, how in lone.items() if key[0] != _ORDER}
    followers: dict[Key, Counter[str]] = {}
    found = []
    for key in sorted(everything):
        entry, how = everything[key], lone.get(key, "")
        if how and (head := heads.get((entry.parent, how))):
            while above := heads.get((everything[head].parent, how)):
                head = above
            followers.setdefault(head, Counter())[entry.kind] += 1
        elif how and entry.kind != _ORDER:
            found.append(Difference(*key, how, _one_side(entry, how)))
        elif not how and (lines := _changed(files[key], database[key])):
            found.append(Difference(*key, DIFFERS, lines))
    return [item._replace(along=_along(followers.get((item.kind, item.identity)))) for item in found]


def _along(counts: Counter[str] | None) -> str:
    kinds = [(kind, count) for kind, count in (counts or {}).items() if kind != _ORDER]
    return ", ".join(f"{count} {_plural(kind) if count > 1 else kind}" for kind, count in kinds)


def _plural(kind: str) -> str:
    return _PLURALS.get(kind, f"{kind}s")


def _one_side(entry: CatalogObject, how: str) -> tuple[str, ...]:
    sign = "-" if how == ONLY_IN_FILES else "+"
    return _bounded(f"{sign} {line}" for line in entry.definition.splitlines())


def _changed(files: CatalogObject, database: CatalogObject) -> tuple[str, ...]:
    """Return the lines that differ; of the orders of columns, only what concerns columns that both sides have."""
    if files.kind == _ORDER:
        mine, theirs = files.definition.split(", "), database.definition.split(", ")
        both = set(mine) & set(theirs)
        before, after = [", ".join(name for name in names if name in both) for names in (mine, theirs)]
    else:
        before, after = files.definition, database.definition
    if before == after:
        return ()
    import difflib  # noqa: PLC0415 - only where something differs

    lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=1))[2:]
    return _bounded(f"{line[0]} {line[1:]}" for line in lines if not line.startswith("@@"))


def _bounded(lines: Iterator[str]) -> tuple[str, ...]:
    masked = map(mask_passwords, lines)
    kept = [line if len(line) <= _MAX_LINE else f"{line[:_MAX_LINE]} ..." for line in masked]
    if len(kept) > _MAX_LINES:
        kept[_MAX_LINES:] = [f"  ... {len(kept) - _MAX_LINES} more lines"]
    return tuple(kept)


def truncated(differences: Sequence[Difference]) -> list[Difference]:
    """Return as many of the first differences as an answer has room for."""
    kept: list[Difference] = []
    room = _MAX_CHARACTERS
    for item in differences[:_MAX_TOLD]:
        room -= len(str(item))
        if room < 0 and kept:
            break
        kept.append(item)
    return kept


def in_words(differences: Sequence[Difference], most: int = 3) -> str:
    """Return the first differences as a part of a sentence."""
    first = "; ".join(f"{item.kind} {item.identity} ({item.how})" for item in differences[:most])
    more = len(differences) - most
    return f"{first}; and {more} more" if more > 0 else first
