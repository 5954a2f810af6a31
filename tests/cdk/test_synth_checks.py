"""Synth refuses a folder that the function would refuse."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from migrator.cli.lint import squawk

from cdk.database_initializer import asset, synth_checks
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
    "down migration": ({"_001_a": "SELECT 1;", "_001_a.down": "SELECT 'x;"}, "001_a.down.sql:1:8"),
    "check": ({"_001_a": "SELECT 1;", "_001_a.check": "SELECT 1;\nCOMMIT;"}, "001_a.check.sql:2:1"),
    "environment": ({"_001_a": "SELECT 1;", "env/dev/002_b": "SELECT 'x;"}, "env/dev/002_b.sql:1:8"),
    "repeatable": ({"_001_a": "SELECT 1;", "repeatable/v": "SELECT 'x;"}, "repeatable/v.sql:1:8"),
    "duplicate": ({"_001_a": "SELECT 1;", "_001_b": "SELECT 2;"}, "001_b.sql:1:1: duplicate number 1: 001_a.sql"),
    "duplicate of an environment": ({"_001_a": "SELECT 1;", "env/dev/001_b": "SELECT 2;"}, "env/dev/001_b.sql:1:1"),
    "mark of another tool": ({"_001_a": "SELECT 1;\n-- +goose Down\nSELECT 2;"}, "001_a.sql:2:1"),
    "name of another tool": ({"V1__a": "SELECT 1;", "U1__a": "SELECT 2;"}, "rename it to V1__a.down.sql"),
    "layout of another tool": ({"20240101_a/migration": "SELECT 1;"}, "copy each NAME/migration.sql to NAME.sql"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_a_file_that_cannot_run_is_an_error(tmp_path: Path, name: str) -> None:
    """The error says which file, and where in it."""
    files, place = ERRORS[name]
    (error,) = synth_checks.inspect(_folder(tmp_path, **files)).errors
    assert place in error
    assert "Fix: " in error or "]\n    give it " in error


def test_all_errors_are_reported_at_once(tmp_path: Path) -> None:
    """Two bad files are two errors of synth, on the construct."""
    site = make_site(tmp_path / "out")
    site.initializer(migrations=_folder(tmp_path, _001_a="SELECT 'x;", _002_b="\\q\n", _003_c="SELECT 1;"))
    errors = errors_of(site.stack)
    assert "ERROR 001_a.sql:1:8  a string opened here is never closed" in errors
    assert "ERROR 002_b.sql:1:1  \\q is a psql meta-command" in errors


def test_remarks_are_warnings(tmp_path: Path) -> None:
    """Unnumbered files and files that are not run are reported, and stop nothing."""
    folder = _folder(tmp_path, orders="SELECT 1;", _001_a="SELECT 1;")
    (folder / "002_b.SQL").write_text("SELECT 1;")
    site = make_site(tmp_path / "out")
    site.initializer(migrations=folder)
    found = synthesise(site.stack)
    said = "\n".join(found.warnings)
    for text in ("orders.sql has no number", "002_b.SQL is not run"):
        assert text in said


def _git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@shop.example"]
    subprocess.run(["git", "-C", str(folder), *identity, *words], check=True, capture_output=True)


def _commit(folder: Path) -> None:
    """Make the folder a repository whose main branch has it as it is."""
    _git(folder, "init", "--quiet", "--initial-branch=main")
    _git(folder, "add", ".")
    _git(folder, "commit", "--quiet", "--message", "Begin")


def test_a_late_number_is_a_warning(tmp_path: Path) -> None:
    """A new file numbered below a committed one is named with it; a committed or higher one is not."""
    folder = _folder(tmp_path, _001_a="SELECT 1;", _005_b="SELECT 1;")
    _commit(folder)
    assert synth_checks.inspect(folder).warnings == ()
    (folder / "003_late.sql").write_text("SELECT 1;")
    (folder / "006_new.sql").write_text("SELECT 1;")
    (warning,) = synth_checks.inspect(folder).warnings
    assert warning.id == "db_setup:out_of_order"
    assert "003_late.sql:1:1: 003_late.sql comes before 005_b.sql, which is on " in warning.text


def test_an_edited_past_is_a_warning(tmp_path: Path) -> None:
    """A file that differs from git is reported, and left to the deploy: a file that has failed is fixed by an edit."""
    folder = _folder(tmp_path, _001_a="SELECT 1;", _002_b="SELECT 2;", _003_c="SELECT 3;")
    _commit(folder)
    (folder / "001_a.sql").write_text("SELECT 'edited';")
    (folder / "002_b.sql").unlink()
    (folder / "env/dev").mkdir(parents=True)
    (folder / "003_c.sql").rename(folder / "env/dev/003_c.sql")
    found = synth_checks.inspect(folder)
    assert found.errors == ()
    assert [warned.id for warned in found.warnings] == [
        "db_setup:edited_file", "db_setup:missing_file", "db_setup:renamed_file"
    ]  # fmt: skip


def test_other_tools_files_that_may_be_applied_are_warnings(tmp_path: Path) -> None:
    """What the main branch has stops no synth, since a running system may have applied it; a new file does."""
    folder = _folder(tmp_path, _001_a="SELECT 1;\n-- +goose Down\nSELECT 2;")
    _commit(folder)
    assert [warned.id for warned in synth_checks.inspect(folder).warnings] == ["db_setup:down_section"]
    (folder / "002_b.sql").write_text("SELECT 1;\n-- +goose Down\nSELECT 2;")
    found = synth_checks.inspect(folder)
    assert [text.partition("  ")[0] for text in found.errors] == ["002_b.sql:2:1"]
    assert [warned.id for warned in found.warnings] == ["db_setup:down_section"]


def test_remarks_for_a_review_are_left_to_lint(tmp_path: Path) -> None:
    """A missing branch, squawk or down migration is not reported at every synth."""
    assert synth_checks.inspect(_folder(tmp_path, _001_a="SELECT 1;", **{"_001_a.down": ""}, _002_b="SELECT 1;")).warnings == ()


@pytest.mark.skipif(not squawk.program(), reason="squawk-cli is not installed")
def test_dangerous_statements_of_new_files_are_warnings(tmp_path: Path) -> None:
    """Squawk's findings stand at synth, for files that are not on the main branch."""
    folder = _folder(tmp_path, _001_a="ALTER TABLE a DROP COLUMN b;")
    assert synth_checks.inspect(folder).warnings == ()  # it is not known to be new
    _commit(folder)
    (folder / "002_b.sql").write_text("ALTER TABLE a DROP COLUMN b;\n")
    (warning,) = synth_checks.inspect(folder).warnings
    assert warning.id == "db_setup:ban-drop-column"
    assert "002_b.sql:1:15: " in warning.text


