"""What the catalogs say of privileges: queries with room for the names of groups and schemas, and their like.

Every operator in them is PostgreSQL's own only as long as the search path is safe (converge.SAFELY).
"""

from __future__ import annotations

SPACES = """
    SELECT n.oid, n.nspname, n.nspowner, n.nspacl FROM pg_catalog.pg_namespace n
    WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'db_setup') AND n.nspname !~ '^pg_(toast|temp)'
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_namespace'::regclass
                      AND d.objid = n.oid AND d.deptype = 'e') AND {listed}"""

# An extension's objects are its own affair.
OBJECTS = """
    SELECT 'DATABASE' AS class, d.datdba AS owner, pg_catalog.format('%I', d.datname) AS name,
           coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba)) AS acl
    FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()
    UNION ALL
    SELECT 'SCHEMA', nspowner, pg_catalog.format('%I', nspname),
           coalesce(nspacl, pg_catalog.acldefault('n', nspowner))
    FROM spaces
    UNION ALL
    SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.relowner,
           pg_catalog.format('%I.%I', s.nspname, c.relname),
           coalesce(c.relacl, pg_catalog.acldefault(
               (CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END)::"char", c.relowner))
    FROM pg_catalog.pg_class c JOIN spaces s ON s.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_depend d
        WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
    UNION ALL
    SELECT 'FUNCTION', p.proowner, p.oid::regprocedure::text,
           coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))
    FROM pg_catalog.pg_proc p JOIN spaces s ON s.oid = p.pronamespace
    WHERE p.prokind <> 'p' AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_depend d
        WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
    UNION ALL
    SELECT 'PROCEDURE', p.proowner, pg_catalog.format(
               '%I.%I(%s)', s.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)),
           coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))
    FROM pg_catalog.pg_proc p JOIN spaces s ON s.oid = p.pronamespace
    WHERE p.prokind = 'p' AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_depend d
        WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
    UNION ALL
    SELECT 'TYPE', t.typowner, pg_catalog.format('%I.%I', s.nspname, t.typname),
           coalesce(t.typacl, pg_catalog.acldefault('T', t.typowner))
    FROM pg_catalog.pg_type t JOIN spaces s ON s.oid = t.typnamespace
    LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
    WHERE (t.typtype IN ('e', 'd', 'r') OR t.typtype = 'c' AND c.relkind = 'c') AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_depend d
        WHERE d.classid = 'pg_catalog.pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e')"""

# Thousands of objects have a few lists of rights between them: each list is read once.
MISSING = """
WITH wanted AS (
    SELECT r.oid AS role, w.* FROM (VALUES {wanted}) w (grantee, class, privilege)
    JOIN pg_catalog.pg_roles r ON r.rolname = w.grantee),
spaces AS ({spaces}),
objects AS MATERIALIZED (SELECT o.*, o.acl::text AS rights FROM ({objects}) o),
kinds AS (SELECT DISTINCT ON (class, owner, rights) class, owner, rights, acl FROM objects),
lacks AS (
    SELECT k.class, k.owner, k.rights, w.grantee,
           pg_catalog.string_agg(w.privilege, ', ' ORDER BY w.privilege) AS lacking,
           pg_catalog.bool_and(EXISTS (SELECT FROM pg_catalog.aclexplode(k.acl) a
                                       WHERE a.grantee = 0 AND a.privilege_type = w.privilege)) AS everybody
    FROM kinds k JOIN wanted w USING (class)
    WHERE w.role <> k.owner AND NOT EXISTS (
        SELECT FROM pg_catalog.aclexplode(k.acl) a WHERE a.grantee = w.role AND a.privilege_type = w.privilege)
    GROUP BY k.class, k.owner, k.rights, w.grantee)
SELECT o.class, l.grantee, l.lacking, o.name, pg_catalog.pg_get_userbyid(o.owner),
       pg_catalog.pg_has_role(SESSION_USER, o.owner, 'USAGE'), l.everybody
FROM objects o JOIN lacks l USING (class, owner, rights) ORDER BY o.class, l.grantee, o.name"""

