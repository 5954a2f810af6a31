"""The server as processes: the account they run as when root starts them (PostgreSQL refuses root), and their state."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from migrator.errors import LocalServerError

# A server needs nothing of the developer's environment. UTC is what RDS has, and spares initdb a search.
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
USER = "postgres"  # the superuser inside
_ACCOUNTS = ("nobody", "postgres")
_DATA_OPTION = re.compile(r"\bpostgres -D (.+?) -c ")
PATIENCE = 60.0  # seconds; a start after a crash replays the log first


class Account(NamedTuple):
    """An account that is not root."""

    name: str
    uid: int
    gid: int


def server_account() -> Account | None:
    """Return the account to run a server as; None for an ordinary user, who runs it under their own."""
    if os.geteuid() != 0:
        return None
    for name in _ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise LocalServerError(
        f"PostgreSQL refuses to run as root, and there is no user {' or '.join(_ACCOUNTS)}",
        fix="run this as an ordinary user, or set DATABASE_URL to a server elsewhere",
    )


def run_as(
    account: Account | None,
    command: Sequence[str | Path],
    *,
    output: int | IO[bytes] = subprocess.PIPE,
) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end as ``account``, in a session of its own: Ctrl-C here does not reach it."""
    return subprocess.run(
        command,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        # The caller's folder may be closed to that account.
        cwd="/",
        env=_ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=output,
        start_new_session=True,
        check=False,
    )


def can_run(account: Account, program: Path) -> bool:
    """Return whether the account can run a program, by trying, since permission bits are not all that matters."""
    try:
        return run_as(account, [program, "--version"]).returncode == 0
    except PermissionError:
        return False


def can_enter(account: Account, folder: Path) -> bool:
    """Return whether the account can enter a folder, by trying."""
    return run_as(account, ["/bin/sh", "-c", 'cd "$1"', "sh", folder]).returncode == 0


def make_folder(account: Account | None, folder: Path) -> None:
    """Create a folder that only the account can enter, or take one that exists."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if account:
        os.chown(folder, account.uid, account.gid, follow_symlinks=False)


def make_data(account: Account | None, initdb: Path, major: int, data: Path) -> None:
    """Run initdb under another name and rename: unfinished data are never taken for a data directory."""
    aside = data.with_name(f"{data.name}.new")
    # PostgreSQL 17 brought a C.UTF-8 of its own; before, it is the system's, and macOS has none.
    builtin = "--locale-provider=builtin --builtin-locale=C.UTF-8 --locale=C"
    for locale in (builtin if major >= 17 else "--locale=C.UTF-8", "--locale=C"):
        shutil.rmtree(aside, ignore_errors=True)
        make_folder(account, aside)
        options = ["--username", USER, "--auth", "trust", "--encoding", "UTF8", *locale.split(), "--no-sync"]
        done = run_as(account, [initdb, "--pgdata", aside, *options])
        if done.returncode == 0:
            aside.rename(data)
            return
    raise LocalServerError(
        f"{initdb} failed: {tail((done.stderr or done.stdout).decode(errors='replace'))}",
        fix="name another server's programs with PGBIN, or set DATABASE_URL to a server elsewhere",
    )


def server_process(data: Path) -> int | None:
    """Return the process that serves these data, if there is one.

    The lock file alone does not prove it: after a crash its number may be another program's, that of a server of
    other data, or a zombie's.
    """
    lines = lines_of(data / "postmaster.pid")
    served = _DATA_OPTION.search(_command_line(pid := int(lines[0]))) if lines else None
    # Data that are not where the server found them any more were moved while it ran: these are they.
    if served and (not Path(served[1]).exists() or data.samefile(served[1])):
        return pid
    return None


def end_process(data: Path) -> bool:
    """Shut the server of these data down cleanly; return whether it has ended."""
    pid = server_process(data)
    if pid is None:
        return True
    os.kill(pid, signal.SIGINT)  # PostgreSQL's fast shutdown: clients are disconnected
    return wait_until(lambda: server_process(data) is None)


def is_ready(data: Path, pid: int) -> bool:
    """Return whether a server has written into its lock file that it accepts connections."""
    lines = lines_of(data / "postmaster.pid")
    return len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() == "ready"


def remove_stale_lock_files(*locks: Path) -> None:
    """Remove lock files whose process number is another program's by now, which PostgreSQL would take for a server.

    Only for a server that does not run. A file whose process has ended is left to PostgreSQL.
    """
    for lock in locks:
        lines = lines_of(lock)
        if lines and _exists(int(lines[0])):
            lock.unlink()


def alive(pid: int) -> bool:
    """Return whether a process of ours runs."""
    return bool(_command_line(pid)) or (_exists(pid) and _starts_another_program(pid))


def _starts_another_program(pid: int) -> bool:
    """Return whether a process without a command line is no zombie: within exec, Linux shows an empty one."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return "\nState:\tZ" not in status and "\nState:\tX" not in status


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def lines_of(file: Path) -> list[str]:
    """Return the lines of a file, none when it does not exist."""
    try:
        return file.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []


def wait_until(reached: Callable[[], bool]) -> bool:
    """Wait until a condition holds, at most ``PATIENCE`` seconds; return whether it does."""
    end = time.monotonic() + PATIENCE
    while not (done := reached()) and time.monotonic() < end:
        time.sleep(0.01)
    return done


def _command_line(pid: int) -> str:
    """Return the words of a process's command line; empty when it is gone, a zombie, or not ours."""
    if not _exists(pid):
        return ""
    listing = Path(f"/proc/{pid}/cmdline")
    if listing.exists():
        return listing.read_bytes().replace(b"\0", b" ").decode(errors="surrogateescape")
    command = ["/bin/ps", "-ww", "-o", "args=", "-p", str(pid)]
    shown = subprocess.run(command, capture_output=True, check=False)
    return shown.stdout.decode(errors="surrogateescape")


def tail(text: str, lines: int = 8) -> str:
    """Return the last lines of a text, where programs write why they end."""
    return "\n".join(text.strip().splitlines()[-lines:])
