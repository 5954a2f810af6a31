"""The fence: a file that was pending at the adoption changes nothing that no file makes, by whatever way it tries."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from typing import Any, NamedTuple

import psycopg2
import pytest
from migrator.cli.local_server import LocalServer
from migrator.database import Connection, Deadline, connect
from migrator.database.credentials import from_url
from migrator.errors import ChangesForeignObject
from migrator.execution.fence import tables_of
from migrator.execution.foreign import Name, read_foreign, read_names
from migrator.history import AppliedMigration, Fence, History
from migrator.history.fence import FencedFile
from migrator.sql import split

from tests.plugins.databases import Database, Dump
from tests.plugins.folders import Folder
from tests.plugins.runs import Body, Cli, Invoke
from tests.plugins.waiting import concurrently, is_blocked, wait_until

STATUS, REHEARSE = {"action": "status"}, {"action": "rehearse"}
OTHERS = """
CREATE TABLE b (i int PRIMARY KEY, t text); INSERT INTO b VALUES (1, 'x'), (2, 'y');
COMMENT ON TABLE b IS 'theirs';
CREATE TABLE orders (id serial PRIMARY KEY, at date); INSERT INTO orders (at) VALUES ('2024-01-01');
CREATE TABLE log (at date NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE log_2024 PARTITION OF log FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
INSERT INTO log VALUES ('2024-02-02');
CREATE INDEX b_t ON b (t);
CREATE TABLE schema_version (n int);
CREATE VIEW v AS SELECT * FROM b;
CREATE FUNCTION f(n int) RETURNS int LANGUAGE sql AS 'SELECT n';
CREATE FUNCTION touch() RETURNS void LANGUAGE plpgsql AS $$ BEGIN UPDATE public.b SET t = 'z'; END $$;
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER b_stamp BEFORE UPDATE ON b FOR EACH ROW EXECUTE FUNCTION stamp();
COMMENT ON TRIGGER b_stamp ON b IS 'theirs';
CREATE TYPE mood AS ENUM ('ok');
CREATE DOMAIN email AS text CONSTRAINT short CHECK (VALUE <> '');
CREATE STATISTICS st ON i, t FROM b;
CREATE SCHEMA crm; CREATE TABLE crm.customers (name text);
ALTER DEFAULT PRIVILEGES IN SCHEMA crm GRANT SELECT ON TABLES TO {other};
"""


class Adopted(NamedTuple):
    """A database with the tables of another application, its admin without superuser, and a role of that application."""

    database: Database
    url: str
    other: str

    def fence(self, *files: str, made: tuple[Name, ...] = (), lift: bool = False) -> Fence:
        """Record an adoption that found nothing applied, and the fence around the files."""
        with closing(self.connect()) as connection:
            history = History(connection)
            foreign = read_foreign(connection, set(made))
            history.create()
            run_id = history.begin_run("baseline", "test")
            rows = [AppliedMigration(name, name[:3], f"checksum of {name}", "applied") for name in files]
            history.record_fence(run_id, fence := Fence.around(rows, foreign))
            if lift:
                history.lift_fence(run_id)
            history.end_run(run_id, "succeeded", "", {})
        return fence

    def connect(self) -> Connection:
        """Return a session of the admin's."""
        return connect(from_url(self.url), 1, Deadline(None))

    def execute(self, sql: str) -> None:
        """Run statements as the admin, who owns all that is there."""
        with closing(psycopg2.connect(self.url)) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            connection.commit()


@pytest.fixture
def adopted(database: Database, server: LocalServer) -> Iterator[Adopted]:
    """Return a database that belongs to an admin as Amazon RDS gives one, with another application in it."""
    admin, other = f"admin_{database.name}", f"other_{database.name}"
    roles = (other, f"mine_{database.name}", f"renamed_{database.name}", admin)
    database.execute(f"CREATE ROLE {admin} LOGIN NOSUPERUSER CREATEDB CREATEROLE")
    database.execute(f"ALTER DATABASE {database.name} OWNER TO {admin}; ALTER SCHEMA public OWNER TO {admin}")
    url = database.url.replace(f"//{server.parameters['user']}@", f"//{admin}@")
    found = Adopted(database, url, other)
    found.execute(f"CREATE ROLE {other} CREATEROLE; {OTHERS.format(other=other)}")
    yield found
    for (name,) in database.query("SELECT datname FROM pg_database WHERE pg_get_userbyid(datdba) = %s", admin):
        if name != database.name:
            database.drop(name)
    user = server.parameters["user"]
    for role in roles:
        if database.query("SELECT 1 FROM pg_roles WHERE rolname = %s", role):
            database.execute(f"REASSIGN OWNED BY {role} TO {user}; DROP OWNED BY {role}; DROP ROLE {role}")


Refuse = Callable[..., ChangesForeignObject]


@pytest.fixture
def run(adopted: Adopted, invoke: Invoke) -> Invoke:
    """Run the handler as the admin."""

    def call(event: object = None, **environ: str) -> Body:
        return invoke(event, DATABASE_URL=adopted.url, **environ)

    return call


@pytest.fixture
def refuse(adopted: Adopted, folder: Folder, run: Invoke, pg_dump: Dump) -> Refuse:
    """Write a file that is fenced, see it refused, and everything as it was; return the error."""

    def dumped() -> str:  # without the values of sequences, which no rollback sets back
        return re.sub("SELECT pg_catalog.setval.*", "", pg_dump(adopted.database, "--exclude-schema=db_setup"))

    def call(sql: str, *, event: object = None, made: tuple[Name, ...] = ()) -> ChangesForeignObject:
        folder.write("001_a.sql", fill(sql, adopted))
        adopted.fence("001_a.sql", made=made)
        before = dumped()
        with pytest.raises(ChangesForeignObject) as caught:
            run(event)
        assert dumped() == before
        assert adopted.database.query("SELECT count(*) FROM db_setup.history WHERE state = 'applied'") == [(0,)]
        assert len(str(caught.value).encode()) <= 1024
        assert "baseline --target none" in caught.value.fix
        return caught.value

    return call


def fill(sql: str, adopted: Adopted) -> str:
    """Return the text of a file with the names of this database's roles."""
    name = adopted.database.name
    return sql.format(other=adopted.other, mine=f"mine_{name}", renamed=f"renamed_{name}", database=name)


TRIGGER = (
    "CREATE TABLE a (i int); CREATE FUNCTION g() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM touch(); RETURN NEW; END';"
)
DESTROYS = {
    "drop": ("DROP TABLE IF EXISTS b CASCADE; CREATE TABLE a (i int);", "table public.b"),
    "drop schema": ("DROP SCHEMA public CASCADE; CREATE SCHEMA public;", "schema public"),
    "truncate in do": ("DO $$ BEGIN TRUNCATE orders; END $$;", "table public.orders"),
    "select into": ("DROP TABLE b CASCADE; SELECT 1 AS i INTO b;", "table public.b"),
    "rename schema": ("ALTER SCHEMA crm RENAME TO crm2;", "schema crm"),
    "drop empty schema": ("DROP SCHEMA crm CASCADE;", "table crm.customers"),
    "rename table": ("ALTER TABLE b RENAME TO b2;", "table public.b"),
    "replace function": ("CREATE OR REPLACE FUNCTION f(n int) RETURNS int LANGUAGE sql AS 'SELECT 2';", "function public.f(integer)"),
    "drop function": ("DROP FUNCTION f;", "function public.f(integer)"),
    "function moves": ("CREATE SCHEMA a; ALTER FUNCTION f SET SCHEMA a;", "function public.f(integer)"),
    "replace view": ("CREATE OR REPLACE VIEW v AS SELECT 1 AS i, t FROM b;", "view public.v"),
    "alter role": ("ALTER ROLE {other} PASSWORD 'x';", "a role (ALTER ROLE)"),
    "role in do": ("CREATE ROLE {mine}; DO 'BEGIN ALTER ROLE {other} NOCREATEROLE; END';", "a role (ALTER ROLE)"),
    "some role": ("CREATE ROLE {mine}; ALTER ROLE {mine} PASSWORD 'x'; DO 'BEGIN ALTER ROLE {other} NOCREATEROLE; END';", "a role (ALTER ROLE)"),
    "two roles": ('CREATE ROLE {mine}; ALTER ROLE {mine} LOGIN; ALTER USER "{other}" LOGIN;', "a role (ALTER ROLE)"),
    "this user": ("ALTER ROLE CURRENT_USER PASSWORD 'x';", "a role (ALTER ROLE)"),
    "rename role": ("ALTER ROLE {other} RENAME TO {renamed};", "a role (ALTER ROLE)"),
    "drop role": ("GRANT {other} TO CURRENT_USER; DROP OWNED BY {other}; DROP ROLE {other};", "role {other}"),
    "role setting": ("ALTER ROLE {other} SET search_path = x;", "the settings of role {other}"),
    "role comment": ("COMMENT ON ROLE {other} IS 'x';", "role {other}"),
    "membership": ("CREATE ROLE {mine}; GRANT {mine} TO {other};", "the membership of {other} in {mine}"),
    "database setting": ("ALTER DATABASE {database} SET search_path = x;", "the settings of a database"),
    "database": ("REVOKE TEMP ON DATABASE {database} FROM PUBLIC;", "database {database}"),
    "default privileges": ("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {other};", "default privileges of"),
    "default privileges in": ("ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {other};", "in public"),
    "no default privileges": ("ALTER DEFAULT PRIVILEGES IN SCHEMA crm REVOKE SELECT ON TABLES FROM {other};", "in crm on tables"),
    "grant": ("GRANT SELECT ON b TO {other};", "table public.b"),
    "grant column": ("GRANT SELECT (t) ON b TO {other};", "table public.b"),
    "grant schema": ("GRANT USAGE ON SCHEMA crm TO {other};", "schema crm"),
    "grant type": ("GRANT USAGE ON TYPE mood TO {other};", "type public.mood"),
    "call": ("SELECT touch();", "table public.b"),
    "trigger of its own": (
        f"{TRIGGER} CREATE TRIGGER t AFTER INSERT ON a FOR EACH ROW EXECUTE FUNCTION g(); INSERT INTO a VALUES (1);",
        "table public.b"),
    "deferred trigger": (
        f"{TRIGGER} CREATE CONSTRAINT TRIGGER t AFTER INSERT ON a INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION g(); INSERT INTO a VALUES (1);",
        "table public.b"),
    "released savepoint": ("SAVEPOINT s; DELETE FROM b; RELEASE s;", "table public.b"),
    "released savepoint, function": (
        "SAVEPOINT s; SAVEPOINT r; CREATE OR REPLACE FUNCTION f(n int) RETURNS int LANGUAGE sql AS 'SELECT 2'; RELEASE r; RELEASE s;",
        "function public.f(integer)"),
    "many savepoints": (
        "DO $$ BEGIN FOR n IN 1..150 LOOP BEGIN ALTER FUNCTION f COST 7; EXCEPTION WHEN undefined_table THEN END; END LOOP; END $$;",
        "function public.f(integer)"),
    "serializable": ("BEGIN ISOLATION LEVEL SERIALIZABLE; SAVEPOINT s; ALTER FUNCTION f COST 7; RELEASE s; COMMIT;", "function public.f(integer)"),
    "exception block": ("DO 'BEGIN BEGIN DELETE FROM b; EXCEPTION WHEN others THEN NULL; END; END';", "table public.b"),
    "view": ("UPDATE v SET t = 'z';", "table public.b"),
    "nothing updated": ("UPDATE b SET t = 'z' WHERE false;", "table public.b"),
    "copy": ("COPY b FROM stdin;\n9\tz\n\\.\n", "table public.b"),
    "foreign key": ("CREATE TABLE a (i int REFERENCES b);", "table public.b"),
    "comment": ("COMMENT ON TABLE b IS 'x';", "table public.b"),
    "comment on column": ("COMMENT ON COLUMN b.t IS 'x';", "table public.b"),
    "no comment": ("COMMENT ON TABLE b IS NULL;", "table public.b"),
    "no comment on trigger": ("COMMENT ON TRIGGER b_stamp ON b IS NULL;", "table public.b"),
    "comment on function": ("COMMENT ON FUNCTION f IS 'x';", "function public.f(integer)"),
    "index": ("CREATE INDEX ON b (t);", "table public.b"),
    "rename index": ("ALTER INDEX b_t RENAME TO b_t2;", "table public.b"),
    "drop index": ("DROP INDEX b_t;", "table public.b"),
    "statistics": ("CREATE STATISTICS st2 ON i, t FROM b;", "table public.b"),
    "column": ("ALTER TABLE b ADD COLUMN n int;", "table public.b"),
    "options": ("ALTER TABLE b SET (fillfactor = 50);", "table public.b"),
    "trigger": ("CREATE TRIGGER t BEFORE INSERT ON b FOR EACH ROW EXECUTE FUNCTION stamp();", "table public.b"),
    "disabled trigger": ("ALTER TABLE b DISABLE TRIGGER b_stamp;", "table public.b"),
    "policy": ("CREATE POLICY p ON b USING (true);", "table public.b"),
    "row security": ("ALTER TABLE b ENABLE ROW LEVEL SECURITY;", "table public.b"),
    "rule": ("CREATE RULE r AS ON DELETE TO b DO INSTEAD NOTHING;", "table public.b"),
    "inherits": ("CREATE TABLE a () INHERITS (b);", "table public.b"),
    "partition": ("CREATE TABLE a PARTITION OF log FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');", "table public.log"),
    "attach": ("CREATE TABLE a (at date NOT NULL); ALTER TABLE log ATTACH PARTITION a DEFAULT;", "table public.log"),
    "detach": ("ALTER TABLE log DETACH PARTITION log_2024;", "table public.log"),
    "rows of a partition": ("DELETE FROM log_2024;", "table public.log"),
    "sequence": ("ALTER SEQUENCE orders_id_seq RESTART WITH 100;", "orders"),
    "nextval": ("SELECT nextval('orders_id_seq');", "orders"),
    "value of an enum": ("ALTER TYPE mood ADD VALUE 'bad';", "type public.mood"),
    "domain": ("ALTER DOMAIN email ADD CHECK (VALUE <> '');", "domain public.email"),
    "no constraint of a domain": ("ALTER DOMAIN email DROP CONSTRAINT short;", "constraint short of domain public.email"),
    "no statistics": ("DROP STATISTICS st;", "statistics public.st"),
    "publication": ("CREATE PUBLICATION p FOR TABLE b;", "table public.b"),
    "drop type": ("DROP TYPE mood;", "type public.mood"),
    "owner of public": ("CREATE ROLE {mine}; GRANT {mine} TO CURRENT_USER; GRANT CREATE ON SCHEMA public TO {mine}; ALTER SCHEMA public OWNER TO {mine};", "schema public"),
    "lock": ("LOCK TABLE b IN ROW EXCLUSIVE MODE;", "table public.b"),
    "set role": ("SET LOCAL search_path = crm; DELETE FROM customers;", "table crm.customers"),
    "history of another tool": ("UPDATE schema_version SET n = 2;", "table public.schema_version"),
}  # fmt: skip


@pytest.mark.parametrize(("sql", "named"), DESTROYS.values(), ids=DESTROYS)
def test_change_of_what_no_file_makes(adopted: Adopted, refuse: Refuse, sql: str, named: str) -> None:
    """A file that changes what no file makes is rolled back, named with what it changes, and not recorded."""
    error = refuse(sql)
    what = re.escape(fill(named, adopted))
    assert re.match(rf"001_a\.sql changes .*{what}.*, which no file makes; rolled back$", error.what)
    assert "nothing of 001_a.sql" in error.applied


ALLOWED = {
    "own table": "CREATE TABLE a (i int); INSERT INTO a VALUES (1); DROP TABLE a; CREATE TABLE a (i int); COMMENT ON TABLE a IS 'x';",
    "reads": "CREATE TABLE a AS SELECT * FROM b; CREATE VIEW w AS SELECT i, v.t FROM b JOIN v USING (i); CREATE TABLE c (LIKE b INCLUDING ALL);",
    "serializable": "BEGIN ISOLATION LEVEL SERIALIZABLE; CREATE TABLE a AS SELECT * FROM b; INSERT INTO a SELECT * FROM v; COMMIT;",
    "repeatable read": "BEGIN ISOLATION LEVEL REPEATABLE READ; CREATE TABLE a AS SELECT * FROM b; SAVEPOINT s; DROP TABLE a; COMMIT;",
    "locks rows": "SELECT * FROM b FOR UPDATE;",
    "analyze": "CREATE TABLE a (i int); ANALYZE; ANALYZE b;",
    "uses": "CREATE TABLE a (m mood, e email, i int DEFAULT f(1)); INSERT INTO a VALUES ('ok'); CREATE DOMAIN d AS email;"
    "CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW EXECUTE FUNCTION stamp();",
    "overload": "CREATE FUNCTION f(t text) RETURNS int LANGUAGE sql AS 'SELECT 1'; DROP FUNCTION f(text);",
    "in another schema": "CREATE TABLE crm.mine (i int); CREATE TYPE crm.mood AS ENUM (); ALTER TYPE crm.mood ADD VALUE 'x';",
    "if not exists": "CREATE TABLE IF NOT EXISTS a (id int); DROP TABLE IF EXISTS nope; CREATE SCHEMA IF NOT EXISTS crm;",
    "rolled back": "SAVEPOINT s; DELETE FROM b; ALTER ROLE {other} NOCREATEROLE; DROP TABLE orders; ROLLBACK TO s; CREATE TABLE a (i int);",
    "exception": "DO 'BEGIN DELETE FROM b; PERFORM 1 / 0; EXCEPTION WHEN division_by_zero THEN NULL; END';",
    "own role": "CREATE ROLE {mine}; ALTER ROLE {mine} PASSWORD 'x' LOGIN; SAVEPOINT s; ALTER USER /* */ {mine} NOLOGIN; ROLLBACK TO s; GRANT {mine} TO CURRENT_USER; ALTER ROLE {mine} SET search_path = x; COMMENT ON ROLE {mine} IS 'x';"
    "CREATE SCHEMA a; ALTER DEFAULT PRIVILEGES IN SCHEMA a GRANT SELECT ON TABLES TO {mine};"
    "ALTER DEFAULT PRIVILEGES IN SCHEMA a REVOKE SELECT ON TABLES FROM {mine}; DROP ROLE {mine};",
    "set role": "CREATE ROLE {mine}; GRANT {mine} TO CURRENT_USER; CREATE SCHEMA a AUTHORIZATION {mine}; SET ROLE {mine}; CREATE TABLE a.t (i int);",
    "grants on its own": "CREATE TABLE a (i int); GRANT SELECT ON a TO {other}; CREATE SCHEMA s; GRANT USAGE ON SCHEMA s TO {other};",
    "own partitions": "CREATE TABLE a (i int) PARTITION BY LIST (i); CREATE TABLE a1 PARTITION OF a FOR VALUES IN (1); INSERT INTO a VALUES (1);",
    "temporary": "CREATE TEMP TABLE b (i int); INSERT INTO b VALUES (1);",
    "stepwise": "CREATE TABLE a (i int); CREATE INDEX CONCURRENTLY ON a (i); BEGIN; INSERT INTO a VALUES (1); COMMIT; VACUUM ANALYZE a (i);"
    "DROP INDEX CONCURRENTLY a_i_idx; BEGIN; DELETE FROM b; ROLLBACK; DISCARD ALL;",
}  # fmt: skip


@pytest.mark.parametrize("sql", ALLOWED.values(), ids=ALLOWED)
def test_what_is_no_change(adopted: Adopted, folder: Folder, run: Invoke, sql: str) -> None:
    """A fenced file makes and changes what is its own, and reads and uses what is not."""
    folder.write("001_a.sql", fill(sql, adopted))
    adopted.fence("001_a.sql")
    assert run()["applied_migrations"] == ["001_a.sql"]


def test_extensions(adopted: Adopted, folder: Folder, run: Invoke) -> None:
    """An extension that was there is foreign, with its members through it; one that a file makes is the file's."""
    adopted.execute("CREATE EXTENSION hstore")
    folder.write("001_a.sql", "CREATE EXTENSION IF NOT EXISTS hstore; CREATE TABLE a (h hstore);")
    folder.write("002_b.sql", "CREATE EXTENSION citext; CREATE TABLE c (t citext); DROP EXTENSION citext CASCADE;")
    folder.write("003_c.sql", "DROP TABLE a; DROP EXTENSION hstore;")
    fence = adopted.fence("001_a.sql", "002_b.sql", "003_c.sql")
    assert {item.identity for item in fence.foreign if "hstore" in item.identity} == {"extension hstore"}
    with pytest.raises(ChangesForeignObject, match=r"^003_c\.sql changes extension hstore, which") as caught:
        run()
    assert caught.value.progress.applied == ("001_a.sql", "002_b.sql")
    folder.write("003_c.sql", "CREATE TABLE d (i int); ALTER EXTENSION hstore ADD TABLE d;")
    with pytest.raises(ChangesForeignObject, match=r"^003_c\.sql changes extension hstore, which"):
        run()


def test_own_objects_of_earlier_files(adopted: Adopted, folder: Folder, run: Invoke) -> None:
    """What a fenced file has made, and what the files that are applied have, later ones may change."""
    folder.write("001_a.sql", "CREATE TABLE a (i serial); CREATE FUNCTION g() RETURNS int LANGUAGE sql AS 'SELECT 1';")
    folder.write("002_b.sql", "ALTER TABLE a ADD n int; DROP FUNCTION g; INSERT INTO a VALUES (1); INSERT INTO orders DEFAULT VALUES;")
    folder.write("003_c.sql", "DROP TABLE a; ALTER TABLE log_2024 SET (fillfactor = 50);")
    adopted.fence("001_a.sql", "002_b.sql", "003_c.sql", made=(("relation", "public", "orders"), ("relation", "public", "log")))
    assert len(run()["applied_migrations"]) == 3


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ("ALTER SCHEMA crm RENAME TO crm2;", "table crm.customers"),
        ("DELETE FROM orders;", "table public.theirs"),
        ("TRUNCATE orders CASCADE;", "table public.theirs"),
        ("DROP TABLE orders CASCADE;", "table public.theirs"),
    ],
)
def test_change_by_way_of_its_own(adopted: Adopted, refuse: Refuse, sql: str, named: str) -> None:
    """A change of what the files make is refused where it reaches what no file makes."""
    adopted.execute("CREATE TABLE theirs (id int REFERENCES orders ON DELETE CASCADE); INSERT INTO theirs VALUES (1)")
    error = refuse(sql, made=(("relation", "public", "orders"), ("schema", "", "crm")))
    assert error.what == f"001_a.sql changes {named}, which no file makes; rolled back"


