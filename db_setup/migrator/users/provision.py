"""The caretaker of the limited users: everything that one run does about them, in its order.

It looks and refuses before anything is touched, makes roles and passwords and gives the grants before the migrations
run, and gives the grants again after them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from migrator.context import RunContext
from migrator.database.connection import Connection
from migrator.errors import UserRefused
from migrator.formatting import printable, quoted
from migrator.scripts import Script
from migrator.users import grants, role_checks
from migrator.users import roles as server_roles
from migrator.users.names import User, users_of
from migrator.users.passwords import Passwords
from migrator.users.reconcile import reconcile


class UserProvisioner:
    """Cares for the users that the context's settings declare, on one connection, under the run lock."""

    def __init__(self, context: RunContext) -> None:
        """Raise InvalidSetting for names that cannot be used."""
        credentials = context.credentials()
        self._context = context
        self._settings = context.settings
        self.users = users_of(context.settings, credentials.name, credentials.user)
        self.changes = 0
        self.done: list[str] = []
        self._passwords: list[tuple[User, Passwords]] = []
        self._warnings: list[str] = []
        self._out_of_reach: tuple[str, ...] = ()

    def preview(self, connection: Connection) -> tuple[str, tuple[str, ...]]:
        """Return which users would be made, and warnings; reads no secret and writes nothing."""
        admin = server_roles.read_admin(connection)
        roles = server_roles.read_roles(connection, self.users, admin)
        new = [f'"{user.login}" ({user.kind})' for user in self.users if user.declared and user.login not in roles]
        remark = f"Users to be made: {', '.join(new)}." if new else ""
        warnings = (*role_checks.warnings(self.users, admin, roles), *self._left_over(connection))
        return printable(remark), tuple(map(printable, warnings))

    def check(self, connection: Connection, pending: Sequence[Script] = ()) -> None:
        """Read roles, secrets and schemas, and refuse what cannot be used; nothing is written."""
        self._warnings = []
        self._admin = server_roles.read_admin(connection)
        roles = server_roles.read_roles(connection, self.users, self._admin)
        role_checks.check(self.users, self._admin, roles)
        self._check_schemas(connection, pending)
        self._passwords = [(user, Passwords(self._context, user)) for user in self.users if user.secret]
        _check_distinct(self._passwords)
        unknown = [name for name, role in roles.items() if not server_roles.is_ours(role, self._admin)]
        self._proven = frozenset(login for _, kept in self._passwords for login in kept.proven(unknown))

    def _check_schemas(self, connection: Connection, pending: Sequence[Script]) -> None:
        """Refuse a listed schema that is not there, unless a file that is about to run mentions it."""
        listed = self._settings.schemas
        rows = connection.rows("SELECT nspname FROM pg_catalog.pg_namespace") if listed else []
        found = {name for (name,) in rows}
        for name in listed:
            if name not in found and not any(script.mentions(name) for script in pending):
                raise UserRefused(
                    f"there is no schema {quoted(name)}", fix="correct DB_SCHEMAS, or make the schema in a migration"
                )

    def prepare(self, connection: Connection) -> None:
        """Make groups, logins and passwords what is declared; what works is left alone."""
        self._make_roles(connection, self._logins)
        for user, kept in self._passwords:
            if kept.stranger:
                self._warnings.append(
                    f"the secret {user.secret} held the user {quoted(kept.stranger)}, who stays and can still log in"
                )
            if kept.not_ours:
                self._warnings.append(f"what is staged is left out of account: {kept.not_ours}")
            self._tell(user, kept.settle(connection, self._make_login(connection)))
            if kept.elsewhere:
                what = f"names another {kept.elsewhere}; rotate writes this one"
                self._warnings.append(f"the secret {user.secret} {what}")
        connection.take_notices()  # none of a migration's

    def rotate(self, connection: Connection, chosen: Sequence[User], token: Callable[[str], str]) -> None:
        """Give the chosen users new passwords on their other logins; ``token`` names a version for each kind."""
        self._make_roles(connection, self._logins)
        self.grant(connection)
        for user, kept in self._passwords:
            if user in chosen:
                self._tell(user, kept.rotate(connection, self._make_login(connection), token(user.kind)))

    @property
    def _logins(self) -> frozenset[str]:
        return frozenset().union(*(kept.logins for _, kept in self._passwords))

    def _make_login(self, connection: Connection) -> Callable[[str], None]:
        return lambda login: self._make_roles(connection, frozenset({login}))

    def _make_roles(self, connection: Connection, logins: frozenset[str]) -> None:
        def look() -> list[str]:
            roles = server_roles.read_roles(connection, self.users, self._admin)
            version, proven = connection.server_version, self._proven
            return list(server_roles.missing(self.users, self._admin, roles, logins, version, proven=proven))

        self.changes += reconcile(connection, self._context.deadline, look)

    def _tell(self, user: User, login: str) -> None:
        told = f'"{login}" ({user.kind})'
        if login and told not in self.done:
            self.changes += 1
            self.done.append(told)
            self._context.listen("user.password", {"user": login, "kind": user.kind})

    def grant(self, connection: Connection) -> None:
        """Give the groups their privileges on everything that is there now, and on what will be."""
        found: list[grants.Grants] = []
        schemas, revoke = self._settings.schemas, self._settings.revoke_public_connect

        def look() -> Sequence[str]:
            found.append(grants.read_grants(connection, self.users, schemas, revoke_connect=revoke))
            return (*found[-1].messages, *self._other_list(connection))

        if number := reconcile(connection, self._context.deadline, look):
            self.changes += number
            self._context.listen("user.grants", {"statements": number})
        connection.take_notices()  # none of a migration's
        self._out_of_reach = found[-1].warnings

    def _other_list(self, connection: Connection) -> list[str]:
        """Return what follows from another list of schemas than the last deploy's; what migrations granted stays."""
        schemas, roles = self._settings.schemas, server_roles.read_roles(connection, self.users, self._admin)
        messages: list[str] = []
        for user in self.users:
            before = server_roles.remembered_schemas(user, self._admin, roles)
            if before != schemas:
                messages += grants.out_of_list(connection, user, before, schemas)
                messages.append(server_roles.remember_schemas(user, self._admin, schemas))
        return messages

    def finish(self, connection: Connection) -> None:
        """Make roles and grants right once more, as migrations may drop them; look at what a person should know."""
        before = self.changes
        self._make_roles(connection, self._logins)
        for user, kept in self._passwords if self.changes > before else ():
            self._tell(user, kept.settle(connection, self._make_login(connection)))
        self.grant(connection)
        self._check_schemas(connection, ())
        roles = server_roles.read_roles(connection, self.users, self._admin)
        self._warnings += [*role_checks.warnings(self.users, self._admin, roles), *self._out_of_reach]
        self._warnings += self._left_over(connection)

    def _left_over(self, connection: Connection) -> list[str]:
        database = self._context.credentials().name
        left = server_roles.left_over(connection, self.users, database) if connection.has_made_users else []
        return [*server_roles.from_elsewhere(connection, database), *left]

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return what a person should know."""
        return tuple(map(printable, self._warnings))

    @property
    def remark(self) -> str:
        """Return what was done, in a sentence."""
        return printable(f"Passwords set: {', '.join(self.done)}.") if self.done else ""


def _check_distinct(passwords: Sequence[tuple[User, Passwords]]) -> None:
    seen: dict[str, str] = {}
    for user, kept in passwords:
        for name in kept.secret.known_as:
            if name in seen:
                raise UserRefused(
                    f"the secret {user.secret} is named for {seen[name]} and for {user.kind}",
                    fix="give each user a secret of its own",
                )
        seen.update((name, user.kind) for name in kept.secret.known_as)
