"""A Secrets Manager served by moto over HTTP, a server that asks for passwords, and runs that use both."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import initializer
import psycopg2
import pytest
from migrator.cli.local_server import LocalServer
from migrator.cli.local_server.process import run_as, server_account
from migrator.formatting import quoted
from moto.server import ThreadedMotoServer
from psycopg2.extensions import make_dsn

from tests.plugins.answers import check_answer
from tests.plugins.databases import Database
from tests.plugins.folders import Folder
from tests.plugins.runs import Body, LambdaContext
from tests.plugins.server import SETTINGS

ADMIN_PASSWORD = "ADMIN-canary-9f3k"
HBA = "local all postgres trust\nlocal all all scram-sha-256\n"
VARIABLES = {
    "user": "DB_USER_SECRET_NAME",
    "table_creator": "DB_TABLE_CREATOR_SECRET_NAME",
    "readonly": "DB_READONLY_SECRET_NAME",
}


@pytest.fixture(scope="session")
def password_server(scratch: Path, server: LocalServer) -> LocalServer:
    """Return a server on which everybody but the superuser needs a password, and an admin such as RDS has."""
    asked = "SELECT name FROM pg_available_extensions WHERE name = 'pg_stat_statements'"
    rows = Database(server, "postgres").query(asked)
    loaded = {"shared_preload_libraries": rows[0][0]} if rows else {}
    environ = {"PGBIN": str(server.binaries.folder)}
    settings = {**SETTINGS, **loaded, "password_encryption": "scram-sha-256"}  # before PostgreSQL 14 it was md5
    made = LocalServer(scratch / "passwords", settings, environ).start()
    home = Database(made, "postgres")
    if home.query("SELECT count(*) FROM pg_hba_file_rules WHERE auth_method = 'scram-sha-256'") == [(0,)]:
        hba = made.data / "pg_hba.conf"
        run_as(server_account(), ["/bin/sh", "-c", 'printf "%s" "$1" > "$2"', "sh", HBA, hba])
        home.execute("SELECT pg_reload_conf()")
    return made


@pytest.fixture(scope="session")
def secrets_endpoint() -> Iterator[str]:
    """Serve AWS's interfaces, with nothing in them, for this worker."""
    served = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    served.start()
    host, port = served.get_host_and_port()
    yield f"http://{host}:{port}"
    served.stop()


