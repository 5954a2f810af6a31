"""Limited users from secrets: how they are made, what is left alone, what is refused, what is reported."""

from __future__ import annotations

import json
import logging
import os
import re
import select
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg2
import pytest
from migrator.errors import DbSetupError, InvalidRequest, InvalidSetting, SecretError, UserRefused
from migrator.formatting import quoted
from moto.secretsmanager.models import secretsmanager_backends

from tests.plugins.databases import Database
from tests.plugins.runs import PRODUCT, Cli
from tests.plugins.secrets import ADMIN_PASSWORD, Deploy, MakeSite, Site, give_public

KINDS = ("user", "table_creator", "readonly")


def test_secret_is_what_rds_understands(site: Site, deploy: Deploy) -> None:
    """The secret holds the fields of RDS's JSON, from the admin's, and a user and password that log in."""
    site.declare("user")
    deploy()
    value = site.secret("user")
    password = value.pop("password")
    assert value == {
        "engine": "postgres", "host": site.database.parameters["host"], "port": 5432, "dbname": site.database.name,
        "username": f"{site.database.name}_user", "dbInstanceIdentifier": "shop-db",
    }  # fmt: skip
    assert len(password) >= 32
    assert site.as_user("user", "SELECT session_user::text, current_database()::text") == [(value["username"], value["dbname"])]


@pytest.mark.parametrize("text", ["{}", '{"proxy": "p.example", "n": {"a": [1]}}', '{"username": "", "password": ""}'])
def test_foreign_keys_stay(site: Site, deploy: Deploy, text: str) -> None:
    """What else a secret holds is still there after users were made and rotated."""
    site.client.create_secret(Name=f"{site.database.name}/user", SecretString=text)
    site.environ["DB_USER_SECRET_NAME"] = f"{site.database.name}/user"
    deploy()
    deploy({"action": "rotate"})
    theirs = {key: value for key, value in json.loads(text).items() if value}
    assert theirs.items() <= site.secret("user").items()
    site.login("user").close()


@pytest.mark.parametrize("variable", ["DB_PROXY", "DB_TABLE_CREATOR_SECRET_NAME"])
def test_table_creator_by_either_name(site: Site, deploy: Deploy, variable: str) -> None:
    """The table creator's secret has an old name and a clear one."""
    site.declare("table_creator")
    name = site.environ.pop("DB_TABLE_CREATOR_SECRET_NAME")
    deploy(**{variable: name})
    site.as_user("table_creator", "CREATE TABLE t (i int)")
    assert site.database.query("SELECT tableowner::text FROM pg_tables WHERE tablename = 't'") == [(f"{site.database.name}_table_creator",)]


def test_what_a_table_creator_makes_is_no_drift(site: Site, deploy: Deploy) -> None:
    """What the table creator has made is listed as made outside the files at each deploy, and is no drift of them."""
    site.declare("table_creator")
    site.folder.write("001_a.sql", "CREATE TABLE a (i int PRIMARY KEY);")
    deploy()
    trusted = int(site.database.query("SHOW server_version_num")[0][0]) >= 130000
    extension = "CREATE EXTENSION citext;" if trusted else ""
    site.as_user(
        "table_creator",
        "CREATE TABLE t (id serial PRIMARY KEY, a int REFERENCES a); CREATE INDEX ON t (a); COMMENT ON TABLE t IS 'x'; CREATE VIEW v AS SELECT 1 AS one; "
        "CREATE SCHEMA s; COMMENT ON SCHEMA s IS 'x'; CREATE TABLE s.u (i int); CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; GRANT SELECT ON t TO PUBLIC; "
        f"{extension} CREATE TYPE one AS ENUM ('a'); CREATE TYPE other AS ENUM ('a'); CREATE CAST (one AS other) WITH INOUT AS ASSIGNMENT",
    )
    made = ["cast public.one as public.other", "enum public.one", "enum public.other", *["extension citext"] * trusted, "function public.f()", "schema s", "table public.t", "table s.u", "view public.v"]
    for body in (deploy(VERIFY="true"), deploy({"action": "verify"})):
        assert (body["state"], body["success"], body["warnings"], body["differences"]) == ("up_to_date", True, [], [])
        assert sorted(body["made_outside"]) == made
    site.as_admin("CREATE TABLE by_hand (i int)")
    body = deploy(VERIFY="true")
    assert [item["identity"] for item in body["differences"]] == ["public.by_hand"]
    assert (body["state"], body["made_outside"] != []) == ("drifted", True)
    assert body["message"] == "Nothing to do: all files are applied. But the database is not what they build."


def test_no_users(site: Site, deploy: Deploy) -> None:
    """Without a secret for users, or with CREATE_USERS=false, no role is made and no secret is touched."""
    site.folder.write("001_a.sql", "CREATE TABLE a (i int);")
    deploy()
    variables = site.declare("user")
    deploy(CREATE_USERS="false")
    assert site.roles() == []
    assert site.versions("user") == {}
    del site.environ[next(iter(variables))]
    deploy(CREATE_USERS="false", DB_USER_SECRET_NAME="no such secret")


def test_users_cost_nothing_where_there_are_none(site: Site) -> None:
    """A run with nothing to do and no user declared loads neither the package users nor the client of AWS."""
    program = (
        "import sys, initializer\ninitializer.handler({}, None)\n"
        "assert not {'migrator.users', 'migrator.database.secrets_manager'} & set(sys.modules)"
    )
    environ = {**os.environ, "DATABASE_URL": site.database.url, "MIGRATIONS_DIR": site.environ["MIGRATIONS_DIR"]}
    subprocess.run([sys.executable, "-c", program], cwd=PRODUCT, env=environ, check=True)


