"""The history: what was applied here, kept in the schema ``db_setup``.

What runs beside a migration's own statements names its schema, and its operators too, so that no
search_path can lead it astray.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from migrator.database.connection import SAFE_PATH_SQL, Connection
from migrator.errors import ServerError
from migrator.history.rows import AppliedMigration
from migrator.history.run_lock import HELD_SQL
from migrator.history.schema import _NO_PRIVILEGE, CREATE_SQL, SCHEMA
from migrator.version import PACKAGE_VERSION

DEFAULTS_SQL = """SELECT pg_catalog.set_config(pg_catalog.split_part(setting, '=', 1),
    pg_catalog.substr(setting, pg_catalog.strpos(setting, '=') OPERATOR(pg_catalog.+) 1), false)
FROM (SELECT pg_catalog.unnest(s.setconfig) AS setting FROM pg_catalog.pg_db_role_setting s
    LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) s.setdatabase
    LEFT JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) s.setrole
    WHERE coalesce(d.datname, pg_catalog.current_database()) OPERATOR(pg_catalog.=) pg_catalog.current_database()
    AND coalesce(r.rolname, SESSION_USER) OPERATOR(pg_catalog.=) SESSION_USER
    ORDER BY s.setrole OPERATOR(pg_catalog.<>) 0, s.setdatabase OPERATOR(pg_catalog.<>) 0) defaults"""
"""Gives this session what a new one would begin with, after a file has changed that (ALTER DATABASE ... SET)."""


def create(connection: Connection) -> None:
    """Create the schema and its tables; harmless where they are."""
    from migrator.history.schema import UPGRADE  # noqa: PLC0415 - for runs that write

    try:
        connection.run(CREATE_SQL + UPGRADE)
    except ServerError as error:
        if error.sqlstate == _NO_PRIVILEGE:
            connection.rollback()  # of a rehearsal, which would answer nothing any more
            database, user = connection.rows("SELECT pg_catalog.current_database(), SESSION_USER")[0]
            error.fix = f"as the database's owner: GRANT CREATE ON DATABASE {database} TO {user}"
        raise
    connection.take_notices()  # of what is there already


def record_locks(connection: Connection, run_id: int, report: str) -> None:
    """Keep the lock report of a run, a text of JSON, in its row."""
    connection.run(
        f"UPDATE {SCHEMA}.runs SET lock_report = {connection.literal(report)}::pg_catalog.jsonb "
        f"WHERE id OPERATOR(pg_catalog.=) {run_id}"
    )


def begin_run(connection: Connection, action: str, request_id: str, message: str = "") -> int:
    """Record that a run has begun, and return its number; tables of an earlier version get what is new."""
    from migrator.history.schema import IS_NEWEST, UPGRADE  # noqa: PLC0415 - for runs that write

    values = ", ".join(map(connection.literal, (action, request_id, PACKAGE_VERSION, message)))
    sql = f"INSERT INTO {SCHEMA}.runs (action, request_id, package_version, message) VALUES ({values}) RETURNING id"
    number, newest = connection.rows(f"{sql}, {IS_NEWEST}")[0][:2]
    if not newest:
        connection.run(UPGRADE)
        connection.take_notices()
    return int(number)


def rotation(connection: Connection, request_id: str) -> tuple[int, str]:
    """Return number and start of a rotation: one of the last hour that did not succeed, or a new one."""
    unfinished = (
        f"SELECT id, started_at::text FROM {SCHEMA}.runs WHERE id = (SELECT max(id) FROM {SCHEMA}.runs "
        "WHERE action = 'rotate') AND outcome <> 'succeeded' "
        "AND started_at > pg_catalog.clock_timestamp() - interval '1 hour'"
    )
    if not connection.rows(unfinished):
        begin_run(connection, "rotate", request_id)
    number, started = connection.rows(unfinished)[0]
    return int(number), str(started)


class End(NamedTuple):
    """What the end of a run writes into a row of the history."""

    duration_ms: int | None
    chain: str | None
    previous: str | None


def end_run(
    connection: Connection, run_id: int, outcome: str, message: str, ends: Mapping[str, End], head: str | None = None
) -> None:
    """Record how a run ended, and the ends of rows by name; all or nothing. Without a head the rows are not sealed."""
    literal = connection.literal
    sql = (
        f"{SAFE_PATH_SQL}; "  # what follows in this session is ours again
        f"UPDATE {SCHEMA}.runs SET finished_at = pg_catalog.clock_timestamp(), outcome = {literal(outcome)}, "
        f"message = {literal(message)}{'' if head is None else f', history_head = {literal(head)}'} "
        f"WHERE id OPERATOR(pg_catalog.=) {run_id}"
    )
    if ends:
        arrays = (ends, *zip(*ends.values(), strict=True))
        unnested = ", ".join(
            f"pg_catalog.unnest({literal(_array(values))}::{kind}[])"
            for values, kind in zip(arrays, ("text", "integer", "text", "text"), strict=True)
        )
        sql += (
            f"; UPDATE {SCHEMA}.history h SET duration_ms = d.ms, chain = d.chain, previous = d.previous "
            f"FROM ROWS FROM ({unnested}) AS d (name, ms, chain, previous) WHERE h.name OPERATOR(pg_catalog.=) d.name"
        )
    connection.run(sql)


def _array(values: Iterable[str | int | None]) -> str:
    """Return an array as one text, since the server takes long to read a literal for each of thousands of values."""
    escaped = (None if value is None else str(value).replace("\\", "\\\\").replace('"', '\\"') for value in values)
    elements = ("NULL" if text is None else f'"{text}"' for text in escaped)
    return f"{{{','.join(elements)}}}"


def record_known(connection: Connection, rows: Iterable[tuple[AppliedMigration, str]], mode: str, run_id: int) -> None:
    """Record migrations that were applied before there was this history, each with how it is known; all or none."""
    literal = connection.literal
    values = ", ".join(
        f"({', '.join(map(literal, row[:3]))}, CASE WHEN {HELD_SQL} THEN 'applied' END, '{mode}', {run_id}, "
        f"'{PACKAGE_VERSION}', {literal(evidence)})"
        for row, evidence in rows
    )
    if values:
        connection.run(
            f"INSERT INTO {SCHEMA}.history (name, number, checksum, state, mode, run_id, package_version, evidence) "
            f"VALUES {values} ON CONFLICT (name) DO NOTHING"
        )


def lock_was_lost(error: ServerError) -> bool:
    """Tell whether an error is the fence of a record speaking."""
    return error.schema == SCHEMA and error.table == "history" and error.sqlstate in {"23502", "23505"}


def last_run(connection: Connection) -> str:
    """Return which run was the last, for people."""
    rows = connection.rows(f"SELECT id, request_id FROM {SCHEMA}.runs ORDER BY id DESC LIMIT 1")
    return f"run {rows[0][0]} ({rows[0][1]})" if rows else "another run"


def applied_by(connection: Connection, run_ids: Sequence[int]) -> list[tuple[str, str, str, int]]:
    """Return number, name, mode and milliseconds of what the given runs applied."""
    rows = connection.rows(
        f"SELECT number, name, mode, coalesce(duration_ms, 0) FROM {SCHEMA}.history WHERE state = 'applied' "
        f"AND run_id IN ({', '.join(map(str, run_ids))}) ORDER BY position"
    )
    return [(number, name, mode, ms) for number, name, mode, ms in rows]


def rename(connection: Connection, old: str, new: str, number: str) -> None:
    """Let the history follow a file that was renamed or renumbered."""
    literal = connection.literal
    connection.run(
        f"UPDATE {SCHEMA}.history SET name = {literal(new)}, number = {literal(number)} "
        f"WHERE name OPERATOR(pg_catalog.=) {literal(old)}"
    )
