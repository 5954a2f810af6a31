"""The histories of other migration tools: found by table and columns, read, and matched with the migration files.

A row is matched with a file by version and name. Nothing is guessed: a row that failed, that fits no file, or whose
file has another name or text contradicts the files.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

from migrator.database import Connection
from migrator.drift import query_catalog
from migrator.errors import ContradictoryEvidence
from migrator.files import Migration, parse_number, split_name
from migrator.formatting import quoted
from migrator.planning import Pending

ONE, UP_TO, UNDONE, NAMED, REVISION, OTHER = "one", "up to", "undone", "named", "revision", "other"
"""What a row means: this version is applied; all up to it are; it was undone; a name is applied; where a tool without
numbers is; something that is no numbered file."""

_MAX_NAMED = 5


class ToolRow(NamedTuple):
    """A row of another tool's history, in one form for all tools; what a tool does not keep is empty."""

    meaning: str
    version: str
    name: str = ""
    succeeded: bool = True
    checksum: str = ""
    when: str = ""


class Tool(NamedTuple):
    """A migration tool: its table, the columns that identify it, and how a ToolRow is selected from it.

    ``exact``: the table has no other columns. ``clauses`` come after FROM. ``records_each``: a row a file, written when
    that was applied.
    """

    name: str
    table: str
    columns: frozenset[str]
    fields: str
    clauses: str = ""
    exact: bool = False
    records_each: bool = True


TOOLS = (
    Tool(
        "Flyway", "flyway_schema_history", frozenset({"installed_rank", "version", "script", "success", "checksum"}),
        "CASE WHEN type IN ('BASELINE', 'SQL_BASELINE') THEN 'up to' WHEN type LIKE 'UNDO%' OR type = 'DELETE' "
        "THEN 'undone' WHEN version IS NULL OR type = 'SCHEMA' THEN 'other' ELSE 'one' END, coalesce(version, ''), "
        "description, success::text::boolean, coalesce(checksum::text, ''), installed_on::text",
        "ORDER BY installed_rank",
    ),
    Tool(
        "golang-migrate", "schema_migrations", frozenset({"version", "dirty"}),
        "'up to', version::text, '', NOT dirty::text::boolean, '', ''", "WHERE version >= 0", exact=True,
        records_each=False,
    ),
    Tool(
        "dbmate or Rails", "schema_migrations", frozenset({"version"}),
        "'one', version::text, '', true, '', ''", "ORDER BY version", exact=True,
    ),
    Tool(
        "goose", "goose_db_version", frozenset({"id", "version_id", "is_applied"}),
        "CASE WHEN is_applied::text::boolean THEN 'one' ELSE 'undone' END, version_id::text, '', true, '', "
        "tstamp::text",
        "WHERE version_id <> 0 ORDER BY id",
    ),
    Tool(
        "sqlx", "_sqlx_migrations", frozenset({"version", "description", "success", "checksum"}),
        "'one', version::text, description, success::text::boolean, encode(checksum, 'hex'), installed_on::text",
        "ORDER BY version",
    ),
    Tool(
        "node-pg-migrate", "pgmigrations", frozenset({"name", "run_on"}),
        "'named', '', name, true, '', run_on::text", "ORDER BY run_on, name",
    ),
    Tool(
        "Alembic", "alembic_version", frozenset({"version_num"}),
        "'revision', version_num::text, '', true, '', ''", exact=True, records_each=False,
    ),
)  # fmt: skip

_FIND_TABLES = f"""
SELECT n.nspname, c.relname, ARRAY(SELECT a.attname::text FROM pg_attribute a
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relname IN ({", ".join(f"'{tool.table}'" for tool in TOOLS)})
    AND n.nspname !~ '^pg_' ORDER BY 1, 2"""


def read_histories(connection: Connection) -> list[tuple[Tool, list[ToolRow]]]:
    """Return the histories that have rows; an empty table says nothing."""
    found = []
    for schema, table, columns in query_catalog(connection, _FIND_TABLES):
        tool = _tool_of(table, set(columns))
        if tool is not None:
            query = f"SELECT {tool.fields} FROM {quoted(schema)}.{quoted(table)} {tool.clauses}"
            rows = [ToolRow(*row) for row in query_catalog(connection, query)]
            found += [(tool, rows)] if rows else []
    return found


def _tool_of(table: str, columns: set[str]) -> Tool | None:
    for tool in TOOLS:
        if tool.table == table and (columns == tool.columns if tool.exact else columns >= tool.columns):
            return tool
    return None


ReadFile = Callable[[Migration], bytes]


class AdoptedFile(NamedTuple):
    """A file that is known to be applied, and by what evidence."""

    item: Pending
    evidence: str


