"""Lock reports without a database: conflicts, risks, places, masks, and what is left out of many entries."""

from __future__ import annotations

import pytest
from migrator.rehearsal.lock_report import (
    MET_A_LOCK,
    MODES,
    LockEntries,
    StatementLocks,
    Touched,
    conflicts,
    statement_locks,
)
from migrator.rehearsal.lock_trace import names_relation
from migrator.sql.statements import split

# From the table of conflicting lock modes in PostgreSQL's manual: the modes that each excludes.
CONFLICTS = {
    "AccessShareLock": {8}, "RowShareLock": {7, 8}, "RowExclusiveLock": {5, 6, 7, 8},
    "ShareUpdateExclusiveLock": {4, 5, 6, 7, 8}, "ShareLock": {3, 4, 6, 7, 8}, "ShareRowExclusiveLock": {3, 4, 5, 6, 7, 8},
    "ExclusiveLock": {2, 3, 4, 5, 6, 7, 8}, "AccessExclusiveLock": {1, 2, 3, 4, 5, 6, 7, 8},
}  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_conflicts(mode: str) -> None:
    """Two locks exclude each other as the manual says."""
    strength = MODES.index(mode) + 1
    assert {other for other in range(1, 9) if conflicts(strength, other)} == CONFLICTS[mode]
    assert all(conflicts(strength, other) == conflicts(other, strength) for other in range(1, 9))


@pytest.mark.parametrize(
    ("lock", "rewritten", "scanned", "risk"),
    [
        ("AccessExclusiveLock", True, True, "rewrites"), ("AccessExclusiveLock", False, True, "blocks reads"),
        ("ExclusiveLock", False, False, "blocks writes"), ("ShareLock", False, True, "blocks writes"),
        ("ShareUpdateExclusiveLock", False, True, "scans"), ("RowExclusiveLock", False, False, ""), ("", False, True, "scans"),
    ],
)  # fmt: skip
def test_risk(lock: str, rewritten: bool, scanned: bool, risk: str) -> None:
    """The risk is the worst that was done to the table."""
    table = Touched("t", MODES.index(lock) + 1 if lock else 0, rewritten, scanned, 0, -1)
    assert (table.risk, table.body()["rows"], table.body()["lock"]) == (risk, None, lock or None)


@pytest.mark.parametrize(
    ("text", "place", "shown"),
    [
        ("SELECT 1;", (1, 1), "SELECT 1;"),
        ("-- why\n  SELECT\n 1;", (2, 3), "SELECT 1;"),
        ("/* c */ SELECT 1;", (1, 9), "SELECT 1;"),
        ("CREATE ROLE r PASSWORD 'secret';", (1, 1), "CREATE ROLE r PASSWORD ********;"),
        (f"SELECT {'x' * 100};", (1, 1), f"SELECT {'x' * 70}..."),
    ],
)
def test_statement(text: str, place: tuple[int, int], shown: str) -> None:
    """A statement stands at its first code, in one line that is cut, without its passwords."""
    entry = statement_locks("001_a.sql", next(split(text)), 0.5)
    assert ((entry.line, entry.column), entry.text, entry.body()["duration_ms"]) == (place, shown, 500)


def test_entries_that_are_left_out() -> None:
    """Of many entries the unfinished, the risky and the slow are left, in their order; all are counted, merged ones, too."""
    entries, others = LockEntries(), LockEntries()
    for line in range(500):
        entries.add(StatementLocks("001_a.sql", line, 1, "SELECT", 9.0 if line == 7 else 1.0))
    others.add(StatementLocks("002_b.sql", 500, 1, "SELECT", 0.0, outcome=MET_A_LOCK))
    others.add(StatementLocks("002_b.sql", 501, 1, "SELECT", 0.0, touched=(Touched("t", 8, False, False, 0, 0),)))
    entries.merge(others)
    lines = [body["line"] for body in entries.bodies()]
    assert (len(lines), entries.count, entries.omitted, lines == sorted(lines)) == (200, 502, 302, True)
    assert {7, 500, 501} <= set(lines)
    assert entries.seconds == 508.0


@pytest.mark.parametrize(
    ("text", "name", "found"),
    [
        ("ALTER TABLE a ADD j int", "a", True), ("ALTER TABLE ab ADD j int", "a", False), ("ALTER TABLE s.a", "a", True),
        ('ALTER TABLE "dol$" ADD j int', "dol$", True), ('ALTER TABLE "q""q" ADD j int', 'q"q', True),
        ("SELECT 'a b'", "a b", True), ("ALTER TABLE axb", "a.b", False), (r'TRUNCATE "a\1"', r"a\1", True),
    ],
)  # fmt: skip
def test_names_in_statements(text: str, name: str, found: bool) -> None:
    """A relation's name is found as a word of its own or in quotes, whatever characters it has."""
    assert names_relation(text, name) == found
