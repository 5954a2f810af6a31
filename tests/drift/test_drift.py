"""Each kind of drift is found, and nothing else is: catalogs of databases built by different routes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing
from itertools import count

import pytest
from migrator.cli.local_server import LocalServer
from migrator.database.connection import connect
from migrator.database.credentials import from_url
from migrator.database.deadline import Deadline
from migrator.drift import snapshot
from migrator.drift.diff import compare
from migrator.drift.snapshot import Catalog

from tests.plugins.databases import Database, Dump, MakeDatabase
from tests.plugins.drift import DRIFTS, NEWER_DRIFTS, SCHEMA, WIDE_DRIFTS
from tests.plugins.postgres import client_program

_numbers = count(1)


@pytest.fixture(scope="module")
def built(server: LocalServer) -> Iterator[Database]:
    """Return a database with the schema, to be copied."""
    name = f"built{os.environ.get('PYTEST_XDIST_WORKER', '')}_{next(_numbers)}"
    home = Database(server, "postgres")
    home.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    database = Database(server, name)
    database.execute(SCHEMA)
    yield database
    home.drop(name)


@pytest.fixture(scope="module")
def expected(built: Database) -> Catalog:
    """Return the catalog of the schema."""
    return read(built)


def read(database: Database) -> Catalog:
    """Return the catalog of a database."""
    with closing(connect(from_url(database.url), 1, Deadline(None))) as connection:
        return snapshot.read_catalog(connection, ["postgres"])


@pytest.mark.parametrize(("drift", "kind", "identity", "how"), DRIFTS, ids=[drift[0][:60] for drift in DRIFTS])
def test_planted_drift(
    built: Database, expected: Catalog, make_database: MakeDatabase, drift: str, kind: str, identity: str, how: str
) -> None:
    """A change made by hand is found as one difference, with its object and what is different."""
    database = make_database(f"TEMPLATE {built.name}")
    database.execute(drift)
    found = [(item.kind, item.identity, item.how) for item in compare(expected, read(database))]
    assert found == [(kind, identity, how)]


def test_planted_drift_of_newer_servers(built: Database, expected: Catalog, make_database: MakeDatabase) -> None:
    """What only newer servers have is found there in the same way."""
    (version,) = built.query("SELECT current_setting('server_version_num')::int")[0]
    wrong = {}
    for since, drift, *change in NEWER_DRIFTS:
        if version >= since:
            database = make_database(f"TEMPLATE {built.name}")
            database.execute(drift)
            found = [(item.kind, item.identity, item.how) for item in compare(expected, read(database))]
            wrong.update({drift: found} if found != [tuple(change)] else {})
    assert wrong == {}


@pytest.mark.parametrize(("drift", "objects"), WIDE_DRIFTS, ids=[drift[0][:60] for drift in WIDE_DRIFTS])
def test_planted_drift_of_several_objects(
    built: Database, expected: Catalog, make_database: MakeDatabase, drift: str, objects: set[tuple[str, str, str]]
) -> None:
    """A change that takes others along is found whole, each object once."""
    database = make_database(f"TEMPLATE {built.name}")
    database.execute(drift)
    found = [(item.kind, item.identity, item.how) for item in compare(expected, read(database))]
    assert sorted(found) == sorted(objects)


def test_restored_dump_is_no_drift(
    built: Database, expected: Catalog, make_database: MakeDatabase, server: LocalServer, pg_dump: Dump
) -> None:
    """A database restored from a dump has the catalog of the one that was dumped."""
    database = make_database()
    command = [str(client_program(server, "psql")), "-qX", "-v", "ON_ERROR_STOP=1", f"--dbname={database.url}"]
    done = subprocess.run(command, input=pg_dump(built), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert compare(expected, read(database)) == []


def test_settings_are_no_drift(built: Database, expected: Catalog) -> None:
    """The catalog does not depend on what a session or a database has set."""
    built.execute(
        f"ALTER DATABASE {built.name} SET search_path = shop; ALTER DATABASE {built.name} SET datestyle = 'German';"
        f"ALTER DATABASE {built.name} SET quote_all_identifiers = on; ALTER DATABASE {built.name} SET timezone = 'Asia/Tokyo'"
    )
    assert compare(expected, read(built)) == []


def test_other_tools_and_data_are_no_drift(expected: Catalog, built: Database, make_database: MakeDatabase) -> None:
    """Histories of migration tools, rows, values of sequences, and dead columns are not compared."""
    database = make_database(f"TEMPLATE {built.name}")
    database.execute(
        "CREATE TABLE schema_migrations (id serial PRIMARY KEY, version text); COMMENT ON TABLE schema_migrations IS 'x';"
        "CREATE TABLE flyway_schema_history (installed_rank int); CREATE INDEX ON flyway_schema_history (installed_rank);"
        "INSERT INTO shop.cache VALUES ('a', 'b'); SELECT nextval('shop.seq');"
        "ALTER TABLE shop.lines ADD COLUMN gone int; ALTER TABLE shop.lines DROP COLUMN gone; ANALYZE;"
        "CREATE SCHEMA db_setup; CREATE TABLE db_setup.history (i int); CREATE TEMPORARY TABLE t (i int)"
    )
    assert compare(expected, read(database)) == []


HISTORIES = {
    "sqitch": "CREATE SCHEMA sqitch; COMMENT ON SCHEMA sqitch IS 'x'; CREATE TABLE sqitch.changes (id text PRIMARY KEY, note text); COMMENT ON COLUMN sqitch.changes.note IS 'x'",
    "yoyo": "CREATE TABLE _yoyo_log (id varchar(36) PRIMARY KEY); CREATE TABLE _yoyo_migration (hash text); CREATE TABLE _yoyo_version (v int); CREATE TABLE yoyo_lock (locked int DEFAULT 1)",
    "refinery": "CREATE TABLE refinery_schema_history (version int4 PRIMARY KEY, name varchar(255), applied_on varchar(255), checksum varchar(255))",
    "Sequelize": 'CREATE TABLE "SequelizeMeta" (name varchar(255) PRIMARY KEY); COMMENT ON TABLE "SequelizeMeta" IS \'x\'',
    "EF Core": 'CREATE TABLE "__EFMigrationsHistory" ("MigrationId" varchar(150) PRIMARY KEY, "ProductVersion" varchar(32) NOT NULL)',
    "MikroORM": "CREATE TABLE mikro_orm_migrations (id serial PRIMARY KEY, name varchar(255), executed_at timestamptz DEFAULT now())",
    "TypeORM": 'CREATE TABLE migrations (id serial PRIMARY KEY, "timestamp" bigint NOT NULL, name varchar NOT NULL)',
    "Laravel": "CREATE TABLE migrations (id serial PRIMARY KEY, migration varchar(255), batch integer)",
    "db-migrate": "CREATE TABLE migrations (id serial PRIMARY KEY, name varchar(255), run_on timestamp)",
    "Drizzle": "CREATE SCHEMA drizzle; CREATE TABLE drizzle.__drizzle_migrations (id serial PRIMARY KEY, hash text, created_at bigint)",
    "graphile-migrate": "CREATE SCHEMA graphile_migrate; CREATE TABLE graphile_migrate.migrations (hash text PRIMARY KEY, filename text)",
    "MyBatis": "CREATE TABLE changelog (id numeric(20) PRIMARY KEY, applied_at varchar(25), description varchar(255))",
}


@pytest.mark.parametrize("tool", HISTORIES)
def test_tables_of_tools_are_no_drift(expected: Catalog, built: Database, make_database: MakeDatabase, tool: str) -> None:
    """What a migration tool keeps for itself, its sequences, schema and comments too, is not compared."""
    database = make_database(f"TEMPLATE {built.name}")
    database.execute(HISTORIES[tool])
    assert compare(expected, read(database)) == []


def test_table_with_the_name_of_a_history(expected: Catalog, built: Database, make_database: MakeDatabase) -> None:
    """A table that is only called as tools call theirs is compared, and so is a comment that names it."""
    database = make_database(f"TEMPLATE {built.name}")
    database.execute("CREATE TABLE migrations (id int, species text); CREATE TABLE sqitch (i int); COMMENT ON TABLE sqitch IS 'x'")
    assert [item.identity for item in compare(expected, read(database))] == ["public.migrations", "public.sqitch"]


def test_users_that_db_setup_keeps_are_no_drift(
    built: Database, expected: Catalog, make_database: MakeDatabase
) -> None:
    """What the users are granted at each deploy, now and for objects to come, is no work of the files."""
    database = make_database(f"TEMPLATE {built.name}")
    role = f"kept_{database.name}"
    database.execute(f"CREATE ROLE {role}; COMMENT ON ROLE {role} IS 'made by db_setup for database \"{database.name}\": user'")
    try:
        database.execute(
            f"GRANT USAGE ON SCHEMA shop TO {role}; GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA shop TO {role};"
            f"GRANT SELECT (price) ON shop.customers TO {role}; GRANT USAGE ON SEQUENCE shop.seq TO {role};"
            f"ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {role};"
            f"ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO {role};"
            f"ALTER DEFAULT PRIVILEGES IN SCHEMA shop GRANT USAGE ON SEQUENCES TO {role}"
        )
        assert compare(expected, read(database)) == []
        database.execute("ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC")
        (found,) = compare(expected, read(database))
        assert (found.kind, found.identity) == ("default privileges", "functions of the migrating user")
    finally:
        database.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
