"""The queries of the fence: what the open transaction has changed of what a fence protects. Pure.

They are to be run with a search_path of pg_catalog, at the end of the transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from migrator.history import SCHEMA, ForeignObject

BEFORE = "db_setup.before"
SOME_ROLE = "a role (ALTER ROLE)"
ROLES_UPDATED_SQL = f"""SELECT pg_catalog.pg_stat_get_xact_tuples_updated('pg_catalog.pg_authid'::pg_catalog.regclass)
    OPERATOR(pg_catalog.-) (nullif(pg_catalog.current_setting('{BEFORE}', true), '')::pg_catalog.json
        OPERATOR(pg_catalog.->>) 'updates')::pg_catalog.int8"""
"""How many rows of pg_authid this transaction has updated, what it has rolled back included; null where not known."""
_UNION = "\nUNION ALL "
_XIDS, _NEAR = 2**32, 10**7

BEFORE_SQL = f"""SELECT pg_catalog.set_config('{BEFORE}', pg_catalog.json_build_object(
    'updates', pg_catalog.pg_stat_get_xact_tuples_updated('pg_catalog.pg_authid'::pg_catalog.regclass),
    'memberships', coalesce((SELECT pg_catalog.json_agg(pg_catalog.concat_ws('/', roleid, member, grantor))
        FROM pg_catalog.pg_auth_members), '[]'),
    'settings', coalesce((SELECT pg_catalog.json_agg(pg_catalog.concat_ws('/', setdatabase, setrole))
        FROM pg_catalog.pg_db_role_setting), '[]'))::text, true)"""
"""Keeps, in the transaction of a file, what its end is compared with: that of which the end shows no trace."""


def ours(row: str) -> str:
    """Return the condition that this transaction has written a row of a catalog.

    Numbers of transactions are kept to 32 bits, and those of savepoints follow that of their transaction: only rows
    with one not far behind it are asked about.
    """
    behind = f"mod(mod({row}.xmin::text::int8 - txid_current(), {_XIDS}) + {_XIDS}, {_XIDS})"
    return f"CASE WHEN {behind} < {_NEAR} THEN txid_status(txid_current() + {behind}) = 'in progress' ELSE false END"


def _writes(catalog: str) -> str:
    """Return the condition that this transaction has written, or was about to write, a row of a catalog."""
    return f"EXISTS (SELECT FROM locks w WHERE w.relation = '{catalog}'::regclass AND w.mode = 'RowExclusiveLock')"


def relations_sql(objects: Iterable[ForeignObject], literal: Callable[[object], str]) -> str:
    """Return the beginning of a query, with ``relations``: foreign tables, their partitions, indexes and sequences."""
    return f"""WITH RECURSIVE given(classid, oid, identity) AS MATERIALIZED ({_given_sql(objects, literal)}
), tables(oid, identity) AS (
    (SELECT oid, identity FROM given WHERE classid = 'pg_class'::regclass
        UNION SELECT t.typrelid, g.identity FROM given g JOIN pg_type t ON t.oid = g.oid
        WHERE g.classid = 'pg_type'::regclass AND t.typrelid <> 0)
    UNION SELECT i.inhrelid, t.identity FROM tables t JOIN pg_inherits i ON i.inhparent = t.oid
        JOIN pg_class c ON c.oid = i.inhrelid AND c.relispartition
), relations(oid, identity) AS MATERIALIZED (
    SELECT oid, identity FROM tables
    UNION SELECT i.indexrelid, t.identity FROM tables t JOIN pg_index i ON i.indrelid = t.oid
    UNION SELECT c.oid, t.identity FROM tables t JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass
        AND d.refobjid = t.oid AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
        JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'S'
)"""


def _given_sql(objects: Iterable[ForeignObject], literal: Callable[[object], str]) -> str:
    catalogs: dict[str, list[ForeignObject]] = {}
    for item in objects:
        catalogs.setdefault(item.catalog, []).append(item)
    parts = (
        f"SELECT '{catalog}'::regclass::oid, g.* FROM ROWS FROM ("
        f"unnest('{{{','.join(str(item.oid) for item in items)}}}'::oid[]), "
        f"unnest({literal(_array(item.identity for item in items))}::text[])) AS g"
        for catalog, items in catalogs.items()
    )
    return _UNION.join(parts) or "SELECT 0::oid, 0::oid, '' WHERE false"


def _array(texts: Iterable[str]) -> str:
    escaped = (text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    elements = ",".join(f'"{text}"' for text in escaped)
    return f"{{{elements}}}"


def changes_sql(objects: Iterable[ForeignObject], literal: Callable[[object], str]) -> str:
    """Return the query for what this transaction has changed, or may have, one text each."""
    parts = (*_relation_rows(), *_object_rows(), *_MOVED, *_DEPENDENTS, *_LOCKS, *_MEMBERSHIPS, *_SETTINGS, *_SHARED)
    return f"""{relations_sql(objects, literal)}, parts(classid, oid, identity) AS ({" UNION ".join(_parts())}
), objects(classid, oid, identity) AS MATERIALIZED (
    SELECT classid, oid, identity FROM given UNION SELECT 'pg_class'::regclass, oid, identity FROM relations
    UNION SELECT classid, oid, identity FROM parts
), locks AS MATERIALIZED (
    SELECT l.* FROM pg_locks l WHERE l.pid = pg_backend_pid() AND l.granted AND l.database IN (
        0, (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()))
), roles(oid, identity) AS MATERIALIZED (
    SELECT oid, identity FROM given WHERE classid = 'pg_authid'::regclass
), before(state) AS MATERIALIZED (
    SELECT nullif(current_setting('{BEFORE}', true), '')::json
)
SELECT DISTINCT identity FROM ({_UNION.join(parts)}) changed(identity) ORDER BY 1"""


# The catalogs with rows about a relation, and the column with its OID.
_ABOUT_RELATIONS = {
    "pg_class": "oid", "pg_attribute": "attrelid", "pg_index": "indrelid", "pg_inherits": "inhparent",
    "pg_constraint": "conrelid", "pg_trigger": "tgrelid", "pg_rewrite": "ev_class", "pg_policy": "polrelid",
    "pg_attrdef": "adrelid", "pg_statistic_ext": "stxrelid",
}  # fmt: skip
_PARTS_OF_RELATIONS = ("pg_constraint", "pg_trigger", "pg_rewrite", "pg_policy", "pg_statistic_ext")
# The catalogs with rows about another object: the catalog of that, and the column with its OID.
_ABOUT_OBJECTS = (
    ("pg_enum", "pg_type", "enumtypid"),
    ("pg_constraint", "pg_type", "contypid"),
    *(
        (catalog, catalog, "oid")
        for catalog in (
            "pg_namespace", "pg_proc", "pg_type", "pg_extension", "pg_event_trigger", "pg_publication",
            "pg_foreign_server", "pg_default_acl",
        )
    ),
)  # fmt: skip


def _relation_rows() -> list[str]:
    return [
        f"SELECT r.identity FROM relations r JOIN {catalog} o ON o.{column} = r.oid WHERE {ours('o')}"
        for catalog, column in _ABOUT_RELATIONS.items()
    ]


def _object_rows() -> list[str]:
    return [
        f"SELECT g.identity FROM given g JOIN {catalog} o ON o.{column} = g.oid "
        f"WHERE g.classid = '{about}'::regclass AND {ours('o')}"
        for catalog, about, column in _ABOUT_OBJECTS
    ]


def _parts() -> list[str]:
    of_relations = [
        f"SELECT '{catalog}'::regclass::oid, o.oid, t.identity FROM tables t "
        f"JOIN {catalog} o ON o.{_ABOUT_RELATIONS[catalog]} = t.oid"
        for catalog in _PARTS_OF_RELATIONS
    ]
    of_domains = (
        "SELECT 'pg_constraint'::regclass::oid, o.oid, g.identity FROM given g "
        "JOIN pg_constraint o ON o.contypid = g.oid WHERE g.classid = 'pg_type'::regclass"
    )
    return [*of_relations, of_domains]


# An object has another name when the schema of the files that it is in has one.
_MOVED = [
    f"""SELECT g.identity FROM given g JOIN {catalog} o ON o.oid = g.oid JOIN pg_namespace n ON n.oid = o.{schema}
    WHERE g.classid = '{catalog}'::regclass AND {ours("n")} AND strpos(g.identity, quote_ident(n.nspname) || '.') = 0"""
    for catalog, schema in (("pg_class", "relnamespace"), ("pg_type", "typnamespace"), ("pg_proc", "pronamespace"))
]
# What is new in a table, such as a trigger, depends on it so that it would go with it. What an object depends on itself
# is written when it is replaced, or when an extension takes it.
_DEPENDENTS = (
    f"""SELECT o.identity FROM objects o JOIN pg_depend d ON d.classid = o.classid AND d.objid = o.oid
    WHERE {ours("d")}""",
    f"""SELECT o.identity FROM objects o JOIN pg_depend d ON d.refclassid = o.classid AND d.refobjid = o.oid
    WHERE d.deptype IN ('a', 'i', 'e', 'P', 'S') AND {ours("d")}""",
    f"""SELECT o.identity FROM objects o JOIN pg_description d ON d.classoid = o.classid AND d.objoid = o.oid
    WHERE {ours("d")}""",
    f"""SELECT o.identity FROM objects o JOIN pg_seclabel d ON d.classoid = o.classid AND d.objoid = o.oid
    WHERE {ours("d")}""",
)
# ANALYZE, which changes nothing, takes a ShareUpdateExclusiveLock. So do statements that write what is seen above, but
# of a comment that is taken away there is no row any more. The history's own rows are those of the run.
_LOCKS = (
    f"""SELECT r.identity FROM relations r JOIN locks l ON l.locktype = 'relation' AND l.relation = r.oid
    WHERE l.mode NOT IN ('AccessShareLock', 'RowShareLock', 'ShareUpdateExclusiveLock', 'SIReadLock')
        AND NOT (l.mode = 'RowExclusiveLock' AND EXISTS (
            SELECT FROM pg_class c WHERE c.oid = r.oid AND c.relnamespace = '{SCHEMA}'::regnamespace))""",
    f"""SELECT r.identity FROM relations r JOIN locks l ON l.locktype = 'relation' AND l.relation = r.oid
    WHERE l.mode = 'ShareUpdateExclusiveLock' AND ({_writes("pg_description")} OR {_writes("pg_seclabel")})""",
    """SELECT o.identity FROM objects o JOIN locks l ON l.locktype = 'object'
        AND l.classid = o.classid AND l.objid = o.oid WHERE l.mode = 'AccessExclusiveLock'
        OR (l.mode = 'ShareUpdateExclusiveLock' AND o.classid <> 'pg_authid'::regclass)""",
)


def _name(role: str) -> str:
    return f"quote_ident(pg_get_userbyid({role}))"


# A new role of a file's becomes a member of what it likes, and the migrating user a member of it. Memberships go with
# their roles, which other sessions may drop; a role that this one drops shows by its lock.
_FOREIGN_MEMBERSHIP = """(m.roleid IN (SELECT oid FROM roles)
    OR m.member IN (SELECT oid FROM roles) AND pg_get_userbyid(m.member) <> SESSION_USER)"""
_MEMBERSHIP = f"concat('the membership of ', {_name('m.member')}, ' in ', {_name('m.roleid')})"
_MEMBERSHIPS = (
    f"SELECT {_MEMBERSHIP} FROM pg_auth_members m WHERE {_FOREIGN_MEMBERSHIP} AND {ours('m')}",
    f"""SELECT {_MEMBERSHIP} FROM before b, json_array_elements_text(b.state -> 'memberships') k, LATERAL (
        SELECT split_part(k, '/', 1)::oid AS roleid, split_part(k, '/', 2)::oid AS member) m
    WHERE {_writes("pg_auth_members")} AND {_FOREIGN_MEMBERSHIP}
        AND 2 = (SELECT count(*) FROM pg_roles r WHERE r.oid IN (m.roleid, m.member))
        AND k NOT IN (SELECT concat_ws('/', roleid, member, grantor) FROM pg_auth_members)""",
    f"""SELECT 'memberships of roles' FROM before b WHERE b.state IS NULL AND {_writes("pg_auth_members")}
        AND pg_stat_get_xact_tuples_deleted('pg_auth_members'::regclass) > 0""",
)
_FOREIGN_SETTING = "(s.setrole = 0 OR s.setrole IN (SELECT oid FROM roles))"
_SETTING = (
    f"CASE s.setrole WHEN 0 THEN 'the settings of a database' ELSE 'the settings of role ' || {_name('s.setrole')} END"
)
_SETTINGS = (
    f"SELECT {_SETTING} FROM pg_db_role_setting s WHERE {_FOREIGN_SETTING} AND {ours('s')}",
    f"""SELECT {_SETTING} FROM before b, json_array_elements_text(b.state -> 'settings') k, LATERAL (
        SELECT split_part(k, '/', 2)::oid AS setrole) s
    WHERE {_writes("pg_db_role_setting")} AND {_FOREIGN_SETTING}
        AND k NOT IN (SELECT concat_ws('/', setdatabase, setrole) FROM pg_db_role_setting)""",
    f"""SELECT 'settings of roles' FROM before b WHERE b.state IS NULL AND {_writes("pg_db_role_setting")}
        AND pg_stat_get_xact_tuples_deleted('pg_db_role_setting'::regclass) > 0""",
)
# Which row of pg_authid was written, only a superuser may see.
_SHARED = (
    f"""SELECT '{SOME_ROLE}' FROM before b WHERE {_writes("pg_authid")} AND
        pg_stat_get_xact_tuples_updated('pg_authid'::regclass) > coalesce((b.state ->> 'updates')::int8, 0)""",
    f"SELECT 'database ' || quote_ident(d.datname) FROM pg_database d WHERE {ours('d')}",
    f"SELECT 'tablespace ' || quote_ident(t.spcname) FROM pg_tablespace t WHERE {ours('t')}",
    f"SELECT 'all tables (CREATE PUBLICATION)' FROM pg_publication p WHERE p.puballtables AND {ours('p')}",
    f"""SELECT coalesce(r.identity, 'a database or tablespace (COMMENT)') FROM pg_shdescription d
        LEFT JOIN roles r ON r.oid = d.objoid AND d.classoid = 'pg_authid'::regclass
    WHERE {ours("d")} AND (r.oid IS NOT NULL OR d.classoid <> 'pg_authid'::regclass)""",
    f"""SELECT concat('default privileges of ', {_name("a.defaclrole")}, ' in ' || quote_ident(n.nspname))
    FROM pg_default_acl a LEFT JOIN pg_namespace n ON n.oid = a.defaclnamespace
    WHERE a.defaclrole IN (SELECT oid FROM roles) AND {ours("a")} AND (a.defaclnamespace = 0
        OR a.defaclnamespace IN (SELECT oid FROM given WHERE classid = 'pg_namespace'::regclass))""",
)
