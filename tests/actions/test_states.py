"""The states of a database, as status and migrate see them, and what each of them writes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from migrator.errors import InconsistentHistory, ObjectExists, OutOfOrder, UnknownTarget

from tests.plugins.databases import Database
from tests.plugins.folders import Folder
from tests.plugins.runs import Invoke

STATUS = {"action": "status"}


def history(database: Database) -> list[tuple[str, str]]:
    """Return names and numbers in the order of application."""
    return [(n, k) for n, k in database.query("SELECT name, number FROM db_setup.history ORDER BY position")]


def test_empty_database_and_folder(invoke: Invoke, database: Database) -> None:
    """Nothing to apply to an empty database is fine, is said, and leaves nothing behind."""
    body = invoke()
    assert body["state"] == "empty"
    assert body["message"] == "The database is empty, and there is nothing to apply."
    assert database.query("SELECT count(*) FROM pg_namespace WHERE nspname = 'db_setup'") == [(0,)]


@pytest.mark.parametrize("event", [STATUS, {"action": "plan"}, {"dry_run": True}], ids=["status", "plan", "dry run"])
def test_reading_actions_write_nothing(invoke: Invoke, folder: Folder, database: Database, event: object) -> None:
    """status, plan and a dry run report what is pending, create nothing and take no lock."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    holder = database.connect()
    with holder.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(1684173925, 1952804208)")
        body = invoke(event)
    holder.close()
    assert (body["state"], body["pending_migrations"]) == ("empty", ["001_a.sql"])
    assert database.query("SELECT count(*) FROM pg_class WHERE relname IN ('a', 'history')") == [(0,)]


def test_life_of_a_folder(invoke: Invoke, folder: Folder) -> None:
    """empty, then up to date, then pending, then up to date again, with the revisions before and after."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    assert invoke(STATUS)["state"] == "empty"
    body = invoke()
    assert (body["state"], body["previous_revision"], body["final_revision"]) == ("up_to_date", None, "001")
    folder.write("002_b.sql", "CREATE TABLE b (i int);")
    assert invoke(STATUS)["state"] == "pending_migrations"
    body = invoke()
    assert body["applied_migrations"] == ["002_b.sql"]
    assert (body["previous_revision"], body["final_revision"]) == ("001", "002")
    assert invoke()["applied_migrations"] == []


def test_tables_without_history(invoke: Invoke, folder: Folder, database: Database) -> None:
    """Files with IF NOT EXISTS run on a database that has tables and no history."""
    database.execute("CREATE TABLE a (i int)")
    folder.write("001_a.sql", "CREATE TABLE IF NOT EXISTS a (i int);")
    assert invoke(STATUS)["state"] == "tables_without_migration_history"
    assert invoke()["state"] == "up_to_date"


def test_tables_without_history_that_exist(invoke: Invoke, folder: Folder, database: Database) -> None:
    """Where a person says that no file is applied, one that makes what is there fails, names it, and leaves nothing."""
    database.execute("CREATE TABLE a (i int)")
    folder.write("001_a.sql", "CREATE TABLE b (i int);\nCREATE TABLE a (i int);")
    invoke({"action": "baseline", "target_revision": "none", "confirm": True})
    with pytest.raises(ObjectExists) as caught:
        invoke()
    message = str(caught.value)
    assert message.startswith('001_a.sql:2:1  relation "a" already exists (42P07)')
    assert "nothing of 001_a.sql" in message
    assert "IF NOT EXISTS" in message
    assert database.query("SELECT to_regclass('b')") == [(None,)]


def test_edited_file(invoke: Invoke, folder: Folder, database: Database) -> None:
    """An applied file that was edited stops the run before any change, and status reports it without failing."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    invoke()
    folder.write("001_a.sql", "CREATE TABLE a (i bigint);")
    folder.write("002_b.sql", "CREATE TABLE b (i int);")
    with pytest.raises(InconsistentHistory, match=r"001_a\.sql was edited after it was applied on 20.* UTC"):
        invoke()
    status = invoke(STATUS)
    assert (status["state"], status["success"]) == ("inconsistent", False)
    assert database.query("SELECT to_regclass('b')") == [(None,)]


