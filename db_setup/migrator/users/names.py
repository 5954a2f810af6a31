"""Names: the roles of the limited users, and of the groups that hold their privileges. Pure.

Roles belong to the server, not to a database: their names derive from the database's name, so that two databases on
one server share none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from migrator.errors import InvalidRequest, InvalidSetting
from migrator.formatting import printable, quoted
from migrator.settings import Settings

USER, TABLE_CREATOR, READONLY = "user", "table_creator", "readonly"
IAM_ROLE = "rds_iam"
ANY_MARK = "made by db_setup for database "
SCHEMAS = "; schemas: "  # in a group's comment, before the list of the last deploy
MAX_BYTES = 63  # PostgreSQL cuts longer names silently, and two of them become one
_DEFAULTS = {
    USER: ("_readwrite", "_user"),
    TABLE_CREATOR: ("_table_creator", "_creator"),
    READONLY: ("_readonly", "_reader"),
}
_RESERVED = frozenset({"public", "none"})
_RESERVED_BEGINNINGS = ("pg_", "rds")


class User(NamedTuple):
    """One kind of limited user of a database: the group with its privileges, the login and how that authenticates."""

    kind: str
    group: str
    login: str
    secret: str
    iam: bool

    @property
    def declared(self) -> bool:
        """Whether there is to be a login at all; the group is created in any case, for migrations to grant to."""
        return bool(self.secret or self.iam)

    @property
    def alternate(self) -> str:
        """The second login, which every other rotation switches to."""
        return f"{self.login}_b"

    @property
    def logins(self) -> tuple[str, ...]:
        """The logins it may have."""
        return (self.login,) if self.iam else (self.login, self.alternate)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all its roles."""
        return (self.group, *self.logins) if self.declared else (self.group,)


def users_of(settings: Settings, database: str, admin: str) -> tuple[User, ...]:
    """Return the three kinds of users, declared or not.

    Raises InvalidSetting for a name that is too long, reserved, the admin's or used twice.
    """
    users = []
    for given in settings.users:
        if given.secret and given.iam:
            raise InvalidSetting(
                f"DB_IAM_USERS names {given.kind}, and a secret for it is set",
                fix="an IAM user has no password: set only one of the two",
            )
        group, login = (f"{database}{suffix}" for suffix in _DEFAULTS[given.kind])
        users.append(User(given.kind, given.role or group, given.login or login, given.secret, given.iam))
    _check_names(users, admin)
    return tuple(users)


def chosen(users: tuple[User, ...], named: str) -> tuple[User, ...]:
    """Return the users with passwords that a request names by kind or login; all for none. Raises InvalidRequest."""
    with_password = tuple(user for user in users if user.secret)
    found = tuple(user for user in with_password if not named or named in (user.kind, *user.logins))
    if not found:
        what = f'no user "{printable(named)}" has a secret' if named else "no user has a secret"
        known = ", ".join(user.kind for user in with_password)
        raise InvalidRequest(
            what, fix=f"send one of: {known}" if known else "set DB_USER_SECRET_NAME, or another user's"
        )
    return found


def _check_names(users: list[User], admin: str) -> None:
    seen: dict[str, str] = {admin: "the admin's, who creates the users"}
    for name, variable in _names(users):
        shown = f'the role name "{printable(name)}"'
        fix = f"set {variable} to another name"
        if problem := _problem(name):
            raise InvalidSetting(f"{shown} {problem}", fix=fix)
        if name in seen:
            raise InvalidSetting(f"{shown} is {seen[name]}", fix=fix)
        seen[name] = f"also that of {variable}"


def _names(users: list[User]) -> Iterator[tuple[str, str]]:
    """Yield every name with the variable that sets it."""
    for user in users:
        yield user.group, f"DB_{user.kind.upper()}_ROLE"
        for login in user.logins if user.declared else ():
            yield login, f"DB_{user.kind.upper()}_LOGIN"


def _problem(name: str) -> str:
    """Return what is wrong with a role's name, if anything is."""
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "is not valid UTF-8"
    if size > MAX_BYTES:
        return f"is {size} bytes long, and PostgreSQL allows {MAX_BYTES}"
    if "\x00" in name:
        return "holds a NUL character"
    if name.lower() in _RESERVED or name.lower().startswith(_RESERVED_BEGINNINGS):
        return "is reserved"
    return ""


def mark(database: str) -> str:
    """Return the beginning of a role's comment, which names the database that it was made for."""
    return f"{ANY_MARK}{quoted(database)}:"


def mark_text(kind: str, database: str, more: str = "") -> str:
    """Return a role's comment as an SQL literal."""
    text = f"{mark(database)} {kind}{more}"
    return "'" + text.replace("'", "''") + "'"
