"""psycopg2 for Lambda, from pinned wheels: downloaded once for each Python and architecture, without Docker."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from .errors import InvalidProps
from .location import DB_SETUP

LOCK = Path(__file__).with_name("psycopg2.lock")
CACHE = DB_SETUP.parent / ".db_setup"
"""Next to db_setup/; its content can be removed at any time."""

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
_PLATFORMS = {  # the newer of two is what arm64's wheels are built for; pip alone would take an older psycopg2
    "x86_64": ("manylinux_2_28_x86_64", "manylinux2014_x86_64"),
    "arm64": ("manylinux_2_28_aarch64", "manylinux2014_aarch64"),
}
_LEFT_OUT = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")  # they describe this machine and this pip


class Target(NamedTuple):
    """What a package is built for: a Python such as "3.14", and "x86_64" or "arm64"."""

    python: str
    architecture: str

    def check(self) -> None:
        """Raise InvalidProps where there is no wheel."""
        if self.python not in PYTHONS:
            raise InvalidProps(
                f"there is no psycopg2 wheel of the pinned version for Python {self.python}",
                fix=f"use a runtime of Python {', '.join(PYTHONS)}, or bring your own psycopg2 in layers=[...]",
            )
        if self.architecture not in _PLATFORMS:
            raise InvalidProps(
                f'there is no psycopg2 wheel for the architecture "{self.architecture}"',
                fix=f"use one of: {', '.join(_PLATFORMS)}",
            )


def drivers(target: Target) -> Path:
    """Return a folder with psycopg2 for the target; it is made when it is not there. Raises InvalidProps."""
    target.check()
    key = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]
    folder = CACHE / f"psycopg2-cp{target.python.replace('.', '')}-{target.architecture}-{key}"
    if not folder.is_dir():
        with new_folder(folder) as unfinished:
            _fetch(target, unfinished)
            _strip(unfinished)
    return folder


def _fetch(target: Target, folder: Path) -> None:
    words = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
    words += ["--no-deps", "--no-compile", "--only-binary=:all:", "--require-hashes", "--requirement", str(LOCK)]
    words += ["--target", str(folder), "--implementation", "cp", "--python-version", target.python]
    words += [word for platform in _PLATFORMS[target.architecture] for word in ("--platform", platform)]
    environ = {**os.environ, "PIP_USER": "0"}  # with PIP_USER=1, pip refuses --target
    done = subprocess.run(words, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        output = [line for line in lines if line.startswith("ERROR")] or lines or [f"exit status {done.returncode}"]
        raise InvalidProps(
            f"psycopg2 for Python {target.python} on {target.architecture} could not be fetched ({output[-1]})",
            fix="this needs pip (in an environment without: python -m ensurepip) and a package index, once for each "
            "version; or bring your own psycopg2 in layers=[...]",
        )


def _strip(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.name in _LEFT_OUT or path.suffix == ".pyc":
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()


class new_folder:  # noqa: N801 - it is used like a function
    """A folder that appears complete under its name, or not at all, also when several synths make it at once."""

    def __init__(self, final: Path) -> None:
        self._final = final

    def __enter__(self) -> Path:
        try:
            CACHE.mkdir(parents=True, exist_ok=True)
            (CACHE / ".gitignore").write_text("*\n")
            self._unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=CACHE))
        except OSError as error:
            raise InvalidProps(
                f"{CACHE} cannot be written ({error.strerror})", fix="synth once where the project can be written"
            ) from error
        return self._unfinished

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._unfinished.chmod(0o755)
            try:
                os.replace(self._unfinished, self._final)
            except OSError:
                if not self._final.is_dir():  # else another synth was faster, and its folder is the same
                    raise
        shutil.rmtree(self._unfinished, ignore_errors=True)
