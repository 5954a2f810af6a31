"""The function behind the trigger."""

from __future__ import annotations

from collections.abc import Mapping

import aws_cdk
from aws_cdk import aws_logs as logs
from aws_cdk import triggers
from constructs import Construct

from cdk.network import Place
from cdk.package import Package
from cdk.permissions import execution_role


def make_function(
    scope: Construct, package: Package, place: Place, variables: Mapping[str, str], memory_size: int,
    timeout: aws_cdk.Duration, log_retention: logs.RetentionDays,
) -> triggers.TriggerFunction:  # fmt: skip
    """Make the function; without a name, so that CloudFormation may replace it."""
    log_group = logs.LogGroup(scope, "Log", retention=log_retention)
    return triggers.TriggerFunction(
        scope, "Function",
        description="Applies the migrations of the database",
        code=package.code, handler="initializer.handler",
        runtime=package.runtime, architecture=package.architecture, layers=package.layers,
        memory_size=memory_size, timeout=timeout,
        vpc=place.vpc, vpc_subnets=place.subnets, security_groups=place.security_groups,
        log_group=log_group, role=execution_role(scope, log_group),
        environment=variables,
    )  # fmt: skip
