"""What the limited users may do: every maker of objects, every kind of object, every user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest
from migrator.errors import DbSetupError
from migrator.history import RunLock

from tests.plugins.secrets import Deploy, MakeSite, Site

KINDS = ("user", "table_creator", "readonly")
OBJECTS = """
CREATE TABLE {s}.{m}_t (id serial, n int GENERATED ALWAYS AS IDENTITY, v text);
CREATE TABLE {s}.{m}_p (k int) PARTITION BY RANGE (k);
CREATE TABLE {s}.{m}_p1 PARTITION OF {s}.{m}_p FOR VALUES FROM (0) TO (9);
CREATE VIEW {s}.{m}_v AS SELECT 1 AS x;
CREATE MATERIALIZED VIEW {s}.{m}_m AS SELECT 1 AS x;
CREATE SEQUENCE {s}.{m}_q;
CREATE FUNCTION {s}.{m}_f(int) RETURNS int LANGUAGE sql AS 'SELECT $1';
CREATE PROCEDURE {s}.{m}_r() LANGUAGE sql AS 'SELECT 1';
REVOKE EXECUTE ON ROUTINE {s}.{m}_f(int), {s}.{m}_r() FROM PUBLIC;
CREATE TYPE {s}.{m}_e AS ENUM ('a');
CREATE DOMAIN {s}.{m}_d AS int;
CREATE TYPE {s}.{m}_c AS (a int);
CREATE TYPE {s}.{m}_n AS RANGE (subtype = int);
REVOKE USAGE ON TYPE {s}.{m}_e FROM PUBLIC;
"""
TABLES, SEQUENCES, ROUTINES, TYPES = ("t", "p", "p1", "v", "m"), ("q", "t_id_seq"), ("f(int)", "r()"), ("e", "d", "c", "n")
RIGHTS = {
    "table": ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"),
    "sequence": ("USAGE", "SELECT", "UPDATE"),
    "function": ("EXECUTE",),
    "type": ("USAGE",),
    "schema": ("USAGE", "CREATE"),
}
WRITER = {
    "table": {"SELECT", "INSERT", "UPDATE", "DELETE"}, "sequence": {"USAGE", "SELECT", "UPDATE"},
    "function": {"EXECUTE"}, "type": {"USAGE"}, "schema": {"USAGE"},
}  # fmt: skip
EXPECTED: dict[str, dict[str, set[str]]] = {
    "user": WRITER,
    "table_creator": {**WRITER, "table": WRITER["table"] | {"REFERENCES"}, "schema": {"USAGE", "CREATE"}},
    "readonly": {"table": {"SELECT"}, "sequence": {"SELECT"}, "function": set(), "type": {"USAGE"}, "schema": {"USAGE"}},
}


def objects(maker: str, schema: str) -> str:
    """Return the SQL by which a maker makes one of everything in a schema."""
    return OBJECTS.format(m=maker, s=schema)


def everything(maker: str) -> str:
    """Return the SQL by which a maker makes one of everything in public and in a new schema of its own."""
    return f"CREATE SCHEMA {maker}_s;{objects(maker, 'public')}{objects(maker, f'{maker}_s')}"


def things(maker: str, schema: str) -> Iterator[tuple[str, str]]:
    """Yield class and name of everything that a maker has made in a schema."""
    for cls, names in (("table", TABLES), ("sequence", SEQUENCES), ("function", ROUTINES), ("type", TYPES)):
        yield from ((cls, f"{schema}.{maker}_{name}") for name in names)


def check(site: Site, *makers: str, owner: str = "") -> None:
    """Compare what the server says of every user, thing and right with what is expected; ``owner`` has them all."""
    for kind in KINDS:
        login = site.secret(kind)["username"]
        found = [
            (cls, name)
            for maker in makers
            for cls, name in [("schema", f"{maker}_s"), *things(maker, "public"), *things(maker, f"{maker}_s")]
        ]
        asked = " UNION ALL ".join(
            f"SELECT '{cls}', '{name}', '{right}', has_{cls}_privilege('{login}', '{name}', '{right}')"
            for cls, name in found
            for right in RIGHTS[cls]
        )
        for cls, name, right, has in site.database.query(asked):
            assert has == (kind == owner or right in EXPECTED[kind][cls]), (kind, cls, name, right)


def test_matrix(site: Site, deploy: Deploy) -> None:
    """After one deploy every user has exactly its rights on everything that each maker has made or makes later."""
    site.folder.write("001_early.sql", everything("early"))
    deploy()
    site.declare(*KINDS)
    site.folder.write("002_admin.sql", everything("admin"))
    site.folder.write("003_set_role.sql", f"SET ROLE {site.database.name}_table_creator;{everything('roled')}")
    deploy()
    check(site, "early", "admin")
    check(site, "roled", owner="table_creator")
    site.as_admin(everything("later"))
    site.as_user("table_creator", everything("created"))
    for again in (False, True):
        check(site, "early", "admin", "later")
        check(site, "roled", "created", owner="table_creator")
        if not again:
            assert deploy()["warnings"] == []


def test_rights_in_use(site: Site, deploy: Deploy) -> None:
    """The writer writes through serial and identity columns, the reader reads, and neither makes anything."""
    site.declare(*KINDS)
    deploy()
    site.as_user("table_creator", "CREATE TABLE t (id serial PRIMARY KEY, n int GENERATED ALWAYS AS IDENTITY, v text)")
    site.as_user("user", "INSERT INTO t (v) VALUES ('a'); UPDATE t SET v = 'b'")
    assert site.as_user("readonly", "SELECT id, n, v FROM t") == [(1, 1, "b")]
    site.as_admin("CREATE TABLE of_admin (id serial PRIMARY KEY)")
    site.as_user("table_creator", "CREATE TABLE child (id int REFERENCES of_admin); ALTER TABLE t ADD COLUMN w int")
    site.as_admin("ALTER TABLE t ADD COLUMN x int")
    for kind, sql in (
        ("readonly", "INSERT INTO t (v) VALUES ('c')"), ("readonly", "SELECT nextval('t_id_seq')"),
        ("user", "CREATE TABLE x (i int)"), ("user", "CREATE SCHEMA x"), ("user", "TRUNCATE t"),
        ("readonly", "CREATE TABLE x (i int)"), ("user", "ALTER TABLE t ADD COLUMN y int"),
        ("table_creator", "CREATE ROLE x"), ("user", f"SET ROLE {site.database.name}_table_creator"),
    ):  # fmt: skip
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            site.as_user(kind, sql)


@pytest.mark.parametrize("kind", KINDS)
def test_history_is_closed(site: Site, deploy: Deploy, kind: str) -> None:
    """Nobody but the owner sees or touches the schema db_setup, though its tables are the admin's like any other."""
    site.declare(*KINDS)
    site.folder.write("001_a.sql", "CREATE TABLE a (i int);")
    deploy()
    site.as_admin("CREATE TABLE db_setup.later (i int)")  # as a newer version of db_setup might
    deploy()
    for sql in ("SELECT * FROM db_setup.history", "DELETE FROM db_setup.runs", "CREATE TABLE db_setup.x (i int)"):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            site.as_user(kind, sql)
    login = site.secret(kind)["username"]
    for table in ("history", "runs", "later"):
        assert site.database.query(f"SELECT has_table_privilege('{login}', 'db_setup.{table}', 'SELECT,INSERT,UPDATE,DELETE')") == [(False,)]


