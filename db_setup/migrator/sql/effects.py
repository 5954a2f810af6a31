"""What a statement does outside its transaction or its database, as far as its text shows. Pure.

Two questions are answered from one table. A rehearsal, which is rolled back, must not run what a rollback does not
undo (``acts_outside``). A scratch build, which is committed in a database of its own, must repeat neither that nor
what changes the whole server (``effect_outside``). What a function does that was created before cannot be seen.
"""

from __future__ import annotations

import re

from migrator.sql.classify import Kind, without_comments
from migrator.sql.statements import Statement

_NOT_UNDONE = (
    r"dblink\w*",
    r"lo_export",
    r"pg_(?:terminate|cancel)_backend",
    r"pg_reload_conf|pg_rotate_logfile|pg_switch_wal|pg_create_restore_point|pg_promote",
    r"pg_file_\w+",
    r"pg_(?:create|copy|drop)\w*_replication_slot|pg_replication_slot_advance|pg_replication_origin_\w+",
    r"http_(?:get|post|put|patch|delete|head)",
    r"query_export_to_s3|table_import_from_s3|aws_\w+\"?\.\"?\w+",
)
"""Functions whose effect stays when the transaction is rolled back."""
_READS_FILES = (r"lo_import",)
"""Functions that read the server's files: repeated by a build, since later statements may need what they make."""
_OF_THE_SERVER = (r"cron\"?\.\"?\w+",)
"""Functions that change the server's other databases, and are undone by a rollback."""


_HINTS = ("dblink", "lo_export", "lo_import", "pg_", "http_", "_s3", "aws_", "cron")
"""One of these is in each of the names above: a statement without any, however large, is done with fast."""


def _calls(names: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(names)})\"?\s*\(", re.IGNORECASE)


_CALLS_NOT_UNDONE, _CALLS_READING_FILES, _CALLS_OF_THE_SERVER = map(_calls, (_NOT_UNDONE, _READS_FILES, _OF_THE_SERVER))
_SEARCHED = 100_000  # characters of a statement that are searched for COPY: each "copy" in them may cost as many
_COPIES_OUT = re.compile(r"\bcopy\b[^;]*\b(?:program\b|to\s+(?:e?'|%))", re.IGNORECASE)
_COPIES = re.compile(r"\bcopy\b[^;]*\b(?:program\b|(?:to|from)\s+(?:e?'|%))", re.IGNORECASE)
_NOTIFIES = re.compile(r"\b(?:notify|pg_notify|listen)\b", re.IGNORECASE)

_VERBS = frozenset({"create", "alter", "drop"})
_ROLES = frozenset({"role", "user", "group"})
_SHARED = _ROLES | {"database", "tablespace", "system", "subscription", "parameter"}
_CODE = frozenset({"function", "procedure", "view", "trigger", "rule", "aggregate"})
_ROUTINES = frozenset({"function", "procedure", "routine", "aggregate", "extension"})
_NAMING = frozenset({"drop", "comment", "security", "grant", "revoke"})
_MENTIONS_SHARED = re.compile(r"\b(?:role|user|group|database|tablespace|owned)\b", re.IGNORECASE)
_NEW_ROLE = re.compile(r'\s*create\s+(?:role|user|group)\s+("(?:[^"]|"")+"|[^\s;("]+)', re.IGNORECASE)


def acts_outside(statement: Statement) -> bool:
    """Return whether a statement does what no rollback undoes, reads a file of the server, or may hand on such SQL."""
    if _not_undone(statement):
        return True
    return _runs(statement) and (_is_in(_COPIES, statement) or _is_called(_CALLS_READING_FILES, statement))


def notifies(statement: Statement) -> bool:
    """Return whether a statement sends, or waits for, notifications, which only a COMMIT delivers."""
    return _runs(statement) and _is_in(_NOTIFIES, statement)


def effect_outside(statement: Statement) -> str:
    """Return what a statement changes outside its own database, or "" for nothing that its text shows."""
    verb, then = (*statement.words[:2], "", "")[:2]
    if verb in _VERBS and then in _SHARED and statement.words[2:3] != ("mapping",):
        return then
    if verb in {"grant", "revoke"}:
        return _of_grant(statement.words)
    if verb in {"comment", "security"} and _after_on(statement.words) in _SHARED:
        return _after_on(statement.words)
    if then == "owned" and verb in {"drop", "reassign"}:
        return "owned"
    if verb in {"do", "call"} and statement.kind is Kind.OUTSIDE and mentions_shared_objects(statement):
        return "block"
    if found := _not_undone(statement):
        return found
    return "function" if _runs(statement) and _is_called(_CALLS_OF_THE_SERVER, statement) else ""


def _not_undone(statement: Statement) -> str:
    """Return what no rollback undoes: "file" for COPY to a file or program, "function" for a call, or ""."""
    if statement.words[:1] == ("copy",):
        copies = statement.kind is not Kind.COPY_IN and _copies_to_the_server(statement.words)
        return "file" if copies else _called(statement)
    if not _runs(statement):
        return ""
    return "file" if statement.words[:1] == ("do",) and _is_in(_COPIES_OUT, statement) else _called(statement)


def _called(statement: Statement) -> str:
    return "function" if _is_called(_CALLS_NOT_UNDONE, statement) else ""


def _runs(statement: Statement) -> bool:
    """Return whether a statement may call functions at once, rather than define code or name a function."""
    words = statement.words
    names = words[:1] and (words[0] in _NAMING or (words[0] == "alter" and not _ROUTINES.isdisjoint(words[1:2])))
    return not (names or defines_code(statement))


def _is_in(pattern: re.Pattern[str], statement: Statement) -> bool:
    text = statement.text[:_SEARCHED]
    return pattern.search(text) is not None and pattern.search(without_comments(text)) is not None


def _is_called(calls: re.Pattern[str], statement: Statement) -> bool:
    text = statement.text.lower()
    return any(hint in text for hint in _HINTS) and calls.search(without_comments(text)) is not None


def rebuilds_a_database(statement: Statement) -> bool:
    """Return whether a statement rebuilds the indexes of a database, which it has to name, and changes nothing else."""
    return statement.words[:2] in {("reindex", "database"), ("reindex", "system")}


def defines_code(statement: Statement) -> bool:
    """Return whether a statement only defines what is run later: a function, a view, a trigger or the like."""
    return statement.words[:1] == ("create",) and not (
        _CODE.isdisjoint(statement.words[:5]) or "materialized" in statement.words[:2]
    )


def mentions_shared_objects(statement: Statement) -> bool:
    """Return whether the text of a block mentions roles, databases or tablespaces."""
    return _MENTIONS_SHARED.search(statement.text) is not None


def _after_on(words: tuple[str, ...]) -> str:
    return words[words.index("on") + 1] if "on" in words[:-1] else ""


def _of_grant(words: tuple[str, ...]) -> str:
    if "on" not in words:
        return "role"  # a membership
    return _after_on(words) if _after_on(words) in _SHARED else ""


def _copies_to_the_server(words: tuple[str, ...]) -> bool:
    return "program" in words or ("to" in words and "stdout" not in words)


def new_role(statement: Statement) -> str:
    """Return the name of the role that a statement creates, or ""."""
    found = _NEW_ROLE.match(without_comments(statement.text))
    if found is None:
        return ""
    name = found[1]
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()
