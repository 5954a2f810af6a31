"""A file that touches the tables of the history is rolled back and named, and the next run is not worse off."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from migrator.errors import HistoryChanged, HistoryLocked, ScratchFailed, StepUndecided
from migrator.history import RunLock

from tests.plugins.databases import Database
from tests.plugins.folders import Folder
from tests.plugins.runs import Invoke

ALL_TABLES = """DO $$ DECLARE t regclass; BEGIN
FOR t IN SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' LOOP
    EXECUTE format('{}', t);
END LOOP; END $$;"""
UPDATED_AT = (
    "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN NEW.updated_at = now(); RETURN NEW; END $f$;\n"
    + ALL_TABLES.format("CREATE TRIGGER touch BEFORE UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION touch()")
)
KEYS = """DO $$ DECLARE c record; BEGIN
FOR c IN SELECT conname, conrelid::regclass AS t FROM pg_constraint WHERE contype = 'p' AND connamespace <> 'pg_catalog'::regnamespace LOOP
    EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', c.t, c.conname);
END LOOP; END $$;"""
AT_COMMIT = """
CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN DELETE FROM db_setup.history; RETURN NULL; END $f$;
CREATE TABLE c (i int);
CREATE CONSTRAINT TRIGGER t AFTER INSERT ON c DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION f();
INSERT INTO c VALUES (1);"""
CASES = {
    "truncate all": (ALL_TABLES.format("TRUNCATE %s"), "was emptied"),
    "delete all": (ALL_TABLES.format("DELETE FROM %s"), "was emptied"),
    "own row": ("DELETE FROM db_setup.history WHERE name = '002_x.sql';", "1 row of db_setup.history deleted"),
    "another row": ("DELETE FROM db_setup.history WHERE name = '001_a.sql';", "1 row of db_setup.history deleted"),
    "a row more": (
        "INSERT INTO db_setup.history (name, number, checksum, state, mode, package_version) VALUES ('003_y.sql', '3', '', 'applied', '', '');",
        "1 row of db_setup.history added",
    ),
    "edited": ("UPDATE db_setup.history SET checksum = '';", "rows of db_setup.history were changed"),
    "run forgotten": ("DELETE FROM db_setup.runs WHERE outcome = 'running';", "1 row of db_setup.runs deleted"),
    "emptied and filled": (
        "CREATE TABLE k AS TABLE db_setup.history; TRUNCATE db_setup.history; INSERT INTO db_setup.history OVERRIDING SYSTEM VALUE TABLE k;",
        "db_setup.history was emptied",
    ),
    "drop owned": ("DROP OWNED BY CURRENT_USER; CREATE TABLE IF NOT EXISTS b (i int);", "db_setup.history was dropped; db_setup.run_lock was dropped; db_setup.runs was dropped"),
    "lock dropped": ("DROP TABLE db_setup.run_lock;", "db_setup.run_lock was dropped"),
    "lock let go": ("UPDATE db_setup.run_lock SET pid = NULL;", "rows of db_setup.run_lock were changed"),
    "lock emptied": ("TRUNCATE db_setup.run_lock;", "db_setup.run_lock was emptied"),
    "drop schema": ("SET client_min_messages = error; DROP SCHEMA db_setup CASCADE;", "db_setup.history was dropped"),
    "drop one": ("DROP TABLE db_setup.runs;", "db_setup.runs was dropped"),
    "rename schema": ("ALTER SCHEMA db_setup RENAME TO old_setup;", "db_setup.history was renamed or moved"),
    "rename table": ("ALTER TABLE db_setup.history RENAME TO h;", "db_setup.history was renamed or moved"),
    "move": (ALL_TABLES.format("ALTER TABLE %s SET SCHEMA public"), "db_setup.history was renamed or moved"),
    "enable": (ALL_TABLES.format("ALTER TABLE %s ENABLE ROW LEVEL SECURITY"), "the row security of db_setup.history was changed"),
    "force": (ALL_TABLES.format("ALTER TABLE %s FORCE ROW LEVEL SECURITY"), "the row security of db_setup.history was changed"),
    "trigger": (UPDATED_AT, "the triggers of db_setup.history were changed"),
    "rule": ("CREATE RULE r AS ON DELETE TO db_setup.history DO INSTEAD NOTHING;", "the rules of db_setup.history were changed"),
    "column": (ALL_TABLES.format("ALTER TABLE %s ADD COLUMN tenant int"), "the columns of db_setup.history were changed"),
    "column dropped": ("ALTER TABLE db_setup.history DROP COLUMN previous;", "the columns of db_setup.history were changed"),
    "column renamed": ("ALTER TABLE db_setup.history RENAME COLUMN name TO label;", "the columns of db_setup.history were changed"),
    "keys": (KEYS, "the columns of db_setup.history were changed"),
    "unlogged": (ALL_TABLES.format("ALTER TABLE %s SET UNLOGGED"), "was renamed or moved"),
    "owner": (
        "CREATE ROLE {role}; GRANT {role} TO CURRENT_USER; REASSIGN OWNED BY CURRENT_USER TO {role};",
        "db_setup.history was given to another owner",
    ),
    "privileges": ("REVOKE ALL ON ALL TABLES IN SCHEMA db_setup FROM CURRENT_USER;", "this user lost privileges on db_setup.history"),
    "at commit": (AT_COMMIT, "db_setup.history was emptied"),
}
AROUND = {
    "with COPY": "CREATE TABLE b (i int);\nCOPY b FROM stdin;\n1\n\\.\n{}\nINSERT INTO b VALUES (1);",
    "after RESET ALL": "CREATE TABLE b (i int);\nRESET ALL;\n{}\nINSERT INTO b VALUES (1);",
    "with another role": "CREATE TABLE b (i int);\n{}\nSET ROLE pg_monitor;",
    "after what was prepared": "CREATE TABLE b (i int);\nDO $$ BEGIN EXECUTE 'PREPARE p AS SELECT 1'; EXECUTE 'DEALLOCATE ALL'; END $$;\n{}",
    "stepwise": "CREATE TABLE b (i int);\nCREATE INDEX CONCURRENTLY ON b (i);\n{}\nINSERT INTO b VALUES (1);",
    "in a block": "CREATE TABLE b (i int);\nVACUUM b;\nBEGIN;\n{}\nCOMMIT;\nINSERT INTO b VALUES (1);",
    "large": "CREATE TABLE b (i int);\n" + "INSERT INTO b VALUES (1);\n" * 12_000 + "{}\n" + "INSERT INTO b VALUES (2);\n" * 12_000,
}
IN_ALL = ("truncate all", "own row", "another row", "edited", "drop owned", "force", "trigger")
MATRIX = {
    **{name: ("CREATE TABLE b (i int);\n{}\nINSERT INTO b VALUES (1);", *case) for name, case in CASES.items()},
    **{f"{name}, {where}": (around, *CASES[name]) for name in IN_ALL for where, around in AROUND.items()},
}
del MATRIX["trigger, stepwise"]  # its first statement is a step, and stays


@pytest.fixture
def admin(database: Database) -> Iterator[str]:
    """Return the URL of an administrator like that of RDS, who owns the database and is no superuser."""
    role = f"admin_of_{database.name}"
    database.execute(f"CREATE ROLE {role} LOGIN CREATEDB CREATEROLE NOSUPERUSER; GRANT pg_monitor TO {role}")
    database.execute(f"ALTER DATABASE {database.name} OWNER TO {role}; GRANT ALL ON SCHEMA public TO PUBLIC")
    yield database.url.replace("postgres@", f"{role}@")
    database.execute(f"REASSIGN OWNED BY {role} TO postgres; DROP OWNED BY {role}; DROP ROLE {role}")


def rows(database: Database) -> list[tuple[object, ...]]:
    """Return what the history says."""
    return database.query("SELECT name, state, checksum <> '', steps FROM db_setup.history ORDER BY position")


@pytest.mark.parametrize(("around", "text", "what"), MATRIX.values(), ids=MATRIX)
def test_file_that_touches_the_history(
    invoke: Invoke, folder: Folder, database: Database, admin: str, around: str, text: str, what: str
) -> None:
    """It is rolled back, the error says what it did and where, and the corrected file runs."""
    folder.write("001_a.sql", "CREATE TABLE a (i int); INSERT INTO a VALUES (1);")
    invoke(DATABASE_URL=admin)
    before = rows(database)
    text = text.replace("{role}", f"other_of_{database.name}")
    folder.write("002_x.sql", around.replace("{}", text))
    with pytest.raises(HistoryChanged) as caught:
        invoke(DATABASE_URL=admin)
    message = str(caught.value)
    assert what in message
    assert "002_x.sql" in message.partition("  ")[0]
    assert "Fix: name the schemas" in message
    assert [row for row in rows(database) if row[0] != "002_x.sql"] == before
    assert database.query("SELECT i FROM a") == [(1,)]
    folder.write("002_x.sql", around.replace("{}", "SELECT 1;"))
    assert invoke(DATABASE_URL=admin)["applied_migrations"] == ["002_x.sql"]
    assert [row[:2] for row in rows(database)] == [("001_a.sql", "applied"), ("002_x.sql", "applied")]
    assert invoke(DATABASE_URL=admin)["state"] == "up_to_date"


HARMLESS = {
    "grant": "GRANT USAGE ON SCHEMA db_setup TO pg_monitor; GRANT SELECT ON ALL TABLES IN SCHEMA db_setup TO pg_monitor;",
    "reads": "CREATE TABLE c AS SELECT name FROM db_setup.history;",
    "undone": "SAVEPOINT s; TRUNCATE db_setup.history, db_setup.runs; ROLLBACK TO s;",
    "caught": "DO $$ BEGIN DELETE FROM db_setup.history; RAISE 'x'; EXCEPTION WHEN raise_exception THEN NULL; END $$;",
    "no row": "DELETE FROM db_setup.history WHERE name = 'none'; UPDATE db_setup.history SET state = 'x' WHERE false;",
    "reset": "RESET ALL; CREATE TABLE c (i int);",
    "unlocked": "SELECT pg_advisory_unlock_all();",
    "let go": "DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$; CREATE TABLE c (i int);",
    "prepared": "DO $$ BEGIN EXECUTE 'PREPARE p AS SELECT 1'; END $$; CREATE TABLE c (i int);",
    "maintained": "ANALYZE db_setup.history; REINDEX TABLE db_setup.history; CLUSTER db_setup.history USING history_pkey;",
    "vacuumed": "VACUUM FULL db_setup.history; CREATE TABLE c (i int); CREATE TABLE d (i int);",
}


@pytest.mark.parametrize("text", HARMLESS.values(), ids=HARMLESS)
def test_what_does_no_harm(invoke: Invoke, folder: Folder, database: Database, admin: str, text: str) -> None:
    """What leaves the tables of the history fit for use is let be, and the files after it find a new session."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("002_x.sql", text)
    folder.write("003_b.sql", "PREPARE p AS SELECT 2; CREATE TABLE b (i int);")
    folder.write("004_b.sql", "CREATE TABLE later (i int);")
    assert len(invoke(DATABASE_URL=admin)["applied_migrations"]) == 4
    assert [row[1] for row in rows(database)] == ["applied"] * 4
    assert invoke(DATABASE_URL=admin)["state"] == "up_to_date"


