"""rollback: what is rolled back, in which order, by which text, and where it stops."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import closing
from itertools import count

import pytest
from migrator.errors import (
    DeadlineReached,
    InvalidRequest,
    LockTimeout,
    MigrationFailed,
    MissingDownFile,
    TextError,
    UnfinishedRollback,
    UnknownTarget,
)
from migrator.execution import Supervision
from migrator.files import Migration
from migrator.history import RunLock
from migrator.scripts import read_scripts

from tests.plugins.crashes import Runs
from tests.plugins.databases import Database, MakeDatabase
from tests.plugins.folders import Folder
from tests.plugins.runs import Cli, Invoke, LambdaContext, command

TABLES = "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1"
ONE = {"action": "rollback", "confirm": True}


@pytest.fixture
def three(folder: Folder, database: Database, invoke: Invoke) -> Database:
    """Return a database with three applied migrations that have down migrations, which say when they ran."""
    for number, name in enumerate("abc", 1):
        folder.write(f"00{number}_{name}.sql", f"CREATE TABLE {name} (i int);")
        folder.write(f"00{number}_{name}.down.sql", f"INSERT INTO log.downs (t) VALUES ('{name}'); DROP TABLE {name};")
    invoke()
    database.execute("CREATE SCHEMA log; CREATE TABLE log.downs (i int GENERATED ALWAYS AS IDENTITY, t text)")
    return database


def names(database: Database) -> list[str]:
    """Return the names in the history."""
    return [name for (name,) in database.query("SELECT name FROM db_setup.history ORDER BY position")]


def order(database: Database) -> str:
    """Return which down migrations ran, in their order."""
    return "".join(t for (t,) in database.query("SELECT t FROM log.downs ORDER BY i"))


@pytest.mark.parametrize(
    ("wish", "ran"),
    [({}, "c"), ({"steps": 1}, "c"), ({"steps": 2}, "cb"), ({"steps": 3}, "cba"), ({"target_revision": "001"}, "cb"),
     ({"target_revision": 2}, "c"), ({"target_revision": "001_a.sql"}, "cb"), ({"target_revision": "base"}, "cba"),
     ({"target_revision": "3"}, "")],
)  # fmt: skip
def test_takes_back_the_last_first(invoke: Invoke, three: Database, wish: dict[str, object], ran: str) -> None:
    """Down migrations run in the reverse order of application, down to the target or for so many steps."""
    body = invoke({**ONE, **wish})
    assert order(three) == ran
    left = "abc"[: 3 - len(ran)]
    assert three.query(TABLES) == [(name,) for name in left]
    assert names(three) == [f"00{i}_{name}.sql" for i, name in enumerate(left, 1)]
    assert body["rolled_back_migrations"] == [f"00{'abc'.index(name) + 1}_{name}.sql" for name in ran]
    assert body["pending_migrations"] == sorted(body["rolled_back_migrations"])
    assert (body["previous_revision"], body["final_revision"]) == ("003", f"00{len(left)}" if left else None)
    assert invoke({"action": "status"})["pending_migrations"] == body["pending_migrations"]


def test_up_again(invoke: Invoke, three: Database) -> None:
    """What was rolled back is pending, and migrate applies it again."""
    invoke({**ONE, "steps": 2})
    assert invoke()["applied_migrations"] == ["002_b.sql", "003_c.sql"]
    assert three.query(TABLES) == [("a",), ("b",), ("c",)]


def test_without_confirm_nothing_is_done(invoke: Invoke, three: Database) -> None:
    """Without "confirm" the answer is the plan, and nothing is written."""
    body = invoke({"action": "rollback", "target_revision": "001"})
    assert [entry["name"] for entry in body["migrations"]] == ["003_c.sql", "002_b.sql"]
    assert body["rolled_back_migrations"] == []
    assert body["message"].startswith("2 migrations would be rolled back: 003_c.sql, 002_b.sql. Nothing was done")
    assert (order(three), three.query("SELECT count(*) FROM db_setup.runs")) == ("", [(1,)])


def test_recorded_in_runs(invoke: Invoke, three: Database) -> None:
    """A rollback has a row in runs that names what it took back; one with nothing to do has none."""
    invoke({**ONE, "steps": 2})
    invoke({**ONE, "target_revision": "001"})
    assert three.query("SELECT action, outcome, message FROM db_setup.runs ORDER BY id")[1:] == [
        ("rollback", "succeeded", "rolled back 003_c.sql, 002_b.sql")
    ]


def test_missing_down_files_refuse_the_whole(invoke: Invoke, three: Database, folder: Folder) -> None:
    """Each migration without a down migration is named before anything runs."""
    folder.write("004_d.sql", "CREATE TABLE d (i int);")
    folder.write("005_e.sql", "CREATE TABLE e (i int);")
    invoke()
    with pytest.raises(MissingDownFile, match=r"no down migration for 005_e\.sql, 004_d\.sql\n") as caught:
        invoke({**ONE, "target_revision": "002"})
    assert "\nRolled back: nothing\nFix: write 005_e.down.sql, 004_d.down.sql; empty where" in str(caught.value)
    assert caught.value.body()["left_migrations"] == ["005_e.sql", "004_d.sql", "003_c.sql"]
    assert order(three) == ""
    assert three.query("SELECT count(*) FROM db_setup.runs") == [(2,)]


def test_broken_down_migration_refuses_the_whole(invoke: Invoke, three: Database, folder: Folder) -> None:
    """A down migration that was broken after it was stored is found before those that come first are run."""
    folder.write("002_b.down.sql", "DROP TABLE b;\nSELECT 'never closed;")
    with pytest.raises(TextError, match=r"002_b\.down\.sql:2:8"):
        invoke({**ONE, "target_revision": "base"})
    assert order(three) == ""
    assert names(three) == ["001_a.sql", "002_b.sql", "003_c.sql"]


def test_older_package_uses_the_stored_text(invoke: Invoke, three: Database, folder: Folder) -> None:
    """A package without the files rolls back by the texts in the history, whatever characters they hold."""
    folder.write("004_d.sql", "CREATE TABLE d (t text);")
    text = "-- Größe\nINSERT INTO log.downs (t) VALUES (E'it''s \\\\ ' || '\\n');\r\nDROP TABLE d;"
    folder.write("004_d.down.sql", b"\xef\xbb\xbf" + text.encode())
    invoke()
    for name in ("004_d.sql", "004_d.down.sql", "003_c.sql", "003_c.down.sql"):
        (folder.path / name).unlink()
    assert invoke()["state"] == "ahead"
    body = invoke({**ONE, "target_revision": "002"})
    assert (body["state"], body["rolled_back_migrations"]) == ("up_to_date", ["004_d.sql", "003_c.sql"])
    assert order(three) == "it's \\ \\nc"


def test_file_goes_before_the_stored_text(invoke: Invoke, three: Database, folder: Folder) -> None:
    """The file that is here is used, since it may be a correction of what was stored."""
    folder.write("003_c.down.sql", "INSERT INTO log.downs (t) VALUES ('corrected'); DROP TABLE c;")
    invoke(ONE)
    assert order(three) == "corrected"


def test_names_of_other_tools(invoke: Invoke, folder: Folder, database: Database) -> None:
    """001_a.up.sql and 001_a.down.sql belong together, as golang-migrate names them."""
    folder.write("001_a.up.sql", "CREATE TABLE a (i int);")
    folder.write("001_a.down.sql", "DROP TABLE a;")
    assert invoke()["applied_migrations"] == ["001_a.up.sql"]
    (folder.path / "001_a.down.sql").unlink()
    assert invoke(ONE)["rolled_back_migrations"] == ["001_a.up.sql"]
    assert database.query(TABLES) == []


def test_large_down_migration_is_not_stored(invoke: Invoke, folder: Folder, database: Database) -> None:
    """Of a down migration over 256 KiB the history stores nothing, which a warning says; the file serves."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("001_a.down.sql", f"-- {'x' * (1 << 18)}\nDROP TABLE a;")
    assert any("001_a.down.sql is larger than 256 KiB" in text for text in invoke()["warnings"])
    assert database.query("SELECT down_sql FROM db_setup.history") == [(None,)]
    assert invoke(ONE)["rolled_back_migrations"] == ["001_a.sql"]


