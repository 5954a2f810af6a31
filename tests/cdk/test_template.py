"""The template: what waits for what, who may do what, how long things may take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aws_cdk
import pytest
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda
from aws_cdk import aws_secretsmanager as secretsmanager
from migrator.database.deadline import Deadline

from cdk.database_initializer import DatabaseInitializer, ExistingDatabase, trigger
from tests.cdk.stacks import (
    Site,
    Synthesised,
    make_app,
    make_cluster,
    make_instance,
    make_network,
    make_site,
    synthesise,
)

TRIGGER, FUNCTION, VERSION = "Custom::Trigger", "AWS::Lambda::Function", "AWS::Lambda::Version"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Return a stack with a private network and a database."""
    return make_site(tmp_path / "out")


def _application(site: Site) -> aws_lambda.Function:
    application = aws_lambda.Function(
        site.stack, "Application", runtime=aws_lambda.Runtime.PYTHON_3_14, handler="index.handler", vpc=site.vpc,
        code=aws_lambda.Code.from_inline("def handler(event, context): pass"), vpc_subnets=None,
    )  # fmt: skip
    site.database.connections.allow_default_port_from(application)
    return application


def _types(found: Synthesised, logical_ids: set[str]) -> set[str]:
    return {found.template.resources[name].type for name in logical_ids}


def test_the_trigger_waits_for_all_it_needs(site: Site) -> None:
    """The database, its secret's attachment, both security-group rules and a later endpoint come before the run."""
    site.initializer()
    logs = ec2.InterfaceVpcEndpointAwsService.CLOUDWATCH_LOGS
    ec2.InterfaceVpcEndpoint(site.stack, "LaterEndpoint", vpc=site.vpc, service=logs)
    found = synthesise(site.stack)
    awaited = found.template.waits_for(found.the(TRIGGER))
    assert {
        "AWS::RDS::DBInstance", "AWS::SecretsManager::SecretTargetAttachment", "AWS::EC2::SecurityGroupIngress",
        "AWS::EC2::SecurityGroupEgress", "AWS::IAM::Policy", "AWS::Logs::LogGroup", VERSION,
    } <= _types(found, awaited)  # fmt: skip
    assert set(found.template.of_type("AWS::EC2::VPCEndpoint")) <= awaited
    assert len(found.template.of_type("AWS::EC2::VPCEndpoint")) == 2


def test_the_trigger_waits_for_every_instance_of_a_cluster(tmp_path: Path) -> None:
    """Aurora's endpoint answers only when the writer is there; the reader is awaited, too."""
    stack = aws_cdk.Stack(make_app(tmp_path / "out"), "Shop")
    vpc = make_network(stack)
    DatabaseInitializer(stack, "Migrations", vpc=vpc, database=make_cluster(stack, vpc))
    found = synthesise(stack)
    instances = found.template.of_type("AWS::RDS::DBInstance")
    assert len(instances) == 2
    assert {*instances, found.the("AWS::RDS::DBCluster")} <= found.template.waits_for(found.the(TRIGGER))
    variables = found.properties(FUNCTION)["Environment"]["Variables"]
    assert variables["DB_HOST"] == {"Fn::GetAtt": [found.the("AWS::RDS::DBCluster"), "Endpoint.Address"]}


def test_the_trigger_waits_for_the_route_to_the_internet(tmp_path: Path) -> None:
    """With a NAT gateway instead of an endpoint, its route comes before the run."""
    stack = aws_cdk.Stack(make_app(tmp_path / "out"), "Shop")
    vpc = ec2.Vpc(stack, "Network", max_azs=2, nat_gateways=1)
    DatabaseInitializer(stack, "Migrations", vpc=vpc, database=make_instance(stack, vpc))
    found = synthesise(stack)
    awaited = found.template.waits_for(found.the(TRIGGER))
    routes = {name for name in found.template.of_type("AWS::EC2::Route") if "Private" in name}
    assert routes
    assert routes <= awaited


