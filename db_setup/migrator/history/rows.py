"""Rows of the history, as they are read."""

from __future__ import annotations

from typing import NamedTuple

from migrator.files import Number, parse_number

SCHEMA = "db_setup"


class AppliedMigration(NamedTuple):
    """A row of the history, in the order of application.

    ``state`` is ``applied``, ``running`` for a stepwise file that has not reached its end, or ``reverting`` for one
    whose stepwise down migration has not. ``earlier`` are the beginnings of the checksums of a repeatable file's texts
    before this one, the oldest first.
    """

    name: str
    number: str
    checksum: str
    state: str
    applied_at: str = ""  # read only when it is shown
    earlier: str = ""

    @property
    def rank(self) -> Number:
        """The number the migration was given, in comparable form."""
        return parse_number(self.number)


class HistorySnapshot(NamedTuple):
    """The history at one moment, and whether the database has tables that are not ours.

    ``first_generation`` says that an earlier version of this tool has left its table.
    """

    applied: tuple[AppliedMigration, ...]
    exists: bool
    has_tables: bool
    first_generation: bool


class Recorded(NamedTuple):
    """A row of the history as a rollback reads it; ``position`` is the order of application."""

    position: int
    name: str
    number: str
    state: str
