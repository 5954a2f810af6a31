"""A deploy that goes well: what CloudFormation hears, how often the function runs, what the database has then."""

from __future__ import annotations

from pathlib import Path

from tests.chain.assembly import Release
from tests.chain.chain import Chain
from tests.chain.database import history
from tests.chain.resources import TRIGGER, Endpoint
from tests.chain.shop import BASE
from tests.plugins.databases import Database
from tests.plugins.proxy import Proxy


def assert_driver_is_the_packages(chain: Chain) -> None:
    """See in the function's process that psycopg2 was loaded from its package; the runtime has none."""
    version = chain.service.versions[f"{chain.function_arn}:1"]
    mapped = Path(f"/proc/{chain.service.environments[0].process.pid}/maps").read_text("utf-8")
    drivers = {line.split()[-1] for line in mapped.splitlines() if "psycopg2" in line}
    assert drivers
    assert all(path.startswith(str(version.code)) for path in drivers)


def test_first_deploy(chain: Chain, database: Database) -> None:
    """The first deploy applies all files with one invocation that has no payload, as the user of the secret."""
    assert chain.deploy("base") == "CREATE_COMPLETE"
    assert [(answer.status, answer.reason) for answer in chain.answers] == [("SUCCESS", "SUCCESS")]
    assert [(request.qualifier, request.payload) for request in chain.service.requests] == [("1", b"")]
    assert chain.finished()[0]["applied_migrations"] == ["001_customers.sql", "002_first_customer.sql"]
    assert history(database) == ["001_customers.sql", "002_first_customer.sql"]
    assert database.query("SELECT name FROM customers") == [("Ada",)]
    assert database.query("SELECT DISTINCT applied_by FROM db_setup.history") == [("shop_admin",)]
    assert_driver_is_the_packages(chain)


def test_nothing_new(chain: Chain, database: Database) -> None:
    """A second deploy of the same files invokes the same version again, which finds nothing to do."""
    chain.deploy("base")
    assert chain.deploy("again") == "UPDATE_COMPLETE"
    assert chain.answers[-1].status == "SUCCESS"
    assert chain.calls() == ["1", "1"]
    assert chain.finished()[-1]["message"] == "Nothing to do: the database is up to date."
    assert database.query("SELECT count(*) FROM db_setup.runs") == [(1,)]


def test_new_file(chain: Chain, database: Database) -> None:
    """A deploy with one more file publishes a version, which applies that file."""
    chain.deploy("base")
    assert chain.deploy("next") == "UPDATE_COMPLETE"
    assert chain.calls() == ["1", "2"]
    assert chain.finished()[-1]["applied_migrations"] == ["003_invoices.sql"]
    assert history(database) == ["001_customers.sql", "002_first_customer.sql", "003_invoices.sql"]
    assert chain.answers[-1].physical_id == chain.answers[0].physical_id


def test_application_goes_live_after_the_migrations(chain: Chain) -> None:
    """What is named in execute_before waits for the trigger, and so comes after it."""
    chain.deploy("base")
    template, order = chain.release("base").template, chain.stack.touched()
    trigger, application = (
        next(name for name in order if name[:-8] == construct) for construct in ("MigrationsFunctionTrigger", "Application")
    )
    assert trigger in template.waits_for(application)
    assert order.index(trigger) < order.index(application)


def test_trigger_waits_for_what_it_needs(release: Release) -> None:
    """The database, its secret, the rules on both sides and the endpoint are there before the function is invoked."""
    needed = {
        "AWS::RDS::DBInstance", "AWS::SecretsManager::SecretTargetAttachment", "AWS::EC2::SecurityGroupIngress",
        "AWS::EC2::SecurityGroupEgress", "AWS::EC2::VPCEndpoint", "AWS::IAM::Policy", "AWS::Lambda::Version",
    }  # fmt: skip
    template = release("base").template
    (trigger,) = template.of_type(TRIGGER)
    assert needed <= {template.resources[name].type for name in template.waits_for(trigger)}


def test_provider_listens_longer_than_the_function_runs(release: Release) -> None:
    """The function's time ends before the provider stops to listen, and that before the provider is ended."""
    template = release("base").template
    function, provider = (
        next(r.properties for r in template.resources.values() if r.properties.get("Handler") == handler)
        for handler in ("initializer.handler", "__entrypoint__.handler")
    )
    (trigger,) = template.of_type(TRIGGER)
    assert function["Timeout"] < int(template.resources[trigger].properties["Timeout"]) / 1000 < provider["Timeout"]


