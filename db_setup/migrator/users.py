"""Users: the roles of the limited users on the server, looked at and made to be as they are declared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from migrator.connection import Connection
from migrator.converge import SAFELY
from migrator.light import NamedTuple
from migrator.roles import IAM_ROLE, TABLE_CREATOR, User, UserRefused, mark, quoted

_SCHEMAS = "; schemas: "
_SET_OPTION_SINCE = 160000  # PostgreSQL 16 tells INHERIT, SET and ADMIN of a membership apart

_LOOK = SAFELY + """
SELECT r.rolname, r.rolcanlogin, r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls,
       EXISTS (SELECT FROM pg_shdepend d
               WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = r.oid AND d.deptype = 'o'),
       {admin_option}, coalesce(shobj_description(r.oid, 'pg_authid'), ''),
       EXISTS (SELECT FROM pg_database d WHERE d.datname <> current_database() AND starts_with(
           shobj_description(r.oid, 'pg_authid'),
           'made by db_setup for database "' || replace(d.datname, '"', '""') || '":')),
       ARRAY(SELECT g.rolname::text FROM pg_roles g WHERE g.rolname IN ({groups}) AND g.oid <> r.oid
             AND pg_has_role(r.oid, g.oid, 'USAGE') AND pg_has_role(r.oid, g.oid, '{member}')),
       ARRAY(SELECT pg_get_userbyid(m.roleid)::text FROM pg_auth_members m
             WHERE m.member = r.oid AND pg_get_userbyid(m.roleid) NOT IN ({groups}) ORDER BY 1),
       coalesce(r.rolconfig, '{{}}')::text[], has_database_privilege(r.oid, current_database(), 'CONNECT')
FROM pg_roles r WHERE r.rolname IN ({names})"""

_ADMIN = SAFELY + f"""
SELECT SESSION_USER::text, current_database()::text, rolsuper OR rolcreaterole,
       EXISTS (SELECT FROM pg_roles WHERE rolname = '{IAM_ROLE}')
FROM pg_roles WHERE rolname = SESSION_USER"""

_LEFT = SAFELY + """
SELECT r.rolname::text FROM pg_shdescription d JOIN pg_roles r ON r.oid = d.objoid
WHERE d.classoid = 'pg_authid'::regclass AND starts_with(d.description, {mark}) AND r.rolname NOT IN ({names})
ORDER BY 1"""


class Role(NamedTuple):
    """A role as the server has it; ``groups`` are those of ours that it may use."""

    name: str
    can_login: bool
    powerful: bool
    owns: bool
    ours_to_grant: bool
    comment: str
    of_another_database: bool
    groups: Sequence[str]
    other_groups: Sequence[str]
    settings: Sequence[str]
    connects: bool


class Admin(NamedTuple):
    """Who makes the users, and where."""

    name: str
    database: str
    makes_roles: bool
    knows_iam: bool


def look_at_admin(connection: Connection) -> Admin:
    """Return who asks; reads only."""
    return Admin(*connection.rows(_ADMIN)[0])


def look(connection: Connection, users: Sequence[User], admin: Admin) -> dict[str, Role]:
    """Return the roles of the users, and the admin's, by name, as far as they are there; reads only."""
    literal, names = connection.literal, [admin.name, *(name for user in users for name in user.names)]
    newer = connection.server_version >= _SET_OPTION_SINCE
    may_grant = "pg_has_role(SESSION_USER, r.oid, 'MEMBER WITH ADMIN OPTION')" if newer else "true"
    query = _LOOK.format(
        admin_option=may_grant,
        member="SET" if newer else "MEMBER",
        groups=", ".join(literal(name) for name in (*(user.group for user in users), IAM_ROLE)),
        names=", ".join(map(literal, names)),
    )
    return {row[0]: Role(*row) for row in connection.rows(query)}


def check(users: Sequence[User], admin: Admin, roles: dict[str, Role]) -> None:
    """Raise UserRefused for a role that cannot be made, or that is there and is not to be trusted."""
    if not admin.makes_roles:
        cure = f"as a superuser: ALTER ROLE {quoted(admin.name)} CREATEROLE"
        raise UserRefused(f"the user {quoted(admin.name)} may not make users", cure=cure)
    for user in users:
        for name in user.names:
            if name in roles:
                _check_role(roles[name], user, admin)


