"""A deploy that fails: the reason that CloudFormation shows, the rollback, and a database with nothing half done."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

from tests.chain.chain import Chain, MakeChain
from tests.chain.database import AT_THE_GATE, SESSIONS, history, invoices, open_gate
from tests.chain.provider import MAX_ANSWER
from tests.plugins.databases import Database
from tests.plugins.waiting import wait_until


def test_bad_sql(chain: Chain, database: Database) -> None:
    """The reason begins with file, line and column; the old version is invoked by the rollback and finds all in order."""
    chain.deploy("base")
    assert chain.deploy("bad") == "UPDATE_ROLLBACK_COMPLETE"
    assert [answer.status for answer in chain.answers] == ["SUCCESS", "FAILED", "SUCCESS"]
    assert chain.reason.startswith('Error: 003_bad.sql:3:3  column "nmae" does not exist (42703)')
    assert "Fix: check the spelling of the column" in chain.reason
    assert max(answer.size for answer in chain.answers) <= MAX_ANSWER
    assert chain.calls() == ["1", "2", "1"]
    assert chain.events("Application") == []
    assert history(database) == ["001_customers.sql", "002_first_customer.sql"]
    assert invoices(database) is None
    assert chain.deploy("next") == "UPDATE_COMPLETE"
    assert invoices(database) == [1]


def test_bad_sql_in_the_first_deploy(chain: Chain, database: Database) -> None:
    """A first deploy that fails is rolled back without another invocation, and no application goes live."""
    assert chain.deploy("bad") == "ROLLBACK_COMPLETE"
    assert [answer.status for answer in chain.answers] == ["FAILED", "SUCCESS"]
    assert chain.calls() == ["1"]
    assert chain.events("Application") == []
    assert history(database) == ["001_customers.sql", "002_first_customer.sql"]


def test_crash_of_the_runtime(chain: Chain, database: Database) -> None:
    """A function that dies in a migration fails the deploy; nothing of the file stays, and a new deploy applies it."""
    chain.deploy("base")
    with ThreadPoolExecutor(1) as pool:
        deploy = pool.submit(chain.deploy, "gated", function_timeout=60)
        wait_until(lambda: database.query(AT_THE_GATE) == [(1,)])
        chain.service.environments[-1].process.kill()
        assert deploy.result() == "UPDATE_ROLLBACK_COMPLETE"
    assert "Error: Runtime exited with error: signal: killed" in chain.reason
    assert chain.calls() == ["1", "2", "1"]
    wait_until(lambda: database.query(SESSIONS) == [(0,)])  # what the dead function had begun, the server has ended
    assert invoices(database) is None
    open_gate(database)
    assert chain.deploy("gated") == "UPDATE_COMPLETE"
    assert invoices(database) == [1, 2]


def test_lambda_timeout(chain: Chain, database: Database) -> None:
    """A function that cannot leave a migration in time is ended by Lambda, and the deploy fails; nothing stays."""
    chain.deploy("base")
    assert chain.deploy("stubborn", function_timeout=5) == "UPDATE_ROLLBACK_COMPLETE"
    assert "Error: Task timed out after 5.00 seconds" in chain.reason
    assert chain.service.events("migration.started")[-1]["migration"] == "003_stubborn.sql"
    assert chain.calls() == ["1", "2", "1"]
    assert invoices(database) is None
    assert history(database) == ["001_customers.sql", "002_first_customer.sql"]


def test_own_deadline(chain: Chain, database: Database) -> None:
    """Before Lambda would end it, the function leaves by itself and says what is applied and what to do."""
    chain.deploy("base")
    assert chain.deploy("gated", function_timeout=3) == "UPDATE_ROLLBACK_COMPLETE"
    assert "the time for this run is over" in chain.reason
    assert "[deadline_reached]" in chain.reason
    assert chain.calls() == ["1", "2", "1"]
    assert invoices(database) is None
    assert database.query("SELECT outcome FROM db_setup.runs ORDER BY id") == [("succeeded",), ("failed",)]


def test_database_that_is_not_reached(make_chain: MakeChain, database: Database) -> None:
    """A database that does not answer fails the deploy with the address that was tried, and what to check."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        host, port = closed.getsockname()
        chain = make_chain((host, port))
        assert chain.deploy("base") == "ROLLBACK_COMPLETE"
    assert chain.reason.startswith(f'Error: no connection to database "{database.name}" at 127.0.0.1:{port}')
    assert "Fix: check host, port, security groups" in chain.reason
    assert "[connection_failed]" in chain.reason


def test_secrets_manager_that_does_not_answer(make_chain: MakeChain) -> None:
    """Without a way to Secrets Manager the function is ended by Lambda's timeout, and the deploy fails."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        chain = make_chain(secrets=f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert chain.deploy("base", function_timeout=1) == "ROLLBACK_COMPLETE"
    assert "Error: Task timed out after 1.00 seconds" in chain.reason
