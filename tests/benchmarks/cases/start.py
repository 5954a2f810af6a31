"""What the handler adds to the driver before it can answer anything."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from migrator.cli.local_server import LocalServer

from tests.benchmarks import PRODUCT
from tests.benchmarks.figures import Figure
from tests.benchmarks.folders import folder_of_nothing
from tests.benchmarks.processes import compare, handler, interleave, python
from tests.benchmarks.server import new_database

_MOST_CPU = 0.040  # seconds
_STATUS = '{"action": "status"}'
# Fails, and so ends the benchmark, when something has imported what only a secret is worth.
_WITHOUT_BOTO3 = f"""
import sys, initializer
initializer.handler({_STATUS}, None)
sys.exit(bool(sys.modules.keys() & {{"boto3", "botocore"}}))
"""


def measure(server: LocalServer, *, quick: bool) -> Iterator[Figure]:
    """Measure the answer to status against the import of psycopg2 alone."""
    with folder_of_nothing(10) as folder, new_database(server) as database:
        url = database.url
        handler(url, folder).run()
        driver = python("import psycopg2", PRODUCT)
        runs = {"handler": handler(url, folder, _STATUS).run}
        pairs = interleave(driver.run, runs, 7 if quick else 41)["handler"]
        found = compare(pairs, lambda cost: cost.cpu)
        figure = partial(Figure, "status", "handler")
        yield figure("CPU over psycopg2's", "ms", found.difference, _MOST_CPU, found.floor)
        yield figure("imports of boto3", "", _imports_of_boto3(url, folder), 0)


def _imports_of_boto3(url: str, folder: Path) -> int:
    """Return 1 when status imports boto3; a module of that name makes sure that it can."""
    with tempfile.TemporaryDirectory() as stub:
        (Path(stub) / "boto3.py").touch()
        environ = {"DATABASE_URL": url, "MIGRATIONS_DIR": str(folder), "PYTHONPATH": stub}
        try:
            python(_WITHOUT_BOTO3, PRODUCT, **environ).run()
        except RuntimeError:
            return 1
    return 0
