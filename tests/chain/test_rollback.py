"""A stack that is rolled back after the migrations: the old package meets the newer database."""

from __future__ import annotations

from tests.chain.chain import Chain
from tests.chain.database import history, invoices
from tests.plugins.databases import Database


def test_old_package_on_the_newer_database(chain: Chain, database: Database) -> None:
    """When the application fails after the migrations, the old package is invoked: success, a warning, nothing written."""
    chain.deploy("base")
    assert chain.deploy("next", failing={"Application"}) == "UPDATE_ROLLBACK_COMPLETE"
    assert chain.reason == "it failed for a reason of its own"
    assert [answer.status for answer in chain.answers] == ["SUCCESS"] * 3
    assert chain.calls() == ["1", "2", "1"]
    last = chain.service.requests[-1].request_id
    (old,) = (line for line in chain.finished() if line["request_id"] == last)
    assert (old["success"], old["state"], old["applied_migrations"]) == (True, "ahead", [])
    assert "003_invoices.sql" in " ".join(old["warnings"])
    assert database.query("SELECT count(*) FROM db_setup.runs") == [(2,)]
    assert (len(history(database)), invoices(database)) == (3, [1])
    assert chain.invoke({"action": "status"})["state"] == "ahead"
    assert chain.deploy("next") == "UPDATE_COMPLETE"
    assert chain.finished()[-1]["state"] == "up_to_date"


def test_old_package_with_an_older_view(chain: Chain, database: Database) -> None:
    """After a deploy that changed only a repeatable file, the old package does not run its older text, which would fail."""
    chain.deploy("dev")
    assert chain.deploy("dev-next", failing={"Application"}) == "UPDATE_ROLLBACK_COMPLETE"
    assert chain.calls() == ["1", "2", "1"]
    last = chain.service.requests[-1].request_id
    (old,) = (line for line in chain.finished() if line["request_id"] == last)
    assert (old["success"], old["state"], old["applied_migrations"]) == (True, "ahead", [])
    assert database.query("SELECT name FROM names WHERE id = 1") == [("ADA",)]
    assert chain.deploy("dev-next") == "UPDATE_COMPLETE"
    assert chain.finished()[-1]["state"] == "up_to_date"


def test_first_deploy_that_is_rolled_back(chain: Chain, database: Database) -> None:
    """When a first deploy fails after the migrations, the trigger is deleted without an invocation."""
    assert chain.deploy("base", failing={"Application"}) == "ROLLBACK_COMPLETE"
    assert [answer.status for answer in chain.answers] == ["SUCCESS", "SUCCESS"]
    assert chain.calls() == ["1"]
    assert len(history(database)) == 2