def test_the_application_goes_live_after_the_migrations(site: Site) -> None:
    """Its function waits for the trigger; its own rule at the database closes no circle."""
    application = _application(site)
    site.initializer(execute_before=[application])
    found = synthesise(site.stack)
    (name,) = [name for name in found.template.of_type(FUNCTION) if name.startswith("Application")]
    assert found.the(TRIGGER) in found.template.waits_for(name)
    assert found.template.order()  # raises on a circle


def test_what_is_named_in_execute_after_comes_first(site: Site) -> None:
    """A construct given in execute_after is there before the run."""
    topic = aws_cdk.CfnResource(site.stack, "Topic", type="AWS::SNS::Topic")
    site.initializer(execute_after=[topic])
    found = synthesise(site.stack)
    assert "Topic" in found.template.waits_for(found.the(TRIGGER))


def test_the_times_are_in_order(site: Site) -> None:
    """Handler before function before the provider's socket before the provider's end, also after its IAM retries."""
    site.initializer()
    found = synthesise(site.stack)
    function = found.properties(FUNCTION)["Timeout"]
    socket = int(found.properties(TRIGGER)["Timeout"]) / 1000
    (provider,) = [
        resource.properties["Timeout"]
        for resource in found.template.resources.values()
        if resource.type == FUNCTION and resource.properties["Handler"] == "__entrypoint__.handler"
        and "Trigger" in json.dumps(resource.properties["Role"])
    ]  # fmt: skip
    left = Deadline.of_run(None, function).remaining()
    assert left is not None
    assert left <= function - 20 < function <= trigger.MAX_TIMEOUT
    assert function + 10 < socket  # an environment has up to 10 s to start
    assert socket + trigger.PROVIDER_MAY_WAIT < provider == trigger.PROVIDER_END


@pytest.mark.parametrize("seconds", [10, 300, 780])
def test_the_socket_outlives_every_function(tmp_path: Path, seconds: int) -> None:
    """Whatever the function's timeout, the provider listens 40 seconds longer."""
    site = make_site(tmp_path / "out")
    site.initializer(timeout=aws_cdk.Duration.seconds(seconds))
    found = synthesise(site.stack)
    assert found.properties(FUNCTION)["Timeout"] == seconds
    assert found.properties(TRIGGER)["Timeout"] == str((seconds + 40) * 1000)


def test_the_function_may_do_what_it_needs_and_nothing_else(site: Site) -> None:
    """Its role has no managed policy; each statement is about its log group, its interface or its one secret."""
    site.initializer()
    found = synthesise(site.stack)
    assert "ManagedPolicyArns" not in found.properties("AWS::IAM::Role")
    statements = found.properties("AWS::IAM::Policy")["PolicyDocument"]["Statement"]
    by_resource = {json.dumps(statement["Resource"]): sorted(statement["Action"]) for statement in statements}
    log_group, attachment = found.the("AWS::Logs::LogGroup"), found.the("AWS::SecretsManager::SecretTargetAttachment")
    interfaces = by_resource.pop('"*"')
    assert {action.partition(":")[0] for action in interfaces} == {"ec2"}
    assert by_resource == {
        json.dumps({"Fn::GetAtt": [log_group, "Arn"]}): ["logs:CreateLogStream", "logs:PutLogEvents"],
        json.dumps({"Ref": attachment}): ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"],
    }
    assert "FunctionName" not in found.properties(FUNCTION)
    assert found.properties(FUNCTION)["LoggingConfig"] == {"LogGroup": {"Ref": log_group}}


def test_a_key_of_its_own_may_be_used_for_its_secret(site: Site) -> None:
    """A secret under a customer's key brings kms:Decrypt on that key."""
    secret = secretsmanager.Secret(site.stack, "Admin", encryption_key=kms.Key(site.stack, "Key"))
    site.initializer(admin_secret=secret)
    found = synthesise(site.stack)
    statements = found.properties("AWS::IAM::Policy")["PolicyDocument"]["Statement"]
    (resource,) = [s["Resource"] for s in statements if s["Action"] == "kms:Decrypt"]
    assert resource == {"Fn::GetAtt": [found.the("AWS::KMS::Key"), "Arn"]}
    assert found.properties(FUNCTION)["Environment"]["Variables"]["DB_SECRET_NAME"] == site.stack.resolve(secret.secret_arn)


