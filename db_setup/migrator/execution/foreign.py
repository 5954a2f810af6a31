"""What is in a database and no file makes: found out for the fence of an adoption, and found again later.

Indexes, TOAST tables and partitions belong to their table and are not listed; so does what belongs to an extension.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from migrator.database import SAFE_PATH_SQL, Connection
from migrator.history import SCHEMA, Fence, ForeignObject

Name = tuple[str, str, str]
"""A kind, a schema ("" for what is in none) and a name, none of them quoted. The kinds and the names of each:

- "schema": ("schema", "", "crm"); "public" counts as foreign whoever names it, since every database has it
- "relation", for tables, views, materialized views, foreign tables and sequences: ("relation", "crm", "orders")
- "function", for functions, procedures, aggregates, with the types of the arguments as ``pg_catalog.oidvectortypes``
  prints them where the search_path is empty: ("function", "crm", "f(integer, crm.mood)")
- "type", for types and domains: ("type", "crm", "mood")
- "extension", "role", "event trigger", "publication", "server": ("role", "", "app")
"""

_MANAGED = "^(pg_|rds_|rdsadmin$|rdsrepladmin$|rdstopmgr$)"  # roles of the server, and of Amazon RDS
_MEMBER = "EXISTS (SELECT FROM pg_depend m WHERE m.classid = '{0}'::regclass AND m.objid = {1} AND m.deptype IN ({2}))"
_SCHEMAS = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"



def _global(catalog: str, kind: str, name: str, where: str = "true") -> str:
    member = "false" if catalog == "pg_roles" else _MEMBER.format(catalog, "o.oid", "'e'")
    return (
        f"SELECT '{catalog.replace('pg_roles', 'pg_authid')}', o.oid::int8, '{kind}', '', o.{name}::text, "
        f"concat('{kind} ', quote_ident(o.{name})) FROM {catalog} o WHERE {where} AND NOT {member}"
    )


# A sequence and a partition bear the name of the table that they belong to, where they belong to one.
_RELATIONS = f"""
SELECT 'pg_class', o.oid::int8, 'relation', coalesce(t.nspname, n.nspname)::text, coalesce(t.relname, o.relname)::text,
    concat(CASE o.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence'
        WHEN 'f' THEN 'foreign table' ELSE 'table' END, ' ', quote_ident(n.nspname), '.', quote_ident(o.relname))
FROM pg_class o JOIN pg_namespace n ON n.oid = o.relnamespace LEFT JOIN LATERAL (
    WITH RECURSIVE up(oid, level) AS (
        SELECT d.refobjid, 0 FROM pg_depend d WHERE o.relkind = 'S' AND d.classid = 'pg_class'::regclass
            AND d.objid = o.oid AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
        UNION ALL SELECT i.inhparent, up.level + 1 FROM up JOIN pg_class c ON c.oid = up.oid AND c.relispartition
            JOIN pg_inherits i ON i.inhrelid = c.oid)
    SELECT c.relname, s.nspname FROM up JOIN pg_class c ON c.oid = up.oid JOIN pg_namespace s ON s.oid = c.relnamespace
    ORDER BY up.level DESC LIMIT 1) t ON true
WHERE {_SCHEMAS} AND o.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND NOT o.relispartition
    AND NOT {_MEMBER.format("pg_class", "o.oid", "'e'")}"""

_FUNCTIONS = f"""
SELECT 'pg_proc', o.oid::int8, 'function', n.nspname::text, concat(o.proname, '(', oidvectortypes(o.proargtypes), ')'),
    concat(CASE o.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END, ' ',
        quote_ident(n.nspname), '.', quote_ident(o.proname), '(', oidvectortypes(o.proargtypes), ')')
FROM pg_proc o JOIN pg_namespace n ON n.oid = o.pronamespace
WHERE {_SCHEMAS} AND NOT {_MEMBER.format("pg_proc", "o.oid", "'e', 'i'")}"""
_TYPES = f"""
SELECT 'pg_type', o.oid::int8, 'type', n.nspname::text, o.typname::text,
    concat(CASE o.typtype WHEN 'd' THEN 'domain' ELSE 'type' END, ' ',
        quote_ident(n.nspname), '.', quote_ident(o.typname))
FROM pg_type o JOIN pg_namespace n ON n.oid = o.typnamespace
WHERE {_SCHEMAS} AND o.typtype IN ('e', 'd', 'c', 'r', 'b')
    AND (o.typrelid = 0 OR (SELECT c.relkind FROM pg_class c WHERE c.oid = o.typrelid) = 'c')
    AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = o.oid)
    AND NOT {_MEMBER.format("pg_type", "o.oid", "'e'")}"""
# These can be dropped by themselves, without a lock on what they belong to.
_CONSTRAINTS_OF_DOMAINS = """
SELECT 'pg_constraint', o.oid::int8, 'type', n.nspname::text, t.typname::text, concat(
    'constraint ', quote_ident(o.conname), ' of domain ', quote_ident(n.nspname), '.', quote_ident(t.typname))
