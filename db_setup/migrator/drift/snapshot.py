"""The catalogue: what objects a database has, read into entries that can be compared with another database's.

Two databases with the same objects have equal catalogues, by whatever way they came to them. What is data (rows, the
values of sequences), what belongs to extensions, and what migration tools keep for themselves is left out.

An entry of a catalogue: one object of a database, in a form that can be compared. Pure.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from migrator.database.connection import Connection, Row
from migrator.drift.catalog_queries import CODE, RELATIONS
from migrator.drift.catalog_queries_rare import OTHERS

_BEGIN = """BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path = ''; SET LOCAL jit = off;
SET LOCAL quote_all_identifiers = off; SET LOCAL datestyle = 'ISO'; SET LOCAL intervalstyle = 'postgres';
SET LOCAL timezone = 'UTC'; SET LOCAL bytea_output = 'hex'; SET LOCAL extra_float_digits = 1;
"""
_SINCE = re.compile(r"SINCE(\d\d)\[([^\]]*)\]")  # what a server of that version has
_COLLATION = re.compile(r"COLLATION\(([\w.]+)\)")
_NAME_OF_COLLATION = (
    r"(SELECT concat(nullif(quote_ident(n.nspname), 'pg_catalog') || '.', quote_ident(l.collname)) "
    r"FROM pg_collation l JOIN pg_namespace n ON n.oid = l.collnamespace WHERE l.oid = \1)"
)
_PUBLIC_MAY_NOT_CREATE_SINCE = 150000  # before that, caring for users takes it from PUBLIC, which is no drift
_OLD, _PUBLIC = "schema public", re.compile("^PUBLIC: CREATE, USAGE$", re.MULTILINE)
_MIGRATING_USER = "the migrating user"
# PostgreSQL prints the elements of a list cast as a whole, and reads its own print as elements cast one by one.
_CAST_LIST = re.compile(r"\(ARRAY\[((?:'(?:[^']|'')*'::character varying(?:, )?)+)\]\)::text\[\]")
_ELEMENT = re.compile(r"'(?:[^']|'')*'::character varying")


def read_catalog(
    connection: Connection, own: Sequence[str] = (), *, owners: bool = True, hidden: Collection[str] = ()
) -> Catalog:
    """Return the catalogue, as one snapshot sees it.

    ``own`` are the roles that stand for whoever applies the migrations, so that a database built by one of them
    equals that built by another; without ``owners`` nothing is said of whose an object is. What is in the ``hidden``
    schemas is left out.
    """
    literals = ", ".join(map(connection.literal, own)) or "NULL"
    names = "".join(f", {connection.literal(name)}" for name in sorted(hidden))
    pattern = "".join(f"|{re.escape(name)}" for name in sorted(hidden)).replace("'", "''")
    rows: list[tuple[str, str, str, str]] = []
    opening = _BEGIN
    try:
        for query in (RELATIONS, CODE, OTHERS):
            filled = _filled(query, connection.server_version, literals, owners)
            rows += connection.rows(opening + filled.replace("HIDDEN", names).replace("PATTERN", pattern))
            opening = ""
        connection.run("COMMIT")
    finally:
        connection.rollback()
    if connection.server_version < _PUBLIC_MAY_NOT_CREATE_SINCE:
        rows = [(*row[:3], _PUBLIC.sub("PUBLIC: USAGE", row[3] or "")) if row[1] == _OLD else row for row in rows]
    entries = (
        CatalogObject(kind, identity, parent or "", _steady(text or "")) for kind, identity, parent, text in rows
    )
    return {entry.key: entry for entry in sorted(entries)}


def query_catalog(connection: Connection, query: str) -> list[Row]:
    """Return the rows of a short query of the system catalogue, which no setting of a file can lead astray."""
    try:
        return connection.rows(_BEGIN + query)
    finally:
        connection.rollback()


def _filled(query: str, version: int, own: str, owners: bool) -> str:
    """Fill in what depends on the server's version and on whether owners are compared."""
    name = r"pg_get_userbyid(\1)"
    role = rf"CASE WHEN {name} IN ({own}) THEN '{_MIGRATING_USER}' ELSE quote_ident({name}) END"
    query = _SINCE.sub(lambda found: found[2] if version >= int(found[1]) * 10000 else "NULL", query)
    query = _COLLATION.sub(_NAME_OF_COLLATION, query)
    query = re.sub(r"OWNER\(([\w.]+)\)", rf"('owner ' || {role})" if owners else "NULL", query)
    return re.sub(r"ROLE\(([\w.]+)\)", role, query)


def _steady(definition: str) -> str:
    """Return a definition in the form that survives a dump and restore."""
    if "::text[]" not in definition:
        return definition
    return _CAST_LIST.sub(
        lambda found: f"ARRAY[{', '.join(f'({item})::text' for item in _ELEMENT.findall(found[1]))}]", definition
    )


def digest(catalogue: Catalog) -> str:
    """Return a SHA-256 over all entries, the same for equal catalogues."""
    sha = hashlib.sha256()
    for entry in catalogue.values():
        for part in entry:
            sha.update(f"{len(part)}:{part}".encode())
    return sha.hexdigest()


Key = tuple[str, str]


class CatalogObject(NamedTuple):
    """An object: what it is, its name, the object it goes with ("" for none), and all about it, a line a property."""

    kind: str
    identity: str
    parent: str
    definition: str

    @property
    def key(self) -> Key:
        """Return what tells the object apart in its database."""
        return self.kind, self.identity


Catalog = Mapping[Key, CatalogObject]
