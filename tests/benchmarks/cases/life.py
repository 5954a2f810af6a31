"""The rest of a schema's life: files rehearsed, a database adopted, and a database verified."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from migrator.cli.local_server import LocalServer

from tests.benchmarks.figures import Figure
from tests.benchmarks.folders import folder_of_defaults, folder_of_tables
from tests.benchmarks.processes import Comparison, Cost, compare, handler, interleave
from tests.benchmarks.server import new_database

_MOST_ADOPT = 2.0  # times applying the same files
_MOST_VERIFY = 20.0  # seconds
_MOST_GROWTH = 2.5  # times verifying half as many tables: linear, with some margin
_MOST_REHEARSE = 0.005  # seconds a statement, beyond running it
_REHEARSE, _ADOPT, _VERIFY = "{'action': 'rehearse'}", "{'action': 'adopt', 'confirm': True}", "{'action': 'verify'}"


def measure(server: LocalServer, *, quick: bool) -> Iterator[Figure]:
    """Measure 300 files, each with a table, or with a change that no count shows; and verify up to 500 tables."""
    rounds = 2 if quick else 7
    with folder_of_defaults(300) as folder:
        found = _wall(partial(_on_empty, server, folder, "{}"), partial(_on_unknown, server, folder), rounds)
        yield Figure("adopt 300 edits", "handler", "to apply", "ms", found.measured, _MOST_ADOPT, found.floor, found.ratio)
    with folder_of_tables(300) as folder:
        apply = partial(_on_empty, server, folder, "{}")
        rehearse, adopt = partial(_on_empty, server, folder, _REHEARSE), partial(_on_unknown, server, folder)
        found = _wall(apply, adopt, rounds)
        yield Figure("adopt 300 files", "handler", "to apply", "ms", found.measured, _MOST_ADOPT, found.floor, found.ratio)
        found = _wall(apply, rehearse, rounds)
        each = found.difference / 300
        yield Figure("rehearse 300 files", "handler", "a statement", "ms", each, _MOST_REHEARSE)
    with folder_of_tables(250) as half, folder_of_tables(500) as whole:
        found = _wall(partial(_on_built, server, half), partial(_on_built, server, whole), rounds)
        yield Figure("verify 500 tables", "handler", "time", "s", found.measured, _MOST_VERIFY)
        yield Figure("verify 500 tables", "handler", "to 250", "s", found.measured, _MOST_GROWTH, found.floor, found.ratio)


def _wall(floor: Callable[[], Cost], subject: Callable[[], Cost], rounds: int) -> Comparison:
    return compare(interleave(floor, {"handler": subject}, rounds)["handler"], lambda cost: cost.wall)


def _on_empty(server: LocalServer, folder: Path, event: str) -> Cost:
    with new_database(server) as database:
        return handler(database.url, folder, event).run()


def _on_unknown(server: LocalServer, folder: Path) -> Cost:
    """Adopt a database that has the tables of the files and no history."""
    with new_database(server) as database:
        handler(database.url, folder).run()
        database.execute("DROP SCHEMA db_setup CASCADE")
        cost = handler(database.url, folder, _ADOPT).run()
        if database.query("SELECT count(*) FROM db_setup.history") != [(len(list(folder.iterdir())),)]:
            raise RuntimeError("not all files were adopted")
    return cost


def _on_built(server: LocalServer, folder: Path) -> Cost:
    with new_database(server) as database:
        handler(database.url, folder).run()
        return handler(database.url, folder, _VERIFY).run()
