"""The tables of the page that travels with the folder say what the code says."""

from __future__ import annotations

import ast
import json
import re
from argparse import Namespace
from collections.abc import Iterator
from unittest.mock import ANY

import pytest
from migrator.adoption.adoption import ADOPTED, BASELINE, IMPORTED
from migrator.adoption.other_tools import TOOLS
from migrator.cli import main
from migrator.cli.arguments import parser
from migrator.database import credentials
from migrator.errors import DbSetupError, MigrationFailed, UsageError
from migrator.files import read_folder
from migrator.files.directives import _KNOWN_DIRECTIVES
from migrator.files.migration import is_migration, looks_like_a_mistake, number_of
from migrator.planning import states
from migrator.report import Report
from migrator.request import _REQUEST_KEYS, ACTIONS, KEYS_OF_ACTIONS, KEYS_OF_ALL, Request
from migrator.scripts import down_section, script
from migrator.settings import KINDS, Settings
from migrator.users import grants
from migrator.users.names import users_of
from migrator.version import VERSION

from tests.docs.documents import REFERENCE, column, only, table
from tests.plugins.answers import check_answer
from tests.plugins.databases import Database
from tests.plugins.folders import Folder
from tests.plugins.runs import PRODUCT, Cli, Invoke

USERS = ("CREATE_USERS", "DB_IAM_AUTH", "REVOKE_PUBLIC_CONNECT")


