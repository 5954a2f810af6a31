"""A job: what one invocation is to do, and with what; the doors make it, the actions carry it out."""

from __future__ import annotations

import os
import time

from migrator import credentials, history, tls
from migrator.connection import Connection, connect
from migrator.credentials import Credentials
from migrator.deadline import Deadline
from migrator.folder import Folder, default_path, read_folder
from migrator.migration import AppliedMigration
from migrator.plan import Plan, Policy, make_plan
from migrator.report import Listener
from migrator.settings import Request, Settings


class Job:
    """One invocation: its settings and request, the time it has, and who listens to its events."""

    def __init__(
        self, settings: Settings, request: Request, base: str | os.PathLike[str], deadline: Deadline, listen: Listener,
        request_id: str,
    ) -> None:  # fmt: skip
        self.settings = settings
        self.request = request
        self.base = base
        self.deadline = deadline
        self.listen = listen
        self.request_id = request_id
        self.started = time.monotonic()
        self.warnings: list[str] = []
        self._credentials: Credentials | None = None

    def read_folder(self) -> Folder:
        """Read the migrations folder that the settings name, or the one beside the code."""
        named = self.settings.migrations_dir
        return read_folder(named or default_path(self.base))

    def connect(self, database: str = "") -> Connection:
        """Open a session with the credentials of the request, read once; ``database`` names another on the server."""
        if self._credentials is None:
            self._credentials, warning = tls.secured(self._find_credentials(), self.settings, self.base)
            self.warnings += [warning] if warning else []
        found = self._credentials._replace(name=database) if database else self._credentials
        return connect(found, self.settings.lock_timeout, self.deadline, self.request_id)

    def _find_credentials(self) -> Credentials:
        settings, named = self.settings, self.request.secret_name
        if settings.database_url and not named:
            return credentials.from_url(settings.database_url)
        if secret := named or settings.secret_name:
            from migrator import secret_store  # noqa: PLC0415 - like boto3, for those who read secrets

            return credentials.from_secret(secret_store.read_secret(secret), secret, settings)
        return credentials.from_variables(settings)

    def elapsed_ms(self) -> int:
        """Return the milliseconds since the job was made."""
        return int((time.monotonic() - self.started) * 1000)


class View:
    """One look at files and history, and the plan that follows from it; reads only.

    ``whole`` plans for all files, whatever target the request names.
    """

    def __init__(self, job: Job, folder: Folder, connection: Connection, *, whole: bool = False) -> None:
        self._job, self._folder, self._connection = job, folder, connection
        self._target = "" if whole else job.request.target
        self.plan = self._look(dates=False)
        if self.plan.problems:
            self.plan = self._look(dates=True)
        self.imported = self.applied if self.facts.first_generation else ()

    def _look(self, *, dates: bool) -> Plan:
        self.facts = history.read(self._connection, dates=dates)
        self.applied: tuple[AppliedMigration, ...] = self.facts.applied
        files, settings = self._folder.files, self._job.settings
        if self.facts.first_generation:
            from migrator import first_generation  # noqa: PLC0415 - once in the life of a database

            self.applied = first_generation.translate(first_generation.read_names(self._connection), files)
        policy = Policy(self._target, settings.strict_order, settings.allow_missing)
        return make_plan(files, self.applied, self.facts.has_tables, policy)

    @property
    def nothing_to_do(self) -> bool:
        """Tell whether a run would write nothing."""
        return not (self.plan.pending or self.plan.renames or self.imported or self.plan.problems)
