"""The stage: a server of one's own behind a proxy, a nest of runs, and for each scenario databases to hit."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import NamedTuple, Self

import psycopg2
from migrator.cli.local_server import LocalServer

from tests.faults.runner import Ended, Nest, Runner
from tests.faults.scenarios import Scenario, Words
from tests.faults.site import Secrets
from tests.plugins.postgres import Database
from tests.plugins.proxy import Proxy

SETTINGS = {
    "fsync": "off", "full_page_writes": "off",  # not synchronous_commit: what is committed survives a crash of the server
    "max_connections": "150", "max_prepared_transactions": "10", "autovacuum": "off", "shared_buffers": "32MB",
    "wal_level": "minimal", "max_wal_senders": "0", "max_wal_size": "256MB", "password_encryption": "scram-sha-256",
}  # fmt: skip
TIMEOUT = 30  # seconds that a run has, where the fault does not want it shorter
BOUND = 5.0  # seconds, beyond the run's own, in which it has to be out
_RECOVERY = 30.0  # seconds
_ORPHAN = 12.0  # seconds after which the session of a run that is gone has to be gone, too
SESSIONS = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'db_setup%' AND pid <> pg_backend_pid()"
_SCRATCH = r"datname LIKE 'db_setup\_scratch\_%\_' || current_database()"


class Target(NamedTuple):
    """A database that a scenario's run works on, and the run's environment."""

    database: Database
    scenario: Scenario
    environ: Mapping[str, str]
    before: frozenset[tuple[str, str]]
    """What is applied before the run: files, with their checksums."""
    secrets: Secrets | None = None

    def applied(self) -> frozenset[tuple[str, str]]:
        """Return the files that the history says were run and are applied, wholly or still in part, with their checksums."""
        if self.database.query("SELECT to_regclass('db_setup.history')") == [(None,)]:
            return frozenset()
        ran = "state IN ('applied', 'reverting') AND mode IN ('transaction', 'stepwise')"
        return frozenset(self.database.query(f"SELECT name, checksum FROM db_setup.history WHERE {ran}"))

    def is_done(self) -> bool:
        """Return whether the scenario's own query says that a run that was cut off has been completed."""
        with suppress(psycopg2.errors.UndefinedTable):  # of the history
            return bool(self.scenario.done) and self.database.query(self.scenario.done) != []
        return False

    def sessions(self) -> list[int]:
        """Return the server's processes that work for runs in this database."""
        return [pid for (pid,) in self.database.query(f"{SESSIONS} AND (datname = current_database() OR {_SCRATCH})")]


