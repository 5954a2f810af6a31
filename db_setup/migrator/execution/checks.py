"""Checks: questions about what a migration has done, asked before it is committed.

A query passes when it returns no row, or one row whose only column is true.
"""

from __future__ import annotations

import json
import re

from migrator.database import Connection
from migrator.errors import CheckFailed, ServerError
from migrator.execution.supervision import timed
from migrator.execution.transaction import run_statement
from migrator.formatting import cut, mask_passwords
from migrator.scripts import Script, place
from migrator.sql import Statement, first_code

_QUERY = re.compile(r"(?:select|with|values|table)\b|\(", re.IGNORECASE)
_LONGEST = 200  # characters of a row that are asked for
_BEFORE = f"SELECT pg_catalog.left(pg_catalog.row_to_json(q.*)::pg_catalog.text, {_LONGEST}) AS found FROM (\n"
_MOST_SHOWN = 3
_MAX_ROW = 120  # bytes
_PASSWORD = re.compile(r"""("[^"]*passw[^"]*":)\s*("(?:[^"\\]|\\.)*"?|[^"\s,}\]]+)""", re.IGNORECASE)
_SAVEPOINT = "db_setup_check"


def check_within(connection: Connection, check: Script) -> None:
    """Ask inside the transaction that is open; raises CheckFailed. What a check does is rolled back."""
    connection.run(f"SAVEPOINT {_SAVEPOINT}")
    _ask_all(connection, check)
    connection.run(f"ROLLBACK TO {_SAVEPOINT}")


def check_apart(connection: Connection, check: Script) -> None:
    """Ask after the last step of a stepwise file, in a transaction that is rolled back; raises CheckFailed."""
    connection.run("BEGIN")
    _ask_all(connection, check)
    connection.run("ROLLBACK")


def _ask_all(connection: Connection, check: Script) -> None:
    for statement in check.body():
        try:
            with timed((statement,)):
                rows = _ask(connection, statement)
        except ServerError as error:
            where = error.where or place(statement, _offset(error, statement))
            at_work = error.at_work and error.at_work._replace(
                where=error.at_work.where._replace(file=check.migration.name)
            )
            where = where._replace(file=check.migration.name)
            raise error.replace(where=where, at_work=at_work) from error.__cause__
        if rows and not _is_true(rows):
            raise CheckFailed(
                f"the check found {_shown(rows)}",
                where=place(statement, first_code(statement.text), check.migration.name),
                fix="correct the migration, the data or the check, then run again; "
                "a query passes with no row, or with one value that is true",
            )


def _ask(connection: Connection, statement: Statement) -> list[str]:
    """Return the first rows that a query returns, one more than are shown; none of what is no query."""
    if (query := rows_sql(statement)) is None:
        run_statement(connection, statement)
        return []
    return [row for (row,) in connection.rows(query)]


def rows_sql(statement: Statement) -> str | None:
    """Return the query for the first rows of a query, one more than are shown, as texts of JSON in ``found``.

    None for a statement that is no query.
    """
    if not _QUERY.match(statement.text, first_code(statement.text)):
        return None
    query = statement.text.rstrip().removesuffix(";")
    return f"{_BEFORE}{query}\n) q LIMIT {_MOST_SHOWN + 1}"


def _offset(error: ServerError, statement: Statement) -> int:
    """Return the offset into a statement that an error is about, its beginning where it is not known."""
    offset = error.position - 1 - len(_BEFORE)
    return offset if 0 <= offset < len(statement.text) else first_code(statement.text)


def _is_true(rows: list[str]) -> bool:
    if len(rows) != 1 or len(rows[0]) == _LONGEST or not rows[0].endswith("true}"):
        return False
    pairs = json.loads(rows[0], object_pairs_hook=list)
    return len(pairs) == 1 and pairs[0][1] is True


def _shown(rows: list[str]) -> str:
    """Return the first rows for a message, each cut."""
    masked = (mask_passwords(_PASSWORD.sub(r"\1***", row)) for row in rows[:_MOST_SHOWN])
    shown = ", ".join(cut(row, _MAX_ROW) for row in masked)
    return f"more than {_MOST_SHOWN} rows: {shown}, ..." if len(rows) > _MOST_SHOWN else f"this: {shown}"
