"""The hash chain: what is reported of a history that was changed by hand, and that nothing is reported of a sealed one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from migrator.history.hash_chain import ADDED, CHANGED, REMOVED, ChainRow, examine, seal

Rows = list[ChainRow]
NAMES = "abcdef"


def fresh(*names: str) -> Rows:
    """Return rows as they come from the tables, not sealed yet; their facts are text instead of a hash."""
    return [ChainRow(at, name, "applied", f"{at} {name} applied", at) for at, name in enumerate(names, 1)]


def sealed(rows: Rows) -> tuple[Rows, str]:
    """Return rows with their seals, and the head."""
    seals, head = seal(rows, {})
    return [row._replace(chain=found.chain, previous=found.previous) for row, found in zip(rows, seals, strict=True)], head


def reported(rows: Rows, head: str | None) -> list[tuple[str, str]]:
    """Return names and kinds of the problems."""
    return [(problem.name, problem.kind) for problem in examine(rows, head)]


def by_hand(rows: Rows, which: str, **values: object) -> Rows:
    """Change a row; what the server hashes is another text then."""
    new = {"facts": "others", **values} if set(values) - {"chain", "previous", "duration_ms"} or not values else values
    return [row._replace(**new) if row.name == which else row for row in rows]  # type: ignore[arg-type]


def swapped(rows: Rows, one: str, other: str) -> Rows:
    """Exchange the positions of two rows."""
    at = {row.name: row.position for row in rows}
    at[one], at[other] = at[other], at[one]
    moved = [
        row._replace(position=at[row.name], facts=f"{at[row.name]} {row.name} applied") if row.name in {one, other} else row
        for row in rows
    ]
    return sorted(moved)


def without(rows: Rows, *names: str) -> Rows:
    """Remove rows."""
    return [row for row in rows if row.name not in names]


@pytest.mark.parametrize("count", [0, 1, 2, 6])
def test_sealed_rows_are_whole(count: int) -> None:
    """Nothing is reported of rows as they were sealed, and sealing them again changes nothing."""
    rows, head = sealed(fresh(*NAMES[:count]))
    assert examine(rows, head) == []
    assert sealed(rows) == (rows, head)


def test_head_of_rows_that_were_changed_is_no_second_problem() -> None:
    """A head that fits no row is reported where nothing else is: with a row that was changed it may be the right one."""
    rows, head = sealed(fresh(*"abc"))
    count, _, name = head.split(" ", 2)
    forged = f"{count} {'0' * 64} {name}"
    assert len(examine(rows, forged)) == 1
    assert reported(by_hand(rows, "a"), forged) == [("a", CHANGED)]


def test_seals_are_hashes_over_the_row_before() -> None:
    """A row's chain is that of its facts and of the row before, which it also names."""
    (one, two), head = sealed(fresh("a", "b"))
    assert (one.previous, two.previous) == ("", "a")
    assert head == f"2 {two.chain} b"
    assert len({one.chain, two.chain}) == 2
    (other, _), _ = sealed(fresh("b", "a"))
    assert other.chain != one.chain


def test_durations_are_those_that_are_written_with_the_seals() -> None:
    """The duration that a run is about to write is hashed, not the one that the row still has."""
    rows = fresh("a", "b")
    seals, head = seal(rows, {"b": 77})
    written = [row._replace(chain=s.chain, previous=s.previous) for row, s in zip(rows, seals, strict=True)]
    assert reported(written, head) == [("b", CHANGED)]
    assert reported(by_hand(written, "b", duration_ms=77), head) == []


@pytest.mark.parametrize("state", ["running", "reverting"])
def test_unfinished_row_is_not_in_the_chain(state: str) -> None:
    """A row that is at work has no seal, loses one that it had, and may change."""
    rows, _ = sealed(fresh("a", "b", "c"))
    rows[1] = rows[1]._replace(state=state)
    again, head = sealed(rows)
    assert [(row.chain is None, row.previous) for row in again] == [(False, ""), (True, None), (False, "a")]
    assert reported(by_hand(again, "b"), head) == []
    assert reported(by_hand(again, "b", state="applied"), head) == [("b", ADDED)]


