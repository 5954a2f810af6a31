"""Baselines: a word that was wrong is put right, and each state that adopt, baseline and repair make can be left."""

from __future__ import annotations

import pytest

from tests.plugins.databases import Database
from tests.plugins.folders import Folder
from tests.plugins.runs import Body, Cli, Invoke

TABLES = "abcd"
NAMES = [f"00{number}_{table}.sql" for number, table in enumerate(TABLES, 1)]


@pytest.fixture
def files(folder: Folder) -> Folder:
    """Return the folder with four files, each of which makes a table."""
    for name, table in zip(NAMES, TABLES, strict=True):
        folder.write(name, f"CREATE TABLE {table} (i int);")
    return folder


def baseline(invoke: Invoke, target: str, *, confirm: bool = True) -> Body:
    """Say that the files up to a target are applied."""
    return invoke({"action": "baseline", "target_revision": target, "confirm": confirm})


def history(database: Database) -> dict[str, str]:
    """Return how each file was recorded, by name."""
    return dict(database.query("SELECT name, mode FROM db_setup.history"))


@pytest.mark.parametrize(
    ("first", "second", "recorded", "forgotten"),
    [
        ("003", "002", 2, ["003_c.sql"]), ("002", "003", 3, []), ("003", "none", 0, NAMES[:3]), ("none", "002", 2, []),
        ("head", "001", 1, NAMES[1:]),
    ],
)  # fmt: skip
def test_wrong_baseline(
    invoke: Invoke, files: Folder, database: Database, first: str, second: str, recorded: int, forgotten: list[str]
) -> None:  # fmt: skip
    """A baseline is replaced by a higher one, a lower one or none, which shows first what it forgets; then migrate runs."""
    database.execute("".join(f"CREATE TABLE {table} (i int); " for table in TABLES[:recorded] or "x"))
    baseline(invoke, first)
    shown = baseline(invoke, second, confirm=False)
    assert shown.get("forgotten_migrations", []) == forgotten
    assert len(history(database)) == {"none": 0, "head": 4}.get(first, int(first[-1]) if first[-1].isdigit() else 0)
    assert "Nothing was written" in shown["message"]
    done = baseline(invoke, second)
    assert done.get("forgotten_migrations", []) == forgotten
    assert history(database) == dict.fromkeys(NAMES[:recorded], "baseline")
    assert invoke()["applied_migrations"] == NAMES[recorded:]
    assert invoke({"action": "history"})["success"]


def test_same_baseline_again(invoke: Invoke, files: Folder, database: Database) -> None:
    """A baseline that the history says already changes nothing, and no run is recorded."""
    database.execute("CREATE TABLE x (i int)")
    baseline(invoke, "002")
    before = database.query("SELECT count(*) FROM db_setup.runs")
    assert "Nothing to baseline: the database has a history, which says what is applied." in baseline(invoke, "002")["message"]
    assert database.query("SELECT count(*) FROM db_setup.runs") == before


def test_what_has_run_stays(invoke: Invoke, files: Folder, database: Database) -> None:
    """What this tool has run is known to be applied: no baseline forgets it, and the files before it run late."""
    database.execute("CREATE TABLE a (i int); CREATE TABLE x (i int)")
    baseline(invoke, "003")
    assert invoke()["applied_migrations"] == ["004_d.sql"]
    assert baseline(invoke, "001")["forgotten_migrations"] == ["002_b.sql", "003_c.sql"]
    assert history(database) == {"001_a.sql": "baseline", "004_d.sql": "transaction"}
    assert invoke()["applied_migrations"] == ["002_b.sql", "003_c.sql"]


def test_wrong_adoption(invoke: Invoke, files: Folder, database: Database, cli: Cli) -> None:
    """What an adoption has recorded can be forgotten by a baseline, too."""
    database.execute("CREATE TABLE a (i int); CREATE TABLE b (i int)")
    invoke({"action": "adopt", "confirm": True})
    done = cli("baseline", "--target", "001", "--yes")
    assert done.status == 0
    assert "Forgotten, so that migrate runs them: 002_b.sql." in done.out
    assert history(database) == {"001_a.sql": "adopted"}


def test_forgotten_by_repair(invoke: Invoke, files: Folder, database: Database) -> None:
    """A file whose row repair has forgotten, and which comes back, is recorded again by another repair, and does not run."""
    invoke()
    text = (files.path / "002_b.sql").read_text()
    (files.path / "002_b.sql").unlink()
    invoke({"action": "repair", "confirm": True})
    files.write("002_b.sql", text)
    assert invoke({"action": "status"})["pending_migrations"] == ["002_b.sql"]
    assert invoke({"action": "repair", "confirm": True})["repaired_migrations"] == ["002_b.sql"]
    assert invoke()["applied_migrations"] == []


def test_first_generation_that_is_wrong(invoke: Invoke, files: Folder, database: Database) -> None:
    """A baseline goes before the table of the first generation: its rows are not taken over then."""
    database.execute(
        "CREATE TABLE schema_migrations (id serial PRIMARY KEY, migration_name varchar(255) UNIQUE NOT NULL, "
        "applied_at timestamp DEFAULT current_timestamp);"
        "INSERT INTO schema_migrations (migration_name) VALUES ('001_a'), ('002_b'), ('003_c'); CREATE TABLE a (i int)"
    )
    baseline(invoke, "none")
    assert invoke({"action": "status"})["pending_migrations"] == NAMES
    baseline(invoke, "001")
    assert history(database) == {"001_a.sql": "baseline"}
    assert invoke()["applied_migrations"] == NAMES[1:]


def test_state_after_none(invoke: Invoke, files: Folder, database: Database) -> None:
    """After a baseline of "none" the files are pending, and no longer unknown."""
    database.execute("CREATE TABLE x (i int)")
    baseline(invoke, "none")
    body = invoke({"action": "plan"})
    assert (body["state"], body["pending_migrations"]) == ("pending_migrations", NAMES)
    assert "4 migrations would be applied" in body["message"]


def test_ahead(invoke: Invoke, files: Folder) -> None:
    """An older package records nothing in a database that is ahead of it."""
    invoke()
    (files.path / "004_d.sql").unlink()
    assert "Nothing to baseline: the database is ahead of these files." in baseline(invoke, "002")["message"]
