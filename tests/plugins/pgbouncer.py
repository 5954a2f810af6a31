"""PgBouncer in front of the session's server, where it is to be had: on PATH, in the usual folders, or as `make test` fetches it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg2
import pytest
from migrator.cli.local_server import LocalServer
from migrator.cli.local_server.process import Account, can_run, server_account

from tests.plugins.databases import Database
from tests.plugins.waiting import wait_until

FETCHED = Path(__file__).resolve().parents[2] / ".venv" / "pgbouncer"
_USUAL = ("/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/opt/homebrew/bin")
_PORT = 5432  # of a socket in a folder of its own, as a server has it
_SETTINGS = """[databases]
* = host={host} port={port}
[pgbouncer]
unix_socket_dir = {folder}
listen_port = {own}
auth_type = trust
auth_file = {folder}/users.txt
pool_mode = {mode}
{more}
"""
MakePool = Callable[..., "Pool"]


class Pool:
    """A PgBouncer of one's own; every setting of its configuration file can be given."""

    def __init__(self, server: LocalServer, program: Path, folder: Path, mode: str, settings: dict[str, object]) -> None:
        self._account = server_account()
        self.socket_folder = folder
        folder.chmod(0o755)
        more = "\n".join(f"{name} = {value}" for name, value in settings.items())
        parameters = server.parameters
        text = _SETTINGS.format(
            host=parameters["host"], port=parameters["port"], folder=folder, own=_PORT, mode=mode, more=more
        )
        (folder / "pgbouncer.ini").write_text(text, encoding="utf-8")
        (folder / "users.txt").write_text(f'"{parameters["user"]}" ""\n', encoding="utf-8")
        if self._account is not None:
            os.chown(folder, self._account.uid, self._account.gid)
        command = [str(program), "--quiet", str(folder / "pgbouncer.ini")]
        account = self._account
        self._process = subprocess.Popen(
            command,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            env=_environment(program),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._user = parameters["user"]
        wait_until(self._answers)

    def url(self, database: Database) -> str:
        """Return the address of a database by way of this pool."""
        return f"postgresql://{self._user}@/{database.name}?host={quote(str(self.socket_folder))}&port={_PORT}"

    def connect(self, database: Database) -> psycopg2.extensions.connection:
        """Return a new connection by way of this pool in autocommit mode, for the caller to close."""
        connection = psycopg2.connect(self.url(database))
        connection.autocommit = True
        return connection

    def close(self) -> None:
        """Stop it, with the sessions that it keeps."""
        self._process.kill()
        self._process.communicate()

    def _answers(self) -> bool:
        if self._process.poll() is not None:
            raise AssertionError(self._process.communicate()[1])
        return (self.socket_folder / f".s.PGSQL.{_PORT}").exists()


def _environment(program: Path) -> dict[str, str]:
    libraries = [str(path.parent) for path in program.parents[1].glob("lib/*/lib*.so*")]
    return {"PATH": os.defpath, **({"LD_LIBRARY_PATH": ":".join(sorted(set(libraries)))} if libraries else {})}


def find_program() -> Path | None:
    """Return PgBouncer's program, None where there is none."""
    found = shutil.which("pgbouncer", path=os.pathsep.join([os.environ.get("PATH", os.defpath), *_USUAL]))
    fetched = FETCHED / "usr" / "sbin" / "pgbouncer"
    return Path(found) if found else fetched if fetched.exists() else None


def lacks() -> str:
    """Return why no pool can be made here, empty where one can."""
    if find_program():
        return ""
    return f"no pgbouncer on PATH, in {', '.join(_USUAL)} or in {FETCHED}: install it, or let make test fetch it"


def runnable_program(scratch: Path) -> Path:
    """Return the program, or a copy of it with its libraries, that the account of the servers can run."""
    program, account = find_program(), server_account()
    assert program is not None, lacks()
    return _for_account(program, account, scratch)


def _for_account(program: Path, account: Account | None, scratch: Path) -> Path:
    if account is None or can_run(account, program) or program.parents[2] != FETCHED:
        return program
    copy = scratch / "pgbouncer"
    shutil.copytree(FETCHED, copy, dirs_exist_ok=True)
    return copy / "usr" / "sbin" / "pgbouncer"


def pytest_report_header() -> str:
    """Name the pooler that the tests run against."""
    return f"pgbouncer: {find_program() or 'none, and what needs it is skipped'}"


@pytest.fixture
def make_pool(server: LocalServer, scratch: Path) -> Iterator[MakePool]:
    """Make pools in front of the session's server: by mode, and further settings."""
    if why := lacks():
        pytest.skip(why)
    program = runnable_program(scratch)
    made: list[Pool] = []

    def make(mode: str, **settings: object) -> Pool:
        made.append(Pool(server, program, Path(tempfile.mkdtemp(dir=scratch)), mode, settings))
        return made[-1]

    yield make
    for pool in made:
        pool.close()
