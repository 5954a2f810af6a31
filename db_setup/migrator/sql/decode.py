"""The text of a migration: its file decoded piece by piece, in the encoding it declares.

The client_encoding that a text sets for itself, by PostgreSQL's names, is read as Python's codec. Source of the names:
PostgreSQL manual, "Character Set Support", and its aliases in src/common/encnames.c.
"""

from __future__ import annotations

import codecs
import functools
import re
from collections.abc import Iterator

from migrator.errors import InvalidEncoding, NulByte, UnreadableFile
from migrator.formatting import Location

_MAY_DECLARE = re.compile(rb"client_encoding|\bnames\b", re.IGNORECASE)
_MAX_LINE = 10_000  # characters of a line that are kept for the sake of an error message
_WINDOW = 1 << 18  # bytes; a text is never held in larger pieces
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_SETTING = rb"^[ \t]*SET\s+(?:(?:SESSION|LOCAL)\s+)?(?:client_encoding\s*(?:=|\bTO\b)|NAMES)\s*'?([\w-]+)"


def read_text(name: str, path: str, size: int) -> Iterator[str]:
    """Yield the text in pieces, decoded from the encoding it declares, without BOM and with its own line ends.

    Raises NulByte or InvalidEncoding with the place, and UnreadableFile.
    """
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise UnreadableFile(
            f"{name} cannot be read ({error.strerror})", fix="give the user who runs this read permission"
        ) from error
    with file:
        piece = file.read(min(_WINDOW, size + 1))  # a larger read costs memory even where the file is small
        if len(piece) <= min(size, _WINDOW - 1) and (text := _plain(piece)) is not None:
            yield text
            return
        decoder = _Decoder(name, declared_codec(piece, name))
        piece = piece.removeprefix(codecs.BOM_UTF8)
        while piece:
            following = file.read(_WINDOW)
            yield decoder.decode(piece, final=not following)
            piece = following


def _plain(content: bytes) -> str | None:
    """Return the text of a small file in UTF-8, as nearly all are; None for one that needs a closer reading."""
    if b"\x00" in content or _MAY_DECLARE.search(content):
        return None
    try:
        return content.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError:
        return None


def declared_codec(start: bytes, file_name: str) -> str:
    """Return the codec for the client_encoding that a text sets near its beginning; UTF-8 when it sets none.

    Raises InvalidEncoding for UTF-16, and for a name that PostgreSQL does not know.
    """
    if start.startswith(_UTF16_MARKS):
        raise InvalidEncoding("the file is UTF-16", where=Location(file_name, 1, 1), fix="save it as UTF-8")
    if start.startswith(codecs.BOM_UTF8) or b"SET" not in start.upper():
        return "utf-8"
    bare = re.sub(rb"/\*.*?\*/", lambda comment: re.sub(rb"[^\n]", b" ", comment[0]), start, flags=re.DOTALL)
    chosen = ""
    for found in re.finditer(_SETTING, bare, re.IGNORECASE | re.MULTILINE):
        name = found[1].decode("ascii", "replace").lower()
        codec = _codecs().get(re.sub("[^a-z0-9]", "", name))
        if codec is None or chosen not in {"", codec}:
            raise InvalidEncoding(
                f'unknown client_encoding "{name}"' if codec is None else "the file declares two encodings",
                where=_place(bare, found.start(1), file_name),
                fix="save the file as UTF-8, and leave the SET out",
            )
        chosen = codec
    return chosen or "utf-8"


def _place(start: bytes, offset: int, file_name: str) -> Location:
    line_start = start.rfind(b"\n", 0, offset) + 1
    text = start[line_start:].partition(b"\n")[0].decode("ascii", "replace")
    return Location(file_name, 1 + start.count(b"\n", 0, offset), offset - line_start + 1, text)


_ISO = {1: 1, 2: 2, 3: 3, 4: 4, 5: 9, 6: 10, 7: 13, 8: 14, 9: 15, 10: 16}  # LATINn is ISO 8859-m


@functools.cache
def _codecs() -> dict[str, str]:
    """Return Python's codec for each name of PostgreSQL; made on first use, since nearly no file needs it."""
    return {
        "default": "utf-8", "utf8": "utf-8", "unicode": "utf-8", "sqlascii": "utf-8", "koi8": "koi8_r",
        "koi8r": "koi8_r", "koi8u": "koi8_u", "win": "cp1251", "alt": "cp866", "win866": "cp866", "win874": "cp874",
        "eucjp": "euc_jp", "eucjis2004": "euc_jis_2004", "euckr": "euc_kr", "euccn": "gb2312", "sjis": "cp932",
        "mskanji": "cp932", "shiftjis": "cp932", "win932": "cp932", "windows932": "cp932",
        "shiftjis2004": "shift_jis_2004", "big5": "cp950", "win950": "cp950", "windows950": "cp950", "gbk": "gbk",
        "win936": "gbk", "windows936": "gbk", "gb18030": "gb18030", "uhc": "cp949", "win949": "cp949",
        "windows949": "cp949", "johab": "johab", "abc": "cp1258", "tcvn": "cp1258", "tcvn5712": "cp1258",
        "vscii": "cp1258",
        **{f"latin{n}": f"iso8859_{m}" for n, m in _ISO.items()},
        **{f"iso8859{m}": f"iso8859_{m}" for m in (*range(1, 11), 13, 14, 15, 16)},
        **{f"{name}{n}": f"cp{n}" for name in ("win", "windows") for n in range(1250, 1259)},
    }  # fmt: skip


class _Decoder:
    """Decodes a text piece by piece, and counts its lines."""

    def __init__(self, file_name: str, codec: str) -> None:
        self._file_name = file_name
        self._codec = codec
        self._decoder = codecs.getincrementaldecoder(codec)()
        self._line, self._column = 1, 0  # the characters of the current line in earlier pieces
        self._line_start = ""  # these, while they are few enough to be shown

    def decode(self, piece: bytes, *, final: bool) -> str:
        """Return the text of the next piece."""
        if b"\x00" in piece:
            where = self._place(piece[: piece.index(b"\x00")].decode(self._codec, "replace"), "\ufffd")
            raise NulByte("the text holds a NUL byte", where=where, fix="write the text without it")
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
            fix="save the file as UTF-8, or begin it with SET client_encoding TO 'LATIN1'; (or whatever it is in)",
        )

    def _advance(self, text: str) -> None:
        newlines = text.count("\n")
        self._line += newlines
        if newlines:
            self._column, self._line_start = 0, ""
            text = text[text.rfind("\n") + 1 :]
        self._column += len(text)
        self._line_start = self._line_start + text if self._column <= _MAX_LINE else ""

    def _place(self, before: str, byte: str) -> Location:
        """Return the place after ``before``, which follows the earlier pieces; ``byte`` stands for what is there."""
        self._advance(before)
        shown = self._line_start + byte if len(self._line_start) == self._column else ""
        return Location(self._file_name, self._line, self._column + 1, shown)
