"""foreign names: by which names a file is not run forward, which honest names are left alone, and what each is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from migrator.errors import ForeignLayout, MisplacedFile, NotForward
from migrator.files.folder import read_folder
from migrator.files.foreign import foreign_name

DOWN = [  # the file, another one of its folder, and the name that the fix gives it
    ("U1__users.sql", "V1__users.sql", "V1__users.down.sql"),
    ("U1.1__users.sql", "V1.1__other_words.sql", "V1.1__other_words.down.sql"),
    ("U2__users.sql", "V20__users.sql", "the name of its migration with .down.sql at the end"),
    ("u1__users.sql", "v1__users.sql", "v1__users.down.sql"),
    ("U1.sql", "V1.sql", "V1.down.sql"),
    ("001_U1__users.sql", "V1__users.sql", "V1__users.down.sql"),
    ("001.undo.users.sql", "001.do.users.sql", "001.do.users.down.sql"),
    ("001.undo.sql", "001.do.sql", "001.do.down.sql"),
    ("001_users.undo.sql", "001_users.sql", "001_users.down.sql"),
    ("0001.users.rollback.sql", "0001.users.sql", "0001.users.down.sql"),
    ("0001.users.ROLLBACK.sql", "0001.users.sql", "0001.users.down.sql"),
    ("001_users.revert.sql", "001_users.up.sql", "001_users.down.sql"),
    ("001.down.users.sql", "001.up.users.sql", "001.up.users.down.sql"),
    ("down.sql", "up.sql", "the name of its migration with .down.sql at the end"),
    ("rollback.sql", "001_a.sql", "the name of its migration with .down.sql at the end"),
    ("rollback_001_a.sql", "001_a.sql", "001_a.down.sql"),
    ("rollback-users.sql", "users.sql", "users.down.sql"),
    ("rollback1.sql", "001_a.sql", "the name of its migration with .down.sql at the end"),
    ("undo_001_a.sql", "001_a.sql", "001_a.down.sql"),
    ("revert-20240131-a.sql", "20240131-a.sql", "20240131-a.down.sql"),
    ("down_001.sql", "up_001.sql", "up_001.down.sql"),
    ("003_users_down.sql", "003_users_up.sql", "003_users_up.down.sql"),
    ("20240131-users-down.sql", "20240131-users-up.sql", "20240131-users-up.down.sql"),
    ("003_users_rollback.sql", "003_users.sql", "003_users.down.sql"),
    ("env/dev/003_users_rollback.sql", "env/dev/003_users.sql", "003_users.down.sql"),
    ("repeatable/users_rollback.sql", "repeatable/users.sql", "users.down.sql"),
    # These have words of honest names, and count beside the file that they belong to only.
    ("users_undo.sql", "users.sql", "users.down.sql"),
    ("undo_users.sql", "users.sql", "users.down.sql"),
    ("revert_users.sql", "apply_users.sql", "apply_users.down.sql"),
    ("003_down_users.sql", "003_up_users.sql", "003_up_users.down.sql"),
    ("001_postgresql_downgrade.sql", "001_postgresql_upgrade.sql", "001_postgresql_upgrade.down.sql"),
    ("123-down-a.sql", "123-up-a.sql", "123-up-a.down.sql"),
    ("V2__price_drop_down.sql", "V2__price_drop_up.sql", "V2__price_drop_up.down.sql"),
    # Flyway's files for other commands.
    ("beforeClean.sql", "V1__a.sql", "keep it outside this folder"),
    ("afterUndo__refresh.sql", "V1__a.sql", "keep it outside this folder"),
    ("afterMigrateError.sql", "V1__a.sql", "keep it outside this folder"),
    # What MyBatis Migrations runs after a failure.
    ("onabort.sql", "20240101000000_a.sql", "keep it outside this folder"),
]
HONEST = [  # a file, and another one of its folder
    ("010_add_rollback_table.sql", "009_a.sql"),
    ("005_rollback_payments.sql", "004_payments.sql"),
    ("005_revert_004.sql", "004_a.sql"),
    ("20240131120000_undo_the_price_change.sql", "20240130120000_price_change.sql"),
    ("undo_log.sql", "users.sql"),
    ("down_payments.sql", "users.sql"),
    ("001_down_payment.sql", "002_payment.sql"),
    ("004_drop_down.sql", "003_drop.sql"),
    ("004-count-down.sql", "003_a.sql"),
    ("005_markdown.sql", "004_mark.sql"),
    ("006_shutdown.sql", "005_shut.sql"),
    ("020_plan_downgrade.sql", "019_plan.sql"),
    ("rollbacks.sql", "users.sql"),
    ("001_users_undone.sql", "users.sql"),
    ("1.2.undo_the_thing.sql", "1.1.thing.sql"),
    ("unit__users.sql", "V1__users.sql"),
    ("u2.sql", "users.sql"),
    ("u2_albums.sql", "users.sql"),
    ("b2_buckets.sql", "b1.sql"),
    ("B12_vitamins.sql", "users.sql"),
    ("R_x.sql", "users.sql"),
    ("rights__a.sql", "users.sql"),
    ("repeatable/R__users.sql", "V1__a.sql"),
    ("beforeMigrate.sql", "V1__a.sql"),
    ("afterClean_up.sql", "V1__a.sql"),
    ("aftercare.sql", "V1__a.sql"),
    ("001_users.up.sql", "001_users.down.sql"),
]


def write(folder: Path, *names: str, content: str = "SELECT 1;") -> None:
    """Write files, in subfolders too."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