class Environment(dict[str, str]):
    """An environment that remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def get(self, key: str, default: str = "") -> str:  # type: ignore[override]  # text only
        """Return the default, and remember the key."""
        self.asked.append(key)
        return default


def all_errors(kind: type[DbSetupError]) -> Iterator[type[DbSetupError]]:
    """Yield a class of errors and all that come from it."""
    yield kind
    for child in kind.__subclasses__():
        yield from all_errors(child)


def test_variables() -> None:
    """The variables are those that the settings read."""
    environ = Environment()
    Settings.from_env(environ)
    assert sorted(column(REFERENCE, "Variables")) == sorted(environ.asked)


def test_defaults() -> None:
    """A default that is a value is the one that the settings have."""
    values = {name: value for name, _, value in table(REFERENCE, "Variables") if re.fullmatch(r"true|false|\d+m?s?", value)}
    known = {"DB_PORT", "AUTO_MIGRATE", "LOCK_TIMEOUT", "STRICT_ORDER", "ALLOW_MISSING", "REHEARSE_TIMEOUT", "LOCK_REPORT"}
    assert set(values) == {*known, "VERIFY", *USERS}
    assert Settings.from_env(values)._replace(port="") == Settings.from_env({})
    assert int(values["DB_PORT"]) == credentials.DEFAULT_PORT


def test_events() -> None:
    """The keys of an event are those that are understood; the defaults are those of an empty event."""
    rows = {key: default for key, _, default, _ in table(REFERENCE, "Events")}
    assert tuple(rows) == _REQUEST_KEYS
    said: dict[str, object] = {key: default for key, default in rows.items() if default}
    said |= {key: json.loads(rows[key]) for key in ("dry_run", "confirm")}
    assert Request.parse(said)._replace(by_deploy=True) == Request.parse({})
    assert [action for action in ACTIONS if action not in table(REFERENCE, "Events")[0][1]] == []


def test_keys_of_actions() -> None:
    """Each key of an event is accepted by the actions that the table names, in their order."""
    said = {key: actions.split(", ") for key, _, _, actions in table(REFERENCE, "Events")}
    known = {key: [action for action in ACTIONS if key in KEYS_OF_ACTIONS[action]] for key in said}
    assert said == known | {key: ["all"] for key in KEYS_OF_ALL}


def test_answer() -> None:
    """The fields of the answer are those of the report, in their order."""
    assert column(REFERENCE, "Answer") == list(Report("status", states.EMPTY).body())
    check_answer(json.loads(only(REFERENCE, "json answer"))["body"])


def test_failure(cli: Cli, folder: Folder) -> None:
    """The failure that is shown is what the command line prints, to the letter."""
    shown = json.loads(only(REFERENCE, "json failure"))
    folder.write("001_orders.sql", "CREATE TABLE orders (i int);")
    folder.write("002_items.sql", "SELECT nope;")
    printed = json.loads(cli("migrate", "--json").out)
    assert list(printed.items()) == list({**shown, "duration_ms": printed["duration_ms"]}.items())


def test_evidence() -> None:
    """The tables that count as evidence are those that are read, in no more and no fewer words."""
    said = [row[0].split(" of ")[0] for row in table(REFERENCE, "Adoption")]
    assert sorted(said) == sorted([*(tool.table for tool in TOOLS), "a scratch database"])


def test_command_line() -> None:
    """The actions and their options are those that the command line understands."""
    rows = table(REFERENCE, "How it is run")
    actions = [row[0].split()[0] for row in rows]
    assert [line.split()[0] for line in re.findall(r"^    \w.*$", parser().format_help(), re.MULTILINE)] == actions
    helps = [parser().format_help(), *map(usage, actions)]
    options = {word for text in helps for word in re.findall(r"--[a-z-]+", text)}
    text = REFERENCE.read_text(encoding="utf-8").partition("## How it is run")[2].partition("\n## ")[0]
    assert set(re.findall(r"(?<![\w-])--[a-z]+(?:-[a-z]+)*", text)) == options


def usage(action: str) -> str:
    """Return the help of an action, without what leads past it."""
    (subparsers,) = [found for found in parser()._actions if isinstance(found.choices, dict)]
    assert isinstance(subparsers.choices, dict)
    text: str = subparsers.choices[action].format_help()
    return text


def test_exit_status() -> None:
    """The exit statuses are those of the command line and of the errors."""
    known = {main.DONE, main.FAILED, main.PENDING, main.DRIFT, main.INTERRUPTED, main.CLOSED_PIPE, DbSetupError.exit_status, UsageError.exit_status}
    assert {int(status) for status in column(REFERENCE, "Exit status")} == known
    assert main._status(Namespace(action="status", check=False), Report("status", states.INCONSISTENT).body()) == 0


def test_states() -> None:
    """The states are those of the plan."""
    known = {states.EMPTY, states.UNTRACKED, states.PENDING, states.UP_TO_DATE, states.INCONSISTENT, states.AHEAD, states.DRIFTED}
    assert set(column(REFERENCE, "States")) == known


def test_modes_and_directives() -> None:
    """The modes are those of scripts and of the import; the directives are those that are understood."""
    assert column(REFERENCE, "How a file is run") == [script.TRANSACTION, script.STEPWISE, IMPORTED, ADOPTED, BASELINE]
    text = REFERENCE.read_text(encoding="utf-8")
    said = re.search(r"^\| Directive .*\n\|.*\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert said is not None
    assert re.findall(r"^\| `([a-z-]+)`", said[1], re.MULTILINE) == list(_KNOWN_DIRECTIVES)


def test_error_codes() -> None:
    """Every code that an error can have is there; those of mere families are not, and nothing else is."""
    families = {"error", "folder_error", "invalid_text", "plan_error"}
    codes = {kind.code for kind in all_errors(DbSetupError)} - families
    assert sorted(column(REFERENCE, "Error codes")) == sorted(codes)
    raised = set(re.findall(r"\braise (\w+)\(", "".join(file.read_text() for file in PRODUCT.rglob("*.py"))))
    assert not raised & {kind.__name__ for kind in all_errors(DbSetupError) if kind.code in families}


def test_log_events() -> None:
    """The events of the log are those that the code reports, whatever it sends them through."""
    reported: set[str] = set()
    for file in PRODUCT.rglob("*.py"):
        if "cli" not in file.relative_to(PRODUCT).parts:
            texts = (node.value for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Constant))
            reported |= {text for text in texts if isinstance(text, str) and re.fullmatch(r"(connection|run|lock|migration|user)\.[a-z]+", text)}
    assert set(column(REFERENCE, "Log")) == reported


@pytest.mark.parametrize(("name", "number"), table(REFERENCE, "Files and numbers"))
def test_file_names(name: str, number: str) -> None:
    """A file name has the number that the table gives, or is not run."""
    assert is_migration(name) == (number != "not run")
    if number == "not run":
        assert looks_like_a_mistake(name) == (not name.endswith((".down.sql", ".check.sql")))
    else:
        spelled = () if number == "none" else tuple(int(part) for part in number.split(", "))
        assert (number_of(name) or ()) == spelled


def _in_code(document: str, heading: str) -> list[list[str]]:
    """Return what is set as code in the second cell of a table's rows, or else in the first."""
    text = document.partition(f"### {heading}\n")[2].partition("\n#")[0]
    rows = [line.split(" | ")[:2] for line in text.splitlines() if line.startswith("| ")][1:]
    return [re.findall("`([^`]+)`", cells[1]) or re.findall("`([^`]+)`", cells[0]) for cells in rows]