@pytest.mark.parametrize(
    ("event", "error", "said"),
    [({"target_revision": "007"}, UnknownTarget, '"007" is not applied'), ({"steps": 4}, UnknownTarget, "3 migrations applied"),
     ({"steps": 0}, InvalidRequest, 'steps is "0"'), ({"steps": "2"}, InvalidRequest, 'steps is "2"'),
     ({"steps": 1, "target_revision": "1"}, InvalidRequest, "mutually exclusive"), ({"dry_run": True}, InvalidRequest, "dry_run")],
)  # fmt: skip
def test_wishes_that_make_no_sense(
    invoke: Invoke, three: Database, event: dict[str, object], error: type[Exception], said: str
) -> None:
    """A target that is not applied, too many steps, and contradictions are refused, and nothing is run."""
    with pytest.raises(error, match=said):
        invoke({**ONE, **event})
    assert order(three) == ""


def test_failing_down_migration(invoke: Invoke, three: Database, folder: Folder) -> None:
    """A transactional down migration that fails leaves its migration applied, those before it rolled back, and has its place."""
    folder.write("002_b.down.sql", "DROP TABLE b;\nDROP TABLE nowhere;")
    with pytest.raises(MigrationFailed) as caught:
        invoke({**ONE, "target_revision": "base"})
    message, body = str(caught.value), caught.value.body()
    assert message.startswith("002_b.down.sql:2:")
    assert "\nRolled back: 003_c.sql (rolled back before in this run); nothing of 002_b.down.sql\n" in message
    assert three.query("SELECT message FROM db_setup.runs WHERE id = 2") == [(message,)]
    assert (body["rolled_back_migrations"], body["left_migrations"]) == (["003_c.sql"], ["002_b.sql", "001_a.sql"])
    assert (body["applied_migrations"], body["pending_migrations"]) == ([], [])
    assert (body["failed_migration"], body["file"]) == ("002_b.sql", "002_b.down.sql")
    assert names(three) == ["001_a.sql", "002_b.sql"]
    assert three.query(TABLES) == [("a",), ("b",)]
    assert invoke()["applied_migrations"] == ["003_c.sql"]


