"""Encodings: the client_encoding that a text declares for itself, by PostgreSQL's names, as Python's codec. Pure.

Source of the names: PostgreSQL manual, "Character Set Support", and its aliases in src/common/encnames.c.
"""

from __future__ import annotations

import re

from migrator.errors import InvalidEncoding
from migrator.excerpt import Location
from migrator.migration import BOM

_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_SETTING = re.compile(
    rb"^[ \t]*SET\s+(?:(?:SESSION|LOCAL)\s+)?(?:client_encoding\s*(?:=|\bTO\b)|NAMES)\s*'?([\w-]+)",
    re.IGNORECASE | re.MULTILINE,
)
_BLOCK_COMMENT = re.compile(rb"/\*.*?\*/", re.DOTALL)

_ISO = {1: 1, 2: 2, 3: 3, 4: 4, 5: 9, 6: 10, 7: 13, 8: 14, 9: 15, 10: 16}  # LATINn is ISO 8859-m
_CODECS = {
    "default": "utf-8", "utf8": "utf-8", "unicode": "utf-8", "sqlascii": "utf-8", "koi8": "koi8_r", "koi8r": "koi8_r",
    "koi8u": "koi8_u", "win": "cp1251", "alt": "cp866", "win866": "cp866", "win874": "cp874", "eucjp": "euc_jp",
    "eucjis2004": "euc_jis_2004", "euckr": "euc_kr", "euccn": "gb2312", "sjis": "cp932", "mskanji": "cp932",
    "shiftjis": "cp932", "win932": "cp932", "windows932": "cp932", "shiftjis2004": "shift_jis_2004", "big5": "cp950",
    "win950": "cp950", "windows950": "cp950", "gbk": "gbk", "win936": "gbk", "windows936": "gbk",
    "gb18030": "gb18030", "uhc": "cp949", "win949": "cp949", "windows949": "cp949", "johab": "johab",
    "abc": "cp1258", "tcvn": "cp1258", "tcvn5712": "cp1258", "vscii": "cp1258",
    **{f"latin{n}": f"iso8859_{m}" for n, m in _ISO.items()},
    **{f"iso8859{m}": f"iso8859_{m}" for m in (*range(1, 11), 13, 14, 15, 16)},
    **{f"{name}{n}": f"cp{n}" for name in ("win", "windows") for n in range(1250, 1259)},
}  # fmt: skip


def declared_codec(start: bytes, file_name: str) -> str:
    """Return the codec for the client_encoding that a text sets near its beginning; UTF-8 when it sets none.

    Raises InvalidEncoding for UTF-16, and for a name that PostgreSQL does not know.
    """
    if start.startswith(_UTF16_MARKS):
        raise InvalidEncoding("the file is UTF-16", where=Location(file_name, 1, 1), cure="save it as UTF-8")
    if start.startswith(BOM) or b"SET" not in start.upper():
        return "utf-8"
    bare = _BLOCK_COMMENT.sub(lambda comment: re.sub(rb"[^\n]", b" ", comment[0]), start)
    chosen = ""
    for found in _SETTING.finditer(bare):
        name = found[1].decode("ascii", "replace").lower()
        codec = _CODECS.get(re.sub("[^a-z0-9]", "", name))
        if codec is None or chosen not in {"", codec}:
            raise InvalidEncoding(
                f'unknown client_encoding "{name}"' if codec is None else "the file declares two encodings",
                where=_place(bare, found.start(1), file_name),
                cure="save the file as UTF-8, and remove the SET",
            )
        chosen = codec
    return chosen or "utf-8"


def _place(start: bytes, offset: int, file_name: str) -> Location:
    line_start = start.rfind(b"\n", 0, offset) + 1
    text = start[line_start:].partition(b"\n")[0].decode("ascii", "replace")
    return Location(file_name, 1 + start.count(b"\n", 0, offset), offset - line_start + 1, text)
