"""The package of the function: what is in it, and that it is the same wherever it is built."""

from __future__ import annotations

import io
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from migrator.files.folder import read_folder

from cdk.database_initializer import InvalidProps, asset, driver_wheels
from cdk.database_initializer.asset import build, files_in
from cdk.database_initializer.driver_wheels import PYTHONS, Target
from cdk.database_initializer.layer import layer_folder, main, write_zip
from cdk.database_initializer.location import DB_SETUP
from tests.plugins.project import copy_project

ROOT = Path(__file__).resolve().parents[2]
TARGET = Target("3.14", "x86_64")
_MACHINES = {"x86_64": 62, "arm64": 183}  # e_machine in the header of an ELF file


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    """Return a folder with one migration."""
    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / "001_a.sql").write_text("SELECT 1;\n")
    return folder


def test_it_holds_what_the_function_needs_and_nothing_else(migrations: Path) -> None:
    """The handler, its modules, the migrations and psycopg2; no tests, no pyc, no boto3, no code for developers only."""
    (migrations / "README.md").write_text("Not for Lambda.")
    (migrations / "001_a.down.sql").write_text("SELECT 2;\n")
    found = build(migrations, TARGET, None)
    names = {path.relative_to(found.path).as_posix() for path in files_in(found.path)}
    assert {name.partition("/")[0] for name in names} == {
        "initializer.py", "migrator", "migrations", "psycopg2", "psycopg2_binary.libs",
        f"psycopg2_binary-{_version()}.dist-info",
    }  # fmt: skip
    assert {name for name in names if name.startswith("migrations/")} == {"migrations/001_a.sql", "migrations/001_a.down.sql"}
    assert {Path(name).suffix for name in names if name.startswith("migrator/")} == {".py"}
    assert "migrator/actions/migrate.py" in names
    assert (DB_SETUP / asset.DEVELOPER_ONLY).is_dir()
    assert not any(name.startswith(f"{asset.DEVELOPER_ONLY}/") or name.endswith(".pyc") for name in names)


def test_every_file_that_a_run_can_read_is_in_it(migrations: Path) -> None:
    """Repeatable files and those of every environment, with down migrations and checks; no other folder, nothing hidden."""
    wanted = {
        "001_a.sql", "001_a.down.sql", "001_a.check.sql", "repeatable/v.sql", "repeatable/v.check.sql",
        "env/dev/002_b.sql", "env/dev/002_b.down.sql", "env/prod/002_c.sql",
    }  # fmt: skip
    others = {"other/003.sql", ".git/x.sql", ".hidden.sql", "repeatable/deep/x.sql", "env/x.sql", "env/.old/x.sql", "env/dev/x.md"}
    for name in wanted | others:
        (migrations / name).parent.mkdir(parents=True, exist_ok=True)
        (migrations / name).write_text("SELECT 1;\n")
    folder = build(migrations, None, None).path / "migrations"
    assert {path.relative_to(folder).as_posix() for path in files_in(folder)} == wanted
    for environment in ("", "dev", "prod", "other"):
        here, there = (read_folder(path, environment) for path in (migrations, folder))
        assert [file.name for file in there.files] == [file.name for file in here.files]
        assert (there.skipped, there.environments) == (here.skipped, here.environments)


def _version() -> str:
    return (ROOT / "db_setup/requirements.txt").read_text().rpartition("==")[2].strip()


def test_everyone_may_read_it(migrations: Path) -> None:
    """Lambda's user can read every file and enter every folder, however strict the umask of the builder is."""
    (migrations / "001_a.sql").write_text("SELECT 'built with a strict umask';\n")
    before = os.umask(0o077)
    try:
        found = build(migrations, TARGET, None)
    finally:
        os.umask(before)
    for path in [found.path, *found.path.rglob("*")]:
        wanted = 0o755 if path.is_dir() else 0o644
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path


@pytest.mark.parametrize("architecture", ["x86_64", "arm64"])
@pytest.mark.parametrize("python", [PYTHONS[0], PYTHONS[-1]])
def test_the_driver_is_for_the_target(python: str, architecture: str) -> None:
    """Its library is for the Python and the processor of the function, in the pinned version."""
    folder = driver_wheels.drivers(Target(python, architecture))
    (library,) = folder.glob("psycopg2/_psycopg.*.so")
    assert f"cpython-{python.replace('.', '')}-" in library.name
    assert int.from_bytes(library.read_bytes()[18:20], "little") == _MACHINES[architecture]
    assert (folder / f"psycopg2_binary-{_version()}.dist-info").is_dir()


@pytest.mark.parametrize(("architecture", "most"), [("x86_64", 5_000_000), ("arm64", 6_250_000)])
def test_zipped_it_is_small(migrations: Path, architecture: str, most: int) -> None:
    """The zip file that a deploy uploads has at most 5 MB; on arm64 6.2, since its wheel brings OpenSSL twice."""
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        found = build(migrations, Target("3.14", architecture), None)
        for path in files_in(found.path):
            archive.write(path, path.relative_to(found.path))
    assert len(zipped.getvalue()) <= most


