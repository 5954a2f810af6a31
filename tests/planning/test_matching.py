"""matching: which file is which row of the history."""

from __future__ import annotations

import pytest
from migrator.files.migration import Migration
from migrator.history.rows import AppliedMigration
from migrator.planning.matching import Rename, come_after, match


def file(name: str, text: str | None = None) -> Migration:
    """Return a file; without a text of its own it has one that no other has."""
    return Migration(name, f"/m/{name}", f"sum of {name if text is None else text}", 1)


def row(name: str, text: str | None = None, *, number: str = "", state: str = "applied") -> AppliedMigration:
    """Return the row of a file that was applied."""
    given = number or name.partition("_")[0]
    return AppliedMigration(name, given, f"sum of {name if text is None else text}", state)


def test_files_are_matched_by_name() -> None:
    """A file whose name is in the history is that row, one whose name is not is new."""
    found = match([file("001_a.sql"), file("002_b.sql")], [row("001_a.sql")])
    assert found.rows == {"001_a.sql": row("001_a.sql")}
    assert [item.name for item in found.new] == ["002_b.sql"]
    assert (found.edited, found.missing, found.renames) == ([], [], ())


def test_number_orders_and_the_name_distinguishes() -> None:
    """003_fix.sql and 007_fix.sql are two migrations when their texts differ."""
    found = match([file("003_fix.sql"), file("007_fix.sql")], [row("003_fix.sql")])
    assert [item.name for item in found.new] == ["007_fix.sql"]


def test_two_files_of_one_name_and_text_are_two_when_one_is_applied() -> None:
    """A copy of an applied file under another number is new, as long as the first is there."""
    found = match([file("003_fix.sql", "x"), file("007_fix.sql", "x")], [row("003_fix.sql", "x")])
    assert [item.name for item in found.new] == ["007_fix.sql"]
    assert found.renames == ()


@pytest.mark.parametrize(
    ("files", "rows", "renames"),
    [
        ([("005_b.sql", "B")], [("002_b.sql", "B")], [("002_b.sql", "005_b.sql", "005")]),
        ([("002_better.sql", "B")], [("002_b.sql", "B")], [("002_b.sql", "002_better.sql", "002")]),
        ([("007_better.sql", "B")], [("002_b.sql", "B")], [("002_b.sql", "007_better.sql", "007")]),
        ([("002_orders.sql", "O")], [("orders.sql", "O")], [("orders.sql", "002_orders.sql", "002")]),
        ([("orders.sql", "O")], [("002_orders.sql", "O")], [("002_orders.sql", "orders.sql", "002")]),
        ([("003_a.sql", ""), ("002_b.sql", "")], [("002_a.sql", ""), ("003_b.sql", "")],
         [("002_a.sql", "003_a.sql", "003"), ("003_b.sql", "002_b.sql", "002")]),
        ([("004_b.sql", "")], [("003_b.sql", "")], [("003_b.sql", "004_b.sql", "004")]),
        ([("004_b.sql", "X"), ("005_c.sql", "X")], [("003_b.sql", "X")], [("003_b.sql", "004_b.sql", "004")]),
        ([("V1_3__b.sql", "B")], [("V1_2__b.sql", "B")], [("V1_2__b.sql", "V1_3__b.sql", "1_3")]),
        ([("c.sql", ""), ("d.sql", "")], [("a.sql", ""), ("b.sql", "")], []),
        ([("c.sql", "X")], [("a.sql", "X"), ("b.sql", "X")], []),
        ([("c.sql", "X"), ("d.sql", "X")], [("a.sql", "X")], []),
        ([("002_b.sql", "new text")], [("003_b.sql", "old text")], []),
    ],
    ids=["renumbered", "renamed", "renumbered-and-renamed", "number-put-on-disk", "number-taken-away",
         "two-empty-files-swap-numbers", "empty-file-renumbered", "name-decides-between-two-texts", "version",
         "two-empty-files-renamed", "one-file-two-rows", "two-files-one-row", "renumbered-and-edited"],
)  # fmt: skip
def test_left_over_files_and_rows_are_matched_by_text_when_unambiguous(
    files: list[tuple[str, str]], rows: list[tuple[str, str]], renames: list[tuple[str, str, str]]
) -> None:
    """First name and text, then text alone say what was renumbered or renamed; what is ambiguous is left alone."""
    history = [row(name, text, number="002" if name == "orders.sql" else "") for name, text in rows]
    found = match([file(name, text) for name, text in files], history)
    assert sorted(found.renames) == sorted(Rename(*rename) for rename in renames)
    assert len(found.new) == len(files) - len(renames)
    assert len(found.missing) == len(rows) - len(renames)
    assert set(found.rows) == {rename[1] for rename in renames}


