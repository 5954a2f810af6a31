"""Queries of the catalogs for privileges, with placeholders for the names of groups, schemas and their like.

Their operators are PostgreSQL's own only while the search path is safe (reconcile.SAFELY).
"""

from __future__ import annotations

SCHEMAS = """
    SELECT n.oid, n.nspname, n.nspowner, n.nspacl FROM pg_catalog.pg_namespace n
    WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'db_setup') AND n.nspname !~ '^pg_(toast|temp)'
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_namespace'::regclass
                      AND d.objid = n.oid AND d.deptype = 'e') AND {listed}"""

# An extension's objects keep the privileges that they came with.
OBJECTS = """
    SELECT 'DATABASE' AS class, d.datdba AS owner, pg_catalog.format('%I', d.datname) AS name,
           coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba)) AS acl
    FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()
    UNION ALL
    SELECT 'SCHEMA', nspowner, pg_catalog.format('%I', nspname),
           coalesce(nspacl, pg_catalog.acldefault('n', nspowner))
    FROM schemas
    UNION ALL
    SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.relowner,
           pg_catalog.format('%I.%I', s.nspname, c.relname),
           coalesce(c.relacl, pg_catalog.acldefault(
               (CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END)::"char", c.relowner))
    FROM pg_catalog.pg_class c JOIN schemas s ON s.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_depend d
        WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
    UNION ALL
    SELECT 'FUNCTION', p.proowner, p.oid::regprocedure::text,
           coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))
    FROM pg_catalog.pg_proc p JOIN schemas s ON s.oid = p.pronamespace
    WHERE p.prokind <> 'p' AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_depend d
        WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
    UNION ALL
    SELECT 'PROCEDURE', p.proowner, pg_catalog.format(
               '%I.%I(%s)', s.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)),
           coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))
    FROM pg_catalog.pg_proc p JOIN schemas s ON s.oid = p.pronamespace
    WHERE p.prokind = 'p' AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_depend d
        WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
    UNION ALL
    SELECT 'TYPE', t.typowner, pg_catalog.format('%I.%I', s.nspname, t.typname),
           coalesce(t.typacl, pg_catalog.acldefault('T', t.typowner))
    FROM pg_catalog.pg_type t JOIN schemas s ON s.oid = t.typnamespace
    LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
    WHERE (t.typtype IN ('e', 'd', 'r') OR t.typtype = 'c' AND c.relkind = 'c') AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_depend d
        WHERE d.classid = 'pg_catalog.pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e')"""

# Thousands of objects share a few access control lists: each list is read once.
MISSING = """
WITH wanted AS (
    SELECT r.oid AS role, w.* FROM (VALUES {wanted}) w (grantee, class, privilege)
    JOIN pg_catalog.pg_roles r ON r.rolname = w.grantee),
schemas AS ({schemas}),
objects AS MATERIALIZED (SELECT o.*, o.acl::text AS acl_text FROM ({objects}) o),
kinds AS (SELECT DISTINCT ON (class, owner, acl_text) class, owner, acl_text, acl FROM objects),
missing AS (
    SELECT k.class, k.owner, k.acl_text, w.grantee,
           pg_catalog.string_agg(w.privilege, ', ' ORDER BY w.privilege) AS privileges,
           pg_catalog.bool_and(EXISTS (SELECT FROM pg_catalog.aclexplode(k.acl) a
                                       WHERE a.grantee = 0 AND a.privilege_type = w.privilege)) AS by_public
    FROM kinds k JOIN wanted w USING (class)
    WHERE w.role <> k.owner AND NOT EXISTS (
        SELECT FROM pg_catalog.aclexplode(k.acl) a WHERE a.grantee = w.role AND a.privilege_type = w.privilege)
    GROUP BY k.class, k.owner, k.acl_text, w.grantee)
SELECT o.class, m.grantee, m.privileges, o.name, pg_catalog.pg_get_userbyid(o.owner),
       pg_catalog.pg_has_role(SESSION_USER, o.owner, 'USAGE'), m.by_public
FROM objects o JOIN missing m USING (class, owner, acl_text) ORDER BY o.class, m.grantee, o.name"""

