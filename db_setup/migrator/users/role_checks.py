"""Role checks: which existing roles are taken over for the users, and which are refused.

A role with our comment was created by an earlier run. Any other may have attributes, members and passwords that the
configured user would gain, or lose to others; it is taken over only if it has none of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from migrator.errors import UserRefused
from migrator.formatting import quoted
from migrator.users.names import ANY_MARK, IAM_ROLE, SCHEMAS, User, mark_text
from migrator.users.roles import Admin, Role, is_ours


def check(users: Sequence[User], admin: Admin, roles: dict[str, Role]) -> None:
    """Raise UserRefused for a role that cannot be created, or that exists and cannot be taken over."""
    if not admin.can_create_roles:
        fix = f"as a superuser: ALTER ROLE {quoted(admin.name)} CREATEROLE"
        raise UserRefused(f"the user {quoted(admin.name)} may not create users", fix=fix)
    for user in users:
        for name in user.names:
            if name in roles:
                _check_role(roles[name], user, admin)


def _check_role(role: Role, user: User, admin: Admin) -> None:
    what = f"the role {quoted(role.name)} already exists, and "
    fix = f"set DB_{user.kind.upper()}_{'ROLE' if role.name == user.group else 'LOGIN'} to another name"
    if role.privileged:
        raise UserRefused(f"{what}may do more than a limited user (superuser, CREATEROLE or the like)", fix=fix)
    if role.of_another_database:
        raise UserRefused(f"{what}was {_origin(role)}", fix=fix)
    if not is_ours(role, admin):
        _check_foreign_role(role, user, admin, what, fix)
    if role.can_login and role.name == user.group:
        raise UserRefused(f"{what}can log in, which a group must not", fix=fix)
    if not role.grantable:
        why = f"{quoted(admin.name)} may not administer it"
        raise UserRefused(what + why, fix=f"GRANT {quoted(role.name)} TO {quoted(admin.name)} WITH ADMIN OPTION")


def _check_foreign_role(role: Role, user: User, admin: Admin, what: str, fix: str) -> None:
    """Refuse a role without our comment that has, or gives to others, more than what is configured."""
    if role.comment.startswith(ANY_MARK):  # for a database that was dropped or renamed
        what += f"was {_origin(role)}, which is gone, and "
        take_over = f"COMMENT ON ROLE {quoted(role.name)} IS {mark_text(user.kind, admin.database)}"
        fix += f"; or, if it is this database's: {take_over}"
    if role.owns:
        raise UserRefused(f"{what}owns objects, so it is in use", fix=fix)
    if groups := further_groups(role, user):
        raise UserRefused(f"{what}is a member of {_names(groups)}", fix=f"{fix}; or revoke that from it")
    if members := list(unexpected_members(role, user, admin)):
        raise UserRefused(f"{what}has the members {_names(members)}", fix=f"{fix}; or revoke it from them")


def _origin(role: Role) -> str:
    return role.comment.partition(SCHEMAS)[0].rpartition(":")[0]


def _names(names: Sequence[str]) -> str:
    return ", ".join(map(quoted, names))


def further_groups(role: Role, user: User) -> list[str]:
    """Return the groups that a role is in, without the configured one."""
    allowed = () if role.name == user.group else (user.group, IAM_ROLE)
    return [name for name in role.memberships if name not in allowed]


def unexpected_members(role: Role, user: User, admin: Admin) -> Iterator[str]:
    """Yield the members of a role that are neither logins of the user nor the admin."""
    known = (user.login, user.alternate) if role.name == user.group else ()
    yield from (name for name in role.members if name not in (*known, admin.name))


def warnings(users: Sequence[User], admin: Admin, roles: dict[str, Role]) -> Iterator[str]:
    """Yield warnings of what the existing roles have, or give, beyond the configuration."""
    for user in users:
        for role in (roles[name] for name in user.names if name in roles):
            if groups := further_groups(role, user):
                yield f"{quoted(role.name)} is also a member of {_names(groups)}, and has the privileges of it"
            if members := [name for name in unexpected_members(role, user, admin) if name not in role.marked_members]:
                yield f"{_names(members)} has the privileges of {quoted(role.name)}, as a member of it"
        if user.iam and not admin.has_iam:
            what = f"{quoted(user.login)} is to log in by IAM, and this server has no role {IAM_ROLE}"
            yield f"{what}: nobody can log in as it"
