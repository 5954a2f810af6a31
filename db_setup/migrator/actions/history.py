"""history: who applied what, when, how long, in which run, from which version of this package. Reads only."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from migrator.actions.summary import with_problems
from migrator.context import RunContext
from migrator.database import Connection
from migrator.formatting import counted
from migrator.history import SCHEMA, History, TamperedRow
from migrator.planning import inspect
from migrator.report import Report, describe

MOST_ROWS = 1000  # an answer of Lambda has at most 6 MB, and a row about 500 bytes
_MOST_EVIDENCE = 500  # characters
_UTC = "pg_catalog.to_char(applied_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
_FIELDS = (
    "number", "name", "mode", "state", "applied_at", "applied_by", "duration_ms", "run_id", "request_id",
    "package_version", "evidence",
)  # fmt: skip
# Tables of an earlier version may have no evidence; it is found before LATERAL then.
_ROWS = f"""
SELECT h.number, h.name, h.mode, h.state, h.applied_at, h.applied_by, h.duration_ms, h.run_id, r.request_id,
    h.package_version, pg_catalog.left(h.evidence, {_MOST_EVIDENCE})
FROM (SELECT NULL::text AS evidence) missing, LATERAL (
    SELECT position, number, name, mode, state, {_UTC} AS applied_at, applied_by, duration_ms, run_id,
        package_version, evidence
    FROM {SCHEMA}.history ORDER BY position DESC LIMIT {MOST_ROWS}) h
LEFT JOIN {SCHEMA}.runs r ON r.id = h.run_id ORDER BY h.position"""


def history(context: RunContext) -> Report:
    """Report the rows of the history, the newest last, and whether somebody has changed them by hand."""
    folder = context.read_folder()
    rows: list[dict[str, Any]] = []
    found: list[TamperedRow] = []
    count, sealed = 0, False
    with closing(context.connect()) as connection:
        inspection = inspect(context, folder, connection)
        if inspection.history.exists:
            checked = History(connection)
            found, sealed = checked.check()
            context.warnings += checked.warnings
            rows, count = _read(connection), len(inspection.history.applied)
    details = {"history": rows, "history_left_out": max(0, count - len(rows)), "history_sealed": sealed}
    report = describe(context, inspection, (*folder.warnings, *context.warnings), action="history")
    report = with_problems(report._replace(pending=(), details=details), found)
    return report._replace(remark=_remark(count, sealed, whole=not found))


def _read(connection: Connection) -> list[dict[str, Any]]:
    return [dict(zip(_FIELDS, row, strict=True)) for row in connection.rows(_ROWS)]


def _remark(count: int, sealed: bool, *, whole: bool) -> str:
    said = f"{counted(count)} in the history"
    if not count and not sealed:
        return f"{said}."
    if not sealed:
        return f"{said}; the last run did not seal it, so whether it was changed by hand is not known."
    return f"{said}, as the last run left it." if whole else f"{said}."
