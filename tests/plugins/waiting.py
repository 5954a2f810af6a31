"""Waiting for what another thread, process or session does, for as long as a slow machine needs and no longer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from tests.plugins.postgres import Database

PATIENCE = 20.0  # seconds

# Not pg_stat_activity.wait_event_type, which is empty for a moment whenever a session that waits wakes up to look.
_BLOCKED = "SELECT 1 FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted AND datname = current_database()"


def wait_until(condition: Callable[[], object]) -> None:
    """Return as soon as a condition holds."""
    ends = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)


def is_blocked(database: Database) -> bool:
    """Return whether any session of a database waits for a lock."""
    return bool(database.query(_BLOCKED))


def wait_until_given_way(database: Database) -> None:
    """Return when a session has waited for a lock and does so no more, though nobody has released it."""
    wait_until(lambda: is_blocked(database))
    wait_until(lambda: not is_blocked(database))


@contextmanager
def concurrently(action: Callable[[], None]) -> Iterator[None]:
    """Run an action in a thread for as long as the block runs; what it raises is raised here."""
    raised: list[BaseException] = []

    def work() -> None:
        try:
            action()
        except BaseException as error:  # noqa: BLE001 - raised again below
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    yield
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert raised == []


def order_of_ends(database: Database, table: str, run: Callable[[], object]) -> list[str]:
    """Return what ends first, where a run is blocked by a transaction that has read a table, and a query comes after it.

    The transaction ends once the query has its answer, and after five seconds where it gets none.
    """
    ended: list[str] = []

    def ends(what: str, action: Callable[[], object]) -> threading.Thread:
        def work() -> None:
            action()
            ended.append(what)

        thread = threading.Thread(target=work)
        thread.start()
        return thread

    with closing(database.connect()) as other, other.cursor() as cursor:
        cursor.execute(f"BEGIN; SELECT FROM {table}")
        started = [ends("run", run)]
        wait_until(lambda: is_blocked(database))
        started.append(ends("query", lambda: database.query(f"SELECT count(*) FROM {table}")))
        started[-1].join(5)
        ended.append("transaction")
        cursor.execute("COMMIT")
    for thread in started:
        thread.join(PATIENCE)
    return ended