def test_what_is_built_is_not_built_again(migrations: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second build runs no program and writes no file."""
    first = build(migrations, TARGET, None)
    written = (first.path / "initializer.py").stat().st_ctime_ns

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a program was started, or a folder made")

    monkeypatch.setattr(subprocess, "run", refuse)
    monkeypatch.setattr(asset, "new_folder", refuse)
    assert build(migrations, TARGET, None) == first
    assert (first.path / "initializer.py").stat().st_ctime_ns == written


def test_another_text_is_another_package(migrations: Path) -> None:
    """Content decides; times do not."""
    first = build(migrations, TARGET, None)
    os.utime(migrations / "001_a.sql", (1, 1))
    assert build(migrations, TARGET, None).digest == first.digest
    (migrations / "001_a.sql").write_text("SELECT 2;\n")
    assert build(migrations, TARGET, None).digest != first.digest


def _clone(folder: Path, umask: int) -> str:
    """Copy what a project copies, build there from nothing, and return the digest of the files as built."""
    copy_project(folder, "cdk", "db_setup", "migrations")
    script = (
        "import hashlib, pathlib; from cdk.database_initializer import asset, driver_wheels;"
        "built = asset.build(pathlib.Path('migrations'), driver_wheels.Target('3.13', 'x86_64'), None);"
        "files = [(str(p.relative_to(built.path)), p.read_bytes()) for p in asset.files_in(built.path)];"
        "print(built.digest, hashlib.sha256(repr(files).encode()).hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, umask=umask, capture_output=True, text=True, check=True
    )  # fmt: skip
    return done.stdout


def test_two_clones_build_the_same(tmp_path: Path) -> None:
    """Two copies of the project in two folders, each with its own fetch of psycopg2, give one digest."""
    (tmp_path / "a").mkdir()
    (tmp_path / "another name").mkdir()
    assert _clone(tmp_path / "a", 0o022) == _clone(tmp_path / "another name", 0o077)


def test_the_folders_above_the_project_do_not_matter(
    migrations: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A project below a folder with the name of the developers' part has the same package."""
    here = build(migrations, None, None)
    copy = tmp_path / Path(asset.DEVELOPER_ONLY).name / "shop" / "db_setup"
    shutil.copytree(DB_SETUP, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(asset, "DB_SETUP", copy)
    assert build(migrations, None, None) == here


def test_the_certificates_go_in(migrations: Path, tmp_path: Path) -> None:
    """A given bundle lies next to initializer.py under the name that the function reads."""
    bundle = tmp_path / "eu-west-1-bundle.pem"
    bundle.write_text("-----BEGIN CERTIFICATE-----\n")
    found = build(migrations, TARGET, bundle)
    assert (found.path / "global-bundle.pem").read_text() == bundle.read_text()


def test_without_an_index_the_error_names_the_alternative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When pip cannot download the driver, the error says for which target, and that layers may replace it."""
    monkeypatch.setattr(driver_wheels, "CACHE", tmp_path)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    with pytest.raises(InvalidProps, match=r"psycopg2 for Python 3\.14 on x86_64 could not be fetched \(ERROR.*layers="):
        driver_wheels.drivers(TARGET)
    assert [path.name for path in tmp_path.iterdir()] == [".gitignore"]


def test_old_packages_are_forgotten(migrations: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache has the packages that were used last, and not all there ever were."""
    monkeypatch.setattr(driver_wheels, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(asset, "CACHE", tmp_path / "cache")
    made = []
    for number in range(10):
        (migrations / "001_a.sql").write_text(f"SELECT {number};\n")
        made.append(build(migrations, None, None).path)
        os.utime(made[-1], (number, number))
    left = set((tmp_path / "cache").glob("asset-*"))
    assert made[-1] in left
    assert len(left) == 8


def test_the_layer_is_a_zip_file_that_lambda_understands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``make layer``: psycopg2 below python/, readable for all, and the same file each time."""
    goal = tmp_path / "layer.zip"
    assert main(["--python", "3.14", "--architecture", "x86_64", "--output", str(goal)]) == 0
    assert "psycopg2 for Python 3.14 on x86_64" in capsys.readouterr().out
    first = goal.read_bytes()
    with zipfile.ZipFile(goal) as archive:
        assert "python/psycopg2/__init__.py" in archive.namelist()
        assert {entry.external_attr >> 16 for entry in archive.infolist()} == {0o644}
    write_zip(layer_folder(TARGET), goal)
    assert goal.read_bytes() == first


def test_a_layer_for_an_unknown_python_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """The command line says so in a line, with exit status 2."""
    assert main(["--python", "3.9"]) == 2
    assert "error: there is no psycopg2 wheel" in capsys.readouterr().err
