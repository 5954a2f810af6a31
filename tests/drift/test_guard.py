"""What reaches beyond its database: statement by statement."""

from __future__ import annotations

import pytest
from migrator.drift.guard import without_outside_effects
from migrator.files.migration import Migration
from migrator.scripts.script import STEPWISE, TRANSACTION, Script
from migrator.sql.effects import effect_outside, new_role
from migrator.sql.statements import Statement, split

BEYOND = {
    "CREATE ROLE r": "role",
    "create user u password 'x'": "user",
    "/* c */ CREATE GROUP g": "group",
    "ALTER ROLE r SET work_mem = '1MB'": "role",
    "ALTER USER u RENAME TO v": "user",
    "DROP ROLE IF EXISTS r": "role",
    "GRANT a TO b": "role",
    'GRANT "on" TO b': "role",
    "REVOKE ADMIN OPTION FOR a FROM b": "role",
    "GRANT CONNECT, TEMPORARY ON DATABASE d TO r": "database",
    "REVOKE ALL ON DATABASE d FROM PUBLIC": "database",
    "GRANT CREATE ON TABLESPACE t TO r": "tablespace",
    "GRANT SET ON PARAMETER work_mem TO r": "parameter",
    "CREATE DATABASE d": "database",
    "ALTER DATABASE d SET work_mem = '1MB'": "database",
    "DROP DATABASE d": "database",
    "CREATE TABLESPACE t LOCATION '/x'": "tablespace",
    "ALTER SYSTEM SET work_mem = '1MB'": "system",
    "CREATE SUBSCRIPTION s CONNECTION '' PUBLICATION p": "subscription",
    "COMMENT ON ROLE r IS 'x'": "role",
    "COMMENT ON DATABASE d IS 'x'": "database",
    "SECURITY LABEL ON ROLE r IS 'x'": "role",
    "REASSIGN OWNED BY a TO b": "owned",
    "DROP OWNED BY a": "owned",
    "COPY t TO '/tmp/x'": "file",
    "COPY (SELECT 1) TO PROGRAM 'cat'": "file",
    "SELECT pg_create_logical_replication_slot('a', 'b')": "function",
    "SELECT dblink_exec('x', 'y')": "function",
    "CREATE TABLE t AS SELECT dblink_exec('x', 'y')": "function",
    "CREATE MATERIALIZED VIEW t AS SELECT dblink_exec('x', 'y')": "function",
    "SELECT \"dblink_exec\"('x', 'y')": "function",
    "SELECT dblink_exec /* c */ ('x', 'y')": "function",
    "EXPLAIN ANALYZE SELECT lo_export(1, '/x')": "function",
    "CALL p(lo_export(1, '/x'))": "function",
    "DO $$ BEGIN COPY t TO PROGRAM 'cat'; END $$": "file",
    "DO $$ BEGIN EXECUTE format('COPY t TO %L', f); END $$": "file",
    "SELECT cron.schedule('x', '* * * * *', 'SELECT 1')": "function",
    "DO $$ BEGIN PERFORM pg_terminate_backend(1); END $$": "function",
    "DO $$ BEGIN CREATE ROLE r; COMMIT; END $$": "block",
}
INSIDE = (
    "CREATE USER MAPPING FOR u SERVER s", "DROP USER MAPPING FOR u SERVER s",
    "GRANT SELECT ON t TO r", "GRANT SELECT (a, b), UPDATE, INSERT, DELETE, REFERENCES, TRIGGER, TRUNCATE ON t TO r",
    "GRANT ALL ON ALL TABLES IN SCHEMA s TO r", "REVOKE ALL ON SCHEMA public FROM PUBLIC",
    "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO r", "CREATE TABLE role (i int)", "ALTER TABLE t OWNER TO r",
    "COMMENT ON TABLE t IS 'role'", "SET ROLE r", "COPY t FROM STDIN", "COPY t TO STDOUT", "INSERT INTO t VALUES ('CREATE ROLE')",
    "DO $$ BEGIN CREATE ROLE r; END $$", "SELECT 'pg_reload_conf'",
    "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$ SELECT dblink_exec('x', 'y') $$", "CREATE VIEW v AS SELECT dblink_exec('x')",
    "DO $$ BEGIN RAISE 'copy to'; END $$", "CREATE POLICY p ON t TO r USING (true)",
)  # fmt: skip


def one(text: str) -> Statement:
    """Return the only statement of a text."""
    (statement,) = split(f"{text};\n")
    return statement


@pytest.mark.parametrize(("text", "what"), BEYOND.items())
def test_statement_that_reaches_beyond(text: str, what: str) -> None:
    """A statement for global objects of the server is recognised, with what it is for."""
    assert effect_outside(one(text)) == what


@pytest.mark.parametrize("text", INSIDE)
def test_statement_that_stays_inside(text: str) -> None:
    """A statement for its database is built, whatever words are in it."""
    assert effect_outside(one(text)) == ""


@pytest.mark.parametrize(
    ("text", "name"),
    [("CREATE ROLE App_Role LOGIN", "app_role"), ('create user "My ""User"""', 'My "User"'), ("CREATE /* x */ GROUP g", "g"), ("CREATE TABLE t (i int)", "")],
)  # fmt: skip
def test_name_of_a_new_role(text: str, name: str) -> None:
    """The name is that which the server folds or unquotes it to."""
    assert new_role(one(text)) == name


def test_blocks_behind_set_constraints() -> None:
    """A block that speaks of roles is left out once SET CONSTRAINTS has stood before it, which may spend the guard."""
    block = "DO $$ BEGIN ALTER ROLE r LOGIN; END $$;"
    statements = list(split(f"{block} SET CONSTRAINTS ALL IMMEDIATE; {block} CREATE TABLE t (i int);"))
    script = Script(Migration("001_a.sql", "", "", 0), TRANSACTION, "", lambda: iter(statements))
    noted: list[str] = []
    left_in = without_outside_effects(script, lambda _, what: noted.append(what))
    assert [statement.words[0] for statement in left_in.read()] == ["do", "set", "create"]
    assert noted == ["block"]


@pytest.mark.parametrize(
    ("mode", "blocks", "left"), [(TRANSACTION, False, 2), (TRANSACTION, True, 1), (STEPWISE, False, 1)]
)
def test_script_without_what_reaches_beyond(mode: str, blocks: bool, left: int) -> None:
    """Statements for the server are left out and noted once, however often the file is read; blocks when asked."""
    statements = list(split("CREATE ROLE r; DO $$ BEGIN ALTER ROLE r LOGIN; END $$; CREATE TABLE t (i int);"))
    script = Script(Migration("001_a.sql", "", "", 0), mode, "BEGIN;", lambda: iter(statements))
    noted: list[tuple[int, str]] = []
    left_in = without_outside_effects(script, lambda statement, what: noted.append((statement.column, what)), blocks=blocks)
    assert [len(list(left_in.read())) for _ in range(2)] == [left, left]
