"""The function, the CDK trigger that invokes it in a deploy, and the times of both.

CloudFormation invokes the function when a property of the trigger's custom resource changes. The trigger sees every
outcome of a run because these times, in seconds, are in this order:

    handler's own deadline  <  function's timeout  <  provider's socket timeout  <  end of the provider

- The handler stops before its own deadline and reports what is applied and what is pending.
- If the provider's socket timed out before the function ends, the AWS SDK in it would invoke the function again.
- When Lambda ends the provider at 15 minutes, CloudFormation gets no response and waits for an hour. Before the call
  the provider may wait for a minute until its role is usable (12 times 5 seconds, in its own code).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import aws_cdk
from aws_cdk import aws_lambda, triggers
from aws_cdk import aws_logs as logs
from constructs import Construct, IConstruct

from .errors import InvalidProps
from .network import Place
from .package import Package
from .secrets import execution_role

PROVIDER_END = 900
PROVIDER_MAY_WAIT = 60
SOCKET_MARGIN = 40
"""What an invocation takes in addition to the function's own time, to start an environment and attach its network."""
MAX_TIMEOUT = 780
MIN_TIMEOUT = 10
_RUN_ON = ("deploy", "change")


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


def socket_timeout(function_timeout: float) -> float:
    """Return the provider's socket timeout for a function with ``function_timeout``; raises InvalidProps."""
    if function_timeout > MAX_TIMEOUT:
        raise InvalidProps(
            f"timeout is {function_timeout:g} s, but the CDK's trigger cannot wait for a function for more than "
            f"{MAX_TIMEOUT} s: its own function ends at {PROVIDER_END} s",
            fix="use at most Duration.minutes(13); a longer migration belongs in several files, since a deploy that "
            "runs out of time continues in the next one, or is run from a machine: python db_setup migrate",
        )
    if function_timeout < MIN_TIMEOUT:
        raise InvalidProps(
            f"timeout is {function_timeout:g} s, too short to connect to a database",
            fix=f"use at least Duration.seconds({MIN_TIMEOUT}), or leave it out",
        )
    return function_timeout + SOCKET_MARGIN


def check_run_on(run_on: str) -> None:
    """Raise InvalidProps for a value other than these two."""
    if run_on not in _RUN_ON:
        raise InvalidProps(f'run_on is "{run_on}"', fix='use "deploy" or "change"')


def set_properties(trigger: triggers.Trigger, package: Package, socket_seconds: float, *, every_deploy: bool) -> None:
    """Set the trigger's timeouts, list its migrations for ``cdk diff``, and make it run in every deploy.

    A property that is new each time is enough for that. A date in the function, such as in its description, would
    publish a version of the function each time.
    """
    custom_resource = trigger.node.default_child
    assert isinstance(custom_resource, aws_cdk.CustomResource)
    resource = custom_resource.node.default_child
    assert isinstance(resource, aws_cdk.CfnResource)
    resource.add_property_override("Timeout", str(round(socket_seconds * 1000)))
    resource.add_property_override("ServiceTimeout", str(PROVIDER_END))  # else an hour, if it ends without a response
    resource.add_property_override("Migrations", package.migrations)
    resource.add_property_override("MigrationsDigest", package.digest)
    if every_deploy:
        resource.add_property_override("Deploy", datetime.now(UTC).isoformat(timespec="milliseconds"))


def follow(function: aws_lambda.Function, *values: str) -> None:
    """Publish a new version of the function when one of the values changes, such as the address of the database.

    The trigger invokes a version, which keeps the variables it was published with. The CDK publishes one when the
    template's text of the function changes; a database that is replaced changes only what the text stands for.
    """
    version = function.current_version.node.default_child
    assert isinstance(version, aws_cdk.CfnResource)
    version.add_property_override("Description", aws_cdk.Fn.join(" ", list(values)))


def refuse_circle(scope: IConstruct, awaited: Iterable[IConstruct]) -> None:
    """Raise InvalidProps when ``scope`` is, contains or belongs to something that the migrations depend on."""
    path = f"{scope.node.path}/"
    for other in awaited:
        needed = f"{other.node.path}/"
        if path.startswith(needed) or needed.startswith(path):
            raise InvalidProps(
                f"execute_before names {scope.node.path}, which the migrations need themselves",
                fix="name only what is to go live after them: a service, a function",
            )
    if any(isinstance(node, triggers.Trigger) for node in scope.node.find_all()):
        raise InvalidProps(
            f"execute_before names {scope.node.path}, which has a trigger of its own; all triggers of a stack share "
            "one function of the CDK, so they would wait for each other",
            fix="name these migrations in execute_after of the other trigger",
        )
