"""SQL expressions that the queries of the catalog are built from. Pure.

Names and other values go into them as SQL literals only, made by the connection that runs the query.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

HISTORY_TABLES = (
    "schema_migrations", "schema_migration", "schema_version", "schema_lock", "ar_internal_metadata",
    "flyway_schema_history", "goose_db_version", "_sqlx_migrations", "pgmigrations", "alembic_version",
    "gorp_migrations", "knex_migrations", "knex_migrations_lock", "databasechangelog", "databasechangeloglock",
    "_prisma_migrations", "__diesel_schema_migrations", "django_migrations", "refinery_schema_history",
    "_yoyo_log", "_yoyo_migration", "_yoyo_version", "yoyo_lock", "SequelizeMeta", "SequelizeData",
    "__EFMigrationsHistory", "__EFMigrationsLock", "__MigrationHistory", "mikro_orm_migrations", "typeorm_metadata",
    "seaql_migrations", "__drizzle_migrations", "kysely_migration", "kysely_migration_lock", "phinxlog",
    "doctrine_migration_versions", "play_evolutions", "play_evolutions_lock", "ragtime_migrations", "bun_migrations",
    "bun_migration_locks", "gopg_migrations", "atlas_schema_revisions", "schemaversion", "schemaversions",
    "VersionInfo", "aerich", "migratehistory", "pyway",
)  # fmt: skip
"""Tables in which migration tools keep what they have applied: no migration makes them, so they are not compared."""
HISTORY_SCHEMAS = (
    "sqitch", "graphile_migrate", "drizzle", "pgroll", "grate", "RoundhousE", "atlas_schema_revisions",
    "supabase_migrations",
)  # fmt: skip
"""Schemas in which migration tools keep everything of their own."""
_COMMON_NAMES = {
    "migrations": ("id,name,timestamp", "batch,id,migration", "id,name,run_on", "executed_at,hash,id,name"),
    "migration": ("apply_time,version",),
    "changelog": (
        "applied_at,description,id", "checksum,description,id,installed_by,installed_on,name,success,type,version",
    ),
}  # fmt: skip
"""Names that any table may have, with the columns that those of tools have (TypeORM, Laravel, db-migrate, Yii, ...)."""


def _literals(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def is_history_table(relation: str) -> str:
    """Return the condition, on a row of pg_class, that it is a table in which a tool keeps what it has applied."""
    columns = (
        "(SELECT string_agg(k.attname::text, ',' ORDER BY k.attname) FROM pg_attribute k "
        f"WHERE k.attrelid = {relation}.oid AND k.attnum > 0 AND NOT k.attisdropped)"
    )
    common = " ".join(
        f"WHEN '{name}' THEN {columns} IN ({_literals(signatures)})" for name, signatures in _COMMON_NAMES.items()
    )
    known = f"{relation}.relname IN ({_literals(HISTORY_TABLES)})"
    return f"({known} OR CASE {relation}.relname {common} ELSE false END)"


UNION = "\nUNION ALL "
MIGRATING_USER = "the migrating user"
_PUBLIC_OWNER = "'owner of a new database'"


class CatalogScope(NamedTuple):
    """What the queries of the catalog depend on: the server, and what is compared.

    ``own_roles`` is a list of SQL literals; ``owners`` is whether owners are compared; ``hidden_schemas`` is the
    continuation of a list of SQL literals, and ``hidden_identity`` the SQL literal of the pattern of
    what is not compared by its identity.
    """

    server_version: int
    own_roles: str
    owners: bool
    hidden_schemas: str
    hidden_identity: str

    def since(self, major: int, expression: str) -> str:
        """Return an expression that servers have from a major version on, NULL for older ones."""
        return expression if self.server_version >= major * 10000 else "NULL"

    def role(self, oid: str) -> str:
        """Return the expression for a role's name, the same for all roles that apply the migrations."""
        name = f"pg_get_userbyid({oid})"
        return f"CASE WHEN {name} IN ({self.own_roles}) THEN '{MIGRATING_USER}' ELSE quote_ident({name}) END"

    def owner(self, oid: str) -> str:
        """Return the expression for the line about an owner, NULL where owners are not compared."""
        return f"('owner ' || {self.role(oid)})" if self.owners else "NULL"

    def schema_owner(self) -> str:
        """Return the expression for the line about the owner of a schema, a row ``n`` of pg_namespace."""
        owner = self.owner("n.nspowner")
        given = f"CASE WHEN {self.has_public('n.nspowner')} THEN {_PUBLIC_OWNER} ELSE {owner} END"
        return given if self.owners else owner

    def has_public(self, oid: str) -> str:
        """Return the condition that a schema ``n`` is ``public``, and a role one that owns it without a file's doing.

        Who owns it depends on the version that made the database, on upgrades and dumps, and on who runs the server.
        """
        databases = "current_database(), 'template0', 'template1'"
        owner = f"{oid} IN (SELECT d.datdba FROM pg_database d WHERE d.datname IN ({databases}))"
        role = f"pg_get_userbyid({oid}) IN ('pg_database_owner', {self.own_roles})"
        return f"(n.nspname = 'public' AND coalesce({owner} OR {role}, false))"

    def schemas(self) -> str:
        """Return the condition, on a row ``n`` of pg_namespace, that a schema is compared."""
        hidden = _literals(["information_schema", "db_setup", *HISTORY_SCHEMAS])
        return f"n.nspname !~ '^pg_' AND n.nspname NOT IN ({hidden}{self.hidden_schemas})"


