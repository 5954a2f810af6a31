"""Copies of the project: what is measured and changed is never the folder that somebody works in."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
CACHE = PROJECT / ".mutants"
"""What has been measured, by a hash of the files that it was measured on."""

MIGRATOR = "db_setup/migrator"
PACKAGES = ("execution", "history", "planning", "sql")
"""The packages that are mutated, and that have to be covered completely."""


def files(project: Path = PROJECT) -> list[str]:
    """Return the project's files as git sees them, those that are not committed yet too."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True).stdout
    return sorted(name for name in set(listed.split("\0")) if name and (project / name).is_file())


def commit(project: Path = PROJECT) -> str:
    """Return the hash of the commit, which is the seed unless another one is given."""
    command = ["git", "rev-parse", "HEAD"]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, check=True).stdout.strip()


def is_committed(project: Path = PROJECT) -> bool:
    """Return whether the files are those of the commit."""
    command = ["git", "status", "--porcelain"]
    return not subprocess.run(command, cwd=project, capture_output=True, text=True, check=True).stdout


def copy(target: Path, project: Path = PROJECT) -> Path:
    """Copy the project's files, with their times, and return the target."""
    for name in files(project):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(project / name, target / name)
    return target


def fingerprint(names: list[str], project: Path = PROJECT) -> str:
    """Return a hash of the names and contents of files."""
    found = hashlib.sha256()
    for name in names:
        content = (project / name).read_bytes()
        found.update(f"{name}\0{len(content)}\0".encode() + content)
    return found.hexdigest()[:20]


def modules(package: str, project: Path = PROJECT) -> list[str]:
    """Return the modules of a package."""
    return [name for name in files(project) if name.startswith(f"{MIGRATOR}/{package}/") and name.endswith(".py")]
