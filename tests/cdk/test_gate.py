"""Synth is a gate: what the function would refuse in the folder, synth refuses."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from cdk import asset, gate
from tests.cdk.stacks import errors_of, make_site, synthesise


def _folder(tmp_path: Path, **files: str | bytes) -> Path:
    folder = tmp_path / "migrations"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name.lstrip('_')}.sql").write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


ERRORS: dict[str, tuple[dict[str, str | bytes], str]] = {
    "open quote": ({"_001_a": "SELECT 1;\nSELECT 'x;\n"}, "001_a.sql:2:8"),
    "psql command": ({"_001_a": "SELECT 1;\n\\i other.sql\n"}, "001_a.sql:2:1"),
    "open transaction": ({"_001_a": "BEGIN;\nSELECT 1;\n"}, "001_a.sql:1:1"),
    "wrong bytes": ({"_001_a": b"SELECT '\xff';"}, "001_a.sql:1:9"),
    "NUL": ({"_001_a": b"SELECT 1;\n\x00"}, "001_a.sql:2:1"),
    "way back": ({"_001_a": "SELECT 1;", "_001_a.down": "SELECT 'x;"}, "001_a.down.sql:1:8"),
    "check": ({"_001_a": "SELECT 1;", "_001_a.check": "SELECT 1;\nCOMMIT;"}, "001_a.check.sql:2:1"),
    "environment": ({"_001_a": "SELECT 1;", "env/dev/002_b": "SELECT 'x;"}, "env/dev/002_b.sql:1:8"),
    "repeatable": ({"_001_a": "SELECT 1;", "repeatable/v": "SELECT 'x;"}, "repeatable/v.sql:1:8"),
    "duplicate": ({"_001_a": "SELECT 1;", "_001_b": "SELECT 2;"}, "001_a.sql"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_a_file_that_cannot_run_is_an_error(tmp_path: Path, name: str) -> None:
    """The error says which file, and where in it."""
    files, place = ERRORS[name]
    (error,) = gate.inspect(_folder(tmp_path, **files)).errors
    assert place in error
    assert "Cure: " in error


def test_all_errors_are_told_at_once(tmp_path: Path) -> None:
    """Two bad files are two errors of synth, on the construct."""
    site = make_site(tmp_path / "out")
    site.initializer(migrations=_folder(tmp_path, _001_a="SELECT 'x;", _002_b="\\q\n", _003_c="SELECT 1;"))
    errors = errors_of(site.stack)
    assert "ERROR 001_a.sql:1:8  a string opened here is never closed" in errors
    assert "ERROR 002_b.sql:1:1  \\q is a command of psql" in errors


def test_remarks_are_warnings(tmp_path: Path) -> None:
    """Unnumbered files, other tools' marks and files that are not run are told, and stop nothing."""
    folder = _folder(tmp_path, orders="SELECT 1;", _001_a="SELECT 1;\n-- +goose Down\n")
    (folder / "002_b.SQL").write_text("SELECT 1;")
    site = make_site(tmp_path / "out")
    site.initializer(migrations=folder)
    found = synthesise(site.stack)
    said = "\n".join(found.warnings)
    for text in ("without a number: orders.sql", '"-- +goose Down"', "002_b.SQL is not run"):
        assert text in said


def _git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@shop.example"]
    subprocess.run(["git", "-C", str(folder), *identity, *words], check=True, capture_output=True)


def test_a_late_number_is_a_warning(tmp_path: Path) -> None:
    """A new file numbered below a committed one is named with it; a committed or higher one is not."""
    folder = _folder(tmp_path, _001_a="SELECT 1;", _005_b="SELECT 1;")
    _git(folder, "init", "--quiet")
    _git(folder, "add", ".")
    _git(folder, "commit", "--quiet", "--message", "Begin")
    assert gate.inspect(folder).warnings == ()
    (folder / "003_late.sql").write_text("SELECT 1;")
    (folder / "006_new.sql").write_text("SELECT 1;")
    (warning,) = gate.inspect(folder).warnings
    assert warning.startswith("003_late.sql comes late: 005_b.sql is committed already")


def test_without_git_nothing_is_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder outside git, or a machine without it, has no late numbers."""
    folder = _folder(tmp_path, _001_a="SELECT 1;")
    assert gate.inspect(folder).warnings == ()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gate.inspect(folder).warnings == ()


def test_a_folder_too_large_for_lambda_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the size, the limit and the largest file (the limit is lowered here)."""
    monkeypatch.setattr(asset, "MAX_BYTES", 14 << 20)
    folder = _folder(tmp_path, _001_data="SELECT 1;" + " " * (8 << 20))
    site = make_site(tmp_path / "out")
    site.initializer(migrations=folder)
    error = errors_of(site.stack)
    assert "MB unzipped, and Lambda takes 14 MB" in error
    assert "migrations/001_data.sql" in error
