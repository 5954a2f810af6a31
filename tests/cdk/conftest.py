"""What every test of the construct starts from: the example's migrations, whatever a user has added to them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cdk.database_initializer import package
from tests.plugins.project import copy_examples


@pytest.fixture(scope="session", autouse=True)
def example_migrations(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Make the example's files the default folder; that the project's own is found, test_relocation.py tests."""
    folder = copy_examples(tmp_path_factory.mktemp("project") / "migrations")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(package, "default_path", lambda _: str(folder))
        yield
