"""The entry point for people: actions, options, what is printed where, and exit statuses."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from tests.plugins.databases import Database
from tests.plugins.folders import Folder
from tests.plugins.runs import PRODUCT, Cli


def test_migrate_prints_a_table(cli: Cli, folder: Folder) -> None:
    """Number, name, mode and time of what was applied, then a sentence and the state."""
    folder.write("001_first.sql", "CREATE TABLE a (i int);")
    folder.write("a_longer_name.sql", "CREATE INDEX CONCURRENTLY ON a (i);")
    done = cli("migrate")
    assert (done.status, done.err) == (0, "")
    first, second, *rest = done.out.splitlines()
    assert first.split()[:3] == ["001", "001_first.sql", "transaction"]
    assert second.split()[:3] == ["002", "a_longer_name.sql", "stepwise"]
    assert rest == ["Applied 2 migrations to reach 002.", "State: up_to_date, at 002."]
    assert cli("migrate").out == "Nothing to do: the database is up to date.\nState: up_to_date, at 002.\n"


def test_status_check(cli: Cli, folder: Folder) -> None:
    """Status exits with 0; with --check, 3 when something is pending and 1 when something is wrong."""
    folder.write("001_a.sql", "SELECT 1;")
    assert cli("status").status == 0
    assert cli("status", "--check").status == 3
    cli("migrate")
    assert cli("status", "--check").status == 0
    folder.write("001_a.sql", "SELECT 2;")
    done = cli("status", "--check")
    assert (done.status, "problem: 001_a.sql was edited" in done.err) == (1, True)


def test_json(cli: Cli, folder: Folder) -> None:
    """With --json there is one object on standard output, for success and for failure, and nothing else."""
    folder.write("001_a.sql", "SELECT 1;")
    done = cli("migrate", "--json")
    assert (done.status, json.loads(done.out)["applied_migrations"], done.err) == (0, ["001_a.sql"], "")
    folder.write("002_b.sql", "SELECT nope;")
    done = cli("migrate", "--json")
    assert (done.status, json.loads(done.out)["code"], done.err) == (1, "migration_failed", "")


def test_failure(cli: Cli, folder: Folder) -> None:
    """A failure is reported on standard error without a traceback, and exits with 1."""
    folder.write("001_a.sql", "SELECT nope;")
    done = cli("migrate")
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith('error: 001_a.sql:1:8  column "nope" does not exist')
    assert "Traceback" not in done.err


def test_wrong_usage(cli: Cli) -> None:
    """Wrong usage exits with 2 and says what is wrong."""
    assert cli("migrat").status == 2
    assert cli().status == 2
    assert cli("migrate", "--targt", "1").status == 2
    done = cli("migrate", "--database-url", "mysql://x")
    assert (done.status, "not a postgresql:// URL" in done.err) == (2, True)
    assert cli("status", DATABASE_URL="", LOCK_TIMEOUT="x").status == 2


def test_plan_and_dry_run(cli: Cli, folder: Folder, database: Database) -> None:
    """Plan and migrate --dry-run show the same, with the mode of each file, and write nothing."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("002_b.sql", "VACUUM;")
    plan, dry = cli("plan"), cli("migrate", "--dry-run")
    assert plan.out == dry.out
    assert [line.split()[-1] for line in plan.out.splitlines()[:2]] == ["transaction", "stepwise"]
    assert "2 migrations would be applied" in plan.out
    assert database.query("SELECT to_regclass('a')") == [(None,)]


def test_target(cli: Cli, folder: Folder) -> None:
    """--target stops behind a number or a name."""
    for number in (1, 2, 3):
        folder.write(f"{number}_x.sql", f"SELECT {number};")
    assert json.loads(cli("migrate", "--target", "1", "--json").out)["applied_migrations"] == ["1_x.sql"]
    assert json.loads(cli("migrate", "--target", "2_x.sql", "--json").out)["applied_migrations"] == ["2_x.sql"]
    assert cli("migrate", "--target", "9").status == 1


def test_new_and_number(cli: Cli, folder: Folder) -> None:
    """New makes the next file; number gives unnumbered files on disk what the database has given them."""
    folder.write("001_a.sql", "SELECT 1;")
    folder.write("orders.sql", "SELECT 2;")
    cli("migrate")
    done = cli("new", "Add  users!")
    assert (done.status, Path(done.out.split()[-1]).name) == (0, "003_add_users.sql")
    assert cli("number").out == "renamed orders.sql -> 002_orders.sql\n"
    assert cli("number").out == "every file has a number\n"
    done = cli("migrate", "--json")
    assert json.loads(done.out)["applied_migrations"] == ["003_add_users.sql"]
    assert cli("new", "!!").status == 2


def test_progress_in_a_log(cli: Cli, folder: Folder, tmp_path: Path) -> None:
    """Where no terminal is, nothing is redrawn and nothing is coloured."""
    folder.write("001_a.sql", "SELECT pg_sleep(1.2);")
    done = cli("migrate")
    assert "\x1b" not in done.out + done.err
    assert "\r" not in done.out + done.err


def test_any_folder_and_any_working_directory(folder: Folder, database: Database, tmp_path: Path) -> None:
    """The drop-in folder works wherever it is copied, with migrations inside it or next to it."""
    for root, place in (("one", "db_setup/migrations"), ("two", "migrations")):
        shutil.copytree(PRODUCT, tmp_path / root / "db_setup", ignore=shutil.ignore_patterns("__pycache__"))
        migrations = tmp_path / root / place
        migrations.mkdir()
        (migrations / "001_a.sql").write_text("SELECT 1;")
        words = [sys.executable, str(tmp_path / root / "db_setup"), "status", "--json", "--database-url", database.url]
        done = subprocess.run(words, capture_output=True, text=True, check=True, cwd="/", env={})
        assert json.loads(done.stdout)["pending_migrations"] == ["001_a.sql"]


def test_an_environment_behind_a_link_is_recognised(tmp_path: Path) -> None:
    """Where .venv is a link and lacks the driver, the command says so; it does not start itself for ever."""
    shutil.copytree(PRODUCT, tmp_path / "db_setup", ignore=shutil.ignore_patterns("__pycache__"))
    venv.create(tmp_path / "elsewhere", symlinks=True)
    (tmp_path / ".venv").symlink_to(tmp_path / "elsewhere")
    command = [str(tmp_path / ".venv/bin/python"), str(tmp_path / "db_setup"), "status"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr.splitlines()[0]) == (1, "error: psycopg2 is not installed")
