"""Grants: the SQL that gives the groups their privileges on what is there and on what will be.

A query compares what is granted with what is to be, and only the difference is run: a deploy that finds everything
in place changes no catalog row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from migrator.database.connection import Connection, Row
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
# Future procedures are among the future functions.
_DEFAULT_TYPES = {"TABLE": "r", "SEQUENCE": "S", "FUNCTION": "f", "TYPE": "T", "SCHEMA": "n"}
_NAMES_IN_A_STATEMENT = 500
_MOST_SHOWN = 5


class Grants(NamedTuple):
    """What a look has found: the messages that are to be run, and what is out of the admin's reach."""

    messages: tuple[str, ...]
    warnings: tuple[str, ...]


def read_grants(
    connection: Connection, users: Sequence[User], schemas: Sequence[str], *, revoke_connect: bool
) -> Grants:
    """Compare the privileges of the groups with what they are to be; reads only."""
    literal = connection.literal
    listed = f"n.nspname IN ({', '.join(map(literal, schemas))})" if schemas else "true"
    parts = {
        "wanted": ", ".join(f"({literal(name)}, '{cls}', '{right}')" for name, cls, right in _wanted(users)),
        "types": ", ".join(f"('{cls}', '{code}')" for cls, code in _DEFAULT_TYPES.items()),
        "listed": listed,
        "spaces": grant_queries.SPACES.format(listed=listed),
        "objects": grant_queries.OBJECTS,
        "groups": ", ".join(literal(user.group) for user in users),
        "creator": ", ".join(literal(user.group) for user in users if user.kind == TABLE_CREATOR),
        "places": "(SELECT oid, nspname FROM spaces)" if schemas else "(SELECT 0::oid AS oid, ''::name AS nspname)",
    }
    missing = connection.rows(SAFELY + grant_queries.MISSING.format_map(parts))
    within_reach = [row[:4] for row in missing if row[5]]
    out_of_reach = sorted({(row[4], row[0], row[3]) for row in missing if not (row[5] or row[6])})
    defaults = connection.rows(SAFELY + grant_queries.MISSING_DEFAULTS.format_map(parts))
    stale = connection.rows(SAFELY + grant_queries.STALE_DEFAULTS.format_map(parts)) if schemas else []
    opened = [row for row in connection.rows(SAFELY + grant_queries.OPEN) if row[0] != "CONNECT" or revoke_connect]
    closing = (*_closing(opened), *_closing_history(connection, users, grant_queries.HISTORY_IS_OPEN.format_map(parts)))
    messages = (*_grants(within_reach), *closing, *map(_default, defaults), *_taken_back(stale))
    return Grants(messages, (*_warnings(out_of_reach), *_left_open(opened)))


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
    return f"ALTER DEFAULT PRIVILEGES FOR ROLE {quoted(owner)}{where} GRANT {rights} ON {cls}S TO {quoted(grantee)}"


def _taken_back(stale: Sequence[tuple[str, ...]]) -> Iterator[str]:
    classes = {code: cls for cls, code in _DEFAULT_TYPES.items()}
    for code, owner, grantee, schema in stale:
        where = f" IN SCHEMA {quoted(schema)}" if schema else ""
        what = f"REVOKE ALL ON {classes[code]}S FROM {quoted(grantee)}"
        yield f"ALTER DEFAULT PRIVILEGES FOR ROLE {quoted(owner)}{where} {what}"


def out_of_list(connection: Connection, user: User, before: Sequence[str], now: Sequence[str]) -> Iterator[str]:
    """Yield what takes from a group all that it has in schemas that are listed no more; no list means all."""
    literal = connection.literal
    inside = f"n.nspname IN ({', '.join(map(literal, before))})" if before else "true"
    parts = {
        "spaces": grant_queries.SPACES.format(listed=f"{inside} AND n.nspname NOT IN ({', '.join(map(literal, now))})"),
        "objects": grant_queries.OBJECTS,
        "groups": literal(user.group),
    }
    for cls, name, grantee in connection.rows(SAFELY + grant_queries.GIVEN.format_map(parts)) if now else ():
        yield f"REVOKE ALL ON {cls} {name} FROM {quoted(grantee)}"


def _closing(opened: Sequence[Row]) -> Iterator[str]:
    """Yield what takes from everybody what nobody but the declared users should have."""
    yield from (f"REVOKE {right} ON {thing} FROM PUBLIC" for right, thing, *_, ours_to_take in opened if ours_to_take)


def _left_open(opened: Sequence[Row]) -> Iterator[str]:
    """Yield warnings of what everybody has from somebody else than the admin may revoke for."""
    for right, thing, owner, grantor, ours_to_take in opened:
        if not ours_to_take:
            who = f"the grant of {quoted(grantor)}" if grantor != owner else f"{quoted(owner)}, who owns it"
            sql = f"REVOKE {right} ON {thing} FROM PUBLIC"
            if grantor != owner:
                sql = f"REVOKE GRANT OPTION FOR {right} ON {thing} FROM {quoted(grantor)} CASCADE"
            yield f"everybody has {right} on {thing}, by {who}; to end that, as {quoted(owner)}: {sql}"


def _closing_history(connection: Connection, users: Sequence[User], query: str) -> Iterator[str]:
    if connection.rows(SAFELY + query)[0][0]:
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
