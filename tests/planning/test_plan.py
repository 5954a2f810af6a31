"""plan: what a run has to do, from the files, the history and the request."""

from __future__ import annotations

import pytest
from migrator.errors import DuplicateNumber, InconsistentHistory, OutOfOrder, UnknownTarget
from migrator.files.migration import Migration, split_name
from migrator.history.rows import AppliedMigration
from migrator.planning import missing
from migrator.planning.plan import Plan, Policy, make_plan

NO_WISHES = Policy()


def file(name: str, text: str | None = None) -> Migration:
    """Return a file; without a text of its own it has one that no other has."""
    return Migration(name, f"/m/{name}", f"sum of {name if text is None else text}", 1)


def row(name: str, number: str = "", text: str | None = None, state: str = "applied") -> AppliedMigration:
    """Return the row of a file that was applied."""
    return AppliedMigration(
        name, number or split_name(name)[0], f"sum of {name if text is None else text}", state
    )


def plan(
    files: str, history: str = "", *, tables: bool = False, policy: Policy = NO_WISHES,
    texts: dict[str, str] | None = None,
) -> Plan:  # fmt: skip
    """Return the plan for names, separated by spaces; a row may be ``name=number`` and end in ``!``: half applied."""
    rows = []
    for word in history.split():
        name, _, number = word.removesuffix("!").partition("=")
        rows.append(row(f"{name}.sql", number, state="running" if word.endswith("!") else "applied"))
    here = [file(f"{name}.sql", (texts or {}).get(name)) for name in files.split()]
    return make_plan(sorted(here), rows, tables, policy)


def todo(found: Plan) -> list[str]:
    """Return what is to be applied, as ``name=number``."""
    return [f"{item.migration.name.removesuffix('.sql')}={item.number}" for item in found.pending]


@pytest.mark.parametrize(
    ("files", "history", "tables", "state"),
    [
        ("", "", False, "empty"),
        ("001_a", "", False, "empty"),
        ("001_a", "", True, "tables_without_migration_history"),
        ("", "", True, "tables_without_migration_history"),
        ("001_a 002_b", "001_a", True, "pending_migrations"),
        ("001_a 002_b", "001_a 002_b!", True, "pending_migrations"),
        ("001_a", "001_a", True, "up_to_date"),
        ("001_a", "001_a", False, "up_to_date"),
        ("001_a", "001_a 002_b", True, "ahead"),
        ("", "001_a", True, "ahead"),
        ("001_a 003_c", "001_a 002_b 003_c", True, "inconsistent"),
        ("001_a 003_c", "001_a 002_b", True, "inconsistent"),
    ],
    ids=["nothing", "first-deploy", "tables", "tables-and-no-files", "pending", "half-applied", "done",
         "done-without-tables", "ahead", "ahead-of-no-files", "missing-in-the-middle", "missing-next-to-new"],
)  # fmt: skip
def test_state(files: str, history: str, tables: bool, state: str) -> None:
    """The state says what the database is in relation to these files."""
    assert plan(files, history, tables=tables).state == state


