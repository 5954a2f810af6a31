"""A scratch database: created with the encoding and settings of the live one, and dropped at the end.

One that a killed run has left behind is found by its name and age by the next run, and dropped.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from psycopg2 import errorcodes

from migrator.database import Connection
from migrator.errors import ConnectionLost, ScratchRefused, ServerError
from migrator.formatting import quoted

PREFIX = "db_setup_scratch_"
_MAX_NAME = 63  # bytes
_LEFT_AFTER = 300  # seconds without a session; a run in progress keeps one
_FORCE_SINCE = 130000  # DROP DATABASE ... WITH (FORCE)
_LISTS = frozenset({
    "search_path", "temp_tablespaces", "local_preload_libraries", "session_preload_libraries",
    "shared_preload_libraries",
})  # fmt: skip


@contextmanager
def scratch_database(connection: Connection, warn: Callable[[str], None]) -> Iterator[str]:
    """Create a scratch database and yield its name; raises ScratchRefused where the server does not allow it.

    ``warn`` is called with what could not be dropped.
    """
    connection.require_session("a scratch database")
    _refuse_without_rights(connection)
    drop_leftovers(connection, warn)
    name = _create(connection, warn)
    try:
        yield name
    finally:
        _drop(connection, name, warn)


def drop_leftovers(connection: Connection, warn: Callable[[str], None]) -> list[str]:
    """Drop the scratch databases that killed runs have left behind.

    These are old, have no session, and belong to a role whose rights the user has.
    """
    rows = connection.rows(
        "SELECT d.datname, pg_catalog.to_char((pg_catalog.now() AT TIME ZONE 'UTC') - "
        f"interval '{_LEFT_AFTER} seconds', 'YYYYMMDDHH24MISS') FROM pg_catalog.pg_database d "
        f"WHERE pg_catalog.starts_with(d.datname::text, '{PREFIX}') AND pg_catalog.pg_has_role(d.datdba, 'USAGE') "
        "AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.datname = d.datname)"
    )
    left = [name for name, limit in rows if _created_at(name) < limit]
    for name in left:
        _drop(connection, name, warn)
    return left


def _created_at(name: str) -> str:
    return name[len(PREFIX) : len(PREFIX) + 14]


def _refuse_without_rights(connection: Connection) -> None:
    user, may = connection.rows(
        "SELECT rolname, rolcreatedb OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = CURRENT_USER"
    )[0]
    if not may:
        raise ScratchRefused(
            f'the user "{user}" may not create databases',
            fix=f"as an administrator: ALTER ROLE {quoted(user)} CREATEDB; without it nothing can be proven or "
            "verified, and baseline --target N records what you know to be applied",
        )


def _create(connection: Connection, warn: Callable[[str], None]) -> str:
    live, moment = connection.rows(
        "SELECT pg_catalog.current_database(), "
        "pg_catalog.to_char(pg_catalog.now() AT TIME ZONE 'UTC', 'YYYYMMDDHH24MISS')"
    )[0]
    name = f"{PREFIX}{moment}_{os.urandom(3).hex()}_{live}".encode()[:_MAX_NAME].decode(errors="ignore")
    try:
        connection.run(f"CREATE DATABASE {quoted(name)} {_locale(connection)}")
    except ServerError as error:
        raise ScratchRefused(
            f"no scratch database could be made: {error.message} ({error.sqlstate})",
            fix=error.hint or "fix the server error, and run it again",
        ) from error
    _make_settings(connection, name, warn)
    remark = connection.literal("Made by db_setup to compare with; it is dropped when the run ends, or by the next one")
    connection.run(
        f"REVOKE ALL ON DATABASE {quoted(name)} FROM PUBLIC; COMMENT ON DATABASE {quoted(name)} IS {remark}; "
        + "; ".join(_grants(connection, name))
    )
    return name


def _locale(connection: Connection) -> str:
    """Return the options that give a new database the live one's encoding and collation."""
    encoding, collate, ctype, provider, locale, rules = connection.rows(
        "SELECT pg_catalog.pg_encoding_to_char(d.encoding), d.datcollate, d.datctype, j.row->>'datlocprovider', "
        "coalesce(j.row->>'datlocale', j.row->>'daticulocale'), j.row->>'daticurules' FROM pg_catalog.pg_database d "
        "CROSS JOIN LATERAL (SELECT pg_catalog.to_jsonb(d) AS row) j WHERE d.datname = pg_catalog.current_database()"
    )[0]
    literal = connection.literal
    options = f"TEMPLATE template0 ENCODING {literal(encoding)} LC_COLLATE {literal(collate)} LC_CTYPE {literal(ctype)}"
    if provider == "i":
        icu = f" LOCALE_PROVIDER icu ICU_LOCALE {literal(locale)}"
        return f"{options}{icu}{f' ICU_RULES {literal(rules)}' if rules else ''}"
    if provider == "b":
        return f"{options} LOCALE_PROVIDER builtin BUILTIN_LOCALE {literal(locale)}"
    return f"{options} LOCALE_PROVIDER libc" if provider else options  # before PostgreSQL 15 there was no other


def _grants(connection: Connection, name: str) -> list[str]:
    """Return the grants that let roles create schemas and temporary tables as they may in the live database."""
    rows = connection.rows(
        "SELECT CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(x.grantee)) "
        "END, x.privilege_type FROM pg_catalog.pg_database d CROSS JOIN LATERAL pg_catalog.aclexplode("
        "coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) x WHERE d.datname = pg_catalog.current_database() "
        "AND x.privilege_type <> 'CONNECT' AND x.grantee <> d.datdba"
    )
    return [f"GRANT {right} ON DATABASE {quoted(name)} TO {role}" for role, right in rows]


def _make_settings(connection: Connection, name: str, warn: Callable[[str], None]) -> None:
    """Give a session of this user what it begins with in the live database; ``warn`` of what only others may set."""
    rows = connection.rows(
        "SELECT s.setrole <> 0, pg_catalog.unnest(s.setconfig) FROM pg_catalog.pg_db_role_setting s "
        "JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole "
        "WHERE d.datname = pg_catalog.current_database() AND (s.setrole = 0 OR r.rolname = SESSION_USER) ORDER BY 1"
    )
    for of_user, setting in [(False, "synchronous_commit=off"), *rows]:  # a crash leaves nothing of it anyway
        parameter, _, value = setting.partition("=")
        text = value if parameter in _LISTS and value else connection.literal(value)
        whose = f"ROLE SESSION_USER IN DATABASE {quoted(name)}" if of_user else f"DATABASE {quoted(name)}"
        try:
            connection.run(f"ALTER {whose} SET {quoted(parameter)} = {text}")
        except ServerError as error:
            if error.sqlstate != errorcodes.INSUFFICIENT_PRIVILEGE:
                raise
            warn(f"the scratch database has no setting of {parameter}, which this user may not make")


def _drop(connection: Connection, name: str, warn: Callable[[str], None]) -> None:
    """Drop a scratch database and end its sessions; one that cannot be dropped now is dropped by the next run."""
    try:
        if connection.server_version >= _FORCE_SINCE:
            connection.run(f"DROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE)")
        else:
            connection.run(
                "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity "
                f"WHERE datname = {connection.literal(name)}"
            )
            connection.run(f"DROP DATABASE IF EXISTS {quoted(name)}")
    except (ServerError, ConnectionLost) as error:
        warn(f"the scratch database {name} could not be dropped ({error.what}); the next run drops it")
