"""scaffold: the next migration for a developer, and numbers for files that have none."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
from migrator.cli.scaffold import make_next_file, number_files
from migrator.context import RunContext
from migrator.database.deadline import Deadline
from migrator.errors import DbSetupError, FolderError, UnreadableFile, UsageError
from migrator.request import Request
from migrator.settings import Settings

from tests.plugins.runs import PRODUCT


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty migrations folder next to a drop-in folder; the project is the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "db_setup").mkdir()
    (tmp_path / "migrations").mkdir()
    return tmp_path / "migrations"


def make(folder: Path, title: str) -> str:
    """Make the next file and return its path."""
    return make_next_file(folder.parent / "db_setup", Settings(), title)


def number(folder: Path) -> list[str]:
    """Number the files of a folder, without a database."""
    settings = Settings(migrations_dir=str(folder))
    return number_files(RunContext(settings, Request(), folder.parent, Deadline(None), lambda _event, _fields: None, "test"))


def fill(folder: Path, names: str) -> None:
    """Make files of these names, spaces between."""
    for name in names.split():
        (folder / f"{name}.sql").write_text(f"select '{name}';")


def listed(folder: Path) -> list[str]:
    """Return the stems of a folder's files in order."""
    return sorted(path.name.removesuffix(".sql") for path in folder.iterdir())


@pytest.mark.parametrize(
    ("there", "title", "expected"),
    [
        ("", "add orders", "001_add_orders"),
        ("001_a 002_b", "add orders", "003_add_orders"),
        ("9_a 10_b", "x", "11_x"),
        ("0009_a", "x", "0010_x"),
        ("001_a 001_b", "x", "002_x"),
        ("001_a orders zebra", "x", "004_x"),
        ("001_a 002_b.down", "x", "002_x"),
        ("20170428101112_a", "x", "20170428101113_x"),
        ("", "Add Orders!", "001_add_orders"),
        ("", "add orders.sql", "001_add_orders"),
        ("", "add-orders; drop 'table'", "001_add_orders_drop_table"),
        ("", "../../etc/passwd", "001_etc_passwd"),
        ("", "größe ändern", "001_größe_ändern"),
        ("", "  spaces  ", "001_spaces"),
        ("", "two\nlines", "001_two_lines"),
        ("", "2fa set-up", "001_2fa_set_up"),
        ("V1_2__a V1_1__b", "x", "V1_3__x"),
        ("V13.9__a", "x", "V13.10__x"),
        ("v3__a orders", "x", "v5__x"),
        ("1.2.0_01_a", "x", "1.2.0_02_x"),
        ("9998-12-31_a", "x", "9999-01-01_x"),
        ("9998-01-31_a orders", "x", "9998-02-02_x"),
        ("9998_01_31_235959_a", "x", "9998_02_01_000000_x"),
    ],
)
def test_next_file_has_the_next_free_number(folder: Path, there: str, title: str, expected: str) -> None:
    """The file is named by the next number, behind those that unnumbered files will be given, and its title."""
    fill(folder, there)
    path = make(folder, title)
    assert path == f"migrations/{expected}.sql"
    text = Path(path).read_text(encoding="utf-8")
    assert all(line.startswith("--") for line in text.splitlines() if line)


@pytest.mark.parametrize(("there", "form"), [("2026-01-31_a", "%Y-%m-%d"), ("2026_01_31_1200_a", "%Y_%m_%d_%H%M")])
def test_next_file_in_a_folder_of_dates_has_that_of_today(folder: Path, there: str, form: str) -> None:
    """Where the names begin with dates, the next one begins with the current date, spelled in the same way."""
    fill(folder, there)
    before = datetime.now().astimezone().strftime(form)
    path = make(folder, "orders")
    after = datetime.now().astimezone().strftime(form)
    assert path in {f"migrations/{date}_orders.sql" for date in (before, after)}


@pytest.mark.parametrize("title", ["", " ", "!!!", "___", ".sql", "../.."])
def test_title_without_letters_is_refused(folder: Path, title: str) -> None:
    """A title of which no name can be made is wrong usage, and nothing is made."""
    with pytest.raises(UsageError):
        make(folder, title)
    assert listed(folder) == []


