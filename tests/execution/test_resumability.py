"""A stepwise file that needs the session of an earlier step: refused, or run all the same; and what can be resumed is."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import closing, suppress

import psycopg2
import pytest
from migrator.errors import InconsistentHistory, LostSession, MigrationFailed, NotResumable

from tests.plugins.crashes import Runs
from tests.plugins.databases import Database, Dump, MakeDatabase
from tests.plugins.folders import Folder
from tests.plugins.runs import Invoke, Outside

NEEDS = "CREATE TEMP TABLE t AS SELECT 7 AS i;\nVACUUM;\nCREATE TABLE u AS SELECT i FROM t;\n"
BROKEN = NEEDS.replace("VACUUM;", "VACUUM;\nSELECT broken;")
MENDED = NEEDS.replace("VACUUM;", "VACUUM;\nSELECT 1;")
DIRECTIVE = "-- db_setup: not-resumable\n"
POINTS = int(os.environ.get("FAULT_POINTS", "16"))
TWO_PHASE = (
    "SELECT 1;\nBEGIN; SET work_mem = '9MB'; CREATE TABLE u (i int); PREPARE TRANSACTION '{name}''s';\n"
    "COMMIT PREPARED '{name}''s';\nCREATE TABLE last AS SELECT current_setting('work_mem') AS mem;"
)
_LAST = 24  # things that a run asks for from the announcement of the block on, and some before


@pytest.mark.parametrize("action", ["plan", "migrate", "rehearse"])
def test_need_is_refused_before_anything_is_touched(
    invoke: Invoke, folder: Folder, database: Database, action: str
) -> None:
    """Each action that plans a file refuses it, whatever else is pending, and leaves nothing behind."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("002_x.sql", NEEDS)
    with pytest.raises(NotResumable, match=r'^002_x\.sql:3:33  this needs the temporary table "t" of line 1'):
        invoke({"action": action})
    assert database.query("SELECT to_regclass('a'), to_regnamespace('db_setup')") == [(None, None)]


def test_down_migration_is_refused_as_well(invoke: Invoke, folder: Folder, database: Database) -> None:
    """A rollback that could get stuck is not begun; the same text that only the history has is run with a warning."""
    folder.write("001_x.sql", "CREATE TABLE a (i int);")
    folder.write("001_x.down.sql", NEEDS)
    invoke()
    with pytest.raises(NotResumable, match=r"^001_x\.down\.sql:3:33"):
        invoke({"action": "rollback", "confirm": True})
    assert database.query("SELECT state FROM db_setup.history") == [("applied",)]
    (folder.path / "001_x.down.sql").unlink()
    body = invoke({"action": "rollback", "confirm": True})
    assert any("001_x.down.sql is not-resumable" in text for text in body["warnings"])
    assert database.query("SELECT i FROM u") == [(7,)]


def test_steps_that_only_the_server_asks_for(invoke: Invoke, folder: Folder, database: Database) -> None:
    """A file that the server wants to be run step by step is refused, too, and nothing of it is done."""
    text = "ALTER TYPE e ADD VALUE 'b';\nCREATE TEMP TABLE t AS SELECT 'b'::e AS e;\nCREATE TABLE u AS SELECT * FROM t;\n"
    folder.write("001_e.sql", "CREATE TYPE e AS ENUM ('a');")
    folder.write("002_x.sql", text)
    with pytest.raises(NotResumable, match=r"002_x\.sql:3:33"):
        invoke()
    assert database.query("SELECT name FROM db_setup.history") == [("001_e.sql",)]
    assert database.query("SELECT enumlabel FROM pg_enum WHERE enumtypid = 'e'::regtype") == [("a",)]
    folder.write("002_x.sql", DIRECTIVE + text)
    assert invoke()["applied_migrations"] == ["002_x.sql"]


