"""migration: file names and their numbers, checksums, directives."""

from __future__ import annotations

import hashlib

import pytest
from migrator.errors import UnknownDirective
from migrator.files.directives import parse_directives
from migrator.files.folder import checksum
from migrator.files.migration import (
    Migration,
    is_migration,
    looks_like_a_mistake,
    number_of,
    parse_number,
    split_name,
)
from migrator.history.rows import AppliedMigration

BOM = b"\xef\xbb\xbf"


@pytest.mark.parametrize(
    ("name", "number", "rest"),
    [
        ("003_add_phone.sql", (3,), "add_phone"),
        ("003-add-phone.sql", (3,), "add-phone"),
        ("003.sql", (3,), ""),
        ("3_x.sql", (3,), "x"),
        ("0_x.sql", (0,), "x"),
        ("000_x.sql", (0,), "x"),
        ("9_x.sql", (9,), "x"),
        ("100_x.sql", (100,), "x"),
        ("003 add phone.sql", (3,), "add phone"),
        ("003.add.sql", (3,), "add"),
        ("003__x.sql", (3,), "x"),
        ("20170428101112_x.sql", (20170428101112,), "x"),
        ("20170428_x.sql", (20170428,), "x"),
        ("2017-09-23-182408_x.sql", (2017, 9, 23, 182408), "x"),
        ("2017_09_23_182408_x.sql", (2017, 9, 23, 182408), "x"),
        ("2017-09-23_x.sql", (2017, 9, 23), "x"),
        ("V1__x.sql", (1,), "x"),
        ("v1__x.sql", (1,), "x"),
        ("V1_2__x.sql", (1, 2), "x"),
        ("V1.2__x.sql", (1, 2), "x"),
        ("V13.1__x.sql", (13, 1), "x"),
        ("V1_10__x.sql", (1, 10), "x"),
        ("V1_2.sql", (1, 2), ""),
        ("V20170428101112__x.sql", (20170428101112,), "x"),
        ("1.2-x.sql", (1, 2), "x"),
        ("001-2fa-setup.sql", (1,), "2fa-setup"),
        ("001_2fa.sql", (1,), "2fa"),
        ("7_000_rows.sql", (7,), "000_rows"),
        ("9" * 40 + "_x.sql", (int("9" * 40),), "x"),
        ("003_it's \"quoted\".sql", (3,), "it's \"quoted\""),
        ("003_größe_名前_😀.sql", (3,), "größe_名前_😀"),
        ("003_a\nb.sql", (3,), "a\nb"),
        ("003_%s{}$$.sql", (3,), "%s{}$$"),
        ("001_x.up.sql", (1,), "x.up"),
        ("orders.sql", None, "orders"),
        ("2fa.sql", None, "2fa"),
        ("3d-models.sql", None, "3d-models"),
        ("V.sql", None, "V"),
        ("version2.sql", None, "version2"),
        ("vip_1.sql", None, "vip_1"),
        ("orders_003.sql", None, "orders_003"),
        ("_003_x.sql", None, "_003_x"),
        ("٣_x.sql", None, "٣_x"),
        ("²_x.sql", None, "²_x"),
    ],
    ids=lambda value: ascii(value)[1:40] if isinstance(value, str) else "",
)
def test_number_is_what_a_name_begins_with(name: str, number: tuple[int, ...] | None, rest: str) -> None:
    """Widths, dashes, timestamps, dates and versions are numbers; a name that begins otherwise has none."""
    assert number_of(name) == number
    assert split_name(name)[1] == rest
    assert Migration(name, f"/m/{name}", "", 0).number == number


@pytest.mark.parametrize(
    "names",
    [
        ["9_a.sql", "10_a.sql", "100_a.sql", "1000_a.sql"],
        ["V1__a.sql", "V1_2__a.sql", "V1_10__a.sql", "V2__a.sql", "V13.1__a.sql"],
        ["003_b.sql", "20170428101112_a.sql", "20170428101113_a.sql"],
        ["2017-09-23-182408_b.sql", "2017-09-23-182409_a.sql", "2017-10-01-000000_a.sql", "2018-01-01_a.sql"],
        ["1_a.sql", "1.1_a.sql", "1.9_a.sql", "1.10_a.sql", "2_a.sql"],
    ],
    ids=["widths", "versions", "timestamps", "dates", "points"],
)
def test_numbers_compare_as_numbers(names: list[str]) -> None:
    """The order of numbers is theirs, not that of their text."""
    backwards = names[::-1]
    assert sorted(backwards, key=lambda name: number_of(name) or ()) == names


@pytest.mark.parametrize(("one", "other"), [("003", "3"), ("1_0", "1"), ("1.2.0", "1.2"), ("1_2", "1.2"), ("00", "0")])
def test_spellings_of_one_number_are_equal(one: str, other: str) -> None:
    """Leading zeros and trailing noughts of a version make no other number."""
    assert parse_number(one) == parse_number(other)


