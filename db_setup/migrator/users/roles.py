"""Roles: those of the limited users as the server has them, and the messages that make them as configured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from migrator.database import Connection
from migrator.formatting import quoted
from migrator.users.names import ANY_MARK, IAM_ROLE, SCHEMAS, TABLE_CREATOR, User, mark, mark_text
from migrator.users.reconcile import SAFELY

_SET_OPTION_SINCE = 160000  # PostgreSQL 16: a membership has separate INHERIT, SET and ADMIN options

_ROLES = (
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

_UNCONFIGURED = (
    SAFELY
    + """
SELECT r.rolname::text FROM pg_shdescription d JOIN pg_roles r ON r.oid = d.objoid
WHERE d.classoid = 'pg_authid'::regclass AND starts_with(d.description, {mark}) AND r.rolname NOT IN ({names})
ORDER BY 1"""
)

_OF_OTHER_DATABASES = (
    SAFELY
    + """
SELECT DISTINCT r.rolname::text FROM pg_shdepend d JOIN pg_roles r ON r.oid = d.refobjid
JOIN pg_shdescription s ON s.classoid = d.refclassid AND s.objoid = r.oid
WHERE d.refclassid = 'pg_authid'::regclass AND d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND starts_with(s.description, {any_mark}) AND NOT starts_with(s.description, {mark}) ORDER BY 1"""
)


class Role(NamedTuple):
    """A role as the server has it; ``groups`` are our groups that it may use, ``marked_members`` bear our mark."""

    name: str
    can_login: bool
    privileged: bool
    owns: bool
    grantable: bool
    comment: str
    of_another_database: bool
    groups: Sequence[str]
    memberships: Sequence[str]
    members: Sequence[str]
    marked_members: Sequence[str]
    settings: Sequence[str]
    can_connect: bool


class Admin(NamedTuple):
    """The role that creates the users, and its database."""

    name: str
    database: str
    can_create_roles: bool
    has_iam: bool


def read_admin(connection: Connection) -> Admin:
    """Return the role of this session; reads only."""
    return Admin(*connection.rows(_ADMIN)[0])


def read_roles(connection: Connection, users: Sequence[User], admin: Admin) -> dict[str, Role]:
    """Return the existing roles of the users, and the admin's, by name; reads only."""
    literal, names = connection.literal, [admin.name, *(name for user in users for name in user.names)]
    newer = connection.server_version >= _SET_OPTION_SINCE
    may_grant = "pg_has_role(SESSION_USER, r.oid, 'MEMBER WITH ADMIN OPTION')" if newer else "true"
    query = _ROLES.format(
        admin_option=may_grant,
        member="SET" if newer else "MEMBER",
        groups=", ".join(literal(name) for name in (*(user.group for user in users), IAM_ROLE)),
        names=", ".join(map(literal, names)),
        mark=literal(mark(admin.database)),
    )
    return {row[0]: Role(*row) for row in connection.rows(query)}


def table_creators(connection: Connection) -> list[str]:
    """Return the roles that make tables in this database because a deploy made them for that, quoted where need be."""
    ((database,),) = connection.rows("SELECT pg_catalog.current_database()")
    beginning = connection.literal(f"{mark(database)} {TABLE_CREATOR}")
    rows = connection.rows(
        "SELECT pg_catalog.quote_ident(r.rolname) FROM pg_catalog.pg_roles r JOIN pg_catalog.pg_shdescription s "
        "ON s.objoid = r.oid AND s.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass "
        f"WHERE pg_catalog.starts_with(s.description, {beginning})"
    )
    return [str(name) for (name,) in rows]


def is_ours(role: Role, admin: Admin) -> bool:
    """Return whether an earlier run on this database has created, or taken over, a role."""
    return role.comment.startswith(mark(admin.database))


def missing(
    users: Sequence[User],
    admin: Admin,
    roles: dict[str, Role],
    alternates: frozenset[str],
    version: int,
    *,
    verified_logins: frozenset[str] = frozenset(),
) -> Iterator[str]:
    """Yield the messages that make roles and memberships as configured; each is a transaction.

    ``alternates`` are second logins that are to exist, too; ``verified_logins`` have a working password in a secret.
    """
    for user in users:
        if user.group not in roles:
            yield f"CREATE ROLE {quoted(user.group)} NOLOGIN; {_comment(user.group, user, admin)}"
        elif not is_ours(roles[user.group], admin):
            yield _comment(user.group, user, admin)
        elif user.kind == TABLE_CREATOR and user.group not in roles[admin.name].groups:
            yield _grant(user.group, admin.name, version)  # to grant and revoke on what the creators own
        if (
            user.group in roles and not roles[user.group].can_connect
        ):  # a new password is tested before the other grants
            yield f"GRANT CONNECT ON DATABASE {quoted(admin.database)} TO {quoted(user.group)}"
        for login in user.logins if user.declared else ():
            if login == user.login or login in alternates or login in roles:
                role = roles.get(login)
                if role is not None and not is_ours(role, admin):
                    reset = "" if login in verified_logins else f"ALTER ROLE {quoted(login)} PASSWORD NULL; "
                    yield reset + _comment(login, user, admin)  # its password may be known to others
                yield from _missing_login(login, user, admin, role, version)


