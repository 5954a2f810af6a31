"""The clauses of one statement, as far as its text shows them: what a rule about statements asks. Pure."""

from __future__ import annotations

import re
from functools import cached_property

from migrator.sql import Statement, first_code
from migrator.sql.mentions import code_of, mentions
from migrator.sql.relation_names import TABLE, last_name

_CATALOGS = ("information_schema", "pg_catalog")
_VERB = re.compile(r"[a-z]+", re.IGNORECASE)
_ALTERED = re.compile(
    rf"\s*alter\s+(?:foreign\s+)?table\s+(?:if\s+exists\s+)?(?:only\s+)?(?P<name>{TABLE})\s*\*?", re.IGNORECASE
)
_WHERE = re.compile(
    r"\bwhere\b(?P<condition>.*?)(?:\b(?:group|order|limit|returning|on\s+conflict)\b|$)", re.IGNORECASE | re.DOTALL
)
_PART = re.compile(r'(?:"(?:[^"]|"")*"|[^,"])+')
_FEW = re.compile(r"\blimit\s+\d|\bwhere\s+current\s+of\b|\bfetch\s+(?:first|next)\b", re.IGNORECASE)
_EQUALS = re.compile(r"(?<![<>!=])=|\bin\s*(?=\()", re.IGNORECASE)
_VALUE = re.compile(r"\s*(?:[+-]?\d|e?'|\$\w*\$|u&')", re.IGNORECASE)
_FETCHES = re.compile(r"\s*\(\s*select\b", re.IGNORECASE)


class Clauses:
    """A statement's text without comments and strings (``code``), and without what parentheses hold (``flat``).

    A place in either is the same in the text as it stands.
    """

    def __init__(self, statement: Statement) -> None:
        self.statement = statement

    @cached_property
    def code(self) -> str:
        """The text with spaces in place of comments and strings."""
        return code_of(self.statement)

    @cached_property
    def flat(self) -> str:
        """The code with spaces in place of what is within parentheses."""
        return flattened(self.code)

    @cached_property
    def verb(self) -> str:
        """The first word, in lower case."""
        found = _VERB.match(self.statement.text, first_code(self.statement.text))
        return found[0].lower() if found else ""

    @cached_property
    def altered(self) -> str:
        """The name of the table of an ALTER TABLE, as it is written; empty for another statement."""
        found = self._alters()
        return found["name"] if found else ""

    def actions(self) -> list[str]:
        """Return the parts of an ALTER TABLE, flat and in lower case: what stands between its commas."""
        found = self._alters()
        return [" ".join(part.lower().split()) for part in _PART.findall(self.flat, found.end())] if found else []

    def _alters(self) -> re.Match[str] | None:
        return _ALTERED.match(self.code) if self.statement.words[:1] == ("alter",) else None

    def named(self, pattern: re.Pattern[str]) -> list[str]:
        """Return the names, as the server has them, that a pattern finds in the code as its ``name``."""
        return [last_name(found["name"]) for found in pattern.finditer(self.code)]

    def tables(self) -> list[str]:
        """Return the tables that the statement names, but for what a CREATE makes; no functions, no catalogs."""
        found = []
        for mention in mentions(self.statement, self.code):
            ours = mention.schema not in _CATALOGS and not mention.name.startswith("pg_")
            if ours and not self._is_call(mention.offset):
                found.append(mention.name)
        return found

    def _is_call(self, offset: int) -> bool:
        """Return whether a name is that of a function: in front of parentheses, and not the target of an INSERT."""
        behind = re.match(rf"{TABLE}\s*\(", self.code[offset:], re.IGNORECASE)
        before = self.code[:offset].split()[-1:]
        return behind is not None and [word.lower() for word in before] in (["from"], ["join"], ["lateral"], [","])

    def is_narrow(self) -> bool:
        """Return whether the WHERE clause compares something with a value, or a few, and has no OR; or a LIMIT is set.

        Whether an index serves it, no text shows.
        """
        if _FEW.search(self.flat):
            return True
        found = _WHERE.search(self.flat)
        if found is None or re.search(r"\bor\b", found["condition"], re.IGNORECASE):
            return False
        start, end = found.span("condition")
        return any(self._is_of_few(match) for match in _EQUALS.finditer(self.flat, start, end))

    def _is_of_few(self, comparison: re.Match[str]) -> bool:
        at = comparison.end()
        if comparison[0].startswith("="):
            return bool(_VALUE.match(self.statement.text, at) or _FETCHES.match(self.code, at))
        if re.search(r"\bnot\s+$", self.flat[: comparison.start()], re.IGNORECASE):
            return False
        inner = self.code[at : self.flat.find(")", at)]
        return not _FETCHES.match(inner) or _FEW.search(inner) is not None


def flattened(code: str) -> str:
    """Return code with spaces in place of what is within parentheses, but for quoted names, which may hold some."""
    pieces, depth, at = [], 0, 0
    for found in re.finditer(r'"(?:[^"]|"")*"|[()]', code):
        piece = code[at : found.start()]
        pieces.append(" " * len(piece) if depth else piece)
        closes = found[0] == ")"
        depth = max(0, depth - closes)
        pieces.append(" " * len(found[0]) if depth else found[0])
        depth += found[0] == "("
        at = found.end()
    return "".join(pieces) + (" " * len(code[at:]) if depth else code[at:])


def after(words: str) -> re.Pattern[str]:
    """Return the pattern of the name of a table that comes after some words."""
    return re.compile(rf"\b{words}\s+(?:only\s+)?(?P<name>{TABLE})", re.IGNORECASE)


def begins_with(words: str) -> re.Pattern[str]:
    """Return the pattern of a statement that begins with some words and a name."""
    return re.compile(rf"\s*{words}(?P<name>{TABLE})", re.IGNORECASE)
