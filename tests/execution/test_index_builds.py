"""Indexes built concurrently: one counts as built where it is what the statement asks for; nobody else's is dropped."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from migrator.errors import MigrationFailed, ObjectExists, StepUndecided

from tests.plugins.databases import Database
from tests.plugins.folders import Folder
from tests.plugins.runs import Invoke, Outside, command
from tests.plugins.waiting import PATIENCE, concurrently, is_blocked, wait_until

INDEXES = "SELECT c.relname, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = indexrelid WHERE indrelid = 'a'::regclass ORDER BY 1"


@pytest.fixture
def table(database: Database, outside: Outside) -> Database:
    """Return a database with a table of which one value stands twice."""
    outside("CREATE TABLE a (e int, z int, s text); INSERT INTO a VALUES (1, 1), (1, 2)")
    return database


@contextmanager
def written(database: Database) -> Iterator[None]:
    """Have a transaction write the table, for which every concurrent build waits."""
    with closing(database.connect()) as other, other.cursor() as cursor:
        cursor.execute("BEGIN; INSERT INTO a VALUES (9, 9)")
        yield
        cursor.execute("COMMIT")


def kill_in_build(database: Database, folder: Folder) -> None:
    """Kill a run while what it builds waits, and wait for the end of its session."""
    words = command("migrate", "--database-url", database.url, "--migrations", str(folder.path))
    with written(database):
        runner = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: is_blocked(database))
        runner.kill()
        runner.wait(PATIENCE)
        wait_until(lambda: not is_blocked(database))
    assert [name for name, valid in database.query(INDEXES) if not valid] != []


def own_name(clause: str) -> str:
    """Return the name of the index that a statement makes."""
    return "named" if clause.startswith("named") else "a_e_idx"


def test_another_index_does_not_count(invoke: Invoke, folder: Folder, table: Database) -> None:
    """A build that failed on duplicates is made anew, whatever index of the table somebody has made since."""
    folder.write("001_x.sql", "CREATE UNIQUE INDEX CONCURRENTLY ON a (e);")
    with pytest.raises(MigrationFailed):
        invoke()
    table.execute("DELETE FROM a WHERE z = 2; CREATE INDEX mine ON a (z)")
    invoke()
    assert table.query(INDEXES) == [("a_e_idx", True), ("mine", True)]
    assert table.query("SELECT indisunique FROM pg_index WHERE indexrelid = 'a_e_idx'::regclass") == [(True,)]


@pytest.mark.parametrize("other", ["CREATE INDEX dba ON a (z)", "CREATE INDEX dba ON a (e)"])
@pytest.mark.parametrize("clause", ["ON a (e)", "named ON a (e)"])
def test_another_index_after_a_kill(
    invoke: Invoke, folder: Folder, table: Database, clause: str, other: str
) -> None:
    """A run that died in its build finds what it left, drops that, and builds; an index of another name is not it."""
    folder.write("001_x.sql", f"CREATE INDEX CONCURRENTLY {clause};")
    kill_in_build(table, folder)
    table.execute(other)
    body = invoke()
    assert sorted(table.query(INDEXES)) == sorted([("dba", True), (own_name(clause), True)])
    assert [warning for warning in body["warnings"] if "was dropped" in warning]


@pytest.mark.parametrize("definition", ["a (z)", "a (e)"])
@pytest.mark.parametrize("clause", ["ON a (e)", "named ON a (e)"])
def test_index_that_another_session_builds_is_not_dropped(
    invoke: Invoke, folder: Folder, table: Database, clause: str, definition: str
) -> None:
    """A run that finds another session building waits until that has done it."""
    folder.write("001_x.sql", f"CREATE INDEX CONCURRENTLY {clause};")
    kill_in_build(table, folder)
    with closing(table.connect()) as dba, closing(table.connect()) as writer, writer.cursor() as cursor:
        cursor.execute("BEGIN; INSERT INTO a VALUES (8, 8)")

        def build() -> None:
            with dba.cursor() as session:
                session.execute(f"CREATE INDEX CONCURRENTLY dba ON {definition}")

        def run() -> None:
            invoke()

        with concurrently(build):
            wait_until(lambda: is_blocked(table))
            with concurrently(run):
                wait_until(lambda: table.query("SELECT 1 FROM db_setup.runs WHERE outcome = 'running' AND id > 1"))
                cursor.execute("COMMIT")
    assert sorted(table.query(INDEXES)) == sorted([("dba", True), (own_name(clause), True)])


def test_index_of_the_name_that_is_being_built(invoke: Invoke, folder: Folder, table: Database) -> None:
    """IF NOT EXISTS over an index that another session is building counts as done when that is, and not before."""
    folder.write("001_x.sql", "CREATE INDEX CONCURRENTLY IF NOT EXISTS named ON a (e);\nCREATE TABLE last (i int);")
    with closing(table.connect()) as dba, closing(table.connect()) as writer, writer.cursor() as cursor:
        cursor.execute("BEGIN; INSERT INTO a VALUES (8, 8)")

        def build() -> None:
            with dba.cursor() as session:
                session.execute("CREATE INDEX CONCURRENTLY named ON a (e)")

        def run() -> None:
            invoke()

        with concurrently(build):
            wait_until(lambda: is_blocked(table))
            oid = table.query("SELECT 'named'::regclass::oid")
            with concurrently(run):
                wait_until(lambda: table.query("SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND query ~ 'pg_stat_progress' AND pid <> pg_backend_pid()"))
                assert table.query("SELECT to_regclass('last')") == [(None,)]
                cursor.execute("COMMIT")
    assert (table.query("SELECT 'named'::regclass::oid"), table.query(INDEXES)) == (oid, [("named", True)])


DIED = (
    "UPDATE db_setup.history SET state = 'running', steps = 0, steps_checksum = '', step_begun = 1, step_note = '[]'; "
    "UPDATE db_setup.runs SET outcome = 'running', history_head = NULL"
)
ASKED = {
    "(e)": ["(z)", "(e DESC)", "(e) INCLUDE (z)", "USING hash (e)", "(e) WHERE z > 0", "(e) WITH (fillfactor = 50)", "((e + 0))", "(e, z)"],
    "(s)": ["(s)", '(s COLLATE "C")', "(s text_pattern_ops)", "(lower(s))", "(s NULLS FIRST)"],
    "USING gin (to_tsvector('english', s))": ["USING gin (to_tsvector('german', s))"],
    "(e) WHERE z > 0": ["(e) WHERE z > 1", "(e)"],
}


@pytest.mark.parametrize(("asked", "others"), ASKED.items(), ids=list(ASKED))
def test_definitions_are_compared(invoke: Invoke, folder: Folder, table: Database, asked: str, others: list[str]) -> None:
    """Of a run that died, an index of the statement's name counts where it is what the statement asks for, to the last option."""
    folder.write("001_x.sql", f"CREATE INDEX CONCURRENTLY named ON public.a {asked};")
    invoke()
    oid = table.query("SELECT 'named'::regclass::oid")
    table.execute(DIED)
    invoke()
    assert table.query("SELECT 'named'::regclass::oid") == oid
    for other in others:
        table.execute(f"DROP INDEX named; CREATE {'UNIQUE' * (other == asked)} INDEX named ON a {other}; {DIED}")
        with pytest.raises(ObjectExists):
            invoke()
    table.execute("DROP INDEX named")
    invoke()