class Site(NamedTuple):
    """A database with an admin like RDS's, a Secrets Manager, and the environment of a function that uses both."""

    database: Database
    admin: str
    environ: dict[str, str]
    client: Any
    folder: Folder

    def declare(self, *kinds: str, **more: str) -> dict[str, str]:
        """Make an empty secret for each kind of user, and return the variables that name them."""
        variables = {}
        for kind in kinds:
            name = f"{self.database.name}/{kind}"
            self.client.create_secret(Name=name)
            variables[VARIABLES[kind]] = name
        self.environ.update(variables)
        self.environ.update(more)
        return variables

    def secret(self, kind: str, stage: str = "AWSCURRENT") -> dict[str, Any]:
        """Return what the secret of a kind of user holds."""
        answer = self.client.get_secret_value(SecretId=f"{self.database.name}/{kind}", VersionStage=stage)
        value: dict[str, Any] = json.loads(answer["SecretString"])
        return value

    def versions(self, kind: str) -> dict[str, list[str]]:
        """Return the labels of each version of the secret of a kind of user."""
        found: dict[str, list[str]] = self.client.describe_secret(SecretId=f"{self.database.name}/{kind}").get(
            "VersionIdsToStages", {}
        )
        return found

    def connect(self, user: str, password: str) -> psycopg2.extensions.connection:
        """Log in with a password, in autocommit mode."""
        made: psycopg2.extensions.connection = psycopg2.connect(
            make_dsn(**{**self.database.parameters, "user": user, "password": password})
        )
        made.autocommit = True
        return made

    def login(self, kind: str, stage: str = "AWSCURRENT") -> psycopg2.extensions.connection:
        """Log in with what a secret holds."""
        value = self.secret(kind, stage)
        return self.connect(value["username"], value["password"])

    def as_user(self, kind: str, sql: str) -> list[tuple[Any, ...]]:
        """Run a query as a kind of user."""
        with closing(self.login(kind)) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def as_admin(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a query as the admin."""
        with closing(self.connect(self.admin, ADMIN_PASSWORD)) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def roles(self) -> list[tuple[Any, ...]]:
        """Return the roles of this database, what they may do, and who is in them."""
        return self.database.query(
            "SELECT r.oid, r.rolname, r.rolcanlogin, r.rolinherit, r.rolconfig, shobj_description(r.oid, 'pg_authid'), "
            "ARRAY(SELECT m.member::regrole::text FROM pg_auth_members m WHERE m.roleid = r.oid ORDER BY 1), "
            "(SELECT rolpassword FROM pg_authid a WHERE a.oid = r.oid) FROM pg_roles r WHERE starts_with(r.rolname, %s) ORDER BY 2",
            f"{self.database.name}_",
        )


Deploy = Callable[..., Body]


MakeSite = Callable[..., Site]
_NUMBERS = count(1)  # no name comes twice


@pytest.fixture(scope="session")
def secrets_client(secrets_endpoint: str) -> Any:
    """Return a client of the Secrets Manager."""
    session = boto3.Session("test", "test", region_name="eu-central-1")
    return session.client("secretsmanager", endpoint_url=secrets_endpoint)


@pytest.fixture
def make_site(
    password_server: LocalServer, secrets_endpoint: str, secrets_client: Any, folder: Folder
) -> Iterator[MakeSite]:
    """Make databases of an admin's own, and the admin's secret; all roles and secrets of them go with the test."""
    start = f"u{os.environ.get('PYTEST_XDIST_WORKER', 'w')}_{os.getpid()}"
    home = Database(password_server, "postgres")
    client = secrets_client

    def make(*kinds: str, attributes: str = "CREATEROLE CREATEDB") -> Site:
        name = f"{start}_{next(_NUMBERS)}"
        home.execute(f"CREATE ROLE boss_{name} LOGIN {attributes} PASSWORD '{ADMIN_PASSWORD}'")
        home.execute(f"CREATE DATABASE {name} OWNER boss_{name} TEMPLATE template0")
        give_public(Database(password_server, name), f"boss_{name}")
        value = {
            "engine": "postgres", "host": str(password_server.socket_folder), "port": 5432, "dbname": name,
            "username": f"boss_{name}", "password": ADMIN_PASSWORD, "dbInstanceIdentifier": "shop-db",
        }  # fmt: skip
        client.create_secret(Name=f"{name}/admin", SecretString=json.dumps(value))
        environ = {**account(secrets_endpoint), "DB_SECRET_NAME": f"{name}/admin", "MIGRATIONS_DIR": str(folder.path)}
        site = Site(Database(password_server, name), f"boss_{name}", environ, client, folder)
        site.declare(*kinds)
        return site

    yield make
    _clear(home, start)
    for entry in client.list_secrets(MaxResults=100)["SecretList"]:
        client.delete_secret(SecretId=entry["ARN"], ForceDeleteWithoutRecovery=True)


def give_public(database: Database, owner: str) -> None:
    """Let the schema public be that of the database's owner, as it is by itself since PostgreSQL 15."""
    if database.major() < 15:
        database.execute(f"ALTER SCHEMA public OWNER TO {quoted(owner)}")


def account(endpoint: str) -> dict[str, str]:
    """Return the variables of an account of nobody's."""
    return {
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": endpoint, "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
    }  # fmt: skip


def _clear(home: Database, start: str) -> None:
    """Drop the databases and roles whose names begin so, the admins after those that they have made."""
    for (name,) in home.query("SELECT datname FROM pg_database WHERE datname LIKE %s", f"{start}%"):
        home.drop(name)
    roles = home.query(
        "SELECT quote_ident(rolname) FROM pg_roles WHERE rolname LIKE %s OR shobj_description(oid, 'pg_authid') LIKE %s "
        "ORDER BY rolname LIKE 'boss%%' OR rolname LIKE '%%-admin'", f"%{start}%", f'%database "{start}%',
    )  # fmt: skip
    home.execute("; ".join(f"DROP ROLE IF EXISTS {role}" for (role,) in roles) or "SELECT 1")


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    """Return a database with an admin like RDS's, and no user declared."""
    return make_site()


@pytest.fixture
def deploy(site: Site, monkeypatch: pytest.MonkeyPatch) -> Deploy:
    """Invoke the handler as a deploy of the site does, or with an event; keywords are further variables."""

    def call(event: object = None, *, context: LambdaContext | None = None, **environ: str) -> Body:
        with monkeypatch.context() as patch:
            for name, value in {**site.environ, **environ}.items():
                patch.setenv(name, value)
            answer = initializer.handler({} if event is None else event, context)
        body: Body = answer["body"]
        check_answer(body)
        return body

    return call
