"""The text of a file: read in the encoding that it declares, and refused with the place where that does not hold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from migrator.errors import DbSetupError, InvalidEncoding, NulByte, UnreadableFile
from migrator.sql import decode
from migrator.sql.decode import declared_codec, read_text

from tests.plugins.databases import Database

_FIRST = 1 << 18  # bytes that are read at a time


def read(path: Path, content: bytes) -> str:
    """Write a file and read its text."""
    path.write_bytes(content)
    return "".join(read_text("001_a.sql", str(path), len(content)))


@pytest.mark.parametrize(("content", "text"), [
    (b"", ""), (b"\xef\xbb\xbfSELECT 1;\r\n", "SELECT 1;\r\n"), ("SELECT 'é'".encode(), "SELECT 'é'"),
    (b"\xef\xbb\xbfSET client_encoding = 'LATIN1'; \xc3\xa9", "SET client_encoding = 'LATIN1'; é"),
    (b"SET client_encoding = 'LATIN1'; \xe9", "SET client_encoding = 'LATIN1'; é"),
    (b"set session CLIENT_ENCODING to latin9; \xa4", "set session CLIENT_ENCODING to latin9; €"),
    (b"-- a\n  SET NAMES 'WIN1251'; \xff", "-- a\n  SET NAMES 'WIN1251'; я"),
    (b"SET LOCAL client_encoding TO 'euc-jp'; \xa4\xa2", "SET LOCAL client_encoding TO 'euc-jp'; あ"),
    (b"/* SET NAMES 'LATIN1'; */ SELECT '\xc3\xa9'", "/* SET NAMES 'LATIN1'; */ SELECT 'é'"),
    (b"SET client_encoding = DEFAULT; \xc3\xa9", "SET client_encoding = DEFAULT; é"),
    (b"SET NAMES 'LATIN1'; SET NAMES 'latin-1'; SET NAMES x", "SET NAMES 'LATIN1'; SET NAMES 'latin-1'; SET NAMES x"),
])  # fmt: skip
def test_text_in_its_encoding(tmp_path: Path, content: bytes, text: str) -> None:
    """A text is read as UTF-8, or in the encoding that a SET at the beginning of a line names; comments name none."""
    assert read(tmp_path / "a.sql", content) == text


@pytest.mark.parametrize("cut", [-2, -1, 0, 1])
def test_letter_across_two_pieces(tmp_path: Path, cut: int) -> None:
    """A letter of several bytes is whole, wherever a large file is cut, and the mark at its beginning is no text."""
    text = f"{'x' * (_FIRST - 3 + cut)}€;\n"
    assert read(tmp_path / "a.sql", b"\xef\xbb\xbf" + text.encode()) == text


@pytest.mark.parametrize(("content", "error", "line", "column", "shown"), [
    (b"SELECT 1;\nSELECT '\xff';", InvalidEncoding, 2, 9, "SELECT '\ufffd"),
    (b"a\n\xc3\xa9b\x00c", NulByte, 2, 3, "éb\ufffd"),
    (b"\xff\xfea\x00", InvalidEncoding, 1, 1, ""), (b"\xfe\xff\x00a", InvalidEncoding, 1, 1, ""),
    (b"a;\n SET NAMES 'KLINGON'; b\nc", InvalidEncoding, 2, 13, " SET NAMES 'KLINGON'; b"),
    (b"SET NAMES 'UTF8';\nSET NAMES 'LATIN1';", InvalidEncoding, 2, 12, "SET NAMES 'LATIN1';"),
])  # fmt: skip
def test_place_of_what_cannot_be_read(
    tmp_path: Path, content: bytes, error: type[DbSetupError], line: int, column: int, shown: str
) -> None:
    """What is no text is refused with the line and column where it stands."""
    with pytest.raises(error) as caught:
        read(tmp_path / "a.sql", content)
    where = caught.value.where
    assert where is not None
    assert (where.file, where.line, where.column, where.text) == ("001_a.sql", line, column, shown)


@pytest.mark.parametrize(("before", "line", "column"), [
    (b"x" * _FIRST, 1, _FIRST + 1), (b"x" * _FIRST + b"\n\n yz", 3, 4), (b"x\n\n" + b"x" * (_FIRST - 3), 3, _FIRST - 2),
])  # fmt: skip
def test_place_in_a_later_piece(tmp_path: Path, before: bytes, line: int, column: int) -> None:
    """Lines and columns are those of the file, not of the piece of it that is read."""
    for bad, error in ((b"\x00", NulByte), (b"\xff", InvalidEncoding)):
        with pytest.raises(error) as caught:
            read(tmp_path / "a.sql", before + bad)
        assert caught.value.where is not None
        assert (caught.value.where.line, caught.value.where.column) == (line, column)


def test_file_that_cannot_be_opened(tmp_path: Path) -> None:
    """A file that is gone, or closed to this user, is refused by its name."""
    with pytest.raises(UnreadableFile, match=re.escape("001_a.sql cannot be read (No such file")):
        list(read_text("001_a.sql", str(tmp_path / "gone.sql"), 1))


_DECODED = """
CREATE FUNCTION decoded(bytea, name) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN convert_from($1, $2);
EXCEPTION WHEN OTHERS THEN RETURN NULL; END $$"""  # null: half a letter, or none


def test_names_are_those_of_the_server(database: Database) -> None:
    """By each name that the server knows, a byte is the letter that the server takes it for."""
    names = sorted(set(decode._codecs()) - {"default", "sqlascii"})
    database.execute(_DECODED)
    told = database.query(
        "SELECT name, byte, decoded(set_byte('x', 0, byte), name::name) FROM unnest(%s) name, generate_series(160, 255) byte "
        "WHERE pg_char_to_encoding(name::name) >= 0", names,
    )  # fmt: skip
    assert len({name for name, _, _ in told}) > 60
    for name, byte, letter in told:
        text = bytes([byte]).decode(declared_codec(f"SET NAMES '{name}';".encode(), "a.sql"), "ignore")
        assert None in {letter, text or None} or text == letter, (name, byte)
