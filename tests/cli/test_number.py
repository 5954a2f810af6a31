"""number: the order of application stays, on the database that has applied the files and on a new one."""

from __future__ import annotations

import pytest

from tests.plugins.databases import Database, MakeDatabase
from tests.plugins.folders import Folder
from tests.plugins.runs import Cli, Invoke

STATUS = {"action": "status"}
ORDER = "SELECT name FROM db_setup.history ORDER BY position"


def fill(folder: Folder, names: str) -> None:
    """Write files that note in a table that they were run; the first one makes it."""
    for name in names.split():
        folder.write(f"{name}.sql", f"CREATE TABLE IF NOT EXISTS runs (i int GENERATED ALWAYS AS IDENTITY, name text);\nINSERT INTO runs (name) VALUES ('{name.rpartition('_')[2]}');")


@pytest.mark.parametrize(
    ("batches", "left", "expected"),
    [
        (["001_a alpha zeta", "002_b"], "", "001_a 001.1_alpha 001.2_zeta 002_b"),
        (["001_a alpha zeta"], "002_b", "001_a 001.1_alpha 001.2_zeta 002_b"),
        (["011_a alpha zeta", "012_b"], "yes", "011_a 011.1_alpha 011.2_zeta 012_b 014_yes"),
        (["011_a alpha", "012_b zeta"], "", "011_a 011.1_alpha 012_b 013_zeta"),
        (["001_a zeta", "alpha 002_b"], "", "001_a 001.1_zeta 002_b 003_alpha"),
        (["001_a orders", "005_b"], "", "001_a 002_orders 005_b"),
        (["zeta alpha", "001_a"], "", "000_alpha 000.1_zeta 001_a"),
        (["2026-01-30_a orders", "2026-01-31_b"], "", "2026-01-30_a 2026-01-30-0001_orders 2026-01-31_b"),
        (["V1_2__a orders", "V1_3__b"], "more", "V1_2__a V1_2_1__orders V1_3__b V1_4__more"),
        (["001_a"], "zeta alpha 002_b", "001_a 002_b 003_alpha 004_zeta"),
    ],
)
def test_order_of_application_stays(
    invoke: Invoke, cli: Cli, folder: Folder, database: Database, make_database: MakeDatabase,
    batches: list[str], left: str, expected: str,
) -> None:  # fmt: skip
    """After number, the old database is as up to date as before, and a new one applies the files in its order."""
    for batch in batches:
        fill(folder, batch)
        invoke()
    fill(folder, left)
    before = database.query(ORDER)
    assert cli("number").status == 0
    names = [f"{name}.sql" for name in expected.split()]
    assert sorted(path.name for path in folder.path.iterdir()) == sorted(names)
    body = invoke(STATUS)
    assert (body["state"], len(body["pending_migrations"])) == ("pending_migrations" if left else "up_to_date", len(left.split()))
    assert database.query(ORDER) == before
    invoke()
    new = make_database()
    invoke(DATABASE_URL=new.url)
    assert [name for (name,) in database.query(ORDER)] == [name for (name,) in new.query(ORDER)] == names
    assert database.query("TABLE runs") == new.query("TABLE runs")


def test_file_that_the_history_could_not_follow(invoke: Invoke, cli: Cli, folder: Folder) -> None:
    """An applied file that was edited keeps its name: under a new one it would be run again."""
    fill(folder, "001_a orders")
    invoke()
    folder.write("orders.sql", "SELECT 2;")
    done = cli("number")
    assert (done.status, "could not follow orders.sql" in done.err) == (1, True)
    assert (folder.path / "orders.sql").exists()
