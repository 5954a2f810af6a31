"""Scenarios, as data: files, what was done before, and the command line that the faults hit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tests.faults.bystander import TABLE_SQL

MIGRATE = ("migrate",)
Words = tuple[str, ...]


class Scenario(NamedTuple):
    """One kind of run.

    ``before`` are the runs (those that fail with the word "fails" before them) and the SQL that make the database it
    begins with, from the files of ``earlier``. ``done``
    is a query that says whether a run that was cut off has been completed, where the same words would do something
    else again then. ``holds``: seconds for which an application keeps its row, and so the table ``app``. ``users``: the kinds
    of limited users that the run makes.
    """

    name: str
    files: Mapping[str, str]
    words: Words = MIGRATE
    before: tuple[Words | str, ...] = ()
    earlier: Mapping[str, str] | None = None
    done: str = ""
    environ: Mapping[str, str] = {}
    holds: float = 0.03
    users: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name


APP = {"000_app.sql": f"{TABLE_SQL};"}
"""The table of the bystander, which is there before the run."""
_APPLIED = (("migrate", "--target", "0"),)
_A = "CREATE TABLE a (i int PRIMARY KEY, s text);\nINSERT INTO a SELECT g, g FROM generate_series(1, 50) g;"
_MIXED = {
    **APP,
    "001_a.sql": _A,
    "002_copy.sql": "CREATE TABLE b (i int);\nCOPY b FROM stdin;\n1\n2\n\\.\nUPDATE a SET s = s || '!';",
    "003_steps.sql": "INSERT INTO a VALUES (100, 'x');\nCREATE INDEX CONCURRENTLY a_s ON a (s);\nINSERT INTO b VALUES (3);\n"
    "CREATE INDEX CONCURRENTLY ON b (i);\nVACUUM b;\nBEGIN; INSERT INTO b VALUES (4); UPDATE a SET i = -i; COMMIT;\n"
    "DROP INDEX CONCURRENTLY a_s;",
    "004_big.sql": "CREATE TABLE c (i int, s text);\n"
    + "".join(f"INSERT INTO c VALUES ({i}, '{'x' * 2000}');\n" for i in range(300)),
    "notes.sql": "CREATE TABLE notes (i int);\nINSERT INTO notes SELECT count(*) FROM c;",
    "002_copy.check.sql": "SELECT count(*) = 50 FROM a; SELECT * FROM b WHERE i > 2;",
    "003_steps.check.sql": "SELECT count(*) = 4 FROM b;",
    "002_copy.down.sql": "UPDATE a SET s = rtrim(s, '!');\nDROP TABLE b;",
    "003_steps.down.sql": "CREATE INDEX CONCURRENTLY a_s ON a (s);\nDELETE FROM b WHERE i > 2;\nVACUUM a;\n"
    "BEGIN; UPDATE a SET i = -i; DELETE FROM a WHERE i = 100; COMMIT;\nDROP INDEX CONCURRENTLY a_s;\n"
    "DROP INDEX CONCURRENTLY b_i_idx;",
    "004_big.down.sql": "".join(f"DELETE FROM c WHERE i = {i}; -- {'x' * 500}\n" for i in range(300)) + "DROP TABLE c;",
    "notes.down.sql": "DROP TABLE notes;",
}
_TRANSACTIONAL = {
    **APP,
    "001_a.sql": _A,
    "002_b.sql": "CREATE TABLE b (i int REFERENCES a);\nINSERT INTO b VALUES (1);\nALTER TABLE app ADD COLUMN t text;",
    "003_c.sql": "CREATE TYPE mood AS ENUM ('sad');\nCREATE TABLE c (m mood);\nCREATE VIEW v AS SELECT * FROM c;",
}
_SESSION = {
    **APP,
    "001_a.sql": "CREATE TABLE a (i int, s text DEFAULT nullif(current_setting('x.y', true), ''));\nCREATE SCHEMA s;",
    "002_settings.sql": "SET x.y = 'one';\nSET search_path = s, public;\nINSERT INTO a VALUES (1);\n"
    "CREATE INDEX CONCURRENTLY a_i ON a (i);\nCREATE TABLE t (i int);\nINSERT INTO a VALUES (2);\nVACUUM a;\n"
    "RESET x.y;\nINSERT INTO a VALUES (3);\nINSERT INTO t VALUES (4);",
    "003_role.sql": "SET ROLE pg_monitor;\nRESET ROLE;\nSET work_mem = '8MB';\nVACUUM a;\n"
    "INSERT INTO a VALUES (5, current_setting('work_mem'));",
    "004_clean.sql": "CREATE TEMP TABLE t AS SELECT 1;\nPREPARE p AS SELECT 1;\nINSERT INTO a VALUES (6);",
    "005_again.sql": "CREATE TEMP TABLE t AS SELECT 2;\nPREPARE p AS SELECT 2;\nINSERT INTO a VALUES (7);",
}
_FUNCTIONS = {
    **APP,
    "001_log.sql": "CREATE TABLE log (i int);\nCREATE FUNCTION log(i int) RETURNS int LANGUAGE sql AS "
    "'INSERT INTO log VALUES (i) RETURNING i';",
    "002_calls.sql": "SELECT log(1);\nVACUUM log;\nSELECT log(2);\nSELECT log(3);\nVACUUM log;\nSELECT log(4);",
    "003_block.sql": "DO $$ BEGIN PERFORM log(5); END $$;\nSELECT log(6);",
}
_INDEXES = {
    **APP,
    "001_a.sql": "CREATE TABLE a (i int, s text);\nINSERT INTO a SELECT g, g FROM generate_series(1, 200) g;\n"
    "CREATE TABLE p (i int) PARTITION BY RANGE (i);\nCREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (9);",
    "002_indexes.sql": "CREATE INDEX CONCURRENTLY ON a (i);\nCREATE INDEX CONCURRENTLY ON a (i, s);\n"
    "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS a_u ON a (i) WHERE i > 0;\nREINDEX INDEX CONCURRENTLY a_u;\n"
    "CREATE INDEX CONCURRENTLY gone ON a (lower(s));\nDROP INDEX CONCURRENTLY gone;\nVACUUM (ANALYZE) a;",
}
_BLOCKS = {
    **APP,
    "001_a.sql": "BEGIN;\nCREATE TABLE a (i int);\nCOMMIT;",
    "002_two.sql": "BEGIN;\nINSERT INTO a VALUES (1);\nCOMMIT;\nBEGIN;\nINSERT INTO a VALUES (2);\nUPDATE a SET i = i * 10;\nCOMMIT;\n"
    "START TRANSACTION;\nINSERT INTO a VALUES (3);\nEND;",
    "003_enum.sql": "CREATE TYPE e AS ENUM ('a');\nCREATE TABLE t (e e);",
    "004_value.sql": "ALTER TYPE e ADD VALUE 'b';\nINSERT INTO t VALUES ('b');",
}
_LOCKS = {
    **APP,
    "001_wide.sql": "CREATE TABLE a (i int);\nALTER TABLE app ADD COLUMN a int;",
    "002_steps.sql": "INSERT INTO a VALUES (1);\nVACUUM a;\nALTER TABLE app ADD COLUMN b int;\nINSERT INTO a VALUES (2);",
    "003_index.sql": "CREATE INDEX CONCURRENTLY app_n ON app (id);",
}
_VIEWS = {**APP, "001_a.sql": "CREATE TABLE a (i int);", "repeatable/v.sql": "CREATE OR REPLACE VIEW v AS SELECT i FROM a;"}
_CHANGED_VIEWS = {
    **_VIEWS,
    "repeatable/v.sql": "CREATE OR REPLACE VIEW v AS SELECT i, i + 1 AS j FROM a;",
    "repeatable/w.sql": "CREATE OR REPLACE VIEW w AS SELECT j FROM v;\nINSERT INTO a VALUES (1);",
}
_OLD = {"001_a.sql": "CREATE TABLE a (i int);", "002_b.sql": "CREATE TABLE b (i int);\nCREATE INDEX b_i ON b (i);"}
_OLD_SQL = "CREATE TABLE a (i int); CREATE TABLE b (i int); CREATE INDEX b_i ON b (i)"
_NEWER = {**_OLD, "003_c.sql": "CREATE TABLE c (i int);\nINSERT INTO c VALUES (1);"}
_EDITED = {**_TRANSACTIONAL, "001_a.sql": f"{_A}\n-- a remark", "003_c.sql": f"{_TRANSACTIONAL['003_c.sql']}\n\n-- too"}
_UNDECIDED = {
    **APP,
    "001_a.sql": "CREATE TABLE a (i int);",
    "002_x.sql": "INSERT INTO a VALUES (1);\nVACUUM a;\nDO $$ BEGIN INSERT INTO a VALUES (2); COMMIT; PERFORM 1 / 0; END $$;\n"
    "INSERT INTO a VALUES (3);",
}
_BY_STEPS = """SELECT 1 FROM db_setup.runs WHERE id = (SELECT max(id) FROM db_setup.runs) AND action = 'rollback'
    AND message = 'rolled back notes.sql, 004_big.sql, 003_steps.sql, 002_copy.sql'"""
_SERIAL = {**APP, "001_a.sql": "CREATE TABLE a (i int);"}

ALL = (
    Scenario("files", _TRANSACTIONAL, before=_APPLIED),
    Scenario("new database", {**_SERIAL, "002_b.sql": "CREATE TABLE b (i int);\nCREATE INDEX CONCURRENTLY ON b (i);"}),
    Scenario("mixed", _MIXED, before=_APPLIED),
    Scenario("session state", _SESSION, before=_APPLIED),
    Scenario("functions", _FUNCTIONS, before=_APPLIED),
    Scenario("indexes", _INDEXES, before=_APPLIED),
    Scenario("blocks", _BLOCKS, before=_APPLIED),
    Scenario("locks", _LOCKS, before=_APPLIED, holds=0.15, environ={"LOCK_TIMEOUT": "50ms"}),
    Scenario("repeatable", _CHANGED_VIEWS, before=(MIGRATE,), earlier=_VIEWS),
    Scenario("rollback by steps", _MIXED, ("rollback", "--steps", "4", "--yes"), (MIGRATE,), done=_BY_STEPS),
    Scenario("rollback to target", _MIXED, ("rollback", "--target", "1", "--yes"), (MIGRATE,)),
    Scenario("deploy to tables", _NEWER, before=(_OLD_SQL,)),
    Scenario("adopt", _OLD, ("adopt", "--yes"), (_OLD_SQL,), done="SELECT 1 FROM db_setup.history"),
    Scenario("baseline", _OLD, ("baseline", "--target", "2", "--yes"), (_OLD_SQL,)),
    Scenario("repair", _EDITED, ("repair", "--yes"), (MIGRATE,), earlier=_TRANSACTIONAL),
    Scenario(
        "resolve", _UNDECIDED, ("resolve", "--step", "done", "--yes"), (("fails", "migrate"),),
        done="SELECT 1 FROM db_setup.history WHERE name = '002_x.sql' AND steps = 3",
    ),
    Scenario("verify", _MIXED, ("verify",), (MIGRATE,)),
    Scenario("rehearse", _TRANSACTIONAL, ("rehearse",), _APPLIED),
    Scenario("status", _TRANSACTIONAL, ("status",), _APPLIED),
    Scenario("history", _TRANSACTIONAL, ("history",), (MIGRATE,)),
    Scenario("users", _SERIAL, users=("user", "table_creator")),
    Scenario("rotate", _SERIAL, ("rotate", "--yes"), (MIGRATE,), users=("user", "table_creator"),
             done="SELECT 1 FROM db_setup.runs WHERE action = 'rotate' AND outcome = 'succeeded'"),
)  # fmt: skip
BY_NAME = {scenario.name: scenario for scenario in ALL}
