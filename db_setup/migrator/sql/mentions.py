"""Where the text of a statement names relations, and which calls and names stand in its code. Pure.

A text is looked at without its comments and strings, each place in it being that in the text as it stands. What a word
means follows from the clause that it is in: an alias, a column, or a CTE of the name of a table is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from migrator.sql.classify import Kind
from migrator.sql.relation_names import as_stored
from migrator.sql.statements import Statement

TEMPORARY_SCHEMA = "pg_temp"

_HIDDEN = re.compile(
    r"""--[^\n\r]*|/\*(?:[^*/]|\*(?!/)|/(?!\*)|/\*(?:[^*]|\*(?!/))*\*/)*\*/
    |(?:\b[eE])'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|(?P<quoted>"(?:[^"]|"")*")|(?P<tag>\$(?:[^\W\d]\w*)?\$)""",
    re.VERBOSE | re.DOTALL,
)
_TOKEN = re.compile(r'"(?:[^"]|"")+"|[^\W\d][\w$]*|[(),.]')
_STARTS = frozenset((
    "from", "join", "into", "update", "table", "using", "truncate", "copy", "vacuum", "analyze", "analyse", "lock",
    "references", "view", "sequence", "cluster", "index", "refresh",
))  # fmt: skip
_STARTS_OF_DEFINITIONS = frozenset(("on", "like"))
_LISTS = frozenset(("from", "using", "table", "truncate", "vacuum", "analyze", "analyse", "lock", "view", "sequence"))
_BETWEEN = frozenset((
    "only", "if", "not", "exists", "temp", "temporary", "unlogged", "concurrently", "lateral", "foreign",
    "materialized", "verbose", "full", "freeze", "recursive", "local", "global",
))  # fmt: skip
_ENDS = frozenset((
    "select", "where", "set", "values", "group", "order", "having", "returning", "limit", "offset", "window", "when",
    "then", "as", "with", "default", "stdin", "stdout", "begin", "loop", "do", "nowait", "skip", "of",
))  # fmt: skip
_WITH_OPTIONS = frozenset(("vacuum", "analyze", "analyse", "cluster"))
_DEFINES = frozenset(("create", "grant", "revoke", "comment", "drop"))
_RELATIONS = frozenset(("table", "view", "sequence"))
_TAKE_FROM = frozenset(("extract", "trim", "substring", "overlay", "position"))


class Mention(NamedTuple):
    """A relation that a statement names: its schema, "" for none, its name as the server has it, and the offset."""

    schema: str
    name: str
    offset: int

    def may_be(self, name: str) -> bool:
        """Return whether this may be the temporary object of a name."""
        return self.name == name and self.schema in {"", TEMPORARY_SCHEMA}


def code_of(statement: Statement) -> str:
    """Return the text of a statement with spaces in place of comments and strings; the code of a DO block stays."""
    return _code(statement.text, inside=statement.words[:1] == ("do",))


def _code(text: str, *, inside: bool) -> str:
    pieces, at = [], 0
    while found := _HIDDEN.search(text, at):
        pieces.append(text[at : found.start()])
        at = found.end()
        if found["quoted"]:
            pieces.append(found[0])
        elif found["tag"]:
            end = text.find(found["tag"], at)
            end = len(text) if end < 0 else end
            body = _code(text[at:end], inside=False) if inside else " " * (end - at)
            pieces.append(f"{' ' * len(found['tag'])}{body}{' ' * len(found['tag'])}"[: len(text) - found.start()])
            at = min(end + len(found["tag"]), len(text))
        else:
            pieces.append(" " * len(found[0]))
    return "".join(pieces) + text[at:]


class _Clause:
    """What is known at one depth of parentheses: the clause, and whether a relation comes next."""

    def __init__(self, *, expecting: bool = False, takes_from: bool = False) -> None:
        self.clause = "from" if expecting else ""
        self.expecting = expecting
        self.takes_from = takes_from

    def inner(self, before: str) -> _Clause:
        """Return what is known within parentheses that begin here, behind a word."""
        found = _Clause(expecting=self.expecting and self.clause == "from", takes_from=before in _TAKE_FROM)
        self.expecting = self.expecting and self.clause in _WITH_OPTIONS
        return found

    def takes(self, word: str, before: str, *, defines: bool) -> bool:
        """Return whether a word, behind another one, is one of SQL's own here; learn from it what comes next."""
        if word == ",":
            self.expecting = self.clause in _LISTS
        elif word == "from" and (self.takes_from or before == "distinct"):
            self.expecting = False
        elif word in _STARTS or (defines and word in _STARTS_OF_DEFINITIONS):
            self.expecting = True
            self.clause = (self.clause or "from") if word == "join" else word
        elif word in _ENDS:
            self.expecting = False
            self.clause = self.clause if word == "as" else ""  # a list goes on behind an alias
        else:
            return word == "." or (self.expecting and word in _BETWEEN)
        return True


def mentions(statement: Statement, code: str) -> Iterator[Mention]:
    """Yield the relations that a statement names in its ``code``, but for what a CREATE makes."""
    makes = statement.words[:1] == ("create",) and not _RELATIONS.isdisjoint(statement.words[1:6])
    found = _named(code, defines=not _DEFINES.isdisjoint(statement.words[:1]))
    for mention in islice(found, 1 if makes else 0, None):
        if not _is_cte(mention.name, code):
            yield mention


def _named(code: str, *, defines: bool) -> Iterator[Mention]:
    depths, before, at = [_Clause()], "", 0
    tokens = list(_TOKEN.finditer(code))
    while at < len(tokens):
        here, word = depths[-1], tokens[at][0].lower()
        start, at = at, at + 1
        if word == "(":
            depths.append(here.inner(before))
        elif word == ")":
            depths = depths[:-1] or [_Clause()]
        elif not here.takes(word, before, defines=defines):
            while at + 1 < len(tokens) and tokens[at][0] == "." and tokens[at + 1][0] not in "(),.":
                at += 2
            if here.expecting or word == TEMPORARY_SCHEMA:
                *schema, name = (as_stored(token[0]) for token in tokens[start:at] if token[0] != ".")
                yield Mention(".".join(schema), name, tokens[start].start())
            here.expecting = False
        before = word


def _is_cte(name: str, code: str) -> bool:
    """Return whether a name is that of a common table expression in the statement."""
    wanted = re.escape(name)
    pattern = rf'(?:\b|")(?:{wanted})"?\s*(?:\([^()]*\)\s*)?\bas\s+(?:not\s+)?(?:materialized\s+)?\('
    return "with" in code.lower() and re.search(pattern, code, re.IGNORECASE) is not None


def is_query(statement: Statement) -> bool:
    """Return whether a statement begins with SELECT or WITH, or the like, of which no words are read."""
    return not statement.words and statement.kind in {Kind.PLAIN, Kind.SESSION}
