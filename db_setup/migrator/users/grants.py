"""Grants: the SQL that gives the groups their privileges, on existing objects and by default on future ones.

Only the difference between the catalogs and the configuration is run: a deploy that finds everything in place changes
no row of a catalog.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from migrator.database import Connection, Row
from migrator.formatting import quoted
from migrator.users import grant_queries
from migrator.users.names import READONLY, TABLE_CREATOR, USER, User
from migrator.users.reconcile import SAFELY

_WRITE = {
    "DATABASE": ("CONNECT",),
    "SCHEMA": ("USAGE",),
    "TABLE": ("DELETE", "INSERT", "SELECT", "UPDATE"),
    "SEQUENCE": ("SELECT", "UPDATE", "USAGE"),
    "FUNCTION": ("EXECUTE",),
    "PROCEDURE": ("EXECUTE",),
    "TYPE": ("USAGE",),
}
PRIVILEGES: dict[str, dict[str, tuple[str, ...]]] = {
    USER: _WRITE,
    TABLE_CREATOR: {
        **_WRITE,
        "DATABASE": ("CONNECT", "CREATE"),
        "SCHEMA": ("CREATE", "USAGE"),
        "TABLE": (*_WRITE["TABLE"], "REFERENCES"),  # for foreign keys to the tables of other owners
    },
    READONLY: {
        "DATABASE": ("CONNECT",),
        "SCHEMA": ("USAGE",),
        "TABLE": ("SELECT",),
        "SEQUENCE": ("SELECT",),
        "TYPE": ("USAGE",),
    },
}
# ALTER DEFAULT PRIVILEGES counts procedures as functions.
_DEFAULT_TYPES = {"TABLE": "r", "SEQUENCE": "S", "FUNCTION": "f", "TYPE": "T", "SCHEMA": "n"}
_NAMES_IN_A_STATEMENT = 500
_MOST_SHOWN = 5


class Grants(NamedTuple):
    """The messages that are to be run, and warnings of what the admin may not change."""

    messages: tuple[str, ...]
    warnings: tuple[str, ...]


def read_grants(
    connection: Connection, users: Sequence[User], schemas: Sequence[str], admin: str, *, revoke_connect: bool
) -> Grants:
    """Compare the privileges of the groups with the configured ones; reads only."""
    literal = connection.literal
    listed = f"n.nspname IN ({', '.join(map(literal, schemas))})" if schemas else "true"
    parts = {
        "wanted": ", ".join(f"({literal(name)}, '{cls}', '{privilege}')" for name, cls, privilege in _wanted(users)),
        "types": ", ".join(f"('{cls}', '{code}')" for cls, code in _DEFAULT_TYPES.items()),
        "listed": listed,
        "schemas": grant_queries.SCHEMAS.format(listed=listed),
        "objects": grant_queries.OBJECTS,
        "groups": ", ".join(literal(user.group) for user in users),
        "creator": ", ".join(literal(user.group) for user in users if user.kind == TABLE_CREATOR),
        "namespaces": "(SELECT oid, nspname FROM schemas)"
        if schemas
        else "(SELECT 0::oid AS oid, ''::name AS nspname)",
    }
    missing = connection.rows(SAFELY + grant_queries.MISSING.format_map(parts))
    grantable = [row[:4] for row in missing if row[5]]
    not_grantable = sorted({(row[4], row[0], row[3]) for row in missing if not (row[5] or row[6])})
    defaults = connection.rows(SAFELY + grant_queries.MISSING_DEFAULTS.format_map(parts))
    stale = connection.rows(SAFELY + grant_queries.STALE_DEFAULTS.format_map(parts)) if schemas else []
    public = connection.rows(SAFELY + grant_queries.PUBLIC_GRANTS)
    public = [row for row in public if row[0] != "CONNECT" or revoke_connect]
    accessible = connection.rows(SAFELY + grant_queries.HISTORY_IS_ACCESSIBLE.format_map(parts))[0][0]
    revokes = (*_revokes_from_public(public), *(_revokes_on_history(users) if accessible else ()))
    messages = (*_grants(grantable), *revokes, *map(_default_grant, defaults), *_default_revokes(stale))
    return Grants(messages, (*_owner_warnings(not_grantable, admin), *_public_warnings(public)))


def _wanted(users: Sequence[User]) -> Iterator[tuple[str, str, str]]:
    for user in users:
        for cls, privileges in PRIVILEGES[user.kind].items():
            yield from ((user.group, cls, privilege) for privilege in privileges)


def _grants(missing: Sequence[tuple[str, ...]]) -> Iterator[str]:
    grouped: dict[tuple[str, str, str], list[str]] = {}
    for cls, grantee, privileges, name in missing:
        grouped.setdefault((cls, grantee, privileges), []).append(name)
    for (cls, grantee, privileges), names in grouped.items():
        for start in range(0, len(names), _NAMES_IN_A_STATEMENT):
            batch = ", ".join(names[start : start + _NAMES_IN_A_STATEMENT])
            yield f"GRANT {privileges} ON {cls} {batch} TO {quoted(grantee)}"


def _default_grant(row: tuple[str, ...]) -> str:
    cls, grantee, privileges, owner, schema = row
    return f"{_alter_defaults(owner, schema)} GRANT {privileges} ON {cls}S TO {quoted(grantee)}"


def _default_revokes(stale: Sequence[tuple[str, ...]]) -> Iterator[str]:
    classes = {code: cls for cls, code in _DEFAULT_TYPES.items()}
    for code, owner, grantee, schema in stale:
        yield f"{_alter_defaults(owner, schema)} REVOKE ALL ON {classes[code]}S FROM {quoted(grantee)}"


def _alter_defaults(owner: str, schema: str) -> str:
    where = f" IN SCHEMA {quoted(schema)}" if schema else ""
    return f"ALTER DEFAULT PRIVILEGES FOR ROLE {quoted(owner)}{where}"


def revokes_in_removed_schemas(
    connection: Connection, user: User, before: Sequence[str], now: Sequence[str]
) -> Iterator[str]:
    """Yield the revokes of all that a group has in schemas that are no longer listed; an empty list means all."""
    literal = connection.literal
    inside = f"n.nspname IN ({', '.join(map(literal, before))})" if before else "true"
    parts = {
        "schemas": grant_queries.SCHEMAS.format(
            listed=f"{inside} AND n.nspname NOT IN ({', '.join(map(literal, now))})"
        ),
        "objects": grant_queries.OBJECTS,
        "groups": literal(user.group),
    }
    for cls, name, grantee in connection.rows(SAFELY + grant_queries.GRANTED.format_map(parts)) if now else ():
        yield f"REVOKE ALL ON {cls} {name} FROM {quoted(grantee)}"


def _revokes_from_public(public: Sequence[Row]) -> Iterator[str]:
    """Yield the revokes of what only the configured users should have."""
    yield from (f"REVOKE {privilege} ON {name} FROM PUBLIC" for privilege, name, *_, revocable in public if revocable)


def _public_warnings(public: Sequence[Row]) -> Iterator[str]:
    """Yield warnings of what PUBLIC has by a grant that the admin may not revoke."""
    for privilege, name, owner, grantor, revocable in public:
        if not revocable:
            who = f"the grant of {quoted(grantor)}" if grantor != owner else f"{quoted(owner)}, who owns it"
            sql = f"REVOKE {privilege} ON {name} FROM PUBLIC"
            if grantor != owner:
                sql = f"REVOKE GRANT OPTION FOR {privilege} ON {name} FROM {quoted(grantor)} CASCADE"
            yield f"everybody has {privilege} on {name}, by {who}; to end that, as {quoted(owner)}: {sql}"


def _revokes_on_history(users: Sequence[User]) -> Iterator[str]:
    names = ", ".join(("PUBLIC", *(quoted(user.group) for user in users)))
    what = ("SCHEMA db_setup", "ALL TABLES IN SCHEMA db_setup", "ALL SEQUENCES IN SCHEMA db_setup")
    yield "; ".join(f"REVOKE ALL ON {each} FROM {names}" for each in what)


def _owner_warnings(not_grantable: Sequence[tuple[str, str, str]], admin: str) -> Iterator[str]:
    """Yield a warning for each owner of objects that the admin may not grant privileges on."""
    by_owner: dict[str, list[str]] = {}
    for owner, cls, name in not_grantable:
        if not owner.startswith(("rds", "pg_")):
            by_owner.setdefault(owner, []).append(f"{cls.lower()} {name}")
    for owner, names in by_owner.items():
        more = f" and {len(names) - _MOST_SHOWN} more" if names[_MOST_SHOWN:] else ""
        what = f"the users have no access to what {quoted(owner)} owns: {', '.join(names[:_MOST_SHOWN])}{more}"
        yield f"{what}; GRANT {quoted(owner)} TO {quoted(admin)}, and the next run grants it"