def test_run_lock_survives_a_file(invoke: Invoke, folder: Folder, database: Database) -> None:
    """A file that lets go of the run lock has it again when it is committed."""
    folder.write("001_a.sql", "SELECT pg_advisory_unlock_all();")
    folder.write("002_b.sql", f"CREATE TABLE held AS SELECT pg_advisory_unlock({RunLock.KEY}) AS by_the_session;")
    invoke()
    assert database.query("SELECT by_the_session FROM held") == [(True,)]


def test_scratch_build(invoke: Invoke, folder: Folder, database: Database, admin: str) -> None:
    """A file that touches the history of a scratch database is named, and nothing is compared with what it left."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    database.execute("CREATE TABLE a (i int); CREATE TABLE b (i int); GRANT ALL ON a, b TO PUBLIC")
    folder.write("002_x.sql", f"CREATE TABLE b (i int);\n{CASES['truncate all'][0]}")
    invoke({"action": "baseline", "target_revision": "2", "confirm": True}, DATABASE_URL=admin)
    with pytest.raises(ScratchFailed, match=r"^002_x\.sql:2:1  .*db_setup\.history was emptied"):
        invoke({"action": "verify"}, DATABASE_URL=admin)


COMMITTED = {
    "deleted": ("DELETE FROM db_setup.history WHERE name = '001_a.sql'; DELETE FROM db_setup.runs;", "1 row of db_setup.history deleted"),
    "emptied": ("TRUNCATE db_setup.history, db_setup.runs;", "db_setup.history was emptied"),
    "edited": ("UPDATE db_setup.history SET steps = 7;", "rows of db_setup.history were changed"),
    "dropped": ("DROP SCHEMA db_setup CASCADE;", "db_setup.history was dropped"),
}


@pytest.mark.parametrize(("text", "what"), COMMITTED.values(), ids=COMMITTED)
def test_block_that_commits(
    invoke: Invoke, folder: Folder, database: Database, admin: str, text: str, what: str
) -> None:
    """What a block of code has committed is named and put back, and the file is not recorded as applied."""
    folder.write("001_a.sql", "CREATE TABLE a (s text);")
    folder.write("001_a.down.sql", "DROP TABLE a; -- it's \\ \u00e9")
    invoke(DATABASE_URL=admin)
    contents = "SELECT h::text FROM db_setup.history h WHERE name = '001_a.sql'"
    before = database.query(contents)
    folder.write("002_x.sql", f"DO $$ BEGIN {text} COMMIT; END $$;")
    with pytest.raises(HistoryChanged, match=f"{what}.*; it has committed that by itself, and the rows were put back"):
        invoke(DATABASE_URL=admin)
    assert [row[:2] for row in rows(database)] == [("001_a.sql", "applied"), ("002_x.sql", "running")]
    assert database.query(contents) == before
    folder.write("002_x.sql", "DO $$ BEGIN UPDATE a SET s = 'b'; COMMIT; END $$;")
    folder.write("003_y.sql", "CREATE TABLE c (i int);")
    with pytest.raises(StepUndecided):  # what else the block has done stays, so a person is asked
        invoke(DATABASE_URL=admin)
    invoke({"action": "resolve", "step": "repeat", "confirm": True}, DATABASE_URL=admin)
    assert invoke(DATABASE_URL=admin)["applied_migrations"] == ["002_x.sql", "003_y.sql"]
    assert invoke(DATABASE_URL=admin)["state"] == "up_to_date"


def test_down_migration(invoke: Invoke, folder: Folder, database: Database, admin: str) -> None:
    """A down migration that touches the history is rolled back as well."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("002_b.sql", "CREATE TABLE b (i int);")
    folder.write("002_b.down.sql", "DROP TABLE b;\nTRUNCATE db_setup.history;")
    invoke(DATABASE_URL=admin)
    with pytest.raises(HistoryChanged, match=r"002_b\.down\.sql:2:1  .*db_setup\.history was emptied"):
        invoke({"action": "rollback", "confirm": True}, DATABASE_URL=admin)
    assert [row[:2] for row in rows(database)] == [("001_a.sql", "applied"), ("002_b.sql", "applied")]
    folder.write("002_b.down.sql", "DROP TABLE b;")
    invoke({"action": "rollback", "confirm": True}, DATABASE_URL=admin)
    assert [row[:2] for row in rows(database)] == [("001_a.sql", "applied")]


