"""The entry point for Lambda: events, answers, log lines, secrets, and the deadline from the context."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import boto3
import pytest
from migrator.errors import InvalidRequest, InvalidSetting, NoDatabase, SecretError
from moto import mock_aws

from tests.plugins.answers import check_answer
from tests.plugins.databases import Database
from tests.plugins.folders import Folder
from tests.plugins.proxy import Proxy
from tests.plugins.runs import PRODUCT, Invoke, LambdaContext

KEYS = {"action",
    "success", "message", "state", "applied_migrations", "pending_migrations", "migrations",
    "previous_revision", "final_revision", "target_revision", "warnings", "problems", "duration_ms",
}  # fmt: skip


def test_answer(invoke: Invoke, folder: Folder) -> None:
    """The answer has the documented fields and can be written as JSON."""
    folder.write("001_a.sql", "SELECT 1;")
    body = invoke({"action": "migrate", "target_revision": "head", "dry_run": False}, context=LambdaContext())
    assert set(body) == KEYS
    assert json.loads(json.dumps(body))["applied_migrations"] == ["001_a.sql"]


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"acton": "migrate"}, "unknown key in the event: acton"),
        ({"action": "drop"}, 'unknown action "drop"'),
        ({"dry_run": "yes"}, 'dry_run is "yes"'),
        ({"target_revision": None}, "target_revision is not a text"),
        ([1], "the event is a list"),
    ],
)
def test_event_that_makes_no_sense(invoke: Invoke, event: object, said: str) -> None:
    """Unknown keys and values are refused by name."""
    with pytest.raises(InvalidRequest, match=said):
        invoke(event)


def test_one_canonical_line(invoke: Invoke, folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    """Each run ends with one line ``run.finished`` that has the whole answer, or the error."""
    folder.write("001_a.sql", "DO $$ BEGIN RAISE NOTICE 'look'; END $$;")
    invoke(context=LambdaContext("r-1"))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in lines] == [
        "run.started", "migration.started", "migration.notice", "migration.applied", "run.finished",
    ]  # fmt: skip
    assert lines[2]["notice"] == "NOTICE:  look"
    assert (lines[-1]["request_id"], lines[-1]["success"]) == ("r-1", True)
    assert set(lines[-1]) >= KEYS
    folder.write("002_b.sql", "SELECT nope;")
    with pytest.raises(Exception, match="nope"):
        invoke()
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (last["event"], last["success"], last["code"]) == ("run.finished", False, "migration_failed")


@pytest.mark.parametrize("action", ["drop", None, ["migrate"]], ids=["unknown", "null", "list"])
def test_line_of_an_unknown_action(invoke: Invoke, capsys: pytest.CaptureFixture[str], action: object) -> None:
    """A refused action is no action of the schema: the log line has null in its place."""
    with pytest.raises(InvalidRequest, match="unknown action"):
        invoke({"action": action})
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (line["event"], line["action"]) == ("run.finished", None)
    check_answer({key: value for key, value in line.items() if key not in {"event", "request_id"}})


def test_run_is_recorded(invoke: Invoke, folder: Folder, database: Database) -> None:
    """A run that had something to do has a row with its request; one that had nothing has none."""
    folder.write("001_a.sql", "SELECT 1;")
    invoke(context=LambdaContext("r-1"))
    invoke(context=LambdaContext("r-2"))
    assert database.query("SELECT request_id, action, outcome, finished_at >= started_at FROM db_setup.runs") == [
        ("r-1", "migrate", "succeeded", True)
    ]
    row = database.query("SELECT run_id, mode, applied_by, duration_ms >= 0 FROM db_setup.history")
    assert row == [(1, "transaction", "postgres", True)]


def test_history_is_closed(invoke: Invoke, folder: Folder, database: Database) -> None:
    """Nobody but the owner sees or touches the history, whatever default privileges say about new tables."""
    database.execute(
        "DO $$ BEGIN CREATE ROLE handler_app; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;"
        "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO handler_app"
    )
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    invoke()
    for what in ("has_schema_privilege('handler_app', 'db_setup', 'USAGE')", "has_schema_privilege('handler_app', 'db_setup', 'CREATE')"):
        assert database.query(f"SELECT {what}") == [(False,)]


def test_nothing_to_do_costs_a_constant_number_of_messages(
    invoke: Invoke, folder: Folder, database: Database, proxy: Proxy
) -> None:
    """A run with nothing to do sends two messages after connecting, whatever the number of files."""
    sent = []
    for count in (1, 40):
        for number in range(count):
            folder.write(f"{number:03}_x.sql", f"SELECT {number};")
        invoke()
        proxy.disarm()
        invoke(DATABASE_URL=proxy.url(database.name))
        sent.append(proxy.queries)
    assert sent == [2, 2]


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Serve Secrets Manager with secrets that a test names."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        yield {}


def put(name: str, value: object) -> None:
    """Store a secret: an object as JSON, a text as it is."""
    text = value if isinstance(value, str) else json.dumps(value)
    boto3.client("secretsmanager").create_secret(Name=name, SecretString=text)


def rds_secret(database: Database) -> dict[str, object]:
    """Return a secret as RDS stores it."""
    given = database.parameters
    return {
        "engine": "postgres", "host": given["host"], "port": 5432, "dbname": database.name, "username": given["user"],
        "password": "canary-5678",
    }  # fmt: skip


@pytest.mark.usefixtures("secrets")
def test_secret_by_name_and_by_variable(invoke: Invoke, folder: Folder, database: Database) -> None:
    """The credentials come from the secret that the event names, or DB_SECRET_NAME; variables complete them."""
    folder.write("001_a.sql", "SELECT 1;")
    full = rds_secret(database)
    put("full", full)
    put("managed", {"username": full["username"], "password": full["password"]})
    assert invoke({"secret_name": "full"})["applied_migrations"] == ["001_a.sql"]
    assert invoke(DATABASE_URL="", DB_SECRET_NAME="full")["state"] == "up_to_date"
    place = {"DB_HOST": str(full["host"]), "DB_NAME": database.name}
    assert invoke(DATABASE_URL="", DB_SECRET_NAME="managed", **place)["state"] == "up_to_date"


@pytest.mark.usefixtures("secrets")
@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("canary-9999", "is not JSON"),
        ('["canary-9999"]', "is not a JSON object"),
        ({"username": "u", "password": "canary-9999"}, "has no usable host, dbname"),
        ({"engine": "mysql", "password": "canary-9999"}, 'is for engine "mysql"'),
        ({"host": "h", "dbname": "d", "username": "u", "password": 7}, "has no usable password"),
        ({"host": "h", "dbname": "d", "username": "u", "password": "canary-9999", "port": "x"}, "port in the secret s is not a number"),
    ],
)
def test_secret_that_is_no_use(invoke: Invoke, value: object, said: str) -> None:
    """A secret that lacks something is refused by name and field, and nothing of it is shown."""
    put("s", value)
    with pytest.raises(SecretError, match=said) as caught:
        invoke({"secret_name": "s"})
    assert "canary" not in str(caught.value) + repr(caught.value) + repr(caught.value.__context__)


@pytest.mark.usefixtures("secrets")
def test_secret_that_is_not_there(invoke: Invoke) -> None:
    """A secret that does not exist is named, with what to check."""
    with pytest.raises(SecretError, match="the secret nope cannot be read: ResourceNotFoundException"):
        invoke({"secret_name": "nope"})


def test_wrong_password_is_not_shown(invoke: Invoke, capsys: pytest.CaptureFixture[str]) -> None:
    """What is wrong with a connection is reported without the password, in whatever way it was given."""
    with pytest.raises(Exception, match="no connection to database") as caught:
        invoke(DATABASE_URL="postgresql://u:canary-1@127.0.0.1:1/d")
    with pytest.raises(Exception, match="no connection to database"):
        invoke(DATABASE_URL="", DB_HOST="127.0.0.1", DB_PORT="1", DB_NAME="d", DB_USER="u", DB_PASSWORD="canary-1")
    assert "canary" not in str(caught.value) + repr(caught.value) + capsys.readouterr().out


@pytest.mark.parametrize(
    ("environ", "error", "said"),
    [
        ({"DATABASE_URL": ""}, NoDatabase, "no database is given"),
        ({"DATABASE_URL": "", "DB_HOST": "h"}, InvalidSetting, "DB_NAME, DB_USER not set"),
        ({"DATABASE_URL": "mysql://u@h/d"}, InvalidSetting, "not a postgresql:// URL"),
        ({"DATABASE_URL": "postgresql://u@h:99999/d"}, InvalidSetting, 'the port in DATABASE_URL is "99999"'),
        ({"LOCK_TIMEOUT": "soon"}, InvalidSetting, 'LOCK_TIMEOUT is "soon"'),
        ({"MIGRATION_TIMEOUT": "-1"}, InvalidSetting, 'MIGRATION_TIMEOUT is "-1"'),
        ({"AUTO_MIGRATE": "perhaps"}, InvalidSetting, 'AUTO_MIGRATE is "perhaps"'),
    ],
)
def test_settings_that_make_no_sense(invoke: Invoke, environ: dict[str, str], error: type[Exception], said: str) -> None:
    """A variable that cannot be understood is refused by its name."""
    with pytest.raises(error, match=said):
        invoke(**environ)


def test_boto3_is_loaded_for_secrets_only(database: Database, folder: Folder) -> None:
    """A run that reads no secret does not pay for boto3, nor for anything of the command line."""
    code = (
        "import sys, initializer; initializer.handler({'action': 'status'}, None); "
        "print(sorted(name for name in sys.modules if name.startswith(('boto', 'migrator.cli'))))"
    )
    environ = {"DATABASE_URL": database.url, "MIGRATIONS_DIR": str(folder.path), "PYTHONPATH": str(PRODUCT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ)
    assert done.stdout.splitlines()[-1] == "[]"
