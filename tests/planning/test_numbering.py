"""numbering: duplicate and late numbers, the numbers that are free, and those that keep an order."""

from __future__ import annotations

from datetime import datetime

import pytest
from migrator.errors import DuplicateNumber
from migrator.files.migration import Migration, number_of, parse_number
from migrator.planning.numbering import (
    describe_duplicate,
    duplicates,
    free_numbers,
    highest,
    is_late,
    numbered_name,
    numbers_in_order,
    on_date,
)


@pytest.mark.parametrize(
    ("names", "given", "count", "expected"),
    [
        ([], [], 1, ["001"]),
        ([], [], 3, ["001", "002", "003"]),
        (["orders.sql"], [], 1, ["001"]),
        (["001_a.sql", "002_b.sql"], [], 2, ["003", "004"]),
        (["9_a.sql"], [], 1, ["10"]),
        (["0001_a.sql"], [], 1, ["0002"]),
        (["999_a.sql"], [], 1, ["1000"]),
        (["001_a.sql"], ["007"], 1, ["008"]),
        (["009_a.sql"], ["002"], 1, ["010"]),
        (["9_a.sql", "100_b.sql"], [], 1, ["101"]),
        (["20170428101112_x.sql"], [], 1, ["20170428101113"]),
        (["001_a.sql"], [], 0, []),
        (["2026-01-31_a.sql"], [], 2, ["2026-02-01", "2026-02-02"]),
        (["2024_02_28_a.sql", "2023_12_31_b.sql"], [], 2, ["2024_02_29", "2024_03_01"]),
        (["2026-12-31-235959_a.sql"], [], 1, ["2027-01-01-000000"]),
        (["2026-01-31-1259_a.sql"], [], 1, ["2026-01-31-1300"]),
        (["2026-02-31_a.sql"], [], 1, ["2026-02-32"]),
        (["2026-01-99_a.sql"], [], 1, ["2026-02-00"]),
        (["9999-12-31_a.sql"], [], 1, ["9999-12-32"]),
        (["2026-01-31_a.sql"], ["2027"], 1, ["2028"]),
        (["V1_2__a.sql", "V1_1__b.sql"], [], 2, ["1_3", "1_4"]),
        (["V13.9__a.sql"], [], 1, ["13.10"]),
        (["V3__a.sql"], [], 1, ["4"]),
        (["1.2.0_09_a.sql"], [], 1, ["1.2.0_10"]),
        (["V2_0__a.sql"], [], 1, ["2_1"]),
    ],
)
def test_free_numbers_follow_the_highest_there_is(
    names: list[str], given: list[str], count: int, expected: list[str]
) -> None:
    """The next numbers come after those of files and those given, as wide as the highest."""
    assert free_numbers(names, given, count) == expected


@pytest.mark.parametrize(
    "name", ["V1_2__x.sql", "V13.1__x.sql", "2017-09-23-182408_x.sql", "1.10_x.sql", "9" * 40 + "_x.sql"]
)
def test_free_number_comes_after_every_form_of_number(name: str) -> None:
    """Whatever the form of the highest number, the free one is higher, and a name that carries it shows that."""
    (free,) = free_numbers([name], [], 1)
    assert parse_number(free) > (number_of(name) or ())
    assert number_of(numbered_name(free, "x.sql", [name])) == parse_number(free)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("2026-01-31", "2027-03-04"), ("2026_01_31", "2027_03_04"), ("2026-01-31_120000", "2027-03-04_050607"),
        ("2026-01-31-1200", "2027-03-04-0506"), ("003", ""), ("20260131", ""), ("1_2", ""),
    ],
)  # fmt: skip
def test_moment_is_spelled_like_the_date_there_is(number: str, expected: str) -> None:
    """A moment is spelled as a number that is a date; another number is none."""
    assert on_date(number, datetime(2027, 3, 4, 5, 6, 7)) == expected  # noqa: DTZ001


@pytest.mark.parametrize(
    ("number", "names", "expected"),
    [
        ("003", ["001_a.sql", "002_b.sql"], "003_x.sql"), ("1_3", ["V1_2__a.sql"], "V1_3__x.sql"),
        ("4", ["v3__a.sql"], "v4__x.sql"), ("001", [], "001_x.sql"), ("1_3", ["V1_2__a.sql", "002_b.sql"], "V1_3__x.sql"),
        ("003", ["env/dev/V2__a.sql"], "V003__x.sql"), ("001", ["vacuum.sql"], "001_x.sql"),
    ],
)  # fmt: skip
def test_name_has_the_form_of_the_highest(number: str, names: list[str], expected: str) -> None:
    """A number is put before a name as the highest one there is; the name has that number in any case."""
    assert numbered_name(number, "x.sql", names) == expected
    assert number_of(expected) == parse_number(number)