UNFIT: dict[str, tuple[str | bytes, str]] = {
    "never closed": ("DROP TABLE a;\nSELECT 'x;", "001_a.down.sql:2:8  "),
    "command of psql": ("DROP TABLE a;\n\\i more.sql\n", "001_a.down.sql:2:1  "),
    "unknown directive": ("-- db_setup: no-transacton\nDROP TABLE a;", "001_a.down.sql:1:14  "),
    "no end of a transaction": ("BEGIN;\nDROP TABLE a;", "001_a.down.sql:1:1  "),
    "encoding": (b"DROP TABLE a; -- \xff", "001_a.down.sql:1:18  "),
    "NUL": (b"DROP TABLE a;\0", "001_a.down.sql:1:14  "),
}


@pytest.mark.parametrize(("text", "place"), UNFIT.values(), ids=UNFIT)
def test_unfit_down_migration_stops_no_migrate(
    invoke: Invoke, folder: Folder, database: Database, text: str | bytes, place: str
) -> None:
    """A down migration that is not fit to be run is a warning with its place, and not stored; rollback refuses it."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("001_a.down.sql", text)
    said = [invoke({"action": "plan"})["warnings"], invoke()["warnings"]]
    assert [len(warnings) for warnings in said] == [1, 1]
    assert all(warnings[0].startswith(place) for warnings in said)
    assert "001_a.sql can be rolled back only once that is mended" in said[0][0]
    assert database.query("SELECT state, down_sql FROM db_setup.history") == [("applied", None)]
    with pytest.raises(TextError) as caught:
        invoke(ONE)
    assert str(caught.value).startswith(place)
    folder.write("001_a.down.sql", "DROP TABLE a;")
    assert invoke(ONE)["rolled_back_migrations"] == ["001_a.sql"]


def test_unreadable_down_migration_stops_no_migrate(invoke: Invoke, folder: Folder, database: Database) -> None:
    """One that cannot be opened, such as a link to nothing that was there when the folder was read, is a warning, too."""
    file = folder.write("001_a.sql", "CREATE TABLE a (i int);")
    migration = Migration(file.name, str(file), "", file.stat().st_size, down=str(folder.path / "001_a.down.sql"))
    (script,) = read_scripts([migration])
    assert script.warnings[0].startswith("001_a.down.sql cannot be read (No such file or directory): this down")
    assert script.down is None


def test_check_that_is_unfit_still_stops(invoke: Invoke, folder: Folder, database: Database) -> None:
    """A check takes part in the migration, so that one which cannot be read refuses it before anything is touched."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("001_a.check.sql", "SELECT 'x;")
    with pytest.raises(TextError, match=r"001_a\.check\.sql:1:8"):
        invoke()
    assert database.query(TABLES) == []


