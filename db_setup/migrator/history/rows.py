"""TODO."""

from __future__ import annotations

from typing import NamedTuple

from migrator.files import Number, parse_number


class AppliedMigration(NamedTuple):
    """A row of the history, in the order of application.

    ``state`` is ``applied``, ``running`` for a stepwise file that has not reached its end, or ``reverting`` for one
    whose stepwise way back has not.
    """

    name: str
    number: str
    checksum: str
    state: str
    applied_at: str = ""  # read only when it is told

    @property
    def rank(self) -> Number:
        """Return the number the migration was given, in comparable form."""
        return parse_number(self.number)


class Recorded(NamedTuple):
    """A row of the history as a rollback sees it; ``position`` is the order of application."""

    position: int
    name: str
    number: str
    state: str
