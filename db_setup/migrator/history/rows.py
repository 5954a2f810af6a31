"""Rows of the history, as they are read."""

from __future__ import annotations

from typing import NamedTuple

from migrator.files import Number, parse_number

SCHEMA = "db_setup"
NONE = "none"
"""The target of a baseline for which no file is applied; its run keeps it as message."""


class AppliedMigration(NamedTuple):
    """A row of the history, in the order of application.

    ``state`` is ``applied``, ``running`` for a stepwise file that has not reached its end, or ``reverting`` for one
    whose stepwise down migration has not.
    """

    name: str
    number: str
    checksum: str
    state: str
    applied_at: str = ""  # read only when it is shown

    @property
    def rank(self) -> Number:
        """The number the migration was given, in comparable form."""
        return parse_number(self.number)


class HistorySnapshot(NamedTuple):
    """The history at one moment, and whether the database has tables, or other objects, that are not ours.

    ``first_generation`` says that an earlier version of this tool has left its table; ``none_applied`` that a person
    has said that no file is applied to what is there.
    """

    applied: tuple[AppliedMigration, ...]
    exists: bool
    has_tables: bool
    first_generation: bool = False
    none_applied: bool = False


class Recorded(NamedTuple):
    """A row of the history as a rollback reads it; ``position`` is the order of application."""

    position: int
    name: str
    number: str
    state: str