def test_directive_is_no_edit(invoke: Invoke, folder: Folder) -> None:
    """An applied file may get the directive, and lose it: its checksum stays."""
    folder.write("001_x.sql", "VACUUM;")
    invoke()
    folder.write("001_x.sql", f"{DIRECTIVE}VACUUM;")
    assert invoke()["applied_migrations"] == []
    folder.write("001_x.sql", f"{DIRECTIVE}-- db_setup: forward-only\nVACUUM;")
    assert invoke()["applied_migrations"] == []
    folder.write("001_x.sql", "VACUUM;")
    assert invoke()["applied_migrations"] == []


def test_file_that_is_not_resumable(
    invoke: Invoke, folder: Folder, make_database: MakeDatabase, database: Database
) -> None:
    """It is run with a warning; a failure says where a re-run stops, and the way out works, elsewhere too."""
    folder.write("001_x.sql", DIRECTIVE + BROKEN)
    (warning,) = [item for item in invoke({"action": "plan"})["warnings"] if "not-resumable" in item]
    assert 'line 5 needs the temporary table "t" of line 2; if a run ends between the two' in warning
    with pytest.raises(MigrationFailed) as caught:
        invoke()
    assert "2 steps of 001_x.sql, recorded; a re-run goes on at line 4, and cannot pass line 5" in str(caught.value)
    again = 'before you run it again, make the temporary table "t" again, with what it held, right before line 5'
    assert caught.value.fix.endswith(again)
    folder.write("001_x.sql", DIRECTIVE + MENDED)
    for _ in range(2):
        with pytest.raises(LostSession, match=r'^001_x\.sql:5:33  "t", made by the steps that are done'):
            invoke()
    other = make_database()
    assert invoke(DATABASE_URL=other.url)["applied_migrations"] == ["001_x.sql"]
    folder.write("001_x.sql", DIRECTIVE + MENDED.replace("CREATE TABLE u", "CREATE TEMP TABLE t AS SELECT 7 AS i;\nCREATE TABLE u"))
    assert invoke()["applied_migrations"] == ["001_x.sql"]
    assert database.query("SELECT i FROM u") == [(7,)]
    with pytest.raises(InconsistentHistory):
        invoke({"action": "migrate"}, DATABASE_URL=other.url, STRICT_ORDER="true")
    invoke({"action": "repair", "confirm": True}, DATABASE_URL=other.url)
    assert invoke(DATABASE_URL=other.url)["applied_migrations"] == []


def test_what_is_lost_stays_lost(invoke: Invoke, folder: Folder, database: Database, outside: Outside) -> None:
    """A table that ended with a session is not taken for one of the same name by the second run after that, or a later one."""
    outside("CREATE TABLE t (i int); INSERT INTO t VALUES (8)")
    folder.write("001_x.sql", DIRECTIVE + BROKEN)
    with pytest.raises(MigrationFailed):
        invoke()
    folder.write("001_x.sql", DIRECTIVE + MENDED)
    for _ in range(3):
        with pytest.raises(LostSession):
            invoke()
    assert database.query("SELECT to_regclass('u')") == [(None,)]


def test_what_is_lost_has_been_dropped(invoke: Invoke, folder: Folder, database: Database, outside: Outside) -> None:
    """A step that only drops what ended with its session is done; a table of the same name stays."""
    outside("CREATE TABLE t (i int)")
    text = "BEGIN; CREATE TEMP TABLE t (j int); COMMIT;\nDECLARE c CURSOR WITH HOLD FOR SELECT 1;\n%s;\nDROP TABLE t;\nCLOSE c;\nVACUUM;"
    folder.write("001_x.sql", text % "SELECT broken")
    with pytest.raises(MigrationFailed):
        invoke()
    folder.write("001_x.sql", text % "SELECT 1")
    assert invoke()["applied_migrations"] == ["001_x.sql"]
    assert database.query("SELECT to_regclass('t')::text") == [("t",)]


