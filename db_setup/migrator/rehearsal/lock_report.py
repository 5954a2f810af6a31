"""What statements did to the tables that were there before: locks, rewrites, scans, and blocked sessions. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from migrator.formatting import mask_passwords
from migrator.sql import Statement, first_code

MODES = (
    "AccessShareLock", "RowShareLock", "RowExclusiveLock", "ShareUpdateExclusiveLock", "ShareLock",
    "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock",
)  # fmt: skip
"""The lock modes of tables, from the weakest, whose strength is 1, to the strongest."""

_CONFLICTS = ({8}, {7, 8}, {5, 6, 7, 8}, {4, 5, 6, 7, 8}, {3, 4, 6, 7, 8}, {3, 4, 5, 6, 7, 8}, {2, 3, 4, 5, 6, 7, 8})
BLOCKS_WRITES = MODES.index("ShareLock") + 1  # the weakest that conflicts with what INSERT, UPDATE and DELETE take
_BLOCKS_READS = len(MODES)

RISKS = ("", "scans", "blocks writes", "blocks reads", "rewrites")  # from the least to the worst
DONE, MET_A_LOCK, OUT_OF_TIME = "done", "lock", "time"
_MOST_ENTRIES, _MOST_TABLES, _MOST_SESSIONS, _MOST_TEXT = 200, 10, 5, 80


class Session(NamedTuple):
    """Another session that holds or awaits a lock on a table."""

    pid: int
    application: str
    strength: int
    waiting: bool


class Touched(NamedTuple):
    """A table that a statement has touched: the strongest lock it newly took (0: none), and what it did.

    Size in bytes and estimated rows are those before the run; rows are -1 where the server has no estimate.
    """

    table: str
    strength: int
    rewritten: bool
    scanned: bool
    size: int
    rows: int

    @property
    def risk(self) -> str:
        """Return the worst that the statement does to other sessions."""
        if self.rewritten:
            return "rewrites"
        if self.strength >= _BLOCKS_READS:
            return "blocks reads"
        if self.strength >= BLOCKS_WRITES:
            return "blocks writes"
        return "scans" if self.scanned else ""

    def body(self) -> dict[str, Any]:
        """Return the table as an answer has it."""
        return {
            "table": self.table,
            "lock": MODES[self.strength - 1] if self.strength else None,
            "rewritten": self.rewritten,
            "scanned": self.scanned,
            "size_bytes": self.size,
            "rows": self.rows if self.rows >= 0 else None,
        }


class StatementLocks(NamedTuple):
    """One statement: its place and time, what it touched, which sessions it would have blocked, and how it ended."""

    migration: str
    line: int
    column: int
    text: str
    seconds: float
    outcome: str = DONE
    touched: tuple[Touched, ...] = ()
    held: tuple[str, ...] = ()
    sessions: tuple[Session, ...] = ()

    @property
    def risk(self) -> str:
        """Return the worst risk among the tables."""
        return max((item.risk for item in self.touched), key=RISKS.index, default="")

    def body(self) -> dict[str, Any]:
        """Return the entry as an answer has it."""
        sessions = [
            {"pid": s.pid, "application": s.application, "lock": MODES[s.strength - 1], "waiting": s.waiting}
            for s in self.sessions[:_MOST_SESSIONS]
        ]
        return {
            "migration": self.migration,
            "line": self.line,
            "column": self.column,
            "statement": self.text,
            "duration_ms": round(self.seconds * 1000),
            "outcome": self.outcome,
            "risk": self.risk or None,
            "tables": [item.body() for item in self.touched[:_MOST_TABLES]],
            "already_locked": list(self.held[:_MOST_TABLES]),
            "sessions": sessions,
        }


def conflicts(strength: int, other: int) -> bool:
    """Return whether two locks on one table exclude each other."""
    return strength == _BLOCKS_READS or other in _CONFLICTS[strength - 1]


def statement_locks(migration: str, statement: Statement, seconds: float) -> StatementLocks:
    """Return the entry of a statement about which nothing but its time is known yet."""
    at = first_code(statement.text)
    before = statement.text[:at]
    newline = before.rfind("\n")
    column = at - newline if newline >= 0 else statement.column + at
    start = statement.text[at : at + 4 * _MOST_TEXT]  # a password that is cut in two must not lose its mark
    text = " ".join(mask_passwords(start).split())
    if len(text) > _MOST_TEXT:
        text = f"{text[: _MOST_TEXT - 3]}..."
    return StatementLocks(migration, statement.line + before.count("\n"), column, text, seconds)


def bounded(entries: Sequence[StatementLocks]) -> list[StatementLocks]:
    """Return the entries, of too many those that matter most, in their order."""
    if len(entries) <= _MOST_ENTRIES:
        return list(entries)

    def weight(position: int) -> tuple[bool, int, float]:
        entry = entries[position]
        return entry.outcome != DONE, RISKS.index(entry.risk), entry.seconds

    chosen = sorted(range(len(entries)), key=weight, reverse=True)[:_MOST_ENTRIES]
    return [entries[position] for position in sorted(chosen)]


class LockEntries:
    """Entries in their order: a bounded number of them, and the count of all."""

    def __init__(self) -> None:
        self._kept: list[StatementLocks] = []
        self.count = 0
        self.seconds = 0.0

    def add(self, entry: StatementLocks) -> None:
        """Add an entry."""
        self._kept.append(entry)
        self.count += 1
        self.seconds += entry.seconds
        if len(self._kept) >= 2 * _MOST_ENTRIES:
            self._kept = bounded(self._kept)

    def merge(self, other: LockEntries) -> None:
        """Add the entries of another object, and its counts."""
        self._kept = [*self._kept, *other._kept]
        self.count += other.count
        self.seconds += other.seconds
        if len(self._kept) >= 2 * _MOST_ENTRIES:
            self._kept = bounded(self._kept)

    def bodies(self) -> list[dict[str, Any]]:
        """Return the entries as an answer has them."""
        return [entry.body() for entry in bounded(self._kept)]

    @property
    def omitted(self) -> int:
        """Return how many are not among the bodies."""
        return max(0, self.count - _MOST_ENTRIES)
