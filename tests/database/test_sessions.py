"""How a session is made: by patience with a server that is away, and with settings that let neither side wait forever."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from migrator.cli.local_server import LocalServer
from migrator.database import Deadline, connect, secrets_manager
from migrator.database.connect_errors import unreachable
from migrator.database.credentials import Credentials, from_url
from migrator.errors import DbSetupError, LoginRefused, ServerAway, ServerError, ServerUnfit

from tests.plugins.databases import Database
from tests.plugins.folders import Folder
from tests.plugins.proxy import BACKEND, FRONTEND, Proxy
from tests.plugins.runs import Invoke
from tests.plugins.secrets import Deploy, Site
from tests.plugins.server import SETTINGS
from tests.plugins.waiting import wait_until

_SHOWN = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count", "tcp_user_timeout")
_LIMITS = {"idle_in_transaction_session_timeout": 90600, "idle_session_timeout": 140000, "transaction_timeout": 170000}


def free_port() -> int:
    """Return a TCP port that nobody uses."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Remote(LocalServer):
    """A server that is reached by TCP, where keepalives are of use."""

    port = 0

    def _options(self) -> list[str]:
        self.port = self.port or free_port()
        return [*super()._options(), "-c", "listen_addresses=127.0.0.1", "-c", f"port={self.port}"]


@pytest.fixture
def remote(server: LocalServer, scratch: Path) -> Iterator[str]:
    """Start a server on a TCP port, and return its URL."""
    folder = scratch / f"tcp{os.environ.get('PYTEST_XDIST_WORKER', '')}"
    own = Remote(folder, SETTINGS, {"PGBIN": str(server.binaries.folder)})
    own.start()
    yield f"postgresql://postgres@127.0.0.1:{own.port}/postgres?sslmode=disable"
    own.remove()


def test_session_that_nobody_holds_forever(remote: str, invoke: Invoke, folder: Folder) -> None:
    """Each file runs in a session that the server ends when the run is gone, and that no limit of the role ends before."""
    with closing(connect(from_url(remote), 1, Deadline(None))) as session:
        limits = [name for name, since in _LIMITS.items() if session.server_version >= since]
        for name in limits:
            session.run(f"ALTER ROLE postgres SET {name} = '1s'")
        names = ", ".join(f"'{name}'" for name in (*_SHOWN, *limits))
        for number in (1, 2):
            shown = f"SELECT name, setting FROM pg_settings WHERE name IN ({names})"
            folder.write(f"00{number}_s.sql", f"CREATE TABLE s{number} AS {shown};")
        invoke(DATABASE_URL=remote)
        wanted = {**dict(zip(_SHOWN, ("5", "5", "5", "30000"), strict=True)), **dict.fromkeys(limits, "0")}
        for number in (1, 2):
            assert dict(session.rows(f"SELECT name, setting FROM public.s{number}")) == wanted


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Connection refused Is the server running on that host and accepting TCP/IP connections?", ServerAway),
        ("FATAL: the database system is starting up", ServerAway),
        ("FATAL: the database system is not yet accepting connections", ServerAway),
        ("FATAL: sorry, too many clients already", ServerAway),
        ("FATAL: remaining connection slots are reserved for roles with the SUPERUSER attribute", ServerAway),
        ("server closed the connection unexpectedly", ServerAway),
        ("could not receive data from server: Connection reset by peer", ServerAway),
        ("timeout expired", ServerAway),
        ('FATAL: password authentication failed for user "Connection refused"', LoginRefused),
        ('FATAL: database "is starting up" does not exist', ServerUnfit),
        ('could not translate host name "db.example" to address: Name or service not known', ServerUnfit),
        ('root certificate file "Connection refused" does not exist', ServerUnfit),
    ],
)
def test_what_passes(text: str, kind: type[DbSetupError]) -> None:
    """What may be over in a moment is tried again; what stays, such as a wrong password or name, is an error at once."""
    error = unreachable(Credentials("db.example", 5432, "shop", "app", "secret"), f"connection to server failed: {text}")
    assert type(error) is kind


