"""Environments: which files run where, in which order, and what is said of the others."""

from __future__ import annotations

import pytest
from migrator.errors import DuplicateNumber, UnknownDirective

from tests.plugins.databases import Database
from tests.plugins.folders import Folder
from tests.plugins.runs import Invoke

DEV, STAGING = {"MIGRATION_ENV": "dev"}, {"MIGRATION_ENV": "staging"}


@pytest.fixture
def mixed(folder: Folder) -> Folder:
    """Return a folder with files for all, for one by folder, and for two by directive."""
    for name in ("env/dev", "env/staging", "repeatable"):
        (folder.path / name).mkdir(parents=True)
    folder.write("001_a.sql", "CREATE TABLE t (s text);")
    folder.write("env/dev/002_sample.sql", "INSERT INTO t VALUES ('dev');")
    folder.write("env/dev/002_sample.down.sql", "DELETE FROM t WHERE s = 'dev';")
    folder.write("env/staging/002_other.sql", "INSERT INTO t VALUES ('staging');")
    folder.write("003_c.sql", "-- for some\r\n-- db_setup: env=dev,staging\r\nINSERT INTO t VALUES ('both');")
    folder.write("004_d.sql", "INSERT INTO t VALUES ('all -- db_setup: env=nowhere');")
    return folder


@pytest.mark.parametrize(
    ("environ", "applied", "skipped"),
    [
        ({}, ["001_a.sql", "004_d.sql"], ["003_c.sql", "env/dev/002_sample.sql", "env/staging/002_other.sql"]),
        (DEV, ["001_a.sql", "env/dev/002_sample.sql", "003_c.sql", "004_d.sql"], ["env/staging/002_other.sql"]),
        (STAGING, ["001_a.sql", "env/staging/002_other.sql", "003_c.sql", "004_d.sql"], ["env/dev/002_sample.sql"]),
    ],
    ids=["none", "dev", "staging"],
)
@pytest.mark.usefixtures("mixed")
def test_each_runs_its_own(invoke: Invoke, environ: dict[str, str], applied: list[str], skipped: list[str]) -> None:
    """An environment's files run in the order of numbers across folders; the others are named."""
    body = invoke(**environ)
    assert (body["applied_migrations"], body["skipped_migrations"], body["warnings"]) == (applied, skipped, [])
    assert f"For other environments: {', '.join(skipped)}." in body["message"]
    again = invoke(**environ)
    assert (again["state"], again["final_revision"], again["skipped_migrations"]) == ("up_to_date", "004", skipped)


def test_another_environment(invoke: Invoke, mixed: Folder, database: Database) -> None:
    """What was applied in one environment is not missed in another, nor offered to repair; rollback knows it."""
    invoke(**DEV)
    assert invoke()["state"] == "up_to_date"
    assert invoke({"action": "repair"})["message"].startswith("Nothing to repair.")
    mixed.write("004_d.down.sql", "")
    mixed.write("003_c.down.sql", "")
    body = invoke({"action": "rollback", "target_revision": "1", "confirm": True}, **DEV)
    assert body["rolled_back_migrations"] == ["004_d.sql", "003_c.sql", "env/dev/002_sample.sql"]
    assert database.query("SELECT s FROM t WHERE s = 'dev'") == []


def test_one_number_twice_in_one_environment(invoke: Invoke, mixed: Folder) -> None:
    """A number that an environment would have twice is refused there, and only there."""
    mixed.write("002_b.sql", "-- db_setup: env=dev no-transaction\nSELECT 1;")
    with pytest.raises(DuplicateNumber, match=r"002_b\.sql, env/dev/002_sample\.sql"):
        invoke(**DEV)
    assert "env/staging/002_other.sql" in invoke(**STAGING)["applied_migrations"]


@pytest.mark.parametrize("name", ["dve", "DEV", "development", "de"])
def test_misspelt_environment(invoke: Invoke, mixed: Folder, name: str) -> None:
    """An environment that no file names is remarked upon where a file names one like it."""
    del mixed
    (warning,) = invoke({"action": "status"}, MIGRATION_ENV=name)["warnings"]
    assert warning == f'MIGRATION_ENV is "{name}", and no file is for that; is "dev" meant?'


def test_unknown_environment(invoke: Invoke, mixed: Folder) -> None:
    """An environment that no file knows is no mistake by itself; a misspelt directive is refused with its place."""
    assert invoke({"action": "status"}, MIGRATION_ENV="prod")["warnings"] == []
    mixed.write("005_e.sql", "-- db_setup: env=dev, staging\nSELECT 1;")
    with pytest.raises(UnknownDirective, match=r'^005_e\.sql:1:14  unknown directive "env=dev, staging"'):
        invoke(**DEV)


@pytest.mark.parametrize("before", ["SELECT 1;\r\n\r\n", "SELECT 1;\n-- a\n", "/* licence\n*/\n"], ids=["below", "comment", "block"])
def test_directive_below_the_top(invoke: Invoke, mixed: Folder, before: str) -> None:
    """A file that says too far down what it is for is refused, since it would run everywhere."""
    mixed.write("005_e.sql", f"{before}-- db_setup: env=dev\nSELECT 1;")
    with pytest.raises(UnknownDirective, match=r"^005_e\.sql:3:1  a directive that is not at the top"):
        invoke({"action": "status"})


def test_history_shows_what_was_skipped(invoke: Invoke, mixed: Folder, database: Database) -> None:
    """The row of a run names the files that were left to other environments."""
    invoke(**DEV)
    assert database.query("SELECT message FROM db_setup.runs") == [("for other environments: env/staging/002_other.sql",)]


def test_verify(invoke: Invoke, mixed: Folder, database: Database) -> None:
    """Verification builds what this environment has; what another has brought is drift."""
    mixed.write("env/dev/002_sample.sql", "CREATE TABLE sample (i int);")
    invoke(**DEV)
    assert invoke({"action": "verify"}, **DEV)["state"] == "up_to_date"
    body = invoke({"action": "verify"})
    assert [item["identity"] for item in body["differences"]] == ["public.sample"]


def test_files_that_are_in_no_environment(invoke: Invoke, mixed: Folder) -> None:
    """A file next to the folders of the environments, and one too deep in them, are named, since they are never run."""
    mixed.write("env/005_e.sql", "SELECT 1;")
    (mixed.path / "env" / "dev" / "more").mkdir()
    mixed.write("env/dev/more/006_f.sql", "SELECT 1;")
    warnings = invoke({"action": "status"}, **DEV)["warnings"]
    assert warnings == [
        "env/005_e.sql is not run: it is in the folder of no environment, such as env/dev",
        "env/dev/more is a folder; the .sql files in it are not run",
    ]
