"""A reader for each test of a document."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from migrator.cli.local_server import LocalServer

from tests.docs.reader import ADDRESSES, Reader
from tests.plugins.databases import Database

MakeReader = Callable[..., Reader]


@pytest.fixture
def make_reader(server: LocalServer, database: Database, scratch: Path, tmp_path: Path) -> Iterator[MakeReader]:
    """Make readers with a project folder of their own; a local server that one has started is removed."""
    made: list[Reader] = []

    def make(*names: str, others: Sequence[Database] = (), **environ: str) -> Reader:
        urls = dict(zip(ADDRESSES, [each.url for each in (database, *others)], strict=False))
        home = scratch / f"{tmp_path.parent.name}-{tmp_path.name}"  # the server's account gets in there
        reader = Reader(home / "project", urls, environ, server.binaries.folder)
        reader.settle(*names)
        made.append(reader)
        return reader

    yield make
    for reader in made:
        LocalServer(reader.folder / ".local" / "postgres").remove()
