"""The migrations folder on disk: names and checksums, read piece by piece."""

from __future__ import annotations

import codecs
import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from migrator.errors import FolderNotFound, InvalidFileName, UnreadableFile
from migrator.files.migration import (
    CHECK_SUFFIX,
    DOWN_SUFFIX,
    REPEATABLE,
    Migration,
    check_name,
    down_name,
    is_migration,
    looks_like_a_mistake,
)

_PIECE = 1 << 18  # bytes; a text is never held in larger pieces
_REPEATABLE, _ENVIRONMENTS = REPEATABLE.removesuffix("/"), "env"
_NAMES_ENVIRONMENTS = b"env="  # with "db_setup:" before it; such a file is read more closely
_UNCOUNTED = (b"forward-only", b"not-resumable")  # likewise
_FIRST_LINES = 200  # bytes in which such a line is, if there is one
_MANY_HYPHENS = 32
_DOWN_FOLDERS = frozenset({"revert", "down", "undo", "rollback"})
_LONGEST_LINE = 1 << 12  # bytes of a line that are looked at for a mark which lies across two pieces
_WHOLE = 1 << 15  # bytes; a longer read would cost more in memory handed out than in reading


class Folder(NamedTuple):
    """The migrations of a folder, in name order, and remarks about files that are not run.

    ``repeatable`` are those of its subfolder of that name, whose names begin with it; ``others`` those for other
    environments, repeatable ones too, and ``environments`` all that are named. ``suspects`` are those with a name or a
    line by which another tool might not run them forward.
    """

    path: str
    files: tuple[Migration, ...]
    warnings: tuple[str, ...]
    repeatable: tuple[Migration, ...] = ()
    others: tuple[Migration, ...] = ()
    environments: tuple[str, ...] = ()
    suspects: tuple[Migration, ...] = ()

    @property
    def every(self) -> tuple[Migration, ...]:
        """The migrations for all environments, but for repeatable ones."""
        return (*self.files, *self.others)

    @property
    def skipped(self) -> tuple[str, ...]:
        """The names of the files for other environments."""
        return tuple(file.name for file in self.others)


def default_path(base: str | os.PathLike[str]) -> str:
    """Return ``migrations`` next to initializer.py (as in a Lambda), else next to the drop-in folder."""
    inside = os.path.join(base, "migrations")
    return inside if os.path.isdir(inside) else os.path.join(os.path.dirname(base), "migrations")


def read_folder(path: str | os.PathLike[str], environment: str = "") -> Folder:
    """Read names and checksums of what is for an environment.

    Raises FolderNotFound, UnreadableFile, InvalidFileName, UnknownDirective or ForeignLayout.
    """
    files, warnings, inside = _read_part(path, "")
    repeatable: list[Migration] = []
    others: list[Migration] = []
    folders: list[str] = []
    if _REPEATABLE in inside:
        repeatable, more, _ = _read_part(os.path.join(path, _REPEATABLE), REPEATABLE)
        warnings += more
    if _ENVIRONMENTS in inside:
        folders, more = _environments_in(os.path.join(path, _ENVIRONMENTS))
        warnings += more
        for name in folders:
            part, more, _ = _read_part(os.path.join(path, _ENVIRONMENTS, name), f"{_ENVIRONMENTS}/{name}/")
            if name == environment:
                files, warnings = files + part, warnings + more
            else:
                others += part
    if not (files or inside) or _is_unfinished(files, path):
        from migrator.files.foreign import refuse_foreign_layout  # noqa: PLC0415 - for folders without a migration

        refuse_foreign_layout(path)
    if os.path.basename(os.path.abspath(path)) in _DOWN_FOLDERS:
        from migrator.files.foreign import refuse_down_folder  # noqa: PLC0415 - as above

        refuse_down_folder(path)
    found = Folder(str(path), tuple(files), tuple(warnings), tuple(repeatable))
    if folders or environment or any(file.environments for file in files + repeatable):
        found = _for_environment(found, others, folders, environment)
    return found._replace(suspects=_suspects((*found.files, *found.repeatable)))


def _is_unfinished(files: Sequence[Migration], path: str | os.PathLike[str]) -> bool:
    """Return whether the one file is what graphile-migrate has not committed yet, beside those that it has."""
    return [file.name for file in files] == ["current.sql"] and os.path.isdir(os.path.join(path, "committed"))


def _suspects(files: tuple[Migration, ...]) -> tuple[Migration, ...]:
    """Return the files with an odd name or line; nearly all folders have none, and load nothing for it."""
    by_name: tuple[Migration, ...] = ()
    if _is_suspicious([file.name for file in files]):
        from migrator.files.foreign import foreign_name  # noqa: PLC0415 - for folders that have such names

        named = {file.name: file for file in files}
        by_name = tuple(file for file in files if _is_suspicious([file.name]) and foreign_name(file, named))
    marked = tuple(file for file in files if file.marked)
    return tuple(dict.fromkeys((*by_name, *marked))) if by_name or marked else ()