def test_the_rules_are_on_both_sides(site: Site) -> None:
    """The function's group may go out to the database and to 443; the database's group lets the function in."""
    site.initializer()
    found = synthesise(site.stack)
    group = {"Fn::GetAtt": [found.the("AWS::EC2::SecurityGroup"), "GroupId"]}
    rules = {resource.type: resource.properties for resource in found.template.resources.values() if resource.type.startswith("AWS::EC2::SecurityGroup") and "Endpoint.Port" in json.dumps(resource.properties)}
    ingress, egress = rules["AWS::EC2::SecurityGroupIngress"], rules["AWS::EC2::SecurityGroupEgress"]
    assert ingress["SourceSecurityGroupId"] == group
    assert (egress["GroupId"], egress["DestinationSecurityGroupId"]) == (group, ingress["GroupId"])
    (out,) = found.properties("AWS::EC2::SecurityGroup")["SecurityGroupEgress"]
    assert (out["FromPort"], out["ToPort"], out["IpProtocol"]) == (443, 443, "tcp")


def test_the_users_secrets_are_read_and_written(site: Site) -> None:
    """create_users=True makes three secrets without a value; the function may read and write exactly these."""
    initializer = site.initializer(create_users=True)
    made = [initializer.user_secret, initializer.table_creator_secret, initializer.readonly_secret]
    wanted = [site.stack.resolve(secret.secret_arn) for secret in made if secret is not None]
    found = synthesise(site.stack)
    variables = found.properties(FUNCTION)["Environment"]["Variables"]
    names = ["DB_USER_SECRET_NAME", "DB_TABLE_CREATOR_SECRET_NAME", "DB_READONLY_SECRET_NAME"]
    assert [variables[name] for name in names] == wanted
    for secret in wanted:
        assert "GenerateSecretString" not in found.template.resources[secret["Ref"]].properties
    statements = found.properties("AWS::IAM::Policy")["PolicyDocument"]["Statement"]
    (written,) = [s["Resource"] for s in statements if "secretsmanager:PutSecretValue" in s["Action"]]
    assert sorted(map(json.dumps, written)) == sorted(map(json.dumps, wanted))


def test_users_can_be_left_alone(site: Site) -> None:
    """create_users=False reaches the function, which gets no right to a given secret."""
    secret = secretsmanager.Secret(site.stack, "User")
    site.initializer(create_users=False, user_secret=secret)
    found = synthesise(site.stack)
    assert found.properties(FUNCTION)["Environment"]["Variables"]["CREATE_USERS"] == "false"
    assert "secretsmanager:PutSecretValue" not in json.dumps(found.properties("AWS::IAM::Policy"))


def test_settings_reach_the_function(site: Site) -> None:
    """Names and overrides become variables; an override wins."""
    site.initializer(
        database_name="orders", environment_name="dev", memory_size=1024, architecture=aws_lambda.Architecture.ARM_64,
        environment={"LOCK_TIMEOUT": "3s", "DB_PORT": "6543"},
    )  # fmt: skip
    properties = synthesise(site.stack).properties(FUNCTION)
    variables = properties["Environment"]["Variables"]
    assert (variables["DB_NAME"], variables["MIGRATION_ENV"]) == ("orders", "dev")
    assert (variables["LOCK_TIMEOUT"], variables["DB_PORT"]) == ("3s", "6543")
    assert (properties["MemorySize"], properties["Architectures"]) == (1024, ["arm64"])