def test_secret_that_names_another_place(site: Site, deploy: Deploy) -> None:
    """Working credentials with the address of another server are left alone and named; a rotation writes the address."""
    site.declare("user")
    deploy()
    put({**site.secret("user"), "host": "old.example"})(site)
    versions = site.versions("user")
    (warning,) = deploy()["warnings"]
    assert "names another host; rotate writes" in warning
    assert site.versions("user") == versions
    deploy({"action": "rotate"})
    assert deploy()["warnings"] == []


def test_nothing_is_written_when_a_deploy_is_not_to_apply(site: Site, deploy: Deploy) -> None:
    """AUTO_MIGRATE=false, plan and status make no user; they say what would be made."""
    site.declare(*KINDS)
    body = deploy(AUTO_MIGRATE="false")
    assert "users are left as they are" in body["message"]
    for event in ({"action": "plan"}, {"action": "status"}, {"dry_run": True}):
        body = deploy(event)
        assert f'Users to be made: "{site.database.name}_user" (user), ' in body["message"]
    assert site.roles() == []
    assert site.versions("user") == {}


def test_database_that_is_ahead(site: Site, deploy: Deploy) -> None:
    """An older package, as in a stack rollback, leaves users and passwords as they are."""
    file = site.folder.write("001_a.sql", "CREATE TABLE a (i int);")
    newer = site.folder.write("002_b.sql", "CREATE TABLE b (i int);")
    deploy()
    site.declare("user")
    newer.unlink()
    body = deploy()
    assert file.exists()
    assert body["state"] == "ahead"
    assert [text for text in body["warnings"] if "users are left as they are" in text]
    assert site.roles() == []


def test_users_made_before_a_migration_failed_stay(site: Site, deploy: Deploy) -> None:
    """A migration that fails takes no user with it, and the next deploy goes on."""
    site.declare("user")
    bad = site.folder.write("001_a.sql", "SELECT 1/0;")
    with pytest.raises(DbSetupError, match="division by zero"):
        deploy()
    before = site.secret("user")
    bad.write_text("CREATE TABLE a (i int);")
    deploy()
    assert site.secret("user") == before
    assert site.as_user("user", "SELECT * FROM a") == []


def test_password_changed_in_the_database(site: Site, deploy: Deploy) -> None:
    """Credentials that do not log in any more are replaced, and the user is the same."""
    site.declare("user")
    deploy()
    before = site.secret("user")
    site.database.execute(f"ALTER ROLE {before['username']} PASSWORD 'other' VALID UNTIL '2001-01-01'")
    assert "Passwords set" in deploy()["message"]
    after = site.secret("user")
    assert after["username"] == before["username"]
    assert after["password"] != before["password"]
    site.login("user").close()


@pytest.mark.parametrize("change", ["DROP OWNED BY {u}; DROP ROLE {u}", "ALTER ROLE {u} NOLOGIN", "REVOKE {g} FROM {u}"])
def test_roles_come_back(site: Site, deploy: Deploy, change: str) -> None:
    """A login that was dropped, locked or thrown out of its group is what it was after the next deploy."""
    site.declare("user")
    site.folder.write("001_a.sql", "CREATE TABLE a (i int);")
    deploy()
    names = {"u": f"{site.database.name}_user", "g": f"{site.database.name}_readwrite"}
    site.database.execute(change.format_map(names))
    deploy()
    assert site.as_user("user", "SELECT * FROM a") == []


def test_first_version_is_made_current_by_the_service(site: Site, deploy: Deploy) -> None:
    """A version that is staged and current at once, as the first one is, is made to work, and made once."""
    site.declare("user")
    secret = {"username": f"{site.database.name}_user", "password": "staged-and-current-4711"}
    made = site.client.put_secret_value(
        SecretId=f"{site.database.name}/user", SecretString=json.dumps(secret), VersionStages=["AWSCURRENT", "AWSPENDING"]
    )
    deploy()
    assert site.versions("user") == {made["VersionId"]: ["AWSCURRENT"]}
    site.login("user").close()


def test_user_of_an_earlier_tool(site: Site, deploy: Deploy) -> None:
    """Credentials of a user that is not ours are replaced, the user stays, and a warning names it."""
    old = f"app_{site.database.name}_8f3a"
    site.database.execute(f"CREATE ROLE {old} LOGIN PASSWORD 'old'")
    site.client.create_secret(Name=f"{site.database.name}/user", SecretString=json.dumps({"username": old, "password": "old"}))
    body = deploy(DB_USER_SECRET_NAME=f"{site.database.name}/user")
    assert [text for text in body["warnings"] if f'"{old}"' in text]
    site.login("user").close()
    site.connect(old, "old").close()
    assert deploy(DB_USER_SECRET_NAME=f"{site.database.name}/user")["warnings"] == []


def test_rotation_there_and_back(site: Site, deploy: Deploy) -> None:
    """A rotation goes to the other login; the old one works until the next rotation, and both own what either made."""
    site.declare("table_creator", "user")
    deploy()
    first = site.secret("table_creator")
    site.as_user("table_creator", "CREATE TABLE t (i int)")
    body = deploy({"action": "rotate", "user": "table_creator"})
    second = site.secret("table_creator")
    assert body["message"] == f'Passwords set: "{second["username"]}" (table_creator).'
    assert (first["username"], second["username"]) == (f"{site.database.name}_creator", f"{site.database.name}_creator_b")
    site.connect(first["username"], first["password"]).close()
    site.as_user("table_creator", "ALTER TABLE t ADD COLUMN j int")
    assert len(site.versions("user")) == 1
    deploy({"action": "rotate", "user": second["username"]})
    third = site.secret("table_creator")
    assert third["username"] == first["username"]
    site.connect(second["username"], second["password"]).close()
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        site.connect(first["username"], first["password"])
    runs = site.database.query("SELECT action, outcome FROM db_setup.runs ORDER BY id DESC LIMIT 2")
    assert runs == [("rotate", "succeeded")] * 2


