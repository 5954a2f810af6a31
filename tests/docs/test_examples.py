"""The example migrations: each has a way back, and up, down, up leaves the same schema."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plugins.databases import Database, Dump
from tests.plugins.runs import Invoke

EXAMPLES = Path(__file__).resolve().parents[2] / "migrations"
FILES = sorted(path for path in EXAMPLES.glob("*.sql") if not path.name.endswith((".down.sql", ".check.sql")))
OPTIONS = ("--exclude-schema=db_setup", "--schema-only")
BACK = {"action": "rollback", "confirm": True}


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
def test_every_example_has_a_way_back(file: Path) -> None:
    """A .down.sql file stands beside each example."""
    assert file.with_name(f"{file.stem}.down.sql").is_file()


def test_up_down_up(invoke: Invoke, database: Database, pg_dump: Dump) -> None:
    """Each step back leaves what was there before that step, down to the empty database, and up again the same."""
    where = {"MIGRATIONS_DIR": str(EXAMPLES)}
    dumps = [pg_dump(database, *OPTIONS)]
    for file in FILES:
        invoke({"target_revision": file.name}, **where)
        dumps.append(pg_dump(database, *OPTIONS))
    assert invoke(**where)["state"] == "up_to_date"
    for before in reversed(dumps[:-1]):
        invoke(BACK, **where)
        assert pg_dump(database, *OPTIONS) == before
    assert len(invoke(**where)["applied_migrations"]) == len(FILES)
    assert pg_dump(database, *OPTIONS) == dumps[-1]
    assert database.query("SELECT count(*) FROM products") == [(2,)]
