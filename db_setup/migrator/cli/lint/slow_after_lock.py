"""Slow statements behind a lock: what is slow in a transaction that has locked a table has everybody wait for it.

The judgement is made of the text alone, and is a warning: how large a table is, nobody knows here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from migrator.cli.lint.clauses import Clauses, begins_with
from migrator.cli.lint.finding import WARNING, LintFinding
from migrator.cli.lint.table_locks import READS, dropped_index, locks_of
from migrator.cli.lint.table_work import Work, work_of
from migrator.formatting import listed, quoted
from migrator.scripts import ENDS, STEPWISE, Script, place
from migrator.scripts.session_needs import makes
from migrator.sql import Kind, Statement, first_code, read_text
from migrator.sql.relation_names import last_name, relations_made

RULE = "slow_after_lock"
_IGNORE = re.compile(rf"\s*--\s*db_setup-ignore\s.*\b{RULE}\b", re.IGNORECASE)
_MADE_INDEX = begins_with(r"create\s+(?:unique\s+)?index\s+(?:concurrently\s+)?(?:if\s+not\s+exists\s+)?(?!on\b)")
_TEMPORARY = re.compile(r"temp", re.IGNORECASE)
_KINDS = frozenset(("table", "trigger", "policy", "rule", "index", "view"))
_SHOWN = 3  # lines of further slow statements


class Held(NamedTuple):
    """A lock that is held: the statement that took it, the table, and what others are kept from.

    ``dropped`` is the index that was dropped, where that is all that the text shows of the table. ``renamed`` is what
    the transaction itself calls the table by now.
    """

    taker: Statement
    table: str
    kept_from: int
    dropped: str = ""
    renamed: str = ""

    def adds_to(self, own: dict[str, int]) -> bool:
        """Return whether others wait for this lock who would not wait for a statement's ``own`` locks alone."""
        if self.dropped:
            return READS not in own.values()  # which may be on the same table
        return self.kept_from > own.get(self.renamed or self.table, 0)


class Slow(NamedTuple):
    """A slow statement, what of it is slow, and the lock that others wait for meanwhile."""

    statement: Statement
    work: Work
    held: Held


def find_slow_after_lock(script: Script) -> Iterator[LintFinding]:
    """Find the slow statements behind a lock in each transaction of a script: one finding a transaction."""
    for transaction in transactions(script):
        slow = list(slow_after_lock(transaction))
        if slow:
            lines = _lines(script)
            slow = [item for item in slow if not _is_ignored(item.statement, lines)]
        if slow:
            yield _finding(script, slow)


def transactions(script: Script) -> Iterator[Iterator[Statement]]:
    """Yield the statements of each transaction of a script, that of a whole file or those of its blocks, without ends.

    To be read in their order: the data of a COPY comes only once.
    """
    if script.mode != STEPWISE:
        yield iter(script.body())
        return
    steps = iter(script.steps())
    for step in steps:
        if step.kind is Kind.BEGIN:
            yield _until_end(steps)


def _until_end(steps: Iterator[Statement]) -> Iterator[Statement]:
    for step in steps:
        if step.kind in ENDS:
            return
        yield step


def slow_after_lock(statements: Iterable[Statement]) -> Iterator[Slow]:
    """Yield the slow statements of one transaction that come after a lock on a table which was there before.

    Only what makes others wait longer: not what locks the same table as hard itself, and so has them wait wherever it
    stands; nor what works through nothing but tables that the transaction has made.
    """
    state = _Transaction()
    for statement in statements:
        if statement.kind is not Kind.EMPTY:
            yield from state.look_at(statement)


