"""verify: drift of the database, reported by the handler and the command line; scratch databases that leave nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from migrator.cli.local_server import LocalServer
from migrator.errors import (
    ConnectionLost,
    DeadlineReached,
    InconsistentHistory,
    NothingProven,
    ScratchFailed,
    ScratchRefused,
)

from tests.plugins.databases import Database, Dump, MakeDatabase
from tests.plugins.drift import SCHEMA
from tests.plugins.folders import Folder
from tests.plugins.postgres import client_program
from tests.plugins.project import with_extension
from tests.plugins.runs import Cli, Invoke, command
from tests.plugins.waiting import wait_until

VERIFY = {"action": "verify"}


def scratch_databases(database: Database) -> list[str]:
    """Return the scratch databases that lie next to the test's own."""
    rows = database.query(
        "SELECT datname FROM pg_database WHERE datname LIKE 'db\\_setup\\_scratch\\_%%' AND datname LIKE %s",
        f"%{database.name}",
    )
    return [name for (name,) in rows]


def test_no_drift(invoke: Invoke, folder: Folder, database: Database) -> None:
    """A database that its files have built has not drifted; nothing is written to it, nothing is left next to it."""
    folder.write("001_shop.sql", SCHEMA)
    folder.write("002_index.sql", "CREATE INDEX CONCURRENTLY spare ON shop.lines (n);")
    invoke()
    before = database.query("SELECT * FROM db_setup.history"), database.query("SELECT * FROM db_setup.runs")
    body = invoke(VERIFY)
    assert (body["state"], body["success"], body["differences"], body["difference_count"]) == ("up_to_date", True, [], 0)
    assert body["message"] == "The database is what 2 migrations build."
    assert before == (database.query("SELECT * FROM db_setup.history"), database.query("SELECT * FROM db_setup.runs"))
    assert scratch_databases(database) == []


def test_examples(invoke: Invoke, examples: Path, database: Database) -> None:
    """The example's files, with roles in blocks of code, show no drift, and their roles stay as they are."""
    with_extension(examples, database)
    invoke(MIGRATIONS_DIR=str(examples))
    assert invoke(VERIFY, MIGRATIONS_DIR=str(examples))["state"] == "up_to_date"


def test_drift(invoke: Invoke, cli: Cli, folder: Folder, database: Database) -> None:
    """What was changed by hand is shown object by object, as state, as JSON, on the terminal and by the exit status."""
    folder.write("001_a.sql", "CREATE TABLE a (i int, j text); CREATE TABLE b (i int PRIMARY KEY);")
    invoke()
    folder.write("002_pending.sql", "CREATE TABLE pending (i int);")
    database.execute("ALTER TABLE a ALTER j SET NOT NULL; DROP TABLE b; CREATE INDEX by_hand ON a (i)")
    body = invoke(VERIFY)
    assert (body["state"], body["success"], body["difference_count"]) == ("drifted", False, 3)
    assert body["differences"] == [
        {"kind": "column", "identity": "public.a.j", "difference": "differs", "along": "", "lines": ["  text", "- nullable", "+ not null"]},
        {"kind": "index", "identity": "public.by_hand", "difference": "only in the database", "along": "",
         "lines": ["+ CREATE INDEX by_hand ON public.a USING btree (i)"]},
        {"kind": "table", "identity": "public.b", "difference": "only in the files", "along": "1 column, 1 constraint",
         "lines": ["- owner the migrating user"]},
    ]  # fmt: skip
    assert "column public.a.j (differs); index public.by_hand (only in the database)" in body["message"]
    assert body["pending_migrations"] == ["002_pending.sql"]
    done = cli("verify")
    assert done.status == 4
    assert "column public.a.j: differs\n    text\n  - nullable\n  + not null\n" in done.out
    assert "State: drifted, at 001." in done.out
    assert json.loads(cli("verify", "--json").out)["state"] == "drifted"