def test_prepared_statement_whose_table_is_gone(invoke: Invoke, folder: Folder, database: Database) -> None:
    """What a session had prepared is prepared again as soon as that can be done; until then it stops nothing."""
    text = (
        "CREATE TABLE t (i int);\nPREPARE p AS INSERT INTO t VALUES (1);\nPREPARE q AS SELECT * FROM t;\nDROP TABLE t;\n%s;\n"
        "DEALLOCATE q;\nCREATE TABLE t (i int);\nEXECUTE p;\nVACUUM t;"
    )
    folder.write("001_x.sql", text % "SELECT broken")
    with pytest.raises(MigrationFailed):
        invoke()
    folder.write("001_x.sql", text % "SELECT 1")
    assert invoke()["applied_migrations"] == ["001_x.sql"]
    assert database.query("SELECT i FROM t") == [(1,)]


def test_role_that_is_gone(invoke: Invoke, folder: Folder, database: Database) -> None:
    """A role that the session had, and that no other can take, is named with what to do, and then the file goes on."""
    role = f"test_gone_{os.environ.get('PYTEST_XDIST_WORKER', '')}"
    text = f"CREATE ROLE {role};\nSET ROLE {role};\n%s;\nRESET ROLE;\nCREATE TABLE u (i int);\nVACUUM;"
    folder.write("001_x.sql", text % "SELECT broken")
    try:
        with pytest.raises(MigrationFailed):
            invoke()
        database.execute(f"DROP ROLE {role}")
        folder.write("001_x.sql", text % "SELECT 1")
        for _ in range(2):
            with pytest.raises(LostSession, match=f'role "{role}" does not exist.*cannot be made again') as caught:
                invoke()
        assert "put back what it needs" in caught.value.fix
        database.execute(f"CREATE ROLE {role}")
        assert invoke()["applied_migrations"] == ["001_x.sql"]
    finally:
        database.execute(f"DROP ROLE IF EXISTS {role}")


@pytest.fixture
def prepared(make_database: MakeDatabase) -> Iterator[list[Database]]:
    """Return a list of databases; what is prepared in them does not stay, or they could not be dropped."""
    made: list[Database] = []
    yield made
    for database in made:
        with suppress(psycopg2.Error):
            database.execute(f"ROLLBACK PREPARED '{database.name}''s'")


def test_two_phase_block_is_killed(
    make_database: MakeDatabase, folder: Folder, runs: Runs, pg_dump: Dump, prepared: list[Database]
) -> None:
    """Killed before or after anything it asks, the next run ends as one that was not, with the settings of the block."""

    def end(point: int, *, before: bool) -> tuple[int, str]:
        target = make_database()
        prepared.append(target)
        folder.write("001_x.sql", TWO_PHASE.format(name=target.name))
        environ = {"DATABASE_URL": target.url, "MIGRATIONS_DIR": str(folder.path), "MIGRATION_TIMEOUT": "20"}
        done = runs.run(environ, point=point, before=before)
        again = runs.run(environ)
        assert not again.error, (point, before, again)
        return done.asked, pg_dump(target, "--exclude-schema=db_setup", "--inserts")

    asked, wanted = end(0, before=False)
    everything = [(point, before) for point in range(asked - _LAST, asked + 1) for before in (True, False)]
    for point, before in random.Random(0).sample(everything, min(POINTS, len(everything))):  # noqa: S311
        assert end(point, before=before)[1] == wanted, (point, before)


def test_transaction_that_somebody_else_has_prepared(
    invoke: Invoke, folder: Folder, database: Database, outside: Outside, prepared: list[Database]
) -> None:
    """One of the identifier that was there before is no evidence: the block is run, and refused as the server does."""
    prepared.append(database)
    outside("CREATE TABLE b (i int)")
    with closing(database.connect()) as other, other.cursor() as cursor:
        cursor.execute(f"BEGIN; INSERT INTO b VALUES (1); PREPARE TRANSACTION '{database.name}''s'")
    folder.write("001_x.sql", TWO_PHASE.format(name=database.name))
    for _ in range(2):
        with pytest.raises(MigrationFailed, match="already in use"):
            invoke()
    assert database.query("SELECT steps, step_begun FROM db_setup.history") == [(1, 0)]