@pytest.mark.parametrize(
    ("files", "history", "expected"),
    [
        ("9_a 10_b 100_c 1000_d", "", "9_a=9 10_b=10 100_c=100 1000_d=1000"),
        ("100_c 9_a", "", "9_a=9 100_c=100"),
        ("V1_10__b V1_2__a V13.1__c", "", "V1_2__a=1_2 V1_10__b=1_10 V13.1__c=13.1"),
        ("2017-09-23-182408_b 2017-09-23-182407_z", "",
         "2017-09-23-182407_z=2017-09-23-182407 2017-09-23-182408_b=2017-09-23-182408"),
        ("20170428101112_x 20170428101111_y", "", "20170428101111_y=20170428101111 20170428101112_x=20170428101112"),
        ("001_a", "001_a", ""),
        ("001_a 002_b 003_c", "001_a", "002_b=002 003_c=003"),
        ("001_a orders", "001_a", "orders=002"),
        ("zebra apple 001_a", "", "001_a=001 apple=002 zebra=003"),
        ("orders", "", "orders=001"),
        ("001_a orders 002_b", "001_a orders=002", "002_b=002"),
        ("001_a orders 002_b zebra", "001_a orders=002", "002_b=002 zebra=003"),
        ("001_a orders apple", "001_a orders=002", "apple=003"),
        ("001_a orders 003_c", "001_a orders=002", "003_c=003"),
        ("5_a orders", "", "5_a=5 orders=6"),
        ("001_a 003_c 002_b", "001_a 003_c", "002_b=002"),
        ("001_a 002_b 003_c", "001_a 002_b!", "002_b=002 003_c=003"),
        ("001_a 002_b 003_c", "001_a 003_c!", "002_b=002 003_c=003"),
        ("001_a orders 003_c", "001_a orders=002!", "orders=002 003_c=003"),
        ("001_a orders 002_b", "001_a orders=005!", "002_b=002 orders=005"),
        ("001_a 001-2fa-setup", "001_a 001-2fa-setup", ""),
    ],
    ids=["numbers-not-text", "order-of-files", "versions", "dates", "timestamps", "done", "rest", "unnumbered-last",
         "unnumbered-in-name-order", "unnumbered-alone", "arrives-with-a-number-that-was-given",
         "given-number-is-not-given-again", "next-after-given", "numbered-after-given", "width", "late-merge",
         "half-applied-is-resumed", "half-applied-in-order", "half-applied-unnumbered",
         "half-applied-unnumbered-in-order", "duplicates-applied"],
)  # fmt: skip
def test_pending_files_in_their_order_with_their_numbers(files: str, history: str, expected: str) -> None:
    """What is not applied runs in the order of numbers; unnumbered files follow, with the next free numbers."""
    found = plan(files, history)
    assert todo(found) == expected.split()
    assert found.problems == ()


@pytest.mark.parametrize("later", ["002_b", "003_c", "001_0 002_a 002-z", "20170428101112_x", "aaa zzz", "V1__x", "2_x"])
def test_number_that_was_given_never_moves(later: str) -> None:
    """Whatever files come later, an applied unnumbered file keeps its number and is not applied again."""
    found = plan(f"001_a orders {later}", "001_a orders=002")
    assert "orders.sql" not in [item.migration.name for item in found.pending]
    assert found.renames == ()
    assert not any("orders" in problem.what for problem in found.problems)
    numbers = [item.number for item in found.pending if split_name(item.migration.name)[0] == ""]
    assert "002" not in numbers


def test_half_applied_file_is_marked_as_resumed() -> None:
    """Only the file that an earlier run has begun is resumed."""
    found = plan("001_a 002_b 003_c", "001_a 002_b!")
    assert [item.resumed for item in found.pending] == [True, False]


@pytest.mark.parametrize(
    ("files", "history", "late"),
    [
        ("001_a 002_b 003_c", "001_a 003_c", ["002_b.sql"]),
        ("001_a 002_b 003_c 004_d", "001_a 003_c", ["002_b.sql"]),
        ("9_a 10_b", "10_b", ["9_a.sql"]),
        ("9_a 10_b", "9_a", []),
        ("001_a orders 002_b", "001_a orders=002", []),
        ("001_a orders 002_b", "001_a orders=009", []),
        ("001_a 003_c orders", "001_a 003_c", []),
        ("001_a 002_b 003_c", "001_a 002_b! 003_c", []),
    ],
    ids=["late", "late-and-next", "numbers-not-text", "in-order", "given-numbers-do-not-count",
         "nor-high-given-numbers", "unnumbered-is-never-late", "resumed-is-not-late"],
)  # fmt: skip
def test_late_merge_is_applied_with_a_warning_or_refused(files: str, history: str, late: list[str]) -> None:
    """A pending file below the highest applied number runs with a warning; STRICT_ORDER makes it an error."""
    found = plan(files, history)
    assert [item.migration.name for item in found.pending if item.late] == late
    assert len(found.warnings) == len(late)
    assert all(name in found.warnings[index] for index, name in enumerate(late))
    strict = plan(files, history, policy=Policy(strict_order=True))
    assert [type(problem) for problem in strict.problems] == [OutOfOrder] * len(late)
    assert all(name in strict.problems[index].what for index, name in enumerate(late))