def _is_suspicious(names: list[str]) -> bool:
    """Return whether among names there is one with a word or a letter of other tools; all are asked for at once."""
    text = "\n".join(("", *names))
    lower = text.lower()
    return (
        "down" in lower or "undo" in lower or "rollback" in lower or "revert" in lower or "\nbefore" in lower
        or "\nafter" in lower or "/before" in lower or "/after" in lower
        or "\nonabort" in lower or "/onabort" in lower
        or (
            any(start in lower for start in ("\nu", "\nr", "\nb", "/u", "/r", "/b"))
            and any(_begins_with_a_letter(name.rpartition("/")[2]) for name in names)
        )
        or ("_U" in text and any(part[:1].isdigit() for part in text.split("_U")[1:]))
    )  # fmt: skip


def _begins_with_a_letter(name: str) -> bool:
    """Return whether a name may begin as Flyway's U1__x, R__x or B1__x do."""
    return name[0] in "URBurb" and (name[1:2].isdigit() or name[1:3] == "__")


def _for_environment(folder: Folder, others: list[Migration], folders: list[str], environment: str) -> Folder:
    from migrator.files.directives import choose  # noqa: PLC0415 - for folders that have some

    chosen = choose((*folder.files, *folder.repeatable), others, folders, environment)
    again = tuple(file for file in chosen.files if file.name.startswith(REPEATABLE))
    return folder._replace(
        files=tuple(file for file in chosen.files if not file.name.startswith(REPEATABLE)), repeatable=again,
        warnings=(*folder.warnings, *chosen.warnings), others=chosen.others, environments=chosen.known,
    )  # fmt: skip


def _environments_in(path: str) -> tuple[list[str], list[str]]:
    """Return the names of the environments that have a folder, and remarks about files that are in none of these."""
    listed = _listed(path, _ENVIRONMENTS)
    lost = [entry.name for entry in listed if is_migration(entry.name) and _is_file(entry)]
    return (
        [entry.name for entry in listed if entry.is_dir() and not entry.name.startswith(".")],
        [f"{_ENVIRONMENTS}/{name} is not run: it is in the folder of no environment, such as env/dev" for name in lost],
    )


def _read_part(path: str | os.PathLike[str], prefix: str) -> tuple[list[Migration], list[str], list[str]]:
    """Return the migrations directly in a folder, remarks, and the names of its folders that have a meaning."""
    files: list[Migration] = []
    warnings: list[str] = []
    companions: dict[str, str] = {}
    inside: list[str] = []
    listed = _listed(path, prefix.removesuffix("/"))
    named = [is_migration(entry.name) for entry in listed]
    for entry, may_be in zip(listed, named, strict=True):  # companions come before their file: 1.down.sql, 1.sql
        if may_be and _is_file(entry):
            files.append(_read_migration(prefix + entry.name, entry.path, companions))
        elif entry.name.endswith((DOWN_SUFFIX, CHECK_SUFFIX)) and not entry.name.startswith(".") and _is_file(entry):
            companions[prefix + entry.name] = entry.path
        elif entry.name in {_REPEATABLE, _ENVIRONMENTS} and not prefix and entry.is_dir():
            inside.append(entry.name)
        elif remark := _remark(entry):
            warnings.append(prefix + remark)
    if companions:
        warnings += _without_migration(companions, files)
    return files, warnings, inside


def _listed(path: str | os.PathLike[str], name: str) -> list[os.DirEntry[str]]:
    """Return what is in a folder, by name; ``name`` is that of a folder in the migrations folder, "" for itself."""
    try:
        with os.scandir(path) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        if name:
            raise UnreadableFile(
                f"the folder {name} cannot be read ({error.strerror})",
                fix="give the user who runs this permission to read and enter the folder",
            ) from error
        raise FolderNotFound(
            f"no migrations folder at {path} ({error.strerror})",
            fix="make the folder, or set MIGRATIONS_DIR (or --migrations) to where it is",
        ) from error


def _without_migration(companions: dict[str, str], files: list[Migration]) -> list[str]:
    """Name the checks that are never run; the down migration of a file that is gone may be there on purpose."""
    known = {file.check for file in files}
    return [
        f"{name} is not run: there is no {name.removesuffix(CHECK_SUFFIX)}.sql"
        for name, path in companions.items()
        if name.endswith(CHECK_SUFFIX) and path not in known
    ]