@pytest.mark.parametrize(("name", "other", "new"), DOWN, ids=[name for name, *_ in DOWN])
def test_down_migrations_of_other_tools(tmp_path: Path, name: str, other: str, new: str) -> None:
    """A file that another tool would not run forward is an error, which has the name that it is to get."""
    write(tmp_path, name, other)
    found = read_folder(tmp_path, "dev")
    files = {file.name: file for file in (*found.files, *found.repeatable)}
    assert [file.name for file in found.suspects] == [name]
    error = foreign_name(files[name], files)
    assert isinstance(error, NotForward)
    assert name in error.what
    assert error.fix.startswith((f"rename it to {new};", f"{new};"))
    assert error.fix.endswith('"-- db_setup: forward-only" as its first line')


@pytest.mark.parametrize(("name", "other"), HONEST, ids=[name for name, _ in HONEST])
def test_honest_names(tmp_path: Path, name: str, other: str) -> None:
    """A word in the middle of a name, a part of a longer word, and letters that are no prefix mean nothing."""
    write(tmp_path, name, other)
    assert read_folder(tmp_path).suspects == ()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("R__view.sql", "move it to repeatable/view.sql;"),
        ("env/dev/R__view.sql", 'move it to repeatable/view.sql with "-- db_setup: env=dev" at its top;'),
        ("B3__base.sql", "rename it to V3__base.sql;"),
        ("B2.1.sql", "rename it to V2.1.sql;"),
    ],
)
def test_files_that_belong_elsewhere(tmp_path: Path, name: str, words: str) -> None:
    """A repeatable migration and a baseline of Flyway are errors that say where each belongs."""
    write(tmp_path, name)
    (file,) = read_folder(tmp_path, "dev").suspects
    error = foreign_name(file, {})
    assert isinstance(error, MisplacedFile)
    assert words in error.fix


def test_down_migration_that_is_there_already_is_not_overwritten(tmp_path: Path) -> None:
    """Where the file that the fix would make exists, the fix leaves both."""
    write(tmp_path, "U1__a.sql", "V1__a.sql", "V1__a.down.sql")
    files = {file.name: file for file in read_folder(tmp_path).files}
    error = foreign_name(files["U1__a.sql"], files)
    assert error is not None
    assert "keep it outside this folder, since V1__a.down.sql is here already" in error.fix


@pytest.mark.parametrize("name", ["U1__a.sql", "R__a.sql", "B1__a.sql", "rollback_1.sql", "a_down.sql", "a.undo.sql"])
def test_first_line_overrules_the_name(tmp_path: Path, name: str) -> None:
    """A file whose first line says forward-only may have any name."""
    write(tmp_path, name, content="-- db_setup: forward-only\nSELECT 1;")
    assert read_folder(tmp_path).suspects == ()


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (["20240101_init/migration.sql", "migration_lock.toml"], "Prisma, or Drizzle"),
        (["2024-01-01-000000_users/up.sql", "2024-01-01-000000_users/down.sql"], "Diesel, Hasura or Movine"),
        (["default/1700000000000_init/up.sql"], "Diesel, Hasura or Movine"),
        (["sqitch.plan", "deploy/users.sql", "revert/users.sql", "verify/users.sql"], "sqitch"),
        (["up/00001.sql", "down/00000.sql"], "the folders up and down"),
        (["committed/000001.sql"], "graphile-migrate"),
        (["committed/000001.sql", "current.sql"], "graphile-migrate"),
        (["env.py", "versions/1a2b_users.py"], "Alembic"),
        (["0001_initial.py", "__init__.py"], "Django, or yoyo"),
        (["20240101000000_create_users.rb"], "Rails"),
        (["db.changelog-master.xml"], "Liquibase"),
        (["20240101000000_Init.cs"], "Entity Framework"),
        (["20240101000000-users.js"], "Knex, Sequelize"),
        (["1700000000000_users.ts"], "Knex, Sequelize"),
        (["2024_01_01_000000_users.php"], "Laravel"),
        (["20240101000000_users.exs"], "Ecto"),
        (["00001_users.go"], "goose"),
        (["db/migrations/001_a.sql"], "in its subfolder db/migrations"),
        (["old/001_a.sql"], "in its subfolder old"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_layouts_of_other_tools(tmp_path: Path, paths: list[str], words: str) -> None:
    """A folder without a migration at its top, whose migrations are below or are programs, is an error."""
    write(tmp_path, *paths)
    with pytest.raises(ForeignLayout) as caught:
        read_folder(tmp_path)
    assert words in caught.value.what
    assert caught.value.fix


@pytest.mark.parametrize(
    "paths",
    [
        [], ["README.md"], [".gitkeep"], ["repeatable/v.sql"], ["env/dev/001_a.sql"], ["001_a.down.sql"],
        ["001_a.sql", "archive/000_old.sql"], ["docs/notes.txt"], ["001_a.SQL"], ["seed.py"], ["notes/001_a.down.sql"],
        [".git/hooks/001_a.sql"], ["repeatable/README.md", "x/up.sql"],
    ],
    ids=lambda paths: ",".join(paths) or "empty",
)  # fmt: skip
def test_folders_that_are_ours(tmp_path: Path, paths: list[str]) -> None:
    """An empty folder, one with repeatable files or environments, and one with other things are no error."""
    write(tmp_path, *paths)
    read_folder(tmp_path)


@pytest.mark.parametrize(("name", "beside"), [("revert", "deploy"), ("down", "up")])
def test_folder_of_down_migrations(tmp_path: Path, name: str, beside: str) -> None:
    """The folder in which another tool has down migrations under the names of their migrations is refused."""
    write(tmp_path, f"{name}/users.sql")
    assert read_folder(tmp_path / name).files
    write(tmp_path, f"{beside}/users.sql")
    with pytest.raises(ForeignLayout):
        read_folder(tmp_path / name)
