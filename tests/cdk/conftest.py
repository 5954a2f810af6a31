"""What every test of the construct starts from."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def _default_folder(example_as_default: None) -> None:
    """Have the example's migrations, whatever a user has added to them."""