def test_verify_after_a_deploy(invoke: Invoke, cli: Cli, folder: Folder, database: Database) -> None:
    """VERIFY=true makes a drift the state and a warning of a deploy, which succeeds: what it committed stays."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    assert invoke(VERIFY="true")["state"] == "up_to_date"
    database.execute("DROP TABLE a")
    folder.write("002_b.sql", "CREATE TABLE b (i int);")
    body = invoke(VERIFY="true")
    assert (body["state"], body["success"], body["applied_migrations"]) == ("drifted", True, ["002_b.sql"])
    assert "table public.a (only in the files)" in body["warnings"][-1]
    assert cli("migrate", VERIFY="true").status == 0


def test_file_that_needs_rows(invoke: Invoke, folder: Folder, database: Database) -> None:
    """A file that fails without the live data is named, by verify as an error and after a deploy as a warning."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    invoke()
    database.execute("INSERT INTO a VALUES (1)")
    folder.write("002_b.sql", "DO $$ BEGIN IF NOT EXISTS (SELECT FROM a) THEN RAISE 'no rows'; END IF; END $$;")
    body = invoke(VERIFY="true")
    assert body["state"] == "up_to_date"
    assert "002_b.sql cannot be built in a scratch database" in body["warnings"][-1]
    with pytest.raises(ScratchFailed, match=r"002_b\.sql cannot be built in a scratch database: .*no rows") as caught:
        invoke(VERIFY)
    body = caught.value.body()
    assert (body["applied_migrations"], body["failed_migration"], body["sqlstate"]) == ([], "002_b.sql", "P0001")
    assert (body["file"], body["line"], body["column"]) == ("002_b.sql", 1, 1)
    assert scratch_databases(database) == []


def test_database_without_history(invoke: Invoke, folder: Folder, database: Database) -> None:
    """Without a history nothing says what a database should be; an empty one is what no files build."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    assert invoke(VERIFY)["state"] == "empty"
    database.execute("CREATE TABLE a (i int)")
    with pytest.raises(NothingProven, match="no history"):
        invoke(VERIFY)


def test_files_that_are_not_those_applied(invoke: Invoke, folder: Folder) -> None:
    """With a file edited, missing or newer there is nothing to build the database from."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("002_b.sql", "CREATE TABLE b (i int);")
    invoke()
    (folder.path / "002_b.sql").unlink()
    with pytest.raises(InconsistentHistory, match=r"not all that is applied is among these files: 002_b\.sql"):
        invoke(VERIFY)
    folder.write("002_b.sql", "CREATE TABLE b (i bigint);")
    with pytest.raises(InconsistentHistory, match=r"002_b\.sql was edited"):
        invoke(VERIFY)


def test_order_of_application(invoke: Invoke, folder: Folder) -> None:
    """A late file is built where it was applied, not where its number stands."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("003_c.sql", "CREATE TABLE c (i int);")
    invoke()
    folder.write("002_b.sql", "ALTER TABLE c ADD COLUMN j int;")
    invoke()
    assert invoke(VERIFY)["state"] == "up_to_date"


def test_user_who_may_not_create_databases(invoke: Invoke, folder: Folder, database: Database) -> None:
    """Without CREATEDB verify says what is missing and who can give it."""
    name = f"plain_{database.name}"
    database.execute(f"CREATE ROLE {name} LOGIN; ALTER DATABASE {database.name} OWNER TO {name}")
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    url = database.url.replace("postgres@", f"{name}@")
    try:
        invoke(DATABASE_URL=url)
        with pytest.raises(ScratchRefused, match=f'"{name}" may not create databases\n.*ALTER ROLE "{name}" CREATEDB'):
            invoke(VERIFY, DATABASE_URL=url)
        database.execute(f"ALTER ROLE {name} CREATEDB")
        assert invoke(VERIFY, DATABASE_URL=url)["state"] == "up_to_date"
        assert scratch_databases(database) == []
    finally:
        database.execute(f"ALTER DATABASE {database.name} OWNER TO postgres; REASSIGN OWNED BY {name} TO postgres")
        database.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


MAINTENANCE = [
    "ANALYZE;", "ANALYZE pg_authid;", "BEGIN; ANALYZE; COMMIT;", "VACUUM;", "VACUUM (ANALYZE);", "REINDEX DATABASE {database};",
    "REINDEX (VERBOSE) SYSTEM {database};", "CLUSTER;", "COMMENT ON DATABASE {database} IS 'x';", "CHECKPOINT;",
    "DO $$ BEGIN ANALYZE; END $$;",
]  # fmt: skip


@pytest.mark.parametrize("text", MAINTENANCE)
def test_maintenance(invoke: Invoke, folder: Folder, database: Database, text: str) -> None:
    """What a superuser's file does to keep a database in shape changes no role, and can be built, whatever its name."""
    folder.write("001_a.sql", "CREATE TABLE a (i int PRIMARY KEY);")
    folder.write("002_keep.sql", text.format(database=database.name))
    folder.write("003_b.sql", "CREATE TABLE b (i int);")
    invoke()
    assert invoke(VERIFY)["state"] == "up_to_date"