def test_late_is_what_comes_before_a_missing_file_too() -> None:
    """With ALLOW_MISSING, an applied number counts although its file is on another branch."""
    found = plan("001_a 003_c", "001_a 005_e", policy=Policy(strict_order=True, allow_missing=True))
    assert [type(problem) for problem in found.problems] == [OutOfOrder]


def test_renumbered_file_counts_with_its_new_number() -> None:
    """A file that was given a lower number on disk does not make others late by its old number."""
    rows = [row("001_a.sql"), row("005_b.sql", text="B")]
    files = [file("001_a.sql"), file("002_b.sql", "B"), file("003_c.sql")]
    found = make_plan(files, rows, True, Policy(strict_order=True))
    assert found.problems == ()
    assert [(item.migration.name, item.late) for item in found.pending] == [("003_c.sql", False)]


@pytest.mark.parametrize(
    ("files", "history", "groups"),
    [
        ("001_a 002_b 002_c", "", [["002_b.sql", "002_c.sql"]]),
        ("001_a 002_b 2_c", "", [["002_b.sql", "2_c.sql"]]),
        ("001_a 002_b 002_c", "001_a 002_b", [["002_b.sql", "002_c.sql"]]),
        ("001_a 002_b 002_c 003_d", "001_a 002_b 002_c", []),
        ("001_a 002_b 002_c", "001_a 002_b 002_c", []),
        ("V1_2__a V1.2__b", "", [["V1.2__b.sql", "V1_2__a.sql"]]),
        ("001_a orders 002_b", "001_a orders=002", []),
        ("1_a 1_b 2_c 2_d", "", [["1_a.sql", "1_b.sql"], ["2_c.sql", "2_d.sql"]]),
        ("001_x 001-2fa-setup", "", [["001-2fa-setup.sql", "001_x.sql"]]),
    ],
    ids=["both-pending", "widths", "one-pending", "applied-and-another-pending", "all-applied", "versions",
         "given-number-conflicts-with-nothing", "two-groups", "dash"],
)  # fmt: skip
def test_two_files_of_one_number_are_an_error_while_one_is_pending(
    files: str, history: str, groups: list[list[str]]
) -> None:
    """Each number that several files carry is refused with all their names, unless all of them are applied."""
    found = plan(files, history)
    assert [type(problem) for problem in found.problems] == [DuplicateNumber] * len(groups)
    for problem, names in zip(found.problems, groups, strict=True):
        assert all(name in problem.what for name in names)
        assert problem.fix


def test_edited_file_is_an_error_with_its_name_and_a_fix() -> None:
    """An applied file whose text differs stops the run; the error names it and says what to do."""
    found = plan("001_a 002_b 003_c", "001_a 002_b", texts={"001_a": "edited", "002_b": "edited too"})
    assert found.state == "inconsistent"
    assert [type(problem) for problem in found.problems] == [InconsistentHistory] * 2
    assert ["001_a.sql" in found.problems[0].what, "002_b.sql" in found.problems[1].what] == [True, True]
    assert "new file" in found.problems[0].fix


def test_edited_half_applied_file_is_left_to_its_records() -> None:
    """A half-applied file may be corrected below the step that is next, so planning does not refuse it."""
    found = plan("001_a 002_b", "001_a 002_b!", texts={"002_b": "corrected"})
    assert (found.state, todo(found), found.problems) == ("pending_migrations", ["002_b=002"], ())


@pytest.mark.parametrize(
    ("files", "history", "missing"),
    [
        ("001_a 003_c", "001_a 002_b 003_c", ["002_b.sql"]),
        ("003_c", "001_a 002_b 003_c", ["001_a.sql", "002_b.sql"]),
        ("001_a 003_c", "001_a 002_b 003_c 004_d", ["002_b.sql", "004_d.sql"]),
        ("001_a 003_new", "001_a 002_b", ["002_b.sql"]),
        ("001_a 003_c", "001_a 002_b! 003_c", ["002_b.sql"]),
    ],
    ids=["in-the-middle", "at-the-start", "middle-and-end", "end-next-to-a-new-file", "half-applied"],
)
def test_missing_file_is_an_error_unless_that_is_allowed(files: str, history: str, missing: list[str]) -> None:
    """An applied file that vanished stops the run and is named; ALLOW_MISSING makes it a warning."""
    found = plan(files, history)
    assert found.state == "inconsistent"
    assert [type(problem) for problem in found.problems] == [InconsistentHistory] * len(missing)
    assert all(name in problem.what for name, problem in zip(missing, found.problems, strict=True))
    allowed = plan(files, history, policy=Policy(allow_missing=True))
    assert allowed.problems == ()
    assert all(any(name in warning for warning in allowed.warnings) for name in missing)