# Who owns anything here may make more; so may the admin and the table creators.
MISSING_DEFAULTS = """
WITH wanted AS (
    SELECT r.oid AS role, w.*, t.objtype FROM (VALUES {wanted}) w (grantee, class, privilege)
    JOIN (VALUES {types}) t (class, objtype) USING (class) JOIN pg_catalog.pg_roles r ON r.rolname = w.grantee),
spaces AS ({spaces}),
objects AS ({objects}),
owners AS (
    SELECT r.oid, r.rolname FROM pg_catalog.pg_roles r
    WHERE (r.rolname IN (SESSION_USER, {creator}) OR r.oid IN (SELECT owner FROM objects WHERE class <> 'DATABASE'))
      AND r.rolname !~ '^pg_' AND pg_catalog.pg_has_role(SESSION_USER, r.oid, 'USAGE'))
SELECT w.class, w.grantee, pg_catalog.string_agg(w.privilege, ', ' ORDER BY w.privilege), o.rolname, p.nspname
FROM owners o CROSS JOIN wanted w CROSS JOIN {places} p
WHERE w.role <> o.oid AND (w.class <> 'SCHEMA' OR p.oid = 0) AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_default_acl d, pg_catalog.aclexplode(d.defaclacl) a
    WHERE d.defaclrole = o.oid AND d.defaclnamespace = p.oid AND d.defaclobjtype::text = w.objtype
      AND a.grantee = w.role AND a.privilege_type = w.privilege)
GROUP BY w.class, w.grantee, o.rolname, p.nspname ORDER BY 1, 2, 4, 5"""

# With a list of schemas, what an earlier deploy gave for all of them, or for others, is taken back.
STALE_DEFAULTS = """
SELECT DISTINCT d.defaclobjtype::text, r.rolname, g.rolname, n.nspname
FROM pg_catalog.pg_default_acl d CROSS JOIN pg_catalog.aclexplode(d.defaclacl) a
JOIN pg_catalog.pg_roles r ON r.oid = d.defaclrole JOIN pg_catalog.pg_roles g ON g.oid = a.grantee
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = d.defaclnamespace
WHERE (d.defaclnamespace = 0 OR NOT ({listed})) AND r.oid <> g.oid AND g.rolname IN ({groups})
  AND pg_catalog.pg_has_role(SESSION_USER, r.oid, 'USAGE') ORDER BY 1, 2, 3, 4"""

GIVEN = """
WITH spaces AS ({spaces}),
objects AS ({objects})
SELECT DISTINCT o.class, o.name, g.rolname FROM objects o CROSS JOIN pg_catalog.aclexplode(o.acl) a
JOIN pg_catalog.pg_roles g ON g.oid = a.grantee
WHERE o.class <> 'DATABASE' AND g.oid <> o.owner AND g.rolname IN ({groups})
  AND pg_catalog.pg_has_role(SESSION_USER, o.owner, 'USAGE') ORDER BY 1, 2, 3"""

# What everybody has, and who gave it: REVOKE takes back what its grantor gave, which is the owner for those in it.
OPEN = """
SELECT o.privilege, o.thing, pg_catalog.pg_get_userbyid(o.owner), pg_catalog.pg_get_userbyid(a.grantor),
       CASE WHEN pg_catalog.pg_has_role(SESSION_USER, o.owner, 'USAGE') THEN a.grantor = o.owner
            ELSE pg_catalog.pg_get_userbyid(a.grantor) = SESSION_USER END
FROM (SELECT 'CREATE' AS privilege, 'SCHEMA public' AS thing, n.nspowner AS owner, n.nspacl AS acl
      FROM pg_catalog.pg_namespace n WHERE n.nspname = 'public'
      UNION ALL
      SELECT 'CONNECT', pg_catalog.format('DATABASE %I', d.datname), d.datdba,
             coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))
      FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()) o
CROSS JOIN pg_catalog.aclexplode(o.acl) a
WHERE a.grantee = 0 AND a.privilege_type = o.privilege ORDER BY 1 DESC, 4"""

HISTORY_IS_OPEN = """
SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace n
               LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relkind IN ('r', 'S')
               CROSS JOIN pg_catalog.aclexplode(n.nspacl || coalesce(c.relacl, '{{}}')) a
               WHERE n.nspname = 'db_setup'
                 AND (a.grantee = 0 OR pg_catalog.pg_get_userbyid(a.grantee) IN ({groups})))"""