def _check_role(role: Role, user: User, admin: Admin) -> None:
    ours = role.comment.startswith(mark(admin.database))
    what = f"the role {quoted(role.name)} is there already, and "
    cure = f"set DB_{user.kind.upper()}_{'ROLE' if role.name == user.group else 'LOGIN'} to another name"
    if role.powerful:
        raise UserRefused(f"{what}may do more than a limited user (superuser, CREATEROLE or the like)", cure=cure)
    if role.of_another_database:
        raise UserRefused(f"{what}was {role.comment.partition(_SCHEMAS)[0].rpartition(':')[0]}", cure=cure)
    if role.owns and not ours:
        raise UserRefused(f"{what}owns things, so it is somebody else's", cure=cure)
    if role.can_login and role.name == user.group:
        raise UserRefused(f"{what}can log in, which a group is not to", cure=cure)
    if not role.ours_to_grant:
        why = f"{quoted(admin.name)} may not administer it"
        raise UserRefused(what + why, cure=f"GRANT {quoted(role.name)} TO {quoted(admin.name)} WITH ADMIN OPTION")


def missing(
    users: Sequence[User], admin: Admin, roles: dict[str, Role], alternates: frozenset[str], version: int
) -> Iterator[str]:
    """Yield the messages that make roles and memberships what is declared; each is a transaction.

    ``alternates`` are second logins that are to be there, too.
    """
    for user in users:
        if user.group not in roles:
            yield f"CREATE ROLE {quoted(user.group)} NOLOGIN; {_comment(user.group, user, admin)}"
        elif not roles[user.group].comment.startswith(mark(admin.database)):
            yield _comment(user.group, user, admin)
        elif user.kind == TABLE_CREATOR and user.group not in roles[admin.name].groups:
            yield _grant(user.group, admin.name, version)  # to give and to take away what the creators own
        if user.group in roles and not roles[user.group].connects:  # a new password is tried before the other grants
            yield f"GRANT CONNECT ON DATABASE {quoted(admin.database)} TO {quoted(user.group)}"
        for login in user.logins if user.declared else ():
            if login == user.login or login in alternates or login in roles:
                yield from _missing_login(login, user, admin, roles.get(login), version)


def _missing_login(login: str, user: User, admin: Admin, role: Role | None, version: int) -> Iterator[str]:
    if role is None:
        yield f"CREATE ROLE {quoted(login)} LOGIN; {_comment(login, user, admin)}"
    elif not role.comment.startswith(mark(admin.database)):
        yield _comment(login, user, admin)
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
    text = f"{mark(admin.database)} {user.kind}{more}".replace("'", "''")
    return f"COMMENT ON ROLE {quoted(name)} IS '{text}'"


def remembered_schemas(user: User, admin: Admin, roles: dict[str, Role]) -> tuple[str, ...]:
    """Return the list of schemas that the last deploy used, as the comment of a group keeps it; none means all."""
    kept = roles[user.group].comment.removeprefix(mark(admin.database)).partition(_SCHEMAS)[2]
    return tuple(kept.split(", ")) if kept else ()


def remember_schemas(user: User, admin: Admin, schemas: Sequence[str]) -> str:
    """Return the message that lets a group's comment keep the list of schemas."""
    return _comment(user.group, user, admin, f"{_SCHEMAS}{', '.join(schemas)}" if schemas else "")


def _grant(group: str, member: str, version: int) -> str:
    options = " WITH INHERIT TRUE, SET TRUE" if version >= _SET_OPTION_SINCE else ""
    return f"GRANT {quoted(group)} TO {quoted(member)}{options}"


def warnings(users: Sequence[User], admin: Admin, roles: dict[str, Role]) -> Iterator[str]:
    """Yield what a person should know of the roles that are there."""
    for user in users:
        for name in user.names:
            if name in roles and roles[name].other_groups:
                others = ", ".join(map(quoted, roles[name].other_groups))
                yield f"{quoted(name)} is also a member of {others}, and has the privileges of it"
        if user.iam and not admin.knows_iam:
            yield f"{quoted(user.login)} is to log in by IAM, and this server has no role {IAM_ROLE}: nobody can be it"


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
