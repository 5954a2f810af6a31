"""A PostgreSQL server of the project's own in a data folder.

It listens on a Unix socket in a folder that only its owner may enter, and on no network: so it needs no
password, and nobody else on the machine has access.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

from migrator.cli.local_server import process
from migrator.cli.local_server.binaries import Binaries, find_binaries, readable_binaries, readable_folder, short_folder
from migrator.cli.local_server.process import USER, Account
from migrator.errors import LocalServerError

DATABASE = "postgres"
_SOCKET = ".s.PGSQL.5432"
_MAX_SOCKET_PATH = 100  # bytes; the system's limit is 104 on macOS and 108 on Linux
_ORPHANS = "pre-existing shared memory block"
_MAX_LOG = 10_000_000
_ANEW = "to begin anew, as the user who made it, give this folder another name, under which it keeps its data"


class LocalServer:
    """A server with its data, its socket and its log in one folder; every process that names it shares it."""

    def __init__(
        self, folder: Path, settings: Mapping[str, str] | None = None, environ: Mapping[str, str] = os.environ
    ) -> None:
        """Name the server; nothing is created before ``start``, which gives it ``settings``."""
        self.folder = folder.absolute()
        self._settings = dict(settings or {})
        self._environ = environ

    @cached_property
    def binaries(self) -> Binaries:
        """The programs of the server, in a folder that its account may read; raises LocalServerError."""
        return readable_binaries(find_binaries(self._environ), self._account)

    @property
    def data(self) -> Path:
        """The data directory itself (PGDATA)."""
        return Path(os.path.realpath(self.folder)) / "data"

    @property
    def log(self) -> Path:
        """The file with everything the server says."""
        return Path(os.path.realpath(self.folder)) / "server.log"

    @property
    def socket_folder(self) -> Path:
        """The folder to give to a client as ``host``; a link remembers one that lies elsewhere."""
        return Path(os.path.realpath(self.folder / "socket"))

    @property
    def parameters(self) -> dict[str, str]:
        """What libpq needs to connect."""
        return {"host": str(self.socket_folder), "port": "5432", "user": USER, "dbname": DATABASE}

    @property
    def url(self) -> str:
        """The same as a URL."""
        return f"postgresql://{USER}@/{DATABASE}?host={quote(str(self.socket_folder))}"

    @property
    def psql_command(self) -> str:
        """Return the command that opens the database in psql."""
        own = self.binaries.program("psql")
        psql = str(own) if own.exists() else "psql"
        return shlex.join([psql, "-h", str(self.socket_folder), "-U", USER, DATABASE])

    @property
    def running(self) -> bool:
        """Whether a server answers on the socket."""
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(str(self.socket_folder / _SOCKET))
            except OSError:
                return False
        return True

    def start(self) -> LocalServer:
        """Create the data when there are none, start the server unless it runs, and return when it answers."""
        initdb = self.binaries.program("initdb")  # first: without a server nothing is created
        with self._locked():
            self._make_folders()
            if not self.data.exists():
                process.make_data(self._account, initdb, self.binaries.major, self.data)
            self._check_version()
            if not (self.running and self._runs_these_binaries()):
                self._end_process()
                self._launch()
        return self

    def stop(self) -> None:
        """Stop the server if it runs; its data stay."""
        if self.folder.is_dir():
            with self._locked():
                self._end_process()

    def remove(self) -> None:
        """Stop the server and remove everything of it, wherever it lies."""
        self.stop()
        for folder in (self.socket_folder, Path(os.path.realpath(self.folder))):
            shutil.rmtree(folder, ignore_errors=True)
        for name in (self.folder, self._lock):
            if name.is_symlink() or name.is_file():
                name.unlink()

    @cached_property
    def _account(self) -> Account | None:
        return process.server_account()

    @property
    def _lock(self) -> Path:
        # Not in the folder, which may be replaced by a link while the lock is held.
        return self.folder.with_name(f"{self.folder.name}.lock")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock that keeps other processes from starting or stopping the server."""
        try:
            self._lock.parent.mkdir(parents=True, exist_ok=True)
            with self._lock.open("ab") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except OSError as problem:
            raise LocalServerError(f"the local server in {self.folder}: {problem}", fix=_ANEW) from problem

    def _make_folders(self) -> None:
        if self.folder.is_symlink() and not self.folder.exists():
            self.folder.unlink()  # its target was removed with other temporary files
        # The folder itself stays root's, so that the server's account cannot replace what root opens in it.
        if not self.folder.exists():
            self.folder.mkdir()
            self.folder.chmod(0o711 if self._account else 0o700)
        if self._account and not process.can_enter(self._account, self.data.parent):
            self._relocate(self._account)
        link = self.folder / "socket"
        if link.is_symlink() and not link.exists():
            link.unlink()
        if not link.exists() and len(os.fsencode(self.socket_folder / _SOCKET)) > _MAX_SOCKET_PATH:
            link.symlink_to(tempfile.mkdtemp(prefix="db_setup-", dir=short_folder()))
        process.make_folder(self._account, self.socket_folder)

    def _relocate(self, account: Account) -> None:
        """Put the folder where the account has access, and leave a link: it may not enter the one it was named by."""
        try:
            self.folder.rmdir()
        except OSError:
            why = f"the user {account.name!r}, who runs PostgreSQL for root, cannot enter {self.folder}"
            raise LocalServerError(why, fix=_ANEW) from None
        elsewhere = Path(tempfile.mkdtemp(prefix="db_setup-", dir=readable_folder()))
        elsewhere.chmod(0o711)
        self.folder.symlink_to(elsewhere)

    def _check_version(self) -> None:
        made_by = (self.data / "PG_VERSION").read_text().strip()
        if made_by != str(self.binaries.major):
            raise LocalServerError(
                f"the data in {self.folder} were made by PostgreSQL {made_by}, and this is {self.binaries}",
                fix=f"set PGBIN to a PostgreSQL {made_by}; or {_ANEW}",
            )

    def _runs_these_binaries(self) -> bool:
        """Return whether the server that was started is this one; PGBIN may name another by now."""
        postgres = os.path.realpath(self.binaries.program("postgres"))
        started = process.lines_of(self.data / "postmaster.opts")
        return any(line.startswith(f"{postgres} ") for line in started)

    def _launch(self) -> None:
        """Start the server; after a crash, wait until the last backend of the crashed one has ended."""
        end = time.monotonic() + process.PATIENCE
        while output := self._try_to_launch():
            if _ORPHANS not in output or time.monotonic() > end:
                what = f"{self.binaries} does not start: {process.tail(output)}"
                raise LocalServerError(what, fix=f"read {self.log}; {_ANEW}")
            time.sleep(0.1)

    def _try_to_launch(self) -> str:
        """Start the server; return its output where it does not get ready."""
        process.remove_stale_lock_files(self.data / "postmaster.pid", self.socket_folder / f"{_SOCKET}.lock")
        server = [str(self.binaries.program("postgres")), "-D", str(self.data), *self._options()]
        with self.log.open("ab") as log:
            if log.tell() > _MAX_LOG:
                log.truncate(0)
            begin = log.seek(0, os.SEEK_END)
            # Not a child of this process: it outlives us, and when it dies it is not our zombie.
            command = ["/bin/sh", "-c", '"$@" >&2 & echo $!', "sh", *server]
            pid = int(process.run_as(self._account, command, output=log).stdout)
        process.wait_until(lambda: process.is_ready(self.data, pid) or not process.alive(pid))
        if process.is_ready(self.data, pid):
            return ""
        return self.log.read_bytes()[begin:].decode(errors="replace") or "no output"

    def _options(self) -> list[str]:
        settings = {
            **self._settings,
            "listen_addresses": "",
            "unix_socket_directories": '"{}"'.format(str(self.socket_folder).replace('"', '""')),
            "unix_socket_permissions": "0700",
        }
        return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]

    def _end_process(self) -> None:
        if not process.end_process(self.data):
            raise LocalServerError(f"the server in {self.folder} does not stop", fix=f"read {self.log}")


def project_data_folder() -> Path:
    """Return where the project keeps its local server's data: a git-ignored folder next to db_setup/."""
    return Path(__file__).resolve().parents[4] / ".local" / "postgres"


def local_database_url(data_folder: Path) -> str:
    """Return the URL of the server in a folder, whether it runs or not."""
    return LocalServer(data_folder).url
