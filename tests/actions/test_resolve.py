"""Steps that can commit by themselves: repeated only where nothing was committed, else a person says what became of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from migrator.errors import InvalidRequest, LockTimeout, MigrationFailed, StepUndecided

from tests.plugins.crashes import Runs
from tests.plugins.databases import Database, MakeDatabase
from tests.plugins.folders import Folder
from tests.plugins.runs import Cli, Done, Invoke, Outside
from tests.plugins.waiting import concurrently, is_blocked, wait_until, wait_until_given_way

TABLES = (
    "CREATE TABLE acc (n int); INSERT INTO acc VALUES (0); CREATE TABLE hot (i int); "
    "CREATE PROCEDURE adds() LANGUAGE plpgsql AS $$ BEGIN UPDATE acc SET n = n + 1; COMMIT; "
    "LOCK TABLE hot IN ACCESS EXCLUSIVE MODE; COMMIT; END $$"
)
BLOCK = "DO $$ BEGIN UPDATE acc SET n = n + 1; COMMIT; LOCK TABLE hot IN ACCESS EXCLUSIVE MODE; COMMIT; END $$;"
DONE, REPEAT = {"action": "resolve", "step": "done"}, {"action": "resolve", "step": "repeat"}
BRIEF = {"LOCK_TIMEOUT": "50ms", "MIGRATION_TIMEOUT": "3"}


@pytest.fixture
def tables(database: Database, outside: Outside) -> Database:
    """Return a database with what the blocks change and lock."""
    outside(TABLES)
    return database


@contextmanager
def held(database: Database) -> Iterator[None]:
    """Hold the table that a block locks."""
    with closing(database.connect()) as other, other.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE hot")
        yield


def total(database: Database) -> int:
    """Return how often a block has been run."""
    return int(database.query("SELECT n FROM acc")[0][0])


@pytest.mark.parametrize("text", [BLOCK, "CALL adds();", f"-- db_setup: no-transaction\n{BLOCK}", f"SELECT 1;\n{BLOCK}"])
def test_block_that_has_committed_is_not_repeated(
    invoke: Invoke, folder: Folder, tables: Database, text: str, cli: Cli
) -> None:
    """It fails after its first COMMIT: neither this run nor the next one does it again, and each says what is asked."""
    folder.write("001_x.sql", f"{text}\nUPDATE acc SET n = n + 10;")
    line = text.count("\n") + 1
    with held(tables), pytest.raises(StepUndecided) as caught:
        invoke(**BRIEF)
    error = caught.value
    assert (error.where is not None and (error.where.file, error.where.line)) == ("001_x.sql", line)
    assert "a part may be done: canceling statement due to lock timeout (55P03): " in error.what
    assert text.rpartition("\n")[2][:20] in error.what
    assert "resolve --step done --yes" in error.fix
    assert "--step repeat --yes" in error.fix
    assert "perhaps a part of" in error.applied
    for _ in range(2):
        with pytest.raises(StepUndecided, match=f"001_x.sql:{line}:1"):
            invoke()
    assert total(tables) == 1
    body = invoke({"action": "status"})
    assert (body["state"], body["success"]) == ("inconsistent", False)
    assert body["problems"][0].startswith(f"001_x.sql:{line}:1  this statement failed after it had ended a transaction")
    assert "resolve --step done" in body["fixes"][0]
    planned = cli("plan", "--json")
    assert (planned.status, json.loads(planned.out)["code"]) == (1, "step_undecided")


def test_done_and_repeat(invoke: Invoke, folder: Folder, tables: Database, cli: Cli) -> None:
    """The answer is shown without --yes and written with it; the file goes on behind the step, or with it."""
    folder.write("001_x.sql", f"{BLOCK}\nUPDATE acc SET n = n + 10;")
    with held(tables), pytest.raises(StepUndecided):
        invoke(**BRIEF)
    before = tables.query("TABLE db_setup.history")
    runs = tables.query("SELECT count(*) FROM db_setup.runs")
    for event, follows in ((DONE, "counts as done, and the next migrate goes on behind it"), (REPEAT, "is run again by the next migrate")):
        body = invoke(event)
        assert (body["resolved_migrations"], body["migrations"][0]["mode"]) == ([], event["step"])
        assert f"this step {follows}. Nothing was written: confirm it (--yes)." in body["message"]
    assert (tables.query("TABLE db_setup.history"), tables.query("SELECT count(*) FROM db_setup.runs")) == (before, runs)

    body = invoke({**REPEAT, "confirm": True})
    assert (body["resolved_migrations"], body["state"]) == (["001_x.sql"], "pending_migrations")
    assert tables.query("SELECT action, outcome, message FROM db_setup.runs ORDER BY id DESC LIMIT 1") == [
        ("resolve", "succeeded", "001_x.sql: repeat")
    ]
    with held(tables), pytest.raises(StepUndecided):
        invoke(**BRIEF)
    assert total(tables) == 2
    done = cli("resolve", "--step", "done", "--yes")
    assert (done.status, "  001  001_x.sql  done\n" in done.out) == (0, True)
    assert invoke()["applied_migrations"] == ["001_x.sql"]
    assert total(tables) == 12
    assert invoke(DONE)["message"].startswith("Nothing to resolve: no file waits for an answer.")
    assert invoke({**DONE, "confirm": True})["resolved_migrations"] == []
    assert invoke({"action": "status"})["problems"] == []


@pytest.mark.parametrize(
    "event", [{"action": "resolve"}, {"action": "resolve", "step": ""}, {"action": "resolve", "step": "maybe"}, {"step": "done"}]
)
def test_other_answers_are_refused(invoke: Invoke, event: dict[str, object]) -> None:
    """Only done and repeat are answers, and only resolve takes one."""
    with pytest.raises(InvalidRequest):
        invoke(event)


def test_block_that_has_committed_nothing_is_tried_again(invoke: Invoke, folder: Folder, tables: Database) -> None:
    """Where a block fails in its first transaction, nothing of it is done: it waits for the lock, and is run once."""
    folder.write("001_x.sql", "DO $$ BEGIN UPDATE acc SET n = n + 1; LOCK TABLE hot; COMMIT; UPDATE acc SET n = n + 1; END $$;")
    with closing(tables.connect()) as other, other.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE hot")

        def leave() -> None:
            wait_until_given_way(tables)
            cursor.execute("COMMIT")

        with concurrently(leave):
            invoke(LOCK_TIMEOUT="50ms", MIGRATION_TIMEOUT="20")
    assert total(tables) == 2


def test_idempotent_block(invoke: Invoke, folder: Folder, tables: Database) -> None:
    """A file that says that its blocks may be run again is asked about by nobody: after a lock, and in the next run."""
    text = "-- db_setup: idempotent\nDO $$ BEGIN UPDATE acc SET n = 1 WHERE n = 0; COMMIT; LOCK TABLE hot; COMMIT; END $$;"
    folder.write("001_x.sql", text)
    with held(tables), pytest.raises(LockTimeout):
        invoke(**BRIEF)
    invoke()
    assert total(tables) == 1


def test_block_with_a_handler(invoke: Invoke, folder: Folder, tables: Database) -> None:
    """Subtransactions, which a block with EXCEPTION makes, are no transactions that it has ended."""
    text = "DO $$ BEGIN BEGIN PERFORM 1 / 0; EXCEPTION WHEN division_by_zero THEN UPDATE acc SET n = n + 1; END; {} COMMIT; END $$;"
    folder.write("001_x.sql", text.format("PERFORM broken();"))
    with pytest.raises(MigrationFailed, match="broken"):
        invoke()
    folder.write("001_x.sql", text.format(""))
    invoke()
    assert total(tables) == 1


def test_lock_that_stays(invoke: Invoke, folder: Folder, tables: Database) -> None:
    """A block that never got its first lock is not done, and nobody is asked."""
    folder.write("001_x.sql", "DO $$ BEGIN LOCK TABLE hot; COMMIT; END $$;")
    with held(tables), pytest.raises(LockTimeout):
        invoke(**BRIEF)
    invoke()


def test_connection_lost_in_a_block(invoke: Invoke, folder: Folder, tables: Database) -> None:
    """A block that loses its connection is not run again by another one; what the run had applied before is named."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("002_x.sql", "DO $$ BEGIN UPDATE acc SET n = n + 1; COMMIT; PERFORM pg_terminate_backend(pg_backend_pid()); END $$;")
    with pytest.raises(StepUndecided, match=r"002_x.sql:1:1  this statement can commit by itself, and the run that began it has not said") as caught:
        invoke()
    assert total(tables) == 1
    assert caught.value.progress.applied == ("001_a.sql",)
    assert "001_a.sql (applied before in this run); perhaps a part of 002_x.sql" in str(caught.value)


