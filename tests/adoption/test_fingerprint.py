"""Fingerprints: at least how many objects differ, from counts alone; and whether anything was written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from migrator.adoption import fingerprint
from migrator.adoption.fingerprint import Counts, lower_bound
from migrator.database.connection import Connection, connect
from migrator.database.credentials import from_url
from migrator.database.deadline import Deadline

from tests.plugins.databases import Database


@pytest.mark.parametrize(
    ("one", "other", "bound"),
    [
        ({}, {}, 0), ({"s": [1, 2, 3]}, {"s": [1, 2, 3]}, 0), ({"s": [1, 2, 3]}, {"s": [2, 0, 3]}, 3),
        ({"s": [1, 2, 3]}, {"t": [1, 2, 3]}, 12), ({"s": [1]}, {"s": [1, 2, 3]}, 0), ({"s": [4]}, {"s": [1, 2, 3]}, 3),
        ({}, {"s": [0, 0, 0]}, 0),
    ],
)  # fmt: skip
def test_lower_bound(one: Counts, other: Counts, bound: int) -> None:
    """Counts of one schema are compared with each other, as far as both have them; a schema that is missing has none."""
    assert lower_bound(one, other) == lower_bound(other, one) == bound


@pytest.fixture
def scratch(database: Database) -> Iterator[Connection]:
    """Return a session in a database with counters."""
    database.execute("CREATE SCHEMA db_setup")
    with closing(connect(from_url(database.url), 1, Deadline(None))) as connection:
        connection.run("SET search_path = public")
        fingerprint.create_counters(connection)
        yield connection


def test_counts(scratch: Connection) -> None:
    """Relations, columns and functions are counted by schema; the counters count as the query for any database does."""
    scratch.run(
        "CREATE SCHEMA s; CREATE TABLE s.t (i int, j int); CREATE VIEW s.v AS SELECT 1; CREATE TABLE s.schema_migrations (i int);"
        "CREATE FUNCTION s.f() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE EXTENSION file_fdw SCHEMA s"
    )
    contents = fingerprint.read_contents(scratch)
    counts = contents.counts()
    assert counts == {"public": [0, 0, 0], "s": [2, 3, 1]}
    assert contents.extensions == {"plpgsql", "file_fdw"}
    assert fingerprint.count_scratch_objects(scratch) == counts
    assert fingerprint.count_scratch_relations(scratch) == ({"public": [0], "s": [2]}, set(contents.extensions))


@pytest.mark.parametrize(
    ("statement", "changes"),
    [
        ("SELECT 1", False), ("INSERT INTO kept VALUES (1)", False),
        ("ALTER TABLE kept ADD j int", True), ("COMMENT ON SCHEMA public IS 'x'", True), ("GRANT SELECT ON kept TO PUBLIC", True),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", True), ("SET ROLE pg_monitor", False),
    ],
)  # fmt: skip
def test_stamp(scratch: Connection, statement: str, changes: bool) -> None:
    """The stamp changes with what is written to the catalog, whatever role a file leaves, and with nothing else."""
    scratch.run("CREATE TABLE kept (i int)")
    before = fingerprint.catalog_stamp(scratch)
    scratch.run(statement)
    assert (fingerprint.catalog_stamp(scratch) != before) == changes