def test_stepwise_down_migration_resumes(invoke: Invoke, folder: Folder, database: Database) -> None:
    """A stepwise down migration that fails half way blocks migrate, and the next rollback carries on with it."""
    folder.write("001_a.sql", "CREATE TABLE a (i int); CREATE INDEX a_i ON a (i);")
    folder.write("001_a.down.sql", "DROP INDEX CONCURRENTLY a_i;\nSELECT broken;\nDROP TABLE a;")
    folder.write("002_b.sql", "CREATE TABLE b (i int);")
    invoke({"target_revision": "1"})
    with pytest.raises(MigrationFailed, match=r"001_a\.down\.sql:2:8") as caught:
        invoke(ONE)
    assert "1 step of 001_a.down.sql, recorded; a re-run goes on at line 2" in str(caught.value)
    status = invoke({"action": "status"})
    assert (status["state"], status["problems"]) == ("inconsistent", ["001_a.sql is rolled back in part"])
    with pytest.raises(UnfinishedRollback, match="run rollback again"):
        invoke()
    with pytest.raises(UnknownTarget, match="in part, so it cannot stay"):
        invoke({**ONE, "target_revision": "1"})
    folder.write("001_a.down.sql", "DROP INDEX CONCURRENTLY a_i;\nSELECT 1;\nDROP TABLE a;")
    assert invoke(ONE)["rolled_back_migrations"] == ["001_a.sql"]
    assert (names(database), database.query(TABLES)) == ([], [])
    assert invoke()["applied_migrations"] == ["001_a.sql", "002_b.sql"]


