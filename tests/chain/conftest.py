"""The deploy chain of a test: a stack, and everything that stands in for AWS behind it."""

from __future__ import annotations

import logging
import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.chain.assembly import Assembly, Release, once, synthesise
from tests.chain.chain import Chain, MakeChain
from tests.chain.provider import Providers
from tests.chain.resources import Endpoint
from tests.chain.shop import ADMIN
from tests.chain.template import REGION
from tests.plugins.databases import Database

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

# What Lambda's Python runtime brings, besides the standard library.
RUNTIME = (
    "awslambdaric", "runtime_client*", "snapshot_restore_py*", "simplejson", "boto3", "botocore", "s3transfer",
    "jmespath", "dateutil", "six*", "urllib3",
)  # fmt: skip


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of the session that all workers share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def release(shared: Path) -> Release:
    """Return the assembly of a release by its name."""
    output = once(shared, "cdk.out", synthesise)
    return lambda name: Assembly(output / name, "Shop")


@pytest.fixture(scope="session")
def lambda_runtime(shared: Path) -> Path:
    """Return a folder with what Lambda's runtime has, and nothing else: no psycopg2."""
    if sys.platform != "linux":
        pytest.skip("AWS's runtime client exists for Linux only")
    return once(shared, "runtime", _link_runtime)


def _link_runtime(folder: Path) -> None:
    folder.mkdir()
    for pattern in RUNTIME:
        for path in Path(sysconfig.get_path("platlib")).glob(pattern):
            (folder / path.name).symlink_to(path)


@pytest.fixture(scope="session")
def secrets_url() -> Iterator[str]:
    """Serve Secrets Manager over HTTP, and return where."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def secrets_client(secrets_url: str) -> SecretsManagerClient:
    """Return a client of the Secrets Manager of the tests."""
    return boto3.client(
        "secretsmanager", REGION, endpoint_url=secrets_url, aws_access_key_id="testing", aws_secret_access_key="testing"
    )


@pytest.fixture(scope="session")
def providers() -> Iterator[Providers]:
    """Return the CDK's providers, each in a Node of its own."""
    made = Providers()
    yield made
    made.close()


@pytest.fixture
def make_chain(
    release: Release, lambda_runtime: Path, secrets_url: str, secrets_client: SecretsManagerClient,
    providers: Providers, database: Database, tmp_path: Path,
) -> Iterator[MakeChain]:  # fmt: skip
    """Make the chain of a test, with other endpoints where it wants them; no secret may have left it in the end."""
    chains: list[Chain] = []

    def make(place: tuple[str, int] | None = None, secrets: str = "") -> Chain:
        _make_admin(database)
        host, port = place or (str(database.parameters["host"]), int(database.parameters["port"]))
        endpoint = Endpoint(host, port, database.name)
        logs = tmp_path / f"logs-{len(chains)}"
        logs.mkdir()
        urls = {"AWS_ENDPOINT_URL_SECRETS_MANAGER": secrets or secrets_url}
        chains.append(Chain(release, providers, secrets_client, endpoint, lambda_runtime, logs, urls))
        return chains[-1]

    yield make
    for chain in chains:
        chain.close()
        print(*chain.stack.events, chain.service.output(), sep="\n")  # pytest shows it when the test has failed
        chain.check_secrecy()


@pytest.fixture
def chain(make_chain: MakeChain) -> Chain:
    """Return the chain of a test whose AWS is in order."""
    return make_chain()


def _make_admin(database: Database) -> None:
    """Give the database an admin with the rights of RDS's: no superuser. Roles belong to the whole server."""
    database.execute(
        f"DO $$ BEGIN CREATE ROLE {ADMIN} LOGIN CREATEDB CREATEROLE NOSUPERUSER; "
        "EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
    )
    database.execute(f"ALTER DATABASE {database.name} OWNER TO {ADMIN}")
