"""Rows of the history, as they are read."""

from __future__ import annotations

from typing import NamedTuple

from migrator.errors import StepUndecided
from migrator.files import Number, parse_number

SCHEMA = "db_setup"
QUESTION = "?"
"""What the note of a step begins with that waits for an answer."""


class AppliedMigration(NamedTuple):
    """A row of the history, in the order of application.

    ``state`` is ``applied``, ``running`` for a stepwise file that has not reached its end, or ``reverting`` for one
    whose stepwise down migration has not. ``question`` is what a person has to answer before it can go on.
    """

    name: str
    number: str
    checksum: str
    state: str
    applied_at: str = ""  # read only when it is shown
    question: str = ""

    @property
    def rank(self) -> Number:
        """The number the migration was given, in comparable form."""
        return parse_number(self.number)

    @property
    def undecided(self) -> StepUndecided:
        """The error of a row with a question."""
        from migrator.history.questions import undecided  # noqa: PLC0415 - for files that wait for an answer

        return undecided(self.name, self.question)


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