def test_rank_of_a_row_is_its_number_in_comparable_form() -> None:
    """A row of the history is compared by the number it was given."""
    assert AppliedMigration("orders.sql", "0012", "", "applied").rank == (12,)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("003_x.sql", True), ("x.sql", True), (".sql", False), (".003_x.sql", False), ("._003_x.sql", False),
        ("003_x.down.sql", False), ("003_x.Down.sql", False), ("003_x.DOWN.sql", False), ("down.sql", True),
        ("003_down.sql", True), ("003_x.SQL", False), ("003_x.Sql", False), ("003_x.sql.txt", False),
        ("003_x.sql~", False), ("003_x", False), ("README.md", False), ("sql", False), ("003_x.sql ", False),
        ("003_x.psql", False), ("003_a\nb.sql", True), ("003_x.sql\n", False),
    ],
    ids=ascii,
)  # fmt: skip
def test_migration_is_a_visible_sql_file_that_is_no_down_migration(name: str, expected: bool) -> None:
    """Only names in .sql are migrations; hidden files and .down.sql files never are."""
    assert is_migration(name) is expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("003_x.SQL", True), ("003_x.Sql", True), ("003_x.sql.txt", True), ("003_x.sql~", True),
        ("003_x.sql.bak", True), ("003_x.sql ", True), ("003_x.sql\n", True), ("003_x.sql", False),
        ("003_x.down.sql", False), ("README.md", False), (".003_x.sql.swp", False), ("seed.py", False), ("sql", False),
    ],
    ids=ascii,
)  # fmt: skip
def test_file_that_somebody_may_believe_is_run_is_recognised(name: str, expected: bool) -> None:
    """A name with .sql in it that is no migration's may be a mistake; others are none."""
    assert looks_like_a_mistake(name) is expected


@pytest.mark.parametrize(
    "content",
    [
        b"select 1;\nselect 2;\n",
        BOM + b"select 1;\nselect 2;\n",
        b"select 1;\r\nselect 2;\r\n",
        b"select 1;\rselect 2;\r",
        BOM + b"select 1;\r\nselect 2;\r",
    ],
    ids=["plain", "bom", "crlf", "cr", "all"],
)
def test_checksum_does_not_see_bom_or_line_ends(content: bytes) -> None:
    """A checkout on Windows is no edit: BOM, CRLF and CR make no other SHA-256 than LF."""
    assert checksum(content) == hashlib.sha256(b"select 1;\nselect 2;\n").hexdigest()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b"select 1;", b"select 1; "),
        (b"a\n", b"a"),
        (b"a\n\nb", b"a\r\nb"),
        (b"a\r\rb", b"a\r\nb"),
        (b"x" + BOM, b"x"),
        (BOM + BOM, BOM),
        (b"A", b"a"),
        (b"\xe9", "é".encode()),
    ],
    ids=["space", "final-line-end", "empty-line", "two-cr", "bom-inside", "two-boms", "case", "encoding"],
)
def test_checksum_sees_every_other_change(one: bytes, other: bytes) -> None:
    """Any change of the text that is not BOM or line ends is another checksum."""
    assert checksum(one) != checksum(other)


def test_empty_text_has_a_checksum() -> None:
    """An empty file, and one of a BOM alone, have the checksum of nothing."""
    assert checksum(b"") == checksum(BOM) == hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("", False),
        ("select 1;", False),
        ("-- db_setup: no-transaction\nvacuum;", True),
        ("--db_setup:no-transaction", True),
        ("\ufeff-- db_setup: no-transaction\r\nvacuum;", True),
        ("-- db_setup: no-transaction\rvacuum;", True),
        ("-- made by hand\n\n-- db_setup: no-transaction\nvacuum;", True),
        ("  -- db_setup: no-transaction", True),
        ("-- db_setup: no-transaction, no-transaction", True),
        ("select 1;\n-- db_setup: no-transaction", False),
        ("-- see db_setup: no-transaction in the manual", False),
        ("-- a page\x0cbreak\n-- db_setup: no-transaction", True),
        ("-- a line\u2028separator\n-- db_setup: no-transaction", True),
    ],
    ids=ascii,
)
def test_directive_is_read_from_the_comment_lines_at_the_top(head: str, expected: bool) -> None:
    """The directive counts in the comment lines a text begins with, and nowhere else."""
    assert parse_directives(head, "003_x.sql").no_transaction is expected


@pytest.mark.parametrize(
    ("head", "word", "line", "column"),
    [
        ("-- db_setup: no-transactions", "no-transactions", 1, 14),
        ("-- a\n--  db_setup: no-transaction notransaction", "notransaction", 2, 30),
        ("-- db_setup: No-Transaction", "No-Transaction", 1, 14),
        ("-- db_setup:", "", 1, 1),
        ("-- a\r\n-- b\r\n-- db_setup: x", "x", 3, 14),
    ],
    ids=ascii,
)
def test_unknown_directive_is_refused_with_its_place(head: str, word: str, line: int, column: int) -> None:
    """A misspelt wish is not ignored: it is refused with its place, and the fix lists what can be written."""
    with pytest.raises(UnknownDirective, match=f'"{word}"') as caught:
        parse_directives(head, "003_x.sql")
    where = caught.value.where
    assert where is not None
    assert (where.file, where.line, where.column) == ("003_x.sql", line, column)
    assert "no-transaction" in caught.value.fix
