"""The ledger: what a file that is run leaves in the history, inside its own transaction or step by step."""

from __future__ import annotations

from migrator.connection import Connection
from migrator.journal import Journal, close_journal, open_journal
from migrator.light import Protocol
from migrator.migration import AppliedMigration
from migrator.plan import Pending
from migrator.record import record_sql
from migrator.script import Script


class Ledger(Protocol):
    """The records of one direction. Each of them fails where another runner has the run lock."""

    def recorded_name(self, script: Script, /) -> str:
        """Return the name that the history has, or will have, for what a script is about."""

    def record_sql(self, connection: Connection, pending: Pending, script: Script, run_id: int, /) -> str:
        """Return the statement that records a file inside its transaction."""

    def open(self, connection: Connection, pending: Pending, script: Script, run_id: int, /) -> Journal:
        """Record that a stepwise file is at work, and return how far it has come."""

    def close(self, connection: Connection, name: str, /) -> None:
        """Record that a stepwise file has come to its end."""


class Forward:
    """The records of files that are applied: a row for each."""

    def recorded_name(self, script: Script) -> str:
        """Return the name of the file."""
        return script.migration.name

    def record_sql(self, connection: Connection, pending: Pending, script: Script, run_id: int) -> str:
        """Return the statement that adds the row."""
        return record_sql(connection, _row(pending, "applied"), script.mode, run_id, script.down)

    def open(self, connection: Connection, pending: Pending, script: Script, run_id: int) -> Journal:
        """Add the row, or find how far an earlier run has come."""
        return open_journal(connection, _row(pending, "running"), run_id, script.down)

    def close(self, connection: Connection, name: str) -> None:
        """Mark the row as applied."""
        close_journal(connection, name)


def _row(pending: Pending, state: str) -> AppliedMigration:
    return AppliedMigration(pending.migration.name, pending.number, pending.migration.checksum, state)


FORWARD = Forward()
