"""The page for developers: its paths and names exist, its map is that of the packages, and its commands work."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from types import FrameType

import pytest

from tests.docs.documents import CONTRIBUTING, PROJECT, blocks, commands, only, table
from tests.plugins.folders import Folder
from tests.plugins.runs import Invoke

MIGRATOR = PROJECT / "db_setup" / "migrator"
LAYERS = "The map"
ALL = "all below"
_CODE = re.compile(r"`([^`\s]+)`")
_PATH = re.compile(r"(?:[\w.-]+/)+[\w.-]*|[\w-]+\.(?:py|md|json)")
SIX = [
    "a new error", "a new column in the history", "another statement that needs no transaction",
    "a new property of the construct", "a new field in the answer", "another tool's history to adopt",
]  # fmt: skip


def named_paths() -> list[tuple[str, str]]:
    """Return each path that the page names, with the name in it where one follows (``path::name``)."""
    text = CONTRIBUTING.read_text(encoding="utf-8")
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    found = {words.partition("::")[::2] for words in _CODE.findall(prose)}
    return sorted((path, name) for path, name in found if _PATH.fullmatch(path) and path != "__init__.py")


def place_of(path: str) -> Path:
    """Return the file that a path means: below the project, or below its packages."""
    here = PROJECT / path
    return here if here.exists() else MIGRATOR / path


@pytest.mark.parametrize(("path", "name"), named_paths())
def test_paths_and_names(path: str, name: str) -> None:
    """Each file, folder and name that the page sends a reader to is there."""
    place = place_of(path)
    assert place.exists()
    if name:
        assert re.search(rf"^(?:async )?(?:def|class) {name}\b|^{name}\b(?:: [^=]+)? = ", place.read_text("utf-8"), re.MULTILINE)


def layers() -> dict[str, str]:
    """Return the layers of the map, from the highest, with what each may import."""
    return {row[0].removesuffix("/").removesuffix(".py"): row[2] for row in table(CONTRIBUTING, LAYERS)}


def test_map_is_complete() -> None:
    """The map has every module and package of migrator, in the form of its kind, and nothing else."""
    there = [path for path in MIGRATOR.iterdir() if path.name not in {"__init__.py", "__pycache__"}]
    shown = [row[0] for row in table(CONTRIBUTING, LAYERS)]
    assert sorted(shown) == sorted(path.name if path.is_file() else f"{path.name}/" for path in there)


def test_order_is_that_of_the_contract() -> None:
    """The layers stand in the order in which import-linter holds them, from the highest."""
    (contract,) = [
        each for each in tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
        if each["type"] == "layers"
    ]  # fmt: skip
    left = list(layers())
    for group in contract["layers"]:
        names = set(group.split(" | "))
        assert set(left[: len(names)]) == names
        left = left[len(names) :]
    assert left == []


@pytest.mark.parametrize("layer", layers())
def test_imports_are_those_of_the_map(layer: str) -> None:
    """A layer imports nothing but what the map says, which is below it."""
    below = list(layers())[list(layers()).index(layer) + 1 :]
    said = layers()[layer]
    allowed = set(below) if said == ALL else set(said.split(", ")) - {"nothing"}
    assert allowed <= set(below)
    place = MIGRATOR / layer
    files = [place.with_suffix(".py")] if not place.is_dir() else place.rglob("*.py")
    imported = set().union(*map(imports, files)) - {layer}
    assert imported <= allowed


def imports(file: Path) -> set[str]:
    """Return the modules and packages of migrator that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{each.name}" for each in node.names}
        elif isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
    return {name.split(".")[1] for name in found if name.startswith("migrator.")}


def test_six_changes_have_a_place() -> None:
    """The changes that developers ask for most are in the table, each with code, tests and documents."""
    rows = table(CONTRIBUTING, "Where a change goes")
    assert [row[0] for row in rows] == SIX
    for _, code, shown in rows:
        assert ".py" in code
        assert "tests/" in shown
        assert "README.md" in shown or "tests/sql/" in shown


def test_test_folders() -> None:
    """Every folder of tests is in the table: by its name, or as that of a package."""
    shown = {row[0] for row in table(CONTRIBUTING, "Tests")}
    there = {f"tests/{path.name}/" for path in (PROJECT / "tests").iterdir() if path.is_dir() and path.name != "__pycache__"}
    packages = {f"tests/{path.name}/" for path in MIGRATOR.iterdir() if path.is_dir()}
    assert there - packages == shown - {"tests/<package>/"}
    assert packages - {"tests/__pycache__/"} <= there


@pytest.mark.parametrize("command", [command.words for block in blocks(CONTRIBUTING) if block.info == "console commands" for command in commands(block)])
def test_commands(command: str) -> None:
    """The commands for one file of tests, one test, lint and types succeed."""
    words = [sys.executable if word == ".venv/bin/python" else word for word in shlex.split(command)]
    done = subprocess.run(words, cwd=PROJECT, text=True, check=False, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_make_targets() -> None:
    """What is made exists in the Makefile."""
    targets = set(re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text("utf-8"), re.MULTILINE))
    text = CONTRIBUTING.read_text(encoding="utf-8")
    assert {*only(CONTRIBUTING, "text make").replace("make ", "").split(), *re.findall(r"`make ([a-z]+)`", text)} <= targets


ASIDE = {"users/provision.py", "execution/stepwise.py", "database/server_errors.py"}
"""Files on the path for users, steps and failures, which a plain deploy does not have."""


def test_path_of_a_deploy(invoke: Invoke, folder: Folder) -> None:
    """A deploy of one file to a new database runs code in each file that its path names."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    ran: set[str] = set()

    def note(frame: FrameType, *_: object) -> None:
        ran.add(frame.f_code.co_filename)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        invoke()
    finally:
        sys.setprofile(before)
    text = CONTRIBUTING.read_text(encoding="utf-8").partition("## The path of a deploy")[2].partition("\n## ")[0]
    shown = {words.partition("::")[0] for words in _CODE.findall(text) if _PATH.fullmatch(words.partition("::")[0])}
    assert len(shown) > 15
    # Constants are read, and run nothing.
    missed = {path for path in shown - ASIDE - {"history/schema.py"} if str(place_of(path)) not in ran}
    assert missed == set()
