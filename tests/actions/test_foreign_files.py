"""Folders as other tools lay them out, after their documentation: what is run, what is refused, and that no row is lost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest
from migrator.cli.lint import ERROR, find
from migrator.errors import DbSetupError, NotForward

from tests.plugins.databases import Database
from tests.plugins.folders import Folder
from tests.plugins.runs import Cli, Invoke

LIVE = "CREATE TABLE live (id int PRIMARY KEY);\n"
UP = "ALTER TABLE live ADD COLUMN email text;\n"
DOWN = "DROP TABLE live;\n"
FORWARD_ONLY = "-- db_setup: forward-only\n"


class Layout(NamedTuple):
    """The file that made the live table, the files that come next, and the code of what refuses them, "" for none."""

    live: str
    files: Mapping[str, str]
    code: str


LAYOUTS = {
    "Flyway": Layout("V1__live.sql", {"V2__email.sql": UP, "U2__email.sql": DOWN}, "not_forward"),
    "Flyway, no migration": Layout("V1__live.sql", {"U1__live.sql": DOWN}, "not_forward"),
    "Flyway, repeatable": Layout("V1__live.sql", {"R__emails.sql": "DROP TABLE IF EXISTS live;"}, "misplaced_file"),
    "Flyway, baseline": Layout("V1__live.sql", {"B1__base.sql": DOWN + LIVE}, "misplaced_file"),
    "Flyway, callback": Layout("V1__live.sql", {"beforeClean.sql": DOWN}, "not_forward"),
    "MyBatis Migrations, after a failure": Layout("20240101000000_live.sql", {"onabort.sql": DOWN}, "not_forward"),
    "refinery": Layout("V1__live.sql", {"V2__email.sql": UP, "U2__email.sql": DOWN}, "not_forward"),
    "goose": Layout(
        "00001_live.sql", {"00002_email.sql": f"-- +goose Up\n-- +goose StatementBegin\n{UP}-- +goose StatementEnd\n\n-- +goose Down\n"
                           f"-- +goose StatementBegin\n{DOWN}-- +goose StatementEnd\n"}, "down_section",
    ),
    "dbmate": Layout("20240101000000_live.sql", {"20240102000000_email.sql": f"-- migrate:up\n{UP}\n-- migrate:down\n{DOWN}"}, "down_section"),
    "dbmate, with options": Layout(
        "20240101000000_live.sql",
        {"20240102000000_email.sql": f"-- migrate:up transaction:false\n{UP}\n-- migrate:down transaction:false\n{DOWN}"}, "down_section",
    ),
    "node-pg-migrate": Layout(
        "1700000000000_live.sql", {"1700000000001_email.sql": f"-- Up Migration\n{UP}\n-- Down Migration\n{DOWN}"}, "down_section"
    ),
    "sql-migrate": Layout("1-live.sql", {"2-email.sql": f"-- +migrate Up\n{UP}\n-- +migrate Down\n{DOWN}"}, "down_section"),
    "tern": Layout("001_live.sql", {"002_email.sql": f"{UP}\n---- create above / drop below ----\n\n{DOWN}"}, "down_section"),
    "MyBatis Migrations": Layout(
        "20240101000000_live.sql",
        {"20240102000000_email.sql": f"-- // Add e-mail\n-- Migration SQL that makes the change goes here.\n\n{UP}\n\n"
         f"-- //@UNDO\n-- SQL to undo the change goes here.\n\n{DOWN}"}, "down_section",
    ),
    "Play evolutions": Layout("1.sql", {"2.sql": f"-- Users schema\n\n-- !Ups\n\n{UP}\n-- !Downs\n\n{DOWN}"}, "down_section"),
    "yoyo": Layout("0001.live.sql", {"0002.email.sql": UP, "0002.email.rollback.sql": DOWN}, "not_forward"),
    "postgrator": Layout("001.do.live.sql", {"002.do.email.sql": UP, "002.undo.email.sql": DOWN}, "not_forward"),
    "db-migrate": Layout(
        "20240101000000-live-up.sql", {"20240102000000-email-up.sql": UP, "20240102000000-email-down.sql": DOWN}, "not_forward"
    ),
    "sqlalchemy-migrate": Layout(
        "001_postgresql_upgrade.sql", {"002_postgresql_upgrade.sql": UP, "002_postgresql_downgrade.sql": DOWN}, "not_forward"
    ),
    "Mojo::Pg": Layout("001_live.sql", {"migrations.sql": f"-- 1 up\n{UP}-- 1 down\n{DOWN}-- 2 up\nSELECT 1;\n-- 2 down\n"}, "down_section"),
    "shmig": Layout("1700000000-live.sql", {"1700000001-email.sql": f"-- ==== UP ====\n{UP}\n-- ==== DOWN ====\n{DOWN}"}, "down_section"),
    "Aerich": Layout("0_live.sql", {"1_email.sql": f"-- upgrade --\n{UP}-- downgrade --\n{DOWN}"}, "down_section"),
    "by hand": Layout("001_live.sql", {"002_email.sql": UP, "rollback_002_email.sql": DOWN}, "not_forward"),
    "down first": Layout("001_live.sql", {"002_email.sql": f"-- Down Migration\n{DOWN}-- Up Migration\n{LIVE}{UP}"}, "down_section"),
    "golang-migrate": Layout("000001_live.up.sql", {"000002_email.up.sql": UP, "000002_email.down.sql": DOWN}, ""),
    "sqlx": Layout("20240101000000_live.sql", {"20240102000000_email.up.sql": UP, "20240102000000_email.down.sql": DOWN}, ""),
    "Bun": Layout("20240101_live.tx.up.sql", {"20240102_email.tx.up.sql": UP, "20240102_email.tx.down.sql": DOWN}, ""),
    "Drizzle": Layout("0000_live.sql", {"0001_email.sql": f"{UP}--> statement-breakpoint\nSELECT 1;\n"}, ""),
    "Supabase": Layout("20240101000000_live.sql", {"20240102000000_email.sql": UP}, ""),
}  # fmt: skip
FOLDERS: dict[str, Mapping[str, str]] = {
    "Prisma": {"20240101000000_init/migration.sql": DOWN, "migration_lock.toml": 'provider = "postgresql"\n'},
    "Diesel": {"2024-01-01-000000_live/up.sql": LIVE, "2024-01-01-000000_live/down.sql": DOWN},
    "Hasura": {"default/1700000000000_live/up.sql": LIVE, "default/1700000000000_live/down.sql": DOWN},
    "sqitch": {"sqitch.plan": "%project=live\n", "deploy/live.sql": LIVE, "revert/live.sql": DOWN, "verify/live.sql": "SELECT 1;"},
    "roundhousE": {"up/001_live.sql": LIVE, "down/001_live.sql": DOWN},
    "dbmate": {"db/migrations/20240101000000_live.sql": LIVE},
    "Alembic": {"env.py": "", "versions/1a2b_live.py": ""},
    "Rails": {"20240101000000_create_live.rb": ""},
}


def write(folder: Folder, files: Mapping[str, str]) -> None:
    """Write files, in subfolders too."""
    for name, content in files.items():
        (folder.path / name).parent.mkdir(parents=True, exist_ok=True)
        folder.write(name, content)


def make_live(invoke: Invoke, folder: Folder, database: Database, name: str) -> None:
    """Apply the file that makes the live table, and insert a row."""
    folder.write(name, LIVE)
    assert invoke()["applied_migrations"] == [name]
    database.execute("INSERT INTO live VALUES (7)")


def refusals(invoke: Invoke, *events: object) -> list[str]:
    """Return the codes with which events are refused, before anything is run."""
    codes = []
    for event in events:
        with pytest.raises(DbSetupError) as caught:
            invoke(event)
        codes.append(caught.value.code)
        assert "nothing" in caught.value.applied
        assert caught.value.fix
    return codes


def event(action: str, **fields: Any) -> dict[str, Any]:
    """Return the event of an action."""
    return {"action": action, **fields}


@pytest.mark.parametrize("tool", LAYOUTS)
def test_files_of_other_tools(invoke: Invoke, folder: Folder, database: Database, tool: str) -> None:
    """What another tool would not run forward is refused by every action, in lint, and nothing is touched."""
    layout = LAYOUTS[tool]
    make_live(invoke, folder, database, layout.live)
    write(folder, layout.files)
    errors = [item.rule for item in find(folder) if item.level == ERROR]
    if layout.code:
        assert errors == [layout.code]
        codes = refusals(invoke, event("plan"), event("rehearse"), event("verify"), {}, event("migrate", target_revision="head"))
        assert set(codes) == {layout.code}
        status = invoke(event("status"))
        assert (status["success"], status["state"], len(status["problems"])) == (False, "inconsistent", 1)
        assert database.query("SELECT * FROM live") == [(7,)]
    else:
        assert errors == []
        assert invoke()["applied_migrations"] == [name for name in layout.files if "down" not in name]
        assert database.query("SELECT * FROM live") == [(7, None)]


@pytest.mark.parametrize("tool", FOLDERS)
def test_folders_of_other_tools(invoke: Invoke, folder: Folder, database: Database, tool: str) -> None:
    """A folder whose migrations lie below its top, or are programs, is never one with nothing to apply."""
    database.execute("CREATE TABLE live (id int); INSERT INTO live VALUES (7)")
    write(folder, FOLDERS[tool])
    assert [item.rule for item in find(folder)] == ["foreign_layout"]
    for action in ("migrate", "plan", "status", "adopt"):
        with pytest.raises(DbSetupError) as caught:
            invoke(event(action))
        assert caught.value.code == "foreign_layout"
    assert database.query("SELECT * FROM live") == [(7,)]


def test_first_run_makes_nothing(invoke: Invoke, folder: Folder, database: Database) -> None:
    """An empty database stays empty: the refusal comes before the run lock and the tables of the history."""
    folder.write("001_a.sql", LIVE)
    folder.write("002_b.sql", f"{UP}-- DOWN\n{DOWN}")
    assert refusals(invoke, {}) == ["down_section"]
    assert database.query("SELECT count(*) FROM pg_namespace WHERE nspname = 'db_setup'") == [(0,)]
    assert database.query("SELECT count(*) FROM pg_class WHERE relname = 'live'") == [(0,)]


def test_tables_without_history(invoke: Invoke, folder: Folder, database: Database) -> None:
    """Neither adopting nor a baseline takes a file for applied that would be refused."""
    database.execute(f"{LIVE}{UP}")
    folder.write("001_live.sql", f"-- +goose Up\n{LIVE}{UP}-- +goose Down\n{DOWN}")
    events = [event("adopt"), event("adopt", confirm=True), event("baseline", target_revision="1", confirm=True)]
    assert set(refusals(invoke, {}, *events)) == {"down_section"}
    assert database.query("SELECT to_regclass('db_setup.history')") == [(None,)]


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [("002_b.sql", f"{UP}-- DOWN\nSELECT 1;", "down_section"), ("U1__b.sql", UP, "not_forward"), ("R__b.sql", UP, "misplaced_file")],
)
def test_first_line_overrules(invoke: Invoke, folder: Folder, database: Database, name: str, content: str, code: str) -> None:
    """The file runs with the line; without it, once applied, it is warned of, and never an edit or an error."""
    make_live(invoke, folder, database, "001_a.sql")
    folder.write(name, content)
    assert refusals(invoke, {}) == [code]
    folder.write(name, FORWARD_ONLY + content)
    assert invoke(event("plan"))["warnings"] == []
    assert invoke()["applied_migrations"] == [name]
    assert invoke()["warnings"] == []
    folder.write(name, content)
    for action in ("migrate", "plan", "status", "verify"):
        body = invoke(event(action))
        assert (body["success"], body["pending_migrations"]) == (True, [])
        (warning,) = body["warnings"]
        assert warning.startswith(f"{name} ")
        assert 'it is applied here, and a new database would refuse it: "-- db_setup: forward-only" as its first line' in warning
    folder.write("003_c.sql", "CREATE TABLE c (i int);")
    assert invoke()["applied_migrations"] == ["003_c.sql"]


def test_file_applied_in_part(invoke: Invoke, folder: Folder, database: Database) -> None:
    """The rest of a stepwise file, which may be the down migration, is not run either; the line is no edit there."""
    text = "CREATE TABLE a (i int);\nVACUUM;\n-- DOWN\nSELECT missing FROM a;\n"
    folder.write("001_a.sql", FORWARD_ONLY + text)
    with pytest.raises(DbSetupError):
        invoke()
    folder.write("001_a.sql", text)
    assert refusals(invoke, {}, event("plan")) == ["down_section", "down_section"]
    database.execute("ALTER TABLE a ADD COLUMN missing int")
    folder.write("001_a.sql", FORWARD_ONLY + text)
    assert invoke()["applied_migrations"] == ["001_a.sql"]


def test_repeatable_file(invoke: Invoke, folder: Folder, database: Database) -> None:
    """A repeatable file is held to the same when its text has changed."""
    make_live(invoke, folder, database, "001_live.sql")
    write(folder, {"repeatable/v.sql": "CREATE OR REPLACE VIEW v AS SELECT 1 AS i;\n"})
    invoke()
    write(folder, {"repeatable/v.sql": f"CREATE OR REPLACE VIEW v AS SELECT 1 AS i;\n-- DOWN\n{DOWN}"})
    assert refusals(invoke, {}) == ["down_section"]
    assert database.query("SELECT * FROM live") == [(7,)]


def test_numbers_taken_twice_are_not_the_fix(invoke: Invoke, folder: Folder) -> None:
    """Two files of a pair have one number; the fix is not to give the down migration a number of its own."""
    folder.write("001_a_up.sql", LIVE)
    folder.write("001_a_down.sql", DOWN)
    with pytest.raises(NotForward) as caught:
        invoke()
    assert caught.value.what == "001_a_down.sql is by its name a down migration (db-migrate and others), which is not run forward"
    assert caught.value.fix.startswith("rename it to 001_a_up.down.sql;")


def test_all_are_named(invoke: Invoke, folder: Folder) -> None:
    """One refusal names every file."""
    write(folder, {"V1__a.sql": f"{LIVE}-- DOWN\n{DOWN}", "U1__a.sql": DOWN, "R__b.sql": "SELECT 1;"})
    with pytest.raises(DbSetupError) as caught:
        invoke()
    for name in ("V1__a.sql", "U1__a.sql", "R__b.sql"):
        assert name in caught.value.what


def test_fix_works(invoke: Invoke, folder: Folder, database: Database) -> None:
    """The file that is split, and the one that is renamed, are run, and can be rolled back."""
    make_live(invoke, folder, database, "V1__live.sql")
    folder.write("V2__email.sql", f"{UP}-- Down Migration\nALTER TABLE live DROP COLUMN email;")
    folder.write("U3__name.sql", "ALTER TABLE live DROP COLUMN name;")
    folder.write("V3__name.sql", "ALTER TABLE live ADD COLUMN name text;")
    assert refusals(invoke, {}) == ["not_forward"]
    (folder.path / "U3__name.sql").rename(folder.path / "V3__name.down.sql")
    folder.write("V2__email.sql", UP)
    folder.write("V2__email.down.sql", "-- Down Migration\nALTER TABLE live DROP COLUMN email;")
    assert invoke()["applied_migrations"] == ["V2__email.sql", "V3__name.sql"]
    assert invoke(event("rollback", steps=2, confirm=True))["rolled_back_migrations"] == ["V3__name.sql", "V2__email.sql"]
    assert database.query("SELECT * FROM live") == [(7,)]


def test_number_does_not_hide_the_name(cli: Cli, folder: Folder) -> None:
    """A number before Flyway's letter would make a migration of it, so number leaves such a file alone."""
    folder.write("V1__a.sql", LIVE)
    folder.write("U1__a.sql", DOWN)
    assert "number" not in cli("status").out
    done = cli("number")
    assert done.status == 1
    assert "[not_forward]" in done.err
    assert sorted(path.name for path in folder.path.iterdir()) == ["U1__a.sql", "V1__a.sql"]


def test_exit_statuses(cli: Cli, folder: Folder) -> None:
    """lint, plan and migrate exit with 1, and show the place; status reports it."""
    folder.write("001_a.sql", f"{LIVE}-- migrate:down\n{DOWN}")
    assert [cli(*words).status for words in (["lint"], ["plan"], ["plan", "--sql"], ["migrate"], ["status"])] == [1, 1, 1, 1, 0]
    assert "001_a.sql:2:1  001_a.sql has a down migration below" in cli("migrate").err
