"""Passwords: from a secret to a login that works, in an order that leaves a working login whenever a run dies.

Stage in the secret, make it work in the database, try it by logging in, promote. What is staged and not promoted is
carried on with by the next run, whatever that was asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from migrator.context import RunContext
from migrator.database.connection import Connection, connect
from migrator.database.secrets_manager import CURRENT, UserSecret, Version
from migrator.errors import LoginRefused, SecretError, UserRefused
from migrator.formatting import printable, quoted
from migrator.users.names import User
from migrator.users.reconcile import retry_on_conflict

_RANDOM_BYTES = 32  # 43 characters of the URL-safe alphabet, which RDS, libpq and URLs take as they are
_PLACE = ("engine", "host", "port", "dbInstanceIdentifier", "dbClusterIdentifier")


class Passwords:
    """The password of one user, and the secret that holds it."""

    def __init__(self, context: RunContext, user: User) -> None:
        """Read the secret; raises SecretError for one that cannot be used. Nothing is written."""
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
        secret.check_room(self._filled(self._user.alternate, "x" * 64))
        if self._context.request.action != "rotate":
            self._refuse_other_places()

    def _refuse_other_places(self) -> None:
        """Raise UserRefused for the credentials of another database, which applications of it may be using."""
        current = self.secret.current
        if current is None or self._staged() is not None:
            return
        if _differs(current, "dbname", self._context.credentials().name):
            where = f"the database {quoted(str(current.value['dbname']))}"
        elif self._ours(current) and self._other_host(current) and not self._works(current):
            where = f"the host {current.value['host']}, and does not log in here"
        else:
            return
        kind = self._user.kind
        move = f'if this database is what was moved: {{"action": "rotate", "user": "{kind}"}} writes the secret for it'
        fix = f"name another secret for the {kind}; {move}"
        raise UserRefused(printable(f"the secret {self.secret.name} is for {where}"), fix=fix)

    def _other_host(self, version: Version) -> bool:
        return _differs(version, "host", self._filled("", "")["host"])

    def _staged(self) -> Version | None:
        """Return what an earlier run has staged for this database, if it is of use here."""
        pending = self.secret.pending
        if pending is None or not self._ours(pending) or _differs(pending, "dbname", self._context.credentials().name):
            return None
        return None if self._other_host(pending) and not self._works(pending) else pending

    @property
    def logins(self) -> frozenset[str]:
        """Return the logins of ours that the secret holds, now or staged."""
        versions = (self.secret.current, self.secret.pending)
        return frozenset(str(each.value["username"]) for each in versions if each is not None and self._ours(each))

    def proven(self, logins: Collection[str]) -> Iterator[str]:
        """Yield those of the logins whose password is in the secret, and works."""
        for version in (self.secret.current, self._staged()):
            login = "" if version is None else str(version.value.get("username", ""))
            if version is not None and login in logins and self._ours(version) and self._works(version):
                yield login

    @property
    def stranger(self) -> str:
        """Return the user of the current version when that is not one of ours, as an earlier tool may have left it."""
        current = self.secret.current
        name = current.value.get("username") if current is not None else ""
        return name if isinstance(name, str) and name not in self._user.logins else ""

    @property
    def not_ours(self) -> str:
        """Return what is staged in the secret and no credentials of ours, as a rotation by AWS may leave it."""
        pending = self.secret.pending
        if pending is None or self._ours(pending):
            return self.secret.unusable
        what = f"has a staged version (AWSPENDING) that is not of {quoted(self._user.login)}"
        return f"the secret {self.secret.name} {what}"

    @property
    def elsewhere(self) -> str:
        """Return what in the current version leads to another place, as after a restore to a new server."""
        current, ours = self.secret.current, self._filled("", "")
        if current is None or not self._ours(current) or not self._context.admin_place(["host"]):
            return ""
        return "host" if current.value.get("host") != ours["host"] else ""

    def settle(self, connection: Connection, make_login: Callable[[str], None]) -> str:
        """Make the secret hold credentials that work; return the login whose password was set, if any was.

        Credentials that work are left alone; but what is staged is finished.
        """
        current, pending = self.secret.current, self._staged()
        if pending is not None:
            known = current is not None and current.id == pending.id and self._works(pending)
            login = self._finish(connection, pending, make_login)
            return "" if known else login
        if current is not None and self._ours(current):
            if self._works(current):
                return ""
            login = str(current.value["username"])
        else:
            login = self._user.login
        return self._finish(connection, self._stage(login, _new_token()), make_login, new=True)

    def rotate(self, connection: Connection, make_login: Callable[[str], None], token: str) -> str:
        """Give the other login a new password and make it the current one; return its name.

        With the ``token`` of a rotation that died it carries on with that one, and rotates no second time.
        """
        stands, current, pending = self.secret.version(token), self.secret.current, self._staged()
        if stands == CURRENT and current is not None:
            return self._finish(connection, current, make_login)
        if pending is not None and (current is None or pending.id != current.id):
            return self._finish(connection, pending, make_login)
        was = current.value["username"] if current is not None and self._ours(current) else ""
        login = self._user.alternate if was == self._user.login else self._user.login
        staged = self._stage(login, _new_token() if stands else token)
        return self._finish(connection, staged, make_login, new=True)

    def _stage(self, login: str, token: str) -> Version:
        import secrets  # noqa: PLC0415 - a run that makes no password needs none

        return self.secret.stage(self._filled(login, secrets.token_urlsafe(_RANDOM_BYTES)), token)

    def _finish(
        self, connection: Connection, version: Version, make_login: Callable[[str], None], *, new: bool = False
    ) -> str:
        login, password = str(version.value["username"]), str(version.value["password"])
        make_login(login)
        if new or not self._works(version):
            verifier = connection.literal(connection.verifier(password, login))
            change = f"ALTER ROLE {quoted(login)} LOGIN PASSWORD {verifier} VALID UNTIL 'infinity'"
            retry_on_conflict(self._context.deadline, lambda: connection.run(change))
            if not self._works(version):
                raise UserRefused(
                    f"the new password of {quoted(login)} does not log in",
                    fix="check pg_hba.conf for this user; the password stays staged, and the next run goes on with it",
                )
        self.secret.promote(version)
        return login

    def _ours(self, version: Version) -> bool:
        """Tell whether a version holds credentials of one of our logins, complete and fit to be sent."""
        if version.value.get("username") not in self._user.logins:
            return False
        password = version.value.get("password")
        return isinstance(password, str) and password.isprintable() and password.isascii() and bool(password)

    def _works(self, version: Version) -> bool:
        """Tell whether the credentials log in; raises ServerUnfit when that cannot be told."""
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

    def _filled(self, login: str, password: str) -> dict[str, Any]:
        """Return the JSON that RDS understands, with what else the secret holds now."""
        place, current = self._context.credentials(), self.secret.current
        theirs: Mapping[str, Any] = current.value if current else {}
        ours = {"engine": "postgres", "host": place.host, "port": place.port, **self._context.admin_place(_PLACE)}
        return {**theirs, **ours, "dbname": place.name, "username": login, "password": password}


def _differs(version: Version, key: str, ours: str) -> bool:
    """Tell whether a version names a place, and not ours; what is no text names none."""
    named = version.value.get(key)
    return isinstance(named, str) and named not in ("", ours)


def _new_token() -> str:
    import secrets  # noqa: PLC0415 - see above

    return secrets.token_hex(16)


def rotation_token(database: str, run_id: int, started: str, kind: str) -> str:
    """Return the name of the version that a rotation makes: the same when a dead rotation is carried on with."""
    return hashlib.sha256(f"{database}/{run_id}/{started}/{kind}".encode()).hexdigest()[:32]
