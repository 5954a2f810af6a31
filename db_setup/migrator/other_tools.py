"""The histories that other migration tools keep in a database: found by table and columns, read as rows."""

from __future__ import annotations

from migrator.catalogue import look
from migrator.connection import Connection
from migrator.evidence import TOOLS, Row, Tool
from migrator.scratch import quoted

_FIND = """
SELECT n.nspname, c.relname, ARRAY(SELECT a.attname::text FROM pg_attribute a
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relname IN ({names}) AND n.nspname NOT LIKE 'pg\\_%' ORDER BY 1, 2"""


def read_histories(connection: Connection) -> list[tuple[Tool, list[Row]]]:
    """Return the histories that have rows; an empty table says nothing."""
    names = ", ".join(f"'{tool.table}'" for tool in TOOLS)
    found = []
    for schema, table, columns in look(connection, _FIND.format(names=names)):
        tool = _tool(table, set(columns))
        if tool is not None:
            query = tool.query.format(table=f"{quoted(schema)}.{quoted(table)}")
            rows = [Row(*row) for row in look(connection, query)]
            found += [(tool, rows)] if rows else []
    return found


def _tool(table: str, columns: set[str]) -> Tool | None:
    for tool in TOOLS:
        if tool.table == table and (columns == tool.columns if tool.exact else columns >= tool.columns):
            return tool
    return None
