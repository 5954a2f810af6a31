"""The example's migrations in a database that psql has built: adopted as far as it has, the rest applied, verified."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from migrator.cli.local_server import LocalServer

from tests.plugins.databases import Database
from tests.plugins.postgres import client_program
from tests.plugins.project import EXAMPLES, with_extension
from tests.plugins.runs import Invoke


@pytest.fixture
def own_examples(examples: Path, database: Database) -> Iterator[Path]:
    """Return the example with roles of this test's own, which the server does not have; they go with the test."""
    with_extension(examples, database)
    prefix = f"{database.name}_"
    for path in examples.iterdir():
        path.write_text(path.read_text("utf-8").replace("example_", prefix), "utf-8")
    yield examples
    roles = [name for (name,) in database.query("SELECT rolname FROM pg_roles WHERE starts_with(rolname, %s)", prefix)]
    for role in roles:
        database.execute(f'DROP OWNED BY "{role}"; DROP ROLE "{role}"')


@pytest.mark.parametrize("count", [2, len(EXAMPLES)], ids=["the first two", "all"])
def test_example_is_adopted(
    invoke: Invoke, database: Database, own_examples: Path, server: LocalServer, count: int
) -> None:  # fmt: skip
    """What psql has run is recorded and not run again, what it has not run is applied, and nothing has drifted."""
    for name in EXAMPLES[:count]:
        psql: list[str | Path] = [client_program(server, "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", own_examples / name, database.url]
        subprocess.run(psql, check=True, capture_output=True)
    where = {"MIGRATIONS_DIR": str(own_examples)}
    assert "unknown until adopt" in invoke({"action": "plan"}, **where)["message"]
    body = invoke(**where)
    assert [item["name"] for item in body["adopted_migrations"]] == list(EXAMPLES[:count])
    assert body["applied_migrations"] == list(EXAMPLES[count:])
    assert database.query("SELECT count(*) FROM products") == [(2,)]
    found = invoke({"action": "verify"}, **where)
    assert (found["state"], found["differences"]) == ("up_to_date", [])
