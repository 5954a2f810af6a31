"""What a statement does outside its transaction, as far as its text tells: no rollback reaches that. Pure."""

from __future__ import annotations

import re

from migrator.cluster import defines_code
from migrator.kinds import without_comments
from migrator.statements import Statement

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
