"""first_generation: the history of the first generation of this tool, translated into ours."""

from __future__ import annotations

import pytest
from migrator.files.migration import Migration
from migrator.history.legacy import translate


def rows(old: str, files: str) -> list[tuple[str, str, bool]]:
    """Return name, number and whether the text is known, of the rows for old names and files, spaces between."""
    here = [Migration(f"{name}.sql", "", f"sum of {name}", 1) for name in sorted(files.split())]
    found = translate(old.split(), here)
    assert all(row.state == "applied" for row in found)
    for row in found:
        assert row.checksum in {"", f"sum of {row.name.removesuffix('.sql')}"}
    return [(row.name, row.number, bool(row.checksum)) for row in found]


SPELLINGS = [
    ("0001_init", "0001"), ("01_init", "01"), ("1_init", "1"), ("20240131120000_init", "20240131120000"),
    ("2024-01-31_init", "2024-01-31"), ("001-init", "001"), ("001.init", "001"), ("V1__init", "1"), ("v1_2__init", "1_2"),
    ("1000_init", "1000"), ("init", "007"), ("001", "001"), ("Änderung 1", "007"), ("1.2.0_01_init", "1.2.0_01"),
]  # fmt: skip
"""Names that the first generation put a number before, each with the number that it has for us."""


@pytest.mark.parametrize(("stem", "number"), SPELLINGS)
@pytest.mark.parametrize("suffix", ["", ".sql"])
def test_number_was_put_before_every_name_without_three_digits(stem: str, number: str, suffix: str) -> None:
    """A file whose name did not begin with NNN_ was recorded with a number before the whole of it."""
    files = [Migration(f"{name}.sql", "", f"sum of {name}", 1) for name in (stem, "002_other", "003_init")]
    (row,) = translate([f"007_{stem}{suffix}"], files)
    assert row[:4] == (f"{stem}.sql", number, f"sum of {stem}", "applied")


def test_name_with_three_digits_was_left_alone() -> None:
    """A name that begins with NNN_ had no number put before it, so what ends like it is another file."""
    assert rows("010_020_b", "020_b") == [("010_020_b.sql", "010", False)]


@pytest.mark.parametrize(
    ("old", "files", "expected"),
    [
        ("", "001_a", []),
        ("001_a", "001_a", [("001_a.sql", "001", True)]),
        ("001_a.sql", "001_a", [("001_a.sql", "001", True)]),
        ("001_a 002_b.sql", "001_a 002_b 003_c", [("001_a.sql", "001", True), ("002_b.sql", "002", True)]),
        ("002_b 001_a", "001_a 002_b", [("002_b.sql", "002", True), ("001_a.sql", "001", True)]),
        ("001_a 002_orders", "001_a orders", [("001_a.sql", "001", True), ("orders.sql", "002", True)]),
        ("002_orders.sql", "001_a orders", [("orders.sql", "002", True)]),
        ("002_orders 003_orders", "001_a orders", [("orders.sql", "002", True)]),
        ("002_orders.sql 002_orders", "orders", [("orders.sql", "002", True)]),
        ("001_gone", "002_b", [("001_gone.sql", "001", False)]),
        ("gone", "002_b", [("gone.sql", "0", False)]),
        ("003_fix", "007_fix", [("003_fix.sql", "003", False)]),
        ("orders", "004_orders", [("004_orders.sql", "004", True)]),
        ("003_2fa", "2fa", [("2fa.sql", "003", True)]),
        ("V1_2__x", "V1_2__x", [("V1_2__x.sql", "1_2", True)]),
        ("002_orders", "orders 005_orders", [("orders.sql", "002", True)]),
        ("002_orders", "orders v5__orders", [("orders.sql", "002", True)]),
        ("005_orders 002_orders", "orders 005_orders", [("005_orders.sql", "005", True), ("orders.sql", "002", True)]),
    ],
    ids=["nothing", "stem", "file-name", "both-forms", "order-of-application", "number-before-an-unnumbered-file",
         "the-same-with-sql", "one-file-twice", "one-file-in-both-forms", "file-is-gone", "unnumbered-file-is-gone",
         "another-number-is-another-file", "file-was-given-a-number", "name-begins-with-a-digit", "version",
         "numbered-namesake", "numbered-namesake-sorted-behind", "both-namesakes"],
)  # fmt: skip
def test_old_name_is_translated(old: str, files: str, expected: list[tuple[str, str, bool]]) -> None:
    """A name of the old table is the file it was made from, or a row of its own with an unknown text."""
    assert rows(old, files) == expected


def test_name_that_fits_two_files_is_guessed_for_none() -> None:
    """An old name that could be either of two files is not taken for one of them."""
    assert rows("orders", "003_orders 007_orders") == [("orders.sql", "0", False)]