def test_an_existing_database_is_reached_by_its_parts(site: Site) -> None:
    """Secret, endpoint and security group are enough."""
    group = ec2.SecurityGroup.from_security_group_id(site.stack, "Group", "sg-0123456789abcdef0")
    secret = secretsmanager.Secret.from_secret_name_v2(site.stack, "Secret", "shop/admin")
    there = ExistingDatabase(secret=secret, endpoint="db.example", security_group=group, port=6432)
    site.initializer(database=there)
    found = synthesise(site.stack)
    variables = found.properties(FUNCTION)["Environment"]["Variables"]
    assert (variables["DB_HOST"], variables["DB_PORT"]) == ("db.example", "6432")
    awaited = [found.template.resources[name] for name in found.template.waits_for(found.the(TRIGGER))]
    groups = [r.properties["GroupId"] for r in awaited if r.type == "AWS::EC2::SecurityGroupIngress" and r.properties["FromPort"] == 6432]
    assert groups == ["sg-0123456789abcdef0"]


def test_a_database_of_another_stack_is_no_circle(tmp_path: Path) -> None:
    """The rules are made in the function's stack, so the database's stack needs nothing of it."""
    app = make_app(tmp_path / "out")
    data, shop = aws_cdk.Stack(app, "Data"), aws_cdk.Stack(app, "Shop")
    vpc = make_network(data)
    DatabaseInitializer(shop, "Migrations", vpc=vpc, database=make_instance(data, vpc))
    found = synthesise(shop)  # raises on a circle of stacks
    awaited = found.template.waits_for(found.the(TRIGGER))
    assert {"AWS::EC2::SecurityGroupIngress", "AWS::EC2::SecurityGroupEgress"} <= _types(found, awaited)


def test_every_deploy_runs_without_a_new_version(site: Site, tmp_path: Path) -> None:
    """Two synths of one app differ in one property of the trigger; the function's version is the same."""
    site.initializer()
    again = make_site(tmp_path / "again")
    again.initializer()
    first, second = synthesise(site.stack), synthesise(again.stack)
    assert first.template.of_type(VERSION) == second.template.of_type(VERSION)
    differing = {key for key, value in first.properties(TRIGGER).items() if second.properties(TRIGGER)[key] != value}
    assert differing == {"Deploy"}


def test_on_change_nothing_differs_when_nothing_changed(tmp_path: Path) -> None:
    """With run_on="change", two synths of one app are equal, and another folder is not."""
    made = []
    for number, text in enumerate(["SELECT 1;", "SELECT 1;", "SELECT 2;"]):
        folder = tmp_path / f"migrations-{number}"
        folder.mkdir()
        (folder / "001_a.sql").write_text(text)
        site = make_site(tmp_path / f"out-{number}")
        site.initializer(run_on="change", migrations=folder)
        made.append(synthesise(site.stack).properties(TRIGGER))
    assert made[0] == made[1]
    assert {key for key in made[0] if made[0][key] != made[2][key]} == {"HandlerArn", "Migrations", "MigrationsDigest"}


def _listed(tmp_path: Path, count: int) -> list[str]:
    folder = tmp_path / f"migrations-{count}"
    folder.mkdir()
    for number in range(1, count + 1):
        (folder / f"{number:03d}_a.sql").write_text("SELECT 1;")
    site = make_site(tmp_path / f"out-{count}")
    site.initializer(migrations=folder)
    listed: list[str] = synthesise(site.stack).properties(TRIGGER)["Migrations"]
    return listed


def test_the_migrations_stand_in_the_template(tmp_path: Path) -> None:
    """A new file is one new line of the trigger, which is what cdk diff shows."""
    before, after = _listed(tmp_path, 2), _listed(tmp_path, 3)
    assert after[:2] == before
    assert after[2].startswith("003_a.sql ")


