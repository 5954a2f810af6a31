"""Limited users on a stage: a Secrets Manager served by moto, an admin such as RDS has, and what the secrets hold."""

from __future__ import annotations

import json
import logging
from contextlib import closing
from typing import Any, NamedTuple, Self

import boto3
import psycopg2
from migrator.cli.local_server import LocalServer
from migrator.cli.local_server.process import run_as, server_account
from moto.server import ThreadedMotoServer
from psycopg2.extensions import make_dsn

from tests.plugins.postgres import Database
from tests.plugins.secrets import ADMIN_PASSWORD, HBA, VARIABLES, account, give_public


class Secrets(NamedTuple):
    """The secrets of one database, and the environment that names them."""

    database: Database
    kinds: tuple[str, ...]
    environ: dict[str, str]
    client: Any
    home: Database

    def versions(self) -> list[str]:
        """Return for each kind of user how many versions of its secret have which labels."""
        described = [self.client.describe_secret(SecretId=f"{self.database.name}/{kind}") for kind in self.kinds]
        return [str(sorted(map(sorted, each.get("VersionIdsToStages", {}).values()))) for each in described]

    def strangers(self) -> list[str]:
        """Return the kinds of users whose current secret does not log in."""
        return [kind for kind in self.kinds if not self._logs_in(kind)]

    def remove(self) -> None:
        """Remove the secrets, and the roles that belong to the database, which is gone."""
        name = self.database.name
        for kind in (*self.kinds, "admin"):
            self.client.delete_secret(SecretId=f"{name}/{kind}", ForceDeleteWithoutRecovery=True)
        roles = self.home.query(
            "SELECT quote_ident(rolname) FROM pg_roles WHERE starts_with(rolname, %s) OR rolname = %s OR "
            "shobj_description(oid, 'pg_authid') LIKE %s ORDER BY rolname LIKE 'boss%%' OR rolname LIKE '%%-admin'",
            f"{name}_", f"boss_{name}", f'%database "{name}"%',
        )  # fmt: skip
        self.home.execute("; ".join(f"DROP ROLE IF EXISTS {role}" for (role,) in roles) or "SELECT 1")

    def _logs_in(self, kind: str) -> bool:
        answer = self.client.get_secret_value(SecretId=f"{self.database.name}/{kind}")
        value = json.loads(answer["SecretString"])
        login = {**self.database.parameters, "user": value["username"], "password": value["password"]}
        try:
            with closing(psycopg2.connect(make_dsn(**login))):
                return True
        except psycopg2.OperationalError:
            return False


class SecretsManager:
    """A Secrets Manager of its own, for the databases of one server, which asks everybody but the superuser for a password."""

    def __init__(self, server: LocalServer) -> None:
        self._server = server
        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # not a line for each call
        self._served = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)

    def __enter__(self) -> Self:
        home = Database(self._server, "postgres")
        hba = self._server.data / "pg_hba.conf"
        run_as(server_account(), ["/bin/sh", "-c", 'printf "%s" "$1" > "$2"', "sh", HBA, hba])
        home.execute("SELECT pg_reload_conf()")
        self._served.start()
        host, port = self._served.get_host_and_port()
        self._environ = account(f"http://{host}:{port}")
        session = boto3.Session("test", "test", region_name="eu-central-1")
        self._client = session.client("secretsmanager", endpoint_url=f"http://{host}:{port}")
        return self

    def __exit__(self, *_: object) -> None:
        self._served.stop()

    def declare(self, database: Database, kinds: tuple[str, ...]) -> Secrets:
        """Make a database's admin and that one's secret, and an empty secret for each kind of user."""
        name, admin = database.name, f"boss_{database.name}"
        database.execute(f"CREATE ROLE {admin} LOGIN CREATEROLE CREATEDB PASSWORD '{ADMIN_PASSWORD}'")
        database.execute(f"ALTER DATABASE {name} OWNER TO {admin}")
        give_public(database, admin)
        value = {
            "engine": "postgres", "host": str(self._server.socket_folder), "port": 5432, "dbname": name,
            "username": admin, "password": ADMIN_PASSWORD, "dbInstanceIdentifier": "shop-db",
        }  # fmt: skip
        self._client.create_secret(Name=f"{name}/admin", SecretString=json.dumps(value))
        environ = {**self._environ, "DB_SECRET_NAME": f"{name}/admin"}
        for kind in kinds:
            self._client.create_secret(Name=f"{name}/{kind}")
            environ[VARIABLES[kind]] = f"{name}/{kind}"
        return Secrets(database, kinds, environ, self._client, Database(self._server, "postgres"))
