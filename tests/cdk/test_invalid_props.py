"""What cannot work is refused when the construct is made, or by synth, in a sentence with the fix."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aws_cdk
import pytest
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_lambda, triggers
from aws_cdk import aws_rds as rds
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from cdk.database_initializer import DatabaseInitializer, InvalidProps
from tests.cdk.stacks import Site, errors_of, make_app, make_instance, make_network, make_site, synthesise

Properties = Callable[[Site], dict[str, Any]]


def _imported(site: Site) -> rds.IDatabaseInstance:
    return rds.DatabaseInstance.from_database_instance_attributes(
        site.stack, "Imported", instance_endpoint_address="db.example", instance_identifier="x", port=5432,
        security_groups=[ec2.SecurityGroup.from_security_group_id(site.stack, "Group", "sg-0123456789abcdef0")],
    )  # fmt: skip


def _secret(site: Site, account: str, region: str) -> secretsmanager.ISecret:
    arn = f"arn:aws:secretsmanager:{region}:{account}:secret:x-AbCdEf"
    return secretsmanager.Secret.from_secret_complete_arn(site.stack, "Foreign", arn)


def _cluster(site: Site) -> rds.IDatabaseCluster:
    return rds.DatabaseCluster.from_database_cluster_attributes(site.stack, "Other", cluster_identifier="x")


def _mysql(site: Site) -> rds.DatabaseInstance:
    engine = rds.DatabaseInstanceEngine.mysql(version=rds.MysqlEngineVersion.VER_8_0)
    return rds.DatabaseInstance(site.stack, "Other", engine=engine, vpc=site.vpc, vpc_subnets=_ISOLATED)


def _replica(site: Site) -> rds.DatabaseInstanceReadReplica:
    kind = ec2.InstanceType.of(ec2.InstanceClass.T4G, ec2.InstanceSize.MICRO)
    return rds.DatabaseInstanceReadReplica(
        site.stack, "Other", source_database_instance=site.database, vpc=site.vpc, vpc_subnets=_ISOLATED, instance_type=kind
    )


def _layer(site: Site) -> aws_lambda.ILayerVersion:
    return aws_lambda.LayerVersion.from_layer_version_arn(site.stack, "L", "arn:aws:lambda:eu-west-1:123456789012:layer:x:1")


def _trigger(site: Site) -> Construct:
    scope = Construct(site.stack, "Other")
    code = aws_lambda.Code.from_inline("def handler(event, context): pass")
    triggers.TriggerFunction(scope, "T", code=code, handler="index.handler", runtime=aws_lambda.Runtime.PYTHON_3_13)
    return scope


def _topic(site: Site) -> aws_cdk.CfnResource:
    return aws_cdk.CfnResource(site.stack, "Topic", type="AWS::SNS::Topic")


def _both_ways(scopes: list[Any]) -> dict[str, Any]:
    return {"execute_after": scopes, "execute_before": scopes}


_ISOLATED = ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED)
CASES: dict[str, tuple[Properties, str, str]] = {
    "no secret": (lambda site: {"database": _imported(site)}, "Imported has no secret of its own", "admin_secret"),
    "no database": (lambda site: {"database": site.vpc}, "database is a Vpc", "rds.DatabaseInstance"),
    "another engine": (lambda site: {"database": _mysql(site)}, "the engine of Shop/Other is mysql", "Only PostgreSQL"),
    "a replica": (lambda site: {"database": _replica(site)}, "Shop/Other is a read replica", "Name its source"),
    "an unknown place": (lambda site: {"database": _cluster(site)}, "where the imported database Shop/Other is", "Give cluster_endpoint_address"),
    "one secret for two": (lambda site: {"user_secret": site.database.secret}, "is the secret of the admin, too", "its own secret"),
    "a password": (lambda _: {"environment": {"DATABASE_URL": "postgresql://x"}}, "environment names DATABASE_URL", "template"),
    "no text": (lambda _: {"environment": {"AUTO_MIGRATE": False}}, "AUTO_MIGRATE is False", 'AUTO_MIGRATE="true"'),
    "an environment without a name": (lambda _: {"environment_name": ""}, "environment_name is ''", 'such as "dev"'),
    "a path": (lambda _: {"environment_name": "dev/../prod"}, "environment_name is 'dev/../prod'", "letters"),
    "a name of the deploy": (lambda _: {"environment_name": aws_cdk.Aws.REGION}, "environment_name is '${Token[", "letters"),
    "two environments": (
        lambda _: {"environment_name": "dev", "environment": {"MIGRATION_ENV": "prod"}},
        'environment_name is "dev", and environment has MIGRATION_ENV="prod"', "Set only one",
    ),
    "layers of another language": (
        lambda site: {"runtime": aws_lambda.Runtime.NODEJS_22_X, "layers": [_layer(site)]}, "nodejs22.x", "runtime of Python",
    ),
    "another trigger": (lambda site: {"execute_before": [_trigger(site)]}, "has a trigger of its own", "execute_after"),
    "what comes first": (
        lambda site: _both_ways([_topic(site)]), "which the migrations need", "a service",
    ),
    "its network first": (lambda site: {"execute_before": [site.vpc]}, "Network, which the migrations need", "a service"),
    "other language": (lambda _: {"runtime": aws_lambda.Runtime.NODEJS_22_X}, "nodejs22.x", "runtime of Python 3.11"),
    "old Python": (lambda _: {"runtime": aws_lambda.Runtime.PYTHON_3_9}, "runtime is python3.9", "3.11"),
    "Python too old for db_setup": (lambda _: {"runtime": aws_lambda.Runtime.PYTHON_3_10}, "runtime is python3.10", "3.11, 3.12"),
    "unknown architecture": (
        lambda _: {"architecture": aws_lambda.Architecture.custom("riscv64")}, 'architecture "riscv64"', "x86_64, arm64",
    ),
    "too long": (lambda _: {"timeout": aws_cdk.Duration.minutes(15)}, "timeout is 900 s", "Duration.minutes(13)"),
    "too short": (lambda _: {"timeout": aws_cdk.Duration.seconds(3)}, "timeout is 3 s", "Duration.seconds(10)"),
    "unknown word": (lambda _: {"run_on": "always"}, 'run_on is "always"', '"deploy" or "change"'),
    "no certificates": (lambda _: {"ca_bundle": "/no/bundle.pem"}, "no file /no/bundle.pem", "RDS CA bundle"),
    "another account": (
        lambda site: {"admin_secret": _secret(site, "999999999999", "eu-west-1")}, "in the account 999999999999", "Copy it",
    ),
    "another region": (
        lambda site: {"user_secret": _secret(site, "123456789012", "us-east-1")}, "in the region us-east-1", "replicate",
    ),
    "its own database first": (lambda site: {"execute_before": [site.database]}, "Database, which the migrations need", "a service"),
    "its own stack first": (lambda site: {"execute_before": [site.stack]}, "Shop, which the migrations need", "a service"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_property_that_cannot_work_is_refused(tmp_path: Path, name: str) -> None:
    """The exception says what is wrong and what to do instead."""
    properties, what, fix = CASES[name]
    site = make_site(tmp_path / "out", env=aws_cdk.Environment(account="123456789012", region="eu-west-1"))
    with pytest.raises(InvalidProps) as refused:
        site.initializer(**properties(site))
    assert what in str(refused.value)
    assert fix in str(refused.value)


@pytest.mark.parametrize(("variable", "value"), [("LOCK_TIMEOUT", "soon"), ("AUTO_MIGRATE", "maybe")])
def test_a_variable_that_the_function_would_refuse_is_an_error_of_synth(tmp_path: Path, variable: str, value: str) -> None:
    """What the function reads at its start is read at synth, too."""
    site = make_site(tmp_path / "out")
    site.initializer(environment={variable: value})
    assert f'environment: {variable} is "{value}"' in errors_of(site.stack)


def test_public_subnets_are_refused(tmp_path: Path) -> None:
    """A function in a public subnet reaches nothing; the refusal names what to give instead."""
    site = make_site(tmp_path / "out")
    public = ec2.SubnetConfiguration(name="public", subnet_type=ec2.SubnetType.PUBLIC)
    vpc = ec2.Vpc(site.stack, "Public", max_azs=2, nat_gateways=0, subnet_configuration=[public])
    with pytest.raises(InvalidProps, match=r"the subnets are public.*vpc_subnets"):
        site.initializer(vpc=vpc)


def test_a_missing_folder_is_an_error_of_synth(tmp_path: Path) -> None:
    """The error names the folder that is missing."""
    site = make_site(tmp_path / "out")
    site.initializer(migrations=tmp_path / "nowhere")
    assert f"there is no folder {tmp_path / 'nowhere'}" in errors_of(site.stack)


def test_it_cannot_go_before_itself(tmp_path: Path) -> None:
    """execute_before of the construct itself, or of a part of it, is refused."""
    site = make_site(tmp_path / "out")
    initializer = site.initializer()
    for scope in (initializer, initializer.function):
        with pytest.raises(InvalidProps, match="which the migrations need themselves"):
            initializer.execute_before(scope)


def test_every_property_is_described() -> None:
    """The docstring of the construct has each of its properties."""
    text = inspect.getdoc(DatabaseInitializer) or ""
    properties = set(inspect.signature(DatabaseInitializer.__init__).parameters) - {"self", "scope", "id"}
    assert len(properties) > 20
    assert {name for name in properties if f"``{name}``" not in text} == set()


def test_a_misspelt_property_is_refused(tmp_path: Path) -> None:
    """Python itself refuses an unknown keyword."""
    with pytest.raises(TypeError, match="migration"):
        make_site(tmp_path / "out").initializer(migration="x")


def test_a_vpc_without_a_way_to_the_secret_is_an_error_of_synth(tmp_path: Path) -> None:
    """Isolated subnets without the endpoint: synth says which endpoint to add."""
    stack = aws_cdk.Stack(make_app(tmp_path / "out"), "Shop")
    vpc = make_network(stack, endpoint=False)
    vpc.add_gateway_endpoint("S3", service=ec2.GatewayVpcEndpointAwsService.S3)
    DatabaseInitializer(stack, "Migrations", vpc=vpc, database=make_instance(stack, vpc))
    error = errors_of(stack)
    assert "no endpoint for Secrets Manager" in error
    assert 'vpc.add_interface_endpoint("SecretsManager"' in error


def test_an_imported_vpc_is_given_the_benefit_of_the_doubt(tmp_path: Path) -> None:
    """Its endpoints may be made elsewhere: a warning, no error."""
    site = make_site(tmp_path / "out")
    imported = ec2.Vpc.from_vpc_attributes(
        site.stack, "Imported", vpc_id="vpc-0123456789abcdef0", availability_zones=["a", "b"],
        isolated_subnet_ids=["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"],
        isolated_subnet_route_table_ids=["rtb-0123456789abcdef0", "rtb-0123456789abcdef1"],
    )  # fmt: skip
    site.initializer(vpc=imported)
    found = synthesise(site.stack)
    assert any("as far as this app knows" in warning for warning in found.warnings)
