"""Differences between two catalogs: what the files build, and what a database has. Pure.

An object that is on one side only is one difference with all that belongs to it, such as the columns of a table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from types import MappingProxyType
from typing import Any, NamedTuple

from migrator.drift.snapshot import Catalog, CatalogObject, Key
from migrator.formatting import mask_passwords

ONLY_IN_FILES = "only in the files"
ONLY_IN_DATABASE = "only in the database"
DIFFERS = "differs"
_MAX_LINES, _MAX_LINE = 30, 300
_MAX_DIFFERENCES, _MAX_CHARACTERS = 100, 40_000
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
        fields = {"kind": self.kind, "identity": self.identity, "difference": self.how, "along": self.along}
        return {**fields, "lines": list(self.lines)}


def compare(
    files: Catalog,
    database: Catalog,
    *,
    known: Catalog | None = None,
    unknown: Mapping[Key, bool] = MappingProxyType({}),
) -> list[Difference]:
    """Return what differs, in the order of kinds and names.

    Where ``known`` is given, only what the files have built up to there is known: the objects that they have changed
    since are not compared, and neither is what belongs to these. Nor are the ``unknown`` objects, and what belongs to
    those that are true.
    """
    if unknown:
        whole = {key for key, with_parts in unknown.items() if with_parts}
        files, database = _without(files, unknown.keys(), whole), _without(database, unknown.keys(), whole)
    if known is not None:
        changed = {key for key in {**known, **files} if known.get(key) != files.get(key)}
        files, database = _without(files, changed, changed), _without(database, changed, changed)
    on_one_side = {
        **{key: ONLY_IN_FILES for key in files if key not in database},
        **{key: ONLY_IN_DATABASE for key in database if key not in files},
    }
    everything = {**database, **files}
    heads = {(key[1], how): key for key, how in on_one_side.items() if key[0] != _ORDER}
    parts: dict[Key, Counter[str]] = {}
    found = []
    for key in sorted(everything):
        entry, how = everything[key], on_one_side.get(key, "")
        if how and (head := heads.get((entry.parent, how))):
            while above := heads.get((everything[head].parent, how)):
                head = above
            parts.setdefault(head, Counter())[entry.kind] += 1
        elif how and entry.kind != _ORDER:
            found.append(Difference(*key, how, _one_side(entry, how)))
        elif not how and (lines := _changed_lines(files[key], database[key])):
            found.append(Difference(*key, DIFFERS, lines))
    return [item._replace(along=_along(parts.get((item.kind, item.identity)))) for item in found]


def _without(catalog: Catalog, keys: AbstractSet[Key], whole: AbstractSet[Key]) -> Catalog:
    """Return a catalog without some objects, and without what belongs to the ``whole`` ones."""
    heads = {identity for _, identity in whole}
    return {key: entry for key, entry in catalog.items() if key not in keys and entry.parent not in heads}


def made_by(
    differences: Sequence[Difference], database: Catalog, owners: Collection[str], owned: Collection[Key] = ()
) -> tuple[list[Difference], list[str]]:  # fmt: skip
    """Return the differences without the objects that the files do not make and some roles own, and these in words.

    ``owners`` are quoted as the catalog has them; ``owned`` are objects of theirs whose entries have no owner. A
    comment on such an object goes with it.
    """
    lines = {f"owner {name}" for name in owners}
    extra = [item for item in differences if item.how == ONLY_IN_DATABASE]
    theirs = [
        item
        for item in extra
        if database[key := (item.kind, item.identity)].definition.rpartition("\n")[2] in lines or key in owned
    ]
    names = [f"{item.kind} {item.identity}" for item in theirs]
    apart = {*theirs, *(item for item in extra if item.kind == "comment" and item.identity in names)}
    return [item for item in differences if item not in apart], names


def _along(counts: Counter[str] | None) -> str:
    kinds = [(kind, count) for kind, count in (counts or {}).items() if kind != _ORDER]
    return ", ".join(f"{count} {_plural(kind) if count > 1 else kind}" for kind, count in kinds)


def _plural(kind: str) -> str:
    return _PLURALS.get(kind, f"{kind}s")


def _one_side(entry: CatalogObject, how: str) -> tuple[str, ...]:
    sign = "-" if how == ONLY_IN_FILES else "+"
    return _bounded(f"{sign} {line}" for line in entry.definition.splitlines())


def _changed_lines(files: CatalogObject, database: CatalogObject) -> tuple[str, ...]:
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
    shown = [line if len(line) <= _MAX_LINE else f"{line[:_MAX_LINE]} ..." for line in masked]
    if len(shown) > _MAX_LINES:
        shown[_MAX_LINES:] = [f"  ... {len(shown) - _MAX_LINES} more lines"]
    return tuple(shown)


def difference_fields(differences: Sequence[Difference]) -> dict[str, Any]:
    """Return the fields of an answer: the first differences, and the count of all."""
    return {
        "differences": [item.as_json() for item in truncated(differences)],
        "difference_count": len(differences),
    }


def truncated(differences: Sequence[Difference]) -> list[Difference]:
    """Return as many of the first differences as fit into an answer."""
    shown: list[Difference] = []
    left = _MAX_CHARACTERS
    for item in differences[:_MAX_DIFFERENCES]:
        left -= len(str(item))
        if left < 0 and shown:
            break
        shown.append(item)
    return shown


def in_words(differences: Sequence[Difference], most: int = 3) -> str:
    """Return the first differences as a part of a sentence."""
    first = "; ".join(f"{item.kind} {item.identity} ({item.how})" for item in differences[:most])
    more = len(differences) - most
    return f"{first}; and {more} more" if more > 0 else first
