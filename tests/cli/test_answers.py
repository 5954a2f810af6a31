"""The envelope of answers: what the schema accepts and refuses, wrong usage as JSON, missing packages, closed pipes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from migrator.cli.arguments import ACTIONS
from migrator.errors import FunctionUnreachable, MigrationFailed, OutcomeUnknown
from migrator.formatting import Location
from migrator.planning import states
from migrator.report import Report, ReportedMigration

from tests.plugins.answers import SCHEMA, check_answer, wrong_with
from tests.plugins.databases import Database
from tests.plugins.folders import Folder
from tests.plugins.project import copy_project
from tests.plugins.runs import PRODUCT, Cli, Done, command

STATUS = Report("status", "up_to_date", pending=(ReportedMigration("001", "001_a.sql", ""),)).body()
FAILURE = {"action": "migrate", **MigrationFailed("no", where=Location("001_a.sql", 1, 2)).body(), "duration_ms": 1}
VERIFY = {**STATUS, "action": "verify", "differences": [], "difference_count": 0, "not_verifiable": [], "made_outside": []}
LINT = {
    "success": True, "action": "lint", "message": "nothing found.",
    "findings": [{"file": "m/001_a.sql", "line": None, "column": None, "level": "error", "rule": "r", "message": "m", "help": None}],
}  # fmt: skip
NEW = {"success": True, "action": "new", "message": "created a", "created": "a"}
NUMBER = {"success": True, "action": "number", "message": "every file has a number", "renamed": []}


@pytest.mark.parametrize("answer", [STATUS, FAILURE, VERIFY, LINT, NEW, NUMBER], ids=lambda answer: str(answer["action"]))
def test_right_answer_is_accepted(answer: dict[str, Any]) -> None:
    """Each kind of answer is valid as it stands, and needs each of its fields but those that are optional."""
    check_answer(answer)
    for name in answer:
        assert wrong_with({key: value for key, value in answer.items() if key != name}), name


@pytest.mark.parametrize("answer", [STATUS, FAILURE, VERIFY, LINT, NEW, NUMBER], ids=lambda answer: str(answer["action"]))
def test_unknown_field_is_refused(answer: dict[str, Any]) -> None:
    """A field that nobody has documented, or that is misspelt, is refused in every kind of answer."""
    assert wrong_with({**answer, "appliedMigrations": []})
    assert wrong_with({**answer, "skiped_migrations": []})


@pytest.mark.parametrize(
    "answer",
    [
        {},
        [],
        {**STATUS, "action": "stauts"},
        {**STATUS, "success": "true"},
        {**STATUS, "state": "fine"},
        {**STATUS, "applied_migrations": [1]},
        {**STATUS, "pending_migrations": "001_a.sql"},
        {**STATUS, "migrations": [{"number": "001", "name": "001_a.sql", "mode": None}]},
        {**STATUS, "migrations": [{"number": 1, "name": "001_a.sql", "mode": None, "duration_ms": None}]},
        {**STATUS, "final_revision": ""},
        {**STATUS, "duration_ms": 1.5},
        {**STATUS, "duration_ms": -1},
        {**STATUS, "differences": []},
        {**STATUS, "action": "rollback"},
        {**STATUS, "action": "rehearse"},
        {**STATUS, "action": "history"},
        {**STATUS, "action": "verify"},
        {**VERIFY, "action": "status"},
        {**VERIFY, "differences": [{"kind": "table"}]},
        {**FAILURE, "success": True},
        {**FAILURE, "action": "stauts"},
        {**FAILURE, "code": "Migration Failed"},
        {**FAILURE, "code": None},
        {**FAILURE, "line": 0},
        {**FAILURE, "fix": ""},
        {**FAILURE, "sqlstate": "4270"},
        {**FAILURE, "state": "inconsistent"},
        {**LINT, "findings": [{"file": "a"}]},
        {**NEW, "success": False},
        {"created": "a"},
        {"renamed": []},
    ],
    ids=repr,
)
def test_wrong_answer_is_refused(answer: object) -> None:
    """What the command line never prints is no valid answer."""
    assert wrong_with(answer)


def test_names_of_the_schema_are_those_of_the_code() -> None:
    """The actions and the states are listed in the schema as they are in the code."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    definitions = schema["$defs"]
    assert schema["else"]["properties"]["action"]["enum"] == list(ACTIONS)
    assert definitions["failure"]["properties"]["action"]["enum"] == [*ACTIONS, None]
    known = {states.EMPTY, states.UNTRACKED, states.PENDING, states.UP_TO_DATE, states.INCONSISTENT, states.AHEAD, states.DRIFTED}
    assert set(definitions["report"]["properties"]["state"]["enum"]) == known


