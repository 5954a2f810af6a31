"""The catalog of a database: what objects it has, read into entries that can be compared with another database's.

Two databases with the same objects have equal catalogs, by whatever way they came to them. What is data (rows, the
values of sequences), what belongs to extensions, and what migration tools keep for themselves is left out.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from migrator.database import Connection, Row
from migrator.drift.catalog_expressions import HISTORY_SCHEMAS, HISTORY_TABLES, CatalogScope
from migrator.drift.catalog_queries import code_sql, relations_sql
from migrator.drift.catalog_queries_rare import rare_objects_sql
from migrator.formatting import quoted

_SETTINGS = """SET LOCAL search_path = ''; SET LOCAL jit = off;
SET LOCAL quote_all_identifiers = off; SET LOCAL datestyle = 'ISO'; SET LOCAL intervalstyle = 'postgres';
SET LOCAL timezone = 'UTC'; SET LOCAL bytea_output = 'hex'; SET LOCAL extra_float_digits = 1;
"""
_BEGIN = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {_SETTINGS}"
_PUBLIC_MAY_NOT_CREATE_SINCE = 150000  # before that, provisioning users takes it from PUBLIC, which is no drift
_SCHEMA_PUBLIC = "schema public"
_PUBLIC_MAY_CREATE = re.compile("^PUBLIC: CREATE, USAGE$", re.MULTILINE)
# PostgreSQL prints the elements of a list cast as a whole, and reads its own print as elements cast one by one.
_CAST_LIST = re.compile(r"\(ARRAY\[((?:'(?:[^']|'')*'::character varying(?:, )?)+)\]\)::text\[\]")
_ELEMENT = re.compile(r"'(?:[^']|'')*'::character varying")

Key = tuple[str, str]


class CatalogObject(NamedTuple):
    """An object: what it is, its name, the object it goes with ("" for none), and all about it, a line a property."""

    kind: str
    identity: str
    parent: str
    definition: str

    @property
    def key(self) -> Key:
        """Return what identifies the object in its database."""
        return self.kind, self.identity


Catalog = Mapping[Key, CatalogObject]


def read_catalog(
    connection: Connection, own: Sequence[str] = (), *, owners: bool = True, hidden: Collection[str] = ()
) -> Catalog:
    """Return the catalog, as one snapshot sees it.

    ``own`` are the roles that stand for whoever applies the migrations, so that a database built by one of them
    equals that built by another; without ``owners``, owners of objects are left out. So is what is in the ``hidden``
    schemas.
    """
    try:
        catalog = _read(connection, _scope(connection, own, owners, sorted(hidden)), _BEGIN)
        connection.run("COMMIT")
    finally:
        connection.rollback()
    return catalog


def read_uncommitted_catalog(connection: Connection) -> Catalog:
    """Return the catalog as the open transaction sees it, whose settings are others afterwards."""
    return _read(connection, _scope(connection, (), True, ()), _SETTINGS)


def _read(connection: Connection, scope: CatalogScope, opening: str) -> Catalog:
    rows: list[tuple[str, str, str, str]] = []
    for query in (relations_sql, code_sql, rare_objects_sql):
        rows += connection.rows(opening + query(scope))
        opening = ""
    if connection.server_version < _PUBLIC_MAY_NOT_CREATE_SINCE:
        rows = [_without_create_for_public(row) for row in rows]
    entries = (
        CatalogObject(kind, identity, parent or "", normalized(text or "")) for kind, identity, parent, text in rows
    )
    return {entry.key: entry for entry in sorted(entries)}


def query_catalog(connection: Connection, query: str) -> list[Row]:
    """Return the rows of a short query of the system catalog, whose result no setting of the session changes."""
    try:
        return connection.rows(_BEGIN + query)
    finally:
        connection.rollback()


def _scope(connection: Connection, own: Sequence[str], owners: bool, hidden: Sequence[str]) -> CatalogScope:
    return CatalogScope(
        connection.server_version,
        own_roles=", ".join(map(connection.literal, own)) or "NULL",
        owners=owners,
        hidden_schemas="".join(f", {connection.literal(name)}" for name in hidden),
        hidden_identity=connection.literal(identity_pattern(["db_setup", *HISTORY_TABLES, *hidden])),
    )


def identity_pattern(names: Collection[str]) -> str:
    """Return the regular expression of identities in which one of the names is a part, as it is or quoted.

    The schemas of migration tools count where they come first.
    """
    return rf"([ .]({_spellings(names)})| ({_spellings(HISTORY_SCHEMAS)}))([. ]|$)"


def _spellings(names: Collection[str]) -> str:
    return "|".join(re.escape(spelling) for name in names for spelling in (name, quoted(name)))


def _without_create_for_public(row: tuple[str, str, str, str]) -> tuple[str, str, str, str]:
    kind, identity, parent, definition = row
    if identity != _SCHEMA_PUBLIC:
        return row
    return kind, identity, parent, _PUBLIC_MAY_CREATE.sub("PUBLIC: USAGE", definition or "")


def normalized(definition: str) -> str:
    """Return a definition in the form that survives a dump and restore."""
    if "::text[]" not in definition:
        return definition
    return _CAST_LIST.sub(
        lambda found: f"ARRAY[{', '.join(f'({item})::text' for item in _ELEMENT.findall(found[1]))}]", definition
    )