def test_everybody_loses_what_only_users_should_have(site: Site, deploy: Deploy) -> None:
    """PUBLIC cannot create in public; where asked, it cannot connect either, and the users still can."""
    site.database.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
    site.declare(*KINDS)
    outsider = f"outsider_{site.database.name}"
    site.database.execute(f"CREATE ROLE {outsider} LOGIN PASSWORD 'p'")
    deploy()
    asked = f"SELECT has_schema_privilege('{outsider}', 'public', 'CREATE'), has_database_privilege('{outsider}', current_database(), 'CONNECT')"
    assert site.database.query(asked) == [(False, True)]
    deploy(REVOKE_PUBLIC_CONNECT="true")
    assert site.database.query(asked) == [(False, False)]
    for kind in KINDS:
        assert site.as_user(kind, "SELECT 1") == [(1,)]


def test_new_password_where_everybody_is_shut_out(site: Site, deploy: Deploy) -> None:
    """The users of a database that PUBLIC may not connect to are made in one deploy."""
    site.database.execute(f"REVOKE CONNECT ON DATABASE {site.database.name} FROM PUBLIC")
    site.declare(*KINDS)
    deploy()
    assert site.as_user("user", "SELECT 1") == [(1,)]


def test_objects_of_other_owners(site: Site, deploy: Deploy) -> None:
    """What a role that the admin is no member of owns is named in a warning; a member's objects are granted."""
    site.declare("user")
    mine, theirs = f"mine_{site.database.name}", f"theirs_{site.database.name}"
    site.database.execute(f"CREATE ROLE {mine}; CREATE ROLE {theirs}; GRANT {mine} TO {site.admin}")
    site.database.execute(f"CREATE TABLE mine (i int); ALTER TABLE mine OWNER TO {mine}; GRANT CREATE ON SCHEMA public TO {mine}")
    site.database.execute(f'CREATE TABLE "odd ""name" (i int); ALTER TABLE "odd ""name" OWNER TO {theirs}')
    (warning,) = deploy()["warnings"]
    assert f'what "{theirs}" owns: table public."odd ""name"; GRANT "{theirs}" TO' in warning
    site.database.execute(f"GRANT {theirs} TO {site.admin}")
    assert deploy()["warnings"] == []
    site.database.execute(f"SET ROLE {mine}; CREATE TABLE mine_later (i int)")
    assert site.as_user("user", 'SELECT count(*) FROM mine, mine_later, "odd ""name"') == [(0,)]