@pytest.mark.parametrize(
    ("files", "history", "texts", "count"),
    [
        ("other", "001_a 002_b", {}, "2 migrations without a file here, and none of the 1 here"),
        ("001_x 002_y", "001_a", {}, "1 migration without a file here, and none of the 2 here"),
        ("001_a 002_y", "001_a 002_b", {"001_a": "another text"}, "1 migration without a file here, and none of the 2 here"),
        ("001_x", "001_a!", {}, "1 migration without a file here, and none of the 1 here"),
    ],
    ids=["one", "two", "same-name", "half-applied"],
)
def test_folder_of_another_service(files: str, history: str, texts: dict[str, str], count: str) -> None:
    """Where the history has others and none of the files here, it is said to be another folder's, and no fix repairs it."""
    found = plan(files, history, texts=texts)
    assert found.problems[0].what.startswith(f"the history of this database is that of another folder: it has {count}")
    assert found.strangers
    fixes = {problem.fix for problem in found.problems}
    assert len(fixes) == 1
    assert "MIGRATIONS_DIR" in (fix := fixes.pop())
    assert not any(word in fix for word in ("repair", "forget", "roll"))
    assert len(f"Fix: {fix}".encode()) <= 320  # what an error has space for


@pytest.mark.parametrize("fix", [missing._FIX, missing._FIX_HALF, missing._FIX_IMPORT])
def test_fix_of_a_missing_file_is_shown_whole(fix: str) -> None:
    """An error has space for the whole fix."""
    assert len(f"Fix: {fix}".encode()) <= 320


def test_repeatable_file_shows_whose_history_it_is() -> None:
    """A folder of which a repeatable file is in the history is the history's own."""
    view = file("repeatable/v.sql")
    rows = [row("001_a.sql"), row("repeatable/v.sql", "0")]
    assert not make_plan([file("001_b.sql")], rows, True, NO_WISHES, [view]).strangers
    assert make_plan([file("001_b.sql")], rows, True, NO_WISHES, [file("repeatable/w.sql")]).strangers


def test_problems_of_every_kind_are_reported_at_once() -> None:
    """Whoever has an edited, a missing, a duplicate and a late file hears of all four."""
    found = plan(
        "001_a 003_c 004_d 004_e 005_f", "001_a 002_b 003_c 005_f",
        texts={"001_a": "edited"}, policy=Policy(strict_order=True),
    )  # fmt: skip
    text = " ".join(problem.what for problem in found.problems)
    assert all(name in text for name in ("001_a.sql", "002_b.sql", "004_d.sql", "004_e.sql"))


@pytest.mark.parametrize(
    ("files", "history", "texts", "named"),
    [
        ("001_a 002_b", "001_a 002_b 003_c", {}, ["003_c.sql"]),
        ("001_a 003_c", "001_a 003_c 002_b", {}, ["002_b.sql"]),
        ("001_a 003_c", "001_a 003_c 002_b 004_d", {}, ["002_b.sql", "004_d.sql"]),
        ("001_a", "001_a orders=002", {}, ["orders.sql"]),
        ("001_a 002_b", "001_a 002_b 003_c", {"001_a": "older text"}, ["003_c.sql", "001_a.sql"]),
        ("001_a 002_b", "001_a 002_b 003_c!", {}, ["003_c.sql", "in part"]),
    ],
    ids=["by-number", "by-time-after-a-late-merge", "late-merge-and-more", "unnumbered", "edited", "half-applied"],
)
def test_ahead_is_success_with_a_warning_and_writes_nothing(
    files: str, history: str, texts: dict[str, str], named: list[str]
) -> None:
    """An older package on a newer database has nothing to do, and says so; not even an edited file is an error."""
    found = plan(files, history, texts=texts, policy=Policy(strict_order=True))
    assert found.state == "ahead"
    assert (found.pending, found.held_back, found.renames, found.problems) == ((), (), (), ())
    text = " ".join(found.warnings)
    assert "ahead" in text
    assert all(name in text for name in named)


