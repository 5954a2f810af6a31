"""Formatting: places in files, the line with its caret, and texts that are fit to be shown. Imports nothing of ours."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

_MAX_LINE = 100  # characters


class Location(NamedTuple):
    """A place in a migration file: 1-based line and column, and the text of that line."""

    file: str
    line: int
    column: int
    text: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    def excerpt(self) -> str:
        """Return the line with a caret under the column, cut to a window around it, passwords masked."""
        window = _MAX_LINE if self.text.isascii() else _MAX_LINE // 2
        start = max(0, self.column - 1 - window * 2 // 3)
        shown = mask_passwords(self.text).replace("\t", " ").rstrip("\r\n")[start : start + window]
        gutter = f"{self.line} | "
        before = shown[: self.column - 1 - start].ljust(self.column - 1 - start)
        return f"  {gutter}{shown}\n  {' ' * (len(gutter) + _width(before))}^"


class AtWork(NamedTuple):
    """The statement that was at work when the time of a run was over, or the first of several that were sent together.

    ``seconds`` is how long they were at work, ``runs`` how many runs in a row have ended there, with this one.
    """

    where: Location
    statements: int
    last_line: int
    seconds: float
    runs: int = 1

    def body(self) -> dict[str, Any]:
        """Return what JSON has of it."""
        return {
            "file": self.where.file,
            "line": self.where.line,
            "last_line": self.last_line,
            "statements": self.statements,
            "duration_ms": int(self.seconds * 1000),
            "runs": self.runs,
        }


def cut(text: str, size: int) -> str:
    """Return ``text`` cut to ``size`` bytes of UTF-8, marked where something is missing."""
    raw = printable(text).encode()
    return raw.decode() if len(raw) <= size else raw[: size - 3].decode("utf-8", "ignore") + "..."


def printable(text: str) -> str:
    """Return ``text`` with what UTF-8 cannot say (half a surrogate pair) written as an escape."""
    return text.encode("utf-8", "backslashreplace").decode()


def _width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    import unicodedata  # noqa: PLC0415 - only errors need it

    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(map(bool, map(unicodedata.combining, text)))


@cache
def _secret() -> re.Pattern[str]:
    """Return the pattern of a password in SQL; compiled late, since only errors need it."""
    return re.compile(
        r"""\bpassword\b (?: \s | [=:] | \bto\b | \bis\b | /\*.*?\*/ | --[^\n]*\n )*
            (?P<literal> '{2,}[^']+'{2,} | (?:[en]|u&)?'(?:[^'\\]|\\.|'')*'? | \$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|$) )
          | \bpassword\s*=\s*(?P<bare> [^\s'"]+ )
          | "[^"\s]*password[^"\s]*"\s*:\s*(?P<json> "(?:[^"\\]|\\.)*"? )
          | ://[^\s:/@']*:(?P<url> [^\s@/']+ )(?=@)""",
        re.IGNORECASE | re.DOTALL | re.VERBOSE,
    )


def mask_passwords(text: str) -> str:
    """Return ``text`` with asterisks, one for each character, in place of what looks like a password in SQL."""
    return _secret().sub(_masked, text) if "password" in text.lower() or "://" in text else text


def _masked(found: re.Match[str]) -> str:
    start, end = next(found.span(name) for name in ("literal", "bare", "json", "url") if found[name] is not None)
    whole = found[0]
    hidden = re.sub(r"[^\n]", "*", whole[start - found.start() : end - found.start()])
    return whole[: start - found.start()] + hidden + whole[end - found.start() :]


def mask_values(text: str) -> str:
    """Return a line of a statement with asterisks, one for each character, in place of its strings and numbers."""
    return _value().sub(lambda found: re.sub(r"[^'$\s]", "*", found[0]), mask_passwords(text))


@cache
def _value() -> re.Pattern[str]:
    return re.compile(r"""'(?:[^']|'')*'?|\$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|\Z)|(?<![\w".$])\d[\w.]*""")


def counted(count: int) -> str:
    """Return "1 migration", "2 migrations"."""
    return f"{count} migration{'' if count == 1 else 's'}"


def listed(names: Sequence[str], most: int = 6) -> str:
    """Return names as a list for a sentence, the middle of a long one left out."""
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[: most - 1])}, ... ({len(names) - most} more), {names[-1]}"


def quoted(name: str) -> str:
    """Return a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
