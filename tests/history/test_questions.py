"""Questions: what only a person can say of a step, in the row of the history and in an error."""

from __future__ import annotations

import pytest
from migrator.history.questions import Question, undecided


@pytest.mark.parametrize("question", [Question(12, 3, "sum", "is it done?\nor not"), Question(1, 1, "x", "")])
def test_note_is_read_as_it_was_written(question: Question) -> None:
    """A note has place, checksum and text of the question, and the error shows them."""
    assert Question.parse(question.note) == question
    error = undecided("001_a.sql", question.note)
    assert error.where is not None
    assert (error.where.file, error.where.line, error.where.column, error.what) == ("001_a.sql", question.line, question.column, question.text)


@pytest.mark.parametrize("note", ["?", "?somebody's own", "?1:2 sum", "?x:2 sum text"])
def test_note_of_somebody_else_has_no_place(note: str) -> None:
    """A note that is not of this tool's making is shown as it stands, at the beginning of the file."""
    assert Question.parse(note) == (1, 1, "", note[1:])