def test_line_ends_and_mark_are_no_edit(invoke: Invoke, folder: Folder) -> None:
    """A checkout with CRLF and a byte order mark is the same file."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);\nSELECT 1;\n")
    invoke()
    folder.write("001_a.sql", b"\xef\xbb\xbfCREATE TABLE a (i int);\r\nSELECT 1;\r\n")
    assert invoke()["state"] == "up_to_date"


def test_missing_file(invoke: Invoke, folder: Folder, database: Database) -> None:
    """A file that vanished from the middle is an error that names it, and a warning with ALLOW_MISSING."""
    for name in ("001_a.sql", "002_b.sql", "003_c.sql"):
        folder.write(name, f"CREATE TABLE {name[4]} (i int);")
    invoke()
    (folder.path / "002_b.sql").unlink()
    folder.write("004_d.sql", "CREATE TABLE d (i int);")
    with pytest.raises(InconsistentHistory, match=r"002_b\.sql is applied on 20.* UTC by .+ in run 1, and its file is missing"):
        invoke()
    body = invoke(ALLOW_MISSING="true")
    assert body["applied_migrations"] == ["004_d.sql"]
    assert "002_b.sql is applied, and its file is missing" in body["warnings"]


def test_two_folders_on_one_database(invoke: Invoke, folder: Folder, database: Database, tmp_path: Path) -> None:
    """The second folder is told whose history it is, and nobody is told to have it forgotten; both ways out work."""
    for name in ("001_a.sql", "002_b.sql"):
        folder.write(name, f"CREATE TABLE {name[4]} (i int);")
    invoke()
    second = tmp_path / "second"
    second.mkdir()
    other = {"MIGRATIONS_DIR": str(second)}
    (second / "001_c.sql").write_text("CREATE TABLE c (i int);")
    with pytest.raises(InconsistentHistory, match="that of another folder: it has 2 migrations without a file") as caught:
        invoke(**other)
    (who,) = database.query("SELECT session_user::text")
    assert re.search(rf"001_a\.sql is applied on 20.* UTC by {who[0]} in run 1, and its file is missing", caught.value.what)
    status = invoke(STATUS, **other)
    assert not any(word in text for text in [str(caught.value), *status["fixes"]] for word in ("repair", "forget"))
    shown = invoke({"action": "repair"}, **other)
    assert "If another folder has applied these, leave them" in shown["message"]
    assert len(history(database)) == 2
    assert invoke()["state"] == "up_to_date"
    (second / "001_c.sql").rename(folder.path / "003_c.sql")
    assert invoke()["applied_migrations"] == ["003_c.sql"]


def test_older_package_on_newer_database(invoke: Invoke, folder: Folder, database: Database) -> None:
    """A stack rollback runs the old files on the new database: success, a warning, and not a row written."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("002_b.sql", "CREATE TABLE b (i int);")
    invoke()
    before = database.query("SELECT * FROM db_setup.history"), database.query("SELECT * FROM db_setup.runs")
    (folder.path / "002_b.sql").unlink()
    folder.write("001_a.sql", "CREATE TABLE a (i int); -- edited")
    body = invoke()
    assert (body["state"], body["success"], body["final_revision"]) == ("ahead", True, "002")
    assert any("002_b.sql" in warning for warning in body["warnings"])
    assert any("001_a.sql was edited" in warning for warning in body["warnings"])
    assert before == (database.query("SELECT * FROM db_setup.history"), database.query("SELECT * FROM db_setup.runs"))


def test_older_package_after_a_late_merge(invoke: Invoke, folder: Folder) -> None:
    """A rollback succeeds too when the newer package had brought a file with a low number."""
    folder.write("001_a.sql")
    folder.write("003_c.sql")
    invoke()
    folder.write("002_b.sql", "SELECT 1;")
    invoke()
    (folder.path / "002_b.sql").unlink()
    assert invoke()["state"] == "ahead"


def test_late_merge(invoke: Invoke, folder: Folder) -> None:
    """A file below the highest number runs with a warning, or not at all when the order is strict."""
    folder.write("001_a.sql")
    folder.write("003_c.sql")
    invoke()
    folder.write("002_b.sql", "CREATE TABLE b (i int);")
    with pytest.raises(OutOfOrder, match=r"002_b\.sql"):
        invoke(STRICT_ORDER="true")
    body = invoke()
    assert body["applied_migrations"] == ["002_b.sql"]
    assert any("002_b.sql" in warning for warning in body["warnings"])


