"""The properties of the trigger's custom resource: CloudFormation invokes the function when one of them changes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import aws_cdk
from aws_cdk import triggers
from constructs import IConstruct

from cdk.package import Package
from cdk.refusals import Refused

_RUN_ON = ("deploy", "change")


def check_run_on(run_on: str) -> None:
    """Raise Refused for a word that is none of the two."""
    if run_on not in _RUN_ON:
        raise Refused(f'run_on is "{run_on}"', cure='use "deploy" or "change"')


def set_properties(trigger: triggers.Trigger, package: Package, listening: float, *, every_deploy: bool) -> None:
    """Make the trigger listen long enough (seconds), show its migrations in ``cdk diff``, and run in every deploy.

    A property that is new each time is enough for that. A date in the function, such as in its description, would
    publish a version of the function each time.
    """
    custom_resource = trigger.node.default_child
    assert isinstance(custom_resource, aws_cdk.CustomResource)
    resource = custom_resource.node.default_child
    assert isinstance(resource, aws_cdk.CfnResource)
    resource.add_property_override("Timeout", str(round(listening * 1000)))
    resource.add_property_override("Migrations", package.migrations)
    resource.add_property_override("MigrationsDigest", package.digest)
    if every_deploy:
        resource.add_property_override("Deploy", datetime.now(UTC).isoformat(timespec="milliseconds"))


def refuse_circle(scope: IConstruct, awaited: Iterable[IConstruct]) -> None:
    """Raise Refused when ``scope`` is, holds or belongs to something that the migrations themselves need."""
    path = f"{scope.node.path}/"
    for other in awaited:
        needed = f"{other.node.path}/"
        if path.startswith(needed) or needed.startswith(path):
            raise Refused(
                f"execute_before names {scope.node.path}, which the migrations need themselves",
                cure="name only what is to go live after them: a service, a function",
            )
