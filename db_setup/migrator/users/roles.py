"""Users: the roles of the limited users on the server, looked at and made to be as they are declared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from migrator.database.connection import Connection
from migrator.formatting import quoted
from migrator.users.names import ANY_MARK, IAM_ROLE, SCHEMAS, TABLE_CREATOR, User, mark, mark_text
from migrator.users.reconcile import SAFELY

_SET_OPTION_SINCE = 160000  # PostgreSQL 16 tells INHERIT, SET and ADMIN of a membership apart

_LOOK = (
    SAFELY
    + """
SELECT r.rolname, r.rolcanlogin, r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls,
       EXISTS (SELECT FROM pg_shdepend d
               WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = r.oid AND d.deptype = 'o'),
       {admin_option}, coalesce(shobj_description(r.oid, 'pg_authid'), ''),
       EXISTS (SELECT FROM pg_database d WHERE d.datname <> current_database() AND starts_with(
           shobj_description(r.oid, 'pg_authid'),
           'made by db_setup for database "' || replace(d.datname, '"', '""') || '":')),
       ARRAY(SELECT g.rolname::text FROM pg_roles g WHERE g.rolname IN ({groups}) AND g.oid <> r.oid
             AND pg_has_role(r.oid, g.oid, 'USAGE') AND pg_has_role(r.oid, g.oid, '{member}')),
       ARRAY(SELECT DISTINCT pg_get_userbyid(m.roleid)::text FROM pg_auth_members m WHERE m.member = r.oid ORDER BY 1),
       ARRAY(SELECT DISTINCT pg_get_userbyid(m.member)::text FROM pg_auth_members m WHERE m.roleid = r.oid ORDER BY 1),
       ARRAY(SELECT DISTINCT pg_get_userbyid(m.member)::text FROM pg_auth_members m
             WHERE m.roleid = r.oid AND starts_with(shobj_description(m.member, 'pg_authid'), {mark})),
       coalesce(r.rolconfig, '{{}}')::text[], has_database_privilege(r.oid, current_database(), 'CONNECT')
FROM pg_roles r WHERE r.rolname IN ({names})"""
)

_ADMIN = (
    SAFELY
    + f"""
SELECT SESSION_USER::text, current_database()::text, rolsuper OR rolcreaterole,
       EXISTS (SELECT FROM pg_roles WHERE rolname = '{IAM_ROLE}')
FROM pg_roles WHERE rolname = SESSION_USER"""
)

_LEFT = (
    SAFELY
    + """
SELECT r.rolname::text FROM pg_shdescription d JOIN pg_roles r ON r.oid = d.objoid
WHERE d.classoid = 'pg_authid'::regclass AND starts_with(d.description, {mark}) AND r.rolname NOT IN ({names})
ORDER BY 1"""
)


_FROM_ELSEWHERE = (
    SAFELY
    + """
SELECT DISTINCT r.rolname::text FROM pg_shdepend d JOIN pg_roles r ON r.oid = d.refobjid
JOIN pg_shdescription s ON s.classoid = d.refclassid AND s.objoid = r.oid
WHERE d.refclassid = 'pg_authid'::regclass AND d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND starts_with(s.description, {any_mark}) AND NOT starts_with(s.description, {mark}) ORDER BY 1"""
)


class Role(NamedTuple):
    """A role as the server has it; ``groups`` are those of ours that it may use, ``marked_members`` were made by us."""

    name: str
    can_login: bool
    powerful: bool
    owns: bool
    ours_to_grant: bool
    comment: str
    of_another_database: bool
    groups: Sequence[str]
    memberships: Sequence[str]
    members: Sequence[str]
    marked_members: Sequence[str]
    settings: Sequence[str]
    connects: bool


class Admin(NamedTuple):
    """Who makes the users, and where."""

    name: str
    database: str
    makes_roles: bool
    knows_iam: bool


def read_admin(connection: Connection) -> Admin:
    """Return who asks; reads only."""
    return Admin(*connection.rows(_ADMIN)[0])


def read_roles(connection: Connection, users: Sequence[User], admin: Admin) -> dict[str, Role]:
    """Return the roles of the users, and the admin's, by name, as far as they are there; reads only."""
    literal, names = connection.literal, [admin.name, *(name for user in users for name in user.names)]
    newer = connection.server_version >= _SET_OPTION_SINCE
    may_grant = "pg_has_role(SESSION_USER, r.oid, 'MEMBER WITH ADMIN OPTION')" if newer else "true"
    query = _LOOK.format(
        admin_option=may_grant,
        member="SET" if newer else "MEMBER",
        groups=", ".join(literal(name) for name in (*(user.group for user in users), IAM_ROLE)),
        names=", ".join(map(literal, names)),
        mark=literal(mark(admin.database)),
    )
    return {row[0]: Role(*row) for row in connection.rows(query)}


def is_ours(role: Role, admin: Admin) -> bool:
    """Tell whether an earlier run on this database has made, or taken, a role."""
    return role.comment.startswith(mark(admin.database))