@pytest.mark.parametrize(
    ("state", "checksum", "edited"),
    [("applied", "sum of old", True), ("applied", "", False), ("running", "sum of old", False), ("applied", "sum of new", False)],
    ids=["edited", "imported-without-a-checksum", "half-applied", "as-it-was"],
)
def test_edited_is_an_applied_file_whose_text_is_another(state: str, checksum: str, edited: bool) -> None:
    """A file is edited when its row is applied, has a checksum, and the checksums differ."""
    found = match([file("001_a.sql", "new")], [AppliedMigration("001_a.sql", "001", checksum, state)])
    assert bool(found.edited) is edited
    assert (found.new, found.missing) == ([], [])


@pytest.mark.parametrize("state", ["applied", "running", "reverting"])
def test_row_of_an_unknown_text_is_never_renamed(state: str) -> None:
    """A row is matched by its text, whatever its state; one whose text is not known is matched by name only."""
    unknown = AppliedMigration("002_b.sql", "002", "", state)
    assert match([file("005_b.sql", "B")], [unknown]).missing == [unknown]
    found = match([file("005_b.sql", "B")], [row("002_b.sql", "B", state=state)])
    assert (found.renames, found.missing) == ((Rename("002_b.sql", "005_b.sql", "005"),), [])


@pytest.mark.parametrize(
    ("files", "others", "known", "renames"),
    [
        ("", "env/dev/002_b", "002_b", [("002_b.sql", "env/dev/002_b.sql")]),
        ("002_b", "", "env/dev/002_b", [("env/dev/002_b.sql", "002_b.sql")]),
        ("env/dev/002_b", "env/test/002_b", "002_b", [("002_b.sql", "env/dev/002_b.sql")]),
        ("", "env/dev/002_b env/test/002_b", "002_b", []),
        ("002_b", "env/dev/002_b", "env/dev/002_b", []),
    ],
    ids=["to-another", "from-another", "to-this-and-another", "to-two-others", "copied"],
)
def test_file_that_goes_from_one_environment_to_another(
    files: str, others: str, known: str, renames: list[tuple[str, str]]
) -> None:
    """A file that is moved is the same file; one for this environment goes first, and what is ambiguous is left alone."""
    given = ([file(f"{name}.sql", "B") for name in names.split()] for names in (files, others))
    here, elsewhere = given
    found = match(here, [row(f"{known}.sql", "B")], elsewhere)
    assert [(rename.old, rename.new) for rename in found.renames] == renames
    assert bool(found.missing) is (not renames and known == "002_b")
    assert {*found.rows, *(one.name for one in found.new)} == {one.name for one in here}


def test_file_for_another_environment_that_was_edited() -> None:
    """An edit of a file for another environment is an edit; that it is not applied is nothing to do."""
    found = match([], [row("002_b.sql", "B")], [file("002_b.sql", "more"), file("003_c.sql", "C")])
    assert [(one.name, old.checksum) for one, old in found.edited] == [("002_b.sql", "sum of B")]
    assert (found.new, found.missing, list(found.elsewhere)) == ([], [], ["002_b.sql"])


@pytest.mark.parametrize(
    ("here", "order", "expected"),
    [
        (["001_a.sql", "002_b.sql"], ["001_a.sql", "002_b.sql", "003_c.sql"], True),
        (["001_a.sql", "003_c.sql"], ["001_a.sql", "003_c.sql", "002_b.sql"], True),
        (["001_a.sql", "003_c.sql"], ["001_a.sql", "003_c.sql", "002_b.sql", "004_d.sql"], True),
        (["001_a.sql", "002_b.sql"], ["001_a.sql", "003_c.sql", "002_b.sql"], True),
        (["001_a.sql", "003_c.sql"], ["001_a.sql", "002_b.sql", "003_c.sql"], False),
        (["002_b.sql"], ["001_a.sql", "002_b.sql"], False),
        (["002_b.sql"], ["001_a.sql", "002_b.sql", "003_c.sql"], False),
        (["9_a.sql"], ["9_a.sql", "10_b.sql", "100_c.sql"], True),
        ([], ["001_a.sql"], True),
    ],
    ids=["by-number", "late-merge-by-time", "late-merge-and-more", "by-number-not-by-time", "gap-in-the-middle",
         "gap-at-the-start", "gap-and-newer", "numbers-not-text", "no-files"],
)  # fmt: skip
def test_database_is_ahead_when_all_it_has_more_comes_after(here: list[str], order: list[str], expected: bool) -> None:
    """Rows without a file come after the files here by number, or by the time they were applied."""
    applied = [row(name) for name in order]
    rows = {item.name: item for item in applied if item.name in here}
    assert come_after([item for item in applied if item.name not in here], applied, rows) is expected
