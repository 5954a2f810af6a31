"""Steps outside any transaction: what the server refused is not done, and what a killed runner left is examined."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

import psycopg2
import pytest
from migrator.cli.local_server import LocalServer
from migrator.errors import MigrationFailed, StepUndecided
from migrator.execution.outside import evidence_of
from migrator.sql import split

from tests.plugins.crashes import Runs
from tests.plugins.databases import Database, Dump, MakeDatabase
from tests.plugins.folders import Folder
from tests.plugins.runs import Invoke, Outside, command
from tests.plugins.waiting import PATIENCE, concurrently, is_blocked, order_of_ends, wait_until

TABLES = (
    "CREATE TABLE t (i int, j int, s text); INSERT INTO t VALUES (1, 1), (1, 2); CREATE INDEX old ON t (j); "
    "CREATE TABLE plain (i int); CREATE TABLE p (i int) PARTITION BY LIST (i); "
    "CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2);"
)
NO_DETACH = "42601"  # a syntax error: DETACH PARTITION ... CONCURRENTLY came with PostgreSQL 14


def has_detach(database: Database) -> bool:
    """Return whether the server knows DETACH PARTITION ... CONCURRENTLY; older ones refuse it like any wrong word."""
    return database.major() >= 14


@pytest.fixture
def tables(database: Database, outside: Outside) -> Iterator[Database]:
    """Return a database with tables, an index, partitions; the databases that a test makes go with it."""
    outside(TABLES)
    yield database
    for name in ("made", "other"):
        database.drop(f"{database.name}_{name}")


@pytest.mark.parametrize(
    ("statement", "state"),
    [
        ("DROP INDEX CONCURRENTLY nope", "42704"),
        ("DROP INDEX CONCURRENTLY plain", "42809"),
        ("ALTER TABLE p DETACH PARTITION plain CONCURRENTLY", "42P01"),
        ("CREATE DATABASE {name}", "42P04"),
        ("DROP DATABASE {name}_nope", "3D000"),
        ("DROP TABLESPACE {name}_nope", "42704"),
        ("COMMIT PREPARED '{name}_nope'", "42704"),
        ("DROP SUBSCRIPTION nope", "42704"),
        ("CREATE INDEX CONCURRENTLY old ON t (j)", "42P07"),
        ("CREATE UNIQUE INDEX CONCURRENTLY ON t (i)", "23505"),
        ("REINDEX INDEX CONCURRENTLY nope", "42P01"),
        ("VACUUM nope", "42P01"),
        ("DO $$ BEGIN PERFORM 1 / 0; COMMIT; END $$", "22012"),
        ("CALL nope()", "42883"),
    ],
)
def test_refused_step_is_refused_again(
    invoke: Invoke, folder: Folder, tables: Database, statement: str, state: str
) -> None:
    """What the server has refused is refused by each run, with the same error, and is not recorded as done."""
    folder.write("001_x.sql", f"SELECT 1;\n{statement.format(name=tables.name)};\nVACUUM;")
    if "DETACH" in statement and not has_detach(tables):
        state = NO_DETACH
    for _ in range(3):
        with pytest.raises(MigrationFailed) as caught:
            invoke()
        assert (caught.value.sqlstate, caught.value.where is not None and caught.value.where.line) == (state, 2)
        assert "1 step of 001_x.sql, recorded; a re-run goes on at line 2" in str(caught.value)
        assert tables.query("SELECT steps, step_begun, step_note FROM db_setup.history") == [(1, 0, "")]


def test_default_partition_is_named_each_time(invoke: Invoke, folder: Folder, tables: Database) -> None:
    """A table with a default partition refuses to detach concurrently; the second error is the first."""
    tables.execute("CREATE TABLE rest PARTITION OF p DEFAULT")
    folder.write("001_x.sql", "ALTER TABLE p DETACH PARTITION p1 CONCURRENTLY;")
    for _ in range(2):
        with pytest.raises(MigrationFailed, match="default partition exists" if has_detach(tables) else NO_DETACH):
            invoke()
    tables.execute("DROP TABLE rest")
    if not has_detach(tables):
        folder.write("001_x.sql", "ALTER TABLE p DETACH PARTITION p1;")
    invoke()
    assert tables.query("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'p'::regclass") == [("p2",)]


def test_detachment_that_was_refused_half_way_is_finished(
    invoke: Invoke, folder: Folder, tables: Database
) -> None:
    """A detachment that ended while it waited is finished by the next run, without an error; no older server begins one."""
    folder.write("001_x.sql", "ALTER TABLE p DETACH PARTITION p1 CONCURRENTLY;")
    if not has_detach(tables):
        with pytest.raises(MigrationFailed, match=NO_DETACH):
            invoke()
        assert tables.query("SELECT 1 FROM pg_inherits WHERE inhrelid = 'p1'::regclass") == [(1,)]
        return
    with closing(tables.connect()) as other, other.cursor() as cursor:
        cursor.execute("BEGIN; SELECT * FROM p")
        with pytest.raises(MigrationFailed), concurrently(lambda: cancel_blocked(tables)):
            invoke()
    assert tables.query("SELECT inhdetachpending FROM pg_inherits WHERE inhrelid = 'p1'::regclass") == [(True,)]
    invoke()
    assert tables.query("SELECT 1 FROM pg_inherits WHERE inhrelid = 'p1'::regclass") == []


def cancel_blocked(database: Database) -> None:
    """Cancel the statement of whoever waits for a lock."""
    wait_until(lambda: is_blocked(database))
    database.execute("SELECT pg_cancel_backend(pid) FROM pg_locks WHERE NOT granted")


EXCLUSIVE = {
    "vacuum": "VACUUM FULL t",
    "vacuum in options": "VACUUM (FULL, VERBOSE off) t",
    "cluster": "CLUSTER",
    "reindex of a schema": "REINDEX SCHEMA public",
    "reindex of a database": 'REINDEX DATABASE "{name}"',
    "reindex of a partitioned table": "REINDEX TABLE p",
    "not concurrently after all": 'REINDEX (CONCURRENTLY off) DATABASE "{name}"',
    "a name that says concurrently": 'VACUUM FULL "concurrently"',
}
"""Statements outside any transaction behind which a query queues."""


@pytest.mark.parametrize("statement", EXCLUSIVE.values(), ids=EXCLUSIVE)
def test_application_queues_behind_no_statement(invoke: Invoke, folder: Folder, tables: Database, statement: str) -> None:
    """A query that comes after a blocked statement has its answer before the transaction that blocks both has ended."""
    if "(CONCURRENTLY" in statement and tables.major() < 14:
        statement = 'REINDEX DATABASE "{name}"'  # without such an option
    table = "p" if statement.endswith(" p") else '"concurrently"' if statement.endswith('"concurrently"') else "t"
    tables.execute('CREATE TABLE "concurrently" (i int); CLUSTER t USING old; CREATE INDEX ON p (i)')
    folder.write("001_x.sql", f"{statement.format(name=tables.name)};")
    assert order_of_ends(tables, table, lambda: invoke(LOCK_TIMEOUT="200ms", MIGRATION_TIMEOUT="20")) == [
        "query", "transaction", "run",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("statement", "wanted"),
    [
        ("CREATE INDEX CONCURRENTLY ON t (i)", True), ("DROP INDEX CONCURRENTLY old", True),
        ("REINDEX TABLE CONCURRENTLY t", True), ("REINDEX (VERBOSE, CONCURRENTLY) TABLE t", True),
        ("REINDEX (CONCURRENTLY = true) TABLE t", True), ("ALTER TABLE p DETACH PARTITION p1 CONCURRENTLY", True),
        ("REINDEX (CONCURRENTLY FALSE) TABLE t", False), ("REINDEX (CONCURRENTLY 'off') TABLE t", False),
        ('REINDEX TABLE "a CONCURRENTLY b"', False), ("VACUUM FULL /* not CONCURRENTLY */ t", False),
        ("REINDEX SCHEMA concurrently_built", False),
    ],
)  # fmt: skip
def test_only_what_says_concurrently_waits_without_end(statement: str, wanted: bool) -> None:
    """CONCURRENTLY counts as a word of the statement, not in a name or a comment, nor where it is switched off."""
    (found,) = split(statement)
    assert found.is_concurrent is wanted


KILLED: dict[str, tuple[list[str], str]] = {
    "index": ([], "CREATE INDEX CONCURRENTLY t_i ON t (i)"),
    "index without a name": (["CREATE INDEX t_j_idx ON t (j)"], "CREATE INDEX CONCURRENTLY ON t (j)"),
    "index of an expression": ([], "CREATE UNIQUE INDEX CONCURRENTLY ON t (lower(s) DESC, j) INCLUDE (i) WHERE j > 0"),
    "dropped index": ([], "DROP INDEX CONCURRENTLY old"),
    "reindex": ([], "REINDEX INDEX CONCURRENTLY old"),
    "detach": ([], "ALTER TABLE IF EXISTS public.p DETACH PARTITION public.p1 CONCURRENTLY"),
    "database": ([], 'CREATE DATABASE "{name}_x"'),
    "dropped database": (["CREATE DATABASE {name}_x"], "DROP DATABASE {name}_x"),
    "prepared": (["BEGIN; CREATE TABLE u (i int); PREPARE TRANSACTION '{name}''s'"], "COMMIT PREPARED '{name}''s'"),
    "tablespace": ([], "SET allow_in_place_tablespaces = on; CREATE TABLESPACE {name}_x LOCATION ''"),
    "dropped tablespace": (
        ["SET allow_in_place_tablespaces = on", "CREATE TABLESPACE {name}_x LOCATION ''"], "DROP TABLESPACE {name}_x",
    ),
    "subscription": ([], "CREATE SUBSCRIPTION {name}_x CONNECTION '' PUBLICATION p WITH (connect = false)"),
}  # fmt: skip
SHARED = "SELECT (SELECT count(*) FROM pg_database WHERE datname = '{0}_x'), (SELECT count(*) FROM pg_tablespace WHERE spcname = '{0}_x')"
POINTS = int(os.environ.get("FAULT_POINTS", "16")) // 2
_LAST = 18  # things that a run asks for from the announcement of its second step on, and some before


@pytest.mark.parametrize(("before", "statement"), KILLED.values(), ids=list(KILLED))
def test_killed_step_is_examined(
    make_database: MakeDatabase, folder: Folder, runs: Runs, pg_dump: Dump, before: list[str], statement: str, outside: Outside
) -> None:
    """Killed before or after anything it asks, the next run goes on by itself, to the same end, an unknown word's refusal too."""

    def end(point: int, *, strikes_before: bool) -> tuple[int, str, object]:
        """Return what a run has asked for, and what there is after it, and another one where it was killed."""
        target = make_database()
        with closing(target.connect()) as connection, connection.cursor() as cursor:
            for message in (TABLES, *before):
                cursor.execute(message.format(name=target.name))
        outside("SELECT 1", target)
        folder.write("001_x.sql", f"SELECT 1;\n{statement.format(name=target.name)};\nCREATE TABLE last (i int);")
        environ = {"DATABASE_URL": target.url, "MIGRATIONS_DIR": str(folder.path)}
        done = runs.run(environ, point=point, before=strikes_before)
        again = runs.run(environ)
        refused = "DETACH" in statement and not has_detach(target)
        assert NO_DETACH in again.error if refused else not again.error, (point, strikes_before, again)
        found = pg_dump(target, "--exclude-schema=db_setup", "--inserts"), target.query(SHARED.format(target.name))
        clean_up(target)
        return done.asked, found[0].replace(target.name, "database"), found[1]

    asked, *wanted = end(0, strikes_before=False)
    everything = [(point, strikes) for point in range(asked - _LAST, asked + 1) for strikes in (True, False)]
    for point, strikes in random.Random(statement).sample(everything, min(POINTS, len(everything))):  # noqa: S311
        assert [*end(point, strikes_before=strikes)[1:]] == wanted, (point, strikes)


