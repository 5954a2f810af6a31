"""indexes: what CREATE INDEX CONCURRENTLY is about to make, read from its text."""

from __future__ import annotations

import pytest
from migrator.execution.indexes import IndexBuild


@pytest.mark.parametrize(
    ("text", "name", "table"),
    [
        ("create index concurrently i on t (a)", "i", "t"),
        ("CREATE INDEX CONCURRENTLY I ON T (a);", "i", "T"),
        ("create unique index concurrently i on t(a)", "i", "t"),
        ("create index concurrently if not exists i on t (a)", "i", "t"),
        ("create index concurrently on t (a)", "", "t"),
        ("create unique index concurrently ON t (a)", "", "t"),
        ("create index concurrently i on only t (a)", "i", "t"),
        ("create index concurrently i on s.t (a)", "i", "s.t"),
        ('create index concurrently i on "S"."T" (a)', "i", '"S"."T"'),
        ('create index concurrently "My Index" on t (a)', "My Index", "t"),
        ('create index concurrently "a""b" on t (a)', 'a"b', "t"),
        ('create index concurrently "on" on t (a)', "on", "t"),
        ('create index concurrently "a b"on t (a)', "a b", "t"),
        ("create index concurrently on_t on t (a)", "on_t", "t"),
        ("create index concurrently i on t using gin (a)", "i", "t"),
        ("create\n\tindex\r\nconcurrently\ni\non\nt\n(a)", "i", "t"),
        ("/* why */ create index concurrently i on t (a)", "i", "t"),
        ("-- why\ncreate index -- a\nconcurrently /* b */ i on t (a)", "i", "t"),
        ("create index concurrently/**/i/**/on/**/t(a)", "i", "t"),
        ("create index /* a /* nested */ comment */ concurrently i on t (a)", "i", "t"),
        ('create index concurrently "a--b" on t (a)', "a--b", "t"),
        ('create index concurrently "a/*b*/" on t (a)', "a/*b*/", "t"),
        ("create index concurrently größe on t (a)", "größe", "t"),
        ("create index concurrently GRÖSSE on t (a)", "grÖsse", "t"),
        ("create index concurrently i$1 on t (a)", "i$1", "t"),
        (f"create index concurrently {'x' * 70} on t (a)", "x" * 63, "t"),
        (f"create index concurrently \"{'é' * 40}\" on t (a)", "é" * 31, "t"),
    ],
    ids=lambda value: ascii(value)[1:60] if isinstance(value, str) and len(value) > 12 else "",
)
def test_build_is_read(text: str, name: str, table: str) -> None:
    """Name and table are found however the statement is written; the name is as the server will store it."""
    found = IndexBuild.parse(text)
    assert found is not None
    assert found.name == name
    assert "".join(found.table.split()) == table


@pytest.mark.parametrize(
    "text",
    [
        "create index i on t (a)",
        "create unique index i on t (a)",
        "drop index concurrently i",
        "reindex index concurrently i",
        "refresh materialized view concurrently v",
        "select 'create index concurrently i on t (a)'",
        "-- create index concurrently i on t (a)\nselect 1",
        "/* create index concurrently i on t (a) */",
        "create table concurrently (i int)",
        "",
    ],
)
def test_other_statements_build_nothing(text: str) -> None:
    """Statements that build no index concurrently are not taken for one."""
    assert IndexBuild.parse(text) is None
