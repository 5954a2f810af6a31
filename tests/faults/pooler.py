"""PgBouncer between the proxy and the server of a stage."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.stage import Stage
from tests.plugins.pgbouncer import Pool, runnable_program

_SETTINGS: dict[str, object] = {"server_idle_timeout": 0.5}
"""The oracle waits for the end of all sessions of a run, those too that the pool keeps."""


@contextmanager
def between(stage: Stage, mode: str) -> Iterator[None]:
    """Have all that goes by way of the proxy pass a pool while the block runs."""
    folder = Path(tempfile.mkdtemp(prefix="pool-", dir=stage.folder))
    pool = Pool(stage.server, runnable_program(stage.folder), folder, mode, _SETTINGS)
    stage.proxy.lead_to(pool.socket_folder)
    try:
        yield
    finally:
        stage.proxy.lead_to(stage.server.socket_folder)
        pool.close()
