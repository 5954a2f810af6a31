"""imported: the table of the first generation against the database, and the logins that it has left."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from migrator.errors import ContradictoryEvidence

from tests.plugins.databases import Database
from tests.plugins.folders import Folder
from tests.plugins.runs import PRODUCT, Cli, Invoke

ADOPT, REPAIR = {"action": "adopt"}, {"action": "repair"}


@pytest.fixture
def marked(folder: Folder, database: Database) -> Database:
    """Return a database whose old table names three files, of which the second never ran, and the third adds to the first."""
    database.execute(
        "CREATE TABLE schema_migrations (id serial PRIMARY KEY, migration_name varchar(255) UNIQUE NOT NULL, "
        "applied_at timestamp DEFAULT current_timestamp);"
        "INSERT INTO schema_migrations (migration_name) VALUES ('001_a'), ('002_b'), ('003_c');"
        "CREATE TABLE a (i int, by_hand int, more int); INSERT INTO a VALUES (1)"
    )
    folder.write("001_a.sql", "CREATE TABLE a (i int); CREATE TABLE passing (i int);")
    folder.write("002_b.sql", "CREATE TABLE b (i int); CREATE INDEX ON b (i); DROP TABLE passing;")
    folder.write("003_c.sql", "ALTER TABLE a ADD COLUMN more int;")
    folder.write("004_d.sql", "CREATE TABLE d (i int);")
    return database


def names(database: Database) -> list[str]:
    """Return the names in the history."""
    return [name for (name,) in database.query("SELECT name FROM db_setup.history ORDER BY position")]


def test_file_that_never_ran_is_not_believed(invoke: Invoke, marked: Database) -> None:
    """A file of which the database has nothing stops migrate and adopt; status says that nothing is compared yet."""
    (warning,) = invoke({"action": "status"})["warnings"]
    assert "is not compared with the database yet" in warning
    what = "public.schema_migrations names 002_b.sql, and the database has nothing of what is made there: table public.b"
    (problem,) = invoke(ADOPT)["problems"]
    assert problem.startswith(what)
    for event in ({}, {**ADOPT, "confirm": True}):
        with pytest.raises(ContradictoryEvidence, match=f"{re.escape(what)}\\n") as caught:
            invoke(event)
        assert "repair takes over all other names" in caught.value.fix
    assert marked.query("SELECT to_regclass('db_setup.history')::text, to_regclass('d')::text") == [(None, None)]


def test_repair_takes_over_the_others(invoke: Invoke, marked: Database, folder: Folder) -> None:
    """Repair takes over all but the file that never ran, which the next migrate runs, and nothing else again."""
    folder.write("002_b.sql", "CREATE TABLE b (i int); CREATE INDEX ON b (i); DROP TABLE IF EXISTS passing;")
    body = invoke(REPAIR)
    assert [(entry["name"], entry["mode"]) for entry in body["migrations"]] == [("002_b.sql", "unapplied")]
    assert "the database has nothing of what it makes (table public.b)" in body["message"]
    assert invoke({**REPAIR, "confirm": True})["repaired_migrations"] == ["002_b.sql"]
    assert names(marked) == ["001_a.sql", "003_c.sql"]
    assert invoke()["applied_migrations"] == ["002_b.sql", "004_d.sql"]
    assert marked.query("SELECT i FROM a") == [(1,)]


def test_word_of_a_person_is_taken(invoke: Invoke, marked: Database) -> None:
    """Where the tables are gone on purpose, a baseline records all names, and the rest is run."""
    invoke({"action": "baseline", "target_revision": "003", "confirm": True})
    assert names(marked) == ["001_a.sql", "002_b.sql", "003_c.sql"]
    assert invoke()["applied_migrations"] == ["004_d.sql"]


def test_script_is_refused(cli: Cli, marked: Database) -> None:
    """No script for psql is written on the word of the table either."""
    del marked
    done = cli("plan", "--sql")
    assert (done.status, "contradictory_evidence" in done.err) == (1, True)


@pytest.mark.parametrize("text", ["SELECT 1 / count(*) FROM nowhere;", "\\\\include x\n"], ids=["refused", "unreadable"])
def test_files_that_cannot_be_built(invoke: Invoke, marked: Database, folder: Folder, text: str) -> None:
    """Where the files cannot be built, the names are taken over with a warning that says so."""
    folder.write("001_a.sql", text)
    body = invoke()
    assert body["applied_migrations"] == ["004_d.sql"]
    assert any("says is not compared with the database: " in warning for warning in body["warnings"])
    assert len(names(marked)) == 4


@pytest.fixture
def logins(marked: Database) -> Iterator[list[str]]:
    """Make logins as the first generation did, one with privileges of its own, one by a group, and one that has none."""
    names = [f"{marked.name}_{word}" for word in ("17a", "17b", "none", "group", "ours")]
    reader, member, none, group, ours = names
    marked.execute(
        f"CREATE ROLE {reader} LOGIN; CREATE ROLE {member} LOGIN; CREATE ROLE {none} LOGIN; CREATE ROLE {group};"
        f"CREATE ROLE {ours} LOGIN; COMMENT ON ROLE {ours} IS 'made by db_setup for database \"x\": user';"
        f"GRANT SELECT ON a TO {reader}, {ours}; GRANT SELECT ON a, schema_migrations TO {group}; GRANT {group} TO {member}"
    )
    yield names
    marked.execute(f"DROP OWNED BY {', '.join(names)}; DROP ROLE {', '.join(names)}")


def test_earlier_logins_are_named(invoke: Invoke, marked: Database, logins: list[str]) -> None:
    """Logins that this tool did not make are named as long as the old table is not taken over, with what they read."""
    reader, member, *_ = logins
    for event in ({"action": "status"}, {"action": "plan"}, ADOPT):
        (warning,) = [text for text in invoke(event)["warnings"] if "two logins" in text]
        assert f'"{reader}" (reads 1), "{member}" (reads 2); README.md' in warning
    (query,) = re.findall(r"`(SELECT schemaname[^`]+)`", (PRODUCT / "README.md").read_text("utf-8"))
    tables = marked.query(query.replace("shop_reader", member))
    assert sorted(tables) == [("public", "a"), ("public", "schema_migrations")]
    invoke({"action": "baseline", "target_revision": "head", "confirm": True})
    assert invoke({"action": "status"})["warnings"] == []