def test_automatic_numbers_never_move(invoke: Invoke, folder: Folder, database: Database) -> None:
    """An unnumbered file keeps the number it was first given, whatever files come later."""
    folder.write("001_a.sql")
    folder.write("orders.sql", "SELECT 1;")
    invoke()
    folder.write("002_b.sql", "SELECT 2;")
    folder.write("items.sql", "SELECT 3;")
    assert invoke()["applied_migrations"] == ["002_b.sql", "items.sql"]
    assert history(database) == [("001_a.sql", "001"), ("orders.sql", "002"), ("002_b.sql", "002"), ("items.sql", "003")]
    assert invoke()["state"] == "up_to_date"


def test_renamed_and_renumbered_files(invoke: Invoke, folder: Folder, database: Database) -> None:
    """The history follows files that got another number or another name, and nothing runs twice."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("002_b.sql", "CREATE TABLE b (i int);")
    invoke()
    (folder.path / "001_a.sql").rename(folder.path / "005_a.sql")
    (folder.path / "002_b.sql").rename(folder.path / "002_bees.sql")
    body = invoke()
    assert (body["state"], body["applied_migrations"]) == ("up_to_date", [])
    assert sorted(history(database)) == [("002_bees.sql", "002"), ("005_a.sql", "005")]
    assert len(body["warnings"]) == 2
    assert (body["previous_revision"], body["final_revision"]) == ("002", "005")


@pytest.mark.parametrize(("number", "more", "final"), [("002", [], "002"), ("007", [], "007"), ("002", ["004_d.sql"], "004")])
def test_revision_after_a_renumbering(invoke: Invoke, folder: Folder, number: str, more: list[str], final: str) -> None:
    """The run in which the history follows a renumbered file answers with the number that it has reached."""
    folder.write("001_a.sql", "SELECT 1;")
    folder.write("003_c.sql", "SELECT 3;")
    invoke()
    (folder.path / "003_c.sql").rename(folder.path / f"{number}_c.sql")
    for name in more:
        folder.write(name, "SELECT 4;")
    body = invoke()
    assert (body["applied_migrations"], body["previous_revision"], body["final_revision"]) == (more, "003", final)
    assert invoke(STATUS)["final_revision"] == final


def test_target(invoke: Invoke, folder: Folder) -> None:
    """A target admits what comes up to it, by number in any width or by name; the rest stays pending."""
    for number in range(1, 5):
        folder.write(f"00{number}_x.sql", f"SELECT {number};")
    body = invoke({"target_revision": "2"})
    assert (body["state"], body["final_revision"], body["target_revision"]) == ("pending_migrations", "002", "2")
    assert body["pending_migrations"] == ["003_x.sql", "004_x.sql"]
    assert invoke({"target_revision": "003_x"})["applied_migrations"] == ["003_x.sql"]
    body = invoke({"target_revision": "001"})
    assert (body["applied_migrations"], body["final_revision"]) == ([], "003")
    assert any("past the target" in warning for warning in body["warnings"])
    with pytest.raises(UnknownTarget, match='no migration "7"'):
        invoke({"target_revision": "7"})


def test_auto_migrate_false(invoke: Invoke, folder: Folder, database: Database) -> None:
    """With AUTO_MIGRATE=false a deploy reports and applies nothing; a person's explicit event applies."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    body = invoke(AUTO_MIGRATE="false")
    assert (body["applied_migrations"], body["pending_migrations"]) == ([], ["001_a.sql"])
    assert "AUTO_MIGRATE=false" in body["message"]
    assert database.query("SELECT to_regclass('a')") == [(None,)]
    assert invoke({"action": "migrate"}, AUTO_MIGRATE="false")["applied_migrations"] == ["001_a.sql"]


