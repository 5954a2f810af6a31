"""The faults that mutation testing puts into SQL and into patterns."""

from __future__ import annotations

import pytest

from tests.mutants import patterns, sql_texts


@pytest.mark.parametrize(("before", "after"), [
    ("WHERE a = 1 AND b = 2", ["WHERE a <> 1 AND b = 2", "WHERE a = 1 AND b <> 2", "WHERE a = 1 OR b = 2", "WHERE true OR a = 1 AND b = 2", "WHERE a = 1 "]),
    ("ON (a OPERATOR(pg_catalog.<) b)", ["ON (a OPERATOR(pg_catalog.<=) b)"]),
    ("SET a = 'b = c' WHERE NOT d", ["SET a = 'b = c' WHERE d", "SET a = 'b = c' WHERE true OR NOT d"]),
    ("a BETWEEN 1 AND 2", []),
    ("CREATE OR REPLACE VIEW a", []),
    ("CREATE TABLE IF NOT EXISTS a (b int)", ["CREATE TABLE a (b int)"]),
    ("WHERE EXISTS (SELECT) ORDER BY a DESC", ["WHERE NOT EXISTS (SELECT) ORDER BY a DESC", "WHERE true OR EXISTS (SELECT) ORDER BY a DESC", "WHERE EXISTS (SELECT) ORDER BY a"]),
    ("REVOKE a; COMMENT ON b IS 'c'; GRANT d;", [" COMMENT ON b IS 'c'; GRANT d;", "REVOKE a; COMMENT ON b IS 'c';"]),
    ("a OPERATOR(pg_catalog.->>) 'b' IS NULL", ["a OPERATOR(pg_catalog.->>) 'b' IS NOT NULL"]),
    ("SELECT {a} AND (b OR c) ORDER BY d", ["SELECT {a} OR (b OR c) ORDER BY d", "SELECT {a} AND (b AND c) ORDER BY d", "SELECT {a} ORDER BY d", "SELECT {a} AND (b ) ORDER BY d"]),
])  # fmt: skip
def test_faults_in_sql(before: str, after: list[str]) -> None:
    """Each operator, condition and statement has its fault; what stands in quotes, in a list of SET or in braces has none."""
    assert sorted(sql_texts.faults(before)) == sorted(after)


@pytest.mark.parametrize(("text", "expected"), [
    ("SELECT 1", True), (" AND a", True), ("pg_catalog.now()", True), ("DISCARD ALL", True),
    ("applied", False), ("what can be done", False), ("create index", False),
])  # fmt: skip
def test_what_is_sql(text: str, expected: bool) -> None:
    """SQL is known by its words in capitals, as this project writes it."""
    assert sql_texts.is_sql(text) is expected


@pytest.mark.parametrize(("before", "after"), [
    ("a|b", ["b", "a"]),
    (r"x(?:a|b|\|)[|]", [r"x(?:b|\|)[|]", r"x(?:a|\|)[|]", "x(?:a|b)[|]"]),
    ("(?P<name>a)", []),
    ("(a|b", []),
])  # fmt: skip
def test_faults_in_patterns(before: str, after: list[str]) -> None:
    """Each alternative is left out, in groups too; a bar in a class or behind a backslash is none."""
    assert list(patterns.faults(before)) == after
