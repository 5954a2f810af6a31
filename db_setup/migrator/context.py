"""What one invocation has: settings, request, credentials, time, and a listener. The entry points make it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from migrator.database import Credentials, Deadline, credentials
from migrator.errors import InvalidSetting, LoginRefused, ServerAway
from migrator.events import Listener
from migrator.files import Folder, default_path, read_folder
from migrator.request import Request
from migrator.settings import Settings

if TYPE_CHECKING:
    from migrator.database import Connection

_PATIENCE, _PATIENCE_HERE = 60.0, 5.0  # seconds; a server that fails over takes up to a minute
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 2.0  # seconds
OTHER_SECRET = "the users are left as they are: the event names a secret other than DB_SECRET_NAME"


class RunContext:
    """One invocation: its settings and request, the time it has, and who listens to its events."""

    def __init__(
        self, settings: Settings, request: Request, base: str | os.PathLike[str], deadline: Deadline, listen: Listener,
        request_id: str,
    ) -> None:  # fmt: skip
        self.settings = settings
        self.request = request
        self.warnings: list[str] = []
        if request.secret_name not in ("", settings.secret_name) and settings.declares_users:
            self.settings = settings._replace(create_users=False)  # their secrets belong to the function's own database
            self.warnings.append(OTHER_SECRET)
        self.provisions_users = self.settings.declares_users
        self.base = base
        self.deadline = deadline
        self.listen = listen
        self.request_id = request_id
        self.started = time.monotonic()
        self.has_supervised = False
        """Whether a run has been supervised: before that, nothing was done that cannot be done again."""
        self.acknowledge: Callable[[], None] | None = None
        """What the entry point calls once the caller has the answer, if anything; it raises nothing."""
        self._credentials: Credentials | None = None
        self._admin_secret: dict[str, Any] = {}

    def warn(self, text: str) -> None:
        """Add a warning, once: a run on another connection finds the same again."""
        if text not in self.warnings:
            self.warnings.append(text)

    def read_folder(self) -> Folder:
        """Read the migrations folder that the settings name, or the one next to the code."""
        named = self.settings.migrations_dir
        return read_folder(named or default_path(self.base), self.settings.environment)

    def credentials(self) -> Credentials:
        """Return whom the request says to connect as, and how; read once."""
        if self._credentials is None:
            self._credentials, warning = credentials.secured(self._find_credentials(), self.settings, self.base)
            if warning:
                self.warn(warning)
        return self._credentials

    def connect(self, database: str = "", patience: float | None = None) -> Connection:
        """Open a session with the credentials of the request; ``database`` names another one on the server.

        A server that may be there in a moment is tried again, for ``patience`` seconds within the run's time; without,
        for a minute, a server of this machine for a few seconds. A secret is read once more where its password is
        refused, since it may be rotated just now. Raises ServerUnfit and its kinds.
        """
        if patience is None:
            patience = _PATIENCE_HERE if self.credentials().is_local else _PATIENCE
        return _patiently(partial(self._connect_as_now, database), self.deadline.within(patience), self._waiting)

    def _waiting(self, reason: str) -> None:
        self.listen("connection.waiting", {"reason": reason})

    def _connect_as_now(self, database: str) -> Connection:
        tried = self.credentials()
        try:
            return self._connect_once(database)
        except LoginRefused:
            self._credentials = None
            if not self.admin_secret_name or self.credentials() == tried:
                raise
        return self._connect_once(database)

    def _connect_once(self, database: str) -> Connection:
        found = self.credentials()._replace(name=database) if database else self.credentials()
        if self.settings.iam_auth:
            if found.is_socket:
                raise InvalidSetting("DB_IAM_AUTH is set, and the host is a socket", fix="IAM is for RDS: set DB_HOST")
            from migrator.database import secrets_manager  # noqa: PLC0415 - like boto3, for those who use IAM

            found = found._replace(
                password=secrets_manager.iam_token(found.host, found.port, found.user)
            )  # good for 15 minutes
        from migrator.database import connect  # noqa: PLC0415 - the driver, for those who have a database

        return connect(found, self.settings.lock_timeout, self.deadline, self.request_id)

    @property
    def admin_secret_name(self) -> str:
        """The name or ARN of the secret that this run connects with, if there is one."""
        if self.settings.database_url and not self.request.secret_name:
            return ""
        return self.request.secret_name or self.settings.secret_name

    def admin_place(self, keys: Iterable[str]) -> dict[str, Any]:
        """Return what the admin's secret says under some keys."""
        return {key: self._admin_secret[key] for key in keys if key in self._admin_secret}

    def _find_credentials(self) -> Credentials:
        settings = self.settings
        if secret := self.admin_secret_name:
            from migrator.database import secrets_manager  # noqa: PLC0415 - like boto3, for those who read secrets

            self._admin_secret = secrets_manager.read_secret(secret)
            return credentials.from_secret(self._admin_secret, secret, settings)
        if settings.database_url:
            return credentials.from_url(settings.database_url)
        return credentials.from_variables(settings)

    def elapsed_ms(self) -> int:
        """Return the milliseconds since the context was made."""
        return int((time.monotonic() - self.started) * 1000)


def _patiently(
    attempt: Callable[[], Connection], deadline: Deadline, waiting: Callable[[str], None]
) -> Connection:  # fmt: skip
    """Return the first session that an attempt opens; one that finds the server away is followed by another.

    ``waiting`` is called with the reason once. Raises what the last one raises at the deadline.
    """
    pause, told = _FIRST_PAUSE, False
    while True:
        try:
            return attempt()
        except ServerAway as error:
            if not deadline.pause(pause):
                raise
            if not told:
                waiting(error.what)
            pause, told = min(pause * 2, _LONGEST_PAUSE), True
