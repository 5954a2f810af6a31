"""The layer of the app with psycopg2, for functions beside the initializer."""

from __future__ import annotations

import aws_cdk
from aws_cdk import aws_lambda
from constructs import Construct

from cdk.drivers import Target
from cdk.layer import layer_folder


def driver_layer(
    scope: Construct, id: str, runtime: aws_lambda.Runtime, architecture: aws_lambda.Architecture  # noqa: A002
) -> aws_lambda.LayerVersion:  # fmt: skip
    """Make a layer of the app. Raises Refused for a runtime or an architecture without a wheel."""
    folder = layer_folder(Target(runtime.name.removeprefix("python"), architecture.name))
    return aws_lambda.LayerVersion(
        scope, id,
        description="psycopg2",
        code=aws_lambda.Code.from_asset(str(folder), asset_hash=folder.name),
        compatible_runtimes=[runtime], compatible_architectures=[architecture],
        removal_policy=aws_cdk.RemovalPolicy.RETAIN,  # the functions of a stack that is rolled back still use it
    )  # fmt: skip