def test_listed_schemas(site: Site, deploy: Deploy) -> None:
    """With DB_SCHEMAS the users get what is in these schemas and nothing else, now or later."""
    site.declare(*KINDS, DB_SCHEMAS="app, public")
    site.folder.write("001_app.sql", "CREATE SCHEMA app; CREATE TABLE app.a (i int); CREATE SCHEMA hr; CREATE TABLE hr.pay (i int);")
    deploy()
    site.as_admin("CREATE TABLE app.b (i int); CREATE TABLE hr.b (i int); CREATE SCHEMA more; CREATE TABLE more.b (i int)")
    assert site.as_user("readonly", "SELECT count(*) FROM app.a, app.b") == [(0,)]
    for table in ("hr.pay", "hr.b", "more.b"):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            site.as_user("readonly", f"SELECT * FROM {table}")


def test_shorter_list_of_schemas(site: Site, deploy: Deploy) -> None:
    """What is listed no more is taken from the users; what a migration grants there on its own stays."""
    site.declare("user", "readonly")
    site.as_admin("CREATE SCHEMA app; CREATE SCHEMA hr; CREATE SCHEMA \"it's\"; CREATE TABLE app.a (i serial); CREATE TABLE hr.a (i serial)")
    site.as_admin("CREATE TABLE \"it's\".a (i int)")
    read = ("SELECT * FROM app.a", "SELECT * FROM hr.a", "SELECT * FROM \"it's\".a")

    def readable() -> list[bool]:
        found = []
        for sql in read:
            try:
                found.append(site.as_user("readonly", sql) == [])
            except psycopg2.errors.InsufficientPrivilege:
                found.append(False)
        return found

    for schemas, wanted in (
        ("", [True, True, True]), ("app, it's", [True, False, True]), ("app,hr", [True, True, False]),
        ("it's", [False, False, True]), ("", [True, True, True]), ("app", [True, False, False]),
    ):  # fmt: skip
        deploy(DB_SCHEMAS=schemas)
        assert readable() == wanted, schemas
    group = f"{site.database.name}_readonly"
    deploy({"action": "baseline", "target_revision": "none", "confirm": True}, DB_SCHEMAS="app")
    site.folder.write("001_a.sql", f"GRANT USAGE ON SCHEMA hr TO {group}; GRANT SELECT ON hr.a TO {group};")
    for _ in range(2):
        deploy(DB_SCHEMAS="app")
        assert readable() == [True, True, False]
    state = site.roles()
    deploy(DB_SCHEMAS="app")
    assert site.roles() == state


def test_list_of_schemas_later(site: Site, deploy: Deploy) -> None:
    """A list that comes later revokes what future objects of other schemas would have got."""
    site.declare("user")
    site.as_admin("CREATE SCHEMA app; CREATE SCHEMA hr")
    deploy()
    deploy(DB_SCHEMAS="app")
    site.as_admin("CREATE TABLE hr.pay (i int); CREATE TABLE app.a (i int)")
    assert site.as_user("user", "SELECT count(*) FROM app.a") == [(0,)]
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        site.as_user("user", "SELECT * FROM hr.pay")


def test_objects_of_extensions_are_left_alone(site: Site, deploy: Deploy) -> None:
    """What an extension has brought keeps the privileges that it came with."""
    available = site.database.query("SELECT name FROM pg_available_extensions WHERE name IN ('pg_stat_statements', 'hstore')")
    if not available:
        site.database.execute("CREATE EXTENSION plpgsql" if not site.database.query("SELECT FROM pg_extension") else "SELECT 1")
    for (name,) in available:
        site.database.execute(f"CREATE EXTENSION {name}")
    site.declare(*KINDS)
    assert deploy()["warnings"] == []
    assert site.database.query(
        "SELECT count(*) FROM pg_depend d JOIN pg_class c ON c.oid = d.objid WHERE deptype = 'e' AND relacl::text LIKE '%_readwrite%'"
    ) == [(0,)]


