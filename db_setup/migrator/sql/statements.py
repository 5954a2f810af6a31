"""SQL text to the statements psql would send, streamed through a buffer, with the data of COPY.

A statement's text is a piece of the file as it stands, so that a place in the one is a place in the other.
psql itself also drops the empty lines between tokens, which makes no difference to a server.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from migrator.formatting import Location
from migrator.sql.classify import Kind, classify, concurrently, contains_any, without_comments
from migrator.sql.lexer import Lexer

__all__ = ["CopyData", "Kind", "Statement", "sets_reading", "split", "split_chunks"]

_MAX_LINE = 10_000  # characters of a line that are kept for the sake of an error message
OnComments = Callable[[str, int, int, Callable[[int], Location]], None]
"""What is told the text in memory, where in it comments begin and end, and how an offset becomes a place."""
_MUCH = 1 << 20  # characters of a statement
_READING = ("standard_conforming_strings", "backslash_quote", "client_encoding")
_NAMED = re.compile(r'"(?:[^"]|"")*"')
_OFF = frozenset(("off", "of", "false", "f", "no", "n", "0"))


@functools.cache
def _end_of_data() -> re.Pattern[str]:
    return re.compile(r"\n\\\.\r?(?:\n|\Z)")


class Buffer:
    """The part of the text that is in memory; ``at`` is the place of the reader.

    ``complete``: nothing follows ``text`` any more.
    """

    def __init__(self, text: str, chunks: Iterable[str] = (), file_name: str = "") -> None:
        self._file_name = file_name
        self._chunks = iter(chunks)
        self._started = text != ""  # a byte order mark at the very beginning is no part of the text
        self.text = text.removeprefix("\ufeff")
        self.complete = chunks == ()
        self.at = 0
        self._line, self._line_start, self._counted = 1, 0, 0
        self._jump = 0  # lines of COPY data between a rest of line that was put back and what follows it

    def more(self) -> bool:
        """Append as much again as there is, so that a long statement costs linear time; False at the end.

        Of much it is a quarter: what comes behind a very long statement is in memory with it.
        """
        wanted = len(self.text) // (4 if len(self.text) > _MUCH else 1)
        pieces, size = [self.text], 0
        for chunk in self._chunks:
            pieces.append(chunk if self._started else chunk.removeprefix("\ufeff"))
            self._started = self._started or chunk != ""
            size += len(chunk)
            if size > wanted:
                break
        else:
            self.complete = True
        self.text = "".join(pieces)
        return size > 0

    def place(self, at: int) -> tuple[int, int]:
        """Return line and column of ``at``, which never goes back."""
        if newlines := self.text.count("\n", self._counted, at):
            self._line += newlines + self._jump
            self._line_start = self.text.rfind("\n", self._counted, at) + 1
            self._jump = 0
        self._counted = at
        return self._line, at - self._line_start + 1

    def location(self, at: int) -> Location:
        """Return the place of ``at`` with the text of its line."""
        line, column = self.place(at)
        end = self.text.find("\n", at)
        end = end if end >= 0 else len(self.text)
        text = self.text[self._line_start : end] if self._line_start >= 0 else ""
        return Location(self._file_name, line, column, text.rstrip("\r")[:_MAX_LINE])

    def trim(self) -> None:
        """Forget what lies before the current line, once it is more than half of the text in memory."""
        if self.at * 2 < len(self.text):
            return
        self.place(self.at)
        cut = self._line_start if 0 < self.at - self._line_start < _MAX_LINE else self.at - 1
        if cut > 0:
            self.text = self.text[cut:]
            self.at, self._counted = self.at - cut, self._counted - cut
            self._line_start -= cut

    def put_back(self, rest: str, line: int, column: int) -> None:
        """Read ``rest``, which stood at ``line`` and ``column``, before what follows."""
        self._jump = self.place(self.at)[0] - line - 1
        self.text = f"{rest}\n{self.text[self.at :]}"
        self.at, self._counted, self._line, self._line_start = 0, 0, line, 1 - column


class CopyData:
    """The lines after COPY ... FROM STDIN, up to the line that holds a backslash and a dot."""

    def __init__(self, buffer: Buffer) -> None:
        self._buffer = buffer
        self._stop = buffer.at  # up to here the text is nothing but data
        self._next = -1  # where the text goes on after the data, once known

    def read(self, size: int = -1) -> str:
        """Return up to ``size`` characters, all of them for -1, none at the end."""
        pieces: list[str] = []
        buffer = self._buffer
        while size and self._ready():
            stop = self._stop if size < 0 else min(self._stop, buffer.at + size)
            pieces.append(buffer.text[buffer.at : stop])
            size -= stop - buffer.at if size > 0 else 0
            buffer.at = stop
        return "".join(pieces)

    def drain(self) -> None:
        """Pass over what was not read, and go on behind the data."""
        while self._ready():
            self._buffer.at = self._stop
        self._buffer.at = self._next

    def _ready(self) -> bool:
        """Find more data; False when there is none."""
        while self._buffer.at >= self._stop and self._next < 0:
            self._advance()
        return self._buffer.at < self._stop

    def _advance(self) -> None:
        buffer = self._buffer
        buffer.trim()
        self._stop = buffer.at
        end = _end_of_data().search(buffer.text, buffer.at - 1)
        if end and (end[0].endswith("\n") or not buffer.more()):
            self._stop, self._next = end.start() + 1, end.end()
        elif not end:
            last = buffer.text.rfind("\n", buffer.at - 1)
            cut = "\n\\.\r".startswith(buffer.text[last:]) if last >= 0 else False
            self._stop = last + 1 if cut else len(buffer.text)
            if self._stop <= buffer.at and not buffer.more():
                self._stop = self._next = len(buffer.text)


class Statement(NamedTuple):
    """One statement: the text as psql sends it, its 1-based place, and what is known of it.

    ``standard_strings`` is the value of standard_conforming_strings by which its text was read.
    """

    text: str
    line: int
    column: int
    kind: Kind
    words: tuple[str, ...] = ()
    data: CopyData | None = None
    standard_strings: bool = True

    @property
    def is_concurrent(self) -> bool:
        """Whether it is to be done CONCURRENTLY, so that nobody queues behind it while it waits."""
        return concurrently().search(_NAMED.sub("", without_comments(self.text))) is not None


def sets_reading(statement: Statement) -> bool:
    """Return whether a statement may change how the server reads the text after it.

    Not SET alone: a block of code, or set_config(), changes such a setting as well.
    """
    return contains_any(statement.text, *_READING)


def split(text: str, file_name: str = "", *, standard_conforming_strings: bool = True) -> Iterator[Statement]:
    """Yield the statements of ``text``; raises TextError and its kinds with the place in the file."""
    return _split(text, (), file_name, standard_conforming_strings)


def split_chunks(
    chunks: Iterable[str],
    file_name: str = "",
    *,
    standard_conforming_strings: bool = True,
    on_comments: OnComments | None = None,
) -> Iterator[Statement]:
    """Yield the statements of a text that comes in pieces, cut anywhere.

    ``on_comments`` is told where comments with ``--`` are, before the statement that they stand in front of or in.
    """
    return _split("", chunks, file_name, standard_conforming_strings, on_comments)


def _split(
    text: str, chunks: Iterable[str], file_name: str, standard: bool, on_comments: OnComments | None = None
) -> Iterator[Statement]:  # fmt: skip
    buffer = Buffer(text, chunks, file_name)
    lexer = Lexer(buffer, standard)
    if on_comments:
        lexer.on_comments = lambda start, end: on_comments(buffer.text, start, end, buffer.location)
    while lexer.find_statement():
        start = buffer.at
        line, column = buffer.place(start)
        buffer.at = end = lexer.end_of_statement(start)
        text = buffer.text[start:end]
        kind, words = classify(text)
        statement = Statement(text, line, column, kind, words, None, lexer.standard)
        if len(text) > _MUCH:
            buffer.trim()  # or it would be in memory twice while it runs
        if kind is Kind.COPY_IN:
            yield from _copy(buffer, lexer, statement)
        else:
            yield statement
        if words and words[0] in ("set", "reset", "discard"):
            _follow(lexer, text, words, standard)


def _copy(buffer: Buffer, lexer: Lexer, statement: Statement) -> Iterator[Statement]:
    """Yield COPY with its data, which begins on the next line; the rest of its own line comes after that."""
    line, column = buffer.place(buffer.at)
    end = lexer.end_of_line(buffer.at)
    rest = buffer.text[buffer.at : end]
    buffer.at = min(end + 1, len(buffer.text))
    data = CopyData(buffer)
    yield statement._replace(data=data)
    data.drain()
    if rest.strip():
        buffer.put_back(rest, line, column)


@functools.cache
def _setting() -> re.Pattern[str]:
    return re.compile(r"standard_conforming_strings\W+(?:to\W+)?(\w+)", re.IGNORECASE | re.ASCII)


def _follow(lexer: Lexer, text: str, words: tuple[str, ...], initial: bool) -> None:
    """Note what a SET or RESET does to the meaning of backslashes in strings.

    It counts from the next statement on, as it does for the server; psql itself sees it on the next line.
    """
    if words[0] != "set":
        if words[1:2] in (("all",), ("standard_conforming_strings",)):
            lexer.standard = initial
    elif value := _setting().search(text):
        word = value[1].lower()
        lexer.standard = initial if word == "default" else word not in _OFF
