"""SQL text to the statements psql would send, streamed.

A statement's text is a piece of the file as it stands, so that a place in the one is a place in the other.
psql itself also drops the empty lines between tokens, which no server can tell.
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


def split(text: str, *, standard_conforming_strings: bool = True) -> Iterator[Statement]:
    """Yield the statements of ``text``."""
    return split_chunks((text,), standard_conforming_strings=standard_conforming_strings)


def split_chunks(chunks: Iterable[str], *, standard_conforming_strings: bool = True) -> Iterator[Statement]:
    """Yield the statements of a text that comes in pieces, cut anywhere."""
    window = Buffer(chunks)
    scanner = Lexer(window, standard_conforming_strings)
    while _find_start(window, scanner):
        start = window.at
        line, column = window.place(start)
        window.at = end = scanner.end_of_statement(start)
        text = window.text[start:end]
        kind, words = classify(text)
        if kind is Kind.COPY_IN:
            yield from _copy(window, scanner, Statement(text, line, column, kind, words))
        else:
            yield Statement(text, line, column, kind, words)
        if words and words[0] in ("set", "reset", "discard"):
            _follow(scanner, text, words, standard_conforming_strings)


def _copy(window: Buffer, scanner: Lexer, statement: Statement) -> Iterator[Statement]:
    """Yield COPY with its data, which begins on the next line; the rest of its own line comes after that."""
    line, column = window.place(window.at)
    end = scanner.end_of_line(window.at)
    rest = window.text[window.at : end]
    window.at = min(end + 1, len(window.text))
    data = CopyData(window)
    yield statement._replace(data=data)
    data.drain()
    if rest.strip():
        window.put_back(rest, line, column)


@functools.cache
def _setting() -> re.Pattern[str]:
    return re.compile(r"standard_conforming_strings\W+(?:to\W+)?(\w+)", re.IGNORECASE | re.ASCII)


def _follow(scanner: Lexer, text: str, words: tuple[str, ...], initial: bool) -> None:
    """Note what a SET or RESET does to the meaning of backslashes in strings.

    It counts from the next statement on, as it does for the server; psql itself sees it on the next line.
    """
    if words[0] != "set":
        if words[1:2] in (("all",), ("standard_conforming_strings",)):
            scanner.standard = initial
    elif value := _setting().search(text):
        word = value[1].lower()
        scanner.standard = initial if word == "default" else word not in _OFF


def _find_start(window: Buffer, scanner: Lexer) -> bool:
    """Go to the first character of the next statement; False at the end of the text."""
    window.trim()
    while True:
        window.at = scanner.end_of_space(window.at)
        char = window.char(window.at)
        if char != "\\":
            return char != ""
        _skip_command(window, scanner)


@functools.cache
def _restrict() -> re.Pattern[str]:
    return re.compile(r"\\(?:un)?restrict(?!\S)")


def _skip_command(window: Buffer, scanner: Lexer) -> None:
    """Pass over the two commands that pg_dump writes; refuse every other."""
    end = scanner.end_of_line(window.at)
    if not _restrict().match(window.text, window.at):
        scanner.refuse(window.at)
    window.at = end
