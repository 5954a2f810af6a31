"""The migrations folder on disk: names, checksums, and texts read through a fixed window."""

from __future__ import annotations

import codecs
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from migrator.errors import FolderNotFound, InvalidEncoding, InvalidFileName, Location, NulByte, UnreadableFile
from migrator.migration import BOM, Migration, checksum, is_migration, looks_like_a_mistake, normalised

_WINDOW = 1 << 18  # bytes; a text is never held in larger pieces
_WHOLE = 1 << 20  # bytes; files up to this size are read at once for their checksum
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_SPECIAL_CODECS = {"unicode": "utf-8", "sql_ascii": "utf-8", "koi8r": "koi8_r", "koi8u": "koi8_u", "euc_cn": "gb2312"}


class Folder(NamedTuple):
    """The migrations of a folder, in name order, and remarks about files that are not run."""

    path: str
    files: tuple[Migration, ...]
    warnings: tuple[str, ...]


def default_path(base: Path) -> Path:
    """Return ``migrations`` beside initializer.py (as in a Lambda), else beside the drop-in folder."""
    inside = base / "migrations"
    return inside if inside.is_dir() else base.parent / "migrations"


def read_folder(path: Path) -> Folder:
    """Read names and checksums; raises FolderNotFound, UnreadableFile or InvalidFileName."""
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
    for entry in listed:
        if is_migration(entry.name) and entry.is_file():
            files.append(_read_migration(entry))
        elif remark := _remark(entry):
            warnings.append(remark)
    return Folder(str(path), tuple(files), tuple(warnings))


def _remark(entry: os.DirEntry[str]) -> str:
    """Say what may have been meant as a migration and is not run; raises UnreadableFile for a device or pipe."""
    name = ascii(entry.name)[1:-1]
    if entry.is_dir():
        holds_sql = any(is_migration(inner) for inner in os.listdir(entry.path))
        return f"{name} is a folder; the .sql files in it are not run" if holds_sql or is_migration(entry.name) else ""
    if is_migration(entry.name):
        if entry.is_symlink():
            return f"{name} is a link to nowhere; it is not run"
        raise UnreadableFile(f"{name} is not a regular file", cure="replace it with a file, or remove it")
    if looks_like_a_mistake(entry.name):
        return f"{name} is not run: only names that end in .sql are (in lower case)"
    return ""


def _read_migration(entry: os.DirEntry[str]) -> Migration:
    try:
        entry.name.encode()
    except UnicodeEncodeError:
        raise InvalidFileName(
            f"the name {entry.name!a} is not UTF-8", cure="rename the file; letters, digits and _ serve best"
        ) from None
    try:
        descriptor = os.open(entry.path, os.O_RDONLY)
        try:
            content = os.read(descriptor, _WHOLE)
            if len(content) < _WHOLE:
                return Migration(entry.name, entry.path, checksum(content), len(content))
            return _read_large(entry, descriptor, content)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UnreadableFile(
            f"{entry.name} cannot be read ({error.strerror})", cure="give the user who runs this read permission"
        ) from error


def _read_large(entry: os.DirEntry[str], descriptor: int, start: bytes) -> Migration:
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
    return Migration(entry.name, entry.path, digest.hexdigest(), size)


def read_text(migration: Migration) -> Iterator[str]:
    """Yield the text in pieces, decoded from the encoding it declares, without BOM and with its own line ends.

    Raises NulByte or InvalidEncoding with the place.
    """
    with Path(migration.path).open("rb") as file:
        piece = file.read(_WINDOW)
        codec = _declared_codec(piece, migration.name)
        decoder, line = codecs.getincrementaldecoder(codec)(), 1
        piece = piece.removeprefix(BOM)
        while piece:
            following = file.read(_WINDOW)
            yield _decoded(piece, decoder, not following, migration.name, line, codec)
            line += piece.count(b"\n")
            piece = following


def _decoded(
    piece: bytes, decoder: codecs.IncrementalDecoder, final: bool, name: str, line: int, codec: str
) -> str:
    if b"\x00" in piece:
        raise NulByte(
            "the text holds a NUL byte", where=_place(piece, piece.index(b"\x00"), name, line), cure="remove the byte"
        )
    try:
        return decoder.decode(piece, final)
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise InvalidEncoding(
            f"byte 0x{byte:02x} is not {codec}",
            where=_place(bytes(error.object), error.start, name, line),
            cure="save the file as UTF-8, or begin it with SET client_encoding TO 'LATIN1'; (or whatever it is in)",
        ) from None


def _place(piece: bytes, offset: int, name: str, line: int) -> Location:
    start = piece.rfind(b"\n", 0, offset) + 1
    end = piece.find(b"\n", offset)
    text = piece[start : end if end >= 0 else len(piece)].decode("ascii", "replace").replace("\x00", "\ufffd")
    return Location(name, line + piece.count(b"\n", 0, offset), offset - start + 1, text)


def _declared_codec(start: bytes, name: str) -> str:
    """Return the Python codec for the client_encoding that a text sets near its beginning; UTF-8 by default."""
    if start.startswith(_UTF16_MARKS):
        raise InvalidEncoding("the file is UTF-16", where=Location(name, 1, 1), cure="save it as UTF-8")
    setting = rb"^[ \t]*SET\s+(?:(?:SESSION|LOCAL)\s+)?(?:client_encoding\s*(?:=|\bTO\b)|NAMES)\s*'?([\w-]+)"
    found = re.search(setting, start, re.IGNORECASE | re.MULTILINE)
    if found is None or start.startswith(BOM):
        return "utf-8"
    declared = found[1].decode("ascii").lower()
    try:
        return codecs.lookup(_SPECIAL_CODECS.get(declared, declared.replace("win", "cp"))).name
    except LookupError:
        raise InvalidEncoding(
            f'unknown client_encoding "{declared}"', where=_place(start, found.start(1), name, 1),
            cure="save the file as UTF-8, and remove the SET",
        ) from None