def test_migration_grants_to_the_roles(site: Site, deploy: Deploy) -> None:
    """The groups are there before the first migration runs, those without a login, too; what it grants stays."""
    site.declare("user")
    site.folder.write(
        "001_a.sql", f"CREATE TABLE a (i int); GRANT TRUNCATE ON a TO {site.database.name}_readwrite, {site.database.name}_readonly;"
    )
    deploy()
    deploy()
    site.as_user("user", "TRUNCATE a")


def test_two_databases_on_one_server(site: Site, deploy: Deploy, make_site: MakeSite) -> None:
    """The roles of one database have no rights in the other."""
    other = make_site("user")
    site.declare("user")
    site.as_admin("CREATE TABLE a (i int)")
    deploy()
    deploy(**other.environ)
    assert {row[1] for row in site.roles()}.isdisjoint(row[1] for row in other.roles())
    value = other.secret("user")
    connection = site.connect(value["username"], value["password"])
    with connection.cursor() as cursor, pytest.raises(psycopg2.errors.InsufficientPrivilege):
        cursor.execute("SELECT * FROM a")
    connection.close()


def test_operators_of_a_table_creator_are_not_found(site: Site, deploy: Deploy) -> None:
    """An operator that fits db_setup's queries better than PostgreSQL's own is never run with the admin's rights."""
    site.declare("table_creator")
    site.folder.write("001_a.sql", "CREATE TABLE a (i int);")
    deploy()
    site.as_user(
        "table_creator",
        "CREATE FUNCTION trap(oid, regclass) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'caught %', session_user; END $$; "
        "CREATE OPERATOR public.= (FUNCTION = trap, LEFTARG = oid, RIGHTARG = regclass)",
    )
    with pytest.raises(psycopg2.errors.RaiseException, match=f"caught {site.admin}"):
        site.as_admin("SELECT 1::oid = 'pg_class'::regclass")
    for event in ({}, {"action": "status"}, {"action": "plan"}, {"action": "rotate"}):
        assert deploy(event)["warnings"] == []
    assert deploy(DB_TABLE_CREATOR_SECRET_NAME="")["warnings"]


TRAPS = ("oid, regclass", "oid, int", "name, name", "text, text", "bigint, int", "name, text")


@pytest.mark.parametrize("files", [0, 1])
def test_no_query_of_a_run_finds_a_trap(site: Site, deploy: Deploy, files: int) -> None:
    """With and without a history, also while the run lock is held by somebody: no operator in public is ever run."""
    site.declare("table_creator")
    for number in range(files):
        site.folder.write(f"00{number}_a.sql", "CREATE TABLE a (i int);")
    deploy()
    for number, types in enumerate(TRAPS):
        left, right = types.split(", ")
        site.as_user(
            "table_creator",
            f"CREATE FUNCTION trap_{number}({types}) RETURNS boolean LANGUAGE plpgsql COST 0.000001 AS "
            "$$ BEGIN RAISE 'caught %', session_user; END $$; "
            f"CREATE OPERATOR public.= (FUNCTION = trap_{number}, LEFTARG = {left}, RIGHTARG = {right})",
        )
    with closing(site.login("table_creator")) as holder, holder.cursor() as cursor:
        cursor.execute(f"SELECT pg_advisory_lock({RunLock.KEY})")
        (warning,) = deploy({"action": "rotate"})["warnings"]
        assert "has the advisory lock of earlier versions of db_setup, and is no runner" in warning
    with closing(site.database.connect()) as runner, runner.cursor() as cursor:  # of an earlier version
        cursor.execute(f"SELECT pg_advisory_lock({RunLock.KEY})")
        with pytest.raises(DbSetupError, match="another runner has the run lock"):
            deploy({"action": "rotate"}, MIGRATION_TIMEOUT="2s")
    for event in ({}, {"action": "status"}, {"action": "plan"}, {"action": "rotate"}):
        assert deploy(event)["success"]


@pytest.mark.parametrize("made", ["VIEW schema_migrations AS SELECT 1 AS id, evil() AS migration_name",
                                  "TABLE schema_migrations AS SELECT 1 AS id, '001_a' AS migration_name"])
