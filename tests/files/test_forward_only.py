"""forward-only: the directive that overrules name and marks, and that is no part of a file's checksum."""

from __future__ import annotations

from pathlib import Path

import pytest
from migrator.errors import UnknownDirective
from migrator.files import Migration
from migrator.files.directives import parse_directives
from migrator.files.folder import checksum, read_folder

LINE = b"-- db_setup: forward-only"
BOM = b"\xef\xbb\xbf"
TEXTS = {
    "small": b"create table t (i int);\n-- DOWN\ndrop table t;\n",
    "directive": b"-- db_setup: no-transaction\n-- DOWN\ndrop table t;\n",
    "CRLF": b"select 1;\r\n-- DOWN\r\nselect 2;\r\n",
    "empty": b"",
    "large": b"select 1;\n" * 4000 + b"-- DOWN\ndrop table t;\n",
    "at the window": b"-- DOWN\n" + b"x" * ((1 << 15) - 8),
    "in many pieces": b"select 1;\r\n" * 60_000 + b"-- DOWN\rdrop table t;\r",
}


def read(folder: Path, content: bytes) -> Migration:
    """Return the migration of a file with this content."""
    (folder / "003_x.sql").write_bytes(content)
    (file,) = read_folder(folder).files
    return file


@pytest.mark.parametrize("ends", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("text", TEXTS.values(), ids=list(TEXTS))
def test_line_is_no_part_of_the_checksum(tmp_path: Path, text: bytes, ends: bytes) -> None:
    """Adding the line, before a byte order mark or behind it, is no edit, in a file of any size."""
    before = read(tmp_path, text)
    assert before.checksum == checksum(text)
    for content in (LINE + ends + text, BOM + LINE + ends + text, LINE + ends + BOM + text, b"  --db_setup:forward-only \t" + ends + text):
        after = read(tmp_path, content)
        assert (after.checksum, after.forward_only, after.marked) == (before.checksum, True, False)
        assert after.checksum == checksum(content)


@pytest.mark.parametrize(
    "head",
    [b"-- db_setup: no-transaction\n", b"-- forward-only\n", b"\n" + LINE + b"\n", b"-- x\n" + LINE + b"\n", b"/* */" + LINE + b"\n",
     LINE + b" no-transaction\n", LINE + b"!\n"],
)  # fmt: skip
def test_other_lines_are_part_of_it(tmp_path: Path, head: bytes) -> None:
    """Every other line counts as it did."""
    file = read(tmp_path, head + b"-- DOWN\ndrop table t;")
    assert file.checksum == checksum(head + b"-- DOWN\ndrop table t;") != checksum(b"-- DOWN\ndrop table t;")
    assert (file.forward_only, file.marked) == (False, True)


def test_file_that_is_the_line_alone(tmp_path: Path) -> None:
    """A file of nothing but the line is an empty one."""
    assert read(tmp_path, LINE).checksum == checksum(b"")


def test_other_directives_stand_below() -> None:
    """The line goes together with directives on lines of their own."""
    text = f"{LINE.decode()}\n-- db_setup: no-transaction\n-- db_setup: env=dev\nselect 1;"
    assert parse_directives(text, "")[:2] == (True, ("dev",))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("-- db_setup: forward-only no-transaction\n", (1, 14)),
        ("-- db_setup: no-transaction, forward-only\n", (1, 30)),
        ("-- db_setup: env=dev forward-only\n", (1, 22)),
        ("-- what it does\n-- db_setup: forward-only\n", (2, 14)),
        ("\n-- db_setup: forward-only\n", (2, 14)),
        ("-- db_setup: forward-only\n-- db_setup: forward-only\n", (2, 14)),
    ],
)
def test_line_in_another_place_is_refused(text: str, place: tuple[int, int]) -> None:
    """Where it would not count it is refused, with what to write."""
    with pytest.raises(UnknownDirective, match="only as the first line of a file, and by itself") as caught:
        parse_directives(text, "003_x.sql")
    assert caught.value.where is not None
    assert (caught.value.where.line, caught.value.where.column) == place


def test_misspelt_directive_names_the_known_ones() -> None:
    """A word that is none is refused as before, and the fix names this one, too."""
    with pytest.raises(UnknownDirective) as caught:
        parse_directives("-- db_setup: forwardonly\n", "003_x.sql")
    assert "forward-only" in caught.value.fix
