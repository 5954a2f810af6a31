"""The stack around the construct: endpoints and rules wherever they are made, and no circle with other people's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import aws_cdk
import pytest
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda
from aws_cdk import aws_rds as rds
from aws_cdk import aws_secretsmanager as secretsmanager

from cdk.database_initializer import DatabaseInitializer
from tests.cdk.stacks import Site, Synthesised, errors_of, make_app, make_instance, make_network, make_site, synthesise

TRIGGER, FUNCTION = "Custom::Trigger", "AWS::Lambda::Function"
SECRETS_MANAGER = ec2.InterfaceVpcEndpointAwsService.SECRETS_MANAGER


def _application(stack: aws_cdk.Stack, vpc: ec2.IVpc) -> aws_lambda.Function:
    return aws_lambda.Function(
        stack, "Application", runtime=aws_lambda.Runtime.PYTHON_3_13, handler="index.handler", vpc=vpc,
        code=aws_lambda.Code.from_inline("def handler(event, context): pass"),
    )  # fmt: skip


def _awaited(found: Synthesised, kind: str) -> list[str]:
    waits = found.template.waits_for(found.the(TRIGGER))
    return [name for name in found.template.of_type(kind) if name in waits]


def _queue_endpoint(site: Site, application: aws_lambda.Function) -> DatabaseInitializer:
    endpoint = site.vpc.add_interface_endpoint("Queue", service=ec2.InterfaceVpcEndpointAwsService.SQS, open=False)
    endpoint.connections.allow_default_port_from(application)
    return site.initializer()


def _shared_group(site: Site, application: aws_lambda.Function) -> DatabaseInitializer:
    group = ec2.SecurityGroup(site.stack, "Shared", vpc=site.vpc)
    group.connections.allow_from(application, ec2.Port.tcp(8080))
    return site.initializer(security_groups=[group])


def _rule_of_ours(site: Site, application: aws_lambda.Function) -> DatabaseInitializer:
    initializer = site.initializer()
    initializer.connections.allow_to(application, ec2.Port.tcp(9))
    return initializer


def _rule_at_the_database(site: Site, application: aws_lambda.Function) -> DatabaseInitializer:
    site.database.connections.allow_default_port_from(application)
    return site.initializer()


@pytest.mark.parametrize("make", [_queue_endpoint, _shared_group, _rule_of_ours, _rule_at_the_database])
def test_the_rules_of_others_close_no_circle(
    tmp_path: Path, make: Callable[[Site, aws_lambda.Function], DatabaseInitializer]
) -> None:
    """A rule for the application, wherever it is, waits for the application, and the migrations do not wait for it."""
    site = make_site(tmp_path / "out")
    application = _application(site.stack, site.vpc)
    make(site, application).execute_before(application)
    found = synthesise(site.stack)
    assert found.template.order()  # raises on a circle
    assert len(_awaited(found, "AWS::EC2::SecurityGroupIngress")) == 2  # the database's, and the endpoint's


def test_a_rule_that_is_there_already_is_awaited(tmp_path: Path) -> None:
    """When the database lets a given group in before the construct is made, that rule is the one to wait for."""
    site = make_site(tmp_path / "out")
    group = ec2.SecurityGroup(site.stack, "Given", vpc=site.vpc)
    site.database.connections.allow_default_port_from(group)
    site.initializer(security_groups=[group])
    found = synthesise(site.stack)
    rules = [found.template.resources[name].properties for name in _awaited(found, "AWS::EC2::SecurityGroupIngress")]
    assert any("Database" in json.dumps(rule["FromPort"]) for rule in rules)


@pytest.mark.parametrize("open_", [True, False])
def test_the_endpoint_lets_the_function_in(tmp_path: Path, open_: bool) -> None:
    """An endpoint that is closed to the VPC gets a rule for the function, which is awaited."""
    stack = aws_cdk.Stack(make_app(tmp_path / "out"), "Shop")
    vpc = make_network(stack, endpoint=False)
    vpc.add_interface_endpoint("Endpoint", service=SECRETS_MANAGER, open=open_)
    DatabaseInitializer(stack, "Migrations", vpc=vpc, database=make_instance(stack, vpc))
    found = synthesise(stack)
    rules = [found.template.resources[name].properties for name in _awaited(found, "AWS::EC2::SecurityGroupIngress")]
    assert 443 in [rule["ToPort"] for rule in rules]


def test_an_endpoint_without_its_name_is_none(tmp_path: Path) -> None:
    """Without private DNS the function would go to the public address, which it cannot reach."""
    stack = aws_cdk.Stack(make_app(tmp_path / "out"), "Shop")
    vpc = make_network(stack, endpoint=False)
    vpc.add_interface_endpoint("Endpoint", service=SECRETS_MANAGER, private_dns_enabled=False)
    DatabaseInitializer(stack, "Migrations", vpc=vpc, database=make_instance(stack, vpc))
    assert "no endpoint for Secrets Manager" in errors_of(stack)


def test_an_endpoint_of_a_third_stack_is_found(tmp_path: Path) -> None:
    """The network, its endpoints and the application in three stacks: the endpoints' stack is deployed first."""
    app = make_app(tmp_path / "out")
    network, endpoints, shop = (aws_cdk.Stack(app, name) for name in ("Network", "Endpoints", "Shop"))
    vpc = make_network(network, endpoint=False)
    ec2.InterfaceVpcEndpoint(endpoints, "Endpoint", vpc=vpc, service=SECRETS_MANAGER)
    DatabaseInitializer(shop, "Migrations", vpc=vpc, database=make_instance(network, vpc))
    synthesise(shop)
    assert "Endpoints" in [stack.stack_name for stack in shop.dependencies]