def test_server_that_is_away_for_a_moment(
    invoke: Invoke, folder: Folder, database: Database, make_proxy: Callable[[LocalServer], Proxy], server: LocalServer
) -> None:
    """A connection that is cut while it is made, or while the history is first read, is made again."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    invoke()
    proxy = make_proxy(server)
    for side, message in ((FRONTEND, 1), (BACKEND, 1), (FRONTEND, 2), (BACKEND, 20)):
        proxy.arm(side, message, before=True)
        assert invoke({"action": "status"}, DATABASE_URL=proxy.url(database.name))["state"] == "up_to_date", (side, message)


@pytest.mark.parametrize("changed_in_the_database", [True, False], ids=["rotated", "wrong"])
def test_refused_password(
    site: Site, deploy: Deploy, monkeypatch: pytest.MonkeyPatch, changed_in_the_database: bool
) -> None:
    """A password that is refused is read from its secret once more, since a rotation may be under way; no third time."""
    site.folder.write("001_a.sql", "CREATE TABLE a (i int);")
    read_secret, reads = secrets_manager.read_secret, list[str]()

    def read_and_rotate(name: str) -> dict[str, Any]:
        found = read_secret(name)
        if not reads:
            if changed_in_the_database:
                site.database.execute(f"ALTER ROLE {site.admin} PASSWORD 'rotated'")
            else:
                found["password"] = "wrong"
            site.client.put_secret_value(SecretId=name, SecretString=json.dumps({**found, "password": "rotated"}))
        reads.append(name)
        return found

    monkeypatch.setattr(secrets_manager, "read_secret", read_and_rotate)
    if changed_in_the_database:
        assert deploy()["applied_migrations"] == ["001_a.sql"]
    else:
        with pytest.raises(LoginRefused, match="password authentication failed"):
            deploy()
    assert len(reads) == 2


def test_no_session_left(database: Database, invoke: Invoke, folder: Folder) -> None:
    """A login whose sessions are all taken waits until one of them ends."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    name = f"one_{database.name}"
    database.execute(f"CREATE ROLE {name} LOGIN SUPERUSER")
    url = database.url.replace("//postgres@", f"//{name}@")
    try:
        database.execute(f"ALTER ROLE {name} NOSUPERUSER CONNECTION LIMIT 1; GRANT CREATE ON SCHEMA public TO {name}; "
                         f"GRANT CREATE ON DATABASE {database.name} TO {name}")
        with closing(connect(from_url(url), 1, Deadline(None))) as only:
            threading.Timer(1, only.close).start()
            assert invoke(DATABASE_URL=url)["applied_migrations"] == ["001_a.sql"]
    finally:
        database.execute(f"REASSIGN OWNED BY {name} TO postgres; DROP OWNED BY {name}; DROP ROLE {name}")


def test_server_that_stays_away(invoke: Invoke, folder: Folder) -> None:
    """A server that is not there is waited for within the run's time, and then is the error that it was."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    url = f"postgresql://u@127.0.0.1:{free_port()}/d?sslmode=disable"
    with pytest.raises(ServerAway, match="Connection refused"):
        invoke(DATABASE_URL=url, MIGRATION_TIMEOUT="1s")


def test_cancel_is_for_one_message(database: Database) -> None:
    """A message is cancelled while it is at work; the one that follows it is not taken for it."""
    with closing(connect(from_url(database.url), 1, Deadline(None))) as connection, ThreadPoolExecutor() as pool:
        sleeping = pool.submit(connection.run, "SELECT pg_sleep(30)")
        wait_until(lambda: database.query("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"))
        message = connection.message_at_work
        connection.cancel(message)
        with pytest.raises(ServerError, match="57014"):
            sleeping.result(timeout=20)
        following = pool.submit(connection.run, "SELECT pg_sleep(0.5)")
        wait_until(lambda: connection.message_at_work)
        connection.cancel(message)
        assert following.result(timeout=20) is None