def test_rotation_before_any_deploy(site: Site, deploy: Deploy) -> None:
    """A rotation of users that are not there yet makes them, with their privileges, and keeps the history closed."""
    site.declare("user")
    site.as_admin("CREATE TABLE a (i int)")
    deploy({"action": "rotate"})
    assert site.as_user("user", "SELECT count(*) FROM a") == [(0,)]
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        site.as_user("user", "SELECT * FROM db_setup.runs")


@pytest.mark.parametrize(
    ("event", "environ", "error"),
    [
        ({"user": "nobody"}, {}, 'no user "nobody" has a secret'),
        ({"user": "readonly"}, {}, 'no user "readonly" has a secret'),
        ({}, {"CREATE_USERS": "false"}, "CREATE_USERS=false"),
        ({}, {"DB_USER_SECRET_NAME": ""}, "no user has a secret"),
    ],
)
def test_rotation_of_nobody(
    site: Site, deploy: Deploy, event: dict[str, str], environ: dict[str, str], error: str
) -> None:
    """A rotation of a user that is not declared is refused with those that are."""
    site.declare("user")
    with pytest.raises(InvalidRequest, match=error):
        deploy({"action": "rotate", **event}, **environ)
    assert site.roles() == []


def test_unconfigured_roles_are_named_and_can_be_dropped(site: Site, deploy: Deploy) -> None:
    """Users that are no longer configured stay, work, and are named by each deploy and status; README.md has how to drop them."""
    variables = site.declare(*KINDS)
    site.folder.write("001_a.sql", "CREATE TABLE a (i int);")
    deploy()
    site.as_user("table_creator", "CREATE TABLE t (i int)")
    assert deploy()["warnings"] == []
    del site.environ["DB_READONLY_SECRET_NAME"]
    for event in ({}, {"action": "status"}, {"action": "plan"}):
        (warning,) = deploy(event)["warnings"]
        assert warning.startswith(f'no longer configured, still exists: "{site.database.name}_reader"; README.md, "Users"')
    site.login("readonly").close()
    for name in variables:
        site.environ.pop(name, None)
    deploy()
    shut_out, drop = re.findall(r"`((?:ALTER ROLE|GRANT) shop_reader (?:NOLOGIN|TO)[^`]*)`", (PRODUCT / "README.md").read_text("utf-8"))
    for role in [row[1] for row in site.roles()]:
        site.as_admin(shut_out.replace("shop_reader", role))
        site.as_admin(drop.replace("shop_reader", role))
    assert site.roles() == []
    assert deploy()["warnings"] == []
    assert site.as_admin("SELECT count(*) FROM t") == [(0,)]


def test_users_are_not_said_to_be_out_of_use(site: Site, deploy: Deploy) -> None:
    """A run that knows the database and no user says nothing against the users that applications log in as."""
    variables = site.declare(*KINDS)
    deploy()
    for name in variables:
        site.environ.pop(name, None)
    for event in ({"action": "status"}, {"action": "plan"}):
        (warning,) = deploy(event)["warnings"]
        assert warning.startswith("made by earlier deploys, and not configured here: ")
        assert not re.search(r"\bDROP\b|no longer", warning)


def test_another_group_of_a_user_is_named(site: Site, deploy: Deploy) -> None:
    """A user that another tool has put into a further group is no secret."""
    site.declare("user")
    deploy()
    site.database.execute(f"GRANT pg_monitor TO {site.database.name}_user")
    assert deploy()["warnings"] == [
        f'"{site.database.name}_user" is also a member of "pg_monitor", and has the privileges of it'
    ]


def put(value: object) -> Any:
    """Return what makes the user's secret hold a value."""
    text = value if isinstance(value, str) else json.dumps(value)
    return lambda site: site.client.put_secret_value(SecretId=f"{site.database.name}/user", SecretString=text)


def sql(text: str) -> Any:
    """Return what runs a statement as the superuser; {n} is the database's name."""
    return lambda site: site.database.execute(text.format(n=site.database.name, a=site.admin))


