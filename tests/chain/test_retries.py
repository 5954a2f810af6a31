"""The SDK in the provider tries again: whatever it does, there is one set of changes, and every answer is true."""

from __future__ import annotations

from tests.chain.chain import Chain
from tests.chain.database import history, invoices, open_gate
from tests.chain.lambda_service import Fault
from tests.plugins.databases import Database
from tests.plugins.waiting import wait_until


def test_overlapping_invocations(chain: Chain, database: Database) -> None:
    """When the provider gives up waiting, three invocations overlap: one applies, two say that it is done already.

    The construct's own times exclude this; here the provider listens for one second.
    """
    chain.deploy("base")
    assert chain.deploy("gated", socket_timeout=1, function_timeout=60) == "UPDATE_ROLLBACK_COMPLETE"
    assert "TimeoutError" in chain.reason
    assert chain.calls() == ["1", "2", "2", "2", "1"]
    wait_until(lambda: chain.service.output().count('"event": "lock.waiting"') == 2)
    open_gate(database)
    chain.service.settle()
    said = [line["message"] for line in chain.finished() if line["final_revision"] == "003"]
    assert sorted(message.partition(".")[0] for message in said) == [
        "Applied 1 migration to reach 003", "Nothing to do: the database is up to date", "Nothing to do: the database is up to date",
    ]  # fmt: skip
    assert sum("Done meanwhile by run 2" in message for message in said) == 2
    assert invoices(database) == [1, 2]
    assert chain.deploy("gated") == "UPDATE_COMPLETE"
    assert chain.finished()[-1]["state"] == "up_to_date"


def test_throttled_and_cut_off(chain: Chain, database: Database) -> None:
    """A 429 and a reset connection are tried again; the third attempt applies everything."""
    chain.service.faults += [Fault.THROTTLED, Fault.RESET]
    assert chain.deploy("base") == "CREATE_COMPLETE"
    assert [request.attempt for request in chain.service.requests] == [f"attempt={n}; max=3" for n in (1, 2, 3)]
    assert chain.calls() == ["1"]
    assert len(history(database)) == 2


def test_answer_that_is_lost(chain: Chain, database: Database) -> None:
    """When the answer of a run gets lost, the function is invoked again and finds nothing to do."""
    chain.service.faults += [Fault.ANSWER_LOST]
    assert chain.deploy("base") == "CREATE_COMPLETE"
    assert chain.calls() == ["1", "1"]
    assert [line["applied_migrations"] for line in chain.finished()] == [["001_customers.sql", "002_first_customer.sql"], []]
    assert database.query("SELECT count(*) FROM customers") == [(1,)]


def test_throttled_to_the_end(chain: Chain, database: Database) -> None:
    """A deploy whose invocations are all refused fails, its rollback too; nothing was touched, and a later one works."""
    chain.deploy("base")
    chain.service.faults += [Fault.THROTTLED] * 6
    assert chain.deploy("next") == "UPDATE_ROLLBACK_FAILED"
    assert "Rate Exceeded" in chain.reason
    assert chain.calls() == ["1"]
    assert invoices(database) is None
    assert chain.deploy("next") == "UPDATE_COMPLETE"
    assert invoices(database) == [1]
