"""A deploy that makes limited users: empty secrets go in, users that can log in come out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest

from tests.chain.chain import Chain
from tests.plugins.databases import Database

SECRETS = {"MigrationsUserSecret": "user", "MigrationsTableCreatorSecret": "table_creator", "MigrationsReadonlySecret": "readonly"}
WRITE, CREATE = "INSERT INTO customers VALUES (2, 'Grace')", "CREATE TABLE notes (text text)"
MAY = {"user": [WRITE], "table_creator": [WRITE, CREATE], "readonly": []}


@pytest.fixture(autouse=True)
def _roles_go_with_the_test(database: Database) -> Iterator[None]:
    """Drop what belongs to the whole server: the next database of this name must not find it."""
    yield
    database.execute(
        "DO $$ DECLARE name text; BEGIN FOR name IN SELECT rolname FROM pg_roles "
        "WHERE shobj_description(oid, 'pg_authid') LIKE '%database \"' || current_database() || '\"%' LOOP "
        "EXECUTE format('DROP OWNED BY %I CASCADE; DROP ROLE %I', name, name); END LOOP; END $$"
    )


def _try(secret: dict[str, str], statement: str) -> bool:
    """Return whether the user of a secret may do something, which is rolled back."""
    with closing(psycopg2.connect(
        host=secret["host"], port=secret["port"], dbname=secret["dbname"], user=secret["username"],
        password=secret["password"],
    )) as connection, connection.cursor() as cursor:  # fmt: skip
        cursor.execute("SELECT name FROM customers")
        assert cursor.fetchall() == [("Ada",)]
        try:
            cursor.execute(statement)
        except psycopg2.errors.InsufficientPrivilege:
            return False
        return True


@pytest.mark.parametrize("construct", SECRETS)
def test_the_secret_of_a_limited_user_works(chain: Chain, database: Database, construct: str) -> None:
    """After the first deploy each secret logs in, may do what its kind may, and cannot see the history."""
    assert chain.deploy("users") == "CREATE_COMPLETE", chain.reason
    _, secret = chain.secret(construct)
    may = [statement for statement in (WRITE, CREATE) if _try(secret, statement)]
    assert may == MAY[SECRETS[construct]]
    assert not _try(secret, "SELECT * FROM db_setup.history")
    assert secret["username"] not in {"", "shop_admin"}


def test_a_second_deploy_keeps_the_passwords(chain: Chain, database: Database) -> None:
    """Secrets that work are left as they are; a table that is new can be read at once."""
    chain.deploy("users")
    before = [chain.secret(construct) for construct in SECRETS]
    assert chain.deploy("users-next") == "UPDATE_COMPLETE"
    assert [chain.secret(construct) for construct in SECRETS] == before
    for _, secret in before:
        assert _try(secret, "SELECT * FROM invoices")
        assert secret["password"] not in chain.service.output()
