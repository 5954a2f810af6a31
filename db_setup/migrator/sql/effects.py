"""What a statement does outside its transaction, as far as its text tells: no rollback reaches that. Pure."""

from __future__ import annotations

import re

from migrator.sql.classify import Kind, without_comments
from migrator.sql.statements import Statement

_LOOKED_THROUGH = 100_000  # characters of a statement
_ACTS = re.compile(
    r"\bcopy\b[^;]*\b(?:program\b|(?:to|from)\s+e?')"
    r"|\b(?:dblink\w*|lo_export|lo_import|pg_terminate_backend|pg_cancel_backend|pg_reload_conf|pg_rotate_logfile"
    r"|pg_switch_wal|pg_create_restore_point|pg_promote|pg_file_\w+|pg_create_\w+_replication_slot"
    r"|pg_drop_replication_slot|http_(?:get|post|put|delete)|query_export_to_s3|table_import_from_s3"
    r"|aws_lambda\"?\.\"?invoke)\"?\s*\(",
    re.IGNORECASE,
)
_NOTIFIES = re.compile(r"\b(?:notify|pg_notify|listen)\b", re.IGNORECASE)


def acts_outside(statement: Statement) -> bool:
    """Tell whether a statement is seen to write files, to start programs, or to act through other sessions.

    What a function does that was made before cannot be seen.
    """
    return _found(_ACTS, statement)


def notifies(statement: Statement) -> bool:
    """Tell whether a statement sends, or waits for, notifications, which only a COMMIT delivers."""
    return _found(_NOTIFIES, statement)


def _found(pattern: re.Pattern[str], statement: Statement) -> bool:
    text = statement.text[:_LOOKED_THROUGH]
    if defines_code(statement) or not pattern.search(text):  # the body of a function is not run
        return False
    return pattern.search(without_comments(text)) is not None


_VERBS = frozenset({"create", "alter", "drop"})
_ROLES = frozenset({"role", "user", "group"})
_SHARED = _ROLES | {"database", "tablespace", "system", "subscription", "parameter"}
_BEYOND = re.compile(
    r"\b(?:dblink\w*|lo_export|pg_(?:create|drop)\w*_replication_slot|pg_reload_conf|pg_rotate_logfile|pg_promote"
    r"|pg_(?:terminate|cancel)_backend|pg_switch_wal|pg_create_restore_point|pg_file_\w+|pg_replication_origin_\w+"
    r"|(?:cron|aws_\w+)\"?\.\"?\w+)\"?\s*\(",
    re.IGNORECASE,
)
_COPIES = re.compile(r"\bcopy\b[^;]*\b(?:program\b|to\s+(?:e?'|%))", re.IGNORECASE)
_CODE = frozenset({"function", "procedure", "view", "trigger", "rule", "aggregate"})
_SPEAKS_OF_SHARED = re.compile(r"\b(?:role|user|group|database|tablespace|owned)\b", re.IGNORECASE)
_NEW_ROLE = re.compile(r'\s*create\s+(?:role|user|group)\s+("(?:[^"]|"")+"|[^\s;("]+)', re.IGNORECASE)


def effect_outside(statement: Statement) -> str:
    """Return what a statement reaches beyond its database for, or "" for nothing that can be read from it."""
    verb, then = (*statement.words[:2], "", "")[:2]
    if verb in _VERBS and then in _SHARED and statement.words[2:3] != ("mapping",):
        return then
    if verb in {"grant", "revoke"}:
        return _of_grant(statement.words)
    if verb in {"comment", "security"} and _after_on(statement.words) in _SHARED:
        return _after_on(statement.words)
    if then == "owned" and verb in {"drop", "reassign"}:
        return "owned"
    if verb == "copy" and statement.kind is not Kind.COPY_IN and _copies_to_the_server(statement):
        return "file"
    if verb in {"do", "call"} and statement.kind is Kind.OUTSIDE and _SPEAKS_OF_SHARED.search(statement.text):
        return "block"
    if verb == "do" and _COPIES.search(statement.text):
        return "file"
    return "function" if not defines_code(statement) and _BEYOND.search(without_comments(statement.text)) else ""


def defines_code(statement: Statement) -> bool:
    """Tell whether a statement only defines what is run later: a function, a view, a trigger or the like."""
    return statement.words[:1] == ("create",) and not (
        _CODE.isdisjoint(statement.words[:5]) or "materialized" in statement.words[:2]
    )


def _after_on(words: tuple[str, ...]) -> str:
    return words[words.index("on") + 1] if "on" in words[:-1] else ""


def _of_grant(words: tuple[str, ...]) -> str:
    if "on" not in words:
        return "role"  # a membership
    return _after_on(words) if _after_on(words) in _SHARED else ""


def _copies_to_the_server(statement: Statement) -> bool:
    return "program" in statement.words or ("to" in statement.words and "stdout" not in statement.words)


def new_role(statement: Statement) -> str:
    """Return the name of the role that a statement makes, or ""."""
    found = _NEW_ROLE.match(without_comments(statement.text))
    if found is None:
        return ""
    name = found[1]
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()
