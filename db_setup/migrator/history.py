"""The history: what was applied here, kept in the schema ``db_setup``.

What runs beside a migration's own statements names its schema, and its operators too, so that no
search_path can lead it astray.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from migrator.connection import SAFE_PATH_SQL, Connection
from migrator.errors import ServerError
from migrator.history_tables import CREATE_SQL, SCHEMA
from migrator.light import NamedTuple
from migrator.lock import HELD_SQL
from migrator.migration import AppliedMigration

PACKAGE_VERSION = "2.0.0"
_UNDEFINED_TABLE, _NO_PRIVILEGE = "42P01", "42501"

DEFAULTS_SQL = """SELECT pg_catalog.set_config(pg_catalog.split_part(setting, '=', 1),
    pg_catalog.substr(setting, pg_catalog.strpos(setting, '=') OPERATOR(pg_catalog.+) 1), false)
FROM (SELECT pg_catalog.unnest(s.setconfig) AS setting FROM pg_catalog.pg_db_role_setting s
    LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) s.setdatabase
    LEFT JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) s.setrole
    WHERE coalesce(d.datname, pg_catalog.current_database()) OPERATOR(pg_catalog.=) pg_catalog.current_database()
    AND coalesce(r.rolname, SESSION_USER) OPERATOR(pg_catalog.=) SESSION_USER
    ORDER BY s.setrole OPERATOR(pg_catalog.<>) 0, s.setdatabase OPERATOR(pg_catalog.<>) 0) defaults"""
"""Gives this session what a new one would begin with, after a file has changed that (ALTER DATABASE ... SET)."""


class Facts(NamedTuple):
    """What one look at a database tells: its history, and whether it has tables of anybody's."""

    applied: tuple[AppliedMigration, ...]
    exists: bool
    has_tables: bool
    first_generation: bool


def read(connection: Connection, *, dates: bool = False) -> Facts:
    """Return what is applied, in the order of application; reads only, whatever it finds."""
    when = ", pg_catalog.to_char(applied_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI UTC')" if dates else ""
    try:
        rows = connection.rows(f"SELECT name, number, checksum, state{when} FROM {SCHEMA}.history ORDER BY position")
    except ServerError as error:
        if error.sqlstate == _NO_PRIVILEGE:
            raise _not_the_owner(connection) from error
        if error.sqlstate != _UNDEFINED_TABLE:
            raise
        rows, exists = [], False
    else:
        exists = True
    applied = tuple(AppliedMigration(*row) for row in rows)
    has_tables, first_generation = (True, False) if applied else _tables(connection)
    return Facts(applied, exists, has_tables, first_generation)


def _not_the_owner(connection: Connection) -> ServerError:
    owner = connection.rows(
        f"SELECT pg_catalog.pg_get_userbyid(nspowner) FROM pg_catalog.pg_namespace WHERE nspname = '{SCHEMA}'"
    )[0][0]
    error = ServerError(_NO_PRIVILEGE, "this user may not read the history")
    error.cure = f'run with the credentials of "{owner}", who owns the schema {SCHEMA}'
    return error


def _tables(connection: Connection) -> tuple[bool, bool]:
    """Tell whether there are relations that no extension made, and whether one is the first generation's.

    Its table is believed only from the database's owner or from this user: a view, or a table of somebody else's, could
    say anything, and run anything.
    """
    query = f"""
        SELECT pg_catalog.count(*) > 0, pg_catalog.bool_or(
            n.nspname = 'public' AND c.relname = 'schema_migrations' AND c.relkind IN ('r', 'p')
            AND c.relowner IN (d.datdba, (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = SESSION_USER)) AND 2 = (
                SELECT pg_catalog.count(*) FROM pg_catalog.pg_attribute a
                WHERE a.attrelid = c.oid AND a.attname IN ('id', 'migration_name')))
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_catalog.pg_database d ON d.datname = pg_catalog.current_database()
        WHERE c.relkind IN ('r', 'p', 'f', 'm', 'v')
          AND n.nspname NOT IN ('pg_catalog', 'information_schema', '{SCHEMA}')
          AND n.nspname !~ '^pg_(toast|temp)'
          AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                          WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
    """
    has_tables, first_generation = connection.rows(query)[0]
    return bool(has_tables), bool(first_generation)


def create(connection: Connection) -> None:
    """Create the schema and its tables; harmless where they are."""
    from migrator.upgrade import UPGRADE  # noqa: PLC0415 - for runs that write

    try:
        connection.run(CREATE_SQL + UPGRADE)
    except ServerError as error:
        if error.sqlstate == _NO_PRIVILEGE:
            connection.rollback()  # of a rehearsal, which would answer nothing any more
            database, user = connection.rows("SELECT pg_catalog.current_database(), SESSION_USER")[0]
            error.cure = f"as the database's owner: GRANT CREATE ON DATABASE {database} TO {user}"
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
    from migrator.upgrade import IS_NEWEST, UPGRADE  # noqa: PLC0415 - for runs that write

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


def record_known(
    connection: Connection, rows: Iterable[tuple[AppliedMigration, str]], mode: str, run_id: int
) -> None:
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
