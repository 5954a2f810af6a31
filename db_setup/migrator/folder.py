"""The migrations folder on disk: names and checksums, read through a fixed window."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping

from migrator.errors import FolderNotFound, InvalidFileName, UnreadableFile
from migrator.light import NamedTuple
from migrator.migration import (
    BOM,
    CHECK_SUFFIX,
    DOWN_SUFFIX,
    REPEATABLE,
    Migration,
    beside,
    checksum,
    is_migration,
    looks_like_a_mistake,
    normalised,
)  # fmt: skip

_WINDOW = 1 << 18  # bytes; a text is never held in larger pieces
_REPEATABLE = REPEATABLE.removesuffix("/")
_WHOLE = 1 << 15  # bytes; a longer read would cost more in memory handed out than in reading


class Folder(NamedTuple):
    """The migrations of a folder, in name order, and remarks about files that are not run.

    ``repeatable`` are those of its subfolder of that name, whose names begin with it.
    """

    path: str
    files: tuple[Migration, ...]
    warnings: tuple[str, ...]
    repeatable: tuple[Migration, ...] = ()


def default_path(base: str | os.PathLike[str]) -> str:
    """Return ``migrations`` beside initializer.py (as in a Lambda), else beside the drop-in folder."""
    inside = os.path.join(base, "migrations")
    return inside if os.path.isdir(inside) else os.path.join(os.path.dirname(base), "migrations")


def read_folder(path: str | os.PathLike[str]) -> Folder:
    """Read names and checksums; raises FolderNotFound, UnreadableFile or InvalidFileName."""
    files, warnings, inside = _read_part(path, "")
    repeatable: list[Migration] = []
    if inside:
        repeatable, more, _ = _read_part(os.path.join(path, inside), REPEATABLE)
        warnings += more
    return Folder(str(path), tuple(files), tuple(warnings), tuple(repeatable))


def _read_part(path: str | os.PathLike[str], prefix: str) -> tuple[list[Migration], list[str], str]:
    """Return the migrations directly in a folder, remarks, and the name of its folder of repeatable files, if any."""
    try:
        with os.scandir(path) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise FolderNotFound(
            f"no migrations folder at {path} ({error.strerror})",
            cure="make the folder, or set MIGRATIONS_DIR (or --migrations) to where it is",
        ) from error
    files: list[Migration] = []
    warnings: list[str] = []
    helpers: dict[str, str] = {}
    inside = ""
    for entry in listed:  # the files beside a migration come before it: "." is below "s", as in 1.down.sql and 1.sql
        if is_migration(entry.name) and _is_file(entry):
            files.append(read_migration(prefix + entry.name, entry.path, helpers))
        elif entry.name.endswith((DOWN_SUFFIX, CHECK_SUFFIX)) and not entry.name.startswith(".") and _is_file(entry):
            helpers[prefix + entry.name] = entry.path
        elif entry.name == _REPEATABLE and not prefix and entry.is_dir():
            inside = entry.name
        elif remark := _remark(entry):
            warnings.append(remark)
    if helpers:
        warnings += _without_migration(helpers, files)
    return files, warnings, inside


def _without_migration(helpers: dict[str, str], files: list[Migration]) -> list[str]:
    """Say which checks are never made; a way back of a file that is gone may be kept on purpose."""
    known = {file.check for file in files}
    return [
        f"{name} is not run: there is no {name.removesuffix(CHECK_SUFFIX)}.sql beside it"
        for name, path in helpers.items()
        if name.endswith(CHECK_SUFFIX) and path not in known
    ]


def _remark(entry: os.DirEntry[str]) -> str:
    """Say what may have been meant as a migration and is not run; raises UnreadableFile for a device or pipe."""
    name = entry.name if entry.name.isprintable() else ascii(entry.name)[1:-1]
    if os.path.isdir(entry.path):
        return f"{name} is a folder; the .sql files in it are not run" if _holds_migrations(entry) else ""
    if is_migration(entry.name):
        if not os.path.exists(entry.path):
            return f"{name} is a link to nowhere; it is not run"
        raise UnreadableFile(f"{name} is not a regular file", cure="replace it with a file, or remove it")
    if looks_like_a_mistake(entry.name):
        return f"{name} is not run: only names that end in .sql are (in lower case)"
    return ""


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link to itself, or through a file: it leads nowhere, which _remark tells
        return False


def _holds_migrations(entry: os.DirEntry[str]) -> bool:
    try:
        inside = os.listdir(entry.path)
    except OSError:  # closed to us, so nobody expects us to run what is in it
        inside = []
    return is_migration(entry.name) or any(map(is_migration, inside))


def read_migration(name: str, path: str, helpers: Mapping[str, str] | None = None) -> Migration:
    """Read one file; ``helpers`` has the paths of the files beside it. Raises UnreadableFile or InvalidFileName."""
    found = _read_file(name, path)
    if not helpers:
        return found
    down, check = (helpers.get(beside(name, suffix), "") for suffix in (DOWN_SUFFIX, CHECK_SUFFIX))
    return found._replace(down=down, check=check)


def _read_file(name: str, path: str) -> Migration:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InvalidFileName(
            f"the name {name!a} is not UTF-8", cure="rename the file; letters, digits and _ serve best"
        ) from None
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            content = os.read(descriptor, _WHOLE)
            if len(content) < _WHOLE:
                return Migration(name, path, checksum(content), len(content))
            return _read_large(name, path, descriptor, content)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UnreadableFile(
            f"{name} cannot be read ({error.strerror})", cure="give the user who runs this read permission"
        ) from error


def _read_large(name: str, path: str, descriptor: int, start: bytes) -> Migration:
    """Return the migration with the checksum of a text that is read piece by piece."""
    digest, size = hashlib.sha256(), len(start)
    held, piece = b"", start.removeprefix(BOM)
    while piece:
        piece = held + piece
        held = b"\r" if piece.endswith(b"\r") else b""  # the \n of this \r may come with the next piece
        digest.update(normalised(piece.removesuffix(held)))
        piece = os.read(descriptor, _WINDOW)
        size += len(piece)
    digest.update(normalised(held))
    return Migration(name, path, digest.hexdigest(), size)