Change = Callable[[Rows], Rows]
CASES: list[tuple[str, Change, list[tuple[str, str]]]] = [
    *((f"changed {name}", lambda rows, name=name: by_hand(rows, name), [(name, CHANGED)]) for name in NAMES),
    *((f"removed {name}", lambda rows, name=name: without(rows, name), [(name, REMOVED)]) for name in NAMES),
    *(
        (f"{column} of {name}", lambda rows, name=name, column=column, value=value: by_hand(rows, name, **{column: value}),
         [(name, CHANGED)])
        for name in "acf"
        for column, value in [
            ("chain", "0" * 64), ("chain", ""), ("chain", None), ("previous", "b" if name != "c" else "d"), ("previous", "x"),
            ("duration_ms", 99), ("duration_ms", None), ("state", "running"), ("position", 99 if name == "f" else None),
        ]
        if (column, value) != ("position", None)
    ),
    ("first renamed", lambda rows: by_hand(rows, "a", name="z"), [("z", CHANGED)]),
    ("last renamed", lambda rows: by_hand(rows, "f", name="z"), [("z", CHANGED)]),
    ("neighbours swapped", lambda rows: swapped(rows, "b", "c"), [("c", CHANGED), ("b", CHANGED)]),
    ("last two swapped", lambda rows: swapped(rows, "e", "f"), [("f", CHANGED), ("e", CHANGED)]),
    ("others swapped", lambda rows: swapped(rows, "b", "e"), [("e", CHANGED), ("b", CHANGED)]),
    ("two changed", lambda rows: by_hand(by_hand(rows, "b"), "c"), [("b", CHANGED), ("c", CHANGED)]),
    ("changed and removed", lambda rows: without(by_hand(rows, "b"), "e"), [("b", CHANGED), ("e", REMOVED)]),
    ("added behind", lambda rows: [*rows, ChainRow(7, "g", "applied", "7")], [("g", ADDED)]),
    ("added before", lambda rows: [ChainRow(0, "g", "applied", "0"), *rows], [("g", ADDED)]),
    ("added with a seal", lambda rows: [*rows[:3], ChainRow(3, "g", "applied", "3", 1, "0" * 64, "c"), *rows[3:]], [("g", ADDED)]),
    ("copied", lambda rows: [*rows, rows[2]._replace(position=7, name="g", facts="7")], [("g", ADDED)]),
    ("last two removed", lambda rows: rows[:4], [("f", REMOVED)]),
    ("all removed", lambda _: [], [("f", REMOVED)]),
    ("made anew by somebody who knows how", lambda rows: sealed(by_hand(rows, "c"))[0], [("", CHANGED)]),
    ("made anew without one", lambda rows: sealed(without(rows, "c"))[0], [("", CHANGED)]),
]


@pytest.mark.parametrize(("change", "problems"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_changes_by_hand(change: Change, problems: list[tuple[str, str]]) -> None:
    """Every row that was changed, added or removed is named, and no other."""
    rows, head = sealed(fresh(*NAMES))
    assert reported(change(rows), head) == problems


def test_number_of_removed_rows() -> None:
    """Of several rows removed in a row the last is named, and the others are counted."""
    rows, head = sealed(fresh(*NAMES))
    (gone,) = examine(without(rows, "b", "c", "d"), head)
    assert gone.message == "the history row of d, which came after a, was removed by hand (and 2 more)"
    assert [problem.message for problem in examine([], head)] == ["the history row of f was removed by hand (and 5 more)"]


def test_added_to_an_empty_history() -> None:
    """A row in a history that was sealed empty is an added one."""
    _, head = sealed([])
    assert reported(fresh("a"), head) == [("a", ADDED)]


@pytest.mark.parametrize("head", ["", "x", "-1 a b", "6", "7 {chain} f", "6 {chain} e", "5 {chain} f", "0 {chain} f"])
def test_head_changed_by_hand(head: str) -> None:
    """A head that is none, or is not that of the rows, is reported, whatever is written in it."""
    rows, _ = sealed(fresh(*NAMES))
    given = head.format(chain=rows[-1].chain)
    assert (examine(rows, given) == []) == (given == f"6 {rows[-1].chain} e")


def test_without_a_head_nothing_is_reported() -> None:
    """Rows that the last run did not seal may be anything."""
    rows, _ = sealed(fresh(*NAMES))
    assert examine(by_hand(rows, "b"), None) == []
