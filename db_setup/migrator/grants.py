"""Grants: the SQL that gives the groups their privileges on what is there and on what will be.

A query compares what is granted with what is to be, and only the difference is run: a deploy that finds everything
in place changes no catalog row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from migrator.connection import Connection
from migrator.converge import SAFELY
from migrator.light import NamedTuple
from migrator.roles import READONLY, TABLE_CREATOR, USER, User, quoted

_WRITE = {
    "DATABASE": ("CONNECT",),
    "SCHEMA": ("USAGE",),
    "TABLE": ("DELETE", "INSERT", "SELECT", "UPDATE"),
    "SEQUENCE": ("SELECT", "UPDATE", "USAGE"),
    "ROUTINE": ("EXECUTE",),
    "TYPE": ("USAGE",),
}
PRIVILEGES: dict[str, dict[str, tuple[str, ...]]] = {
    USER: _WRITE,
    TABLE_CREATOR: {
        **_WRITE,
        "DATABASE": ("CONNECT", "CREATE"),
        "SCHEMA": ("CREATE", "USAGE"),
        "TABLE": (*_WRITE["TABLE"], "REFERENCES"),  # or its tables could have no foreign key to those of others
    },
    READONLY: {
        "DATABASE": ("CONNECT",),
        "SCHEMA": ("USAGE",),
        "TABLE": ("SELECT",),
        "SEQUENCE": ("SELECT",),
        "TYPE": ("USAGE",),
    },
}
_DEFAULT_TYPES = {"TABLE": "r", "SEQUENCE": "S", "ROUTINE": "f", "TYPE": "T", "SCHEMA": "n"}
_NAMES_IN_A_STATEMENT = 500
_MOST_SHOWN = 5

_SPACES = """
    SELECT n.oid, n.nspname, n.nspowner, n.nspacl FROM pg_catalog.pg_namespace n
    WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'db_setup') AND n.nspname !~ '^pg_(toast|temp)'
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_namespace'::regclass
                      AND d.objid = n.oid AND d.deptype = 'e') AND {listed}"""

# An extension's objects are its own affair.
_OBJECTS = """
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
    SELECT 'ROUTINE', p.proowner, p.oid::regprocedure::text,
           coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))
    FROM pg_catalog.pg_proc p JOIN spaces s ON s.oid = p.pronamespace
    WHERE NOT EXISTS (
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

_MISSING = """
WITH wanted AS (
    SELECT r.oid AS role, w.* FROM (VALUES {wanted}) w (grantee, class, privilege)
    JOIN pg_catalog.pg_roles r ON r.rolname = w.grantee),
spaces AS ({spaces}),
objects AS ({objects})
SELECT o.class, w.grantee, pg_catalog.string_agg(w.privilege, ', ' ORDER BY w.privilege), o.name,
       pg_catalog.pg_get_userbyid(o.owner), pg_catalog.pg_has_role(SESSION_USER, o.owner, 'USAGE'),
       pg_catalog.bool_and(EXISTS (SELECT FROM pg_catalog.aclexplode(o.acl) a
                                   WHERE a.grantee = 0 AND a.privilege_type = w.privilege))
FROM objects o JOIN wanted w USING (class)
WHERE w.role <> o.owner AND NOT EXISTS (
    SELECT FROM pg_catalog.aclexplode(o.acl) a WHERE a.grantee = w.role AND a.privilege_type = w.privilege)
GROUP BY o.class, w.grantee, o.name, o.owner ORDER BY o.class, w.grantee, o.name"""

# Who owns anything here may make more; so may the admin and the table creators.
_MISSING_DEFAULTS = """
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

# With a list of schemas, what was given for all of them in an earlier deploy is taken back.
_STALE_DEFAULTS = """
SELECT DISTINCT d.defaclobjtype::text, r.rolname, g.rolname
FROM pg_catalog.pg_default_acl d CROSS JOIN pg_catalog.aclexplode(d.defaclacl) a
JOIN pg_catalog.pg_roles r ON r.oid = d.defaclrole JOIN pg_catalog.pg_roles g ON g.oid = a.grantee
WHERE d.defaclnamespace = 0 AND r.oid <> g.oid AND g.rolname IN ({groups})
  AND pg_catalog.pg_has_role(SESSION_USER, r.oid, 'USAGE') ORDER BY 1, 2, 3"""

_TOO_OPEN = """
SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace n, pg_catalog.aclexplode(n.nspacl) a
               WHERE n.nspname = 'public' AND a.grantee = 0 AND a.privilege_type = 'CREATE'
                 AND pg_catalog.pg_has_role(SESSION_USER, n.nspowner, 'USAGE')),
       EXISTS (SELECT FROM pg_catalog.pg_database d,
                      pg_catalog.aclexplode(coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) a
               WHERE d.datname = pg_catalog.current_database() AND a.grantee = 0 AND a.privilege_type = 'CONNECT'
                 AND pg_catalog.pg_has_role(SESSION_USER, d.datdba, 'USAGE')),
       EXISTS (SELECT FROM pg_catalog.pg_namespace n
               LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relkind IN ('r', 'S')
               CROSS JOIN pg_catalog.aclexplode(n.nspacl || coalesce(c.relacl, '{{}}')) a
               WHERE n.nspname = 'db_setup' AND (a.grantee = 0 OR pg_catalog.pg_get_userbyid(a.grantee) IN ({groups}))),
       pg_catalog.current_database()"""


class Grants(NamedTuple):
    """What a look has found: the messages that are to be run, and what is out of the admin's reach."""

    messages: tuple[str, ...]
    warnings: tuple[str, ...]


