"""not-resumable: the directive that is no part of a file's checksum, like forward-only."""

from __future__ import annotations

from pathlib import Path

import pytest
from migrator.errors import UnknownDirective
from migrator.files.directives import parse_directives
from migrator.files.folder import checksum, read_folder

LINE = b"-- db_setup: not-resumable"
OTHER = b"-- db_setup: forward-only"
BOM = b"\xef\xbb\xbf"
TEXTS = {"small": b"VACUUM;\n-- DOWN\n", "empty": b"", "in many pieces": b"select 1;\r\n" * 60_000}


@pytest.mark.parametrize("ends", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("text", TEXTS.values(), ids=list(TEXTS))
def test_line_is_no_part_of_the_checksum(tmp_path: Path, text: bytes, ends: bytes) -> None:
    """Adding the line is no edit, alone or with forward-only in either order, in a file of any size."""
    for head, forward_only in (
        (LINE + ends, False), (BOM + LINE + ends, False), (LINE + ends + BOM, False), (LINE + ends + OTHER + ends, True),
        (OTHER + ends + LINE + ends, True),
    ):  # fmt: skip
        (tmp_path / "003_x.sql").write_bytes(head + text)
        (file,) = read_folder(tmp_path).files
        assert (file.checksum, file.forward_only) == (checksum(text), forward_only)
        assert parse_directives((head + text[:50]).decode(), "").not_resumable


def test_every_other_line_counts() -> None:
    """A second line of the name, one below another line, and one with more in it are part of the checksum."""
    text = b"VACUUM;"
    for head in (LINE + b"\n" + LINE + b"\n", b"-- x\n" + LINE + b"\n", LINE + b" no-transaction\n"):
        assert checksum(head + text) != checksum(text)


@pytest.mark.parametrize("text", [f"-- x\n{LINE.decode()}\n", f"{LINE.decode()} idempotent\n", f"{LINE.decode()}\n" * 2])
def test_line_in_another_place_is_refused(text: str) -> None:
    """Where it would not count it is refused, with what to write."""
    with pytest.raises(UnknownDirective, match="not-resumable counts only as the first line") as caught:
        parse_directives(text, "003_x.sql")
    assert '"-- db_setup: not-resumable" as the first line' in caught.value.fix


def test_other_directives_stand_below() -> None:
    """The line goes together with directives on lines of their own."""
    found = parse_directives(f"{LINE.decode()}\n-- db_setup: no-transaction\n-- db_setup: env=dev\nselect 1;", "")
    assert (found.no_transaction, found.environments, found.not_resumable) == (True, ("dev",), True)