class Stage:
    """Servers, proxy and nest of one lane; closed at the end."""

    def __init__(self, folder: Path, pgbin: str = "", settings: Mapping[str, str] = SETTINGS) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o711)
        self.folder = folder
        self._stack = ExitStack()
        self.server = LocalServer(folder / "postgres", settings, {"PGBIN": pgbin}).start()
        self._stack.callback(self.server.remove)
        self.proxy = self._stack.enter_context(Proxy(self.server))
        self._numbers = count(1)
        self._templates: dict[str, tuple[str, frozenset[tuple[str, str]]]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all of it."""
        self._stack.close()

    def use(self, server: LocalServer) -> None:
        """Go on with another server, which has the same databases."""
        self._stack.callback(server.remove)
        self.server = server

    @cached_property
    def nest(self) -> Nest:
        """What starts runs."""
        return self._stack.enter_context(Nest())

    @cached_property
    def secrets(self) -> Callable[[Database, tuple[str, ...]], Secrets]:
        """What makes secrets, in a Secrets Manager of this stage's own."""
        from tests.faults.site import SecretsManager

        return self._stack.enter_context(SecretsManager(self.server)).declare

    @property
    def home(self) -> Database:
        """The database from which others are made."""
        return Database(self.server, "postgres")

    def target(self, scenario: Scenario) -> Target:
        """Make a database as the scenario's run finds it."""
        name = f"target{next(self._numbers)}"
        if scenario.users:  # their roles bear the name of the database, so that it cannot be copied
            return self._with_users(scenario, name)
        template, before = self._template(scenario)
        self.home.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return Target(Database(self.server, name), scenario, self._environ(scenario), before)

    def drop(self, target: Target) -> None:
        """Remove a target with all that belongs to it."""
        name = target.database.name
        scratch = "SELECT datname FROM pg_database WHERE datname LIKE 'db_setup_scratch_%%' AND datname LIKE %s"
        for (left,) in self.home.query(scratch, f"%\\_{name}"):  # a run drops those of others when they are 5 minutes old
            self.home.drop(left)
        self.home.drop(name)
        if target.secrets is not None:
            target.secrets.remove()

    def start(self, target: Target, *, proxied: bool = False, words: Words = (), timeout: float = TIMEOUT) -> Runner:
        """Start the scenario's run, or other words, on a target, by way of the proxy or not."""
        given = {"MIGRATION_TIMEOUT": f"{timeout}s", **target.environ}
        if target.secrets is not None:
            given |= {"DB_HOST": str(self.proxy.folder)} if proxied else {}
        else:
            given["DATABASE_URL"] = self.proxy.url(target.database.name) if proxied else target.database.url
        return self.nest.start([*(words or target.scenario.words), "--json"], given)

    def run(self, target: Target, *, words: Words = ()) -> Ended:
        """Run without a fault, to the end."""
        return self.start(target, words=words).result(TIMEOUT + BOUND)

    def answers(self) -> None:
        """Wait until the server takes connections again."""
        ends = time.monotonic() + _RECOVERY
        while True:
            try:
                return self.home.execute("SELECT count(*) FROM pg_stat_activity; LOCK TABLE pg_class IN ACCESS SHARE MODE")
            except psycopg2.OperationalError:  # it is down, full, or has no memory for a lock
                assert time.monotonic() < ends
                time.sleep(0.02)

    def orphans_end(self, target: Target) -> bool:
        """Wait for the end of the sessions of a run that is gone; return whether it came in time."""
        ends = time.monotonic() + _ORPHAN
        while target.sessions():
            if time.monotonic() > ends:
                return False
            time.sleep(0.02)
        return True

    def _environ(self, scenario: Scenario) -> dict[str, str]:
        return {"MIGRATIONS_DIR": str(self._files(scenario.name, scenario.files)), **scenario.environ}

    def _files(self, name: str, files: Mapping[str, str]) -> Path:
        folder = self.folder / "files" / name.replace(" ", "_")
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
        return folder

    def _template(self, scenario: Scenario) -> tuple[str, frozenset[tuple[str, str]]]:
        key = str((scenario.earlier or scenario.files, scenario.before))
        if key not in self._templates:
            name = f"ready{len(self._templates)}"
            self.home.execute(f"CREATE DATABASE {name} TEMPLATE template0")
            earlier = self._files(f"{scenario.name} earlier", scenario.earlier or scenario.files)
            environ = {"MIGRATIONS_DIR": str(earlier), **scenario.environ}
            made = Target(Database(self.server, name), scenario, environ, frozenset())
            self._prepare(made)
            self._templates[key] = name, made.applied()
            assert self.orphans_end(made)
        return self._templates[key]

    def _prepare(self, target: Target) -> None:
        for step in target.scenario.before:
            if isinstance(step, str):
                target.database.execute(step)
                continue
            fails = step[0] == "fails"
            ended = self.run(target, words=step[fails:])
            assert (ended.status != 0) is fails, (target.scenario.name, step, ended)

    def _with_users(self, scenario: Scenario, name: str) -> Target:
        self.home.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        database = Database(self.server, name)
        secrets = self.secrets(database, scenario.users)
        made = Target(database, scenario, self._environ(scenario) | secrets.environ, frozenset(), secrets)
        self._prepare(made)
        assert self.orphans_end(made)
        return made._replace(before=made.applied())


def processes_of(parent: int) -> list[int]:
    """Return a process and its children."""
    found = [parent]
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            if f"PPid:\t{parent}\n" in (folder / "status").read_text():
                found.append(int(folder.name))
    return found


def send_all(pids: list[int], number: int) -> None:
    """Send a signal to processes, those that have ended apart."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