def test_half_applied_file(invoke: Invoke, folder: Folder, database: Database) -> None:
    """A stepwise file that stopped half way can be rolled back, too; its down migration runs on what is there."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);\nVACUUM a;\nSELECT broken;")
    folder.write("001_a.down.sql", "DROP TABLE IF EXISTS a;")
    with pytest.raises(MigrationFailed):
        invoke()
    body = invoke(ONE)
    assert any("001_a.sql is applied in part" in text for text in body["warnings"])
    assert (names(database), database.query(TABLES)) == ([], [])


def test_cut_off_steps_are_not_done_twice(invoke: Invoke, three: Database) -> None:
    """A rollback by steps that was killed goes on, when it is asked for again, to where it was going, no further."""
    invoke(ONE)
    three.execute("UPDATE db_setup.runs SET outcome = 'running', message = '2 steps back, to position 1' WHERE id = 2")
    body = invoke({**ONE, "steps": 2})
    assert (order(three), names(three)) == ("cb", ["001_a.sql"])
    assert any("was cut off" in text for text in body["warnings"])
    assert invoke({**ONE, "steps": 1})["rolled_back_migrations"] == ["001_a.sql"]


def test_cut_off_steps_are_not_those_of_another_wish(invoke: Invoke, three: Database) -> None:
    """After two steps were cut off, one step is one step."""
    three.execute(
        "INSERT INTO db_setup.runs (request_id, action, package_version, message) SELECT '', 'rollback', '', "
        "'2 steps back, to position ' || min(position) FROM db_setup.history"
    )
    assert invoke({**ONE, "steps": 1})["rolled_back_migrations"] == ["003_c.sql"]


def test_failed_steps_are_not_done_twice(invoke: Invoke, three: Database, folder: Folder) -> None:
    """After a failure the same number of steps goes to where the first call was going, whatever was done in between."""
    folder.write("002_b.down.sql", "SELECT broken")
    for _ in range(2):
        with pytest.raises(MigrationFailed):
            invoke({**ONE, "steps": 2})
    three.execute("INSERT INTO db_setup.runs (request_id, action, package_version) VALUES ('', 'rotate', '')")
    folder.write("002_b.down.sql", "INSERT INTO log.downs (t) VALUES ('b')")
    assert invoke({**ONE, "steps": 2})["rolled_back_migrations"] == ["002_b.sql"]
    assert (order(three), names(three)) == ("cb", ["001_a.sql"])
    with pytest.raises(UnknownTarget, match="only 1 migration applied"):
        invoke({**ONE, "steps": 2})


def test_killed_where_all_was_done(invoke: Invoke, three: Database) -> None:
    """A rollback that was killed after its last step is ended by the next one, and the one after that counts anew."""
    invoke(ONE)
    three.execute(
        "UPDATE db_setup.runs SET outcome = 'running', message = '1 step back, to position 2', history_head = NULL WHERE id = 2"
    )
    assert invoke(ONE)["message"].startswith(
        "Nothing to roll back: run 2 has rolled back 003_c.sql, and was cut off before it could say so; ask again to go further."
    )
    assert invoke({"action": "history"})["history_sealed"]
    assert invoke(ONE)["rolled_back_migrations"] == ["002_b.sql"]


@pytest.mark.parametrize("json_wanted", [[], ["--json"]], ids=["text", "json"])
def test_answer_that_nobody_heard(three: Database, folder: Folder, json_wanted: list[str]) -> None:
    """A rollback by steps whose answer nobody could read is answered when it is asked for again, and goes no further."""
    words = command(
        "rollback", "--steps", "1", "--yes", *json_wanted, "--database-url", three.url, "--migrations", str(folder.path)
    )
    reading, writing = os.pipe()
    os.close(reading)
    unheard = subprocess.run(words, stdout=writing, stderr=subprocess.DEVNULL, timeout=60, check=False)
    os.close(writing)
    assert (unheard.returncode, order(three)) == (141, "c")
    for said, ran in (("run 2 has rolled back 003_c.sql", "c"), ("Rolled back 1 migration: 002_b.sql", "cb")):
        heard = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
        assert (said in heard.stdout, order(three)) == (True, ran)
    heard = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    assert order(three) == "cba"


def test_unheard_answer_is_shown_before(invoke: Invoke, cli: Cli, three: Database) -> None:
    """Without "confirm" nobody is taken to have heard; the answer says what to do, and no other request is held up."""
    invoke({**ONE, "heard": False})
    for _ in range(2):
        message = invoke({"action": "rollback"})["message"]
        assert "run 2 has rolled back 003_c.sql, and was cut off" in message
        assert "confirm that (--yes), then ask again to go further" in message
    assert cli("rollback", "--target", "1", "--yes").status == 0
    assert order(three) == "cb"


@pytest.mark.parametrize("last", [True, False], ids=["all-gone", "some-left"])
def test_heard_is_told_later(invoke: Invoke, three: Database, last: bool) -> None:
    """A caller can say later that it has heard an answer: until then the same request is that one again."""
    steps = {**ONE, "steps": 3 if last else 1, "heard": False}
    run_id = invoke(steps)["run_id"]
    assert (run_id, invoke(steps)["rolled_back_migrations"]) == (2, [])
    assert invoke({"action": "rollback", "heard": 3})["message"].startswith("The answer of run 3 was heard.")
    left = [] if last else ["002_b.sql"]
    assert invoke(steps)["rolled_back_migrations"] == left
    assert invoke({**ONE, "target_revision": "base"})["rolled_back_migrations"] == ([] if last else ["001_a.sql"])


@pytest.mark.parametrize(
    ("event", "said"),
    [({"heard": True}, 'heard is "True"'), ({"heard": 0}, 'heard is "0"'), ({"heard": None}, 'heard is "None"'),
     ({"heard": 2, "steps": 1}, "asks for none"), ({"heard": 2, "confirm": True}, "asks for none"),
     ({"heard": 2, "action": "status"}, "status does not accept heard")],
)  # fmt: skip
def test_heard_that_makes_no_sense(invoke: Invoke, three: Database, event: dict[str, object], said: str) -> None:
    """What nobody can have meant by ``heard`` is refused."""
    with pytest.raises(InvalidRequest, match=said):
        invoke({"action": "rollback", **event})
    assert order(three) == ""


@pytest.mark.parametrize(
    "since",
    ["INSERT INTO db_setup.runs (request_id, action, package_version, outcome) VALUES ('', 'rotate', '', 'succeeded')",
     "INSERT INTO db_setup.runs (request_id, action, package_version, outcome) VALUES ('', 'migrate', '', 'failed')",
     "INSERT INTO db_setup.runs (request_id, action, package_version, outcome) VALUES ('', 'repair', '', 'succeeded')",
     "UPDATE db_setup.runs SET started_at = started_at - interval '3 days'"],
    ids=["rotation", "failed-deploy", "repair", "days-later"],
)  # fmt: skip
def test_goal_counts_until_a_migration_is_applied(invoke: Invoke, three: Database, since: str) -> None:
    """Where a rollback by steps was going counts however late it is asked again, until a migration has been applied."""
    cut_off = "UPDATE db_setup.runs SET outcome = 'running', message = '1 step back, to position 2' WHERE action = 'rollback'"
    invoke(ONE)
    three.execute(f"{cut_off}; {since}")
    assert invoke(ONE)["rolled_back_migrations"] == []
    three.execute(cut_off)
    invoke()
    assert invoke(ONE)["rolled_back_migrations"] == ["003_c.sql"]


@pytest.mark.parametrize("down", ["DROP TABLE c;", "VACUUM c;\nDROP TABLE c;"], ids=["transaction", "stepwise"])
def test_killed_after_anything(
    runs: Runs, make_database: MakeDatabase, three: Database, folder: Folder, down: str
) -> None:
    """One step that is killed wherever it may be, and asked for again, is one step; that it was heard is recorded last."""
    folder.write("003_c.down.sql", down)
    answered = []
    for before in (True, False):
        for point in count(1):
            target = make_database(f"TEMPLATE {three.name}")
            environ = {"DATABASE_URL": target.url, "MIGRATIONS_DIR": str(folder.path)}
            if not runs.run(environ, ONE, point=point, before=before).killed:
                break
            last = target.query("SELECT outcome, message FROM db_setup.runs ORDER BY id DESC LIMIT 1")
            if last == [("succeeded", "rolled back 003_c.sql")]:
                answered.append((point, before))
            else:
                assert runs.run(environ, ONE).body is not None
            assert names(target) == ["001_a.sql", "002_b.sql"], (point, before)
    assert point > 10
    assert answered == [(point - 1, False)]


@pytest.mark.parametrize(
    ("request_id", "ran"),
    [("0f7f6c3a-5a52-4d0c-9f0e-8d7d3a1b2c4d", "c"), ("local-1", "cb")],
    ids=["of-lambda", "of-a-process"],
)
def test_repeated_invocation(invoke: Invoke, three: Database, request_id: str, ran: str) -> None:
    """An invocation that Lambda repeats under its id does nothing once it has succeeded; a process may have the id again."""
    for _ in range(2):
        body = invoke(ONE, context=LambdaContext(request_id))
    assert order(three) == ran
    assert ("Rolled back meanwhile by run 2" in body["message"]) is (ran == "c")


def test_rollback_that_ends_before_this_one_has_the_lock(
    invoke: Invoke, cli: Cli, three: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rollback that was asked for while another was at work does nothing, though it need not wait for the lock."""
    monkeypatch.setattr(Supervision, "lock", lambda _: bool(cli("rollback", "--yes").status))
    assert "Rolled back meanwhile by run 2" in invoke(ONE)["message"]
    assert order(three) == "c"


