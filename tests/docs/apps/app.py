"""The app of a reader in Python: the README's snippet in a stack with a network, a database and an application.

    python app.py SNIPPET RELEASES OUTPUT

There is one synth for each folder in RELEASES; before it, the files in there are put into the project.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import aws_cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_lambda
from aws_cdk import aws_rds as rds

ISOLATED = ec2.SubnetType.PRIVATE_ISOLATED
SUBNETS = ec2.SubnetSelection(subnet_type=ISOLATED)
INSTANCE = rds.DatabaseInstanceEngine.postgres(version=rds.PostgresEngineVersion.VER_17_9)
CLUSTER = rds.DatabaseClusterEngine.aurora_postgres(version=rds.AuroraPostgresEngineVersion.VER_17_9)


class Shop(aws_cdk.Stack):
    """A stack as the README takes it for granted, and what the snippet adds to it."""

    def __init__(self, app: aws_cdk.App, id: str, snippet: str) -> None:  # noqa: A002 - the CDK's name for it
        super().__init__(app, id)
        vpc = self._make_network()
        database = self._make_cluster(vpc) if id == "Cluster" else self._make_instance(vpc)
        application = aws_lambda.Function(
            self, "Application", vpc=vpc, runtime=aws_lambda.Runtime.PYTHON_3_13, handler="index.handler",
            code=aws_lambda.Code.from_inline("def handler(event, context): ..."),
        )  # fmt: skip
        database.connections.allow_default_port_from(application)
        names = {"self": self, "vpc": vpc, "database": database, "application": application, "service": application}
        exec(snippet, names)  # noqa: S102 - this is what the app is for

    def _make_network(self) -> ec2.Vpc:
        subnets = ec2.SubnetConfiguration(name="database", subnet_type=ISOLATED)
        vpc = ec2.Vpc(self, "Network", nat_gateways=0, subnet_configuration=[subnets])
        vpc.add_interface_endpoint("SecretsManager", service=ec2.InterfaceVpcEndpointAwsService.SECRETS_MANAGER)
        return vpc

    def _make_instance(self, vpc: ec2.Vpc) -> rds.DatabaseInstance:
        return rds.DatabaseInstance(
            self, "Database", engine=INSTANCE, vpc=vpc, vpc_subnets=SUBNETS, database_name="shop"
        )

    def _make_cluster(self, vpc: ec2.Vpc) -> rds.DatabaseCluster:
        return rds.DatabaseCluster(
            self, "Database", engine=CLUSTER, vpc=vpc, vpc_subnets=SUBNETS, default_database_name="shop",
            writer=rds.ClusterInstance.serverless_v2("Writer"), readers=[rds.ClusterInstance.serverless_v2("Reader")],
        )  # fmt: skip


def main(snippet: Path, releases: Path, output: Path) -> None:
    """Synthesise each release into a folder of its own."""
    for release in sorted(releases.iterdir()):
        shutil.copytree(release, Path.cwd(), dirs_exist_ok=True)
        app = aws_cdk.App(outdir=str(output / release.name))
        for name in ("Instance", "Cluster"):
            Shop(app, name, snippet.read_text("utf-8"))
        app.synth()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
