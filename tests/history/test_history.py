"""What the tables say where they have no rows: whether something was applied, and whether another table still counts."""

from __future__ import annotations

from contextlib import closing

import pytest
from migrator.database.connection import connect
from migrator.database.credentials import from_url
from migrator.database.deadline import Deadline
from migrator.history import History, HistorySnapshot

from tests.plugins.databases import Database

FIRST = "CREATE TABLE public.schema_migrations (id serial, migration_name text)"


def read(database: Database, *runs: tuple[str, str]) -> HistorySnapshot:
    """Return the history after runs of some actions that had some outcome, with no row for a migration."""
    with closing(connect(from_url(database.url), 1, Deadline(None))) as connection:
        history = History(connection)
        history.create()
        for number, run in enumerate(runs, 1):
            row = connection.literals(number, "r", *run, "1")
            columns = "id, request_id, action, outcome, package_version"
            connection.run(f"INSERT INTO db_setup.runs ({columns}) OVERRIDING SYSTEM VALUE VALUES ({row})")
        return history.read()


@pytest.mark.parametrize(("runs", "counts"), [
    ((), True), ((("migrate", "failed"),), True), ((("migrate", "running"),), True), ((("rotate", "succeeded"),), True),
    ((("migrate", "succeeded"),), False), ((("rollback", "failed"),), False), ((("migrate", "succeeded"), ("migrate", "failed")), False),
])  # fmt: skip
def test_table_of_the_first_generation(database: Database, runs: tuple[tuple[str, str], ...], counts: bool) -> None:
    """It counts until a run that could take it over has succeeded; one that failed, or rotated secrets, has not."""
    database.execute(FIRST)
    assert read(database, *runs).first_generation is counts


@pytest.mark.parametrize("table", [
    "CREATE VIEW public.schema_migrations AS SELECT 1 AS id, '' AS migration_name", "CREATE TABLE public.schema_migrations (id serial, name text)",
    "CREATE SCHEMA s; CREATE TABLE s.schema_migrations (id serial, migration_name text)",
    "CREATE TABLE public.schema_migration (id serial, migration_name text)", f"{FIRST}; CREATE ROLE {{0}}; ALTER TABLE schema_migrations OWNER TO {{0}}",
])  # fmt: skip
def test_table_that_is_not_of_the_first_generation(database: Database, table: str) -> None:
    """A view, other columns, another schema or name, and a table of somebody else's are not believed."""
    role = f"{database.name}_stranger"
    database.execute(table.format(role))
    assert not read(database).first_generation
    if "ROLE" in table:
        database.execute(f"DROP TABLE schema_migrations; DROP ROLE {role}")


@pytest.mark.parametrize(("runs", "none"), [
    ((("rollback", "succeeded"),), True), ((("baseline", "succeeded"),), True), ((("repair", "succeeded"),), False),
    ((("adopted", "succeeded"),), False), ((), False), ((("rollback", "failed"),), False), ((("migrate", "failed"),), False),
    ((("rollback", "succeeded"), ("migrate", "succeeded")), True), ((("repair", "succeeded"), ("baseline", "succeeded")), True),
    ((("baseline", "succeeded"), ("repair", "succeeded")), False),
])  # fmt: skip
def test_history_that_says_nothing_is_applied(database: Database, runs: tuple[tuple[str, str], ...], none: bool) -> None:
    """Beside other tables, an empty history is believed where the last word was a rollback, or a baseline of nothing."""
    database.execute("CREATE TABLE a (i int)")
    assert read(database, *runs).none_applied is none


@pytest.mark.parametrize(("sql", "there"), [
    ("", False), ("CREATE TABLE a (i int)", True), ("CREATE SCHEMA s", False), ("CREATE SCHEMA s; CREATE SEQUENCE s.q", True),
    ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", True), ("CREATE TYPE t AS ENUM ()", True),
    ("CREATE TEMP TABLE a (i int)", False), ("CREATE EXTENSION IF NOT EXISTS plpgsql", False),
    ("CREATE TEXT SEARCH CONFIGURATION c (COPY = simple)", True), ("CREATE COLLATION c (locale = 'C')", True),
])  # fmt: skip
def test_database_with_something_in_it(database: Database, sql: str, there: bool) -> None:
    """Any object of a schema counts as contents; those of the server, of an extension and of db_setup itself do not."""
    if sql:
        database.execute(sql)
    assert read(database).has_tables is there