def test_title_longer_than_a_file_name_is_an_error_of_ours(folder: Path) -> None:
    """A title of which no file system makes a name is refused with a message, not with a traceback."""
    with pytest.raises(DbSetupError):
        make(folder, "a very long title " * 30)


def test_folder_that_cannot_be_made_is_an_error_of_ours(folder: Path) -> None:
    """Where a file stands in the way of the folder, the failure has its code, and is no traceback."""
    (folder.parent / "file").write_text("")
    with pytest.raises(UnreadableFile, match="no file can be made in"):
        make_next_file(folder.parent / "db_setup", Settings(migrations_dir=str(folder.parent / "file" / "m")), "x")


def test_next_file_goes_where_the_settings_say(folder: Path) -> None:
    """MIGRATIONS_DIR names the folder, which is made when it is not there."""
    there = folder.parent / "sql" / "more"
    path = make_next_file(folder.parent, Settings(migrations_dir=str(there)), "add orders")
    assert Path(path).resolve() == (there / "001_add_orders.sql").resolve()


def test_two_files_made_one_after_the_other_have_two_numbers(folder: Path) -> None:
    """Each new file has a number of its own."""
    assert [make(folder, "x"), make(folder, "x")] == ["migrations/001_x.sql", "migrations/002_x.sql"]


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        ("", ""),
        ("001_a 002_b", "001_a 002_b"),
        ("001_a orders", "001_a 002_orders"),
        ("zebra apple", "001_apple 002_zebra"),
        ("5_a orders", "5_a 6_orders"),
        ("9_a 10_b orders", "9_a 10_b 11_orders"),
        ("001_a 2fa", "001_a 002_2fa"),
        ("001_a 001_b orders", "001_a 001_b 002_orders"),
        ("20170428101112_a orders", "20170428101112_a 20170428101113_orders"),
    ],
)
def test_unnumbered_files_are_given_the_numbers_they_would_get(folder: Path, there: str, expected: str) -> None:
    """Files without a number follow the numbered ones in name order; doing it again does nothing."""
    fill(folder, there)
    done = number(folder)
    assert listed(folder) == sorted(expected.split())
    assert len(done) == len(set(expected.split()) - set(there.split()))
    assert number(folder) == []


def test_what_was_renamed_is_reported_and_keeps_its_text(folder: Path) -> None:
    """Each renaming is reported as old and new name, and the text is the same."""
    fill(folder, "001_a orders")
    assert number(folder) == ["orders.sql -> 002_orders.sql"]
    assert (folder / "002_orders.sql").read_text() == "select 'orders';"


def test_nothing_else_is_renamed(folder: Path) -> None:
    """Down migrations, hidden files and other files keep their names."""
    fill(folder, "001_a orders.down .hidden")
    (folder / "README.md").write_text("")
    assert number(folder) == []


@pytest.mark.parametrize("kind", ["folder", "dangling-link"])
def test_what_is_in_the_way_is_not_replaced(folder: Path, kind: str) -> None:
    """A name that is taken by something that is no migration is refused, and nothing is lost."""
    fill(folder, "001_a orders")
    if kind == "folder":
        (folder / "002_orders.sql").mkdir()
    else:
        (folder / "002_orders.sql").symlink_to("nowhere")
    with pytest.raises(FolderError, match="002_orders"):
        number(folder)
    assert (folder / "orders.sql").read_text() == "select 'orders';"
    assert not (folder / "002_orders.sql").is_file()


def test_companions_follow_their_file(folder: Path) -> None:
    """A down migration and a check get the name of their file, so that they are still found."""
    fill(folder, "001_a orders orders.down orders.check")
    assert len(number(folder)) == 3
    assert listed(folder) == ["001_a", "002_orders", "002_orders.check", "002_orders.down"]


def test_nothing_is_renamed_where_one_name_is_taken(folder: Path) -> None:
    """All names are checked before the first file is renamed."""
    fill(folder, "001_a orders zebra")
    (folder / "003_zebra.sql").mkdir()
    with pytest.raises(FolderError, match="003_zebra"):
        number(folder)
    assert listed(folder) == ["001_a", "003_zebra", "orders", "zebra"]


def test_no_driver_is_needed() -> None:
    """The next file is made, and files are numbered without a database, on a machine without psycopg2."""
    code = "import sys; sys.modules['psycopg2'] = None; from migrator.cli.scaffold import make_next_file, number_files"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PRODUCT)
