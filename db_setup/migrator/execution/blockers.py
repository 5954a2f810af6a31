"""Blockers: who holds the locks that a migration waits for. Looked up on a second connection while it waits."""

from __future__ import annotations

import threading
from collections.abc import Callable

from migrator.database import Connection
from migrator.errors import DbSetupError

_INTERVAL = 0.1  # seconds
_MOST = 5


class Blockers:
    """Samples who blocks the session of a pid, from now on until ``close``."""

    def __init__(self, connect: Callable[[], Connection], pid: int) -> None:
        self._connect = connect
        self._seen: dict[int, str] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, args=(pid,), name="db_setup blockers", daemon=True)
        self._thread.start()

    def names(self) -> str:
        """Return who was seen blocking, for people; empty when nobody was."""
        return f"; blocked by {', '.join(list(self._seen.values())[:_MOST])}" if self._seen else ""

    def close(self) -> None:
        """Stop sampling."""
        self._stop.set()
        self._thread.join()

    def _sample(self, pid: int) -> None:
        try:
            connection = self._connect()
        except DbSetupError as error:  # the names are a help, not worth failing for
            self._seen[0] = f"a session that could not be looked up ({error.code})"
            return
        try:
            while not self._stop.wait(_INTERVAL):
                self._look(connection, pid)
        except DbSetupError as error:
            self._seen[0] = f"a session that could not be looked up ({error.code})"
        finally:
            connection.close()

    def _look(self, connection: Connection, pid: int) -> None:
        rows = connection.rows(
            "SELECT pid, application_name, state FROM pg_catalog.pg_stat_activity "
            f"WHERE pid = ANY (pg_catalog.pg_blocking_pids({pid}))"
        )
        for blocker, name, state in rows:
            self._seen[blocker] = f'pid {blocker} (application "{name}", {state})'