class _Transaction:
    """What the statements before the one at hand have made, and have locked."""

    def __init__(self) -> None:
        self._made: set[str] = set()
        self._indexes: set[str] = set()
        self._held: list[Held] = []

    def look_at(self, statement: Statement) -> Iterator[Slow]:
        """Yield the statement, if it is slow and others wait meanwhile; note what it makes and locks."""
        clauses = Clauses(statement)
        own = locks_of(clauses)
        works = work_of(clauses) if self._held else ()
        work = next((work for work in works if not self._made.issuperset(work.tables)), None)
        longer = [held for held in self._held if held.adds_to(own)] if work else []
        if work and longer:
            yield Slow(statement, work, max(longer, key=lambda held: held.kept_from))
        self._note_locks(statement, clauses, own)
        self._note_made(statement, clauses)

    def _note_locks(self, statement: Statement, clauses: Clauses, own: dict[str, int]) -> None:
        index = dropped_index(clauses)
        if index and index not in self._indexes:
            self._held.append(Held(statement, "", READS, index))
        if statement.words[:1] == ("create",) and "index" in statement.words[1:3]:
            self._indexes.update(clauses.named(_MADE_INDEX))
            return  # that it keeps others from writing is said by squawk, whose way out is CONCURRENTLY
        self._held += [Held(statement, name, kept) for name, kept in own.items() if name not in self._made]

    def _note_made(self, statement: Statement, clauses: Clauses) -> None:
        made, altered = relations_made([statement]), clauses.altered and last_name(clauses.altered)
        if made and altered and altered not in self._made:
            self._rename(altered, *made)
            return
        self._made |= made
        if _TEMPORARY.search(statement.text):
            self._made.update(item.key[1] for item in makes(statement, clauses.code) if item.key[0] == "relation")

    def _rename(self, old: str, new: str) -> None:
        """Note the new name of a table that was there before: it is none that the transaction has made."""
        self._made.discard(new)
        self._held = [
            held._replace(renamed=new) if (held.renamed or held.table) == old else held for held in self._held
        ]


def _finding(script: Script, slow: Sequence[Slow]) -> LintFinding:
    first, *rest = slow
    (line, column), taker = _place(first.statement), first.held.taker
    what = (
        f"line {line} ({first.work.what}) may take long, and line {_place(taker)[0]} ({_title(taker)}) keeps others "
        f"from {_kept_from(first.held)} until the transaction ends{_further(rest)}"
    )
    concurrently = ", with CONCURRENTLY" if first.work.what == "CREATE INDEX" else ""
    way = (
        f"put line {line} into a file of its own{concurrently}, before this one or after it; or, where the table is "
        f'small, write "-- db_setup-ignore {RULE}" above the line'
    )
    return LintFinding(script.migration.name, line, column, WARNING, RULE, what, way)


def _place(statement: Statement) -> tuple[int, int]:
    """Return line and column of a statement's first word, past a comment that it begins with."""
    where = place(statement, first_code(statement.text))
    return where.line, where.column


def _kept_from(held: Held) -> str:
    table = f"the table of {quoted(held.dropped)}" if held.dropped else quoted(held.table)
    return f"{'using' if held.kept_from == READS else 'writing to'} {table}"


def _title(statement: Statement) -> str:
    """Return what a statement is called: its verb, and the kind of what it is about."""
    verb, *words = statement.words
    return " ".join([verb, *[word for word in words if word in _KINDS][:1]]).upper()


def _further(rest: Sequence[Slow]) -> str:
    lines = [str(_place(item.statement)[0]) for item in rest]
    if not lines:
        return ""
    if len(lines) > _SHOWN:
        return f"; so may {len(lines)} statements below it"
    return f"; so may {'lines' if lines[1:] else 'line'} {listed(lines)}"


def _is_ignored(statement: Statement, lines: Sequence[str]) -> bool:
    """Return whether a comment right above a statement, or among comments there, says that it may be slow."""
    at = _place(statement)[0] - 2
    while at >= 0 and lines[at].lstrip().startswith("--"):
        if _IGNORE.match(lines[at]):
            return True
        at -= 1
    return False


def _lines(script: Script) -> list[str]:
    file = script.migration
    text = "".join(read_text(file.name, file.path, file.size)) if script.text is None else script.text
    return text.split("\n")