def test_failure_of_a_run(cli: Cli, folder: Folder) -> None:
    """A failing --json has the failed file, its place, the SQLSTATE, the fix, and the files applied before it."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("002_b.sql", "SELECT 1;\nSELECT nope;")
    body = json.loads(cli("migrate", "--json").out)
    known = {name: body[name] for name in ("success", "action", "code", "file", "line", "column", "sqlstate")}
    assert known == {
        "success": False, "action": "migrate", "code": "migration_failed", "file": "002_b.sql", "line": 2, "column": 8,
        "sqlstate": "42703",
    }  # fmt: skip
    assert (body["failed_migration"], body["applied_migrations"]) == ("002_b.sql", ["001_a.sql"])
    assert body["fix"] in body["message"]


def test_what_a_function_has_applied_is_not_known() -> None:
    """Where the answer of a function is lost, what it has applied is null; where it was not called, it is nothing."""
    assert OutcomeUnknown("lost").body()["applied_migrations"] is None
    assert FunctionUnreachable("no").body()["applied_migrations"] == []


def test_files(cli: Cli, folder: Folder) -> None:
    """New, number and lint answer in the same envelope as every action."""
    created = json.loads(cli("new", "add orders", "--json").out)
    assert (created["action"], Path(created["created"]).name) == ("new", "001_add_orders.sql")
    folder.write("b.sql", "SELECT 1;")
    renamed = json.loads(cli("number", "--json").out)
    assert (renamed["message"], renamed["renamed"]) == ("renamed b.sql -> 002_b.sql", ["b.sql -> 002_b.sql"])
    assert json.loads(cli("number", "--json").out)["message"] == "every file has a number"
    findings = json.loads(cli("lint", "--json").out)
    assert (findings["success"], findings["action"]) == (True, "lint")


@pytest.mark.parametrize(
    ("words", "action", "said"),
    [
        (["--json"], None, "ACTION"),
        (["migrat", "--json"], None, "invalid choice: 'migrat'"),
        (["--json", "migrate"], "migrate", "ACTION"),
        (["migrate", "--json", "--targt", "1"], "migrate", "--targt"),
        (["migrate", "--json", "--target"], "migrate", "--target"),
        (["rollback", "--json", "--steps", "0"], "rollback", '"0" is not a positive integer'),
        (["new", "--json"], "new", "name"),
        (["baseline", "--json"], "baseline", "--target"),
        (["lint", "--json", "--yes"], "lint", "--yes"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_wrong_usage(cli: Cli, words: list[str], action: str | None, said: str) -> None:
    """A command line that cannot be understood gives the JSON object, too, and nothing on standard error."""
    done = cli(*words)
    body = json.loads(done.out)
    assert (done.status, done.err, body["code"]) == (2, "", "invalid_usage")
    assert body["action"] == (action if words[0] != "--json" else None)
    assert said in body["message"]
    assert "--help" in body["fix"]


@pytest.mark.parametrize("password", ["canary-4321", "a/canary", "a@canary", "a canary", "a'canary"])
@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])
def test_wrong_usage_shows_no_password(cli: Cli, options: list[str], password: str) -> None:
    """A URL behind a misspelt option is shown without its password, %-encoded or not."""
    done = cli("status", "--databse-url", f"postgresql://u:{password}@h/d", *options)
    assert done.status == 2
    assert "canary" not in done.out + done.err
    assert "--databse-url" in done.out + done.err


def without_driver(*words: str, environ: Mapping[str, str] | None = None, product: Path = PRODUCT) -> Done:
    """Run the command line with a Python that has no psycopg2."""
    program = f"import runpy, sys; sys.modules['psycopg2'] = None; runpy.run_path({str(product)!r}, run_name='__main__')"
    given = {**os.environ, "DATABASE_URL": "", **(environ or {})}
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, check=False, env=given
    )
    return Done(done.returncode, done.stdout, done.stderr)


def test_version(cli: Cli) -> None:
    """--version prints the name and the version of the newest entry of the package."""
    from migrator.version import VERSION

    assert cli("--version") == Done(0, f"db_setup {VERSION}\n", "")


def test_commands_without_the_driver(folder: Folder, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Help, version, lint, new and number need no psycopg2 where no database is named and there is no local one."""
    project = tmp_path_factory.mktemp("project")
    copy_project(project, "db_setup")  # a developer's local server would count as a database that is named
    run = partial(without_driver, product=project / "db_setup")
    here = ("--migrations", str(folder.path))
    folder.write("orders.sql", "SELECT 1;")
    assert run("--version").out.startswith("db_setup ")
    for words in (["--help"], ["migrate", "--help"]):
        assert (run(*words).status, run(*words).err) == (0, "")
    assert run("number", *here).out == "renamed orders.sql -> 001_orders.sql\n"
    assert run("new", "b", *here).out.endswith("002_b.sql\n")
    assert run("lint", *here).status == 0
    assert run("migrat").status == 2