@pytest.mark.parametrize("name", ["truncate all", "own row", "drop schema", "trigger"])
def test_rehearsal(invoke: Invoke, folder: Folder, database: Database, admin: str, name: str) -> None:
    """A rehearsal says what migrate would say, and keeps nothing."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    invoke(DATABASE_URL=admin)
    folder.write("002_x.sql", f"CREATE TABLE b (i int);\n{CASES['another row'][0] if name == 'own row' else CASES[name][0]}")
    with pytest.raises(HistoryChanged) as caught:
        invoke({"action": "rehearse"}, DATABASE_URL=admin)
    assert str(caught.value).startswith(("002_x.sql:2:", "002_x.sql:3:"))
    assert "a rehearsal is rolled back" in str(caught.value)
    assert database.query("SELECT to_regclass('b'), count(*) FROM db_setup.history") == [(None, 1)]


@pytest.mark.parametrize("counts", ["track_counts = off"])
def test_server_that_counts_nothing(invoke: Invoke, folder: Folder, database: Database, counts: str) -> None:
    """With track_counts off the rows themselves are compared."""
    database.execute(f"ALTER DATABASE {database.name} SET {counts}")
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("002_x.sql", "CREATE TABLE b (i int);\nUPDATE db_setup.history SET checksum = 'x';")
    with pytest.raises(HistoryChanged, match=r"002_x\.sql:2:1  .*rows of db_setup\.history were changed"):
        invoke()
    assert rows(database) == [("001_a.sql", "applied", True, 0)]


LOCKED = {
    "row security": ("ALTER TABLE db_setup.history ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY", "DISABLE ROW LEVEL SECURITY"),
    "trigger": ("CREATE TRIGGER t BEFORE UPDATE ON db_setup.history FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()", "DISABLE TRIGGER t"),
    "rule": ("CREATE RULE r AS ON INSERT TO db_setup.history DO ALSO NOTHING", "DISABLE RULE r"),
}


@pytest.mark.parametrize(("sql", "fix"), LOCKED.values(), ids=LOCKED)
def test_tables_locked_away_before(
    invoke: Invoke, folder: Folder, database: Database, admin: str, sql: str, fix: str
) -> None:
    """A run on tables that were locked away earlier says so before it runs anything, and its fix works."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    invoke(DATABASE_URL=admin)
    database.execute(sql)
    folder.write("002_b.sql", "CREATE TABLE b (i int);")
    with pytest.raises(HistoryLocked) as caught:
        invoke(DATABASE_URL=admin)
    assert (caught.value.applied, database.query("SELECT to_regclass('b')")) == ("nothing was run", [(None,)])
    assert fix in caught.value.fix
    database.execute(caught.value.fix.removeprefix("as their owner: ").partition("; and see")[0])
    assert invoke(DATABASE_URL=admin)["applied_migrations"] == ["002_b.sql"]


def test_event_trigger_of_an_earlier_file(invoke: Invoke, folder: Folder, database: Database) -> None:
    """Where an event trigger that another file has made touches the history, the error names it, and its fix works."""
    folder.write(
        "001_a.sql", "CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN DELETE FROM db_setup.history; END';\n"
        'CREATE EVENT TRIGGER "Audit" ON ddl_command_end EXECUTE FUNCTION f();',
    )  # fmt: skip
    folder.write("002_b.sql", "CREATE TABLE b (i int);")
    with pytest.raises(HistoryChanged, match=r"002_b\.sql:1:1 .*emptied; it was rolled back; if no .*may have: \"Audit\"") as caught:
        invoke()
    assert "ALTER EVENT TRIGGER ... DISABLE" in str(caught.value)
    assert [row[0] for row in rows(database)] == ["001_a.sql"]
    folder.write("001.1_b.sql", 'ALTER EVENT TRIGGER "Audit" DISABLE;')
    assert invoke()["applied_migrations"] == ["001.1_b.sql", "002_b.sql"]