def test_ahead_with_a_half_applied_file_here_is_no_success() -> None:
    """A file of ours that is half applied is finished or refused; it is never passed over as if nothing were wrong."""
    found = plan("001_a 002_b", "001_a 002_b! 003_c")
    assert found.pending or found.problems or any("002_b.sql" in warning for warning in found.warnings)


def test_ahead_keeps_the_revision_of_the_database() -> None:
    """The revision of a database that is ahead is its own."""
    assert plan("001_a", "001_a 002_b 003_c!").revision == "002"


@pytest.mark.parametrize(
    ("history", "revision"),
    [("", ""), ("001_a", "001"), ("9_a 10_b", "10"), ("001_a 003_c 002_b", "003"), ("001_a orders=002", "002"), ("001_a!", "")],
)
def test_revision_is_the_highest_number_that_is_wholly_applied(history: str, revision: str) -> None:
    """The revision is compared as a number, and a half-applied file does not count."""
    names = " ".join(word.partition("=")[0].removesuffix("!") for word in history.split())
    assert plan(names, history).revision == revision


@pytest.mark.parametrize(
    ("old", "new"), [("002_b.sql", "005_b.sql"), ("002_b.sql", "002_better.sql"), ("orders.sql", "002_orders.sql")],
    ids=["renumbered", "renamed", "number-put-on-disk"],
)  # fmt: skip
def test_renamed_file_is_not_run_again(old: str, new: str) -> None:
    """A renamed or renumbered file is followed by the history, with a warning that says so."""
    found = make_plan(
        [file("001_a.sql"), file(new, "B")], [row("001_a.sql"), row(old, "002", "B")], True, Policy()
    )
    assert (found.state, found.pending, found.problems) == ("up_to_date", (), ())
    assert [(rename.old, rename.new) for rename in found.renames] == [(old, new)]
    assert any(old in warning and new in warning for warning in found.warnings)


def test_two_empty_files_that_were_renamed_are_refused() -> None:
    """Which of two empty files is which cannot be known, so neither is run nor taken for applied."""
    found = make_plan(
        [file("003_c.sql", ""), file("004_d.sql", "")], [row("001_a.sql", text=""), row("002_b.sql", text="")],
        True, Policy(),
    )  # fmt: skip
    assert found.state == "inconsistent"
    assert found.renames == ()


def test_imported_row_without_a_checksum_is_not_edited() -> None:
    """A row of the first generation whose text is not known is taken as it is."""
    found = make_plan(
        [file("001_a.sql")], [AppliedMigration("001_a.sql", "001", "", "applied")], True, Policy()
    )
    assert (found.state, found.problems) == ("up_to_date", ())


@pytest.mark.parametrize(
    ("target", "due", "held_back"),
    [
        ("", "002_b 003_c 010_d orders zebra", ""),
        ("003", "002_b 003_c", "010_d orders zebra"),
        ("3", "002_b 003_c", "010_d orders zebra"),
        ("0000003", "002_b 003_c", "010_d orders zebra"),
        ("003_c", "002_b 003_c", "010_d orders zebra"),
        ("003_c.sql", "002_b 003_c", "010_d orders zebra"),
        ("10", "002_b 003_c 010_d", "orders zebra"),
        ("orders", "002_b 003_c 010_d orders", "zebra"),
        ("orders.sql", "002_b 003_c 010_d orders", "zebra"),
        ("011", "002_b 003_c 010_d orders", "zebra"),
        ("12", "002_b 003_c 010_d orders zebra", ""),
        ("001", "", "002_b 003_c 010_d orders zebra"),
        ("001_a", "", "002_b 003_c 010_d orders zebra"),
    ],
    ids=["head", "number", "short", "wide", "stem", "name", "two-digits", "unnumbered-stem", "unnumbered-name",
         "given-number", "last", "applied-number", "applied-stem"],
)  # fmt: skip
def test_target_holds_back_what_comes_after_it(target: str, due: str, held_back: str) -> None:
    """A target is a number of any width or a name with or without .sql; what comes after it is held back."""
    found = plan("001_a 002_b 003_c 010_d orders zebra", "001_a", policy=Policy(target=target))
    assert [item.migration.name.removesuffix(".sql") for item in found.pending] == due.split()
    assert [item.migration.name.removesuffix(".sql") for item in found.held_back] == held_back.split()
    assert found.state == "pending_migrations"