@pytest.mark.parametrize(
    ("order", "others", "expected"),
    [
        ("001_a alpha zeta", "", "002 003"),
        ("001_a alpha=012 zeta=013", "", "012 013"),
        ("001_a alpha=002 zeta=003 002_b", "", "001.1 001.2"),
        ("001_a alpha=002 002_b zeta=003 003_c", "", "001.1 002.1"),
        ("001_a alpha=002 zeta=003 004_b", "", "002 003"),
        ("001_a alpha=002 005_b", "002_dev", "003"),
        ("001_a alpha zeta", "005_dev", "006 007"),
        ("001_a alpha=002", "005_dev", "002"),
        ("001_a alpha=002 zeta", "002_dev", "003 004"),
        ("001_a 003_c alpha=004 002_b", "", "004"),
        ("001_a 012_c alpha=012 zeta=013", "", "013 014"),
        ("alpha=1 001_a", "", "000"),
        ("alpha=1 beta=2 001_a", "", "000 000.1"),
        ("2026-01-30_a alpha=2027 2026-01-31_b", "", "2026-01-30-0001"),
        ("2026-01-30_a alpha beta 2026-01-31_b", "", "2026-01-30-0001 2026-01-30-0002"),
        ("2026-01-30_a alpha 2026-02-28_b", "", "2026-01-31"),
        ("V1_2__a alpha V1_3__b", "", "1_2_1"),
        ("V3__a alpha V4__b", "", "3.1"),
        ("001_a alpha 001.1_b", "", "001.0.1"),
        ("001.1_a alpha 001.2_b", "", "001.1.1"),
        ("1.2.0_01_a alpha 1.2.0_02_b", "", "1.2.0.01.1"),
        ("001_a alpha=002 beta=003", "", "002 003"),
    ],
)
def test_numbers_keep_the_order_of_application(order: str, others: str, expected: str) -> None:
    """Names that carry the numbers sort into the order of application; a given number stays where it fits."""
    files = [(f"{name}.sql", given) for name, _, given in (word.partition("=") for word in order.split())]
    found = numbers_in_order(files, [f"{name}.sql" for name in others.split()])
    assert list(found.values()) == expected.split()
    names = [name for name, _ in files]
    carried = [number_of(numbered_name(found[name], name, names) if name in found else name) or () for name in names]
    late = number_of("002_b.sql") if order.endswith("alpha=004 002_b") else None  # no number of alpha's can change that
    assert [number for number in carried if number != late] == sorted(number for number in carried if number != late)
    assert len(set(carried)) == len(carried)


@pytest.mark.parametrize("order", ["alpha 000_a", "2026-01-31-120000_a alpha 2026-01-31-120001_b"])
def test_place_without_a_number_is_refused(order: str) -> None:
    """Where no number lies between two files, the error names the file that is to be renamed by hand."""
    with pytest.raises(DuplicateNumber, match=r"no number is free for alpha\.sql") as caught:
        numbers_in_order([(f"{name}.sql", "") for name in order.split()])
    assert "rename alpha.sql by hand" in caught.value.fix


def test_duplicates_are_those_of_one_number() -> None:
    """Files whose numbers are equal, however they are spelled, are found and named with their number."""
    files = [Migration(f"{name}.sql", "", "", 0) for name in ("003_a", "3_b", "004_c", "d", "V1_2__e", "1.2_f")]
    assert duplicates(files) == [["003_a.sql", "3_b.sql"], ["V1_2__e.sql", "1.2_f.sql"]]
    assert list(map(describe_duplicate, duplicates(files))) == [
        "duplicate number 3: 003_a.sql, 3_b.sql", "duplicate number 1_2: V1_2__e.sql, 1.2_f.sql",
    ]  # fmt: skip


def test_late_is_what_is_below_the_highest() -> None:
    """A file is late by its number, not by its text; a file without a number never is."""
    last = highest(["009_a.sql", "10_b.sql", "c.sql"])
    assert last == (10,)
    assert [name for name in ("9_x.sql", "010_x.sql", "11_x.sql", "x.sql") if is_late(name, last)] == ["9_x.sql"]
    assert highest(["c.sql"]) == ()
