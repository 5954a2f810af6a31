"""The project as it is published: what a test copies of it has the example's migrations, and none that a user has added."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.plugins.postgres import Database

PROJECT = Path(__file__).resolve().parents[2]
MIGRATIONS = "migrations"

# The example's files by name, in the order in which they are applied: a user's own files lie in the same folder.
EXAMPLES = (
    "001_initial_schema.sql", "002_product_indexes.sql", "003_application_role.sql", "004_analytics_role.sql",
    "005_backup_and_maintenance.sql", "006_audit.sql", "example_products.sql",
)  # fmt: skip
EXAMPLE_CHECKS = ("example_products.check.sql",)


def down_file(name: str) -> str:
    """Return the name of the down migration of a file."""
    return f"{name.removesuffix('.sql')}.down.sql"


def copy_project(target: Path, *names: str, source: Path = PROJECT) -> None:
    """Copy files and folders of the project; of its migrations, those of the example."""
    target.mkdir(parents=True, exist_ok=True)
    for name in names:
        if name == MIGRATIONS:
            copy_examples(target / MIGRATIONS, source)
        elif (source / name).is_dir():
            shutil.copytree(source / name, target / name, ignore=shutil.ignore_patterns("__pycache__", MIGRATIONS))
        else:
            shutil.copy2(source / name, target / name)


def copy_examples(target: Path, source: Path = PROJECT) -> Path:
    """Copy the example's migrations with their down migrations and checks, and return the folder."""
    target.mkdir()
    for name in (*EXAMPLES, *map(down_file, EXAMPLES), *EXAMPLE_CHECKS):
        shutil.copy2(source / MIGRATIONS / name, target / name)
    return target


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    """Return a folder with the example's migrations."""
    return copy_examples(tmp_path / "examples")


def with_extension(examples: Path, database: Database) -> None:
    """Let the example make the extension that it needs before PostgreSQL 13, as its first line says."""
    if database.major() < 13:
        first = examples / EXAMPLES[0]
        first.write_text(f"CREATE EXTENSION pgcrypto;\n{first.read_text('utf-8')}", "utf-8")


@pytest.fixture(scope="session")
def example_as_default(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Make the example's migrations the construct's default folder; test_relocation.py tests which that is."""
    from cdk.database_initializer import package  # late: it starts Node

    folder = copy_examples(tmp_path_factory.mktemp("project") / MIGRATIONS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(package, "default_path", lambda _: str(folder))
        yield
