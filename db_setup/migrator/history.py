"""The history: what was applied here, kept in the schema ``db_setup``.

What runs beside a migration's own statements names its schema, and its operators too, so that no
search_path can lead it astray.
"""

from __future__ import annotations

from collections.abc import Sequence

from migrator.connection import Connection
from migrator.errors import ServerError
from migrator.light import NamedTuple
from migrator.migration import AppliedMigration

PACKAGE_VERSION = "2.0.0"
SCHEMA = "db_setup"
_UNDEFINED_TABLE, _NO_PRIVILEGE = "42P01", "42501"

_CREATE = f"""
CREATE SCHEMA IF NOT EXISTS {SCHEMA};
CREATE TABLE IF NOT EXISTS {SCHEMA}.runs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    request_id text NOT NULL,
    action text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    finished_at timestamptz,
    outcome text NOT NULL DEFAULT 'running',
    message text NOT NULL DEFAULT '',
    run_by text NOT NULL DEFAULT SESSION_USER,
    package_version text NOT NULL
);
CREATE TABLE IF NOT EXISTS {SCHEMA}.history (
    position bigint GENERATED ALWAYS AS IDENTITY,
    name text PRIMARY KEY,
    number text NOT NULL,
    checksum text NOT NULL,
    state text NOT NULL,
    mode text NOT NULL,
    steps integer NOT NULL DEFAULT 0,
    steps_checksum text NOT NULL DEFAULT '',
    step_begun integer NOT NULL DEFAULT 0,
    step_note text NOT NULL DEFAULT '',
    applied_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    duration_ms integer,
    run_id bigint,
    applied_by text NOT NULL DEFAULT SESSION_USER,
    package_version text NOT NULL
);
REVOKE ALL ON SCHEMA {SCHEMA} FROM PUBLIC;
REVOKE ALL ON {SCHEMA}.history, {SCHEMA}.runs FROM PUBLIC;
COMMENT ON SCHEMA {SCHEMA} IS 'What db_setup has applied to this database; not to be edited by hand';
COMMENT ON TABLE {SCHEMA}.runs IS 'One row for each run that found something to do';
COMMENT ON COLUMN {SCHEMA}.runs.request_id IS 'The Lambda request, or the host and process that ran';
COMMENT ON COLUMN {SCHEMA}.runs.outcome IS 'running, succeeded or failed; running without a runner: it was killed';
COMMENT ON TABLE {SCHEMA}.history IS 'One row for each migration, in the order of application';
COMMENT ON COLUMN {SCHEMA}.history.name IS 'The name of the file, which tells migrations apart';
COMMENT ON COLUMN {SCHEMA}.history.number IS 'The number in the name, or the one given to an unnumbered file';
COMMENT ON COLUMN {SCHEMA}.history.checksum IS 'SHA-256 of the text, no BOM, LF line ends; empty when unknown';
COMMENT ON COLUMN {SCHEMA}.history.mode IS 'transaction, stepwise, or imported from schema_migrations';
COMMENT ON COLUMN {SCHEMA}.history.run_id IS 'The id of its row in runs';
COMMENT ON COLUMN {SCHEMA}.history.steps IS 'Stepwise: how many steps are proven done';
COMMENT ON COLUMN {SCHEMA}.history.steps_checksum IS 'Stepwise: SHA-256 chained over the texts of these steps';
COMMENT ON COLUMN {SCHEMA}.history.step_begun IS 'Stepwise: the step outside any transaction that was begun last';
COMMENT ON COLUMN {SCHEMA}.history.step_note IS 'Stepwise: what that step found before it began';
"""



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
    """Tell whether there are relations that no extension made, and whether one is the first generation's."""
    query = f"""
        SELECT pg_catalog.count(*) > 0, pg_catalog.bool_or(
            n.nspname = 'public' AND c.relname = 'schema_migrations' AND 2 = (
                SELECT pg_catalog.count(*) FROM pg_catalog.pg_attribute a
                WHERE a.attrelid = c.oid AND a.attname IN ('id', 'migration_name')))
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
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
        connection.run(_CREATE + UPGRADE)
    except ServerError as error:
        if error.sqlstate == _NO_PRIVILEGE:
            database, user = connection.rows("SELECT pg_catalog.current_database(), SESSION_USER")[0]
            error.cure = f"as the database's owner: GRANT CREATE ON DATABASE {database} TO {user}"
        raise


def begin_run(connection: Connection, action: str, request_id: str) -> int:
    """Record that a run has begun, and return its number; tables of an earlier version get what is new."""
    from migrator.upgrade import IS_NEWEST, UPGRADE  # noqa: PLC0415 - for runs that write

    values = ", ".join(map(connection.literal, (action, request_id, PACKAGE_VERSION)))
    sql = f"INSERT INTO {SCHEMA}.runs (action, request_id, package_version) VALUES ({values}) RETURNING id"
    number, newest = connection.rows(f"{sql}, {IS_NEWEST}")[0]
    if not newest:
        connection.run(UPGRADE)
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


def end_run(connection: Connection, run_id: int, outcome: str, message: str, durations: dict[str, int]) -> None:
    """Record how a run ended, and how many milliseconds each of its migrations took."""
    literal = connection.literal
    sql = (
        f"UPDATE {SCHEMA}.runs SET finished_at = pg_catalog.clock_timestamp(), outcome = {literal(outcome)}, "
        f"message = {literal(message)} WHERE id OPERATOR(pg_catalog.=) {run_id}"
    )
    if durations:
        names = ", ".join(map(literal, durations))
        numbers = ", ".join(map(str, durations.values()))
        sql += (
            f"; UPDATE {SCHEMA}.history h SET duration_ms = d.ms "
            f"FROM ROWS FROM (pg_catalog.unnest(ARRAY[{names}]::text[]), pg_catalog.unnest(ARRAY[{numbers}])) "
            "AS d (name, ms) WHERE h.name OPERATOR(pg_catalog.=) d.name"
        )
    connection.run(sql)


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