def missing(
    users: Sequence[User],
    admin: Admin,
    roles: dict[str, Role],
    alternates: frozenset[str],
    version: int,
    *,
    proven: frozenset[str] = frozenset(),
) -> Iterator[str]:
    """Yield the messages that make roles and memberships what is declared; each is a transaction.

    ``alternates`` are second logins that are to be there, too; ``proven`` are logins whose passwords are in a secret.
    """
    for user in users:
        if user.group not in roles:
            yield f"CREATE ROLE {quoted(user.group)} NOLOGIN; {_comment(user.group, user, admin)}"
        elif not is_ours(roles[user.group], admin):
            yield _comment(user.group, user, admin)
        elif user.kind == TABLE_CREATOR and user.group not in roles[admin.name].groups:
            yield _grant(user.group, admin.name, version)  # to give and to take away what the creators own
        if user.group in roles and not roles[user.group].connects:  # a new password is tried before the other grants
            yield f"GRANT CONNECT ON DATABASE {quoted(admin.database)} TO {quoted(user.group)}"
        for login in user.logins if user.declared else ():
            if login == user.login or login in alternates or login in roles:
                role = roles.get(login)
                if role is not None and not is_ours(role, admin):
                    unknown = "" if login in proven else f"ALTER ROLE {quoted(login)} PASSWORD NULL; "
                    yield unknown + _comment(login, user, admin)  # somebody may know the password that it came with
                yield from _missing_login(login, user, admin, role, version)


def _missing_login(login: str, user: User, admin: Admin, role: Role | None, version: int) -> Iterator[str]:
    if role is None:
        yield f"CREATE ROLE {quoted(login)} LOGIN; {_comment(login, user, admin)}"
    if role is not None and not role.can_login:
        yield f"ALTER ROLE {quoted(login)} LOGIN"
    if role is None or user.group not in role.groups:
        inherit = f"ALTER ROLE {quoted(login)} INHERIT; "
        yield inherit + _grant(user.group, login, version)
    if user.iam and admin.knows_iam and (role is None or IAM_ROLE not in role.groups):
        yield f"ALTER ROLE {quoted(login)} PASSWORD NULL; GRANT {IAM_ROLE} TO {quoted(login)}"
    if not user.iam and role is not None and IAM_ROLE in role.groups:
        yield f"REVOKE {IAM_ROLE} FROM {quoted(login)}"  # it would forbid passwords
    # The group is the owner of what either login makes, so that both may change it, and the grants reach it.
    setting = f"role={user.group}"
    if user.kind == TABLE_CREATOR and (role is None or setting not in role.settings):
        yield f"ALTER ROLE {quoted(login)} SET role = {quoted(user.group)}"


def _comment(name: str, user: User, admin: Admin, more: str = "") -> str:
    return f"COMMENT ON ROLE {quoted(name)} IS {mark_text(user.kind, admin.database, more)}"


def remembered_schemas(user: User, admin: Admin, roles: dict[str, Role]) -> tuple[str, ...]:
    """Return the list of schemas that the last deploy used, as the comment of a group keeps it; none means all."""
    role = roles.get(user.group)
    kept = role.comment.removeprefix(mark(admin.database)).partition(SCHEMAS)[2] if role else ""
    return tuple(kept.split(", ")) if kept else ()


def remember_schemas(user: User, admin: Admin, schemas: Sequence[str]) -> str:
    """Return the message that lets a group's comment keep the list of schemas."""
    return _comment(user.group, user, admin, f"{SCHEMAS}{', '.join(schemas)}" if schemas else "")


def _grant(group: str, member: str, version: int) -> str:
    options = " WITH INHERIT TRUE, SET TRUE" if version >= _SET_OPTION_SINCE else ""
    return f"GRANT {quoted(group)} TO {quoted(member)}{options}"


def from_elsewhere(connection: Connection, database: str) -> list[str]:
    """Return a warning of roles made for another database that have rights in this one, as in a copy; reads only."""
    literal = connection.literal
    query = _FROM_ELSEWHERE.format(any_mark=literal(ANY_MARK), mark=literal(mark(database)))
    names = ", ".join(quoted(name) for (name,) in connection.rows(query))
    what = f"{names}: made for another database, with privileges in this one, as in a copy of that"
    return [f"{what}; REVOKE_PUBLIC_CONNECT=true keeps their logins out"] if names else []


def left_over(connection: Connection, users: Sequence[User], database: str) -> list[str]:
    """Return a warning of roles that earlier deploys made and that are declared no more; reads only."""
    names = [name for user in users if user.declared for name in user.names]
    if names:
        names += [user.group for user in users]  # groups are there as long as there is any user
    wanted = ", ".join(map(connection.literal, (*names, "none")))
    rows = connection.rows(_LEFT.format(mark=connection.literal(mark(database)), names=wanted))
    if not rows:
        return []
    names = [quoted(name) for (name,) in rows]
    left = ", ".join(names)
    owned = "".join(f"DROP OWNED BY {name}; " for name in names)  # of several at once the server stumbles (XX000)
    recipe = f"REASSIGN OWNED BY {left} TO CURRENT_USER; {owned}DROP ROLE {left}"
    return [f"declared no more, and still there: {left}; to drop them: GRANT {left} TO CURRENT_USER; {recipe}"]
