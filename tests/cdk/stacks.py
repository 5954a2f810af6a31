"""Small apps around the construct, synthesised in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import aws_cdk
import pytest
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_rds as rds

from cdk.database_initializer import DatabaseInitializer
from tests.chain.template import Template

INSTANCE = rds.DatabaseInstanceEngine.postgres(version=rds.PostgresEngineVersion.VER_17_9)
AURORA = rds.DatabaseClusterEngine.aurora_postgres(version=rds.AuroraPostgresEngineVersion.VER_17_9)
ROOT = Path(__file__).resolve().parents[2]


class Site(NamedTuple):
    """A stack with a private network and a database, to put the construct in."""

    stack: aws_cdk.Stack
    vpc: ec2.Vpc
    database: rds.DatabaseInstance

    def initializer(self, **properties: Any) -> DatabaseInitializer:
        """Make the construct, with what a test does not name taken from here."""
        return DatabaseInitializer(
            self.stack, "Migrations", **{"vpc": self.vpc, "database": self.database, **properties}
        )


def make_app(outdir: Path) -> aws_cdk.App:
    """Make an app with the feature flags of the project."""
    context = json.loads((ROOT / "cdk.json").read_text())["context"]
    return aws_cdk.App(outdir=str(outdir), context=context)


def make_network(stack: aws_cdk.Stack, *, endpoint: bool = True) -> ec2.Vpc:
    """Make a VPC without a way out."""
    subnets = ec2.SubnetConfiguration(name="database", subnet_type=ec2.SubnetType.PRIVATE_ISOLATED)
    vpc = ec2.Vpc(stack, "Network", max_azs=2, nat_gateways=0, subnet_configuration=[subnets])
    if endpoint:
        vpc.add_interface_endpoint("SecretsManager", service=ec2.InterfaceVpcEndpointAwsService.SECRETS_MANAGER)
    return vpc


def make_instance(stack: aws_cdk.Stack, vpc: ec2.Vpc) -> rds.DatabaseInstance:
    """Make an RDS instance with a generated secret."""
    return rds.DatabaseInstance(
        stack, "Database", engine=INSTANCE, vpc=vpc, vpc_subnets=_private(vpc), database_name="shop",
        storage_encrypted=True,
    )  # fmt: skip


def _private(vpc: ec2.Vpc) -> ec2.SubnetSelection:
    return ec2.SubnetSelection(subnets=[*vpc.private_subnets, *vpc.isolated_subnets])


def make_cluster(stack: aws_cdk.Stack, vpc: ec2.Vpc) -> rds.DatabaseCluster:
    """Make an Aurora cluster with a writer and a reader."""
    return rds.DatabaseCluster(
        stack, "Database", engine=AURORA, vpc=vpc, vpc_subnets=_private(vpc), default_database_name="shop",
        writer=rds.ClusterInstance.serverless_v2("Writer"), readers=[rds.ClusterInstance.serverless_v2("Reader")],
    )  # fmt: skip


def make_site(outdir: Path, **stack_options: Any) -> Site:
    """Make an app with one stack."""
    stack = aws_cdk.Stack(make_app(outdir), "Shop", **stack_options)
    vpc = make_network(stack)
    return Site(stack, vpc, make_instance(stack, vpc))


class Synthesised(NamedTuple):
    """What synth has left: the template of the stack "Shop", and its warnings."""

    template: Template
    warnings: tuple[str, ...]
    folder: Path

    def the(self, kind: str) -> str:
        """Return the logical id of the only resource of a type in the construct, or the stack."""
        found = [name for name in self.template.of_type(kind) if name.startswith("Migrations")]
        (name,) = found or self.template.of_type(kind)
        return name

    def properties(self, kind: str) -> Any:
        """Return the properties of this resource."""
        return self.template.resources[self.the(kind)].properties


def synthesise(stack: aws_cdk.Stack) -> Synthesised:
    """Synthesise the app of a stack."""
    app = stack.node.root
    assert isinstance(app, aws_cdk.App)
    folder = Path(app.synth().directory)
    template = Template(json.loads((folder / f"{stack.artifact_id}.template.json").read_text()))
    return Synthesised(template, _warnings(folder, stack.artifact_id), folder)


def make_service(stack: aws_cdk.Stack, vpc: ec2.Vpc) -> ecs.FargateService:
    """Make a service of the kind that a snippet calls its own."""
    task = ecs.FargateTaskDefinition(stack, "Task")
    task.add_container("Container", image=ecs.ContainerImage.from_registry("registry.example/shop"))
    cluster = ecs.Cluster(stack, "Cluster", vpc=vpc)
    return ecs.FargateService(stack, "Service", cluster=cluster, task_definition=task, min_healthy_percent=100)


def errors_of(stack: aws_cdk.Stack) -> str:
    """Return what synth says when it refuses the app."""
    with pytest.raises(RuntimeError, match="ValidationFailed") as refused:
        synthesise(stack)
    return str(refused.value)


def _warnings(folder: Path, artifact: str) -> tuple[str, ...]:
    manifest = json.loads((folder / "manifest.json").read_text())["artifacts"][artifact]
    file = manifest.get("additionalMetadataFile")
    metadata = json.loads((folder / file).read_text()) if file else manifest.get("metadata", {})
    entries = [entry for of_construct in metadata.values() for entry in of_construct]
    return tuple(entry["data"] for entry in entries if entry["type"] == "aws:cdk:warning")