def test_a_strict_order_is_checked_at_synth(tmp_path: Path) -> None:
    """With STRICT_ORDER a late number is an error of synth, since the function would refuse it."""
    folder = _folder(tmp_path, _005_b="SELECT 1;")
    _commit(folder)
    (folder / "003_late.sql").write_text("SELECT 1;")
    site = make_site(tmp_path / "out")
    site.initializer(migrations=folder, environment={"STRICT_ORDER": "true"})
    assert "003_late.sql:1:1: 003_late.sql comes before 005_b.sql" in errors_of(site.stack)


def test_without_git_nothing_is_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder outside git, or a machine without it, has no late numbers."""
    folder = _folder(tmp_path, _001_a="SELECT 1;")
    assert synth_checks.inspect(folder).warnings == ()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert synth_checks.inspect(folder).warnings == ()


def test_a_folder_too_large_for_lambda_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the size, the limit and the largest file (the limit is lowered here)."""
    monkeypatch.setattr(asset, "MAX_BYTES", 14 << 20)
    folder = _folder(tmp_path, _001_data="SELECT 1;" + " " * (8 << 20))
    site = make_site(tmp_path / "out")
    site.initializer(migrations=folder)
    error = errors_of(site.stack)
    assert "MB unzipped, and Lambda takes 14 MB" in error
    assert "migrations/001_data.sql" in error
