"""The sequences of the history: no file can move them so that a later run fails, or numbers wrongly."""

from __future__ import annotations

import pytest

from tests.plugins.databases import Database
from tests.plugins.folders import Folder
from tests.plugins.runs import Cli, Invoke

EACH = "DO $$ DECLARE s record; BEGIN FOR s IN SELECT * FROM pg_sequences LOOP {}; END LOOP; END $$;"
NAMED = "format('%I.%I', s.schemaname, s.sequencename)"
MOVES = {
    "setval": EACH.format(f"PERFORM setval({NAMED}, 1, false)"),
    "setval-far": "SELECT setval('db_setup.runs_id_seq', 9e18::bigint), setval('db_setup.history_position_seq', 9e18::bigint);",
    "restart": EACH.format(f"EXECUTE 'ALTER SEQUENCE ' || {NAMED} || ' RESTART'"),
    "restart-column": "ALTER TABLE db_setup.history ALTER position RESTART; ALTER TABLE db_setup.runs ALTER id RESTART;",
    "maximum": EACH.format(f"EXECUTE 'ALTER SEQUENCE ' || {NAMED} || ' MAXVALUE 4'"),
    "no-identity": "ALTER TABLE db_setup.history ALTER position DROP IDENTITY; ALTER TABLE db_setup.runs ALTER id DROP IDENTITY;",
    "rename": "ALTER SEQUENCE db_setup.history_position_seq RENAME TO x; ALTER SEQUENCE db_setup.runs_id_seq RENAME TO y;",
    "revoke": "REVOKE ALL ON ALL SEQUENCES IN SCHEMA db_setup FROM CURRENT_USER;",
}
ROWS = "SELECT position, left(name, 3) FROM db_setup.history ORDER BY position, name"


def write(folder: Folder, number: int, more: str = "", before: str = "") -> None:
    """Write a file that makes a table, and its down migration."""
    folder.write(f"00{number}_t.sql", f"{before}CREATE TABLE t{number} (i int);\n{more}")
    folder.write(f"00{number}_t.down.sql", f"DROP TABLE t{number};")


@pytest.mark.parametrize("before", ["", "-- db_setup: no-transaction\n"], ids=["transaction", "stepwise"])
@pytest.mark.parametrize("move", MOVES)
def test_file_moves_sequences(invoke: Invoke, folder: Folder, database: Database, move: str, before: str) -> None:
    """After a file that moves the sequences the same run and the next go on counting, and rollback knows the order."""
    for number in (1, 2):
        write(folder, number)
    invoke()
    write(folder, 3, MOVES[move], before)
    write(folder, 4)
    invoke()
    write(folder, 5)
    invoke()
    assert database.query(ROWS) == [(number, f"00{number}") for number in range(1, 6)]
    assert database.query("SELECT id, outcome FROM db_setup.runs ORDER BY id") == [(i, "succeeded") for i in (1, 2, 3)]
    assert invoke({"action": "history"})["success"]
    assert invoke({"action": "rollback", "confirm": True, "steps": 2})["rolled_back_migrations"] == ["005_t.sql", "004_t.sql"]


@pytest.mark.parametrize("move", ["setval", "setval-far", "maximum"])
def test_sequences_are_moved_back(invoke: Invoke, folder: Folder, database: Database, move: str) -> None:
    """A run leaves the sequences at the last numbers, where it can: a package of an earlier version counts by them."""
    write(folder, 1, MOVES[move])
    invoke()
    numbers = [("history", "position", 1), ("runs", "id", 1)]
    for table, column, last in numbers:
        sequence = f"pg_get_serial_sequence('db_setup.{table}', '{column}')"
        assert database.query(f"SELECT nextval({sequence})") == [(last + 1,)]


def test_place_is_not_given_twice(invoke: Invoke, folder: Folder, database: Database) -> None:
    """The place of a migration that was rolled back is nobody else's, so that no cut-off rollback takes one for the other."""
    for number in (1, 2):
        write(folder, number)
    invoke()
    invoke({"action": "rollback", "confirm": True})
    invoke()
    assert database.query(ROWS) == [(1, "001"), (3, "002")]


def test_other_ways_to_a_row(cli: Cli, invoke: Invoke, folder: Folder, database: Database) -> None:
    """A baseline counts on from the rows that are there, wherever the sequences are."""
    write(folder, 1, MOVES["setval"])
    write(folder, 2)
    database.execute("CREATE TABLE t1 (i int); CREATE TABLE t2 (i int)")
    invoke({"action": "baseline", "target_revision": "1", "confirm": True})
    database.execute(MOVES["setval"])
    invoke({"action": "baseline", "target_revision": "2", "confirm": True})
    assert database.query(ROWS) == [(1, "001"), (2, "002")]
