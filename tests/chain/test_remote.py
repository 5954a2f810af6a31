"""``python db_setup ACTION --function NAME``: the deployed function answers as a local run on its database does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.chain.chain import Chain
from tests.chain.template import REGION
from tests.plugins.databases import Database, MakeDatabase
from tests.plugins.runs import Cli, Done


@pytest.fixture
def remote(chain: Chain, cli: Cli) -> Cli:
    """Run the command line on the deployed function, with nothing but AWS in its environment."""

    def run(*words: str) -> Done:
        environ = {
            "AWS_ENDPOINT_URL_LAMBDA": chain.service.url, "AWS_DEFAULT_REGION": REGION, "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing", "DATABASE_URL": "", "MIGRATIONS_DIR": "",
        }  # fmt: skip
        return cli(*words, "--function", chain.function_name, **environ)

    return run


def package(chain: Chain) -> Path:
    """Return the folder of migrations in the package of the function."""
    return chain.service.versions[f"{chain.function_arn}:1"].code / "migrations"


def timeless(done: Done) -> Done:
    """Return what a command line has left, without the times that no two runs share."""
    out = re.sub(r' +\d+ ms|"duration_ms": \d+', " N ms", done.out)
    return done._replace(out=out)


def test_looking(chain: Chain, remote: Cli, cli: Cli) -> None:
    """Status and plan of the function are those of a local run on the same database: output and exit status."""
    chain.deploy("manual")
    here = {"MIGRATIONS_DIR": str(package(chain))}
    for words in (["status", "--check"], ["plan", "--target", "001"], ["plan", "--json", "--target", "77"]):
        assert timeless(remote(*words)) == timeless(cli(*words, **here))
    chain.invoke({"action": "migrate"})
    assert timeless(remote("status", "--json")) == timeless(cli("status", "--json", **here))


@pytest.mark.parametrize("name", ["manual", "manual-bad"])
def test_migrating(
    chain: Chain, remote: Cli, cli: Cli, database: Database, make_database: MakeDatabase, name: str
) -> None:
    """A migrate by the function, one that fails too, says and does what a local one on a like database does."""
    chain.deploy(name)
    other = make_database()
    there = remote("migrate", "--yes")
    here = cli("migrate", DATABASE_URL=other.url, MIGRATIONS_DIR=str(package(chain)))
    assert timeless(there) == timeless(here)
    assert there.status == (name == "manual-bad"), there
    names = "SELECT name, state FROM db_setup.history ORDER BY position"
    assert database.query(names) == other.query(names)
