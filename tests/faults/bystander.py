"""The bystander: an application that goes on working in the database of a run, and notes what that does to it."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from typing import Self

import psycopg2

from tests.plugins.postgres import Database

TABLE_SQL = "CREATE TABLE app (id int PRIMARY KEY, n bigint NOT NULL); INSERT INTO app VALUES (1, 0)"
_PAUSE = 0.03  # seconds


class Bystander:
    """Changes a row of its own over and over, with a transaction that it keeps open for a while.

    Where the database has no table ``app``, it reads the catalog instead.
    """

    def __init__(self, database: Database, *, holds: float = _PAUSE) -> None:
        self.errors: list[str] = []
        self.committed = 0
        self.longest = 0.0
        """Seconds that a statement of it took, at most."""
        self._database = database
        self._holds = holds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Self:
        self._has_table = self._database.query("SELECT to_regclass('public.app') IS NOT NULL") == [(True,)]
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Work no more."""
        self._stopped.set()
        self._thread.join()

    def lost(self) -> int:
        """Return how many of its commits are not in the table."""
        if not self._has_table:
            return 0
        ((found,),) = self._database.query("SELECT n FROM app")
        return self.committed - int(found)

    def _work(self) -> None:
        try:
            with closing(psycopg2.connect(self._database.url, application_name="the application")) as session:
                while not self._stopped.is_set():
                    self._transact(session)
        except psycopg2.Error as error:
            self.errors.append(f"{type(error).__name__}: {' '.join(str(error).split())}")

    def _transact(self, session: psycopg2.extensions.connection) -> None:
        with session.cursor() as cursor:
            began = time.monotonic()
            cursor.execute("UPDATE app SET n = n + 1 WHERE id = 1" if self._has_table else "SELECT count(*) FROM pg_class")
            self.longest = max(self.longest, time.monotonic() - began)
        self._stopped.wait(self._holds)
        session.commit()
        self.committed += 1
        self._stopped.wait(_PAUSE)
