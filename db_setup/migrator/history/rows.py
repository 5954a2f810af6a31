"""Rows of the history, as they are read."""

from __future__ import annotations

from typing import NamedTuple

from migrator.errors import StepUndecided
from migrator.files import Number, parse_number

SCHEMA = "db_setup"
NONE = "none"
"""The target of a baseline for which no file is applied."""
QUESTION = "?"
"""What the note of a step begins with that waits for an answer."""
NEXT_POSITION = f"(SELECT coalesce(pg_catalog.max(position), 0) OPERATOR(pg_catalog.+) 1 FROM {SCHEMA}.history)"
"""The SQL for the place of a row behind all others, where it is not known to who writes it."""
DIGITS = 16  # of a checksum: enough to tell the texts of one file apart
_MOST = 20  # texts that are kept of a file; a stack is rolled back by one package or two


class AppliedMigration(NamedTuple):
    """A row of the history, in the order of application.

    ``state`` is ``applied``, ``running`` for a stepwise file that has not reached its end, or ``reverting`` for one
    whose stepwise down migration has not. ``earlier`` are the beginnings of the checksums that a repeatable file, or
    an edited one that repair has accepted, had before, the oldest first. ``question`` is what a person has to answer
    before it can go on. ``origin`` is who has applied it, in which run.
    """

    name: str
    number: str
    checksum: str
    state: str
    applied_at: str = ""  # read only when it is shown
    earlier: str = ""
    question: str = ""
    origin: str = ""  # read with the date

    @property
    def since(self) -> str:
        """Return when it was applied, as far as that was read, or that it was in part; for a sentence."""
        return (" in part" if self.state == "running" else "") + (f" on {self.applied_at}" if self.applied_at else "")

    @property
    def rank(self) -> Number:
        """The number the migration was given, in comparable form."""
        return parse_number(self.number)

    def had_before(self, checksum: str) -> bool:
        """Return whether a text is one that it had before the one it has now; after a rollback it has none."""
        return bool(self.checksum) and self._knows(checksum)

    def had_when_removed(self, checksum: str) -> bool:
        """Return whether a text is one that a repeatable file had before it was found to be gone."""
        return not self.checksum and self._knows(checksum)

    def _knows(self, checksum: str) -> bool:
        return checksum[:DIGITS] in self.earlier.split()

    def earlier_than(self, checksum: str) -> str:
        """Return what is to be kept as earlier once another text is recorded.

        Of one that comes for the second time, those that came after it are forgotten, so that they may come again.
        """
        texts = [*self.earlier.split(), *([self.checksum[:DIGITS]] if self.checksum else [])]
        own = checksum[:DIGITS]
        return " ".join(texts[: texts.index(own)] if own in texts else texts[-_MOST:])

    @property
    def undecided(self) -> StepUndecided:
        """The error of a row with a question."""
        from migrator.history.questions import undecided  # noqa: PLC0415 - for files that wait for an answer

        return undecided(self.name, self.question)


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