def test_table_that_cannot_be_copied(invoke: Invoke, folder: Folder, table: Database) -> None:
    """Where the statement cannot be tried on a copy of its table, nothing shows whether it was done: a person is asked."""
    table.execute("CREATE FUNCTION whole(a) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1.e'")
    folder.write("001_x.sql", "CREATE INDEX CONCURRENTLY named ON a (whole(a));")
    invoke()
    table.execute(DIED)
    with pytest.raises(StepUndecided, match="nothing shows whether it is done"):
        invoke()
    invoke({"action": "resolve", "step": "done", "confirm": True})
    invoke()
    assert table.query(INDEXES) == [("named", True)]


def test_leftovers_of_a_reindex(invoke: Invoke, folder: Folder, table: Database) -> None:
    """The copies that a REINDEX CONCURRENTLY has left are reported by the run that does it again."""
    table.execute("CREATE INDEX named ON a (e)")
    folder.write("001_x.sql", "REINDEX INDEX CONCURRENTLY named;")
    kill_in_build(table, folder)
    body = invoke()
    assert table.query(INDEXES) == [("named", True), ("named_ccnew", False)]
    assert any("public.named_ccnew" in warning for warning in body["warnings"])


@pytest.mark.parametrize("column", ["e", "e" * 40])
def test_left_over_of_a_long_name_is_dropped(invoke: Invoke, folder: Folder, table: Database, column: str) -> None:
    """What a build without a name has left is found though the server had to cut the name that it chose."""
    name = "t" * 62
    table.execute(f"CREATE TABLE {name} ({column} int); INSERT INTO {name} VALUES (1), (1)")
    invoke({"action": "baseline", "target_revision": "none", "confirm": True})
    folder.write("001_x.sql", f"CREATE UNIQUE INDEX CONCURRENTLY ON {name} ({column});")
    valid = f"SELECT indisvalid FROM pg_index WHERE indrelid = '{name}'::regclass"
    with pytest.raises(MigrationFailed):
        invoke()
    table.execute(f"TRUNCATE {name}")
    invoke()
    assert table.query(valid) == [(True,)]


def test_index_of_a_function_of_the_row(invoke: Invoke, folder: Folder, table: Database) -> None:
    """An index without a name that no copy of its table can have is asked about after a kill, since nobody can tell."""
    table.execute("CREATE FUNCTION f(a) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1.z'")
    invoke({"action": "baseline", "target_revision": "none", "confirm": True})
    folder.write("001_x.sql", "CREATE INDEX CONCURRENTLY ON a (f(a));")
    kill_in_build(table, folder)
    with pytest.raises(StepUndecided):
        invoke()