# Owners of objects here may create more; so may the admin and the table creators.
MISSING_DEFAULTS = """
WITH wanted AS (
    SELECT r.oid AS role, w.*, t.objtype FROM (VALUES {wanted}) w (grantee, class, privilege)
    JOIN (VALUES {types}) t (class, objtype) USING (class) JOIN pg_catalog.pg_roles r ON r.rolname = w.grantee),
schemas AS ({schemas}),
objects AS ({objects}),
owners AS (
    SELECT r.oid, r.rolname FROM pg_catalog.pg_roles r
    WHERE (r.rolname IN (SESSION_USER, {creator}) OR r.oid IN (SELECT owner FROM objects WHERE class <> 'DATABASE'))
      AND r.rolname !~ '^pg_' AND pg_catalog.pg_has_role(SESSION_USER, r.oid, 'USAGE'))
SELECT w.class, w.grantee, pg_catalog.string_agg(w.privilege, ', ' ORDER BY w.privilege), o.rolname, p.nspname
FROM owners o CROSS JOIN wanted w CROSS JOIN {namespaces} p
WHERE w.role <> o.oid AND (w.class <> 'SCHEMA' OR p.oid = 0) AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_default_acl d, pg_catalog.aclexplode(d.defaclacl) a
    WHERE d.defaclrole = o.oid AND d.defaclnamespace = p.oid AND d.defaclobjtype::text = w.objtype
      AND a.grantee = w.role AND a.privilege_type = w.privilege)
GROUP BY w.class, w.grantee, o.rolname, p.nspname ORDER BY 1, 2, 4, 5"""

# With a list of schemas, the default privileges that an earlier deploy granted for all or other schemas are revoked.
STALE_DEFAULTS = """
SELECT DISTINCT d.defaclobjtype::text, r.rolname, g.rolname, n.nspname
FROM pg_catalog.pg_default_acl d CROSS JOIN pg_catalog.aclexplode(d.defaclacl) a
JOIN pg_catalog.pg_roles r ON r.oid = d.defaclrole JOIN pg_catalog.pg_roles g ON g.oid = a.grantee
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = d.defaclnamespace
WHERE (d.defaclnamespace = 0 OR NOT ({listed})) AND r.oid <> g.oid AND g.rolname IN ({groups})
  AND pg_catalog.pg_has_role(SESSION_USER, r.oid, 'USAGE') ORDER BY 1, 2, 3, 4"""

GRANTED = """
WITH schemas AS ({schemas}),
objects AS ({objects})
SELECT DISTINCT o.class, o.name, g.rolname FROM objects o CROSS JOIN pg_catalog.aclexplode(o.acl) a
JOIN pg_catalog.pg_roles g ON g.oid = a.grantee
WHERE o.class <> 'DATABASE' AND g.oid <> o.owner AND g.rolname IN ({groups})
  AND pg_catalog.pg_has_role(SESSION_USER, o.owner, 'USAGE') ORDER BY 1, 2, 3"""

# What PUBLIC has, and its grantor: a REVOKE by a member of the owner ends the grants of the owner, and no others.
PUBLIC_GRANTS = """
SELECT o.privilege, o.object, pg_catalog.pg_get_userbyid(o.owner), pg_catalog.pg_get_userbyid(a.grantor),
       CASE WHEN pg_catalog.pg_has_role(SESSION_USER, o.owner, 'USAGE') THEN a.grantor = o.owner
            ELSE pg_catalog.pg_get_userbyid(a.grantor) = SESSION_USER END
FROM (SELECT 'CREATE' AS privilege, 'SCHEMA public' AS object, n.nspowner AS owner, n.nspacl AS acl
      FROM pg_catalog.pg_namespace n WHERE n.nspname = 'public'
      UNION ALL
      SELECT 'CONNECT', pg_catalog.format('DATABASE %I', d.datname), d.datdba,
             coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))
      FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()) o
CROSS JOIN pg_catalog.aclexplode(o.acl) a
WHERE a.grantee = 0 AND a.privilege_type = o.privilege ORDER BY 1 DESC, 4"""

HISTORY_IS_ACCESSIBLE = """
SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace n
               LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relkind IN ('r', 'S')
               CROSS JOIN pg_catalog.aclexplode(n.nspacl || coalesce(c.relacl, '{{}}')) a
               WHERE n.nspname = 'db_setup'
                 AND (a.grantee = 0 OR pg_catalog.pg_get_userbyid(a.grantee) IN ({groups})))"""