def test_a_nested_stack_waits_for_the_endpoint_of_its_parent(tmp_path: Path) -> None:
    """What the nested stack needs of the parent is there before the nested stack begins."""
    site = make_site(tmp_path / "out")
    nested = aws_cdk.NestedStack(site.stack, "Nested")
    DatabaseInitializer(nested, "Migrations", vpc=site.vpc, database=site.database)
    found = synthesise(site.stack)
    (name,) = found.template.of_type("AWS::CloudFormation::Stack")
    waits = found.template.waits_for(name)
    assert set(found.template.of_type("AWS::EC2::VPCEndpoint")) <= waits
    assert set(found.template.of_type("AWS::RDS::DBInstance")) <= waits


def test_a_key_of_another_stack_is_no_circle(tmp_path: Path) -> None:
    """The permission to use the secret's key is in the function's policy, so the key's stack needs nothing of ours."""
    app = make_app(tmp_path / "out")
    data, shop = aws_cdk.Stack(app, "Data"), aws_cdk.Stack(app, "Shop")
    vpc = make_network(data)
    secret = secretsmanager.Secret(data, "Admin", encryption_key=kms.Key(data, "Key"))
    DatabaseInitializer(shop, "Migrations", vpc=vpc, database=make_instance(data, vpc), admin_secret=secret)
    found = synthesise(shop)
    assert '"kms:Decrypt"' in json.dumps(found.properties("AWS::IAM::Policy"))


def test_an_imported_key_may_be_used(tmp_path: Path) -> None:
    """A secret and its key that are known by their ARNs: the function may use both, through Secrets Manager only."""
    site = make_site(tmp_path / "out", env=aws_cdk.Environment(account="123456789012", region="eu-west-1"))
    key_arn = "arn:aws:kms:eu-west-1:123456789012:key/11111111-1111-1111-1111-111111111111"
    secret = secretsmanager.Secret.from_secret_attributes(
        site.stack, "Admin", encryption_key=kms.Key.from_key_arn(site.stack, "Key", key_arn),
        secret_complete_arn="arn:aws:secretsmanager:eu-west-1:123456789012:secret:admin-AbCdEf",
    )  # fmt: skip
    site.initializer(admin_secret=secret)
    statements = synthesise(site.stack).properties("AWS::IAM::Policy")["PolicyDocument"]["Statement"]
    (statement,) = [statement for statement in statements if statement["Action"] == "kms:Decrypt"]
    assert statement["Resource"] == key_arn
    assert "kms:ViaService" in json.dumps(statement["Condition"])


def test_imported_databases_are_reached(tmp_path: Path) -> None:
    """An instance and a cluster that this app has not made: address and port become variables."""
    site = make_site(tmp_path / "out")
    group = ec2.SecurityGroup.from_security_group_id(site.stack, "Group", "sg-0123456789abcdef0")
    secret = secretsmanager.Secret.from_secret_name_v2(site.stack, "Secret", "shop/admin")
    instance = rds.DatabaseInstance.from_database_instance_attributes(
        site.stack, "Imported", instance_endpoint_address="db.example", instance_identifier="x", port=6543,
        security_groups=[group],
    )  # fmt: skip
    site.initializer(database=instance, admin_secret=secret)
    variables = synthesise(site.stack).properties(FUNCTION)["Environment"]["Variables"]
    assert (variables["DB_HOST"], variables["DB_PORT"]) == ("db.example", "6543")
    assert "DB_NAME" not in variables  # only the secret knows


def test_the_database_is_named_where_its_secret_does_not(tmp_path: Path) -> None:
    """RDS calls a database without a name "postgres"; a secret that RDS manages itself holds no name at all."""
    stack = aws_cdk.Stack(make_app(tmp_path / "out"), "Shop")
    vpc = make_network(stack)
    engine = rds.DatabaseInstanceEngine.postgres(version=rds.PostgresEngineVersion.VER_17_9)
    subnets = ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED)
    for name, managed in (("", False), ("orders", False), ("invoices", True)):
        database = rds.DatabaseInstance(
            stack, f"Database{name}", engine=engine, vpc=vpc, vpc_subnets=subnets, database_name=name or None,
            manage_master_user_password=managed,
        )  # fmt: skip
        DatabaseInitializer(stack, f"Migrations{name}", vpc=vpc, database=database)
    template = synthesise(stack).template
    functions = [r.properties for r in template.resources.values() if r.properties.get("Handler") == "initializer.handler"]
    variables = [function["Environment"]["Variables"] for function in functions]
    assert sorted(given.get("DB_NAME", "in the secret") for given in variables) == ["in the secret", "invoices", "postgres"]


def test_a_version_follows_the_address_of_the_database(tmp_path: Path) -> None:
    """Its description names the address, so that a database that is replaced brings a new version, and a run."""
    site = make_site(tmp_path / "out")
    site.initializer()
    found = synthesise(site.stack)
    described = json.dumps(found.properties("AWS::Lambda::Version")["Description"])
    assert '"Endpoint.Address"' in described
    assert '"Endpoint.Port"' in described