def qualified(namespace: str, name: str) -> str:
    """Return the expression for a quoted name with its schema."""
    return f"quote_ident({namespace}) || '.' || quote_ident({name})"


def collation(oid: str) -> str:
    """Return the expression for the name of a collation, with its schema where that is not pg_catalog."""
    return (
        "(SELECT concat(nullif(quote_ident(n.nspname), 'pg_catalog') || '.', quote_ident(l.collname)) "
        f"FROM pg_collation l JOIN pg_namespace n ON n.oid = l.collnamespace WHERE l.oid = {oid})"
    )


def is_member(catalog: str, oid: str) -> str:
    """Return the condition that an object belongs to an extension, or was made with another object and goes with it."""
    kinds = "'e', 'i'" if catalog in {"pg_proc", "pg_cast"} else "'e'"
    return (
        f"EXISTS (SELECT FROM pg_depend m WHERE m.classid = '{catalog}'::regclass AND m.objid = {oid} "
        f"AND m.deptype IN ({kinds}))"
    )


def grants(acl: str, owner: str, kind: str, left_out: str = "false") -> str:
    """Return the expression for an access list, a line a role, without the owner and the users that db_setup makes.

    ``left_out`` is the condition of further grantees ``x.grantee`` that are left out.
    """
    right = "x.privilege_type || CASE WHEN x.is_grantable THEN ' (with grant option)' ELSE '' END"
    default = f"acldefault('{kind}', {owner})" if kind else "'{}'::aclitem[]"
    return f"""(SELECT string_agg(g.who || ': ' || g.rights, E'\\n' ORDER BY g.who) FROM (
        SELECT CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x.grantee)) END AS who,
            string_agg(DISTINCT {right}, ', ' ORDER BY {right}) AS rights
        FROM aclexplode(coalesce({acl}, {default})) x
        WHERE x.grantee <> {owner} AND NOT {left_out} AND NOT EXISTS (
            SELECT FROM pg_shdescription s WHERE s.classoid = 'pg_authid'::regclass AND s.objoid = x.grantee
            AND starts_with(s.description, 'made by db_setup ')) GROUP BY 1) g)"""


def owned_without_a_line(roles: str) -> str:
    """Return a query for the extensions of roles, and the casts of their types, whose entries have no owner to compare.

    ``roles`` are literals, of names that are quoted as the catalog has them.
    """
    theirs = f"(SELECT oid FROM pg_roles WHERE quote_ident(rolname) IN ({roles}))"
    return f"""SELECT 'extension', quote_ident(extname) FROM pg_extension WHERE extowner IN {theirs}
        UNION ALL SELECT 'cast', format('%s as %s', format_type(castsource, NULL), format_type(casttarget, NULL))
        FROM pg_cast c WHERE EXISTS (
            SELECT FROM pg_type t WHERE t.oid IN (c.castsource, c.casttarget) AND t.typowner IN {theirs})"""