def test_time_that_is_over_in_a_block(invoke: Invoke, folder: Folder, tables: Database) -> None:
    """A block that its time has ended says so, and the next run asks."""
    folder.write("001_x.sql", "DO $$ BEGIN UPDATE acc SET n = n + 1; COMMIT; PERFORM pg_sleep(60); END $$;")
    with pytest.raises(StepUndecided, match="a part may be done"):
        invoke(MIGRATION_TIMEOUT="2")
    with pytest.raises(StepUndecided):
        invoke()
    assert total(tables) == 1


def test_block_that_is_at_work(folder: Folder, tables: Database, cli: Cli) -> None:
    """Another deploy waits for the run that is in a block, and reports what that has done; nobody is asked."""
    folder.write("001_x.sql", BLOCK)
    ends: list[Done] = []

    def deploy() -> None:
        ends.append(cli("migrate", "--json", LOCK_TIMEOUT="30s"))

    with closing(tables.connect()) as other, other.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE hot")
        with concurrently(deploy):
            wait_until(lambda: is_blocked(tables))
            with concurrently(deploy):
                wait_until(lambda: tables.query("SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND query ~ 'FROM db_setup.run_lock r'"))
                cursor.execute("COMMIT")
    assert [done.status for done in ends] == [0, 0], ends
    assert sorted("Done meanwhile" in done.out for done in ends) == [False, True]
    assert total(tables) == 1


