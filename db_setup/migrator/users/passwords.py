"""Passwords: from a secret to a login that works, in an order that leaves a working login whenever a run dies.

Stage in the secret, set in the database, test by logging in, promote. The next run, whatever its action, finishes a
version that was staged and not promoted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from migrator.context import RunContext
from migrator.database import Connection, connect
from migrator.database.secrets_manager import CURRENT, UserSecret, Version
from migrator.errors import LoginRefused, SecretError, UserRefused
from migrator.formatting import printable, quoted
from migrator.users.names import User
from migrator.users.reconcile import retry_on_conflict

_RANDOM_BYTES = 32  # 43 characters of the URL-safe alphabet, which RDS, libpq and URLs accept unescaped
_PLACE = ("engine", "host", "port", "dbInstanceIdentifier", "dbClusterIdentifier")


class Passwords:
    """The password of one user, and the secret that holds it."""

    def __init__(self, context: RunContext, user: User) -> None:
        """Read the secret; raises SecretError or UserRefused for one that cannot be used. Writes nothing."""
        self._context = context
        self._user = user
        self.secret = UserSecret(user.secret)
        self._check()

    def _check(self) -> None:
        admin, secret = self._context.credentials(), self.secret
        if self._context.admin_secret_name in secret.known_as:
            raise SecretError(
                f"the secret {secret.name} is the admin's own", fix=f"name another one for the {self._user.kind}"
            )
        if secret.current is not None and secret.current.value.get("username") == admin.user:
            raise SecretError(
                f"the secret {secret.name} holds the name of the admin, {quoted(admin.user)}",
                fix="name the secret that is to hold the limited user's credentials",
            )
        secret.check_size(self._value(self._user.alternate, "x" * 64))
        if self._context.request.action != "rotate":
            self._refuse_other_places()

    def _refuse_other_places(self) -> None:
        """Raise UserRefused for the credentials of another database, whose applications may use them."""
        current = self.secret.current
        if current is None or self._staged() is not None:
            return
        if _differs(current, "dbname", self._context.credentials().name):
            where = f"the database {quoted(str(current.value['dbname']))}"
        elif self._is_own(current) and self._names_other_host(current) and not self._logs_in(current):
            where = f"the host {current.value['host']}, and does not log in here"
        else:
            return
        kind = self._user.kind
        move = f'if this database is what was moved: {{"action": "rotate", "user": "{kind}"}} writes the secret for it'
        fix = f"name another secret for the {kind}; {move}"
        raise UserRefused(printable(f"the secret {self.secret.name} is for {where}"), fix=fix)

    def _names_other_host(self, version: Version) -> bool:
        return _differs(version, "host", self._value("", "")["host"])

    def _staged(self) -> Version | None:
        """Return the version that an earlier run has staged for this database, if it can be used."""
        pending = self.secret.pending
        if (
            pending is None
            or not self._is_own(pending)
            or _differs(pending, "dbname", self._context.credentials().name)
        ):
            return None
        return None if self._names_other_host(pending) and not self._logs_in(pending) else pending

    @property
    def logins(self) -> frozenset[str]:
        """The logins of the user in the secret, current or staged."""
        versions = (self.secret.current, self.secret.pending)
        return frozenset(str(each.value["username"]) for each in versions if each is not None and self._is_own(each))

    def verified_logins(self, logins: Collection[str]) -> Iterator[str]:
        """Yield those of the logins whose password in the secret works."""
        for version in (self.secret.current, self._staged()):
            login = "" if version is None else str(version.value.get("username", ""))
            if version is not None and login in logins and self._is_own(version) and self._logs_in(version):
                yield login

    @property
    def foreign_login(self) -> str:
        """The login of the current version when it is not one of the user's, as an earlier tool may have left it."""
        current = self.secret.current
        name = current.value.get("username") if current is not None else ""
        return name if isinstance(name, str) and name not in self._user.logins else ""

    @property
    def foreign_version(self) -> str:
        """A description of a staged version without credentials of the user, as a rotation by AWS may leave it."""
        pending = self.secret.pending
        if pending is None or self._is_own(pending):
            return self.secret.unusable
        what = f"has a staged version (AWSPENDING) that is not of {quoted(self._user.login)}"
        return f"the secret {self.secret.name} {what}"

    @property
    def host_is_outdated(self) -> bool:
        """Whether the current version names another host, as after a restore to a new server."""
        current = self.secret.current
        if current is None or not self._is_own(current) or not self._context.admin_place(["host"]):
            return False
        return bool(current.value.get("host") != self._value("", "")["host"])

    def ensure(self, connection: Connection, make_login: Callable[[str], None]) -> str:
        """Make the secret hold credentials that log in; return the login whose password was set, if any was.

        Credentials that log in are left alone, but a staged version is finished.
        """
        current, pending = self.secret.current, self._staged()
        if pending is not None:
            unchanged = current is not None and current.id == pending.id and self._logs_in(pending)
            login = self._finish(connection, pending, make_login)
            return "" if unchanged else login
        if current is not None and self._is_own(current):
            if self._logs_in(current):
                return ""
            login = str(current.value["username"])
        else:
            login = self._user.login
        return self._finish(connection, self._stage(login, _new_token()), make_login, new=True)

    def rotate(self, connection: Connection, make_login: Callable[[str], None], token: str) -> str:
        """Give the other login a new password and make it the current one; return its name.

        With the ``token`` of a rotation that died it finishes that one, and does not rotate a second time.
        """
        stage, current, pending = self.secret.version(token), self.secret.current, self._staged()
        if stage == CURRENT and current is not None:
            return self._finish(connection, current, make_login)
        if pending is not None and (current is None or pending.id != current.id):
            return self._finish(connection, pending, make_login)
        now = current.value["username"] if current is not None and self._is_own(current) else ""
        login = self._user.alternate if now == self._user.login else self._user.login
        staged = self._stage(login, _new_token() if stage else token)
        return self._finish(connection, staged, make_login, new=True)

    def _stage(self, login: str, token: str) -> Version:
        import secrets  # noqa: PLC0415 - only a run that makes a password needs it

        return self.secret.stage(self._value(login, secrets.token_urlsafe(_RANDOM_BYTES)), token)

    def _finish(
        self, connection: Connection, version: Version, make_login: Callable[[str], None], *, new: bool = False
    ) -> str:
        login, password = str(version.value["username"]), str(version.value["password"])
        make_login(login)
        if new or not self._logs_in(version):
            verifier = connection.literal(connection.verifier(password, login))
            change = f"ALTER ROLE {quoted(login)} LOGIN PASSWORD {verifier} VALID UNTIL 'infinity'"
            retry_on_conflict(self._context.deadline, lambda: connection.run(change))
            if not self._logs_in(version):
                raise UserRefused(
                    f"the new password of {quoted(login)} does not log in",
                    fix="check pg_hba.conf for this user; the password stays staged, and the next run finishes it",
                )
        self.secret.promote(version)
        return login

    def _is_own(self, version: Version) -> bool:
        """Return whether a version holds complete credentials of one of the user's logins, fit to be sent."""
        if version.value.get("username") not in self._user.logins:
            return False
        password = version.value.get("password")
        return isinstance(password, str) and password.isprintable() and password.isascii() and bool(password)

    def _logs_in(self, version: Version) -> bool:
        """Return whether the credentials log in; raises ServerUnfit when the server does not answer that."""
        credentials = self._context.credentials()._replace(
            user=str(version.value["username"]), password=str(version.value["password"])
        )
        try:
            connect(
                credentials, self._context.settings.lock_timeout, self._context.deadline, self._context.request_id
            ).close()
        except LoginRefused:
            return False
        return True

    def _value(self, login: str, password: str) -> dict[str, Any]:
        """Return the JSON in the form of RDS, with all other keys that the secret has now."""
        place, current = self._context.credentials(), self.secret.current
        existing: Mapping[str, Any] = current.value if current else {}
        server = {"engine": "postgres", "host": place.host, "port": place.port, **self._context.admin_place(_PLACE)}
        return {**existing, **server, "dbname": place.name, "username": login, "password": password}


def _differs(version: Version, key: str, expected: str) -> bool:
    """Return whether a version has another text than the expected one under a key."""
    named = version.value.get(key)
    return isinstance(named, str) and named not in ("", expected)


def _new_token() -> str:
    import secrets  # noqa: PLC0415 - see above

    return secrets.token_hex(16)


def rotation_token(database: str, run_id: int, started: str, kind: str) -> str:
    """Return the name of the version that a rotation makes: the same when a rotation that died is run again."""
    return hashlib.sha256(f"{database}/{run_id}/{started}/{kind}".encode()).hexdigest()[:32]