FROM pg_constraint o JOIN pg_type t ON t.oid = o.contypid JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"""
_STATISTICS = """
SELECT 'pg_statistic_ext', o.oid::int8, 'relation', n.nspname::text, c.relname::text,
    concat('statistics ', quote_ident(s.nspname), '.', quote_ident(o.stxname))
FROM pg_statistic_ext o JOIN pg_namespace s ON s.oid = o.stxnamespace JOIN pg_class c ON c.oid = o.stxrelid
JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname !~ '^pg_'"""
_DEFAULT_PRIVILEGES = """
SELECT 'pg_default_acl', o.oid::int8, 'default privileges', '', o.oid::text, concat('default privileges of ',
    quote_ident(pg_get_userbyid(o.defaclrole)), ' in ' || quote_ident(n.nspname), ' on ', CASE o.defaclobjtype
    WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'functions' WHEN 'T' THEN 'types' ELSE 'schemas' END)
FROM pg_default_acl o LEFT JOIN pg_namespace n ON n.oid = o.defaclnamespace"""
_OBJECTS = "\nUNION ALL ".join(
    (
        _global("pg_namespace", "schema", "nspname", _SCHEMAS.replace("n.", "o.")),
        _RELATIONS,
        _FUNCTIONS,
        _TYPES,
        _CONSTRAINTS_OF_DOMAINS,
        _STATISTICS,
        _global("pg_extension", "extension", "extname", "o.extname <> 'plpgsql'"),
        _global("pg_roles", "role", "rolname", f"o.rolname !~ '{_MANAGED}'"),
        _global("pg_event_trigger", "event trigger", "evtname"),
        _global("pg_publication", "publication", "pubname"),
        _global("pg_foreign_server", "server", "srvname"),
        _DEFAULT_PRIVILEGES,
    )
)
_ALWAYS_FOREIGN: frozenset[Name] = frozenset({("schema", "", "public")})


class _Found(NamedTuple):
    """An object of a database, and the name by which a file makes it."""

    object: ForeignObject
    name: Name


def read_names(connection: Connection) -> set[Name]:
    """Return the names of what is in a database; of a scratch database, read after each of its files: what they make.

    The roles and default privileges of the server are not among them: a scratch database has those of all databases.
    """
    own = {"role", "default privileges"}
    return {found.name for found in _objects(connection) if found.name[0] not in own and not _is_ours(found.name)}


def read_foreign(connection: Connection, made: Collection[Name]) -> list[ForeignObject]:
    """Return what is in the live database and bears no name that a file makes, in the order of their kinds and names.

    ``made`` is what read_names returns, of all files together, and the roles that they create. A sequence counts as the
    table that owns it. Members of extensions are left out: they count through their extension. So are the roles of the
    server itself and of Amazon RDS. Databases, tablespaces, memberships and settings of roles need not be listed: the
    fence watches all of them.
    """
    names = set(made) - _ALWAYS_FOREIGN
    return [found.object for found in _objects(connection) if found.name not in names]


def located(connection: Connection, fence: Fence) -> tuple[ForeignObject, ...]:
    """Return what a fence protects with the OIDs of today; by its name, where those that are stored mean nothing."""
    if fence.oids_hold or not fence.foreign:
        return fence.foreign
    here = {(found.object.catalog, found.object.identity): found.object for found in _objects(connection)}
    keys = [(item.catalog, item.identity) for item in fence.foreign]
    return tuple(here[key] for key in keys if key in here)


def _objects(connection: Connection) -> list[_Found]:
    """Return the objects of users, in a transaction of its own or at the end of the one that is open."""
    inside = connection.in_transaction
    begin, end = ("SAVEPOINT db_setup_names", "ROLLBACK TO db_setup_names") if inside else ("BEGIN", "ROLLBACK")
    rows = connection.rows(f"{begin}; {SAFE_PATH_SQL.replace('SET', 'SET LOCAL')}; {_OBJECTS} ORDER BY 1, 6, 2")
    connection.run(end)
    return [_Found(ForeignObject(row[0], row[1], row[5]), (row[2], row[3], row[4])) for row in rows]


def _is_ours(name: Name) -> bool:
    return name[1] == SCHEMA or name == ("schema", "", SCHEMA)