@pytest.fixture
def role(database: Database) -> str:
    """Return the name of a role that the test may make."""
    return f"role_{database.name}"


def roles(database: Database, role: str) -> list[tuple[object, ...]]:
    """Return what is known of the roles whose names begin so, passwords and memberships too."""
    return database.query(
        "SELECT a.rolname, a.rolcanlogin, a.rolpassword, a.rolconfig, ARRAY(SELECT m.member FROM pg_auth_members m "
        "WHERE m.roleid = a.oid) FROM (SELECT r.*, p.rolconfig FROM pg_authid r JOIN pg_roles p USING (oid)) a "
        "WHERE a.rolname LIKE %s ORDER BY 1", f"{role}%",
    )  # fmt: skip


OF_THE_SERVER = {
    "statements": (
        "CREATE ROLE {role}; ALTER ROLE {role} SET work_mem = '1MB'; CREATE USER {role}_2; GRANT {role} TO {role}_2;"
        "GRANT CONNECT ON DATABASE {database} TO {role}; ALTER DATABASE {database} SET work_mem = '3MB';"
        "COMMENT ON ROLE {role} IS 'x'; GRANT SELECT ON a TO {role}"
    ),
    "block": (
        "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN CREATE ROLE {role}; END IF; "
        "ALTER ROLE {role} SET work_mem = '1MB'; EXECUTE 'GRANT CONNECT ON DATABASE {database} TO {role}'; END $$;"
        "GRANT SELECT ON a TO {role}"
    ),
    "function": (
        "CREATE FUNCTION make() RETURNS void LANGUAGE plpgsql AS $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE "
        "rolname = '{role}') THEN CREATE ROLE {role}; END IF; END $$; SELECT make(); GRANT SELECT ON a TO {role}"
    ),
    "stepwise": (
        "CREATE INDEX CONCURRENTLY ON a (i); DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') "
        "THEN CREATE ROLE {role}; END IF; ALTER ROLE {role} SET work_mem = '1MB'; END $$; GRANT SELECT ON a TO {role}"
    ),
}


@pytest.fixture
def drop_roles(database: Database, role: str) -> object:
    """Drop the roles after the test."""
    yield None
    for (name,) in database.query("SELECT rolname FROM pg_roles WHERE rolname LIKE %s ORDER BY 1 DESC", f"{role}%"):
        database.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