REFUSALS: list[tuple[str, Any, dict[str, str], type[DbSetupError], str]] = [
    ("missing", None, {"DB_USER_SECRET_NAME": "none/such"}, SecretError, "none/such refuses describe_secret: ResourceNotFound"),
    ("not JSON", put("hunter2-canary"), {}, SecretError, "/user is not JSON"),
    ("no object", put('["hunter2-canary"]'), {}, SecretError, "/user is not a JSON object"),
    ("too long", put({"x": "y" * 65500}), {}, SecretError, "/user would be 65,"),
    ("binary", lambda site: site.client.put_secret_value(SecretId=f"{site.database.name}/user", SecretBinary=b"x"), {}, SecretError, "/user is binary"),
    ("being deleted", lambda site: site.client.delete_secret(SecretId=f"{site.database.name}/user"), {}, SecretError, "scheduled for deletion"),
    ("of the admin", None, {"DB_USER_SECRET_NAME": "{n}/admin"}, SecretError, "is the admin's own"),
    ("with the admin's name", lambda site: put({"username": site.admin})(site), {}, SecretError, "holds the name of the admin"),
    ("twice", None, {"DB_READONLY_SECRET_NAME": "{n}/user"}, UserRefused, "named for user and for readonly"),
    ("two names", None, {"DB_PROXY": "a", "DB_TABLE_CREATOR_SECRET_NAME": "b"}, InvalidSetting, "name two secrets"),
    ("superuser", sql("CREATE ROLE {n}_user SUPERUSER"), {}, UserRefused, '_user" already exists, and may do more'),
    ("CREATEROLE", sql("CREATE ROLE {n}_readwrite CREATEROLE"), {}, UserRefused, '_readwrite" already exists, and may do more'),
    ("owner", sql("CREATE ROLE {n}_user; CREATE SCHEMA x AUTHORIZATION {n}_user"), {}, UserRefused, "owns objects"),
    ("login as group", sql("CREATE ROLE {n}_readwrite LOGIN"), {}, UserRefused, "can log in"),
    ("in a powerful role", sql("CREATE ROLE {n}_user LOGIN; GRANT pg_execute_server_program TO {n}_user"), {}, UserRefused, 'is a member of "pg_execute'),
    ("group in a role", sql("CREATE ROLE {n}_readonly; CREATE ROLE {n}_big CREATEROLE; GRANT {n}_big TO {n}_readonly"), {}, UserRefused, 'is a member of "'),
    ("unexpected member", sql("CREATE ROLE {n}_readwrite; CREATE ROLE {n}_x LOGIN IN ROLE {n}_readwrite"), {}, UserRefused, 'has the members "'),
    ("unexpected member of a login", sql("CREATE ROLE {n}_user_b; CREATE ROLE {n}_x LOGIN IN ROLE {n}_user_b"), {}, UserRefused, 'has the members "'),
    ("admin may not", sql("ALTER ROLE {a} NOCREATEROLE"), {}, UserRefused, "may not create users"),
    ("no schema", None, {"DB_SCHEMAS": "public,nowhere"}, UserRefused, 'no schema "nowhere"'),
    ("admin's name", None, {"DB_USER_LOGIN": "boss_{n}"}, InvalidSetting, "is the admin's"),
    ("one name twice", None, {"DB_USER_LOGIN": "{n}_readwrite"}, InvalidSetting, "is also that of DB_USER_ROLE"),
    ("reserved", None, {"DB_USER_LOGIN": "pg_app"}, InvalidSetting, '"pg_app" is reserved'),
    ("of RDS", None, {"DB_USER_ROLE": "rdsadmin"}, InvalidSetting, '"rdsadmin" is reserved'),
    ("too long a name", None, {"DB_USER_LOGIN": "u" * 64}, InvalidSetting, "is 64 bytes long"),
    ("too long with _b", None, {"DB_USER_LOGIN": "u" * 62}, InvalidSetting, "is 64 bytes long"),
    ("too many bytes", None, {"DB_USER_ROLE": "ü" * 32}, InvalidSetting, "is 64 bytes long"),
    ("both ways", None, {"DB_IAM_USERS": "user"}, InvalidSetting, "an IAM user has no password"),
    ("unknown kind", None, {"DB_IAM_USERS": "root"}, InvalidSetting, 'DB_IAM_USERS names "root"'),
]


@pytest.mark.parametrize(("spoil", "environ", "error", "text"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS])
def test_refused_before_anything_is_changed(
    site: Site, deploy: Deploy, spoil: Any, environ: dict[str, str], error: type[DbSetupError], text: str
) -> None:
    """What cannot be used is refused by name before a migration runs, and neither roles nor secrets are changed."""
    site.declare("user")
    site.folder.write("001_a.sql", "CREATE TABLE a (i int);")
    if spoil is not None:
        spoil(site)
    before = site.roles(), site.versions("user")
    given = {name: value.format(n=site.database.name) for name, value in environ.items()}
    with pytest.raises(error, match=re.escape(text)):
        deploy({"action": "plan"}, **given)
    with pytest.raises(DbSetupError) as caught:
        deploy(**given)
    assert isinstance(caught.value, error)
    assert text in str(caught.value)
    assert caught.value.fix
    assert "canary" not in str(caught.value)
    assert (site.roles(), site.versions("user")) == before
    assert site.database.query("SELECT to_regclass('a')::text, to_regclass('db_setup.history')::text") == [(None, None)]