def adopted_by_tool(tool: Tool, rows: Sequence[ToolRow], items: Sequence[Pending], read: ReadFile) -> list[AdoptedFile]:
    """Return the files that the rows prove to be applied, in their order; raises ContradictoryEvidence.

    Rows of which none fits a file are the history of other files, and prove nothing of these.
    """
    _refuse_failed(tool, rows)
    found: dict[str, AdoptedFile] = {}
    unknown: list[str] = []
    for row in _applied_rows(rows):
        fitting = _fitting(row, items)
        if not fitting and not (row.meaning == UP_TO and _before_all(row, items)):
            unknown.append(row.version or row.name)
        _refuse_ambiguous(tool, row, fitting)
        for item in fitting:
            _refuse_other_text(tool, row, item.migration, read)
            found[item.migration.name] = AdoptedFile(item, _evidence(tool, row))
    if unknown and found:
        raise ContradictoryEvidence(
            f"{tool.name} has recorded {_listed(unknown)} in {tool.table}, and no file has that number or name",
            fix="put the files back with their numbers, or say with baseline --target which of these are applied",
        )
    return [found[item.migration.name] for item in items if item.migration.name in found]


def _refuse_failed(tool: Tool, rows: Sequence[ToolRow]) -> None:
    if failed := [row.version or row.name for row in rows if not row.succeeded]:
        raise ContradictoryEvidence(
            f"{tool.name} has recorded in {tool.table} that {_listed(failed)} failed, so it may be applied in part",
            fix=f"finish or undo it, and correct its row in {tool.table}; then run again",
        )


def _applied_rows(rows: Sequence[ToolRow]) -> list[ToolRow]:
    """Return the rows of what is applied now: of the rows about one version, the last counts."""
    applied: dict[tuple[int, ...] | str, ToolRow] = {}
    for row in rows:
        key = row.name if row.meaning == NAMED else parse_number(row.version)
        if row.meaning == UNDONE:
            applied.pop(key, None)
        elif row.meaning in {ONE, UP_TO, NAMED}:
            applied[key] = row
    return list(applied.values())


def _fitting(row: ToolRow, items: Sequence[Pending]) -> list[Pending]:
    if row.meaning == NAMED:
        return [item for item in items if item.migration.name.removesuffix(".sql") == row.name.removesuffix(".sql")]
    number = parse_number(row.version)
    numbered = [(item, item.migration.number) for item in items]
    exact = [item for item, own in numbered if own == number]
    if row.meaning != UP_TO or not exact:
        return exact
    return [item for item, own in numbered if own is not None and own <= number]


def _before_all(row: ToolRow, items: Sequence[Pending]) -> bool:
    """Return whether a baseline is older than every numbered file, so that none of them is meant."""
    number = parse_number(row.version)
    return all(own > number for item in items if (own := item.migration.number) is not None)


def _refuse_ambiguous(tool: Tool, row: ToolRow, fitting: Sequence[Pending]) -> None:
    if len(fitting) > 1 and row.meaning == ONE and not row.name and not row.checksum:
        raise ContradictoryEvidence(
            f"{tool.name} has recorded {row.version} in {tool.table}, and several files have that number: "
            f"{_listed([item.migration.name for item in fitting])}",
            fix="give the files that were not applied other numbers",
        )


def _refuse_other_text(tool: Tool, row: ToolRow, file: Migration, read: ReadFile) -> None:
    """Raise ContradictoryEvidence when a file has another text, or another name, than the one that was applied."""
    if row.meaning != ONE:
        return
    if row.checksum:
        if row.checksum in checksums(read(file)):
            return
        raise ContradictoryEvidence(
            f"{file.name} is not the text that {tool.name} has applied as {row.version}: its checksum differs",
            fix="put the file back as it was when it was applied, and write the change as a new file",
        )
    if row.name and _normalized(row.name) != _normalized(split_name(file.name)[1]):
        raise ContradictoryEvidence(
            f'{tool.name} has applied {row.version} as "{row.name}", and the file with that number is {file.name}',
            fix="give the file its former name, or say with baseline --target which files are applied",
        )


def checksums(content: bytes) -> set[str]:
    """Return the checksums that Flyway (CRC-32 of the lines) and sqlx (SHA-384) keep of a text."""
    lines = re.split(rb"\r\n|\r|\n", content.removeprefix(b"\xef\xbb\xbf"))
    unsigned = zlib.crc32(b"".join(lines))
    return {str(unsigned - (1 << 32) * (unsigned >= 1 << 31)), hashlib.sha384(content).hexdigest()}


def _normalized(name: str) -> str:
    return re.sub("[^a-z0-9]+", "_", name.lower().removesuffix(".sql").removesuffix(".up")).strip("_")


def _evidence(tool: Tool, row: ToolRow) -> str:
    what = "up to version " if row.meaning == UP_TO else "version " if row.version else ""
    when = f", {row.when[:19]}" if row.when else ""
    return f"{tool.table} of {tool.name}: {what}{row.version or row.name}{when}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return ", ".join(names[:_MAX_NAMED]) + more