def test_files_of_one_run(adopted: Adopted, folder: Folder, run: Invoke) -> None:
    """Two files fail and succeed by themselves: what one has applied stays, the other is named."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("002_b.sql", "ALTER TABLE a ADD n int; DELETE FROM b;")
    adopted.fence("001_a.sql", "002_b.sql")
    with pytest.raises(ChangesForeignObject, match=r"^002_b\.sql changes table public\.b") as caught:
        run()
    assert "001_a.sql (applied before in this run)" in caught.value.applied
    with pytest.raises(ChangesForeignObject, match=r"^002_b\.sql changes table public\.b"):
        run()  # the fence holds in every later run
    folder.write("002_b.sql", "ALTER TABLE a ADD n int;")
    assert run()["applied_migrations"] == ["002_b.sql"]


def test_file_that_becomes_stepwise(adopted: Adopted, folder: Folder, run: Invoke) -> None:
    """A file that the server wants step by step is fenced in each step."""
    folder.write("001_a.sql", "ALTER TYPE mood ADD VALUE 'new'; CREATE TABLE a (m mood DEFAULT 'new'); DELETE FROM b;")
    adopted.fence("001_a.sql", made=(("type", "public", "mood"),))
    with pytest.raises(ChangesForeignObject, match=r"^001_a\.sql changes table public\.b") as caught:
        run()
    assert "2 steps of 001_a.sql, recorded" in caught.value.applied
    folder.write("001_a.sql", "ALTER TYPE mood ADD VALUE 'new'; CREATE TABLE a (m mood DEFAULT 'new'); INSERT INTO a DEFAULT VALUES;")
    assert run()["applied_migrations"] == ["001_a.sql"]


def test_large_file(adopted: Adopted, folder: Folder, run: Invoke) -> None:
    """A file that travels in several messages is seen whole."""
    rows = "".join(f"INSERT INTO a VALUES ('{'x' * 3000}');\n" for _ in range(200))
    folder.write("001_a.sql", f"DELETE FROM b; CREATE TABLE a (t text);\n{rows}")
    adopted.fence("001_a.sql")
    with pytest.raises(ChangesForeignObject, match=r"table public\.b"):
        run()
    folder.write("001_a.sql", f"CREATE TABLE a (t text);\n{rows}")
    assert run()["applied_migrations"] == ["001_a.sql"]


FENCED = Fence((FencedFile("003_c.sql", "003", "c"), FencedFile("d.sql", "004", "d"), FencedFile("repeatable/v.sql", "", "v")))


@pytest.mark.parametrize(
    ("name", "number", "checksum", "covered"),
    [
        ("003_c.sql", "003", "edited", True), ("d.sql", "004", "d", True), ("repeatable/v.sql", "", "edited", True),
        ("002_late.sql", "002", "x", True), ("004_x.sql", "4", "x", True), ("007_c.sql", "007", "edited", True),
        ("009_z.sql", "009", "c", True), ("V9__c.sql", "9", "x", True), ("005_d.sql", "005", "x", True), ("005_x.sql", "005", "x", False),
        ("e.sql", "005", "x", False), ("repeatable/w.sql", "", "x", False), ("repeatable/w.sql", "", "v", True),
    ],
)  # fmt: skip
def test_files_of_a_fence(name: str, number: str, checksum: str, covered: bool) -> None:
    """A file is fenced by its name, its text, its name but for the number, or a number that is not new."""
    assert FENCED.covers(name, number, checksum) == covered


@pytest.mark.parametrize(
    ("name", "number", "checksum", "covered"),
    [
        ("002_late.sql", "002", "x", True), ("003_x.sql", "3", "x", True), ("004_x.sql", "004", "x", False),
        ("env/dev/900_rows.sql", "900", "edited", True), ("900_rows.sql", "900", "x", False),
    ],
)  # fmt: skip
def test_files_of_a_fence_with_nothing_pending(name: str, number: str, checksum: str, covered: bool) -> None:
    """A file that comes late is fenced where nothing was pending, and so is one for another environment, by its name."""
    fence = Fence(others=("env/dev/900_rows.sql",), last="003")
    assert fence.covers(name, number, checksum) == covered


@pytest.mark.parametrize(
    ("name", "passed", "late"),
    [
        ("003_c.sql", "002", False), ("003_c.sql", "005", True), ("003_c.sql", "", False), ("004_x.sql", "002", True),
        ("006_x.sql", "005", False), ("006_x.sql", "0010", True), ("d.sql", "005", False), ("x.sql", "", False),
    ],
)  # fmt: skip
def test_file_that_a_baseline_would_record(name: str, passed: str, late: bool) -> None:
    """A file whose number was passed comes late: by the last that was recorded, or, if it was not there, by all."""
    assert FENCED._replace(passed=passed, last="005").comes_late(name) == late


LONG = "a" * 70
NEWER = f"""
CREATE TABLE "Odd.Name" (i int); CREATE TABLE Ärger (i int); CREATE TABLE {LONG} (i int); CREATE SCHEMA own;
"""


@pytest.mark.parametrize(
    "sql",
    [
        'DROP TABLE "Odd.Name"; CREATE /* its /* own */ */ TABLE -- name\n public . "Odd.Name" (i int);',
        "DROP TABLE Ärger; CREATE TABLE Ärger (i int);", f"DROP TABLE {LONG}; CREATE TABLE {LONG} (i int);",
        'DROP TABLE orders; CREATE TABLE U&"\\006frders" (i int);', "DROP TABLE orders; CREATE TABLE U&\"!006frders\" UESCAPE '!' (i int);",
        "DROP TABLE orders; SELECT 1 AS i INTO orders;", "DROP TABLE orders; WITH w AS (SELECT 1 AS i) SELECT i INTO UNLOGGED orders FROM w;",
        "CREATE TABLE new (i int); DROP TABLE orders; ALTER TABLE IF EXISTS new RENAME TO orders;",
        "DROP TABLE orders; DO $$ BEGIN CREATE TABLE orders (i int); END $$;",
        "DROP SCHEMA crm CASCADE; CREATE SCHEMA crm CREATE TABLE customers (name text) CREATE TABLE more (i int);",
        "DROP TABLE log_2024; CREATE TABLE log_2024 PARTITION OF log FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');",
    ],
)  # fmt: skip
def test_newer_file_makes_what_was_there(adopted: Adopted, folder: Folder, run: Invoke, sql: str) -> None:
    """A newer file is fenced where it makes a relation that has the name of one that was there, however it writes it."""
    adopted.execute(NEWER)
    adopted.fence("001_a.sql")
    folder.write("009_x.sql", sql)
    with pytest.raises(ChangesForeignObject, match="which no file makes; rolled back"):
        run()
    with pytest.raises(ChangesForeignObject):
        run(REHEARSE)


def assert_free(adopted: Adopted, folder: Folder, run: Invoke, sql: str) -> None:
    """A newer file with these statements is applied, whatever a fence holds."""
    adopted.execute(NEWER)
    adopted.fence("001_a.sql")
    folder.write("009_x.sql", sql)
    assert run()["applied_migrations"] == ["009_x.sql"]


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TEMP TABLE b (i int); DELETE FROM public.b;", "WITH w AS (INSERT INTO b VALUES (9, 'z') RETURNING i) SELECT i FROM w;",
        "CREATE TABLE log_2025 PARTITION OF log FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');", "ALTER TABLE b ADD n int;",
        "SELECT 9 AS i INTO TEMP b; DELETE FROM public.b;", "CREATE TABLE ärger (i int);",
    ],
)  # fmt: skip
def test_newer_file_makes_something_else(adopted: Adopted, folder: Folder, run: Invoke, sql: str) -> None:
    """A newer file that makes nothing of the name of what was there is free to change that."""
    assert_free(adopted, folder, run, sql)


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE IF NOT EXISTS b (i int); SET search_path = own;", "SET search_path = crm; CREATE TABLE IF NOT EXISTS customers (i int);",
        "SET search_path = crm; CREATE TABLE IF NOT EXISTS customers (i int); SET search_path = public;",
        "CREATE TABLE IF NOT EXISTS b (i int); SELECT set_config('search_path', '', false);",
        "CREATE TEMP TABLE b (i int); CREATE TABLE IF NOT EXISTS b (i int);", "CREATE TABLE IF NOT EXISTS log_2024 (at date);",
        "DO $$ BEGIN CREATE TABLE IF NOT EXISTS b (i int); END $$;", "CREATE TABLE IF NOT EXISTS crm.customers (i int);",
        "CREATE TABLE IF NOT EXISTS b (i int); VACUUM own.t;", "SET search_path = crm; CREATE TABLE IF NOT EXISTS customers (i int); VACUUM own.t;",
        "BEGIN; SET LOCAL search_path = crm; CREATE TABLE IF NOT EXISTS customers (i int); COMMIT; VACUUM own.t;",
    ],
)  # fmt: skip
def test_kept_table(adopted: Adopted, folder: Folder, run: Invoke, sql: str) -> None:
    """What is made only IF NOT EXISTS, and was there, refuses its file; the name means what it means where it stands."""
    adopted.execute(f"{NEWER} CREATE TABLE own.t (i int)")
    adopted.fence("001_a.sql")
    folder.write("009_x.sql", sql)
    for event in (None,) if "VACUUM" in sql else (None, REHEARSE):  # no rehearsal can hold what runs step by step
        with pytest.raises(ChangesForeignObject, match="may be applied already"):
            run(event)


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE IF NOT EXISTS own.b (i int);", "SET search_path = own, public; CREATE TABLE IF NOT EXISTS b (i int); RESET search_path;",
        "SET search_path = own; CREATE TABLE IF NOT EXISTS b (i int); SET search_path = public; CREATE TABLE IF NOT EXISTS more (i int);",
        "CREATE SCHEMA two; SET LOCAL search_path = two, public; CREATE TABLE IF NOT EXISTS b (i int); SET LOCAL search_path = public;",
        "SET search_path = own; CREATE TABLE IF NOT EXISTS b (i int); VACUUM own.b;",
        "CREATE SCHEMA two; SET search_path = two, public; CREATE TABLE IF NOT EXISTS b (i int); VACUUM two.b;",
        "CREATE TABLE IF NOT EXISTS pg_temp.b (i int);", "CREATE TEMP TABLE IF NOT EXISTS b (i int);",
    ],
)  # fmt: skip
def test_table_of_the_same_name_elsewhere(adopted: Adopted, folder: Folder, run: Invoke, sql: str) -> None:
    """What is made only IF NOT EXISTS in another schema than what was there is made, also where both are in reach."""
    assert_free(adopted, folder, run, sql)


@pytest.mark.parametrize(
    ("name", "refused"),
    [("002_z.sql", True), ("001_later.sql", True), ("000_late.sql", True), ("003_b.sql", True), ("003_z.sql", False)],
)
def test_renamed_and_new_files(adopted: Adopted, folder: Folder, run: Invoke, name: str, refused: bool) -> None:
    """A fence holds for a fenced file that was edited and renamed, and for late ones, but not for what comes after."""
    folder.write(name, "DELETE FROM b;")
    adopted.fence("001_a.sql", "002_b.sql")
    if refused:
        with pytest.raises(ChangesForeignObject):
            run()
    else:
        assert run()["applied_migrations"] == [name]


def test_fence_ends_with_its_files(adopted: Adopted, folder: Folder, run: Invoke) -> None:
    """When all fenced files are applied the fence is over, and a run that applies files reads none of it."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    adopted.fence("001_a.sql")
    run()
    with closing(adopted.connect()) as connection:
        assert History(connection).read_fence() is None
    folder.write("000_late.sql", "DELETE FROM b;")
    assert run()["applied_migrations"] == ["000_late.sql"]


