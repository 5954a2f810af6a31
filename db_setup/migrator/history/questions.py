"""Questions: what only a person can say of a step, as the history keeps it and as an error shows it. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

from migrator.errors import StepUndecided
from migrator.formatting import Location
from migrator.history.rows import QUESTION

_NOTE = re.compile(r"\?(\d+):(\d+) (\S+) (.*)", re.DOTALL)


class Question(NamedTuple):
    """A question about the step that a place is of; ``checksum`` is chained over the steps up to this one."""

    line: int
    column: int
    checksum: str
    text: str

    @property
    def note(self) -> str:
        """The question as the history keeps it."""
        return f"{QUESTION}{self.line}:{self.column} {self.checksum} {self.text}"

    @classmethod
    def parse(cls, note: str) -> Question:
        """Read a note that begins with a question mark; one that is not of ours has no place."""
        found = _NOTE.fullmatch(note)
        return cls(int(found[1]), int(found[2]), found[3], found[4]) if found else cls(1, 1, "", note[1:])


def undecided(name: str, note: str) -> StepUndecided:
    """Return the error for a question about a step of a file."""
    question = Question.parse(note)
    return StepUndecided(question.text, where=Location(name, question.line, question.column), fix=StepUndecided.FIX)
