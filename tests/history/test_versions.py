"""Versions of the folder: an older one on a history that a newer one has written says so."""

from __future__ import annotations

import pytest
from migrator.version import VERSION

from tests.plugins.databases import Database
from tests.plugins.folders import Folder
from tests.plugins.runs import Invoke

MAJOR, MINOR, PATCH = map(int, VERSION.split("."))
SAID = "the history was written by db_setup {version}, and this is "


@pytest.mark.parametrize("version", [f"{MAJOR}.{MINOR}.{PATCH + 1}", f"{MAJOR}.{MINOR + 1}", f"{MAJOR + 10}.0.0"])
@pytest.mark.parametrize("action", ["status", "plan", "history", "migrate"])
def test_newer_history_is_reported(
    invoke: Invoke, folder: Folder, database: Database, action: str, version: str
) -> None:
    """Every action that reads the whole history warns of a newer version than this one, and goes on."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    invoke()
    database.execute(f"UPDATE db_setup.runs SET package_version = '{version}'")
    folder.write("002_b.sql", "CREATE TABLE b (i int);")
    warnings = invoke({"action": action})["warnings"]
    assert [text for text in warnings if text.startswith(SAID.format(version=version))]


@pytest.mark.parametrize("version", [VERSION, "2.0.0", "2.99.99", "", "unknown"])
def test_same_and_older_histories_are_no_matter(
    invoke: Invoke, folder: Folder, database: Database, version: str
) -> None:
    """A history of this version, an older one, or one without a version that can be read, is no reason to warn."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    invoke()
    database.execute(f"UPDATE db_setup.runs SET package_version = '{version}'")
    assert invoke({"action": "status"})["warnings"] == []
