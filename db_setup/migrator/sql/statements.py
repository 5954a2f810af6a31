"""SQL text to the statements psql would send, streamed.

A statement's text is a piece of the file as it stands, so that a place in the one is a place in the other.
psql itself also drops the empty lines between tokens, which makes no difference to a server.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from migrator.sql.buffer import Buffer, CopyData
from migrator.sql.classify import Kind, classify
from migrator.sql.lexer import Lexer

__all__ = ["CopyData", "Kind", "Statement", "split", "split_chunks"]

_OFF = frozenset(("off", "of", "false", "f", "no", "n", "0"))


class Statement(NamedTuple):
    """One statement: the text as psql sends it, its 1-based place, and what is known of it."""

    text: str
    line: int
    column: int
    kind: Kind
    words: tuple[str, ...] = ()
    data: CopyData | None = None


def split(text: str, file_name: str = "", *, standard_conforming_strings: bool = True) -> Iterator[Statement]:
    """Yield the statements of ``text``; raises TextError and its kinds with the place in the file."""
    return _split(text, (), file_name, standard_conforming_strings)


def split_chunks(
    chunks: Iterable[str], file_name: str = "", *, standard_conforming_strings: bool = True
) -> Iterator[Statement]:
    """Yield the statements of a text that comes in pieces, cut anywhere."""
    return _split("", chunks, file_name, standard_conforming_strings)


def _split(text: str, chunks: Iterable[str], file_name: str, standard: bool) -> Iterator[Statement]:
    buffer = Buffer(text, chunks, file_name)
    lexer = Lexer(buffer, standard)
    while lexer.find_statement():
        start = buffer.at
        buffer.at = end = lexer.end_of_statement(start)
        line, column = buffer.place(start)
        text = buffer.text[start:end]
        kind, words = classify(text)
        if kind is Kind.COPY_IN:
            yield from _copy(buffer, lexer, Statement(text, line, column, kind, words))
        else:
            yield Statement(text, line, column, kind, words)
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
