"""The fingerprint of a database: counts of its objects, which one short query yields.

Databases whose counts differ are not equal, so most comparisons of whole catalogs need not be made.
"""

from __future__ import annotations

from collections.abc import Sequence

from migrator.database import Connection, Row
from migrator.drift import query_catalog
from migrator.drift.catalog_expressions import is_history_table, is_member

_SCHEMAS = "n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'db_setup') OR n.nspname = 'pg_catalog'"
_OBJECTS = f"""
WITH rel AS MATERIALIZED (
    SELECT c.oid, c.relnamespace FROM pg_class c
    WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT {is_history_table("c")}
        AND NOT {is_member("pg_class", "c.oid")}
)
SELECT n.nspname,
    (SELECT count(*) FROM rel WHERE rel.relnamespace = n.oid),
    (SELECT count(*) FROM rel JOIN pg_attribute a ON a.attrelid = rel.oid
        WHERE rel.relnamespace = n.oid AND a.attnum > 0 AND NOT a.attisdropped),
    (SELECT count(*) FROM pg_proc p WHERE p.oid >= 16384 AND p.pronamespace = n.oid
        AND NOT {is_member("pg_proc", "p.oid")}),
    ARRAY(SELECT e.extname::text FROM pg_extension e WHERE e.extnamespace = n.oid)
FROM pg_namespace n WHERE {_SCHEMAS}"""
_MEMBERS = "SELECT objid FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND classid = 'pg_class'::regclass"
_RELATIONS = f"""
SELECT n.nspname,
    (SELECT count(*) FROM pg_class c WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
        AND c.relnamespace = n.oid AND NOT {is_history_table("c")} AND c.oid NOT IN ({_MEMBERS})),
    ARRAY(SELECT e.extname::text FROM pg_extension e WHERE e.extnamespace = n.oid)
FROM pg_namespace n WHERE {_SCHEMAS}"""
_CATALOGS = (
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
"""Catalogs that are full of the server's own objects, with the indexed column whose values are lower for these."""
_COMMENTED_OIDS = " UNION ALL ".join(
    f"SELECT oid FROM {name}" for name in ("pg_namespace", "pg_extension", "pg_language")
)
_WRITTEN = "SELECT count(*), sum(xmin::text::bigint) FROM"
_STAMPS = " UNION ALL ".join([
    *(f"{_WRITTEN} {name}" for name in _CATALOGS),
    *(f"{_WRITTEN} {name} WHERE {column} >= 16384" for name, column in _LARGE.items()),
    "SELECT count(*), sum(hashtext(concat(umid, umoptions)))::numeric FROM pg_user_mappings",  # all may read the view
    f"{_WRITTEN} pg_description WHERE objoid IN ({_COMMENTED_OIDS}) AND objoid < 16384",  # COMMENT ON SCHEMA public
])  # fmt: skip
_SCHEMAS_PUBLISHED_SINCE = 150000  # PostgreSQL 15 publishes whole schemas
_AS_LOGIN = "RESET SESSION AUTHORIZATION; RESET ROLE"  # a file may have left another role in the session
_NONE = [0, 0, 0]

Counts = dict[str, list[int]]
"""By schema: how many relations, columns and functions."""


def count_objects(connection: Connection) -> tuple[Counts, set[str]]:
    """Return the counts of a database, and its extensions."""
    return _counts_and_extensions(query_catalog(connection, _OBJECTS))


def create_counters(scratch: Connection) -> None:
    """Create the functions that count in a scratch database: their queries are planned once for all files."""
    published = f" UNION ALL {_WRITTEN} pg_publication_namespace"
    stamps = f"{_STAMPS}{published if scratch.server_version >= _SCHEMAS_PUBLISHED_SINCE else ''}"
    scratch.run(
        f"{_function('catalog_stamp', 'n bigint, x numeric', stamps)};"
        f"{_function('count_relations', 's name, r bigint, e text[]', _RELATIONS)};"
        f"{_function('count_objects', 's name, r bigint, c bigint, f bigint, e text[]', _OBJECTS)}"
    )


def _function(name: str, columns: str, query: str) -> str:
    return (
        f"CREATE FUNCTION db_setup.{name}() RETURNS TABLE ({columns}) LANGUAGE plpgsql "
        f"SET search_path = pg_catalog, pg_temp AS $function$ BEGIN RETURN QUERY {query}; END $function$"
    )


def count_scratch_objects(scratch: Connection) -> Counts:
    """Return the counts of a scratch database with counters."""
    return _counts_and_extensions(scratch.rows(f"{_AS_LOGIN}; SELECT * FROM db_setup.count_objects()"))[0]


def count_scratch_relations(scratch: Connection) -> tuple[Counts, set[str]]:
    """Return only the first of the counts of a scratch database with counters, and its extensions."""
    return _counts_and_extensions(scratch.rows(f"{_AS_LOGIN}; SELECT * FROM db_setup.count_relations()"))


def catalog_stamp(scratch: Connection) -> object:
    """Return a value that changes with whatever is written to the catalog of a scratch database with counters."""
    return scratch.rows(f"{_AS_LOGIN}; SELECT * FROM db_setup.catalog_stamp()")


def _counts_and_extensions(rows: Sequence[Row]) -> tuple[Counts, set[str]]:
    counts = {name: numbers for name, *numbers, _ in rows if name != "pg_catalog"}
    return counts, {extension for *_, extensions in rows for extension in extensions}


def lower_bound(one: Counts, other: Counts) -> int:
    """Return by how many objects two databases differ at least, as far as both are counted."""
    pairs = [(one.get(name, _NONE), other.get(name, _NONE)) for name in one.keys() | other.keys()]
    return sum(abs(a - b) for mine, theirs in pairs for a, b in zip(mine, theirs, strict=False))