def killed(database: Database, folder: Folder, when: Callable[[], object]) -> None:
    """Start a run in a process of its own, and kill it as soon as a condition holds."""
    words = command("migrate", "--database-url", database.url, "--migrations", str(folder.path))
    runner = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(when)
    runner.kill()
    runner.wait(PATIENCE)


def clean_up(database: Database) -> None:
    """Remove what a test has made outside its database, or what keeps that from being dropped."""
    name = database.name
    database.drop(f"{name}_x")
    for sql in (
        f"DROP TABLESPACE {name}_x", f"ROLLBACK PREPARED '{name}''s'", f"ALTER SUBSCRIPTION {name}_x DISABLE",
        f"ALTER SUBSCRIPTION {name}_x SET (slot_name = NONE)", f"DROP SUBSCRIPTION {name}_x",
    ):  # fmt: skip
        with suppress(psycopg2.Error):
            database.execute(sql)


def test_database_that_somebody_else_has_made(invoke: Invoke, folder: Folder, tables: Database, server: LocalServer) -> None:
    """A runner that died in the step leaves no doubt: the database of another owner that has come since is not its own."""
    made, begun = f"{tables.name}_made", "SELECT 1 FROM db_setup.history WHERE step_begun = 1"
    folder.write("001_x.sql", "SELECT 1;")
    invoke()
    folder.write("002_y.sql", f"CREATE DATABASE {made};")
    with closing(Database(server, "template1").connect()):  # which is copied, and so has to be without sessions
        killed(tables, folder, lambda: tables.query(begun))
        wait_until(lambda: not tables.query("SELECT 1 FROM pg_stat_activity WHERE query ~ '^CREATE DATABASE'"))
    tables.execute(f"CREATE ROLE {made}_owner")
    tables.execute(f"CREATE DATABASE {made} OWNER {made}_owner")
    try:
        for _ in range(2):
            with pytest.raises(MigrationFailed, match="already exists"):
                invoke()
    finally:
        tables.drop(made)
        tables.execute(f"DROP ROLE {made}_owner")
    invoke()
    tables.drop(made)


