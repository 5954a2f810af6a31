"""Trust: which roles that are there already may be used as ours, and which are refused.

A role that bears our mark was made by an earlier run. Any other may hold powers, members and passwords that the
declared user would get, or get from it; it is taken only if it has none of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from migrator.errors import UserRefused
from migrator.formatting import quoted
from migrator.users.names import ANY_MARK, IAM_ROLE, SCHEMAS, User, mark_text
from migrator.users.roles import Admin, Role, is_ours


def check(users: Sequence[User], admin: Admin, roles: dict[str, Role]) -> None:
    """Raise UserRefused for a role that cannot be made, or that is there and is not to be trusted."""
    if not admin.makes_roles:
        fix = f"as a superuser: ALTER ROLE {quoted(admin.name)} CREATEROLE"
        raise UserRefused(f"the user {quoted(admin.name)} may not make users", fix=fix)
    for user in users:
        for name in user.names:
            if name in roles:
                _check_role(roles[name], user, admin)


def _check_role(role: Role, user: User, admin: Admin) -> None:
    what = f"the role {quoted(role.name)} is there already, and "
    fix = f"set DB_{user.kind.upper()}_{'ROLE' if role.name == user.group else 'LOGIN'} to another name"
    if role.powerful:
        raise UserRefused(f"{what}may do more than a limited user (superuser, CREATEROLE or the like)", fix=fix)
    if role.of_another_database:
        raise UserRefused(f"{what}was {_maker(role)}", fix=fix)
    if not is_ours(role, admin):
        _check_stranger(role, user, admin, what, fix)
    if role.can_login and role.name == user.group:
        raise UserRefused(f"{what}can log in, which a group is not to", fix=fix)
    if not role.ours_to_grant:
        why = f"{quoted(admin.name)} may not administer it"
        raise UserRefused(what + why, fix=f"GRANT {quoted(role.name)} TO {quoted(admin.name)} WITH ADMIN OPTION")


def _check_stranger(role: Role, user: User, admin: Admin, what: str, fix: str) -> None:
    """Refuse a role without our mark that gives, or is given, more than what is declared."""
    if role.comment.startswith(ANY_MARK):  # of a database that is not there: it was dropped, or renamed
        what += f"was {_maker(role)}, which is gone, and "
        adopted = f"COMMENT ON ROLE {quoted(role.name)} IS {mark_text(user.kind, admin.database)}"
        fix += f"; or, if it is this database's: {adopted}"
    if role.owns:
        raise UserRefused(f"{what}owns things, so it is somebody else's", fix=fix)
    if groups := further_groups(role, user):
        raise UserRefused(f"{what}is a member of {_names(groups)}", fix=f"{fix}; or revoke that from it")
    if members := list(unexpected_members(role, user, admin)):
        raise UserRefused(f"{what}has the members {_names(members)}", fix=f"{fix}; or revoke it from them")


def _maker(role: Role) -> str:
    return role.comment.partition(SCHEMAS)[0].rpartition(":")[0]


def _names(names: Sequence[str]) -> str:
    return ", ".join(map(quoted, names))


def further_groups(role: Role, user: User) -> list[str]:
    """Return the groups a role is in beside the one it is to be in."""
    allowed = () if role.name == user.group else (user.group, IAM_ROLE)
    return [name for name in role.memberships if name not in allowed]


def unexpected_members(role: Role, user: User, admin: Admin) -> Iterator[str]:
    """Yield the members of a role that are neither logins of the user nor the admin."""
    known = (user.login, user.alternate) if role.name == user.group else ()
    yield from (name for name in role.members if name not in (*known, admin.name))


def warnings(users: Sequence[User], admin: Admin, roles: dict[str, Role]) -> Iterator[str]:
    """Yield what a person should know of the roles that are there."""
    for user in users:
        for role in (roles[name] for name in user.names if name in roles):
            if groups := further_groups(role, user):
                yield f"{quoted(role.name)} is also a member of {_names(groups)}, and has the privileges of it"
            if members := [name for name in unexpected_members(role, user, admin) if name not in role.marked_members]:
                yield f"{_names(members)} has the privileges of {quoted(role.name)}, as a member of it"
        if user.iam and not admin.knows_iam:
            yield f"{quoted(user.login)} is to log in by IAM, and this server has no role {IAM_ROLE}: nobody can be it"