@pytest.mark.parametrize("way", OF_THE_SERVER)
def test_roles_of_files_stay_as_they_are(
    invoke: Invoke, folder: Folder, database: Database, role: str, drop_roles: object, way: str
) -> None:
    """What files do to roles and databases is not done again by a scratch build, and is named where it is left out."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("002_roles.sql", OF_THE_SERVER[way].format(role=role, database=database.name))
    invoke()
    database.execute(f"ALTER ROLE {role} SET work_mem = '2MB'; ALTER ROLE {role} PASSWORD 'secret'")
    acl = "SELECT datacl, ARRAY(SELECT setconfig::text FROM pg_db_role_setting WHERE setdatabase = d.oid) FROM pg_database d WHERE datname = %s"
    before = roles(database, role), database.query(acl, database.name)
    body = invoke(VERIFY)
    assert (body["state"], body["difference_count"]) == ("up_to_date", 0)
    assert (roles(database, role), database.query(acl, database.name)) == before
    assert bool(body["not_verifiable"]) == (way != "function")
    assert all(text.startswith("002_roles.sql:1  ") for text in body["not_verifiable"])


def test_grant_in_a_block_is_not_made_again(
    invoke: Invoke, folder: Folder, database: Database, role: str, drop_roles: object
) -> None:
    """A grant on the live database that a block makes is refused in a scratch build, and the block is left out."""
    folder.write("001_role.sql", f"CREATE ROLE {role};")
    folder.write("002_grant.sql", f"DO $$ BEGIN EXECUTE 'GRANT TEMPORARY, CREATE ON DATABASE {database.name} TO {role}'; END $$;")
    invoke()
    database.execute(f"REVOKE ALL ON DATABASE {database.name} FROM {role}")
    body = invoke(VERIFY)
    assert (body["state"], len(body["not_verifiable"])) == ("up_to_date", 2)
    assert database.query(f"SELECT has_database_privilege('{role}', '{database.name}', 'CREATE')") == [(False,)]


@pytest.mark.parametrize(
    "text",
    ["GRANT CONNECT ON DATABASE {other} TO pg_monitor", "COMMENT ON DATABASE {other} IS 'x'", "COMMENT ON ROLE {role} IS 'x'",
     "GRANT CREATE ON TABLESPACE pg_default TO {role}"],
)
@pytest.mark.parametrize("block", ["EXECUTE '{}';", "BEGIN EXECUTE '{}'; EXCEPTION WHEN division_by_zero THEN END;"], ids=["plain", "inner"])
def test_others_on_the_server_stay_as_they_are(
    invoke: Invoke, folder: Folder, database: Database, make_database: MakeDatabase, role: str, drop_roles: object, text: str, block: str
) -> None:
    """What a block does to another database, or says of a role, is not done again."""
    other = make_database()
    database.execute(f"CREATE ROLE {role}")
    text = text.format(other=other.name, role=role)
    folder.write("001_a.sql", f"DO $$ BEGIN {block.format(text.replace(chr(39), chr(39) * 2))} END $$;")
    invoke()
    try:
        database.execute(f"ALTER DATABASE {other.name} OWNER TO {role}; COMMENT ON DATABASE {other.name} IS 'mine'; COMMENT ON ROLE {role} IS 'mine'")
        database.execute(f"REVOKE ALL ON DATABASE {other.name} FROM pg_monitor; REVOKE ALL ON TABLESPACE pg_default FROM {role}")
        state = (
            "SELECT datdba, datacl, shobj_description(oid, 'pg_database'), (SELECT spcacl FROM pg_tablespace WHERE spcname = 'pg_default'), "
            "shobj_description(%s::regrole, 'pg_authid') FROM pg_database WHERE datname = %s"
        )
        before = database.query(state, role, other.name)
        body = invoke(VERIFY)
        assert (body["state"], database.query(state, role, other.name) == before) == ("up_to_date", True)
        assert body["not_verifiable"]
    finally:
        database.execute(f"ALTER DATABASE {other.name} OWNER TO postgres; REVOKE ALL ON TABLESPACE pg_default FROM {role}")


def test_role_that_makes_schemas(
    invoke: Invoke, folder: Folder, database: Database, role: str, drop_roles: object
) -> None:
    """What roles may do in the live database they may do in a scratch one, where the grant itself is left out."""
    folder.write("001_role.sql", f"CREATE ROLE {role}; GRANT CREATE ON DATABASE {database.name} TO {role};")
    folder.write("002_schema.sql", f"SET ROLE {role}; CREATE SCHEMA app; CREATE TABLE app.t (i int);")
    invoke()
    assert invoke(VERIFY)["state"] == "up_to_date"


def test_file_that_is_applied_in_part(invoke: Invoke, folder: Folder) -> None:
    """A stepwise file that stopped half way is named as not verifiable; what it has done is a difference."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("002_b.sql", "CREATE INDEX CONCURRENTLY b ON a (i);\nSELECT 1 / 0;")
    with pytest.raises(Exception, match="division by zero"):
        invoke()
    body = invoke(VERIFY)
    assert [item["identity"] for item in body["differences"]] == ["public.b"]
    assert body["not_verifiable"] == ["002_b.sql is applied in part"]


def test_role_that_is_gone(invoke: Invoke, folder: Folder, database: Database, role: str, drop_roles: object) -> None:
    """A role that a file makes and the server does not have is said, and not made again."""
    folder.write("001_a.sql", f"CREATE ROLE {role};")
    folder.write("002_b.sql", "CREATE TABLE b (i int);")
    invoke()
    database.execute(f"DROP ROLE {role}")
    assert f'001_a.sql:1 makes the role "{role}", which this server does not have' in invoke(VERIFY)["not_verifiable"]
    assert roles(database, role) == []


def test_no_password_is_shown(invoke: Invoke, folder: Folder, database: Database, role: str, drop_roles: object) -> None:
    """What is quoted in a statement that is left out, and what follows the word PASSWORD in a definition, stays secret."""
    folder.write(
        "001_a.sql",
        f"CREATE ROLE {role} PASSWORD 'canary-1';\n"
        f"CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$ ALTER ROLE {role} PASSWORD 'canary-2' $$;\n"
        "SELECT 'canary-3 dblink(' WHERE false;\nSELECT length('password=canary-3'), 'pg_reload_conf()';",
    )
    invoke()
    database.execute("DROP FUNCTION f()")
    body = invoke(VERIFY)
    assert [item["identity"] for item in body["differences"]] == ["public.f()"]
    assert len(body["not_verifiable"]) == 3
    assert "canary" not in json.dumps(body)