@pytest.mark.parametrize(
    "old_names",
    [("001_initial", "002_orders"), ("001_initial.sql", "002_orders.sql"), ("001_initial", "002_orders", "003_orders")],
    ids=["stems", "file names", "one file twice"],
)
def test_first_generation_history(
    invoke: Invoke, folder: Folder, database: Database, old_names: tuple[str, ...]
) -> None:
    """The table of the first generation is read by status, imported by migrate, and left as it was."""
    database.execute(
        "CREATE TABLE schema_migrations (id serial PRIMARY KEY, migration_name varchar(255) UNIQUE NOT NULL, "
        "applied_at timestamp DEFAULT current_timestamp); CREATE TABLE a (i int); CREATE TABLE orders (i int)"
    )
    for name in old_names:
        database.execute("INSERT INTO schema_migrations (migration_name) VALUES (%s)", name)
    folder.write("001_initial.sql", "CREATE TABLE a (i int);")
    folder.write("orders.sql", "CREATE TABLE orders (i int);")
    assert invoke(STATUS)["state"] == "up_to_date"
    folder.write("004_new.sql", "CREATE TABLE new (i int);")
    assert invoke()["applied_migrations"] == ["004_new.sql"]
    assert history(database) == [("001_initial.sql", "001"), ("orders.sql", "002"), ("004_new.sql", "004")]
    assert database.query("SELECT count(*) FROM schema_migrations") == [(len(old_names),)]
    folder.write("001_initial.sql", "CREATE TABLE a (i bigint);")
    with pytest.raises(InconsistentHistory):
        invoke()


OLD = (
    "CREATE TABLE schema_migrations (id serial PRIMARY KEY, migration_name varchar(255) UNIQUE NOT NULL, "
    "applied_at timestamp DEFAULT current_timestamp); INSERT INTO schema_migrations (migration_name) VALUES {}"
)
"""The table of the first generation, and its rows."""


def test_first_generation_names(invoke: Invoke, folder: Folder, database: Database) -> None:
    """What the first generation put a number before is known, and no file of it is run again."""
    for number, name in enumerate(("0001_a", "01-b", "20240131120000_c", "V1__d", "001_e"), 1):
        folder.write(f"{name}.sql", f"CREATE TABLE t{number} (i int);")
        database.execute(f"CREATE TABLE t{number} (i int)")
    rows = "('001_0001_a'), ('002_01-b'), ('003_20240131120000_c.sql'), ('004_V1__d'), ('001_e')"
    database.execute(OLD.format(rows))
    for event in (STATUS, {}, {}):
        body = invoke(event)
        assert (body["state"], body["applied_migrations"], body["problems"]) == ("up_to_date", [], [])
    assert len(history(database)) == 5


@pytest.mark.parametrize("allowed", ["false", "true"])
def test_first_generation_row_without_a_file(invoke: Invoke, folder: Folder, database: Database, allowed: str) -> None:
    """A name of the first generation that fits no file stops migrate, until repair takes over all others."""
    database.execute("CREATE TABLE a (i int);" + OLD.format("('001_a'), ('002_gone'), ('003_b')"))
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("005_new.sql", "CREATE TABLE new (i int);")
    with pytest.raises(InconsistentHistory, match=r"002_gone\.sql is applied, and its file is missing") as caught:
        invoke(ALLOW_MISSING=allowed)
    assert "have repair forget it" in caught.value.fix
    shown = invoke({"action": "repair"})
    assert "002_gone.sql (named in public.schema_migrations, the history of an earlier version" in shown["message"]
    assert database.query("SELECT to_regnamespace('db_setup')::text") == [(None,)]
    assert invoke({"action": "repair", "confirm": True})["repaired_migrations"] == ["002_gone.sql", "003_b.sql"]
    assert history(database) == [("001_a.sql", "001")]
    assert invoke(ALLOW_MISSING=allowed)["applied_migrations"] == ["005_new.sql"]


def test_first_generation_row_of_the_last_file(invoke: Invoke, folder: Folder, database: Database) -> None:
    """A first-generation name whose file was the last one, and is gone, is missing and can be forgotten, not newer."""
    database.execute("CREATE TABLE a (i int);" + OLD.format("('001_0001_a'), ('002_0002_gone')"))
    folder.write("0001_a.sql", "CREATE TABLE a (i int);")
    body = invoke(STATUS)
    assert (body["state"], len(body["problems"])) == ("inconsistent", 1)
    with pytest.raises(InconsistentHistory, match=r"002_0002_gone\.sql is applied, and its file is missing"):
        invoke()
    assert database.query("SELECT to_regnamespace('db_setup')::text") == [(None,)]
    assert invoke({"action": "repair", "confirm": True})["repaired_migrations"] == ["002_0002_gone.sql"]
    assert invoke()["state"] == "up_to_date"
    assert invoke({"action": "verify"})["success"]
    assert history(database) == [("0001_a.sql", "0001")]