@pytest.mark.parametrize(
    ("text", "shows"),
    [
        ("VACUUM t", True), ("ALTER SYSTEM SET work_mem = '4MB'", True), ("REINDEX SCHEMA s", True), ("CLUSTER", True),
        ("DISCARD ALL", True), ("DROP INDEX CONCURRENTLY i", True), ("ROLLBACK PREPARED 'g'", True),
        ("ALTER DATABASE d SET TABLESPACE s", True), ("CREATE DATABASE d", True), ("DROP TABLESPACE IF EXISTS s", True),
        ("/* a */ DROP /* b */ INDEX CONCURRENTLY IF EXISTS s.i -- c", True), ("DROP SUBSCRIPTION s", True),
        ("ALTER TABLE ONLY s.t DETACH PARTITION s.p CONCURRENTLY", True), ("ALTER SUBSCRIPTION s REFRESH PUBLICATION", True),
        ("DO $$ BEGIN COMMIT; END $$", False), ("CALL p()", False), ("SELECT f()", False),
    ],
)  # fmt: skip
def test_what_shows_whether_a_statement_was_done(text: str, shows: bool) -> None:
    """Each statement that needs no transaction is repeated, or examined; of what may commit by itself nothing shows it."""
    (statement,) = split(text)
    assert (evidence_of(statement) is not None) is shows