def test_down_migration(invoke: Invoke, folder: Folder, tables: Database) -> None:
    """A block in a down migration is asked about as well, and rollback goes on behind it."""
    folder.write("001_x.sql", "CREATE TABLE x (i int);")
    folder.write("001_x.down.sql", f"{BLOCK}\nDROP TABLE x;")
    back = {"action": "rollback", "confirm": True}
    invoke()
    with held(tables), pytest.raises(StepUndecided):
        invoke(back, **BRIEF)
    for event in (None, back):
        with pytest.raises(StepUndecided):
            invoke(event)
    assert "the next rollback goes on behind it" in invoke({**DONE, "confirm": True})["message"]
    assert invoke(back)["rolled_back_migrations"] == ["001_x.sql"]
    assert (total(tables), tables.query("SELECT to_regclass('x')")) == (1, [(None,)])


@pytest.mark.parametrize("before", [True, False])
def test_killed_runner(make_database: MakeDatabase, folder: Folder, runs: Runs, outside: Outside, before: bool) -> None:
    """Killed at any point, the block is never done twice: the next run does it once, finds it recorded, or asks."""
    folder.write("001_x.sql", f"{BLOCK}\nUPDATE acc SET n = n + 10;")
    asked = 0
    for point in range(20 + before, 90, 2):
        target = make_database()
        outside(TABLES, target)
        environ = {"DATABASE_URL": target.url, "MIGRATIONS_DIR": str(folder.path)}
        killed = runs.run(environ, point=point, before=before).killed
        again = runs.run(environ)
        if "[step_undecided]" in again.error:
            asked += 1
            answer = "done" if total(target) else "repeat"
            assert not runs.run(environ, {"action": "resolve", "step": answer, "confirm": True}).error
            again = runs.run(environ)
        assert not again.error, (point, again)
        assert total(target) == 11, point
        if not killed:
            break
    else:
        pytest.fail("the run asks for more than was tried")
    assert asked
