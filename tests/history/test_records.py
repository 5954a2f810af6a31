"""The row of a file that goes step by step: nobody opens one that another runner has brought to its end."""

from __future__ import annotations

from contextlib import closing

import pytest
from migrator.database.connection import connect
from migrator.database.credentials import from_url
from migrator.database.deadline import Deadline
from migrator.errors import RunLockLost
from migrator.history import AppliedMigration, ApplyRecord, History, RunLock
from migrator.history.rollback_records import RollbackRecord
from migrator.history.rows import Recorded

from tests.plugins.databases import Database

ROW = AppliedMigration("001_a.sql", "001", "x", "applied")


def test_row_that_another_runner_has_finished(database: Database) -> None:
    """A row that says applied is not opened again; one that is at work goes on where it is, with the newer run and text."""
    with closing(connect(from_url(database.url), 1, Deadline(None))) as connection:
        RunLock(connection).acquire(Deadline(5), print)
        History(connection).create()
        ApplyRecord(ROW, "stepwise", 1, 1).open(connection)
        connection.run("UPDATE db_setup.history SET steps = 3")
        assert ApplyRecord(ROW._replace(checksum="y"), "stepwise", 2, 2, "down").open(connection).steps == 3
        found = connection.rows("SELECT position, checksum, run_id, down_sql, state FROM db_setup.history")
        assert found == [(1, "y", 2, "down", "running")]
        connection.run("UPDATE db_setup.history SET state = 'applied'")
        with pytest.raises(RunLockLost, match=r"another runner has applied 001_a\.sql meanwhile"):
            ApplyRecord(ROW, "stepwise", 3, 2).open(connection)
    assert database.query("SELECT run_id FROM db_setup.history") == [(2,)]


def test_row_that_another_runner_has_rolled_back(database: Database) -> None:
    """A row that is gone is not rolled back again."""
    with closing(connect(from_url(database.url), 1, Deadline(None))) as connection:
        History(connection).create()
        with pytest.raises(RunLockLost, match=r"another runner has rolled back 001_a\.sql meanwhile"):
            RollbackRecord(Recorded(1, "001_a.sql", "001", "applied"), 1).open(connection)