def test_restored_dump(
    invoke: Invoke, folder: Folder, database: Database, make_database: MakeDatabase, server: LocalServer, pg_dump: Dump
) -> None:
    """A database restored from a dump, its history with it, has not drifted."""
    folder.write("001_shop.sql", SCHEMA)
    invoke()
    restored = make_database()
    psql = [str(client_program(server, "psql")), "-qX", "-v", "ON_ERROR_STOP=1", f"--dbname={restored.url}"]
    subprocess.run(psql, input=pg_dump(database), capture_output=True, text=True, check=True)
    body = invoke(VERIFY, DATABASE_URL=restored.url)
    assert (body["state"], body["differences"]) == ("up_to_date", [])


@pytest.mark.parametrize("owner", ["the database's", "the server's", "an earlier deploy's"])
def test_owner_of_public(invoke: Invoke, folder: Folder, database: Database, owner: str) -> None:
    """Whoever owns ``public`` where no file has changed it, and has rights there: it is no drift; another role is."""
    mine, theirs = f"mine_{database.name}", f"theirs_{database.name}"
    database.execute(f"CREATE ROLE {mine} SUPERUSER LOGIN; CREATE ROLE {theirs}; ALTER DATABASE {database.name} OWNER TO {mine}")
    folder.write("001_a.sql", f"CREATE TABLE a (i int); GRANT USAGE ON SCHEMA public TO {theirs};")
    invoke(DATABASE_URL=database.url.replace("postgres@", f"{mine}@"))
    if owner == "an earlier deploy's":
        database.execute(f"ALTER DATABASE {database.name} OWNER TO postgres")
    by = "postgres" if owner == "the server's" else mine
    database.execute(f"ALTER SCHEMA public OWNER TO {by}")
    database.execute(f"GRANT CREATE ON SCHEMA public TO postgres, {mine}")
    assert (invoke(VERIFY)["state"], invoke(VERIFY)["differences"]) == ("up_to_date", [])
    database.execute(f"ALTER SCHEMA public OWNER TO {theirs}")
    (found,) = [each for each in invoke(VERIFY)["differences"] if each["kind"] == "schema"]
    assert (found["identity"], found["lines"]) == ("public", ["- owner of a new database", f"+ owner {theirs}"])
    database.execute(f"REASSIGN OWNED BY {mine}, {theirs} TO postgres; DROP OWNED BY {mine}, {theirs}; DROP ROLE {mine}, {theirs}")


def test_leftovers(invoke: Invoke, folder: Folder, database: Database, make_database: MakeDatabase) -> None:
    """What a killed run has left is dropped by the next one: old, and used by nobody."""
    old, young, used = (f"db_setup_scratch_{time}_abcdef_{database.name}" for time in ("20200101000000", "29990101000000", "20200101000001"))
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    invoke()
    for name in (old, young, used):
        database.execute(f"CREATE DATABASE {name}")
    user = Database.__new__(Database)
    user.url = database.url.replace(f"/{database.name}?", f"/{used}?")
    holder = user.connect()
    try:
        invoke(VERIFY)
        assert sorted(scratch_databases(database)) == sorted([young, used])
    finally:
        holder.close()
        for name in (young, used):
            database.drop(name)


