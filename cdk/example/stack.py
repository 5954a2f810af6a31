"""An example: a private network, a database in it, the migrations, and an application that goes live after them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aws_cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_lambda
from aws_cdk import aws_logs as logs
from constructs import Construct

from cdk.database_initializer import DatabaseInitializer
from cdk.database_initializer.layer import driver_layer
from cdk.example.database import ISOLATED, make_database

_RUNTIME, _ARCHITECTURE = aws_lambda.Runtime.PYTHON_3_14, aws_lambda.Architecture.ARM_64


class ExampleStack(aws_cdk.Stack):
    """A shop in one environment, such as "dev"; ``aurora`` chooses Aurora Serverless v2 instead of one instance."""

    def __init__(
        self, scope: Construct, id: str, *, environment_name: str, aurora: bool = False, **options: Any  # noqa: A002
    ) -> None:  # fmt: skip
        super().__init__(scope, id, **options)
        vpc = self._make_network()
        database = make_database(self, vpc, aurora=aurora, protected=environment_name == "prod")
        self.migrations = DatabaseInitializer(
            self, "Migrations", vpc=vpc, database=database, create_users=True,
            environment_name=environment_name, architecture=_ARCHITECTURE,
        )  # fmt: skip
        application = self._make_application(vpc)
        database.connections.allow_default_port_from(application, "application")
        self.migrations.execute_before(application)
        # for people: python db_setup status --function NAME
        aws_cdk.CfnOutput(self, "MigrationsFunction", value=self.migrations.function.function_name)

    def _make_network(self) -> ec2.Vpc:
        """Make a VPC that has no way out; what the functions need of AWS comes in by an endpoint."""
        vpc = ec2.Vpc(
            self, "Network", max_azs=2, nat_gateways=0,
            subnet_configuration=[ec2.SubnetConfiguration(name="database", subnet_type=ISOLATED)],
        )  # fmt: skip
        vpc.add_flow_log("FlowLog")
        vpc.add_interface_endpoint("SecretsManager", service=ec2.InterfaceVpcEndpointAwsService.SECRETS_MANAGER)
        return vpc

    def _make_application(self, vpc: ec2.Vpc) -> aws_lambda.Function:
        """Make a function that reads with a limited user; it cannot create, alter or drop anything."""
        secret = self.migrations.user_secret
        assert secret is not None
        application = aws_lambda.Function(
            self, "Application",
            code=aws_lambda.Code.from_asset(str(Path(__file__).with_name("application"))), handler="index.handler",
            runtime=_RUNTIME, architecture=_ARCHITECTURE, timeout=aws_cdk.Duration.seconds(30),
            layers=[driver_layer(self, "Driver", _RUNTIME, _ARCHITECTURE)],
            log_group=logs.LogGroup(self, "ApplicationLog", retention=logs.RetentionDays.ONE_MONTH),
            vpc=vpc, environment={"SECRET_NAME": secret.secret_arn},
        )  # fmt: skip
        secret.grant_read(application)
        return application
