"""The example migrations: each has a down migration, and up, down, up leaves the same schema."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.plugins.databases import Database, Dump
from tests.plugins.project import EXAMPLES, MIGRATIONS, PROJECT, copy_project, down_file
from tests.plugins.runs import Invoke

OPTIONS = ("--exclude-schema=db_setup", "--schema-only")
BACK = {"action": "rollback", "confirm": True}


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_has_a_down_migration(name: str) -> None:
    """A .down.sql file lies next to each example."""
    assert (PROJECT / MIGRATIONS / down_file(name)).is_file()


def test_up_down_up(invoke: Invoke, database: Database, pg_dump: Dump, examples: Path) -> None:
    """Each rollback leaves what was there before that migration, down to the empty database, and up again the same."""
    where = {"MIGRATIONS_DIR": str(examples)}
    dumps = [pg_dump(database, *OPTIONS)]
    for name in EXAMPLES:
        invoke({"target_revision": name}, **where)
        dumps.append(pg_dump(database, *OPTIONS))
    assert invoke(**where)["state"] == "up_to_date"
    for before in reversed(dumps[:-1]):
        invoke(BACK, **where)
        assert pg_dump(database, *OPTIONS) == before
    assert len(invoke(**where)["applied_migrations"]) == len(EXAMPLES)
    assert pg_dump(database, *OPTIONS) == dumps[-1]
    assert database.query("SELECT count(*) FROM products") == [(2,)]


def test_a_user_s_own_migrations_are_not_the_example_s(tmp_path: Path) -> None:
    """What tests copy of the project is the same when a user has put files of their own next to the example's."""
    copy_project(tmp_path / "published", MIGRATIONS, "db_setup")
    theirs = tmp_path / "theirs"
    shutil.copytree(PROJECT / "db_setup", theirs / "db_setup", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(tmp_path / "published" / MIGRATIONS, theirs / MIGRATIONS)
    for name in (
        "migrations/007_customers.sql", "migrations/007_customers.down.sql", "migrations/invoices.sql",
        "migrations/006_second.sql", "migrations/env/dev/008_seed.sql", "migrations/repeatable/names.sql",
        "db_setup/migrations/001_customers.sql",
    ):  # fmt: skip
        (theirs / name).parent.mkdir(parents=True, exist_ok=True)
        (theirs / name).write_text("SELECT 'a text that is never closed;\n")
    copy_project(tmp_path / "copied", MIGRATIONS, "db_setup", source=theirs)
    assert _files(tmp_path / "copied") == _files(tmp_path / "published")


def _files(folder: Path) -> set[str]:
    return {os.path.relpath(Path(place, name), folder) for place, _, names in os.walk(folder) for name in names}
