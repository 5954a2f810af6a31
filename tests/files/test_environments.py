"""Environments: which files run where, in which order, and what is said of the others."""

from __future__ import annotations

import pytest
from migrator.errors import DuplicateNumber, InconsistentHistory, MigrationFailed, UnfinishedRollback, UnknownDirective

from tests.plugins.databases import Database
from tests.plugins.folders import Folder
from tests.plugins.runs import Cli, Invoke

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


HALF = "INSERT INTO t VALUES ('step');\nVACUUM t;\nSELECT 1 / count(*) FROM t WHERE s = 'go on';"
ROLLBACK = {"action": "rollback", "confirm": True}


@pytest.fixture
def half_applied(mixed: Folder, invoke: Invoke, database: Database) -> Database:
    """Return a database to which a file for dev is applied in part."""
    for name in ("003_c.sql", "004_d.sql"):
        (mixed.path / name).unlink()
    mixed.write("env/dev/002_sample.sql", HALF)
    mixed.write("env/dev/002_sample.down.sql", "VACUUM t;\nSELECT 1 / count(*) FROM t WHERE s = 'go back';\nDELETE FROM t;")
    with pytest.raises(MigrationFailed, match="2 steps of"):
        invoke(**DEV)
    return database


def test_half_applied_in_another_environment(invoke: Invoke, mixed: Folder, half_applied: Database) -> None:
    """A half-applied file of another environment is named; nothing is run on top of it, and its own goes on with it."""
    for event in ({"action": "status"}, {}):
        (warning,) = invoke(event)["warnings"]
        assert warning.startswith("env/dev/002_sample.sql is applied in part, and is for another environment; run migrate")
    mixed.write("005_e.sql", "SELECT 1;")
    body = invoke({"action": "status"})
    assert (body["state"], len(body["problems"])) == ("inconsistent", 1)
    with pytest.raises(InconsistentHistory, match=r"env/dev/002_sample\.sql is applied in part") as caught:
        invoke()
    assert "MIGRATION_ENV=dev" in caught.value.fix
    half_applied.execute("INSERT INTO t VALUES ('go on')")
    assert invoke(**DEV)["applied_migrations"] == ["env/dev/002_sample.sql", "005_e.sql"]
    assert half_applied.query("SELECT count(*) FROM t WHERE s = 'step'") == [(1,)]
    assert invoke()["state"] == "up_to_date"


def test_half_rolled_back_in_another_environment(invoke: Invoke, half_applied: Database) -> None:
    """A half-rolled-back file of another environment stops migrate, and rollback brings it to its end, whichever it is for."""
    half_applied.execute("INSERT INTO t VALUES ('go on')")
    invoke(**DEV)
    with pytest.raises(MigrationFailed):
        invoke(ROLLBACK)
    assert invoke({"action": "status"})["problems"] == ["env/dev/002_sample.sql is rolled back in part"]
    with pytest.raises(UnfinishedRollback, match="run rollback again"):
        invoke()
    half_applied.execute("INSERT INTO t VALUES ('go back')")
    assert invoke(ROLLBACK)["rolled_back_migrations"] == ["env/dev/002_sample.sql"]
    assert invoke()["state"] == "up_to_date"


def test_half_run_repeatable_of_another_environment(invoke: Invoke, mixed: Folder) -> None:
    """A repeatable file that was run in part is named where it is for another environment."""
    mixed.write("repeatable/view.sql", f"-- db_setup: env=dev\n{HALF}")
    with pytest.raises(MigrationFailed):
        invoke(**DEV)
    warnings = invoke({"action": "status"})["warnings"]
    assert warnings == [
        "repeatable/view.sql is applied in part, and is for another environment: migrate with MIGRATION_ENV=dev goes on with it"
    ]
    assert invoke({"action": "repair"})["message"].startswith("Nothing to repair.")


def test_directive_in_an_applied_file(invoke: Invoke, mixed: Folder, database: Database) -> None:
    """A file that is applied, and is to be for one environment only from now on, is edited; repair accepts it."""
    invoke()
    mixed.write("004_d.sql", "-- db_setup: env=dev\nINSERT INTO t VALUES ('all -- db_setup: env=nowhere');")
    with pytest.raises(InconsistentHistory, match=r"004_d\.sql was edited after it was applied"):
        invoke()
    assert invoke({"action": "repair", "confirm": True})["repaired_migrations"] == ["004_d.sql"]
    assert (invoke()["state"], database.query("SELECT count(*) FROM t")) == ("up_to_date", [(1,)])


@pytest.mark.parametrize("environ", [{}, DEV], ids=["none", "dev"])
def test_file_that_moves_to_an_environment_and_back(
    invoke: Invoke, mixed: Folder, database: Database, environ: dict[str, str]
) -> None:
    """A file that moves between the top and an environment's folder is the same file, wherever it is applied."""
    invoke(**environ)
    rows = database.query("SELECT count(*) FROM t")
    top, inside = mixed.path / "004_d.sql", mixed.path / "env" / "dev" / "004_d.sql"
    for old, new in ((top, inside), (inside, top)):
        old.rename(new)
        body = invoke(**environ)
        name = new.relative_to(mixed.path).as_posix()
        assert (body["applied_migrations"], body["state"], body["final_revision"]) == ([], "up_to_date", "004" if environ or new == top else "001")
        assert database.query("SELECT name FROM db_setup.history WHERE name LIKE '%%004_d.sql'") == [(name,)]
    assert database.query("SELECT count(*) FROM t") == rows


def test_number_counts_all_environments(cli: Cli, invoke: Invoke, mixed: Folder) -> None:
    """A file without a number gets one that no environment has, in each of them the same, and that which `new` gives."""
    mixed.write("env/dev/007_more.sql", "SELECT 1;")
    mixed.write("orders.sql", "CREATE TABLE orders (i int);")
    pending = [invoke({"action": "plan"}, **environ)["migrations"][-1] for environ in ({}, DEV, STAGING)]
    assert {(entry["name"], entry["number"]) for entry in pending} == {("orders.sql", "008")}
    assert "008_orders.sql" in cli("number").out
    assert "009_next.sql" in cli("new", "next").out


@pytest.mark.parametrize("environ", [{}, DEV], ids=["none", "dev"])
def test_file_that_becomes_one_for_each_of_two(
    invoke: Invoke, mixed: Folder, database: Database, environ: dict[str, str]
) -> None:
    """A file that is copied to two environments is followed where it is for this one; elsewhere repair forgets it."""
    invoke(**environ)
    rows = database.query("SELECT count(*) FROM t")
    text = (mixed.path / "004_d.sql").read_text()
    (mixed.path / "004_d.sql").unlink()
    for name in ("env/dev/004_d.sql", "env/staging/004_d.sql"):
        mixed.write(name, text)
    mixed.write("005_e.sql", "SELECT 5;")
    if not environ:
        with pytest.raises(InconsistentHistory, match=r"004_d\.sql is applied on .*, and its file is missing"):
            invoke()
        assert invoke({"action": "repair", "confirm": True})["repaired_migrations"] == ["004_d.sql"]
    assert invoke(**environ)["applied_migrations"] == ["005_e.sql"]
    assert database.query("SELECT count(*) FROM t") == rows