def test_steps_of_two_at_once(three: Database, folder: Folder) -> None:
    """Of two rollbacks by steps that were started at once one does them, and the other says so: no step is done twice."""
    words = command("rollback", "--yes", "--json", "--database-url", three.url, "--migrations", str(folder.path))
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%%try_advisory_lock%%'"
    with closing(three.connect()) as holder, holder.cursor() as cursor:
        cursor.execute(f"SELECT pg_advisory_lock({RunLock.KEY})")
        runners = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) for _ in range(2)]
        while three.query(f"{waiting} AND pid <> pg_backend_pid() AND pid <> %s", holder.info.backend_pid) != [(2,)]:
            assert all(runner.poll() is None for runner in runners)
    answers = [json.loads(runner.communicate(timeout=60)[0]) for runner in runners]
    assert sorted(answer["rolled_back_migrations"] for answer in answers) == [[], ["003_c.sql"]]
    assert sorted("Rolled back meanwhile by run 2" in answer["message"] for answer in answers) == [False, True]
    assert order(three) == "c"


def test_renamed_file(invoke: Invoke, three: Database, folder: Folder) -> None:
    """A file that was renamed since has its down migration next to its new name; the answer says how it ran."""
    (folder.path / "003_c.sql").rename(folder.path / "004_d.sql")
    (folder.path / "003_c.down.sql").rename(folder.path / "004_d.down.sql")
    (entry,) = invoke(ONE)["migrations"]
    assert (entry["name"], entry["mode"], order(three)) == ("003_c.sql", "transaction", "c")


def test_down_migration_in_another_encoding(invoke: Invoke, folder: Folder) -> None:
    """The stored text of a down migration is the same as that of its file, however the file is encoded."""
    folder.write("001_a.sql", "SELECT 1;")
    folder.write("001_a.down.sql", "SET client_encoding = 'LATIN1';\r\nSELECT 'ä';".encode("latin-1"))
    invoke()
    assert invoke({"action": "rollback"})["warnings"] == []


