"""history: what is shown of each applied migration, in the answer and on a terminal."""

from __future__ import annotations

import json
import re

import pytest
from migrator.errors import InvalidRequest, MigrationFailed

from tests.plugins.databases import Database
from tests.plugins.folders import Folder
from tests.plugins.runs import Cli, Invoke, LambdaContext

HISTORY = {"action": "history"}
MANY = (
    "INSERT INTO db_setup.history (name, number, checksum, state, mode, package_version, evidence, applied_by, run_id) "
    "SELECT repeat('n', 200) || g, g, '', 'applied', 'adopted', '2', repeat('\u20ac', 5000), repeat('u', 63), 1 "
    "FROM generate_series(1, 1200) g"
)


def test_each_migration_is_shown(invoke: Invoke, folder: Folder, database: Database) -> None:
    """The answer has who applied what, when, how long, in which run, from which version; a file that failed too."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    invoke(context=LambdaContext("request-a"))
    folder.write("002_b.sql", "CREATE TABLE b (i int); VACUUM b; SELECT 1 / 0;")
    with pytest.raises(MigrationFailed):
        invoke(context=LambdaContext("request-b"))
    body = invoke(HISTORY)
    one, two = body["history"]
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", one.pop("applied_at"))
    assert isinstance(one.pop("duration_ms"), int)
    (version, user), = database.query("SELECT package_version, session_user::text FROM db_setup.runs LIMIT 1")
    assert one == {
        "number": "001", "name": "001_a.sql", "mode": "transaction", "state": "applied", "applied_by": user, "run_id": 1,
        "request_id": "request-a", "package_version": version, "evidence": None,
    }  # fmt: skip
    assert [two[key] for key in ("name", "mode", "state", "run_id", "request_id")] == [
        "002_b.sql", "stepwise", "running", 2, "request-b"
    ]  # fmt: skip
    assert (body["state"], body["history_left_out"], body["history_sealed"]) == ("pending_migrations", 0, True)
    assert body["message"] == "2 migrations in the history, as the last run left it."


def test_nothing_is_written(invoke: Invoke, folder: Folder, database: Database) -> None:
    """Without a history the list is empty, and no history is made."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    body = invoke(HISTORY)
    assert (body["history"], body["history_sealed"], body["message"]) == ([], False, "0 migrations in the history.")
    assert database.query("SELECT to_regnamespace('db_setup')") == [(None,)]


def test_changes_by_hand(invoke: Invoke, folder: Folder, database: Database) -> None:
    """Problems are those that status reports; where the rows are not sealed, that is said."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    invoke()
    database.execute("UPDATE db_setup.history SET applied_by = 'x'")
    body = invoke(HISTORY)
    assert (body["state"], body["success"]) == ("inconsistent", False)
    assert body["problems"] == invoke({"action": "status"})["problems"] == ["the history row of 001_a.sql was changed by hand"]
    database.execute("UPDATE db_setup.runs SET outcome = 'running', history_head = NULL")
    body = invoke(HISTORY)
    assert (body["problems"], body["history_sealed"]) == ([], False)
    assert "whether it was changed by hand is not known" in body["message"]


def test_long_history(invoke: Invoke, folder: Folder, database: Database) -> None:
    """The last 1,000 rows fit the answer of a Lambda, whatever is in them, and the others are counted."""
    folder.write("0_a.sql", "CREATE TABLE a (i int);")
    invoke()
    database.execute("UPDATE db_setup.runs SET request_id = repeat('r', 60), history_head = NULL")
    database.execute(MANY)
    body = invoke(HISTORY, ALLOW_MISSING="true")
    assert (len(body["history"]), body["history_left_out"]) == (1000, 201)
    assert [entry["number"] for entry in (body["history"][0], body["history"][-1])] == ["201", "1200"]
    assert len(json.dumps(body["history"], ensure_ascii=False).encode()) < 3_000_000


def test_tables_of_an_earlier_version(invoke: Invoke, folder: Folder, database: Database) -> None:
    """Rows of tables without the newer columns are shown as far as they go."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    invoke()
    database.execute(
        "ALTER TABLE db_setup.history DROP COLUMN evidence, DROP COLUMN down_sql, DROP COLUMN chain, DROP COLUMN previous; "
        "ALTER TABLE db_setup.runs DROP COLUMN history_head"
    )
    body = invoke(HISTORY)
    assert [(entry["name"], entry["evidence"]) for entry in body["history"]] == [("001_a.sql", None)]
    assert (body["problems"], body["history_sealed"]) == ([], False)


@pytest.mark.parametrize("more", [{"target_revision": "1"}, {"dry_run": True}, {"steps": 1}, {"confirm": True}])
def test_keys_without_a_meaning(invoke: Invoke, more: dict[str, object]) -> None:
    """A key that means nothing for it is refused."""
    with pytest.raises(InvalidRequest):
        invoke({**HISTORY, **more})


def test_command_line(cli: Cli, folder: Folder, database: Database) -> None:
    """On a terminal it is a table, the newest last, with the evidence below a row that has some."""
    assert cli("history").out == "0 migrations in the history.\nState: empty.\n"
    database.execute("CREATE TABLE a (i int)")
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("b.sql", "CREATE TABLE bb (i int);")
    cli("migrate")
    done = cli("history")
    assert (done.status, done.err) == (0, "")
    first, evidence, second, message, _ = done.out.splitlines()
    assert re.fullmatch(r"  001  001_a\.sql  adopted      applied  20[-\d]+ [\d:]+ UTC  \w+  run 1  version [\d.]+", first)
    assert evidence == "      the database is what the files up to 001_a.sql build"
    assert re.fullmatch(r"  002  b\.sql      transaction  applied  20[-\d]+ [\d:]+ UTC  \w+  run 2  version [\d.]+ +\d+ ms", second)
    assert message == "2 migrations in the history, as the last run left it."
    assert len(json.loads(cli("history", "--json").out)["history"]) == 2
