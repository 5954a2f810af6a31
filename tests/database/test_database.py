"""database: what crosses the package's wall, and what loading it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest
from migrator import database, users

from tests.plugins.runs import PRODUCT


@pytest.mark.parametrize("name", database.__all__)
def test_name_can_be_imported_from_the_package(name: str) -> None:
    """Every name of the package's list is there in a fresh process, whichever is asked for first."""
    subprocess.run([sys.executable, "-c", f"from migrator.database import {name}"], cwd=PRODUCT, check=True)


def test_other_names_are_missing() -> None:
    """A name that the package does not have is an ImportError, as anywhere."""
    with pytest.raises(ImportError, match="nonsense"):
        exec("from migrator.database import nonsense")  # noqa: S102


def test_package_needs_no_driver() -> None:
    """Deadline and credentials load neither psycopg2 nor boto3: a command that only reads files has neither."""
    program = (
        "import sys; from migrator.database import Deadline, credentials, secrets_manager\n"
        "assert not {'psycopg2', 'boto3', 'migrator.database.connection', 'migrator.database.server_errors'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], cwd=PRODUCT, check=True)


def test_few_names_cross_the_walls() -> None:
    """The two packages lend 12 and 4 names at most."""
    assert len(database.__all__) <= 12
    assert len(users.__all__) <= 4
