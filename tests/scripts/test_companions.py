"""companions: the down migration and the check of a file, each read once."""

from __future__ import annotations

import builtins
import os
from collections import Counter
from pathlib import Path

import pytest
from migrator.cli.lint.findings import find
from migrator.files.folder import read_folder
from migrator.scripts.companions import MAX_STORED, differs, read_down
from migrator.scripts.script import read_scripts


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Return how often each file was opened for reading, by name, whatever opened it."""
    names: Counter[str] = Counter()
    plain, low = builtins.open, os.open

    def note(path: object) -> None:
        if isinstance(path, str | os.PathLike) and str(path).endswith(".sql"):
            names[Path(path).name] += 1

    def by_name(path: str, *words: object, **named: object) -> object:
        note(path)
        return plain(path, *words, **named)  # type: ignore[call-overload]  # whatever the caller gives

    def by_descriptor(path: str, flags: int, *words: int) -> int:
        note(path)
        return low(path, flags, *words)

    monkeypatch.setattr(builtins, "open", by_name)
    monkeypatch.setattr(os, "open", by_descriptor)
    return names


def fill(folder: Path) -> None:
    """Write a file with COPY data, a down migration and a check."""
    (folder / "001_a.sql").write_text("CREATE TABLE a (i int);\nCOPY a FROM stdin;\n1\n\\.\n")
    (folder / "001_a.down.sql").write_text("DROP TABLE a;\n")
    (folder / "001_a.check.sql").write_text("SELECT 1;\n")


def test_small_files_are_opened_once(tmp_path: Path, opened: Counter[str]) -> None:
    """After the folder was read, a run opens a small file and its companions once, however often it uses them."""
    fill(tmp_path)
    files = read_folder(tmp_path).files
    opened.clear()
    (script,) = read_scripts(files)
    for _ in range(2):
        assert [statement.words[:1] for statement in script.body()] == [("create",), ("copy",)]
    assert (script.mentions("A"), script.mentions("xyz")) == (True, False)
    assert script.check is not None
    assert (script.down, len(list(script.check.read()))) == ("DROP TABLE a;\n", 1)
    assert opened == {"001_a.sql": 1, "001_a.down.sql": 1, "001_a.check.sql": 1}


def test_down_migration_is_opened_once_to_be_rolled_back(tmp_path: Path, opened: Counter[str]) -> None:
    """The text that is run and the text that is compared with the stored one come from one reading."""
    fill(tmp_path)
    script = read_down("001_a.down.sql", str(tmp_path / "001_a.down.sql"))
    assert (differs(script, "DROP TABLE a;\r\n"), differs(script, "DROP TABLE b;\n")) == (False, True)
    assert [statement.text for statement in script.body()] == ["DROP TABLE a;"]
    assert opened == {"001_a.down.sql": 1}


def test_lint_opens_a_file_once_after_the_folder(tmp_path: Path, opened: Counter[str]) -> None:
    """Lint reads the text that squawk is given together with the statements."""
    fill(tmp_path)
    find(tmp_path)
    assert opened == {"001_a.sql": 2, "001_a.down.sql": 1, "001_a.check.sql": 1}


@pytest.mark.parametrize("size", [MAX_STORED + 1, 3 * MAX_STORED])
def test_large_file_is_not_kept(tmp_path: Path, size: int) -> None:
    """Of a large file neither text nor statements are held; a name across the border of two pieces is found."""
    text = "-- " + "x" * (MAX_STORED - 5) + "SchemaName\n" + "-- " + "y" * (size - MAX_STORED) + "\nSELECT 1;\n"
    (tmp_path / "001_a.sql").write_text(text)
    (script,) = read_scripts(read_folder(tmp_path).files)
    assert (script.text, isinstance(script.read(), list)) == (None, False)
    assert (script.mentions("schemaname"), script.mentions("schemanames")) == (True, False)
    assert [statement.text for statement in script.body()] == ["SELECT 1;"]