def _missing_login(login: str, user: User, admin: Admin, role: Role | None, version: int) -> Iterator[str]:
    if role is None:
        yield f"CREATE ROLE {quoted(login)} LOGIN; {_comment(login, user, admin)}"
    if role is not None and not role.can_login:
        yield f"ALTER ROLE {quoted(login)} LOGIN"
    if role is None or user.group not in role.groups:
        inherit = f"ALTER ROLE {quoted(login)} INHERIT; "
        yield inherit + _grant(user.group, login, version)
    if user.iam and admin.has_iam and (role is None or IAM_ROLE not in role.groups):
        yield f"ALTER ROLE {quoted(login)} PASSWORD NULL; GRANT {IAM_ROLE} TO {quoted(login)}"
    if not user.iam and role is not None and IAM_ROLE in role.groups:
        yield f"REVOKE {IAM_ROLE} FROM {quoted(login)}"  # it forbids passwords
    # The group owns what either login creates, so that both may change it, and the default privileges apply.
    setting = f"role={user.group}"
    if user.kind == TABLE_CREATOR and (role is None or setting not in role.settings):
        yield f"ALTER ROLE {quoted(login)} SET role = {quoted(user.group)}"


def _comment(name: str, user: User, admin: Admin, more: str = "") -> str:
    return f"COMMENT ON ROLE {quoted(name)} IS {mark_text(user.kind, admin.database, more)}"


def recorded_schemas(user: User, admin: Admin, roles: dict[str, Role]) -> tuple[str, ...]:
    """Return the list of schemas of the last deploy, which is in the comment of a group; none means all."""
    role = roles.get(user.group)
    schemas = role.comment.removeprefix(mark(admin.database)).partition(SCHEMAS)[2] if role else ""
    return tuple(schemas.split(", ")) if schemas else ()


def record_schemas(user: User, admin: Admin, schemas: Sequence[str]) -> str:
    """Return the message that records the list of schemas in a group's comment."""
    return _comment(user.group, user, admin, f"{SCHEMAS}{', '.join(schemas)}" if schemas else "")


def _grant(group: str, member: str, version: int) -> str:
    options = " WITH INHERIT TRUE, SET TRUE" if version >= _SET_OPTION_SINCE else ""
    return f"GRANT {quoted(group)} TO {quoted(member)}{options}"


def of_other_databases(connection: Connection, database: str) -> list[str]:
    """Return a warning of roles made for another database that have privileges in this one; reads only."""
    literal = connection.literal
    query = _OF_OTHER_DATABASES.format(any_mark=literal(ANY_MARK), mark=literal(mark(database)))
    names = ", ".join(quoted(name) for (name,) in connection.rows(query))
    what = f"{names}: made for another database, with privileges in this one (database copy?)"
    return [f"{what}; REVOKE_PUBLIC_CONNECT=true keeps their logins out"] if names else []


def unconfigured(connection: Connection, users: Sequence[User], database: str) -> list[str]:
    """Return a warning of roles that earlier deploys created and that are no longer configured; reads only."""
    names = [name for user in users if user.declared for name in user.names]
    if names:
        names += [user.group for user in users]  # all groups exist as long as there is any user
    wanted = ", ".join(map(connection.literal, (*names, "none")))
    rows = connection.rows(_UNCONFIGURED.format(mark=connection.literal(mark(database)), names=wanted))
    if not rows:
        return []
    found = [quoted(name) for (name,) in rows]
    how = 'README.md, "Users", has how to drop a role that nothing uses'
    if not names:  # a shell, perhaps, that names the database and none of the secrets that the deploys have
        return [f"made by earlier deploys, and not configured here: {', '.join(found)}; {how}"]
    shut_out = "; ".join(f"ALTER ROLE {name} NOLOGIN" for name in found)
    what = f"no longer configured, still exists: {', '.join(found)}; {how}"
    return [f"{what}; to shut it out first, which LOGIN undoes: {shut_out}"]