def test_files_and_marks_of_other_tools(folder: Folder) -> None:
    """The names and the marks that the tables show are refused, each for itself; a pair for its second half at most."""
    text = REFERENCE.read_text(encoding="utf-8")
    names = _in_code(text, "Files of other tools")
    assert len(names) == 8
    for row in names:
        for number, name in enumerate(row):
            for path in folder.path.iterdir():
                path.unlink()
            for other in (name, *row[number + 1 :]):
                folder.write(other, "SELECT 1;")
            suspects = [file.name for file in read_folder(folder).suspects]
            assert name in suspects or name in {"email.sql", "002_x_upgrade.sql"}, name
    marks = [mark for row in _in_code(text, "Marks of other tools") for mark in row]
    assert len(marks) >= 15
    for mark in marks:
        for path in folder.path.iterdir():
            path.unlink()
        folder.write("001_a.sql", f"SELECT 1;\n{mark}\nSELECT 2;")
        (file,) = read_folder(folder).files
        assert down_section(file) is not None, mark


@pytest.mark.parametrize("name", ["history", "runs", "run_lock"])
def test_history_tables(invoke: Invoke, folder: Folder, database: Database, name: str) -> None:
    """The columns are those that a run makes."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    invoke()
    rows = database.query(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = 'db_setup' AND table_name = %s "
        "ORDER BY ordinal_position", name,
    )  # fmt: skip
    assert column(REFERENCE, f"db_setup.{name}") == [found for (found,) in rows]


def test_users() -> None:
    """The privileges of each kind of user are those that are granted, and the names those that derive."""
    rows = table(REFERENCE, "Users")
    assert [row[0] for row in rows] == list(KINDS)
    for kind, *said in rows:
        found = [set(cell.split(", ")) for cell in said]
        assert found == [set(grants.PRIVILEGES[kind][cls]) for cls in ("TABLE", "SEQUENCE", "SCHEMA", "DATABASE")]
    text = REFERENCE.read_text(encoding="utf-8").partition("\n## Users\n")[2].partition("\n## ")[0]
    names = {name for user in users_of(Settings(), "shop", "admin") for name in (user.group, user.login)}
    assert set(re.findall(r"`(shop_\w+)`", text)) == names
    defaults = {name: value for name, _, value in table(REFERENCE, "Variables") if name.endswith(("_ROLE", "_LOGIN"))}
    assert {f"shop{value.rpartition(' ')[2]}" for value in defaults.values()} == names


def test_secret() -> None:
    """The secret that is shown is understood, also without its port."""
    secret = json.loads(only(REFERENCE, "json secret"))
    found = credentials.from_secret(secret, "shown", Settings())
    del secret["port"]
    assert found == credentials.from_secret(secret, "shown", Settings())
    assert (found.host, found.name, found.user) == ("db.example", "shop", "admin")


def test_newer_history(invoke: Invoke, folder: Folder, database: Database) -> None:
    """The warning of an older folder on a newer history is the one that is shown, with these versions."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    invoke()
    (shown,) = only(REFERENCE, "text newer history").splitlines()
    (newer,) = set(re.findall(r"\d+\.\d+\.\d+", shown)) - {VERSION}
    database.execute(f"UPDATE db_setup.runs SET package_version = '{newer}'")
    assert [f"warning: {text}" for text in invoke({"action": "status"})["warnings"]] == [shown]


def test_failure_in_the_log(invoke: Invoke, folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    """The failure that is shown is what the log has of it, but for the time it took."""
    folder.write("001_orders.sql", "CREATE TABLE orders (i int);")
    folder.write("002_items.sql", "SELECT nope;")
    with pytest.raises(MigrationFailed):
        invoke()
    logged = json.loads(capsys.readouterr().out.splitlines()[-1])
    shown = json.loads(only(REFERENCE, "json failure"))
    assert logged == {"event": "run.finished", "request_id": ANY, **shown, "duration_ms": ANY}
