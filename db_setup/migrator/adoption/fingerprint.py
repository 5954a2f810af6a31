"""Figures of a database's catalogue that one short query yields, and that rule out most of what it cannot equal."""

from __future__ import annotations

from collections.abc import Sequence

from migrator.database.connection import Connection, Row
from migrator.drift import snapshot
from migrator.drift.catalog_queries import HISTORY_TABLES, member

_TOOLS = ", ".join(f"'{name}'" for name in HISTORY_TABLES)
_USERS = "n.nspname NOT LIKE 'pg\\_%' AND n.nspname NOT IN ('information_schema', 'db_setup')"
_COUNTS = f"""
WITH rel AS MATERIALIZED (
    SELECT c.oid, c.relnamespace FROM pg_class c
    WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relname NOT IN ({_TOOLS})
        AND NOT {member("pg_class", "c.oid")}
)
SELECT n.nspname,
    (SELECT count(*) FROM rel WHERE rel.relnamespace = n.oid),
    (SELECT count(*) FROM rel JOIN pg_attribute a ON a.attrelid = rel.oid
        WHERE rel.relnamespace = n.oid AND a.attnum > 0 AND NOT a.attisdropped),
    (SELECT count(*) FROM pg_proc p WHERE p.oid >= 16384 AND p.pronamespace = n.oid
        AND NOT {member("pg_proc", "p.oid")}),
    ARRAY(SELECT e.extname::text FROM pg_extension e WHERE e.extnamespace = n.oid)
FROM pg_namespace n WHERE {_USERS} OR n.nspname = 'pg_catalog'"""
_MEMBERS = "SELECT objid FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND classid = 'pg_class'::regclass"
_GLANCE = f"""
SELECT n.nspname,
    (SELECT count(*) FROM pg_class c WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
        AND c.relnamespace = n.oid AND c.relname NOT IN ({_TOOLS}) AND c.oid NOT IN ({_MEMBERS})),
    ARRAY(SELECT e.extname::text FROM pg_extension e WHERE e.extnamespace = n.oid)
FROM pg_namespace n WHERE {_USERS} OR n.nspname = 'pg_catalog'"""
_CATALOGUES = (
    "pg_attrdef", "pg_constraint", "pg_index", "pg_trigger", "pg_rewrite", "pg_policy", "pg_enum", "pg_namespace",
    "pg_sequence", "pg_extension", "pg_default_acl", "pg_inherits", "pg_statistic_ext", "pg_aggregate", "pg_opclass",
    "pg_cast", "pg_event_trigger", "pg_publication", "pg_ts_config", "pg_ts_dict", "pg_range",
    "pg_foreign_data_wrapper", "pg_foreign_server", "pg_foreign_table", "pg_language", "pg_publication_rel",
    "pg_am", "pg_amop", "pg_amproc", "pg_opfamily", "pg_conversion", "pg_transform", "pg_ts_parser", "pg_ts_template",
    "pg_seclabel",
)  # fmt: skip
_LARGE = {
    "pg_class": "oid", "pg_attribute": "attrelid", "pg_proc": "oid", "pg_type": "oid", "pg_operator": "oid",
    "pg_collation": "oid", "pg_ts_config_map": "mapcfg", "pg_description": "objoid",
}  # fmt: skip
"""Catalogues that are full of the server's own objects, with the column that tells those apart, by an index."""
_NAMED_HERE = " UNION ALL ".join(f"SELECT oid FROM {name}" for name in ("pg_namespace", "pg_extension", "pg_language"))
_WRITTEN = "SELECT count(*), sum(xmin::text::bigint) FROM"
_STAMPS = " UNION ALL ".join([
    *(f"{_WRITTEN} {name}" for name in _CATALOGUES),
    *(f"{_WRITTEN} {name} WHERE {column} >= 16384" for name, column in _LARGE.items()),
    "SELECT count(*), sum(hashtext(concat(umid, umoptions)))::numeric FROM pg_user_mappings",  # all may read the view
    f"{_WRITTEN} pg_description WHERE objoid IN ({_NAMED_HERE}) AND objoid < 16384",  # COMMENT ON SCHEMA public
])  # fmt: skip
# Planned once for all files; a file may have left another role in the session.
_COUNTER = f"""
CREATE FUNCTION db_setup.stamps() RETURNS TABLE (n bigint, x numeric) LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $stamps$ BEGIN RETURN QUERY {_STAMPS}MORE; END $stamps$;
CREATE FUNCTION db_setup.glance() RETURNS TABLE (s name, r bigint, e text[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $glance$ BEGIN RETURN QUERY {_GLANCE}; END $glance$;
CREATE FUNCTION db_setup.count() RETURNS TABLE (s name, r bigint, c bigint, f bigint, e text[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $count$ BEGIN RETURN QUERY {_COUNTS}; END $count$"""
_SCHEMAS_SINCE = 150000  # PostgreSQL 15 publishes whole schemas
_AS_SELF = "RESET SESSION AUTHORIZATION; RESET ROLE"
_NONE = [0, 0, 0]

Counts = dict[str, list[int]]
"""By schema: how many relations, columns and functions."""


def count(connection: Connection) -> tuple[Counts, set[str]]:
    """Return the counts of a database, and its extensions."""
    return _sorted_out(snapshot.query_catalog(connection, _COUNTS))


def prepare(connection: Connection) -> None:
    """Make a scratch database ready for being counted after each file."""
    more = f" UNION ALL {_WRITTEN} pg_publication_namespace" if connection.server_version >= _SCHEMAS_SINCE else ""
    connection.run(_COUNTER.replace("MORE", more))


def count_scratch(connection: Connection) -> Counts:
    """Return the counts of a scratch database that was prepared."""
    return _sorted_out(connection.rows(f"{_AS_SELF}; SELECT * FROM db_setup.count()"))[0]


def first_counts(connection: Connection) -> tuple[Counts, set[str]]:
    """Return the first of the counts of a scratch database that was prepared, and its extensions."""
    return _sorted_out(connection.rows(f"{_AS_SELF}; SELECT * FROM db_setup.glance()"))


def catalog_stamp(connection: Connection) -> object:
    """Return what tells whether anything was written to the catalogue of a prepared scratch database."""
    return connection.rows(f"{_AS_SELF}; SELECT * FROM db_setup.stamps()")


def _sorted_out(rows: Sequence[Row]) -> tuple[Counts, set[str]]:
    """Return by schema how many relations, columns and functions there are; and the extensions."""
    counts = {name: figures for name, *figures, _ in rows if name != "pg_catalog"}
    return counts, {extension for *_, extensions in rows for extension in extensions}


def lower_bound(mine: Counts, theirs: Counts) -> int:
    """Return by how many objects two databases differ at least, as far as both are counted."""
    pairs = [(mine.get(name, _NONE), theirs.get(name, _NONE)) for name in mine.keys() | theirs.keys()]
    return sum(abs(a - b) for one, other in pairs for a, b in zip(one, other, strict=False))