def _environments(folder: Path) -> Path:
    for name in ("003_c.sql", "repeatable/v.sql", "env/dev/002_b.sql", "env/prod/002_p.sql"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("SELECT 1;")
    (folder / "004_d.sql").write_text("-- db_setup: env=prod\nSELECT 1;")
    return folder


@pytest.mark.parametrize(
    ("properties", "names"),
    [
        ({}, ["003_c.sql", "repeatable/v.sql"]),
        ({"environment_name": "dev"}, ["env/dev/002_b.sql", "003_c.sql", "repeatable/v.sql"]),
        ({"environment_name": "prod"}, ["env/prod/002_p.sql", "003_c.sql", "004_d.sql", "repeatable/v.sql"]),
        ({"environment": {"MIGRATION_ENV": "dev"}}, ["env/dev/002_b.sql", "003_c.sql", "repeatable/v.sql"]),
        ({"environment": {"MIGRATION_ENV": aws_cdk.Aws.REGION}}, ["003_c.sql", "repeatable/v.sql"]),
        (
            {"environment_name": "dev", "environment": {"MIGRATION_ENV": "dev"}},
            ["env/dev/002_b.sql", "003_c.sql", "repeatable/v.sql"],
        ),
    ],
)
def test_the_files_of_its_environment_stand_in_the_template(
    tmp_path: Path, site: Site, properties: dict[str, Any], names: list[str]
) -> None:
    """Those that this environment runs, in the order of their application, repeatable ones last."""
    site.initializer(migrations=_environments(tmp_path / "migrations"), **properties)
    found = synthesise(site.stack)
    assert [line.partition(".sql ")[0] + ".sql" for line in found.properties(TRIGGER)["Migrations"]] == names
    named = properties.get("environment_name") or properties.get("environment", {}).get("MIGRATION_ENV")
    assert found.properties(FUNCTION)["Environment"]["Variables"].get("MIGRATION_ENV") == site.stack.resolve(named)
    assert found.warnings == ()


def test_an_environment_that_no_file_knows_is_a_warning(tmp_path: Path, site: Site) -> None:
    """A misspelt name is reported at synth, as it is by every run."""
    site.initializer(migrations=_environments(tmp_path / "migrations"), environment_name="prd")
    assert any('MIGRATION_ENV is "prd", and no file is for that' in text for text in synthesise(site.stack).warnings)


def test_on_change_an_edited_repeatable_runs_and_another_environments_file_is_not_listed(tmp_path: Path) -> None:
    """Another text of a repeatable file is another digest of the trigger; one of another environment's file is not."""
    folder = _environments(tmp_path / "migrations")
    digests = []
    for number, changed in enumerate(["003_c.sql", "env/prod/002_p.sql", "repeatable/v.sql"]):
        (folder / changed).write_text(f"SELECT {number + 1};")
        site = make_site(tmp_path / f"out-{number}")
        site.initializer(run_on="change", migrations=folder, environment_name="dev")
        digests.append(synthesise(site.stack).properties(TRIGGER)["MigrationsDigest"])
    assert digests[0] == digests[1] != digests[2]


def test_many_migrations_stay_within_a_template(tmp_path: Path) -> None:
    """The oldest of many are one line with their digest, which a new file leaves as it is."""
    before, after = _listed(tmp_path, 450), _listed(tmp_path, 451)
    assert len(before) == 251
    assert before[0].startswith("200 earlier ones ")
    assert after[:-1] == before


def test_it_can_be_connected_and_granted_to(site: Site) -> None:
    """It is IConnectable and IGrantable, as constructs of the CDK are."""
    initializer = site.initializer()
    other = ec2.SecurityGroup(site.stack, "Other", vpc=site.vpc)
    initializer.connections.allow_to(other, ec2.Port.tcp(9))
    other.connections.allow_from(initializer, ec2.Port.tcp(10))
    iam.Grant.add_to_principal(grantee=initializer, actions=["s3:GetObject"], resource_arns=["arn:aws:s3:::bucket/*"])
    found = synthesise(site.stack)
    assert "s3:GetObject" in json.dumps(found.properties("AWS::IAM::Policy"))


def test_own_layers_replace_the_driver(site: Site) -> None:
    """With layers the package holds no psycopg2."""
    layer = aws_lambda.LayerVersion.from_layer_version_arn(site.stack, "L", "arn:aws:lambda:eu-west-1:123456789012:layer:x:1")
    site.initializer(layers=[layer])
    found = synthesise(site.stack)
    key = found.properties(FUNCTION)["Code"]["S3Key"].removesuffix(".zip")
    package = found.folder / f"asset.{key}"
    assert (package / "initializer.py").exists()
    assert not (package / "psycopg2").exists()
