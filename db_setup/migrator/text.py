"""The text of a migration: its file decoded piece by piece, in the encoding it declares."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

from migrator.encodings import declared_codec
from migrator.errors import InvalidEncoding, NulByte
from migrator.excerpt import Location
from migrator.migration import BOM, Migration

_MAY_DECLARE = re.compile(rb"client_encoding|\bnames\b", re.IGNORECASE)
_WINDOW = 1 << 18  # bytes; a text is never held in larger pieces


def read_text(migration: Migration) -> Iterator[str]:
    """Yield the text in pieces, decoded from the encoding it declares, without BOM and with its own line ends.

    Raises NulByte or InvalidEncoding with the place.
    """
    with open(migration.path, "rb") as file:
        piece = file.read(min(_WINDOW, migration.size + 1))  # a larger read costs memory even where the file is small
        if len(piece) <= min(migration.size, _WINDOW - 1) and (text := _plain(piece)) is not None:
            yield text
            return
        decoder = _Decoder(migration.name, declared_codec(piece, migration.name))
        piece = piece.removeprefix(BOM)
        while piece:
            following = file.read(_WINDOW)
            yield decoder.decode(piece, final=not following)
            piece = following


def _plain(content: bytes) -> str | None:
    """Return the text of a small file in UTF-8, as nearly all are; None for one that has to be looked at closely."""
    if b"\x00" in content or _MAY_DECLARE.search(content):
        return None
    try:
        return content.removeprefix(BOM).decode()
    except UnicodeDecodeError:
        return None


class _Decoder:
    """Decodes a text piece by piece, and knows where it is in it."""

    def __init__(self, file_name: str, codec: str) -> None:
        self._file_name = file_name
        self._codec = codec
        self._decoder = codecs.getincrementaldecoder(codec)()
        self._line, self._line_start = 1, ""  # what the line at hand begins with, from earlier pieces

    def decode(self, piece: bytes, *, final: bool) -> str:
        """Return the text of the next piece."""
        if b"\x00" in piece:
            where = self._place(piece[: piece.index(b"\x00")].decode(self._codec, "replace"), "\ufffd")
            raise NulByte("the text holds a NUL byte", where=where, cure="remove the byte")
        try:
            text = self._decoder.decode(piece, final)
        except UnicodeDecodeError as error:
            raise self._invalid(error) from None
        self._advance(text)
        return text

    def _invalid(self, error: UnicodeDecodeError) -> InvalidEncoding:
        before = bytes(error.object[: error.start]).decode(self._codec, "replace")
        return InvalidEncoding(
            f"byte 0x{error.object[error.start]:02x} is not {self._codec}",
            where=self._place(before, "\ufffd"),
            cure="save the file as UTF-8, or begin it with SET client_encoding TO 'LATIN1'; (or whatever it is in)",
        )

    def _advance(self, text: str) -> None:
        newlines = text.count("\n")
        self._line += newlines
        self._line_start = text[text.rfind("\n") + 1 :] if newlines else self._line_start + text

    def _place(self, before: str, byte: str) -> Location:
        """Return the place behind ``before``, which follows the earlier pieces; ``byte`` stands for what is there."""
        self._advance(before)
        return Location(self._file_name, self._line, len(self._line_start) + 1, self._line_start + byte)
