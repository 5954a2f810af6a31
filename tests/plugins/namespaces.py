"""A server and its clients in network namespaces of their own, and a router between them that may lose all packets.

What is lost is lost without a word: no FIN, no RST, no ICMP, and the links stay up. A proxy cannot do that, since its
own end of a connection answers keepalives. Linux only; an ordinary user needs user namespaces for it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

import pytest
from migrator.cli.local_server import LocalServer

from tests.plugins.environment import PGBIN
from tests.plugins.postgres import Database
from tests.plugins.server import SETTINGS

_ROOT = Path(__file__).resolve().parents[2]
_SERVER, _CLIENTS = "10.99.0", "10.98.0"
_ADDRESS = f"{_SERVER}.2"
_PORT = 5432
_LINKS = {  # of each namespace, in the order in which they can be made
    "server": f"""ip link set lo up; ip link add s type veth peer name x netns $ROUTER
        ip addr add {_ADDRESS}/24 dev s; ip link set s up""",
    "clients": f"""ip link set lo up; ip link add c type veth peer name y netns $ROUTER
        ip addr add {_CLIENTS}.2/24 dev c; ip link set c up""",
    "router": f"""ip addr add {_SERVER}.1/24 dev x; ip addr add {_CLIENTS}.1/24 dev y; ip link set x up; ip link set y up
        echo 1 > /proc/sys/net/ipv4/ip_forward""",
}
_ROUTES = {
    "server": f"ip route add {_CLIENTS}.0/24 via {_SERVER}.1",
    "clients": f"ip route add default via {_CLIENTS}.1",
}
_LOSE = "echo 0 > /proc/sys/net/ipv4/ip_forward"
_START = """
import sys
sys.path[:0] = sys.argv[1:3]
from pathlib import Path
from tests.plugins.namespaces import NetworkServer
NetworkServer(Path(sys.argv[3])).start()
"""


class NetworkServer(LocalServer):
    """A local server that listens on the network of its namespace, too."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, SETTINGS, {**os.environ, "PGBIN": PGBIN})

    def _options(self) -> list[str]:
        return [*super()._options(), "-c", f"listen_addresses={_ADDRESS}", "-c", f"port={_PORT}"]


class NamespacesMissing(Exception):
    """Namespaces cannot be had here; the text says why."""


class Network:
    """Three namespaces that live as long as this process; the server is reached from outside by its Unix socket."""

    def __init__(self, folder: Path) -> None:
        self.server = NetworkServer(folder)
        self._is_root = os.geteuid() == 0
        self._clients: list[subprocess.Popen[str]] = []
        self._holders: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        try:
            self.make()
            self._start_server()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def url(self, database: str) -> str:
        """Return where a client in its namespace finds a database."""
        return f"postgresql://postgres@{_ADDRESS}:{_PORT}/{database}?sslmode=disable"

    def database(self, name: str) -> Database:
        """Make a database, which is used from outside."""
        Database(self.server, "postgres").execute(f'CREATE DATABASE "{name}"')
        return Database(self.server, name)

    def client(self, program: str, *words: str, environ: Mapping[str, str]) -> subprocess.Popen[str]:
        """Start a program in Python among the clients, with pipes to it; it is killed when the network is closed."""
        started = subprocess.Popen(
            [*self._enter("clients"), sys.executable, "-c", program, *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **environ},
        )  # fmt: skip
        self._clients.append(started)
        return started

    def lose_everything(self) -> None:
        """Have the router lose all packets from now on."""
        self._run("router", _LOSE)

    def close(self) -> None:
        """Kill the clients, stop the server, and let the namespaces go."""
        for client in self._clients:
            client.kill()
            client.communicate()
        self.server.stop()
        for holder in reversed(self._holders.values()):
            holder.communicate()

    def make(self) -> None:
        """Make the namespaces and the links between them; raises NamespacesMissing."""
        if sys.platform != "linux":
            raise NamespacesMissing("network namespaces are Linux's")
        self._hold("router", ["unshare", *([] if self._is_root else ["--user", "--map-root-user"]), "--net", "cat"])
        for name in ("server", "clients"):
            self._hold(name, [*self._enter("router"), "unshare", "--net", "cat"])
        for commands in (_LINKS, _ROUTES):
            for name, script in commands.items():
                self._run(name, script)

    def _hold(self, name: str, command: Sequence[str]) -> None:
        """Start what keeps a namespace, which ends with this process at the latest; it is there once it has become cat."""
        try:
            holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        except FileNotFoundError as error:
            raise NamespacesMissing(f"{error.filename} is not installed") from error
        self._holders[name] = holder
        while Path(f"/proc/{holder.pid}/comm").read_text() != "cat\n":
            if holder.poll() is not None:
                said = holder.communicate()[1].decode(errors="replace").strip()
                raise NamespacesMissing(f"a network namespace cannot be made: {said}")
            time.sleep(0.01)

    def _enter(self, name: str) -> list[str]:
        users = [] if self._is_root else ["--user", "--preserve-credentials"]
        return ["nsenter", f"--target={self._holders[name].pid}", "--net", *users]

    def _run(self, name: str, script: str) -> None:
        environ = {**os.environ, "ROUTER": str(self._holders["router"].pid)}
        command = [*self._enter(name), "/bin/sh", "-e", "-c", script]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
        if done.returncode:
            raise NamespacesMissing(f"the links between namespaces cannot be made: {done.stderr.strip()}")

    def _start_server(self) -> None:
        """Start it inside; PostgreSQL refuses root, so that an ordinary user has to be one again, in a namespace more."""
        me = [] if self._is_root else ["unshare", f"--map-user={os.geteuid()}", f"--map-group={os.getegid()}"]
        words = [str(_ROOT), str(_ROOT / "db_setup"), str(self.server.folder)]
        command = [*self._enter("server"), *me, sys.executable, "-c", _START, *words]
        subprocess.run(command, check=True, env={**os.environ, "PGBIN": PGBIN})
        with (self.server.data / "pg_hba.conf").open("a") as file:
            file.write(f"host all all {_CLIENTS}.0/24 trust\n")
        Database(self.server, "postgres").query("SELECT pg_reload_conf()")


def lacks() -> str:
    """Return why namespaces cannot be had here, empty where they can."""
    with tempfile.TemporaryDirectory() as folder:
        network = Network(Path(folder))
        try:
            network.make()
        except NamespacesMissing as missing:
            return str(missing)
        finally:
            network.close()
    return ""


@pytest.fixture
def network(scratch: Path) -> Iterator[Network]:
    """Return a server and clients with a network between them that may fall silent; skipped where none can be had."""
    made = Network(scratch / "network")
    try:
        with made:
            yield made
    except NamespacesMissing as missing:
        pytest.skip(str(missing))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that wait for a silent network, a minute and without work, so that the others run meanwhile."""
    items.sort(key=lambda item: "network" not in getattr(item, "fixturenames", ()))