def look(connection: Connection, users: Sequence[User], schemas: Sequence[str], *, revoke_connect: bool) -> Grants:
    """Compare the privileges of the groups with what they are to be; reads only."""
    literal = connection.literal
    listed = f"n.nspname IN ({', '.join(map(literal, schemas))})" if schemas else "true"
    parts = {
        "wanted": ", ".join(f"({literal(name)}, '{cls}', '{right}')" for name, cls, right in _wanted(users)),
        "types": ", ".join(f"('{cls}', '{code}')" for cls, code in _DEFAULT_TYPES.items()),
        "spaces": _SPACES.format(listed=listed),
        "objects": _OBJECTS,
        "groups": ", ".join(literal(user.group) for user in users),
        "creator": ", ".join(literal(user.group) for user in users if user.kind == TABLE_CREATOR),
        "places": "(SELECT oid, nspname FROM spaces)" if schemas else "(SELECT 0::oid AS oid, ''::name AS nspname)",
    }
    missing = connection.rows(SAFELY + _MISSING.format_map(parts))
    within_reach = [row[:4] for row in missing if row[5]]
    out_of_reach = sorted({(row[4], row[0], row[3]) for row in missing if not (row[5] or row[6])})
    defaults = connection.rows(SAFELY + _MISSING_DEFAULTS.format_map(parts))
    stale = connection.rows(SAFELY + _STALE_DEFAULTS.format_map(parts)) if schemas else []
    closing = _closing(connection, users, _TOO_OPEN.format_map(parts), revoke_connect=revoke_connect)
    messages = (*_grants(within_reach), *closing, *map(_default, defaults), *_taken_back(stale))
    return Grants(messages, _warnings(out_of_reach))


def _wanted(users: Sequence[User]) -> Iterator[tuple[str, str, str]]:
    for user in users:
        for cls, rights in PRIVILEGES[user.kind].items():
            yield from ((user.group, cls, right) for right in rights)


def _grants(missing: Sequence[tuple[str, ...]]) -> Iterator[str]:
    together: dict[tuple[str, str, str], list[str]] = {}
    for cls, grantee, rights, name in missing:
        together.setdefault((cls, grantee, rights), []).append(name)
    for (cls, grantee, rights), names in together.items():
        for start in range(0, len(names), _NAMES_IN_A_STATEMENT):
            some = ", ".join(names[start : start + _NAMES_IN_A_STATEMENT])
            yield f"GRANT {rights} ON {cls} {some} TO {quoted(grantee)}"


def _default(row: tuple[str, ...]) -> str:
    cls, grantee, rights, owner, schema = row
    where = f" IN SCHEMA {quoted(schema)}" if schema else ""
    return (
        f"ALTER DEFAULT PRIVILEGES FOR ROLE {quoted(owner)}{where} GRANT {rights} ON {cls}S TO {quoted(grantee)}"
    )


def _taken_back(stale: Sequence[tuple[str, ...]]) -> Iterator[str]:
    classes = {code: cls for cls, code in _DEFAULT_TYPES.items()}
    for code, owner, grantee in stale:
        yield (
            f"ALTER DEFAULT PRIVILEGES FOR ROLE {quoted(owner)} REVOKE ALL ON {classes[code]}S FROM {quoted(grantee)}"
        )


def _closing(connection: Connection, users: Sequence[User], query: str, *, revoke_connect: bool) -> Iterator[str]:
    """Yield what takes from everybody what nobody but the declared users should have."""
    creates, connects, history_is_open, database = connection.rows(SAFELY + query)[0]
    if creates:
        yield "REVOKE CREATE ON SCHEMA public FROM PUBLIC"
    if connects and revoke_connect:
        yield f"REVOKE CONNECT ON DATABASE {quoted(database)} FROM PUBLIC"
    if history_is_open:
        names = ", ".join(("PUBLIC", *(quoted(user.group) for user in users)))
        what = ("SCHEMA db_setup", "ALL TABLES IN SCHEMA db_setup", "ALL SEQUENCES IN SCHEMA db_setup")
        yield "; ".join(f"REVOKE ALL ON {each} FROM {names}" for each in what)


def _warnings(out_of_reach: Sequence[tuple[str, str, str]]) -> tuple[str, ...]:
    by_owner: dict[str, list[str]] = {}
    for owner, cls, name in out_of_reach:
        if not owner.startswith(("rds", "pg_")):
            by_owner.setdefault(owner, []).append(f"{cls.lower()} {name}")
    return tuple(_warning(owner, names) for owner, names in by_owner.items())


def _warning(owner: str, names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MOST_SHOWN]) + (f" and {len(names) - _MOST_SHOWN} more" if names[_MOST_SHOWN:] else "")
    return (
        f"the users have no access to what {quoted(owner)} owns: {shown}; "
        f"GRANT {quoted(owner)} TO the user who runs this, and the next run gives it"
    )
