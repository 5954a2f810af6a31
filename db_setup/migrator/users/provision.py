"""Provisioning of the limited users: everything that one run does about them, in its order.

``check`` reads and refuses before anything is changed, ``prepare`` creates roles and passwords and ``grant`` grants
before the migrations run, ``finish`` repeats both after them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from migrator.context import RunContext
from migrator.database import Connection
from migrator.errors import UserRefused
from migrator.formatting import printable, quoted
from migrator.scripts import Script
from migrator.users import grants, role_checks
from migrator.users import roles as server_roles
from migrator.users.names import User, users_of
from migrator.users.passwords import Passwords
from migrator.users.reconcile import reconcile


class UserProvisioner:
    """Provisions the users that the context's settings name, under the run lock."""

    def __init__(self, context: RunContext) -> None:
        """Raise InvalidSetting for names that cannot be used."""
        credentials = context.credentials()
        self._context = context
        self._settings = context.settings
        self.users = users_of(context.settings, credentials.name, credentials.user)
        self.changes = 0
        self._new_passwords: list[str] = []
        self._passwords: list[tuple[User, Passwords]] = []
        self._warnings: list[str] = []
        self._grant_warnings: tuple[str, ...] = ()

    def preview(self, connection: Connection) -> tuple[str, tuple[str, ...]]:
        """Return which users would be created, and warnings; reads no secret and writes nothing."""
        admin = server_roles.read_admin(connection)
        roles = server_roles.read_roles(connection, self.users, admin)
        new = [_shown(user, user.login) for user in self.users if user.declared and user.login not in roles]
        remark = f"Users to be made: {', '.join(new)}." if new else ""
        warnings = (*role_checks.warnings(self.users, admin, roles), *self._unused_roles(connection))
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
        unmarked = [name for name, role in roles.items() if not server_roles.is_ours(role, self._admin)]
        self._verified_logins = frozenset(
            login for _, passwords in self._passwords for login in passwords.verified_logins(unmarked)
        )

    def _check_schemas(self, connection: Connection, pending: Sequence[Script]) -> None:
        """Refuse a listed schema that is not there, unless a file that is about to run mentions it."""
        listed = self._settings.schemas
        rows = connection.rows("SELECT nspname FROM pg_catalog.pg_namespace") if listed else []
        found = {name for (name,) in rows}
        for name in listed:
            if name not in found and not any(script.mentions(name) for script in pending):
                raise UserRefused(
                    f"there is no schema {quoted(name)}", fix="correct DB_SCHEMAS, or create the schema in a migration"
                )

    @contextmanager
    def around(self, connection: Connection) -> Iterator[None]:
        """Provision the users before the migrations of a run, which may SET ROLE, and again after them."""
        self.prepare(connection)
        self.grant(connection)
        yield
        connection.run(connection.reset_sql())
        self.finish(connection)

    def prepare(self, connection: Connection) -> None:
        """Make groups, logins and passwords as configured; what works is left alone."""
        self._make_roles(connection, self._logins)
        for user, passwords in self._passwords:
            if login := passwords.foreign_login:
                what = f"the secret {user.secret} held the user {quoted(login)}, who stays and can still log in"
                self._warnings.append(what)
            if passwords.foreign_version:
                self._warnings.append(f"a staged version is ignored: {passwords.foreign_version}")
            self._record_password(user, passwords.ensure(connection, self._make_login(connection)))
            if passwords.host_is_outdated:
                self._warnings.append(f"the secret {user.secret} names another host; rotate writes this one")
        connection.take_notices()  # else they would count as a migration's

    def rotate(self, connection: Connection, chosen: Sequence[User], token: Callable[[str], str]) -> None:
        """Give the chosen users new passwords on their other logins; ``token`` names the version for each kind."""
        self._make_roles(connection, self._logins)
        self.grant(connection)
        for user, passwords in self._passwords:
            if user in chosen:
                login = passwords.rotate(connection, self._make_login(connection), token(user.kind))
                self._record_password(user, login)

    @property
    def _logins(self) -> frozenset[str]:
        return frozenset().union(*(passwords.logins for _, passwords in self._passwords))

    def _make_login(self, connection: Connection) -> Callable[[str], None]:
        return lambda login: self._make_roles(connection, frozenset({login}))

    def _make_roles(self, connection: Connection, logins: frozenset[str]) -> None:
        def read_missing() -> list[str]:
            roles = server_roles.read_roles(connection, self.users, self._admin)
            version, verified = connection.server_version, self._verified_logins
            return list(server_roles.missing(self.users, self._admin, roles, logins, version, verified_logins=verified))

        self.changes += reconcile(connection, self._context.deadline, read_missing)

    def _record_password(self, user: User, login: str) -> None:
        shown = _shown(user, login)
        if login and shown not in self._new_passwords:
            self.changes += 1
            self._new_passwords.append(shown)
            self._context.listen("user.password", {"user": login, "kind": user.kind})

    def grant(self, connection: Connection) -> None:
        """Grant the groups their privileges on all existing objects, and by default on future ones."""
        found: list[grants.Grants] = []
        schemas, revoke = self._settings.schemas, self._settings.revoke_public_connect

        def read_missing() -> Sequence[str]:
            admin = self._admin.name
            found.append(grants.read_grants(connection, self.users, schemas, admin, revoke_connect=revoke))
            return (*found[-1].messages, *self._schema_changes(connection))

        if number := reconcile(connection, self._context.deadline, read_missing):
            self.changes += number
            self._context.listen("user.grants", {"statements": number})
        connection.take_notices()  # else they would count as a migration's
        self._grant_warnings = found[-1].warnings

    def _schema_changes(self, connection: Connection) -> list[str]:
        """Return the messages for a list of schemas other than the last deploy's; later grants of migrations stay."""
        schemas, roles = self._settings.schemas, server_roles.read_roles(connection, self.users, self._admin)
        messages: list[str] = []
        for user in self.users:
            before = server_roles.recorded_schemas(user, self._admin, roles)
            if before != schemas:
                messages += grants.revokes_in_removed_schemas(connection, user, before, schemas)
                messages.append(server_roles.record_schemas(user, self._admin, schemas))
        return messages

    def finish(self, connection: Connection) -> None:
        """Repeat roles and grants, which migrations may have dropped, and collect the warnings."""
        before = self.changes
        self._make_roles(connection, self._logins)
        for user, passwords in self._passwords if self.changes > before else ():
            self._record_password(user, passwords.ensure(connection, self._make_login(connection)))
        self.grant(connection)
        self._check_schemas(connection, ())
        roles = server_roles.read_roles(connection, self.users, self._admin)
        self._warnings += [*role_checks.warnings(self.users, self._admin, roles), *self._grant_warnings]
        self._warnings += self._unused_roles(connection)

    def _unused_roles(self, connection: Connection) -> list[str]:
        database = self._context.credentials().name
        of_others = server_roles.of_other_databases(connection, database)
        if not connection.has_made_users:
            return of_others
        return [*of_others, *server_roles.unconfigured(connection, self.users, database)]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should know."""
        return tuple(map(printable, self._warnings))

    @property
    def remark(self) -> str:
        """What was done, in a sentence."""
        return printable(f"Passwords set: {', '.join(self._new_passwords)}.") if self._new_passwords else ""


def _check_distinct(passwords: Sequence[tuple[User, Passwords]]) -> None:
    seen: dict[str, str] = {}
    for user, of_user in passwords:
        for name in of_user.secret.known_as:
            if name in seen:
                raise UserRefused(
                    f"the secret {user.secret} is named for {seen[name]} and for {user.kind}",
                    fix="give each user a secret of its own",
                )
        seen.update((name, user.kind) for name in of_user.secret.known_as)


def _shown(user: User, login: str) -> str:
    return f"{quoted(login)} ({user.kind})"
