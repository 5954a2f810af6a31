"""The pure parts of reading a catalog: expressions, patterns, and definitions in their normal form."""

from __future__ import annotations

import re

import pytest
from migrator.drift.catalog_expressions import CatalogScope, is_member
from migrator.drift.catalog_queries import code_sql, relations_sql
from migrator.drift.catalog_queries_rare import rare_objects_sql
from migrator.drift.snapshot import identity_pattern, normalized

SCOPE = CatalogScope(150000, r"E'CORP\\\\uadmin'", owners=True, hidden_schemas="", hidden_identity="'x'")


def test_role() -> None:
    """The roles that apply the migrations have one name; their literals are taken as they are."""
    assert SCOPE.role("r.o") == (
        r"CASE WHEN pg_get_userbyid(r.o) IN (E'CORP\\\\uadmin') THEN 'the migrating user' ELSE quote_ident(pg_get_userbyid(r.o)) END"
    )
    assert SCOPE.owner("r.o") == f"('owner ' || {SCOPE.role('r.o')})"
    assert SCOPE._replace(owners=False).owner("r.o") == "NULL"


@pytest.mark.parametrize(("major", "found"), [(14, "x"), (15, "x"), (16, "NULL")])
def test_since(major: int, found: str) -> None:
    """What a server does not have yet is NULL."""
    assert SCOPE.since(major, "x") == found


@pytest.mark.parametrize(("catalog", "kinds"), [("pg_proc", "'e', 'i'"), ("pg_cast", "'e', 'i'"), ("pg_class", "'e'")])
def test_members(catalog: str, kinds: str) -> None:
    """Functions and casts that are made with another object go with it; relations only with an extension."""
    assert is_member(catalog, "o.oid").endswith(f"m.classid = '{catalog}'::regclass AND m.objid = o.oid AND m.deptype IN ({kinds}))")


@pytest.mark.parametrize("query", [relations_sql, code_sql, rare_objects_sql])
@pytest.mark.parametrize("version", [120000, 130000, 140000, 150000, 180000])
def test_nothing_is_left_to_fill_in(query: object, version: int) -> None:
    """A query has all its names and no place holder, for each version of the server."""
    assert callable(query)
    text = query(SCOPE._replace(server_version=version))
    assert not re.search(r"\b(?:OWNER|ROLE|COLLATION|SINCE\d+|HIDDEN|PATTERN)\b|scope\.|None", text)


@pytest.mark.parametrize(
    ("identity", "hidden"),
    [
        ("view bi.v", True), ("schema bi", True), ("trigger t on bi.v", True), ("view bin.v", False), ("view x.bi_v", False),
        ('view "B I".v', True), ('schema "B I"', True), ('view "B I too".v', False), (r'view "a\b$".v', True), ("view bxi.v", False),
        ('view "q""q".v', True), ('view q"q.v', True),
    ],
)  # fmt: skip
def test_identities(identity: str, hidden: bool) -> None:
    """An object is hidden by the name of its schema, as PostgreSQL writes it: quoted where it has to be."""
    pattern = identity_pattern(["bi", "B I", r"a\b$", 'q"q', "b.i"])
    assert bool(re.search(pattern, identity)) == hidden


@pytest.mark.parametrize(
    ("definition", "normal"),
    [
        ("((ARRAY['a'::character varying, 'it''s'::character varying])::text[])", "(ARRAY[('a'::character varying)::text, ('it''s'::character varying)::text])"),
        ("(ARRAY['a'::text])", "(ARRAY['a'::text])"),
        ("(ARRAY[a, b])::text[]", "(ARRAY[a, b])::text[]"),
        ("text", "text"),
    ],
)  # fmt: skip
def test_normalized(definition: str, normal: str) -> None:
    """A list that is cast as a whole is the list of its elements, each cast; other definitions are as they are."""
    assert normalized(definition) == normal
