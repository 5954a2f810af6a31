"""Evidence of other tools: checksums, names and versions, without a database."""

from __future__ import annotations

import pytest
from migrator.adoption.other_tools import ONE, TOOLS, UNDONE, UP_TO, ToolRow, adopted_by_tool, checksums
from migrator.drift.catalog_expressions import HISTORY_TABLES
from migrator.files.migration import Migration
from migrator.planning.plan import Pending

FLYWAY = TOOLS[0]


def items(*names: str) -> list[Pending]:
    """Return pending files of the names."""
    return [Pending(Migration(name, name, "", 0), str(number)) for number, name in enumerate(names, 1)]


@pytest.mark.parametrize(
    "text",
    [b"CREATE TABLE a (\n  i int\n);\n", b"\xef\xbb\xbfCREATE TABLE a (\r\n  i int\r\n);", b"CREATE TABLE a (\r  i int\r);"],
    ids=["plain", "mark and CRLF", "CR"],
)
def test_checksum_of_flyway(text: bytes) -> None:
    """Flyway's checksum is that of the lines, without byte order mark and line ends, as a signed number."""
    assert "-967669785" in checksums(text)


@pytest.mark.parametrize(
    ("version", "name", "file"),
    [
        ("1", "init schema", "V1__init_schema.sql"),
        ("1.2", "a b", "V1_2__a_b.sql"),
        ("001", "a", "1-a.sql"),
        ("20240102030405", "add users", "20240102030405_add_users.up.sql"),
        ("7", "", "007_any.sql"),
    ],
)
def test_version_and_name(version: str, name: str, file: str) -> None:
    """Versions are compared as numbers, names without what tools do to them."""
    (known,) = adopted_by_tool(FLYWAY, [ToolRow(ONE, version, name)], items("000_other.sql", file), lambda _: b"")
    assert known.item.migration.name == file


def test_last_word_counts() -> None:
    """A version that was undone and applied again is applied; one that was undone last is not."""
    rows = [ToolRow(ONE, "1"), ToolRow(ONE, "2"), ToolRow(UNDONE, "2"), ToolRow(UNDONE, "1"), ToolRow(ONE, "1")]
    assert [known.item.migration.name for known in adopted_by_tool(FLYWAY, rows, items("1_a.sql", "2_b.sql"), lambda _: b"")] == ["1_a.sql"]


def test_up_to() -> None:
    """A current version stands for itself and all below; unnumbered files are never meant."""
    files = items("1_a.sql", "2_b.sql", "3_c.sql", "orders.sql")
    assert len(adopted_by_tool(FLYWAY, [ToolRow(UP_TO, "2")], files, lambda _: b"")) == 2
    assert adopted_by_tool(FLYWAY, [ToolRow(UP_TO, "9")], files, lambda _: b"") == []


def test_tables_of_tools_are_no_drift() -> None:
    """The table of each tool is among those that are not compared."""
    assert {tool.table for tool in TOOLS} <= set(HISTORY_TABLES)
