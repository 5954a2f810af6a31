"""The part of a file that another tool takes for its down migration, below a mark of its own, and does not run forward.

Whether a line is a comment, and what follows it, is as psql's lexer has it. A file is read piece by piece.
"""

from __future__ import annotations

from collections.abc import Callable

from migrator.errors import DownSection, TextError
from migrator.files import Migration, down_name
from migrator.files.foreign import FORWARD_ONLY, Mark, marks_in
from migrator.formatting import Location, cut
from migrator.sql import Kind, Statement, first_code, read_text, split_chunks

_NO_PART = frozenset({Kind.COMMIT, Kind.ROLLBACK, Kind.PREPARE_TRANSACTION, Kind.BEGIN, Kind.EMPTY, Kind.ENCODING})
"""Statements that make no down migration by themselves, such as the COMMIT at the end of a file."""
_LONGEST_MARK = 60  # bytes that are shown


def down_section(migration: Migration) -> DownSection | None:
    """Return the error for a file with statements below another tool's mark for its down migration, None for others.

    What the lexer refuses is for those to raise who run the file: up to there a section is found all the same.
    Raises UnreadableFile.
    """
    if not migration.marked:
        return None
    reader = _Reader(migration.name)
    pieces = read_text(migration.name, migration.path, migration.size)
    try:
        for statement in split_chunks(pieces, migration.name, on_comments=reader.note):
            reader.add(statement)
            if reader.found:
                break
    except TextError:
        return None
    return reader.found


class _Reader:
    """The last mark, while what follows it belongs to a down migration."""

    def __init__(self, name: str) -> None:
        self.found: DownSection | None = None
        self._name = name
        self._mark: Mark | None = None
        self._where = Location("", 0, 0)
        self._doubtful = False  # the mark has to be followed by one for up, which has not come yet
        self._below = 0  # the line of the first statement below such a mark
        self._begun = False  # with a statement, or a mark for up

    def note(self, text: str, start: int, end: int, location: Callable[[int], Location]) -> None:
        """Note the marks among comments."""
        for mark in marks_in(text, start, end):
            if mark.down:
                if self._mark is None or self._doubtful:
                    self._mark, self._where, self._below = mark, location(mark.start), 0
                    self._doubtful = mark.divides and not self._begun
            elif self._mark is not None and mark.family == self._mark.family:
                if self._below and not self.found:
                    self.found = self._error(self._below)
                self._mark, self._doubtful, self._begun = None, False, True
            else:
                self._begun = True

    def add(self, statement: Statement) -> None:
        """Find out whether a statement belongs to a down migration."""
        if statement.kind in _NO_PART:
            return
        self._begun = True
        if self._mark is None or self.found or not self._is_below(statement):
            return
        offset = self._offset_in(statement)
        line = statement.line if offset < 0 else self._where.line + 1
        if self._doubtful and first_code(statement.text) >= offset:
            self._below = self._below or line
        else:
            self.found = self._error(line)

    def _is_below(self, statement: Statement) -> bool:
        """Return whether a statement, or something in it, comes after the mark."""
        assert self._mark is not None
        offset = self._offset_in(statement)
        if offset < 0:
            return True
        rest = statement.text[offset + len(self._mark.text) :]
        return rest[first_code(rest) :].strip("; \t\r\n") != ""

    def _offset_in(self, statement: Statement) -> int:
        """Return where the mark is in a statement's text, less than 0 for a mark before it."""
        down, at = self._where.line - statement.line, -1
        if down <= 0:
            return self._where.column - statement.column if down == 0 else -1
        for _ in range(down):
            at = statement.text.index("\n", at + 1)
        return at + self._where.column

    def _error(self, line: int) -> DownSection:
        """Return the error, with the place of the mark; ``line`` is where the down migration begins."""
        assert self._mark is not None
        name = self._name
        return DownSection(
            f'{name} has a down migration below "{cut(self._mark.text, _LONGEST_MARK)}" ({self._mark.tool}), '
            f"from line {line} on, which is not run forward",
            where=self._where,
            fix=f"split the file: move that part to {down_name(name.rpartition('/')[2])}, which rollback runs; "
            f"if it is to be run forward all the same, write {FORWARD_ONLY}",
        )