@pytest.mark.parametrize("words", [["number"], ["migrate"], ["rotate"], ["plan", "--sql"]], ids=" ".join)
def test_driver_is_missing(folder: Folder, database: Database, words: list[str]) -> None:
    """With a database each action says that the driver is missing, and how to install it, before it does anything."""
    folder.write("orders.sql", "SELECT 1;")
    environ = {"DATABASE_URL": database.url, "MIGRATIONS_DIR": str(folder.path)}
    done = without_driver(*words, environ=environ)
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith("error: psycopg2 is not installed")
    assert re.search(r"^Fix: pip install -r db_setup/requirements.txt, or make run", done.err, re.MULTILINE)
    assert done.err.splitlines()[-1] == "[missing_package]"
    assert [path.name for path in folder.path.iterdir()] == ["orders.sql"]
    if words == ["migrate"]:
        body = json.loads(without_driver(*words, "--json", environ=environ).out)
        check_answer(body)
        assert body["code"] == "missing_package"


def into_closed_pipe(words: list[str], environ: dict[str, str], *, errors: bool = False) -> tuple[int, str]:
    """Run the command line with an output that nobody reads; return its exit status and its standard error."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            command(*words), stdin=subprocess.DEVNULL, stdout=writing, stderr=writing if errors else subprocess.PIPE,
            text=True, check=False, env={**os.environ, **environ},
        )  # fmt: skip
    finally:
        os.close(writing)
    return done.returncode, done.stderr or ""


@pytest.mark.parametrize(
    "words",
    [
        ["history"], ["history", "--json"], ["status"], ["plan"], ["plan", "--sql"], ["rehearse"], ["lint"],
        ["lint", "--json"], ["--help"], ["migrate", "--help"], ["--version"], ["migrate", "--json", "--target", "77"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_closed_pipe(cli: Cli, folder: Folder, database: Database, words: list[str]) -> None:
    """Output that nobody reads ends every command quietly, with the status that a shell has for it."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    cli("migrate")
    folder.write("002_b.sql", "SELECT 1;")
    environ = {"DATABASE_URL": database.url, "MIGRATIONS_DIR": str(folder.path)}
    assert into_closed_pipe(words, environ) == (141, "")


def test_run_outlives_its_reader(folder: Folder, database: Database) -> None:
    """A run whose progress nobody reads goes on to its end, and only then ends with that status."""
    folder.write("001_a.sql", "DO $$ BEGIN RAISE NOTICE 'hello'; END $$;")
    folder.write("002_b.sql", "CREATE TABLE b (i int);")
    environ = {"DATABASE_URL": database.url, "MIGRATIONS_DIR": str(folder.path)}
    assert into_closed_pipe(["migrate"], environ, errors=True) == (141, "")
    assert database.query("SELECT outcome FROM db_setup.runs") == [("succeeded",)]
    assert database.query("SELECT count(*) FROM db_setup.history") == [(2,)]


def test_failure_into_a_closed_pipe(folder: Folder, database: Database) -> None:
    """An error that nobody reads keeps its exit status."""
    folder.write("001_a.sql", "SELECT nope;")
    environ = {"DATABASE_URL": database.url, "MIGRATIONS_DIR": str(folder.path)}
    assert into_closed_pipe(["migrate"], environ, errors=True) == (1, "")
