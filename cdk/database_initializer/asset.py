"""The package of the function: db_setup/, the migrations and psycopg2, and nothing else.

It is named by a digest of its content, so a synth in which nothing changed builds nothing, and two machines agree on
the name.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .driver_wheels import CACHE, Target, drivers, new_folder
from .errors import InvalidProps
from .location import DB_SETUP

CA_BUNDLE = "global-bundle.pem"
MAX_BYTES = 250 * 1024 * 1024
"""Lambda's limit for a package and its layers, unzipped."""
DEVELOPER_ONLY = "migrator/cli"
"""The part of db_setup/ that only a developer's machine needs."""
_MIGRATIONS = ("*.sql", "repeatable/*.sql", "env/*/*.sql")
_MAX_CACHED = 8  # packages of earlier synths
_IN_USE = 3600  # seconds; another synth may still be copying a package that it has just built
_PIECE = 1 << 20


class Asset(NamedTuple):
    """A built package: where it is, the digest of its content, its size in bytes, and its largest file."""

    path: Path
    digest: str
    size: int
    largest: str


def build(migrations: Path, target: Target | None, ca_bundle: Path | None) -> Asset:
    """Return the package; without a target it has no psycopg2. Raises InvalidProps."""
    parts = dict(_parts(migrations, ca_bundle))
    if target is not None:
        found = drivers(target)
        parts.update((path.relative_to(found).as_posix(), path) for path in files_in(found))
    digest = _digest(parts)
    folder = CACHE / f"asset-{digest[:32]}"
    sizes = {name: path.stat().st_size for name, path in parts.items()}
    if folder.is_dir() and _sizes(folder) != sizes:
        shutil.rmtree(folder)  # it was changed after it was built
    if folder.is_dir():
        os.utime(folder)
    else:
        with new_folder(folder) as unfinished:
            fill(unfinished, parts)
        _remove_old()
    return Asset(folder, digest, sum(sizes.values()), max(sizes, key=lambda name: sizes[name]))


def _parts(migrations: Path, ca_bundle: Path | None) -> Iterator[tuple[str, Path]]:
    """Yield names in the package, with the files they come from."""
    yield "initializer.py", DB_SETUP / "initializer.py"
    for path in files_in(DB_SETUP / "migrator"):
        name = path.relative_to(DB_SETUP)
        if name.suffix == ".py" and not name.is_relative_to(DEVELOPER_ONLY):
            yield name.as_posix(), path
    for path in _sql_files(migrations):
        yield f"migrations/{path.relative_to(migrations).as_posix()}", path
    bundle = ca_bundle or DB_SETUP / CA_BUNDLE
    if ca_bundle is not None and not (ca_bundle.is_file() and ca_bundle.stat().st_size):
        raise InvalidProps(f"ca_bundle: there is no file {ca_bundle}", fix="give the path of the RDS CA bundle")
    if bundle.is_file():
        yield CA_BUNDLE, bundle


def _sql_files(migrations: Path) -> Iterator[Path]:
    """Yield the files that a run can read, for every environment; down migrations and checks, too.

    Files of other environments are included because the database may have belonged to one of them: a run reports an
    applied migration whose file is missing.
    """
    for pattern in _MIGRATIONS:
        for path in sorted(migrations.glob(pattern)):
            hidden = any(part.startswith(".") for part in path.relative_to(migrations).parts)
            if path.is_file() and not hidden:
                yield path


def files_in(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder and its subfolders, in the order of names."""
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        yield from (Path(root, name) for name in sorted(names) if os.path.isfile(os.path.join(root, name)))


def _digest(parts: dict[str, Path]) -> str:
    """Return a digest of names and contents; times, owners, modes and folders of this machine are not in it."""
    whole = hashlib.sha256()
    for name in sorted(parts):
        content = hashlib.sha256()
        with parts[name].open("rb") as file:
            while piece := file.read(_PIECE):
                content.update(piece)
        whole.update(f"{Path(name).as_posix()}\0{content.hexdigest()}\n".encode())
    return whole.hexdigest()


def _sizes(folder: Path) -> dict[str, int]:
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files_in(folder)}


def fill(folder: Path, parts: dict[str, Path]) -> None:
    """Copy files to their names in a folder, readable for everybody."""
    for name, source in parts.items():
        goal = folder / name
        goal.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, goal)
        goal.chmod(0o644)  # whatever the umask here is, Lambda's user must be able to read it
    for path in folder.rglob("*"):
        if path.is_dir():
            path.chmod(0o755)


def _remove_old() -> None:
    built = sorted(CACHE.glob("asset-*"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in built[_MAX_CACHED:]:
        if time.time() - path.stat().st_mtime > _IN_USE:
            shutil.rmtree(path, ignore_errors=True)
