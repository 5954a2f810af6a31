"""The CDK app of the deploy chain: a shop in several releases, all synthesised by one run of Node.

    python -m tests.chain.app OUTPUT

All releases are one stack to CloudFormation: construct paths, and so logical ids, are the same in each.
"""

from __future__ import annotations

import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import aws_cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_lambda
from aws_cdk import aws_rds as rds
from aws_cdk import aws_secretsmanager as secretsmanager

from cdk.database_initializer import DatabaseInitializer, ExistingDatabase
from cdk.database_initializer.databases import Database
from tests.chain import shop

ENGINE = rds.DatabaseInstanceEngine.postgres(version=rds.PostgresEngineVersion.VER_16)
CLUSTER_ENGINE = rds.DatabaseClusterEngine.aurora_postgres(version=rds.AuroraPostgresEngineVersion.VER_16_6)
ISOLATED = ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED)


class Release(NamedTuple):
    """What one synth of the shop is made with."""

    files: shop.Files
    run_on: str = "deploy"
    auto_migrate: str = ""
    kind: str = "instance"
    create_users: bool | None = None
    environment_name: str | None = None


RELEASES = {
    "base": Release(shop.BASE),
    "again": Release(shop.BASE),
    "next": Release(shop.NEXT),
    "bad": Release(shop.BAD),
    "gated": Release(shop.GATED),
    "stubborn": Release(shop.STUBBORN),
    "manual": Release(shop.BASE, auto_migrate="false"),
    "manual-bad": Release(shop.BAD, auto_migrate="false"),
    "change": Release(shop.BASE, run_on="change"),
    "change-again": Release(shop.BASE, run_on="change"),
    "change-next": Release(shop.NEXT, run_on="change"),
    "cluster": Release(shop.BASE, kind="cluster"),
    "existing": Release(shop.BASE, kind="existing"),
    "dev": Release(shop.ENVIRONMENTS, environment_name="dev"),
    "dev-next": Release(shop.SHOUTING, environment_name="dev"),
    "dev-as-qa": Release(shop.SHOUTING, environment_name="qa"),
    "users": Release(shop.BASE, create_users=True),
    "users-next": Release(shop.NEXT, create_users=True),
}


class Shop(aws_cdk.Stack):
    """A database, its migrations, and an application that goes live after them."""

    def __init__(self, app: aws_cdk.App, name: str, release: Release, migrations: Path) -> None:
        super().__init__(app, "Shop", analytics_reporting=False)
        vpc = ec2.Vpc(self, "Vpc", nat_gateways=0, max_azs=2, subnet_configuration=[
            ec2.SubnetConfiguration(name="isolated", subnet_type=ec2.SubnetType.PRIVATE_ISOLATED)
        ])  # fmt: skip
        vpc.add_interface_endpoint("Secrets", service=ec2.InterfaceVpcEndpointAwsService.SECRETS_MANAGER)
        application = aws_lambda.Function(
            self, "Application", runtime=aws_lambda.Runtime.PYTHON_3_13, handler="index.handler",
            code=aws_lambda.Code.from_inline("def handler(event, context): ..."), environment={"RELEASE": name},
        )  # fmt: skip
        self.initializer = DatabaseInitializer(
            self, "Migrations", vpc=vpc, database=_database(self, vpc, release.kind), migrations=migrations,
            runtime=_runtime(), architecture=_architecture(), run_on=release.run_on, execute_before=[application],
            create_users=release.create_users, environment_name=release.environment_name,
            environment={"AUTO_MIGRATE": release.auto_migrate} if release.auto_migrate else None,
        )  # fmt: skip


def _runtime() -> aws_lambda.Runtime:
    """Return the runtime of this interpreter, which the chain runs the function with."""
    major, minor, *_ = sys.version_info
    return aws_lambda.Runtime(f"python{major}.{minor}", aws_lambda.RuntimeFamily.PYTHON)


def _architecture() -> aws_lambda.Architecture:
    arm = platform.machine().lower() in {"arm64", "aarch64"}
    return aws_lambda.Architecture.ARM_64 if arm else aws_lambda.Architecture.X86_64


def _database(scope: aws_cdk.Stack, vpc: ec2.IVpc, kind: str) -> Database:
    credentials = rds.Credentials.from_generated_secret(shop.ADMIN)
    if kind == "cluster":
        return rds.DatabaseCluster(
            scope, "Database", engine=CLUSTER_ENGINE, vpc=vpc, vpc_subnets=ISOLATED, credentials=credentials,
            writer=rds.ClusterInstance.serverless_v2("writer"), default_database_name="shop",
            readers=[rds.ClusterInstance.serverless_v2("reader", scale_with_writer=True)],
        )  # fmt: skip
    if kind == "existing":
        host, secret = (aws_cdk.CfnParameter(scope, name).value_as_string for name in ("DatabaseHost", "AdminSecret"))
        group = ec2.SecurityGroup(scope, "DatabaseGroup", vpc=vpc)
        return ExistingDatabase(secretsmanager.Secret.from_secret_name_v2(scope, "Admin", secret), host, group)
    return rds.DatabaseInstance(
        scope, "Database", engine=ENGINE, vpc=vpc, vpc_subnets=ISOLATED, credentials=credentials, database_name="shop",
    )  # fmt: skip


def _folders(base: Path) -> Iterator[tuple[str, Path]]:
    for name, release in RELEASES.items():
        folder = base / name / "migrations"
        folder.mkdir(parents=True)
        for file, text in release.files.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(text, "utf-8")
        yield name, folder


def main(output: str) -> None:
    """Synthesise every release into an assembly of its own, since only then all have the same construct paths."""
    with tempfile.TemporaryDirectory() as base:
        for name, folder in _folders(Path(base)):
            app = aws_cdk.App(outdir=str(Path(output) / name), analytics_reporting=False)
            Shop(app, name, RELEASES[name], folder)
            app.synth()
            _share_assets(Path(output) / name, Path(output) / "assets")


def _share_assets(assembly: Path, assets: Path) -> None:
    """Store packages that several releases have once: each has 12 MB, and pytest keeps the folders of three sessions."""
    assets.mkdir(exist_ok=True)
    for asset in assembly.glob("asset.*"):
        if (assets / asset.name).exists():
            shutil.rmtree(asset)
        else:
            asset.rename(assets / asset.name)
        asset.symlink_to(Path("..", assets.name, asset.name))


if __name__ == "__main__":
    main(sys.argv[1])
