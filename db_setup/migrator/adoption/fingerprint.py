"""The fingerprint of a database: names and counts of its objects, which one short query yields.

Databases whose counts differ are not equal, so most comparisons of whole catalogs need not be made. A name that no file
ever gives to an object is that of somebody else's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from psycopg2 import errorcodes

from migrator.database import Connection, Row
from migrator.drift import query_catalog
from migrator.drift.catalog_expressions import is_history_table, is_member
from migrator.errors import ServerError

_SCHEMAS = "n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'db_setup') OR n.nspname = 'pg_catalog'"
_OWN_SCHEMAS = "n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'db_setup')"
RELATION, FUNCTION, TYPE, SCHEMA, SIGNATURE = "relation", "function", "type", "schema", "signature"
"""Kinds of names. Relations share theirs with each other; functions are known by name, whatever their arguments, and
those of files by their signatures, too."""
_NAMES = f"""
SELECT n.nspname AS space, '{RELATION}' AS kind, c.relname AS name, c.oid, c.relkind FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE {_OWN_SCHEMAS} AND c.oid >= 16384 AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    AND NOT {is_history_table("c")} AND NOT {is_member("pg_class", "c.oid")}
    AND NOT (c.relkind = 'S' AND EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
        AND d.objid = c.oid AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')))
UNION ALL SELECT n.nspname, '{FUNCTION}', p.proname, p.oid, NULL FROM pg_proc p
JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE {_OWN_SCHEMAS} AND p.oid >= 16384 AND NOT {is_member("pg_proc", "p.oid")}
UNION ALL SELECT n.nspname, '{TYPE}', t.typname, t.oid, NULL FROM pg_type t
JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE {_OWN_SCHEMAS} AND t.oid >= 16384 AND t.typtype IN ('b', 'c', 'd', 'e', 'r')
    AND NOT {is_member("pg_type", "t.oid")}
    AND (t.typrelid = 0 OR (SELECT c.relkind FROM pg_class c WHERE c.oid = t.typrelid) = 'c')
    AND NOT EXISTS (SELECT FROM pg_type e WHERE e.oid = t.typelem AND e.typarray = t.oid)
UNION ALL SELECT n.nspname, '{SCHEMA}', n.nspname, n.oid, NULL FROM pg_namespace n WHERE {_OWN_SCHEMAS}"""
_OBJECTS = f"""
SELECT o.space, o.kind, o.name, CASE WHEN o.relkind <> 'S' THEN (SELECT count(*) FROM pg_attribute a
        WHERE a.attrelid = o.oid AND a.attnum > 0 AND NOT a.attisdropped) ELSE -1 END,
    concat(CASE o.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialised view' WHEN 'S' THEN 'sequence'
        ELSE CASE o.kind WHEN '{RELATION}' THEN 'table' ELSE o.kind END END, ' ',
        CASE WHEN o.kind <> '{SCHEMA}' THEN quote_ident(o.space) || '.' END, quote_ident(o.name))
FROM ({_NAMES}) o"""
_EXTENSIONS = "SELECT extname::text FROM pg_extension"
# Signatures are longer than names, which are cut off.
_NOTED = f"""
SELECT space, kind, name::text FROM ({_NAMES}) o
UNION ALL SELECT n.nspname, '{SIGNATURE}', concat(p.proname, '(', oidvectortypes(p.proargtypes), ')') FROM pg_proc p
JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE {_OWN_SCHEMAS} AND p.oid >= 16384 AND NOT {is_member("pg_proc", "p.oid")}
UNION ALL SELECT '', 'extension', extname FROM pg_extension
UNION ALL SELECT '', 'event trigger', evtname FROM pg_event_trigger
UNION ALL SELECT '', 'publication', pubname FROM pg_publication
UNION ALL SELECT '', 'server', srvname FROM pg_foreign_server"""
_NOTE_NAMES = f"INSERT INTO db_setup.names {_NOTED} ON CONFLICT DO NOTHING"
_COUNTS = f"""
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


class Name(NamedTuple):
    """The name of an object that stands by itself: its schema, its kind, and the name itself; not quoted."""

    schema: str
    kind: str
    name: str

    def as_foreign(self) -> tuple[str, str, str]:
        """Return the name as read_foreign wants it: a kind, a schema, and the name, with the types of arguments."""
        kind = FUNCTION if self.kind == SIGNATURE else self.kind
        return (kind, "" if self.kind == SCHEMA else self.schema, self.name)


class Object(NamedTuple):
    """An object that stands by itself: its name, how many columns it has (-1: no such thing), and it for people."""

    name: Name
    columns: int
    label: str


class Contents(NamedTuple):
    """What a database has; a name may be there twice, for two functions with other arguments."""

    objects: tuple[Object, ...]
    extensions: frozenset[str]

    @property
    def names(self) -> frozenset[Name]:
        """The names, of schemas only where there is something in them: an empty schema is as good as none.

        Every database has the schema public, whose name says nothing.
        """
        filled = {item.name.schema for item in self.objects if item.name.kind != SCHEMA} - {"public"}
        return frozenset(item.name for item in self.objects if item.name.kind != SCHEMA or item.name.schema in filled)

    def counts(self, without: Collection[Name] = ()) -> Counts:
        """Return the counts by schema, as those of a scratch database are, without the objects of some names."""
        found: Counts = {item.name.schema: [0, 0, 0] for item in self.objects}
        for name, columns, _ in self.objects:
            if name not in without:
                counted = found[name.schema]
                counted[0] += name.kind == RELATION and columns >= 0
                counted[1] += max(columns, 0)
                counted[2] += name.kind == FUNCTION
        return found


def read_contents(connection: Connection) -> Contents:
    """Return what a database has."""
    objects = tuple(Object(Name(*row[:3]), *row[3:]) for row in query_catalog(connection, _OBJECTS))
    return Contents(objects, frozenset(name for (name,) in query_catalog(connection, _EXTENSIONS)))


def create_counters(scratch: Connection) -> None:
    """Create the functions that count in a scratch database: their queries are planned once for all files."""
    published = f" UNION ALL {_WRITTEN} pg_publication_namespace"
    stamps = f"{_STAMPS}{published if scratch.server_version >= _SCHEMAS_PUBLISHED_SINCE else ''}"
    scratch.run(
        "CREATE TABLE db_setup.names (space name, kind text, name text, PRIMARY KEY (space, kind, name));"
        f"{_function('catalog_stamp', 'n bigint, x numeric', stamps)};"
        f"{_function('count_relations', 's name, r bigint, e text[]', _RELATIONS, first=f'{_NOTE_NAMES};')};"
        f"{_function('count_objects', 's name, r bigint, c bigint, f bigint, e text[]', _COUNTS)}"
    )


def _function(name: str, columns: str, query: str, *, first: str = "") -> str:
    return (
        f"CREATE FUNCTION db_setup.{name}() RETURNS TABLE ({columns}) LANGUAGE plpgsql "
        f"SET search_path = pg_catalog, pg_temp AS $function$ BEGIN {first} RETURN QUERY {query}; END $function$"
    )


def noted_names(scratch: Connection) -> frozenset[Name]:
    """Return all names that were noted."""
    rows: Iterable[Row] = scratch.rows(f"{_AS_LOGIN}; SELECT space, kind, name FROM db_setup.names")
    return frozenset(Name(*row) for row in rows)


def count_scratch_objects(scratch: Connection) -> Counts:
    """Return the counts of a scratch database with counters."""
    return _counts_and_extensions(scratch.rows(f"{_AS_LOGIN}; SELECT * FROM db_setup.count_objects()"))[0]


def count_scratch_relations(scratch: Connection) -> tuple[Counts, set[str]]:
    """Return only the first of the counts of a scratch database with counters, and its extensions.

    The names that it has now are noted: a later file may drop what has them.
    """
    query = "SELECT * FROM db_setup.count_relations()"
    try:
        rows = scratch.rows(f"{_AS_LOGIN}; {query}")
    except ServerError as error:
        if error.sqlstate != errorcodes.READ_ONLY_SQL_TRANSACTION:
            raise
        scratch.run(scratch.reset_sql())  # a file has left the session read-only
        rows = scratch.rows(query)
    return _counts_and_extensions(rows)


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
