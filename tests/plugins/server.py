"""One PostgreSQL for a test session and all its xdist workers; gone when the session is, killed or not."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from migrator.cli.local_server import LocalServer, find_binaries
from migrator.errors import LocalServerError

from tests.plugins.environment import PGBIN
from tests.plugins.postgres import FAST, guard, scratch_folder
from tests.plugins.proxy import Proxy

SETTINGS = {
    **FAST,
    "max_connections": "200",
    "max_prepared_transactions": "10",
    "max_locks_per_transaction": "256",
    "autovacuum": "off",  # it would hold locks now and then, and a test would fail now and then
    "log_statement": "all",
    "log_line_prefix": "%m [%p] %d ",
}
_SIZE = 4 * 2**30  # bytes

_folder = pytest.StashKey[Path]()
_guard = pytest.StashKey[subprocess.Popen[bytes]]()
_environ = pytest.StashKey[Mapping[str, str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Name the server's folder in the controlling process, and guard it; the workers are informed."""
    given = getattr(config, "workerinput", None)
    if given is not None:
        config.stash[_folder], config.stash[_environ] = Path(given["server_folder"]), given["server_environ"]
        return
    config.stash[_environ] = {**os.environ, "PGBIN": PGBIN}
    scratch = scratch_folder("db_setup-tests-", _SIZE)  # each test makes about 300 files
    config.stash[_folder] = scratch / "postgres"
    config.stash[_guard] = guard(scratch)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Wait until the server is gone."""
    if guard := config.stash.get(_guard, None):
        guard.communicate()


@pytest.hookimpl(optionalhook=True)  # pytest-xdist may be switched off
def pytest_configure_node(node: Any) -> None:
    """Inform a worker where the server is, and which programs were chosen for it."""
    node.workerinput["server_folder"] = str(node.config.stash[_folder])
    node.workerinput["server_environ"] = node.config.stash[_environ]


def pytest_report_header(config: pytest.Config) -> str:
    """Name the server that the tests run against."""
    try:
        return f"server: {find_binaries(config.stash[_environ])}"
    except LocalServerError as error:
        return f"server: none, {error.what}"


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> LocalServer:
    """Return the session's server, started by whoever asks first."""
    config = request.config
    return LocalServer(config.stash[_folder], SETTINGS, config.stash[_environ]).start()


@pytest.fixture(scope="session")
def scratch(request: pytest.FixtureRequest) -> Path:
    """Return a folder for further servers: the server's account gets in, and it goes with the session."""
    return request.config.stash[_folder].parent


@pytest.fixture
def make_proxy() -> Iterator[Callable[[LocalServer], Proxy]]:
    """Make proxies that stand between a test's client and a server."""
    made: list[Proxy] = []

    def make(server: LocalServer) -> Proxy:
        made.append(Proxy(server))
        return made[-1]

    yield make
    for proxy in made:
        proxy.close()


@pytest.fixture
def proxy(make_proxy: Callable[[LocalServer], Proxy], server: LocalServer) -> Proxy:
    """Stand between a test's client and the session's server."""
    return make_proxy(server)