def test_killed_run(invoke: Invoke, folder: Folder, database: Database, make_database: MakeDatabase) -> None:
    """A run that is killed leaves a scratch database, whose session ends, and which the next run drops in time."""
    slow = make_database()
    folder.write("001_slow.sql", f"SELECT pg_sleep(60) FROM pg_database WHERE datname = '{slow.name}' AND current_database() LIKE 'db_setup%';")
    invoke()
    environ = {**os.environ, "DATABASE_URL": database.url, "MIGRATIONS_DIR": str(folder.path)}
    run = subprocess.Popen(command("verify"), env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    asleep = "SELECT FROM pg_stat_activity WHERE datname = ANY (%s) AND wait_event = 'PgSleep'"
    wait_until(lambda: database.query(asleep, scratch_databases(database)))
    run.send_signal(signal.SIGKILL)
    run.wait()
    (left,) = scratch_databases(database)
    if database.major() < 14:
        # The server does not check by itself whether its client is there.
        database.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", left)
    wait_until(lambda: not database.query("SELECT FROM pg_stat_activity WHERE datname = %s", left))
    aged = f"{left[:17]}20200101000000{left[31:]}"
    database.execute(f"ALTER DATABASE {slow.name} RENAME TO {slow.name}_gone; ALTER DATABASE {left} RENAME TO {aged}")
    try:
        assert invoke(VERIFY)["state"] == "up_to_date"
    finally:
        database.execute(f"ALTER DATABASE {slow.name}_gone RENAME TO {slow.name}")
    assert scratch_databases(database) == []


def test_deadline(invoke: Invoke, folder: Folder, database: Database) -> None:
    """A build ends with the time of the run, and leaves nothing behind."""
    folder.write("001_slow.sql", "SELECT pg_sleep(CASE WHEN current_database() LIKE 'db_setup%' THEN 60 ELSE 0 END);")
    invoke()
    folder.write("000_before.sql", "SELECT 1;")
    invoke()
    with pytest.raises(DeadlineReached, match=r"^001_slow\.sql:1:1  the time for this run is over; this statement was") as caught:
        invoke(VERIFY, MIGRATION_TIMEOUT="1")
    body = caught.value.body()
    assert caught.value.applied.startswith("nothing")
    assert body["fix"] == "a build begins anew with the first file: MIGRATION_TIMEOUT gives a run more time"
    assert (body["applied_migrations"], body["pending_migrations"], body["failed_migration"]) == ([], [], "001_slow.sql")
    assert scratch_databases(database) == []


def test_lost_connection(invoke: Invoke, folder: Folder) -> None:
    """Where the scratch database's session is ended, no file counts as applied by this run."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    ends = "EXECUTE 'SELECT pg_ter' || 'minate_backend(pg_backend_pid())'"
    folder.write("002_b.sql", f"DO $$ BEGIN IF current_database() LIKE 'db_setup%' THEN {ends}; END IF; END $$;")
    invoke()
    with pytest.raises(ConnectionLost) as caught:
        invoke(VERIFY)
    body = caught.value.body()
    assert (body["applied_migrations"], body["failed_migration"]) == ([], "002_b.sql")


@pytest.mark.parametrize("name", ['we"ird Db', "x" * 63, "d\u00e4ta" * 12], ids=["quote", "longest", "unicode"])
def test_names_of_databases(invoke: Invoke, folder: Folder, database: Database, name: str) -> None:
    """A live database of any name has a scratch database next to it."""
    from urllib.parse import quote

    quoted = '"' + name.replace('"', '""') + '"'
    database.execute(f"CREATE DATABASE {quoted}")
    url = database.url.replace(f"/{database.name}?", f"/{quote(name)}?")
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    try:
        invoke(DATABASE_URL=url)
        assert invoke(VERIFY, DATABASE_URL=url)["state"] == "up_to_date"
    finally:
        database.drop(name)


def test_settings_of_the_database(invoke: Invoke, folder: Folder, database: Database, make_database: MakeDatabase) -> None:
    """A scratch database has the live one's encoding, collation and settings, without which files build other things."""
    provider = " LOCALE_PROVIDER libc" if database.query("SELECT to_jsonb(d) ? 'datlocprovider' FROM pg_database d")[0][0] else ""
    database = make_database(f"TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'{provider}")
    database.execute(
        'CREATE SCHEMA app; CREATE SCHEMA "My App";'
        f'ALTER DATABASE {database.name} SET search_path = "My App", app, public;'
        f"ALTER DATABASE {database.name} SET datestyle = 'SQL, DMY'; ALTER DATABASE {database.name} SET timezone = 'Asia/Tokyo'"
    )
    folder.write("001_a.sql", 'CREATE SCHEMA IF NOT EXISTS app; CREATE SCHEMA IF NOT EXISTS "My App";')
    folder.write("002_b.sql", "CREATE TABLE b (t text DEFAULT '\u00e4', d date DEFAULT '02/01/2020');")
    assert invoke(DATABASE_URL=database.url, ADOPT="auto")["state"] == "up_to_date"
    assert database.query("SELECT relnamespace::regnamespace::text FROM pg_class WHERE relname = 'b'") == [('"My App"',)]
    body = invoke(VERIFY, DATABASE_URL=database.url)
    assert (body["state"], body["differences"]) == ("up_to_date", [])