def test_first_generation_without_any_file(invoke: Invoke, folder: Folder, database: Database) -> None:
    """Where repair has forgotten every row, they do not come back from the old table."""
    database.execute(OLD.format("('001_gone')"))
    folder.write("002_new.sql", "CREATE TABLE new (i int);")
    assert invoke({"action": "repair", "confirm": True})["repaired_migrations"] == ["001_gone.sql"]
    assert invoke(STATUS)["problems"] == []
    assert invoke()["applied_migrations"] == ["002_new.sql"]


def test_first_generation_rolled_back(invoke: Invoke, folder: Folder, database: Database) -> None:
    """What was taken over and rolled back is pending, though the old table still names it."""
    database.execute("CREATE TABLE a (i int);" + OLD.format("('001_a')"))
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("001_a.down.sql", "DROP TABLE a;")
    invoke()
    assert invoke({"action": "rollback", "confirm": True})["rolled_back_migrations"] == ["001_a.sql"]
    database.execute("UPDATE db_setup.runs SET outcome = 'running' WHERE action = 'rollback'")
    assert invoke(STATUS)["pending_migrations"] == ["001_a.sql"]
    assert invoke()["applied_migrations"] == ["001_a.sql"]
    assert database.query("SELECT count(*) FROM a") == [(0,)]


def test_files_that_look_like_mistakes(invoke: Invoke, folder: Folder) -> None:
    """What is not run although somebody may think so is named; down migrations and empty folders are not."""
    folder.write("001_a.sql")
    folder.write("001_a.down.sql", "DROP TABLE nothing;")
    folder.write("002_b.SQL")
    folder.write("003_c.sql.txt")
    folder.write("README.md")
    (folder.path / "archive").mkdir()
    (folder.path / "archive" / "000_old.sql").write_text("SELECT broken")
    (folder.path / "empty").mkdir()
    (folder.path / "004_d.sql").symlink_to("nowhere")
    body = invoke()
    assert body["applied_migrations"] == ["001_a.sql"]
    assert [warning.split()[0] for warning in body["warnings"]] == ["002_b.SQL", "003_c.sql.txt", "004_d.sql", "archive"]


def test_role_of_a_file_does_not_come_back(invoke: Invoke, folder: Folder, database: Database) -> None:
    """A rollback in a later file does not bring back the role that an earlier one has set."""
    folder.write("001_a.sql", "SET ROLE pg_monitor;")
    folder.write("002_b.sql", "BEGIN; SET LOCAL ROLE pg_read_all_stats; ROLLBACK; BEGIN; CREATE TABLE b (i int); COMMIT;")
    invoke()
    assert database.query("SELECT tableowner FROM pg_tables WHERE tablename = 'b'") == [("postgres",)]


def test_role_of_the_login_stays(invoke: Invoke, folder: Folder, database: Database) -> None:
    """The role that ALTER ROLE ... SET role gives to a login owns what every file makes."""
    login, owner = f"login_{database.name}", f"owner_{database.name}"
    database.execute(
        f"CREATE ROLE {owner}; CREATE ROLE {login} LOGIN IN ROLE {owner}; ALTER ROLE {login} SET role = {owner};"
        f"ALTER DATABASE {database.name} OWNER TO {owner}; GRANT CREATE ON SCHEMA public TO {owner}"
    )
    folder.write("001_a.sql", "CREATE TABLE a (i int); SET ROLE none;")
    folder.write("002_b.sql", "CREATE TABLE b (i int);")
    try:
        invoke(DATABASE_URL=database.url.replace("postgres@", f"{login}@"))
        found = database.query("SELECT tableowner FROM pg_tables WHERE schemaname = 'public'")
        assert found == [(owner,), (owner,)]
    finally:
        database.execute(f"ALTER DATABASE {database.name} OWNER TO postgres; DROP OWNED BY {owner}, {login} CASCADE; DROP ROLE {login}, {owner}")
