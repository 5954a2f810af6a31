"""Where a statement ends: the rules of psql's own scanner (psqlscan.l), which reads line by line.

The lexer jumps from one character that matters to the next, by patterns that are compiled on first use. Only CREATE
FUNCTION and CREATE PROCEDURE are read word by word, for the sake of BEGIN ATOMIC ... END bodies. Commands that only
psql understands are refused with what to write instead.

Only single characters are repeated possessively: Python before 3.11.5 mishandles possessive groups (gh-106052).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from migrator.errors import PsqlCommand, UnterminatedText

if TYPE_CHECKING:
    from migrator.sql.statements import Buffer

# Characters of names, all beyond ASCII among them; as complements, since those are compiled 50 times as fast.
_START, _CONT = r"[^\x00-@\[-^`{-\x7f]", r"[^\x00-/:-@\[-^`{-\x7f]"
_NAME = rf"{_START}[^\x00-#%-/:-@\[-^`{{-\x7f]*+"
MOST_TURNS = 4096  # of a group in one jump, since each costs memory until the jump is over
_BOUND = f"{{0,{MOST_TURNS}}}"
_OTHER = r"[\x00- !#%&*+,<=>?@\[\]^`{|}~\x7f]"  # neither part of a word nor the beginning of anything


@functools.cache
def jump(standard: bool) -> re.Pattern[str]:
    """Return the pattern of what cannot end a statement: plain text, simple strings, balanced parentheses.

    A string is taken here only where a backslash is sure to mean nothing. Each look-ahead wants a character
    to be there, so that nothing is decided at the edge of the buffer.
    """
    string = r"|(?<![eE])'[^']*+(?:''[^']*+)*'(?=[^'])" if standard else ""
    flat = rf"""[^'"$;()\\/-]++|-(?=[^-])|/(?=[^*])|"[^"]*+"(?=[^"]){string}"""
    group = rf"\((?:{flat}|\((?:{flat}){_BOUND}\)){_BOUND}\)"
    return re.compile(rf"(?:{flat}|{group}){_BOUND}")


@functools.cache
def pattern(name: str) -> re.Pattern[str]:
    """Return a pattern by name, compiled on first use: a run with nothing to do needs none of them."""
    return re.compile(_PATTERNS[name], re.DOTALL)


_PATTERNS = {
    "gap": r"(?:[ \t\n\r\f\v]++|--[^\n\r]*+[\n\r])*",
    "comment": r"--[^\n\r]*+|-",
    "slash": r"/\*?",
    "comment edge": r"/\*|\*/",
    "no function": r"(?i:(?!create)[a-z]++(?=[ \t\n])"
    r"|create[ \t\n]++(?!or|function|procedure)[a-z]++(?=[ \t\n]))",
    "no word": rf"{_OTHER}*+",
    "no block": rf"(?:{_OTHER}++|(?!(?i:begin|case|end|[ebxn]'|u&)){_NAME}(?=.)){_BOUND}",
    "token": rf"{_NAME}|(?:[0-9][0-9_]*+(?:\.(?!\.)[0-9_]*+)?|\.[0-9][0-9_]*+)(?:[eE][+-][0-9]++)?"
    rf"(?:{_NAME})?|\$[0-9]++(?:{_NAME})?|::|:=|:{_CONT}++|\.\.|.",
    "dollar": rf"\$[0-9]++(?:{_NAME})?|\$(?:{_START}{_CONT}*+)?\$?+",
    "escape": r"['\\]",
    # A string goes on after white space with a newline in it. psql sees one line at a time, so only a lone CR
    # is such a newline, unless the line ended right after the quote: then it still waits on the next line.
    "waiting": r"(?:[ \t\n\r\f\v]++|--[^\n\r]*+)*-?",
    "goes on": r"\n*+(?:[ \t\f\v]++|--[^\n\r]*+)*\r(?:[ \t\r\f\v]++|--[^\n\r]*+\r)*'",
    "line": r"[^\n]*+",
    "command": r"\\([^\s\\]*)\s*(\S*)",
    "restrict": r"\\(?:un)?restrict(?!\S)",
}

_FIXES = {
    **dict.fromkeys(("i", "ir", "include", "include_relative"), "put the text of that file in a migration of its own"),
    **dict.fromkeys(("c", "connect"), "leave it out: one run works on one database"),
    **dict.fromkeys(("set", "gset", "prompt", "unset"), "leave it out, and write the value where :name stands"),
    **dict.fromkeys(("echo", "qecho", "warn"), "leave it out, or RAISE NOTICE in a DO block"),
    "copy": "write COPY ... FROM stdin; the data on the lines below, \\. on a line of its own after it",
    ".": "leave it out, or put it on a line of its own below the data of a COPY ... FROM stdin;",
    "g": "end the statement with ; instead",
    "gexec": "write a DO block that loops over the query and runs EXECUTE",
    ";": "write ; instead",
}

_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_")
_NO_NAME = frozenset(map(chr, range(128))) - _LETTERS - frozenset("0123456789_.:$")
_ROUTINES = ("function", "procedure")
_PREFIXES = (("e", False), ("b", True), ("x", True), ("u&", True))  # of strings; is a backslash plain?


class Lexer:
    """The rules of psqlscan.l over a buffer; ``standard`` is standard_conforming_strings and may change.

    ``on_comments`` is told where ``--`` comments are: the space between statements, or one comment in a statement
    outside parentheses and blocks.
    """

    def __init__(self, buffer: Buffer, standard: bool) -> None:
        self._buffer = buffer
        self.standard = standard
        self.on_comments: Callable[[int, int], None] | None = None
        self._gap, self._no_function = pattern("gap"), pattern("no function")
        self._floor = 0  # where the last token whose end is known ended: nothing before it is read again
        self._names: list[str] | None = []  # the first names, while they may make a CREATE FUNCTION
        self._depth = self._blocks = 0  # open parentheses; open BEGIN ATOMIC and CASE

    # ---- between statements

    def find_statement(self) -> bool:
        """Go to the first character of the next statement; False at the end of the text."""
        buffer = self._buffer
        if not buffer.complete and buffer.at * 2 >= len(buffer.text):
            buffer.trim()
        while True:
            before, buffer.at = buffer.at, self._end_of_space(buffer.at)
            if self.on_comments:
                self.on_comments(before, buffer.at)
            char = self._char(buffer.at)
            if char != "\\":
                return char != ""
            self._skip_command()

    def _end_of_space(self, at: int) -> int:
        """Return where white space and ``--`` comments end."""
        while True:
            at = self._whole(self._gap, at).end()
            if not self._buffer.text.startswith("-", at):
                return at
            comment = self._whole(pattern("comment"), at)
            if comment[0] == "-":
                return at
            at = comment.end()

    def end_of_line(self, at: int) -> int:
        """Return where the line ends, before its newline."""
        return self._whole(pattern("line"), at).end()

    def _skip_command(self) -> None:
        """Pass over the two commands that pg_dump writes; refuse every other."""
        start = self._buffer.at
        end = self.end_of_line(start)
        if not pattern("restrict").match(self._buffer.text, start):
            self._refuse_command(start)
        self._buffer.at = end

    def _refuse_command(self, at: int) -> NoReturn:
        self.end_of_line(at)
        command = pattern("command").match(self._buffer.text, at)
        name, value = (command[1], command[2]) if command else ("", "")
        raise PsqlCommand(
            f"\\{name} is a psql meta-command, which is not supported",
            fix=fix_of_command(name, value),
            where=self._buffer.location(at),
        )

    # ---- reading the buffer, which is asked for more only where its edge cuts something

    def _whole(self, pattern: re.Pattern[str], at: int) -> re.Match[str]:
        """Match what the edge of the buffer does not cut; the pattern is one that always matches."""
        buffer = self._buffer
        while True:
            match = pattern.match(buffer.text, at)
            assert match is not None
            if match.end() < len(buffer.text) or buffer.complete or not buffer.more():
                return match

    def _char(self, at: int) -> str:
        """Return the character at ``at``, or nothing at the end of the text."""
        buffer = self._buffer
        while at >= len(buffer.text) and not buffer.complete and buffer.more():
            pass
        return buffer.text[at : at + 1]

    def _search(self, what: str, at: int, opened: int, wanted: str) -> int:
        """Return where the string ``wanted`` is; without it, ``what`` was opened and never closed."""
        buffer = self._buffer
        while (found := buffer.text.find(wanted, at)) < 0:
            at = max(at, len(buffer.text) - len(wanted) + 1)
            if not buffer.more():
                self._unterminated(what, opened, wanted)
        return found

    def _unterminated(self, what: str, opened: int, wanted: str) -> NoReturn:
        raise UnterminatedText(
            f"{what} opened here is never closed",
            fix=f"close it with {wanted} where it should end; look for a stray one before it",
            where=self._buffer.location(opened),
        )

    # ---- inside a statement

    def end_of_statement(self, start: int) -> int:
        """Return where the statement that begins at ``start`` ends."""
        buffer = self._buffer
        self._floor, self._depth, self._blocks = start, 0, 0
        self._names = None if self._no_function.match(buffer.text, start) else []
        at = start
        while True:
            match = self._plain().match(buffer.text, at)
            assert match is not None  # it matches the empty string
            jumped, at = match.end() - at, match.end()
            if jumped >= MOST_TURNS or (at == len(buffer.text) and not buffer.complete and buffer.more()):
                continue
            char = buffer.text[at : at + 1]
            if char == ";":
                at += 1
                if not self._depth and not self._blocks:
                    return at
            elif char == "(":
                self._depth, at = self._depth + 1, at + 1
            elif char == ")":
                self._depth, at = max(0, self._depth - 1), at + 1
            elif char:
                at = self._token(char, at)
            else:
                return len(buffer.text.rstrip("\n"))

    def _plain(self) -> re.Pattern[str]:
        """Return the pattern of what has no meaning now."""
        if self._names is None:
            return jump(self.standard)
        return pattern("no block" if self._names and self._names[-1] in _ROUTINES else "no word")

    def _token(self, char: str, at: int) -> int:
        """Return where the token at ``at`` ends."""
        if char == "'":
            self._floor = self._string(at)
        elif char == '"':
            self._floor = self._quoted(at, char, "a quoted name")
        elif char == "$":
            self._floor = self._dollar(at)
        elif char == "-":
            self._floor = self._whole(pattern("comment"), at).end()
            if self.on_comments and not self._depth and not self._blocks:
                self.on_comments(at, self._floor)
        elif char == "/":
            opens = self._whole(pattern("slash"), at)[0] == "/*"
            self._floor = self._comment(at) if opens else at + 1
        elif char == "\\":
            self._refuse_command(at)
        else:
            return self._name(at)
        return self._floor

    def _name(self, at: int) -> int:
        """Return where the word or number at ``at`` ends; note when it opens or closes a block."""
        self._floor = at
        match = self._whole(pattern("token"), at)
        word, end = match[0].lower(), match.end()
        if word[0] not in _LETTERS and word[0] < "\x80":
            return end
        after = self._char(end)
        if (after == "'" and word in ("e", "b", "x", "n")) or (after == "&" and word == "u"):
            return end  # no word, but the beginning of a string
        if self._names is not None and len(self._names) < 4:
            self._names = _function_names(self._names, word)
        if self._names is not None and self._names[-1] in _ROUTINES and not self._depth:
            if word == "begin" or (word == "case" and self._blocks):
                self._blocks += 1
            elif word == "end" and self._blocks:
                self._blocks -= 1
        return end

    def _boundary(self, at: int) -> int:
        """Return the first end of a token at or after ``at``, which may be inside a name or a number."""
        text, start = self._buffer.text, at
        while start > self._floor and text[start - 1] not in _NO_NAME:
            start -= 1
        while start < at:
            start = self._whole(pattern("token"), start).end()
        return start

    def _raw(self, at: int) -> bool:
        """Return whether a backslash means nothing in the string whose quote is at ``at``."""
        text = self._buffer.text
        for prefix, raw in _PREFIXES[:1] if self.standard else _PREFIXES:
            start = at - len(prefix)
            if start >= self._floor and text[start:at].lower() == prefix and self._boundary(start) == start:
                return raw
        return self.standard

    def _string(self, at: int) -> int:
        """Return where the string whose quote is at ``at`` ends."""
        raw = self._raw(at)
        opened = at
        while True:
            at = self._quoted(at, "'", "a string", opened) if raw else self._escaped(at, opened)
            if raw and self.standard:
                return at  # whether the next string goes on with this one makes no difference
            self._whole(pattern("waiting"), at)
            goes_on = pattern("goes on").match(self._buffer.text, at)
            if not goes_on:
                return at
            at = goes_on.end() - 1

    def _quoted(self, at: int, quote: str, what: str, opened: int = -1) -> int:
        opened = at if opened < 0 else opened
        while True:
            at = self._search(what, at + 1, opened, quote) + 1
            if self._char(at) != quote:
                return at

    def _escaped(self, at: int, opened: int) -> int:
        at += 1
        while True:
            found = pattern("escape").search(self._buffer.text, at)
            if not found:
                at = max(at, len(self._buffer.text))
                if not self._buffer.more():
                    self._unterminated("a string", opened, "'")
            elif found[0] == "\\" or self._char(found.end()) == "'":
                at = found.end() + 1
            else:
                return found.end()

    def _dollar(self, at: int) -> int:
        """Return where what the dollar sign at ``at`` begins, or is part of, ends."""
        boundary = self._boundary(at)
        if boundary > at:
            return boundary
        match = self._whole(pattern("dollar"), at)
        tag = match[0]
        if tag[1:2].isdigit():
            return match.end()
        if len(tag) == 1 or tag[-1] != "$":
            return at + 1
        return self._search("a dollar quote", match.end(), at, tag) + len(tag)

    def _comment(self, opened: int) -> int:
        """Return where a block comment ends; comments nest."""
        depth, at = 1, opened + 2
        while depth:
            if edge := pattern("comment edge").search(self._buffer.text, at):
                at = edge.end()
                depth += 1 if edge[0] == "/*" else -1
            else:
                at = max(at, len(self._buffer.text) - 1)
                if not self._buffer.more():
                    self._unterminated("a comment", opened, "*/")
        return at


def _function_names(names: list[str], word: str) -> list[str] | None:
    """Return the names with ``word``, or None once no CREATE [OR REPLACE] FUNCTION begins so."""
    allowed = ("create",), ("or", *_ROUTINES), ("replace",), _ROUTINES
    place = len(names)
    if place == 2 and names[1] != "or":
        return names  # complete
    return [*names, word] if word in allowed[place] else None


def fix_of_command(name: str, value: str) -> str:
    """Return what to write instead of the psql command ``name``."""
    if name == "encoding":
        return f"write SET client_encoding TO '{value or 'UTF8'}';"
    return _FIXES.get(name, "leave it out")