@pytest.mark.parametrize("statement", ["DROP INDEX CONCURRENTLY nope", "ALTER TABLE p DETACH PARTITION plain CONCURRENTLY"])
def test_step_that_an_earlier_version_has_begun(invoke: Invoke, folder: Folder, tables: Database, statement: str) -> None:
    """What a killed run of a version without notes has left open is asked; one that notes a thing as missing knows it not done."""
    folder.write("001_x.sql", f"SELECT 1;\n{statement};\nVACUUM;")
    if "DETACH" in statement and not has_detach(tables):
        statement = "an older server's syntax error"
    with pytest.raises(MigrationFailed) as refused:
        invoke()
    tables.execute("UPDATE db_setup.history SET step_begun = 2, step_note = 'none'")
    with pytest.raises(MigrationFailed) as again:
        invoke()
    assert again.value.sqlstate == refused.value.sqlstate
    tables.execute("UPDATE db_setup.history SET step_begun = 2, step_note = ''")
    with pytest.raises(StepUndecided, match="nothing shows whether it is done"):
        invoke()


@pytest.mark.parametrize(("clause", "made_with", "own"), [
    ("OWNER {0}_owner", "OWNER {0}_owner", True), ('OWNER = "{0}_owner"', "OWNER {0}_owner", True),
    ("OWNER {0}_owner", "", False), ("OWNER DEFAULT", "", True), ("OWNER DEFAULT", "OWNER {0}_owner", False),
])  # fmt: skip
def test_database_counts_as_made_with_the_owner_of_its_statement(
    invoke: Invoke, folder: Folder, tables: Database, clause: str, made_with: str, own: bool
) -> None:
    """A database that was not there when the step began is the step's where its owner is the one that this asks for."""
    made = f"{tables.name}_made"
    tables.execute(f"CREATE ROLE {made}_owner")
    tables.execute(f"CREATE DATABASE {made} {made_with.format(made)}")
    folder.write("001_x.sql", f"SELECT 1;\nCREATE DATABASE {made} {clause.format(made)};")
    try:
        with pytest.raises(MigrationFailed, match="already exists"):
            invoke()
        tables.execute("UPDATE db_setup.history SET step_begun = 2, step_note = 'none'")
        if own:
            assert invoke()["applied_migrations"] == ["001_x.sql"]
        else:
            with pytest.raises(MigrationFailed, match="already exists"):
                invoke()
    finally:
        tables.drop(made)
        tables.execute(f"DROP ROLE {made}_owner")


def test_tablespace_of_the_session_user(invoke: Invoke, folder: Folder, tables: Database) -> None:
    """A tablespace that a killed run has not made is made by the next one, or refused as before."""
    folder.write("001_x.sql", "SELECT 1;\nCREATE TABLESPACE nowhere OWNER SESSION_USER LOCATION 'nowhere';")
    for _ in range(2):
        with pytest.raises(MigrationFailed, match="absolute path"):
            invoke()
        tables.execute("UPDATE db_setup.history SET step_begun = 2, step_note = 'none'")


def test_block_that_a_killed_run_has_begun(invoke: Invoke, folder: Folder, tables: Database) -> None:
    """Of a block that may have committed nothing shows whether it is done, so a person is asked."""
    folder.write("001_x.sql", "SELECT 1;\nDO $$ BEGIN PERFORM 1 / 0; COMMIT; END $$;")
    with pytest.raises(MigrationFailed):
        invoke()
    tables.execute("UPDATE db_setup.history SET step_begun = 2, step_note = ''")
    with pytest.raises(StepUndecided, match="nothing shows whether it is done"):
        invoke()
