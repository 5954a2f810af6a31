"""The chain: every applied row of the history has a hash over its facts and over the row before it. Pure.

A row that is changed by hand has another hash than the one that is written in it. A removed one leaves a successor
that still knows its name, or a head, the end of the chain, which is stored with the run that wrote it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

CHANGED, ADDED, REMOVED = "changed", "added", "removed"
_SEALED = "applied"  # the state of the rows in the chain


class ChainRow(NamedTuple):
    """A row of the history: ``facts`` is a hash over all its columns but the last three here."""

    position: int
    name: str
    state: str
    facts: str
    duration_ms: int | None = None
    chain: str | None = None
    previous: str | None = None


class Seal(NamedTuple):
    """What sealing writes into a row: its hash and the name of the row before it, both none outside the chain."""

    name: str
    chain: str | None
    previous: str | None


class TamperedRow(NamedTuple):
    """A row that somebody has changed, added or removed by hand; no name: it is the head, or unknown."""

    name: str
    kind: str
    message: str


class _Head(NamedTuple):
    """The end of the chain: how many rows it has, and hash and name of the last."""

    rows: int
    chain: str
    name: str

    @classmethod
    def parse(cls, text: str) -> _Head | None:
        """Read a head, None where it is none."""
        count, _, rest = text.partition(" ")
        chain, _, name = rest.partition(" ")
        return cls(int(count), chain, name) if count.isdecimal() else None

    def __str__(self) -> str:
        return f"{self.rows} {self.chain} {self.name}"


def seal(rows: Iterable[ChainRow], durations: Mapping[str, int]) -> tuple[list[Seal], str]:
    """Return the seal of each row, in the order of application, and the head; ``durations`` go before a row's own."""
    seals, count, chain, name = [], 0, "", ""
    for row in rows:
        if row.state != _SEALED:
            seals.append(Seal(row.name, None, None))
            continue
        before = name
        count, chain, name = count + 1, _link(chain, row, durations.get(row.name, row.duration_ms)), row.name
        seals.append(Seal(name, chain, before))
    return seals, str(_Head(count, chain, name))


def examine(rows: Sequence[ChainRow], head: str | None) -> list[TamperedRow]:
    """Return what was done by hand since the rows were sealed; without a head they are not, and nothing is said.

    Each row is checked against the row that it names, so that one changed row does not make all that follow suspect.
    """
    if head is None:
        return []
    seals, right = seal(rows, {})
    if right == head and all(row[-2:] == found[-2:] for row, found in zip(rows, seals, strict=True)):
        return []  # nearly always, and three times as fast
    end = _Head.parse(head)
    return _Examination(rows, end).problems if end else [_HEAD_CHANGED]


_HEAD_CHANGED = TamperedRow("", CHANGED, "the end of the chain, history_head in db_setup.runs, was changed by hand")
_COUNT_CHANGED = "the history has {here} rows, and had {count} when the last run ended: the others were {kind} by hand"


class _Examination:
    """The examination of a chain; what is wrong with it stands in ``problems``."""

    def __init__(self, rows: Sequence[ChainRow], end: _Head) -> None:
        self.problems: list[TamperedRow] = []
        self._rows = {row.name: row for row in rows}
        linked = {end.name, *(row.previous or "" for row in rows)}
        self._linked = linked
        self._renamed = any(name not in self._rows for name in linked if name)
        self._made: dict[str, list[str]] = {}  # by name: the hashes that a row may have had
        counted = [row for row in rows if row.chain is not None or row.state == _SEALED]
        before: ChainRow | None = None
        for row in counted:
            self._check(row, before)
            before = row
        self._check_names(counted)
        self._check_end(end, before, len(counted))

    def _check(self, row: ChainRow, before: ChainRow | None) -> None:
        """Check a row against the one that it names, and against the one that stands before it."""
        named = self._rows.get(row.previous or "")
        bases = [*self._hashes(named), *self._hashes(before)]
        if not row.previous or before is None:
            bases.append("")
        made = [_link(base, row, row.duration_ms) for base in dict.fromkeys(bases)]
        if row.chain in made:
            return
        self._made[row.name] = made
        if row.previous and named is None:
            self._remove(row.previous, before)
        else:
            self._report(row)

    def _hashes(self, row: ChainRow | None) -> list[str]:
        """Return what the row behind this one may be made with: the hash that is written, and the right one."""
        return [] if row is None else [row.chain or "", *self._made.get(row.name, ())]

    def _check_names(self, rows: Sequence[ChainRow]) -> None:
        """Find the rows that are right but for the name of the row before; that of a known problem is no other."""
        known = {problem.name for problem in self.problems}
        for before, row in zip(("", *(row.name for row in rows)), rows, strict=False):
            if row.previous != before and not known & {row.name, before, row.previous}:
                self._report(row)

    def _check_end(self, end: _Head, last: ChainRow | None, count: int) -> None:
        named = self._rows.get(end.name)
        if end.rows and end.chain not in {*self._hashes(named), *self._hashes(last)}:
            if named is None:
                self._remove(end.name, last)
            elif not self.problems:
                self.problems.append(_HEAD_CHANGED)
        removed = [index for index, problem in enumerate(self.problems) if problem.kind == REMOVED]
        more = end.rows - count - len(removed)
        if removed and more > 0:
            first = self.problems[removed[0]]
            self.problems[removed[0]] = first._replace(message=f"{first.message} (and {more} more)")
        elif more and not self.problems:
            kind = REMOVED if more > 0 else ADDED
            self.problems.append(TamperedRow("", kind, _COUNT_CHANGED.format(here=count, count=end.rows, kind=kind)))

    def _report(self, row: ChainRow) -> None:
        """Report a row; a name that no row knows is that of a new row, unless a known name is gone."""
        changed = row.name in self._linked or (row.chain is not None and self._renamed)
        kind = CHANGED if changed else ADDED
        self.problems.append(TamperedRow(row.name, kind, f"the history row of {row.name} was {kind} by hand"))

    def _remove(self, name: str, before: ChainRow | None) -> None:
        where = f", which came after {before.name}," if before else ""
        self.problems.append(TamperedRow(name, REMOVED, f"the history row of {name}{where} was removed by hand"))


def _link(base: str, row: ChainRow, duration_ms: int | None) -> str:
    duration = "" if duration_ms is None else duration_ms
    return hashlib.sha256(f"{base} {row.facts} {duration}".encode()).hexdigest()