def test_password_on_a_line_of_its_own(invoke: Invoke, three: Database, folder: Folder) -> None:
    """The line that an error shows has no password, though the word for it stands in the line before."""
    folder.write("003_c.down.sql", "ALTER ROLE a PASSWORD\n  'canary' BOGUS;")
    with pytest.raises(MigrationFailed, match=r"003_c\.down\.sql:2:12 .*\n  2 \|   \*{8} BOGUS;\n {17}\^") as caught:
        invoke(ONE)
    assert "canary" not in str(caught.value) + str(three.query("SELECT message FROM db_setup.runs"))


def test_late_file(invoke: Invoke, three: Database, folder: Folder) -> None:
    """The order is that of application: a late file is rolled back first, and one before the target is named."""
    folder.write("000_late.sql", "CREATE TABLE late (i int);")
    folder.write("000_late.down.sql", "INSERT INTO log.downs (t) VALUES ('late'); DROP TABLE late;")
    invoke()
    body = invoke({**ONE, "target_revision": "0"})
    assert any("003_c.sql was applied before 000_late.sql, and stays" in text for text in body["warnings"])
    invoke({**ONE, "steps": 2})
    assert order(three) == "latec"


def test_lock_and_deadline(invoke: Invoke, three: Database) -> None:
    """A down migration waits for locks as a migration does, and leaves when the time is over."""
    holder = three.connect()
    holder.autocommit = False
    with holder.cursor() as cursor:
        cursor.execute("LOCK TABLE c")
        with pytest.raises((LockTimeout, DeadlineReached), match=r"003_c\.down\.sql|003_c") as caught:
            invoke(ONE, LOCK_TIMEOUT="50ms", MIGRATION_TIMEOUT="0.5")
    holder.close()
    assert len(names(three)) == 3
    assert "\nRolled back: nothing" in str(caught.value)
    assert caught.value.body()["left_migrations"] == ["003_c.sql"]
    assert three.query("SELECT outcome FROM db_setup.runs ORDER BY id") == [("succeeded",), ("failed",)]


def test_history_of_an_earlier_version(invoke: Invoke, three: Database, folder: Folder) -> None:
    """Tables of an earlier version get the new column with the next run that writes; reading runs leave them."""
    three.execute("ALTER TABLE db_setup.history DROP COLUMN down_sql, DROP COLUMN chain, DROP COLUMN previous")
    three.execute("ALTER TABLE db_setup.runs DROP COLUMN history_head")
    columns = "SELECT count(*) FROM pg_attribute WHERE attrelid = 'db_setup.history'::regclass AND attname = 'down_sql'"
    assert invoke({"action": "rollback"})["migrations"][0]["name"] == "003_c.sql"
    assert invoke()["state"] == "up_to_date"
    assert three.query(columns) == [(0,)]
    folder.write("004_d.sql", "CREATE TABLE d (i int);")
    folder.write("004_d.down.sql", "DROP TABLE d;")
    invoke()
    assert three.query("SELECT name, down_sql FROM db_setup.history WHERE down_sql IS NOT NULL") == [
        ("004_d.sql", "DROP TABLE d;")
    ]
    invoke({**ONE, "steps": 4})
    assert names(three) == []


def test_command_line(cli: Cli, three: Database) -> None:
    """The command line shows what would be done, and does it with --yes."""
    shown = cli("rollback", "--steps", "2")
    assert (shown.status, order(three)) == (0, "")
    assert "  003  003_c.sql  transaction\n  002  002_b.sql  transaction\n2 migrations would be" in shown.out
    done = cli("rollback", "--target", "1", "--yes", "--json")
    assert json.loads(done.out)["rolled_back_migrations"] == ["003_c.sql", "002_b.sql"]
    assert order(three) == "cb"
    assert cli("rollback", "--steps", "1", "--target", "1").status == 2


def test_started_at_once(three: Database, folder: Folder) -> None:
    """Of rollbacks to one target that run side by side, one does the work, and all of them end well."""
    words = command("rollback", "--target", "1", "--yes", "--database-url", three.url, "--migrations", str(folder.path))
    runners = [subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(4)]
    assert [runner.wait(timeout=60) for runner in runners] == [0] * 4
    assert (order(three), names(three)) == ("cb", ["001_a.sql"])