def test_an_old_history_is_believed_from_its_owner_only(site: Site, deploy: Deploy, made: str) -> None:
    """What a table creator makes under the name of the first generation's table is neither run nor believed."""
    site.declare("table_creator")
    deploy()
    site.as_user(
        "table_creator",
        "CREATE FUNCTION evil() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'caught %', session_user; END $$; "
        f"CREATE {made}",
    )
    site.folder.write("001_a.sql", "CREATE TABLE a (i int);")
    assert deploy(ADOPT="auto")["applied_migrations"] == ["001_a.sql"]


def test_overloaded_procedures(site: Site, deploy: Deploy) -> None:
    """Procedures and functions that differ in what they return only, or in kind, get their privileges one by one."""
    site.declare(*KINDS)
    new = site.database.major() >= 14  # before, a procedure had no OUT
    out, body = ("OUT a int", "SELECT 1") if new else ("INOUT a text", "SELECT a")
    site.as_admin(
        f"CREATE PROCEDURE p(IN a int) LANGUAGE sql AS 'SELECT 1'; CREATE PROCEDURE p({out}) LANGUAGE sql AS '{body}';"
        f"CREATE FUNCTION g(a int) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE PROCEDURE g({out}) LANGUAGE sql AS '{body}';"
        'CREATE PROCEDURE "p\'""("("a\'""" int, INOUT b text, VARIADIC c text[]) LANGUAGE sql AS \'SELECT $2\';'
        "CREATE AGGREGATE agg(int) (sfunc = int4pl, stype = int)"
    )
    assert deploy()["warnings"] == []
    acls = "SELECT oid::regprocedure::text, proacl::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY oid"
    rows = site.database.query(acls)
    assert len(rows) == 6
    assert [name for name, acl in rows if f"{site.database.name}_readwrite=X" not in acl] == []
    assert deploy()["message"].startswith("The database has tables, and there is nothing to apply.")
    site.as_admin("CREATE SCHEMA other")
    deploy(DB_SCHEMAS="other")
    assert [name for name, acl in site.database.query(acls) if "_readwrite=X" in acl] == []


def test_public_schema_and_database_of_somebody_else(site: Site, deploy: Deploy) -> None:
    """What everybody has and the admin cannot revoke is reported, with the statement that ends it."""
    name = site.database.name
    site.database.execute(
        f"ALTER DATABASE {name} OWNER TO postgres; GRANT ALL ON DATABASE {name} TO {site.admin} WITH GRANT OPTION;"
        "ALTER SCHEMA public OWNER TO postgres; GRANT CREATE ON SCHEMA public TO PUBLIC;"
        f"GRANT ALL ON SCHEMA public TO {site.admin} WITH GRANT OPTION"
    )
    site.declare("user")

    def reported() -> list[str]:
        return [text for text in deploy(REVOKE_PUBLIC_CONNECT="true")["warnings"] if "everybody" in text]

    assert [text.partition(":")[0] for text in reported()] == [
        'everybody has CREATE on SCHEMA public, by "postgres", who owns it; to end that, as "postgres"',
        f'everybody has CONNECT on DATABASE {name}, by "postgres", who owns it; to end that, as "postgres"',
    ]
    for text in reported():
        site.database.execute(text.partition('as "postgres": ')[2])
    assert reported() == []
    site.login("user").close()


def test_public_grant_of_somebody_else(site: Site, deploy: Deploy) -> None:
    """A grant to everybody by a role that may grant on is reported, with what the owner can do, and ends no deploy."""
    other = f"other_{site.database.name}"
    site.database.execute(f"CREATE ROLE {other}; GRANT CREATE ON SCHEMA public TO {other} WITH GRANT OPTION")
    site.database.execute(f"SET ROLE {other}; GRANT CREATE ON SCHEMA public TO PUBLIC; RESET ROLE; GRANT CREATE ON SCHEMA public TO PUBLIC")
    site.declare("user")
    (warning,) = deploy()["warnings"]
    assert f'everybody has CREATE on SCHEMA public, by the grant of "{other}"; to end that, as "' in warning
    site.as_admin(warning.partition('": ')[2])
    assert deploy()["warnings"] == []
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        site.as_user("user", "CREATE TABLE x (i int)")


@pytest.mark.parametrize("sql", ["GRANT USAGE ON SCHEMA public TO pg_monitor", "REVOKE ALL ON SCHEMA public FROM PUBLIC"])
def test_grants_on_public_are_no_drift(site: Site, deploy: Deploy, sql: str) -> None:
    """What a file grants on ``public`` is no drift, though before PostgreSQL 15 the scratch database's is not the admin's."""
    site.folder.write("001_a.sql", f"{sql};")
    deploy()
    body = deploy({"action": "verify"})
    assert (body["state"], body["differences"]) == ("up_to_date", [])