def _remark(entry: os.DirEntry[str]) -> str:
    """Name what may have been meant as a migration and is not run; raises UnreadableFile for a device or pipe."""
    name = entry.name if entry.name.isprintable() else ascii(entry.name)[1:-1]
    if os.path.isdir(entry.path):
        return f"{name} is a folder; the .sql files in it are not run" if _holds_migrations(entry) else ""
    if is_migration(entry.name):
        if not os.path.exists(entry.path):
            return f"{name} is a broken symlink; it is not run"
        raise UnreadableFile(f"{name} is not a regular file", fix="move it elsewhere, and put a file in its place")
    if looks_like_a_mistake(entry.name):
        return f"{name} is not run: only names that end in .sql are (in lower case)"
    return ""


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link to itself, or through a file: broken, which is a remark
        return False


def _holds_migrations(entry: os.DirEntry[str]) -> bool:
    try:
        inside = os.listdir(entry.path)
    except OSError:  # unreadable, so nobody expects that what is in it is run
        inside = []
    return is_migration(entry.name) or any(map(is_migration, inside))


def _read_migration(name: str, path: str, companions: Mapping[str, str]) -> Migration:
    """Read one file; ``companions`` has the paths of those in its folder. Raises UnreadableFile or InvalidFileName."""
    found = _read_file(name, path)
    if not companions:
        return found
    return found._replace(down=companions.get(down_name(name), ""), check=companions.get(check_name(name), ""))


def _read_file(name: str, path: str) -> Migration:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InvalidFileName(
            f"the name {name!a} is not UTF-8", fix="rename the file; letters, digits and _ serve best"
        ) from None
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            content = os.read(descriptor, _WHOLE)
            if len(content) < _WHOLE:
                found = Migration(name, path, checksum(content), len(content), marked=_is_marked(content))
            else:
                found = _read_large(name, path, descriptor, content)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UnreadableFile(
            f"{name} cannot be read ({error.strerror})", fix="give the user who runs this read permission"
        ) from error
    if b"db_setup:" in content and (_NAMES_ENVIRONMENTS in content or _has_uncounted(content)):
        from migrator.files.directives import FORWARD_ONLY, named_in, uncounted_lines  # noqa: PLC0415 - for files with some

        if _NAMES_ENVIRONMENTS in content:
            found = found._replace(environments=named_in(content, name))
        if FORWARD_ONLY in uncounted_lines(content.removeprefix(codecs.BOM_UTF8))[0]:
            found = found._replace(forward_only=True, marked=False)
    return found


def _is_marked(piece: bytes) -> bool:
    """Return whether a text has a line like another tool's mark for a down migration.

    It is asked of every file in every run, so what costs nothing comes first: hyphens, comments, words. (One byte is
    found far sooner than two.)
    """
    hyphens = piece.count(b"-")
    if hyphens < 2 or (hyphens < _MANY_HYPHENS and b"--" not in piece):  # two make a comment
        return False
    words = b"\n".join([part.partition(b"\n")[0] for part in piece.split(b"--")[1:]]).lower()
    if not (
        b"down" in words or b"undo" in words or b"rollback" in words or b"roll back" in words or b"revert" in words
        or b"drop below" in words
    ):  # fmt: skip
        return False
    from migrator.files.foreign import has_down_line  # noqa: PLC0415 - for files that have such a word

    return has_down_line(piece.removeprefix(codecs.BOM_UTF8))


def _has_uncounted(content: bytes) -> bool:
    """Return whether a text has the name of a directive that is no part of its checksum."""
    return any(name in content for name in _UNCOUNTED)


def _counted(content: bytes) -> bytes:
    """Return a text without the lines at its beginning that are no part of its checksum."""
    if not _has_uncounted(content[:_FIRST_LINES]):
        return content
    from migrator.files.directives import uncounted_lines  # noqa: PLC0415 - for files that have some

    return uncounted_lines(content)[1]


def _read_large(name: str, path: str, descriptor: int, start: bytes) -> Migration:
    """Return the migration with the checksum of a text that is read piece by piece."""
    digest, size = hashlib.sha256(), len(start)
    held, piece = b"", _counted(start.removeprefix(codecs.BOM_UTF8))
    marked, line = False, b""
    while piece:
        marked = marked or _is_marked(line + piece)
        line = piece[-_LONGEST_LINE:]
        line = line[max(line.rfind(b"\n"), line.rfind(b"\r")) + 1 :]
        piece = held + piece
        held = b"\r" if piece.endswith(b"\r") else b""  # the \n of this \r may come with the next piece
        digest.update(_normalised(piece.removesuffix(held)))
        piece = os.read(descriptor, _PIECE)
        size += len(piece)
    digest.update(_normalised(held))
    return Migration(name, path, digest.hexdigest(), size, marked=marked)


def checksum(content: bytes) -> str:
    """Return the SHA-256 of the text with LF line ends, in hexadecimal, without BOM and uncounted directives."""
    return hashlib.sha256(_normalised(_counted(content.removeprefix(codecs.BOM_UTF8)))).hexdigest()


def _normalised(content: bytes) -> bytes:
    """Return the bytes with CRLF and lone CR turned into LF, so that a checkout on Windows is no edit."""
    if b"\r" not in content:
        return content
    return content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