def test_ordinary_databases(
    database: Database, folder: Folder, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run on a database without a fence loads nothing of it, and asks nothing more."""
    for module in ("execution.fence", "execution.fence_queries", "execution.foreign", "history.fence"):
        monkeypatch.delitem(sys.modules, f"migrator.{module}", raising=False)
    asked: list[str] = []
    rows = Connection.rows

    def ask(connection: Connection, sql: str) -> list[tuple[Any, ...]]:
        asked.append(sql)
        return rows(connection, sql)

    monkeypatch.setattr(Connection, "rows", ask)
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    assert invoke()["applied_migrations"] == ["001_a.sql"]
    assert len([sql for sql in asked if "fence" in sql]) == 1
    assert "INSERT INTO db_setup.runs" in next(sql for sql in asked if "fence" in sql)
    assert not {name for name in sys.modules if "fence" in name and name.startswith("migrator")}


def test_lifted_fence(adopted: Adopted, folder: Folder, run: Invoke) -> None:
    """A fence that was lifted holds for nothing; what it was stays in the table."""
    folder.write("001_a.sql", "DELETE FROM b;")
    adopted.fence("001_a.sql", lift=True)
    assert run()["applied_migrations"] == ["001_a.sql"]


def test_newest_fence(adopted: Adopted, folder: Folder, run: Invoke) -> None:
    """A later fence takes the place of an earlier one."""
    adopted.fence("001_a.sql")
    adopted.execute("CREATE TABLE later (i int)")
    folder.write("001_a.sql", "CREATE TABLE a (i int); INSERT INTO later VALUES (1);")
    fence = adopted.fence("001_a.sql")
    with closing(adopted.connect()) as connection:
        found = History(connection).read_fence()
    assert found is not None
    assert (found.files, set(found.foreign), found.oids_hold) == (fence.files, set(fence.foreign), True)
    with pytest.raises(ChangesForeignObject, match=r"table public\.later"):
        run()


def test_older_tables(adopted: Adopted, folder: Folder, run: Invoke) -> None:
    """A history of an earlier version has no fence, and gets the column when a run writes."""
    folder.write("001_a.sql", "DELETE FROM b;")
    adopted.fence("001_a.sql")
    adopted.execute("ALTER TABLE db_setup.runs DROP COLUMN fence")
    with closing(adopted.connect()) as connection:
        assert History(connection).read_fence() is None
    assert run()["applied_migrations"] == ["001_a.sql"]
    assert adopted.database.query("SELECT count(fence) FROM db_setup.runs") == [(0,)]


STEPWISE = {
    "build": ("CREATE INDEX CONCURRENTLY ON b (t);", "changes table public.b, which no file makes; it was not run", 0),
    "build with path": ("SET search_path = crm; CREATE INDEX CONCURRENTLY ON customers (name);", "changes table crm.customers", 1),
    "drop index": ("CREATE TABLE a (i int); DROP INDEX CONCURRENTLY b_t;", "changes table public.b", 1),
    "reindex": ("REINDEX INDEX CONCURRENTLY b_t;", "changes table public.b", 0),
    "reindex schema": ("CREATE TABLE a (i int); REINDEX SCHEMA public;", "this runs outside any transaction", 0),
    "vacuum": ("CREATE TABLE a (i int); VACUUM a, b;", "changes table public.b", 1),
    "vacuum all": ("CREATE TABLE a (i int); VACUUM FULL;", "this runs outside any transaction", 0),
    "partition": ("ALTER TABLE log DETACH PARTITION log_2024 CONCURRENTLY;", "changes table public.log", 0),
    "do with commit": ("CREATE TABLE a (i int); DO 'BEGIN DELETE FROM b; COMMIT; END';", "this runs outside any transaction", 0),
    "call": ("CREATE PROCEDURE p() LANGUAGE plpgsql AS 'BEGIN DELETE FROM b; COMMIT; END'; CALL p();", "this runs outside any transaction", 1),
    "hidden vacuum": ("CREATE TABLE a (i int); DO 'BEGIN EXECUTE ''VACUUM b''; END';", "this runs outside any transaction", 1),
    "create database": ("CREATE DATABASE {mine};", "this runs outside any transaction", 0),
    "step": ("VACUUM b_own; DELETE FROM b;", "changes table public.b, which no file makes; rolled back", 1),
    "block": ("VACUUM b_own; BEGIN; DELETE FROM b; COMMIT;", "changes table public.b, which no file makes; rolled back", 1),
    "block with savepoint": ("VACUUM b_own; BEGIN; SAVEPOINT s; DELETE FROM b; RELEASE s; COMMIT;", "table public.b", 1),
    "isolation": ("VACUUM b_own; BEGIN; SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; DELETE FROM b; COMMIT;", "table public.b", 1),
}  # fmt: skip


@pytest.mark.parametrize(("sql", "said", "steps"), STEPWISE.values(), ids=STEPWISE)
def test_stepwise_file(adopted: Adopted, folder: Folder, run: Invoke, sql: str, said: str, steps: int) -> None:
    """Each step is fenced, and what no transaction holds is not run unless it is seen to concern other tables."""
    adopted.execute("CREATE TABLE b_own (i int)")
    folder.write("001_a.sql", fill(sql, adopted))
    adopted.fence("001_a.sql", made=(("relation", "public", "b_own"),))
    rows = "SELECT (SELECT count(*) FROM b), (SELECT count(*) FROM log), (SELECT count(*) FROM pg_index WHERE indrelid = 'b'::regclass)"
    before = adopted.database.query(rows)
    with pytest.raises(ChangesForeignObject, match=re.escape(said)) as caught:
        run()
    assert adopted.database.query(rows) == before
    found = adopted.database.query("SELECT coalesce(sum(steps), 0)::int FROM db_setup.history")
    assert found == [(steps,)]
    if steps:
        assert "recorded; a re-run goes on at line 1" in str(caught.value)


def test_changes_of_other_sessions(adopted: Adopted, folder: Folder, run: Invoke) -> None:
    """What the other application does meanwhile, and has done since the adoption, is no change of the file's."""
    adopted.fence("001_a.sql")
    adopted.execute("DROP TABLE orders; ALTER TABLE log ADD n int")
    with closing(psycopg2.connect(adopted.url)) as other, other.cursor() as cursor:
        cursor.execute("UPDATE b SET t = 'w'; ALTER FUNCTION f RENAME TO f2; CREATE INDEX ON crm.customers (name)")
        adopted.execute("GRANT SELECT ON log TO PUBLIC")
        folder.write("001_a.sql", "CREATE TABLE a AS SELECT * FROM b;")
        assert run()["applied_migrations"] == ["001_a.sql"]
        other.commit()
    assert adopted.database.query("SELECT count(*) FROM b WHERE t = 'w'") == [(2,)]


def test_changes_during_the_file(adopted: Adopted, folder: Folder, run: Invoke) -> None:
    """What another session commits while the file runs is not taken for the file's, whichever of both is older."""
    folder.write("001_a.sql", "CREATE TABLE a (i int); SELECT pg_advisory_lock_shared(7); SELECT pg_advisory_unlock_shared(7);")
    adopted.fence("001_a.sql")
    answers: list[Body] = []
    with closing(psycopg2.connect(adopted.url)) as other, other.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(7)")
        other.commit()
        with concurrently(lambda: answers.append(run(LOCK_TIMEOUT="30s"))):
            wait_until(partial(is_blocked, adopted.database))
            cursor.execute("DROP TABLE orders; ALTER TABLE b ADD n int; CREATE OR REPLACE FUNCTION f(n int) RETURNS int LANGUAGE sql AS 'SELECT 3'")
            cursor.execute("SAVEPOINT s; ALTER SCHEMA crm RENAME TO crm2; RELEASE s; COMMENT ON TABLE log IS 'x'")
            cursor.execute(f"ALTER ROLE {adopted.other} NOCREATEROLE")
            other.commit()
            cursor.execute("SELECT pg_advisory_unlock(7)")
            other.commit()
    assert answers[0]["applied_migrations"] == ["001_a.sql"]


@pytest.mark.parametrize("sql", ["DROP TABLE orders;", "ALTER SCHEMA crm RENAME TO x;", "SELECT touch();"])
def test_rehearsal_and_lock_report(adopted: Adopted, folder: Folder, run: Invoke, refuse: Refuse, sql: str) -> None:
    """A rehearsal raises what migrate raises, and so does migrate with a lock report."""
    said = refuse(sql).what
    with pytest.raises(ChangesForeignObject) as caught:
        run(REHEARSE)
    assert (caught.value.what, caught.value.applied) == (said, "nothing: a rehearsal is rolled back")
    with pytest.raises(ChangesForeignObject, match=re.escape(said)):
        run(LOCK_REPORT="true")
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("002_b.sql", "DELETE FROM b; CREATE TABLE b2 (i int);")
    assert run(REHEARSE)["success"]
    assert run()["applied_migrations"] == ["001_a.sql", "002_b.sql"]


def test_rehearsal_of_several_files(adopted: Adopted, folder: Folder, run: Invoke) -> None:
    """In a rehearsal, which is one transaction, a fenced file does not answer for what another has changed."""
    folder.write("001_a.sql", f"DELETE FROM b; ALTER ROLE {adopted.other} NOCREATEROLE;")
    adopted.fence()
    folder.write("002_b.sql", "CREATE TABLE c (i int UNIQUE DEFERRABLE INITIALLY DEFERRED); INSERT INTO c VALUES (1);")
    with closing(adopted.connect()) as connection:
        history = History(connection)
        run_id = history.begin_run("baseline", "test")
        row = AppliedMigration("002_b.sql", "000", "", "applied")
        history.record_fence(run_id, Fence.around([row], read_foreign(connection, set())))
        history.end_run(run_id, "succeeded", "", {})
    assert run(REHEARSE)["success"]


def test_check_and_fence(adopted: Adopted, refuse: Refuse, folder: Folder) -> None:
    """What a file's check does is rolled back, so it changes nothing; what the file does is seen behind it."""
    folder.write("001_a.check.sql", "SELECT touch()::text = ''; DELETE FROM orders; SELECT true;")
    assert refuse("DELETE FROM crm.customers;").what.startswith("001_a.sql changes table crm.customers, which")


def test_several_objects_are_named(refuse: Refuse) -> None:
    """All that a file changes is named, and of very many the first ones and how many there are."""
    assert refuse("DELETE FROM orders; DELETE FROM b;").what == (
        "001_a.sql changes table public.b, table public.orders, which no file makes; rolled back"
    )


def test_many_objects(adopted: Adopted, folder: Folder, run: Invoke) -> None:
    """Thousands of foreign objects with names of any kind are stored, read and watched."""
    adopted.execute("DO $$ BEGIN FOR n IN 1..3000 LOOP EXECUTE format('CREATE FUNCTION %I() RETURNS int LANGUAGE sql AS ''SELECT 1''', 'f,\"{}\\''' || n); END LOOP; END $$")
    folder.write("001_a.sql", "CREATE TABLE a (i int); CREATE OR REPLACE FUNCTION \"f,\"\"{}\\'2999\"() RETURNS int LANGUAGE sql AS 'SELECT 2';")
    fence = adopted.fence("001_a.sql")
    with closing(adopted.connect()) as connection:
        found = History(connection).read_fence()
    assert found is not None
    assert (found.files, set(found.foreign), found.oids_hold) == (fence.files, set(fence.foreign), True)
    with pytest.raises(ChangesForeignObject, match="2999"):
        run()
    assert adopted.database.query("SELECT max(pg_column_size(fence)) < 500000 FROM db_setup.runs") == [(True,)]


def test_restored_database(adopted: Adopted, folder: Folder, run: Invoke) -> None:
    """In a database with other OIDs, such as one restored from a dump, the objects are found by their names."""
    folder.write("001_a.sql", "CREATE TABLE a (i int); DELETE FROM orders;")
    adopted.fence("001_a.sql")
    numbers = "regexp_replace(fence::text, '\\[([0-9]+), \"(table|function|schema)', '[99\\1, \"\\2', 'g')"
    adopted.execute(f"UPDATE db_setup.runs SET fence = ({numbers})::jsonb || '{{\"stamp\": \"1/2/3\"}}' WHERE fence IS NOT NULL")
    with pytest.raises(ChangesForeignObject, match=r"table public\.orders"):
        run()
    with pytest.raises(ChangesForeignObject, match=r"table public\.orders"):
        run(REHEARSE)


def test_names_of_what_files_make(adopted: Adopted) -> None:
    """Sequences and partitions bear their table's name; members of extensions, roles and our own tables are not there."""
    with closing(adopted.connect()) as connection:
        History(connection).create()
        names = read_names(connection)
        assert read_foreign(connection, names) != []
        kinds = {item.catalog for item in read_foreign(connection, names)}
    assert kinds == {"pg_authid", "pg_class", "pg_default_acl", "pg_namespace"}
    assert {name for name in names if name[1] == "public"} == {
        *(("relation", "public", name) for name in ("b", "orders", "log", "v", "schema_version")), ("type", "public", "mood"), ("type", "public", "email"),
        *(("function", "public", name) for name in ("f(integer)", "touch()", "stamp()")),
    }  # fmt: skip
    assert {name[2] for name in names if name[0] == "schema"} == {"crm", "public"}


def test_foreign_objects(adopted: Adopted) -> None:
    """What no file makes is named for people; public is foreign whoever makes it, and so are the history's tables."""
    made: set[Name] = {("relation", "public", "orders"), ("schema", "", "public"), ("function", "public", "f(integer)")}
    with closing(adopted.connect()) as connection:
        History(connection).create()
        found = {item.identity for item in read_foreign(connection, made)}
    assert {"table public.b", "view public.v", "schema public", "schema crm", "domain public.email", f"role {adopted.other}"} <= found
    assert {"table db_setup.history", "table db_setup.runs", "schema db_setup"} <= found
    assert not found & {"table public.orders", "sequence public.orders_id_seq", "function public.f(integer)", "table public.log_2024"}


def test_no_script_for_psql(adopted: Adopted, folder: Folder, cli: Cli) -> None:
    """A fenced file is not exported: psql would not watch it."""
    folder.write("001_a.sql", "DELETE FROM b;")
    adopted.fence("001_a.sql")
    done = cli("plan", "--sql", DATABASE_URL=adopted.url)
    assert (done.status, "001_a.sql was not applied when the database was adopted" in done.err) == (1, True)


@pytest.mark.parametrize(
    ("text", "tables"),
    [
        ("CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS x ON ONLY s.t (a)", ["s.t"]),
        ('CREATE INDEX /* c */ CONCURRENTLY ON "S"."t.x" USING gin (a)', ['"S"."t.x"']),
        ("DROP INDEX CONCURRENTLY IF EXISTS a, s.b CASCADE;", ["a", "s.b"]),
        ("REINDEX (VERBOSE) TABLE CONCURRENTLY a", ["a"]), ("REINDEX TABLE CONCURRENTLY cascade_log", ["cascade_log"]),
        ("REINDEX DATABASE d", None), ("REINDEX (CONCURRENTLY) SYSTEM d", None),
        ("VACUUM", None), ("VACUUM FULL;", None), ("VACUUM (FULL, ANALYZE)", None), ("VACUUM FULL FREEZE VERBOSE ANALYZE", None),
        ("VACUUM FULL a", ["a"]), ("VACUUM (FULL) a (x, y), b (z)", ["a", "b"]), ('vacuum verbose analyze "full"', ['"full"']),
        ("VACUUM(PARALLEL 2) only_a", ["only_a"]), ("VACUUM (ANALYZE) ONLY a", ["a"]),
        ("ALTER TABLE ONLY s.t DETACH PARTITION p CONCURRENTLY", ["s.t"]), ("DISCARD ALL", []), ("ALTER SYSTEM SET a = 1", None),
        ("DROP DATABASE d", None), ("CALL p()", None), ("DO 'BEGIN COMMIT; END'", None), ("COMMIT PREPARED 'x'", None),
        ("CLUSTER", None), ("VACUUM a; -- b", ["a"]),
    ],
)  # fmt: skip
def test_tables_of_a_bare_statement(text: str, tables: list[str] | None) -> None:
    """The tables that a statement outside any transaction is about are read from its text, or it may be about any."""
    assert tables_of(next(iter(split(text)))) == tables
