"""verify says whether a new database, which gets the files in another order than this one, would be the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plugins.databases import Database, MakeDatabase
from tests.plugins.folders import Folder
from tests.plugins.runs import Cli, Invoke

VERIFY = {"action": "verify"}
ORDERS, ALTER = "CREATE TABLE orders (i int);", "SELECT 1;\nALTER TABLE orders ADD COLUMN j int;"


def assert_same_when_new(invoke: Invoke, make_database: MakeDatabase) -> None:
    """Make sure that this database verifies, and that a new one can be built."""
    assert invoke(VERIFY)["problems"] == []
    assert invoke(DATABASE_URL=make_database().url)["state"] == "up_to_date"


def test_unnumbered_file(invoke: Invoke, cli: Cli, folder: Folder, make_database: MakeDatabase) -> None:
    """A file that needs an unnumbered one, which a new database gets later, is named with its line; number cures it."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("orders.sql", ORDERS)
    invoke()
    folder.write("003_alter.sql", ALTER)
    invoke()
    body = invoke(VERIFY)
    assert (body["state"], body["success"], body["differences"]) == ("up_to_date", False, [])
    failure = '003_alter.sql cannot be built in a scratch database: relation "orders" does not exist (42P01)'
    assert body["problems"] == [f"a new database would fail: 003_alter.sql:2:1  {failure}"]
    assert body["fixes"] == ['"python db_setup number" writes their numbers into the names of orders.sql']
    assert cli("verify").status == 1
    assert "warning: a new database would fail: 003_alter.sql:2:1" in cli("migrate", VERIFY="true").err
    assert cli("number").status == 0
    invoke()
    assert_same_when_new(invoke, make_database)


@pytest.mark.parametrize(("name", "new"), [("002_b.sql", "004_b.sql"), ("V2__b.sql", "V4__b.sql"), ("env/dev/002_b.sql", "env/dev/004_b.sql")])
def test_late_file(invoke: Invoke, folder: Folder, make_database: MakeDatabase, name: str, new: str) -> None:
    """A late file that needs one with a higher number is named, with the name that puts it where it belongs."""
    letter = "V" if name.startswith("V") else "00"
    folder.write(f"{letter}1__a.sql", "CREATE TABLE a (i int);")
    folder.write(f"{letter}3__c.sql", "CREATE TABLE c (i int);")
    (folder.path / "env/dev").mkdir(parents=True)
    invoke(MIGRATION_ENV="dev")
    folder.write(name, "ALTER TABLE c ADD COLUMN j int;")
    invoke(MIGRATION_ENV="dev")
    body = invoke(VERIFY, MIGRATION_ENV="dev")
    assert body["problems"][0].startswith(f"a new database would fail: {name}:1:1  ")
    assert body["fixes"] == [f"rename {name} to {new}; the history of each database follows a file that is only renamed"]
    (folder.path / name).rename(folder.path / new)
    invoke(MIGRATION_ENV="dev")
    assert invoke(VERIFY, MIGRATION_ENV="dev")["problems"] == []
    assert invoke(DATABASE_URL=make_database().url, MIGRATION_ENV="dev")["state"] == "up_to_date"


def test_late_file_that_changes_what_is_made(invoke: Invoke, folder: Folder) -> None:
    """Where both orders can be built, and build different things, the first differences are named."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("003_c.sql", "CREATE TABLE IF NOT EXISTS b (i bigint);")
    invoke()
    folder.write("002_b.sql", "CREATE TABLE IF NOT EXISTS b (i int);")
    invoke()
    body = invoke(VERIFY)
    what = "a new database would not be what this one is, since it gets the files in another order"
    assert body["problems"] == [f"{what}: column public.b.i (differs)"]


def test_late_file_that_does_no_harm(invoke: Invoke, folder: Folder) -> None:
    """A late file that stands for itself is no problem."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("003_c.sql", "CREATE TABLE c (i int);")
    invoke()
    folder.write("002_b.sql", "CREATE TABLE b (i int);")
    invoke()
    assert (invoke(VERIFY)["problems"], invoke(VERIFY)["state"]) == ([], "up_to_date")


@pytest.mark.parametrize(
    ("text", "cure"),
    [("CREATE VIEW w AS SELECT * FROM v;", "CREATE OR REPLACE VIEW v AS SELECT i FROM t;"),
     ("DROP VIEW v;", "CREATE OR REPLACE VIEW v AS SELECT i FROM t;"),
     ("GRANT SELECT ON v TO pg_monitor;", "DO $$ BEGIN IF to_regclass('v') IS NULL THEN CREATE VIEW v AS SELECT i FROM t; END IF; END $$;")],
)  # fmt: skip
def test_numbered_file_that_needs_a_repeatable_one(
    invoke: Invoke, folder: Folder, database: Database, make_database: MakeDatabase, text: str, cure: str
) -> None:
    """A numbered file that uses or drops the view of a repeatable one is named; drift is found all the same."""
    (folder.path / "repeatable").mkdir()
    folder.write("001_t.sql", "CREATE TABLE t (i int);")
    view = folder.write("repeatable/v.sql", "CREATE OR REPLACE VIEW v AS SELECT i FROM t;")
    invoke()
    folder.write("002_w.sql", text)
    invoke()
    body = invoke(VERIFY)
    assert (body["state"], len(body["problems"]), body["difference_count"]) == ("up_to_date", 1, 0)
    assert body["problems"][0].startswith("a new database would fail: 002_w.sql:1:")
    assert "a file with a number below its own" in body["fixes"][0]
    database.execute("ALTER TABLE t ADD COLUMN by_hand int")
    body = invoke(VERIFY)
    assert (body["state"], [item["identity"] for item in body["differences"]]) == ("drifted", ["public.t.by_hand"])
    database.execute("ALTER TABLE t DROP COLUMN by_hand")
    folder.write("001.1_v.sql", cure)
    if text.startswith("DROP"):
        Path(view).unlink()
    invoke()
    if text.startswith("DROP"):
        database.execute("DROP VIEW v")  # which the new file, late here, has made again
    assert_same_when_new(invoke, make_database)