@pytest.mark.parametrize(
    ("target", "names"),
    [("V1.2", ["V1_2__a.sql"]), ("1_2", ["V1_2__a.sql"]), ("V1_2__a", ["V1_2__a.sql"]), ("2", ["V1_2__a.sql", "V2__b.sql"])],
)
def test_target_may_be_a_version(target: str, names: list[str]) -> None:
    """A version can be spelled as in the file name, with points or underscores."""
    found = plan("V1_2__a V2__b", policy=Policy(target=target))
    assert [item.migration.name for item in found.pending] == names


def test_target_behind_the_database_goes_back_nowhere() -> None:
    """A target that the database has passed changes nothing, and a warning says that migrate never goes back."""
    found = plan("001_a 002_b 003_c 004_d", "001_a 002_b 003_c", policy=Policy(target="2"))
    assert found.pending == ()
    assert any("003" in warning and "never" in warning for warning in found.warnings)


def test_late_merge_below_the_target_is_applied() -> None:
    """A target admits late files below it."""
    found = plan("001_a 002_b 003_c 004_d", "001_a 003_c", policy=Policy(target="3"))
    assert todo(found) == ["002_b=002"]


def test_half_applied_file_beyond_the_target_is_held_back() -> None:
    """A target holds back a file that an earlier run has begun, as any other."""
    found = plan("001_a 002_b 003_c", "001_a 003_c!", policy=Policy(target="002"))
    assert todo(found) == ["002_b=002"]


def test_target_may_be_the_new_name_of_a_renamed_file() -> None:
    """A file that is here can be named as a target, also when the history still has its old name."""
    files = [file("001_a.sql"), file("005_b.sql", "B"), file("006_c.sql")]
    rows = [row("001_a.sql"), row("002_b.sql", text="B")]
    for target in ("005_b.sql", "005_b", "5"):
        found = make_plan(files, rows, True, Policy(target=target))
        assert found.pending == ()
        assert [item.migration.name for item in found.held_back] == ["006_c.sql"]


@pytest.mark.parametrize(
    "target", ["004", "0", "003_x", "head ", "HEAD", "001_a.SQL", "../001_a", "-1", "1.1", "", "💥", "9" * 5000],
    ids=lambda target: ascii(target)[:12],
)  # fmt: skip
@pytest.mark.parametrize(
    ("files", "history"),
    [("001_a 002_b", "001_a"), ("001_a 002_b", "001_a 002_b"), ("001_a", "001_a 003_c"), ("", "")],
    ids=["pending", "up-to-date", "ahead", "nothing"],
)
def test_unknown_target_is_refused(files: str, history: str, target: str) -> None:
    """A target that is neither file nor number nor applied is refused in every state; no target is everything."""
    if not target:
        assert plan(files, history).problems == ()
        return
    with pytest.raises(UnknownTarget) as caught:
        plan(files, history, policy=Policy(target=target))
    assert target[:20] in str(caught.value)
    assert caught.value.fix


def test_unknown_target_names_the_last_ones_by_number() -> None:
    """The refusal names the five files with the highest numbers, in the order of their numbers and not of their names."""
    names = [f"{number}_x" for number in range(1, 13)]
    with pytest.raises(UnknownTarget) as caught:
        plan(" ".join(names), " ".join(names[:6]), policy=Policy(target="99"))
    assert caught.value.fix.endswith("the last ones: 8_x.sql, 9_x.sql, 10_x.sql, 11_x.sql, 12_x.sql")



def test_thousand_files_make_a_plan_in_their_order() -> None:
    """Many files, named in no order, are planned by number."""
    names = " ".join(f"{number}_x" for number in range(1000, 0, -1))
    assert todo(plan(names)) == [f"{number}_x={number}" for number in range(1, 1001)]