def test_denied_secret(site: Site, deploy: Deploy, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that cannot be reached for the user's secret changes nothing."""
    site.declare("user")
    url = f"postgresql://{site.admin}:{ADMIN_PASSWORD}@/{site.database.name}?host={site.database.parameters['host']}"
    with pytest.raises(SecretError, match=f"cannot be reached for {site.database.name}/user") as caught:
        deploy(DATABASE_URL=url, AWS_ENDPOINT_URL_SECRETS_MANAGER="http://127.0.0.1:1", AWS_MAX_ATTEMPTS="1")
    assert "VPC endpoint" in caught.value.fix
    assert site.roles() == []


@pytest.mark.parametrize("attributes", ["SUPERUSER", "CREATEROLE"])
def test_other_admins(make_site: MakeSite, deploy: Deploy, attributes: str) -> None:
    """A superuser, or an admin with CREATEROLE only, makes the same users; by a URL as well as by a secret."""
    site = make_site(*KINDS, attributes=attributes)
    deploy(**site.environ)
    assert deploy(**site.environ)["warnings"] == []
    url = f"postgresql://{site.admin}:{ADMIN_PASSWORD}@/{site.database.name}?host={site.database.parameters['host']}"
    deploy({"action": "rotate"}, **{**site.environ, "DATABASE_URL": url})
    site.as_user("table_creator", "CREATE TABLE t (id serial)")
    site.as_user("user", "INSERT INTO t DEFAULT VALUES")
    assert site.as_user("readonly", "SELECT * FROM t") == [(1,)]


def test_role_of_another_database(site: Site, deploy: Deploy, make_site: MakeSite) -> None:
    """A name that was set for two databases is refused in the second, while the first is there."""
    other = make_site("user")
    site.declare("user", DB_USER_LOGIN=f"app_{site.database.name}")
    deploy()
    with pytest.raises(UserRefused, match=f'was made by db_setup for database "{site.database.name}"'):
        deploy(**{**other.environ, "DB_USER_LOGIN": f"app_{site.database.name}"})


def test_admin_without_the_database(site: Site, deploy: Deploy) -> None:
    """What the server refuses the admin is reported with the statement and what the admin lacks."""
    site.declare("user")
    site.database.execute(
        f"ALTER DATABASE {site.database.name} OWNER TO postgres; REVOKE CONNECT ON DATABASE {site.database.name} FROM PUBLIC;"
        f"GRANT CREATE, CONNECT ON DATABASE {site.database.name} TO {site.admin}"
    )
    with pytest.raises(DbSetupError, match="the server ignored: GRANT CONNECT ON DATABASE") as caught:
        deploy()
    assert caught.value.fix
    assert site.versions("user") == {}


def test_schema_that_a_pending_file_makes(site: Site, deploy: Deploy) -> None:
    """A listed schema may be made by the migrations of the same deploy; if they do not, the deploy says so."""
    site.declare("user", DB_SCHEMAS="app")
    file = site.folder.write("001_a.sql", "CREATE SCHEMA application;")
    with pytest.raises(UserRefused, match='no schema "app"'):
        deploy()
    file.unlink()
    site.database.execute("DROP SCHEMA db_setup CASCADE; DROP SCHEMA application")
    site.folder.write("001_a.sql", "CREATE SCHEMA app; CREATE TABLE app.t (i int);")
    deploy()
    assert site.as_user("user", "SELECT * FROM app.t") == []


HOSTILE = ['a"; DROP TABLE t; --', "it's", 'back\\slash"', "ünï ✓", "UPPER case", "$$", "%s%%", "a\nb", "u" * 61]


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_hostile_names(site: Site, deploy: Deploy, name: str) -> None:
    """Names with quotes and worse are quoted right wherever they go, and never run."""
    site.as_admin("CREATE TABLE t (i int)")
    role = f"{site.database.name}{name}"[-61:]
    site.declare("user", DB_USER_LOGIN=role, DB_USER_ROLE=f"g{role}"[:60], DB_TABLE_CREATOR_ROLE=f"c{role}"[:60])
    site.as_admin('CREATE SCHEMA "sch""; --"; CREATE TABLE "sch""; --"."ta\'b\\le" (i int)')
    assert deploy()["warnings"] == []
    deploy({"action": "rotate"})
    assert site.secret("user")["username"] == f"{role.strip()}_b"
    assert site.as_user("user", 'SELECT count(*) FROM t, "sch""; --"."ta\'b\\le"') == [(0,)]
    assert "Passwords" not in deploy()["message"]
    variables = {"DB_USER_SECRET_NAME": "", "DB_READONLY_SECRET_NAME": site.environ["DB_USER_SECRET_NAME"]}
    (warning,) = [text for text in deploy({"action": "status"}, **variables)["warnings"] if "still exists" in text]
    site.as_admin(warning.partition("which LOGIN undoes: ")[2])
    with pytest.raises(psycopg2.OperationalError, match="not permitted to log in"):
        site.login("user").close()


@pytest.mark.parametrize("field", ["username", "password", "dbname", "others"])
def test_hostile_fields(site: Site, deploy: Deploy, field: str) -> None:
    """Whatever a user's secret holds in a field, a deploy replaces it where it must, or refuses another database."""
    site.declare("user")
    deploy()
    good = site.secret("user")
    fields = [field] if field in good else ["engine", "host", "port", "dbInstanceIdentifier", "more"]
    for bad in ("'; DROP TABLE t; --\"", "a\x00b", "ü" * 70, "\ud800", "", 5, None, ["x"], "x" * 64):
        put({**good, **dict.fromkeys(fields, bad)})(site)
        if field == "dbname" and isinstance(bad, str) and bad:
            with pytest.raises(UserRefused, match="is for the database"):
                deploy()
            continue
        deploy()
        if field in ("username", "password"):
            assert {**site.secret("user"), "password": ""} == {**good, "password": ""}, bad
        site.login("user").close()
    assert len(site.roles()) == 4


def test_hostile_database(site: Site, deploy: Deploy) -> None:
    """A database's own name may be anything; the roles that derive from it are quoted."""
    name = f"{site.database.name}\"; --é'; schemas: a"
    site.database.execute(f"CREATE DATABASE {quoted(name)} OWNER {site.admin} TEMPLATE template0")
    site.declare("user")
    deploy(DB_NAME=name)
    value = site.secret("user")
    assert (value["dbname"], value["username"]) == (name, f"{name}_user")
    deploy(DB_NAME=name)
    parameters = {**site.database.parameters, "dbname": name, "user": value["username"], "password": value["password"]}
    psycopg2.connect(psycopg2.extensions.make_dsn(**parameters)).close()


def sql_in(advice: str) -> str:
    """Return the statements with which a fix or a warning ends."""
    return advice[re.search("GRANT|REVOKE|ALTER|COMMENT", advice).start() :]  # type: ignore[union-attr]


def test_statements_in_advice_can_be_run(site: Site, deploy: Deploy, password_server: Any) -> None:
    """Every statement that a fix or a warning shows is valid where the database, its admin and its owners have hyphens."""
    name, admin, other = (f"{site.database.name}-{each}" for each in ("my-shop", "app-admin", "other-owner"))
    site.database.execute(f"CREATE ROLE {quoted(admin)} LOGIN PASSWORD 'p'; CREATE ROLE {quoted(other)}")
    site.database.execute(f"CREATE DATABASE {quoted(name)} OWNER {quoted(admin)} TEMPLATE template0")
    value = site.secret("admin")
    site.client.create_secret(Name=f"{name}/admin", SecretString=json.dumps({**value, "username": admin, "password": "p", "dbname": name}))
    shop = Database(password_server, name)
    give_public(shop, admin)
    shop.execute(
        f"CREATE ROLE {quoted(f'{name}_readwrite')}; CREATE TABLE t (i int); ALTER TABLE t OWNER TO {quoted(other)};"
        f"GRANT CREATE ON SCHEMA public TO {quoted(other)} WITH GRANT OPTION; SET ROLE {quoted(other)};"
        "GRANT CREATE ON SCHEMA public TO PUBLIC"
    )
    site.declare("user", "readonly", DB_SECRET_NAME=f"{name}/admin")
    fixes = 0
    with pytest.raises(UserRefused, match="may not create users"):
        deploy()
    while True:
        try:
            warnings = deploy()["warnings"]
            break
        except UserRefused as error:
            shop.execute(sql_in(error.fix))
            fixes += 1
    assert fixes == (2 if shop.major() >= 16 else 1)
    owned, *_ = [text for text in warnings if f"what {quoted(other)} owns" in text]
    assert f"GRANT {quoted(other)} TO {quoted(admin)}, and" in owned
    for text in warnings:
        shop.execute(sql_in(text.partition(", and the next run")[0]))
    assert deploy()["warnings"] == []
    (warning,) = deploy(DB_READONLY_SECRET_NAME="")["warnings"]
    shut_out = f"{name}_reader"
    assert quoted(shut_out) in warning
    shop.execute(warning.partition("which LOGIN undoes: ")[2])
    assert shop.query("SELECT rolcanlogin FROM pg_roles WHERE rolname = %s", shut_out) == [(False,)]


def test_canary(
    site: Site, deploy: Deploy, password_server: Any, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """No password is in the server's log, its views, our output at any level, an error, an answer or the history."""
    caplog.set_level(logging.DEBUG)
    for name in ("botocore", "boto3", "urllib3"):
        caplog.set_level(logging.NOTSET, logger=name)
    site.declare(*KINDS)
    shown: list[str] = []

    def say(event: object = None, **environ: str) -> None:
        try:
            shown.append(json.dumps(deploy(event, **environ)))
        except DbSetupError as error:
            shown.extend([str(error), repr(error), repr(error.__cause__), repr(error.__context__)])

    say()
    say({"action": "rotate"})
    login = site.secret("user")["username"]
    site.database.execute(f"ALTER ROLE {login} PASSWORD 'CANARY-other'")
    say()
    put({**site.secret("user"), "password": "CANARY-wrong"})(site)
    say()
    say(AWS_ENDPOINT_URL_SECRETS_MANAGER="http://127.0.0.1:1", AWS_MAX_ATTEMPTS="1")
    put("CANARY-text")(site)
    say()
    put({"x": "CANARY" + "y" * 65500})(site)
    say({"action": "rotate"})
    put({"username": site.admin, "password": "CANARY-admin"})(site)
    say()
    say(DB_NAME="nowhere")
    with closing(site.database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT query FROM pg_stat_activity UNION ALL SELECT runs::text FROM db_setup.runs")
        shown += [str(row) for row in cursor.fetchall()]
        cursor.execute("SHOW shared_preload_libraries")
        if cursor.fetchall() == [("pg_stat_statements",)]:  # it came with this server
            cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements; SELECT query FROM pg_stat_statements")
            shown += [query for (query,) in cursor.fetchall()]
            assert any("COMMENT ON ROLE" in query for query in shown)
    shown += [caplog.text, *capsys.readouterr(), password_server.log.read_text(errors="replace")]
    everything = "\n".join(shown).replace("ALTER ROLE " + login + " PASSWORD 'CANARY-other'", "")
    assert "scram" in everything.lower()
    passwords = {ADMIN_PASSWORD, "CANARY"}
    for kind in KINDS[1:]:
        passwords |= {site.secret(kind, stage)["password"] for stage in ("AWSCURRENT", "AWSPREVIOUS")}
    lines = [line for line in everything.splitlines() if "CREATE ROLE boss_" not in line]  # the tests' own
    assert [password for password in passwords for line in lines if password in line] == []


def test_iam_user(site: Site, deploy: Deploy) -> None:
    """An IAM user has no password, is in rds_iam and in its group; where there is no rds_iam, a warning says so."""
    site.folder.write("001_a.sql", "CREATE TABLE a (i int);")
    (warning,) = deploy(DB_IAM_USERS="readonly")["warnings"]
    assert "no role rds_iam" in warning
    login = f"{site.database.name}_reader"
    site.database.execute(f"CREATE ROLE rds_iam; GRANT rds_iam TO {site.admin} WITH ADMIN OPTION; ALTER ROLE {login} PASSWORD 'p'")
    try:
        assert deploy(DB_IAM_USERS="readonly")["warnings"] == []
        state = site.roles()
        assert deploy(DB_IAM_USERS="readonly")["message"] == "Nothing to do: the database is up to date."
        assert site.roles() == state
        assert site.database.query(f"SELECT pg_has_role('{login}', 'rds_iam', 'USAGE'), has_table_privilege('{login}', 'a', 'SELECT')") == [(True, True)]
        assert site.database.query(f"SELECT rolpassword FROM pg_authid WHERE rolname = '{login}'") == [(None,)]
        site.declare("readonly")
        deploy()
        site.login("readonly").close()
        assert site.database.query(f"SELECT pg_has_role('{login}', 'rds_iam', 'MEMBER')") == [(False,)]
    finally:
        site.database.execute("DROP ROLE rds_iam")


@contextmanager
def loopback(site: Site) -> Iterator[str]:
    """Let the server be reached at a port of this machine, and yield the port."""

    class Forward(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.socket(socket.AF_UNIX) as server:
                server.connect(f"{site.database.parameters['host']}/.s.PGSQL.5432")
                other = {self.request: server, server: self.request}
                while ready := select.select(list(other), [], [])[0]:
                    data = ready[0].recv(65536)
                    if not data:
                        return
                    other[ready[0]].sendall(data)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Forward) as listener:
        thread = threading.Thread(target=listener.serve_forever)
        thread.start()
        yield str(listener.server_address[1])
        listener.shutdown()
        thread.join()


def test_runner_logs_in_by_iam(site: Site, deploy: Deploy) -> None:
    """With DB_IAM_AUTH the runner sends a signed token as its password, whatever the secret holds."""
    with loopback(site) as port:
        place = {"DB_IAM_AUTH": "true", "DB_HOST": "127.0.0.1", "DB_PORT": port}
        with pytest.raises(DbSetupError, match=f'password authentication failed for user "{site.admin}"') as caught:
            deploy(**place)
        assert "X-Amz" not in str(caught.value)
        assert deploy(**place, DB_SECRET_NAME="", DB_NAME=site.database.name, DB_USER="postgres")["state"] == "empty"
    with pytest.raises(InvalidSetting, match="the host is a socket"):
        deploy(DB_IAM_AUTH="true")


def test_rotate_on_the_command_line(site: Site, cli: Cli) -> None:
    """The command asks a person first; where nobody is there to ask, it wants --yes."""
    site.declare("user")
    given = {**site.environ, "DATABASE_URL": ""}
    refused = cli("rotate", **given)
    assert (refused.status, "add --yes" in refused.err) == (2, True)
    assert site.roles() == []
    done = cli("rotate", "user", "--yes", **given)
    assert done.status == 0, done.err
    assert done.out.splitlines() == [f'Passwords set: "{site.database.name}_user" (user).', "State: empty."]
    site.login("user").close()


def test_event_that_names_another_secret(site: Site, deploy: Deploy, make_site: MakeSite) -> None:
    """A run on the database of another secret leaves the users' secrets alone and says so; it does not rotate."""
    other = make_site()
    site.declare("user")
    deploy()
    before = site.secret("user"), site.versions("user")
    event = {"secret_name": f"{other.database.name}/admin"}
    (warning,) = deploy(event)["warnings"]
    assert "users are left as they are" in warning
    assert other.roles() == []
    with pytest.raises(InvalidRequest, match="names a secret other than DB_SECRET_NAME"):
        deploy({**event, "action": "rotate"})
    assert (site.secret("user"), site.versions("user")) == before
    assert deploy({"secret_name": site.environ["DB_SECRET_NAME"]})["warnings"] == []


@pytest.mark.parametrize(("change", "text"), [
    ({"dbname": "elsewhere"}, 'is for the database "elsewhere"'),
    ({"dbname": "elsewhere", "username": "stranger"}, 'is for the database "elsewhere"'),
    ({"host": "other.example", "password": "CANARY-5"}, "is for the host other.example, and does not log in here"),
])  # fmt: skip
def test_secret_of_another_database(site: Site, deploy: Deploy, change: dict[str, str], text: str) -> None:
    """Credentials of another database, or of another host and no use here, are only overwritten by a rotation."""
    site.declare("user")
    deploy()
    put({**site.secret("user"), **change})(site)
    before = site.versions("user")
    for event in ({}, {"action": "plan"}):
        with pytest.raises(UserRefused, match=text) as caught:
            deploy(event)
        assert "CANARY" not in str(caught.value)
    assert site.versions("user") == before
    deploy({"action": "rotate", "user": "user"})
    site.login("user").close()
    assert deploy()["warnings"] == []


def premade(site: Site) -> None:
    """Make harmless roles beforehand, as a person with the rights to do so may."""
    names = [f"{site.database.name}_{name}" for name in ("readwrite", "user", "user_b")]
    site.database.execute(
        f"CREATE ROLE {names[0]}; CREATE ROLE {names[1]} LOGIN PASSWORD 'known' IN ROLE {names[0]};"
        f"CREATE ROLE {names[2]} LOGIN PASSWORD 'known'; GRANT {', '.join(names)} TO {site.admin} WITH ADMIN OPTION"
    )


def test_known_passwords_of_premade_logins(site: Site, deploy: Deploy) -> None:
    """A login that is taken loses the password it came with, before it can do anything."""
    site.declare("user")
    premade(site)
    assert deploy()["warnings"] == []
    site.login("user").close()
    for login in ("user", "user_b"):
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            site.connect(f"{site.database.name}_{login}", "known")


def test_premade_login_with_its_secret(site: Site, deploy: Deploy) -> None:
    """A login that is taken keeps the password that its secret holds."""
    site.declare("user")
    premade(site)
    put({"username": f"{site.database.name}_user", "password": "known"})(site)
    versions = site.versions("user")
    deploy()
    assert site.versions("user") == versions
    site.connect(f"{site.database.name}_user", "known").close()


def test_foreign_member_in_a_group_is_named(site: Site, deploy: Deploy) -> None:
    """A role that another tool has put into a group of ours is named by each deploy."""
    site.declare("user")
    deploy()
    site.database.execute(f"CREATE ROLE {site.database.name}_x IN ROLE {site.database.name}_readwrite")
    for event in ({}, {"action": "status"}):
        (warning,) = deploy(event)["warnings"]
        assert f'"{site.database.name}_x" has the privileges of "{site.database.name}_readwrite"' in warning


@pytest.mark.parametrize("password", ["password", "failed", "a"])
def test_wrong_password_that_is_a_common_word(site: Site, deploy: Deploy, password: str) -> None:
    """A wrong password that is a word of the server's message is replaced like any other."""
    site.declare("user")
    deploy()
    put({**site.secret("user"), "password": password})(site)
    assert "Passwords set" in deploy()["message"]
    site.login("user").close()


def stage(**value: Any) -> Any:
    """Return what stages a version of the user's secret; {n} and {a} are the names of database and admin."""

    def do(site: Site) -> None:
        given = {key: text.format(n=site.database.name, a=site.admin) if key == "SecretString" else text for key, text in value.items()}
        site.client.put_secret_value(SecretId=f"{site.database.name}/user", VersionStages=["AWSPENDING"], **given)

    return do


def empty_version(site: Site) -> None:
    """Attach AWSPENDING to a version without a value, as RotateSecret of AWS does before its function runs."""
    stored = secretsmanager_backends["123456789012"]["eu-central-1"].secrets[f"{site.database.name}/user"]
    stored.versions["e" * 32] = {"version_stages": ["AWSPENDING"], "version_id": "e" * 32, "createdate": 1.0}


@pytest.mark.parametrize(
    "spoil",
    [
        empty_version,
        stage(SecretString="CANARY-text"),
        stage(SecretBinary=b"CANARY"),
        stage(SecretString='["CANARY"]'),
        stage(SecretString='{{"username": "{a}", "password": "CANARY"}}'),
        stage(SecretString='{{"username": "stranger", "password": "CANARY"}}'),
    ],
    ids=["no value", "not JSON", "binary", "no object", "admin", "stranger"],
)
def test_staged_by_somebody_else(site: Site, deploy: Deploy, spoil: Any) -> None:
    """What another tool has staged, or failed to, is reported, is in no deploy's way, and a rotation takes its place."""
    site.declare("user")
    deploy()
    before = site.secret("user")
    spoil(site)
    body = deploy()
    (warning,) = body["warnings"]
    assert "a staged version is ignored" in warning
    assert "CANARY" not in str(body)
    assert site.secret("user") == before
    deploy({"action": "rotate"})
    site.login("user").close()
    assert [labels for labels in site.versions("user").values() if "AWSPENDING" in labels] == []
    assert deploy()["warnings"] == []


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER ROLE {n}_readonly RENAME TO {n}_ro;",
        "ALTER ROLE {n}_readwrite RENAME TO {n}_rw;",
        "GRANT {n}_readwrite TO CURRENT_USER; DROP OWNED BY {n}_readwrite;",
        "GRANT {n}_readwrite TO CURRENT_USER; DROP OWNED BY {n}_readwrite; DROP ROLE {n}_readwrite;",
        "DROP ROLE {n}_user;",
    ],
)
@pytest.mark.parametrize("schemas", ["", "public"])
def test_migration_that_takes_roles_away(site: Site, deploy: Deploy, sql: str, schemas: str) -> None:
    """What a migration does to our roles is put right at the end of the same deploy."""
    site.declare("user", DB_SCHEMAS=schemas)
    deploy()
    site.folder.write("001_a.sql", "CREATE TABLE a (i int);" + sql.format(n=site.database.name))
    deploy()
    assert site.as_user("user", "SELECT * FROM a") == []
    assert {f"{site.database.name}_{kind}" for kind in ("readwrite", "table_creator", "readonly", "user")} <= {row[1] for row in site.roles()}


def test_copy_of_a_database(site: Site, deploy: Deploy, password_server: Any) -> None:
    """In a copy made by TEMPLATE, the roles of the original are named as long as they have privileges."""
    name = site.database.name
    site.declare("user")
    site.as_admin("CREATE TABLE a (i int)")
    assert deploy()["warnings"] == []
    Database(password_server, "postgres").execute(f"CREATE DATABASE {name}_copy TEMPLATE {name} OWNER {site.admin}")
    site.client.create_secret(Name=f"{name}_copy/user")
    (warning,) = deploy(DB_NAME=f"{name}_copy", DB_USER_SECRET_NAME=f"{name}_copy/user")["warnings"]
    assert f'"{name}_readonly", "{name}_readwrite"' in warning
    assert "made for another database" in warning


def test_role_of_a_database_that_was_renamed(site: Site, deploy: Deploy, password_server: Any) -> None:
    """A role of a database that is gone is refused as that, and taken after the statement that says whose it is."""
    name, creator = site.database.name, f"tc_{site.database.name}"
    site.declare("table_creator", DB_TABLE_CREATOR_ROLE=creator)
    deploy()
    site.as_user("table_creator", "CREATE TABLE own (i int)")
    home = Database(password_server, "postgres")
    home.execute(f"ALTER DATABASE {name} RENAME TO {name}_new")
    rotate = {"action": "rotate"}
    with pytest.raises(UserRefused, match=f'was made by db_setup for database "{name}", which is gone') as caught:
        deploy(rotate, DB_NAME=f"{name}_new")
    home.execute(caught.value.fix.partition("if it is this database's: ")[2])
    deploy(rotate, DB_NAME=f"{name}_new")
    assert site.secret("table_creator")["dbname"] == f"{name}_new"


def test_secret_with_a_null_user(site: Site, deploy: Deploy) -> None:
    """A user name that is null is nobody's, and is not reported as one."""
    site.declare("user")
    put({"username": None, "password": None})(site)
    assert deploy()["warnings"] == []
