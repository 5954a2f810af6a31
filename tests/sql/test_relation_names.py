"""Which relations a text names or makes: what adoption and the fence believe of a file before it runs."""

from __future__ import annotations

import pytest
from migrator.sql.relation_names import as_stored, has_schema, kept, last_name, may_move_names, plain, relations_made
from migrator.sql.statements import split

from tests.plugins.databases import Database

MADE = {
    "CREATE TABLE a (i int)": {"a"},
    "create  unlogged\ttable A (i int)": {"a"},
    'CREATE TABLE "A""b" (i int)': {'A"b'},
    "CREATE TABLE s.a (i int)": {"a"},
    'CREATE TABLE "s" . "A" (i int)': {"A"},
    "CREATE TABLE IF NOT EXISTS a (i int)": {"a"},
    "CREATE FOREIGN TABLE a (i int) SERVER s": {"a"},
    "CREATE OR REPLACE VIEW a AS SELECT 1": {"a"},
    "CREATE RECURSIVE VIEW a (i) AS SELECT 1": {"a"},
    "CREATE OR REPLACE RECURSIVE VIEW a (i) AS SELECT 1": {"a"},
    "CREATE MATERIALIZED VIEW IF NOT EXISTS a AS SELECT 1": {"a"},
    "CREATE SEQUENCE a": {"a"},
    "CREATE /* TABLE b */ TABLE -- c\n a (i int)": {"a"},
    'CREATE TABLE U&"d\\0061t" (i int)': {"dat"},
    'CREATE TABLE U&"d!0061t" UESCAPE \'!\' (i int)': {"dat"},
    "CREATE TABLE a(i int)": {"a"},
    "CREATE TEMP TABLE a (i int)": set(),
    "CREATE TEMPORARY VIEW a AS SELECT 1": set(),
    "CREATE INDEX a ON b (i)": set(),
    "CREATE FUNCTION f() RETURNS void AS 'CREATE TABLE a ()' LANGUAGE sql": set(),
    "DROP TABLE a": set(),
    "CREATE SCHEMA s CREATE TABLE a (i int) CREATE VIEW b AS SELECT 1": {"a", "b"},
    "ALTER TABLE a RENAME TO b": {"b"},
    "ALTER TABLE IF EXISTS ONLY s.a * RENAME TO B": {"b"},
    "ALTER FOREIGN TABLE a RENAME TO b": {"b"},
    "ALTER MATERIALIZED VIEW a RENAME TO b": {"b"},
    "ALTER VIEW a RENAME TO b": {"b"},
    "ALTER SEQUENCE a RENAME TO b": {"b"},
    "ALTER TABLE a RENAME COLUMN i TO b": set(),
    "ALTER TABLE a ADD COLUMN rename int": set(),
    "DO $$ BEGIN CREATE TABLE a (); ALTER TABLE a RENAME TO b; CREATE TABLE c (); END $$": {"a", "b", "c"},
    "SELECT 1 INTO a": {"a"},
    "SELECT 1 INTO UNLOGGED TABLE a": {"a"},
    "WITH q AS (SELECT 1) SELECT * INTO a FROM q": {"a"},
    "/* c */ SELECT 1 INTO TABLE s.a": {"a"},
    "WITH q AS (INSERT INTO b VALUES (1) RETURNING 1) SELECT 1 INTO a": {"a"},
    "WITH q AS (MERGE INTO b USING c ON true WHEN MATCHED THEN DELETE RETURNING 1) SELECT 1": set(),
    "INSERT INTO a VALUES (1)": set(),
}


@pytest.mark.parametrize(("text", "names"), MADE.items())
def test_relations_that_a_text_makes(text: str, names: set[str]) -> None:
    """Tables, views and sequences that get a name, in blocks of code too; temporary ones, and all else, do not count."""
    assert relations_made(split(f"{text};")) == names


@pytest.mark.parametrize(("text", "names"), [
    ("CREATE TABLE IF NOT EXISTS s.a (i int)", ["s.a"]),
    ("CREATE VIEW b AS SELECT 1", []),
    ('CREATE SEQUENCE if  not exists U&"\\0061"', ['"a"']),
    ("CREATE SCHEMA s CREATE TABLE a (i int)", []),
    ("DO $$ BEGIN CREATE TABLE IF NOT EXISTS a (); CREATE TABLE b (); END $$", ["a"]),
])  # fmt: skip
def test_what_may_have_been_there(text: str, names: list[str]) -> None:
    """IF NOT EXISTS keeps what is there, so those names are told apart, as they are written."""
    (statement,) = split(f"{text};")
    assert kept(statement) == names


@pytest.mark.parametrize(("text", "moves"), [
    ("SET search_path = s", True), ("SET LOCAL search_path = s", True), ("RESET ALL", True), ("DISCARD ALL", False),
    ("SELECT set_config('search_path', 's', false)", True), ("CREATE SCHEMA s", True), ("CREATE TABLE a (i int)", False),
    ("SELECT 1", False), ("DROP SCHEMA s", False),
])  # fmt: skip
def test_what_changes_the_meaning_of_a_name(text: str, moves: bool) -> None:
    """After a setting, or a new schema, a name without a schema may be another table's."""
    (statement,) = split(f"{text};")
    assert may_move_names(statement) is moves


NAMES = (
    "abc", "ABC", "ÄbC", '"AbC"', '"a""B"', 'U&"\\0041b"', 'u&"\\+000041b"', 'U&"a\\\\b"', "U&\"!0041!!\" UESCAPE '!'",
    "a" * 70, f'"{"é" * 40}"', "_a$1",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_name_is_the_one_in_the_catalog(database: Database, name: str) -> None:
    """A name is folded, unescaped and cut as the server does it."""
    database.execute(f"CREATE TABLE {name} (i int)")
    assert database.query("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace") == [(as_stored(name),)]


@pytest.mark.parametrize(("name", "last", "schema"), [
    ("a", "a", False), ("s.A", "a", True), ('"s.t"', "s.t", False), ('"s.t" . "A"', "A", True), ('s.U&"\\0041"', "A", True),
])  # fmt: skip
def test_name_with_a_schema(name: str, last: str, schema: bool) -> None:
    """A dot in quotes is a part of a name, any other one ends a schema."""
    assert (last_name(name), has_schema(name)) == (last, schema)


def test_escapes_are_written_out() -> None:
    """A name with escapes becomes an ordinary one in quotes, and keeps its schema; others stay as they are."""
    assert plain('U&"\\0041""" . b') == '"A""" . b'
    assert plain('a . "B"') == 'a . "B"'