def test_trigger_waits_for_every_instance_of_a_cluster(chain: Chain) -> None:
    """Writer and reader of an Aurora cluster are there before the function is invoked."""
    assert chain.deploy("cluster") == "CREATE_COMPLETE"
    template = chain.release("cluster").template
    (trigger,) = template.of_type(TRIGGER)
    assert set(template.of_type("AWS::RDS::DBInstance")) <= template.waits_for(trigger)
    assert chain.finished()[0]["success"]


def test_existing_database(chain: Chain, database: Database) -> None:
    """A database that another stack has made is reached by its secret, endpoint and security group."""
    arn = chain.make_secret("shop/admin")
    parameters = {"DatabaseHost": str(database.parameters["host"]), "AdminSecret": arn}
    assert chain.deploy("existing", parameters=parameters) == "CREATE_COMPLETE"
    assert len(history(database)) == 2


def test_delete(chain: Chain, database: Database) -> None:
    """Deleting the stack invokes nothing, and leaves the database as it is."""
    chain.deploy("base")
    assert chain.stack.delete() == "DELETE_COMPLETE"
    assert [answer.status for answer in chain.answers] == ["SUCCESS", "SUCCESS"]
    assert chain.calls() == ["1"]
    assert len(history(database)) == 2


def test_deploys_that_only_report(chain: Chain, database: Database) -> None:
    """With AUTO_MIGRATE=false a deploy says what is pending and writes nothing; a person's migrate applies it."""
    assert chain.deploy("manual") == "CREATE_COMPLETE"
    assert "AUTO_MIGRATE=false: nothing was applied." in chain.finished()[0]["message"]
    assert chain.finished()[0]["pending_migrations"] == ["001_customers.sql", "002_first_customer.sql"]
    assert database.query("SELECT to_regnamespace('db_setup')::text, to_regclass('customers')::text") == [(None, None)]
    assert chain.invoke({"action": "migrate"})["applied_migrations"] == ["001_customers.sql", "002_first_customer.sql"]
    assert len(history(database)) == 2


def test_run_on_change(chain: Chain, database: Database) -> None:
    """With run_on="change" only a deploy with another folder runs the migrations."""
    chain.deploy("change")
    assert chain.deploy("change-again") == "UPDATE_COMPLETE"
    assert chain.events("Application") == ["UPDATE_COMPLETE"]
    assert chain.events("MigrationsFunctionTrigger") == []
    assert chain.calls() == ["1"]
    assert chain.deploy("change-next") == "UPDATE_COMPLETE"
    assert chain.calls() == ["1", "2"]
    assert len(history(database)) == 3


def test_a_replaced_database(chain: Chain, database: Database, proxy: Proxy) -> None:
    """When CloudFormation replaces the database, the same files are a new version with its address, which runs."""
    chain.deploy("base")
    chain.database.endpoint = Endpoint(str(proxy.folder), chain.database.endpoint.port, database.name)
    assert chain.deploy("again") == "UPDATE_COMPLETE"
    assert chain.calls() == ["1", "2"]
    assert chain.service.versions[f"{chain.function_arn}:2"].environment["DB_HOST"] == str(proxy.folder)
    assert chain.finished()[-1]["message"] == "Nothing to do: the database is up to date."


def test_files_of_an_environment(chain: Chain, database: Database) -> None:
    """The package has repeatable files and those of environments: a deploy runs its own, and a changed view again."""
    assert chain.deploy("dev") == "CREATE_COMPLETE"
    own = ["003_marks.sql", "env/dev/004_sample.sql"]
    assert chain.finished()[0]["applied_migrations"] == [*BASE, *own, "repeatable/names.sql"]
    assert chain.finished()[0]["skipped_migrations"] == ["env/prod/004_no_sample.sql"]
    assert sorted(database.query("SELECT name FROM names")) == [("Ada",), ("Sample",)]
    assert chain.deploy("dev-next") == "UPDATE_COMPLETE"
    assert chain.finished()[-1]["applied_migrations"] == ["repeatable/names.sql"]
    assert sorted(database.query("SELECT name FROM names")) == [("ADA",), ("SAMPLE",)]


def test_a_database_that_was_of_another_environment(chain: Chain, database: Database) -> None:
    """What was applied for dev is not missed by a deploy for qa, whose package still has those files."""
    chain.deploy("dev")
    assert chain.deploy("dev-as-qa") == "UPDATE_COMPLETE"
    assert chain.finished()[-1]["applied_migrations"] == ["repeatable/names.sql"]
    assert chain.finished()[-1]["skipped_migrations"] == ["env/dev/004_sample.sql", "env/prod/004_no_sample.sql"]
