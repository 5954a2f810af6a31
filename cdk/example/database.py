"""The example's database: RDS PostgreSQL or Aurora Serverless v2, private, encrypted, with a generated password."""

from __future__ import annotations

import aws_cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_rds as rds
from constructs import Construct

ISOLATED = ec2.SubnetType.PRIVATE_ISOLATED
_SUBNETS = ec2.SubnetSelection(subnet_type=ISOLATED)
_NAME = "shop"
_BACKUP = aws_cdk.Duration.days(7)
_ADMIN = "shop_admin"


def make_database(
    scope: Construct, vpc: ec2.IVpc, *, aurora: bool, protected: bool
) -> rds.DatabaseInstance | rds.DatabaseCluster:  # fmt: skip
    """Make a database that keeps a snapshot when it is deleted; a protected one cannot be deleted at all.

    CloudFormation cannot take back a first deploy with a protected database that fails.
    """
    return _make_cluster(scope, vpc, protected) if aurora else _make_instance(scope, vpc, protected)


def _make_instance(scope: Construct, vpc: ec2.IVpc, protected: bool) -> rds.DatabaseInstance:
    return rds.DatabaseInstance(
        scope, "Database",
        engine=rds.DatabaseInstanceEngine.postgres(version=rds.PostgresEngineVersion.VER_18_3),
        credentials=rds.Credentials.from_generated_secret(_ADMIN), database_name=_NAME,
        instance_type=ec2.InstanceType.of(ec2.InstanceClass.T4G, ec2.InstanceSize.MICRO),
        vpc=vpc, vpc_subnets=_SUBNETS, multi_az=False,
        storage_encrypted=True, backup_retention=_BACKUP, iam_authentication=True,
        deletion_protection=protected, removal_policy=aws_cdk.RemovalPolicy.SNAPSHOT,
    )  # fmt: skip


def _make_cluster(scope: Construct, vpc: ec2.IVpc, protected: bool) -> rds.DatabaseCluster:
    return rds.DatabaseCluster(
        scope, "Database",
        engine=rds.DatabaseClusterEngine.aurora_postgres(version=rds.AuroraPostgresEngineVersion.VER_17_9),
        credentials=rds.Credentials.from_generated_secret(_ADMIN), default_database_name=_NAME,
        writer=rds.ClusterInstance.serverless_v2("Writer"),
        readers=[rds.ClusterInstance.serverless_v2("Reader", scale_with_writer=True)],
        serverless_v2_min_capacity=0, serverless_v2_max_capacity=4,
        vpc=vpc, vpc_subnets=_SUBNETS,
        storage_encrypted=True, backup=rds.BackupProps(retention=_BACKUP), iam_authentication=True,
        deletion_protection=protected, removal_policy=aws_cdk.RemovalPolicy.SNAPSHOT,
    )  # fmt: skip
