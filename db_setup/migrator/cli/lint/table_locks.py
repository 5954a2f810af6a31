"""Which tables a statement locks until the end of its transaction, as far as its text shows. Pure.

Counted are the locks that keep others from reading a table (ACCESS EXCLUSIVE), or from writing to it (SHARE ROW
EXCLUSIVE, EXCLUSIVE, SHARE). Views are left out: who reads one waits for its tables, too. So is DROP TABLE: whoever
still uses that table fails anyway.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from migrator.cli.lint.clauses import Clauses, after, begins_with
from migrator.sql.relation_names import NAME, last_name

WRITES, READS = 1, 2
"""What a lock keeps others from: writing alone, or reading as well."""

_COLUMN = rf"alter\s+(?:column\s+)?{NAME}\s+"
_WEAK = re.compile(
    rf"validate\b|{_COLUMN}(?:set\s+statistics|(?:re)?set\s*\()|cluster\s+on\b|set\s+without\s+cluster|(?:re)?set\s*\("
    r"|attach\s+partition|detach\s+partition.*\bconcurrently",
    re.IGNORECASE,
)
_FOREIGN_KEY = re.compile(rf"add\s+(?:constraint\s+{NAME}\s+)?foreign\s+key\b", re.IGNORECASE)
_TRIGGERS = re.compile(r"(?:enable|disable)\s+(?:(?:replica|always)\s+)?trigger\b", re.IGNORECASE)
_REFERENCED, _PARTITIONED, _ATTACHED = map(after, ("references", r"partition\s+of", r"attach\s+partition"))
_ON, _OF_RULE = after("on"), after("to")
_OF_TABLE = {"trigger": {"create": WRITES, "alter": READS, "drop": READS},
             **dict.fromkeys(("policy", "rule"), dict.fromkeys(("create", "alter", "drop"), READS))}  # fmt: skip
_DROPPED_INDEX = begins_with(r"drop\s+index\s+(?!concurrently\b)(?:if\s+exists\s+)?")
_WEAK_MODE = re.compile(
    r"\bin\s+(?:(?:access|row)\s+share|row\s+exclusive|share\s+update\s+exclusive)\b", re.IGNORECASE
)
_WRITE_MODE = re.compile(r"\bin\s+(?:share\s+row\s+exclusive|exclusive|share)\s+mode\b", re.IGNORECASE)


def locks_of(clauses: Clauses) -> dict[str, int]:
    """Return the tables that a statement locks, by their names without schemas, with what others are kept from."""
    found: dict[str, int] = {}
    for name, kept_from in _locks(clauses):
        found[name] = max(kept_from, found.get(name, 0))
    return found


def dropped_index(clauses: Clauses) -> str:
    """Return the name of an index that a statement drops, for which it locks a table that it does not name."""
    return next(iter(clauses.named(_DROPPED_INDEX)), "") if clauses.verb == "drop" else ""


def _locks(clauses: Clauses) -> Iterator[tuple[str, int]]:
    words = clauses.statement.words
    if clauses.altered:
        yield from _of_alter_table(clauses)
    elif words[:1] == ("create",) and "table" in words[1:4]:
        yield from ((name, WRITES) for name in clauses.named(_REFERENCED))
        yield from ((name, READS) for name in clauses.named(_PARTITIONED))
    elif words[:1] in {("create",), ("alter",), ("drop",)}:
        yield from _of_object(clauses, words)
    elif words[:1] in {("truncate",), ("cluster",)} or _is_full_refresh(words):
        yield from ((name, READS) for name in clauses.tables())
    elif words[:1] == ("lock",) and not _WEAK_MODE.search(clauses.flat):
        kept_from = WRITES if _WRITE_MODE.search(clauses.flat) else READS
        yield from ((name, kept_from) for name in clauses.tables())


def _is_full_refresh(words: tuple[str, ...]) -> bool:
    return words[:1] == ("refresh",) and "concurrently" not in words


def _of_alter_table(clauses: Clauses) -> Iterator[tuple[str, int]]:
    for action in clauses.actions():
        if not _WEAK.match(action):
            light = _FOREIGN_KEY.match(action) or _TRIGGERS.match(action)
            yield last_name(clauses.altered), WRITES if light else READS
    yield from ((name, WRITES) for name in clauses.named(_REFERENCED))
    yield from ((name, READS) for name in clauses.named(_ATTACHED))


def _of_object(clauses: Clauses, words: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    """Yield the lock of what belongs to a table: its triggers, policies, rules and indexes."""
    kinds = [word for word in words[1:5] if word in _OF_TABLE]
    if kinds:
        pattern = _OF_RULE if kinds[0] == "rule" and words[0] == "create" else _ON
        yield from ((name, _OF_TABLE[kinds[0]][words[0]]) for name in clauses.named(pattern)[:1])
    elif words[0] == "create" and "index" in words[1:3] and "concurrently" not in words:
        yield from ((name, WRITES) for name in clauses.named(_ON)[:1])
