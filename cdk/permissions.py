"""What the function may do: its logs, its network interface, its secrets, and nothing else."""

from __future__ import annotations

import aws_cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from cdk.acknowledgment import acknowledge
from cdk.refusals import Refused

_INTERFACES = (
    "ec2:CreateNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:DeleteNetworkInterface",
    "ec2:AssignPrivateIpAddresses",
    "ec2:UnassignPrivateIpAddresses",
)
_WHY_ANY_RESOURCE = (
    "Lambda attaches a function to a VPC with these six permissions; the Describe actions know no resources, and the "
    "interface has no name before it exists. The managed policy for it grants the same, and every log group besides."
)
_READ = ("secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret")
_WRITE = ("secretsmanager:PutSecretValue", "secretsmanager:UpdateSecretVersionStage")


def execution_role(scope: Construct, log_group: logs.LogGroup) -> iam.Role:
    """Make the function's role, without a managed policy."""
    role = iam.Role(
        scope, "Role",
        assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
        description="Applies the migrations of the database",
    )  # fmt: skip
    log_group.grant_write(role)
    role.add_to_principal_policy(iam.PolicyStatement(actions=list(_INTERFACES), resources=["*"]))
    acknowledge(role, "AwsSolutions::AwsSolutions-IAM5[Resource::*]", _WHY_ANY_RESOURCE)
    return role


def allow_secret(grantee: iam.IGrantable, secret: secretsmanager.ISecret, *, write: bool = False) -> None:
    """Let the function read a secret, or write it, too, and use the secret's key through Secrets Manager.

    All of it is in the function's own policy. ``secret.grant_read`` writes into the policy of the key, which may be in
    another stack (a circle) or imported (nothing happens then).
    """
    principal = grantee.grant_principal
    arn = secret.secret_full_arn or f"{secret.secret_arn}-??????"  # the end of the ARN is not known from a name
    actions = [*_READ, *(_WRITE if write else ())]
    principal.add_to_principal_policy(iam.PolicyStatement(actions=actions, resources=[arn]))
    if secret.encryption_key is None:
        return
    service = f"secretsmanager.{aws_cdk.Stack.of(secret).region}.amazonaws.com"
    principal.add_to_principal_policy(iam.PolicyStatement(
        actions=["kms:Decrypt", *(["kms:GenerateDataKey"] if write else [])],
        resources=[secret.encryption_key.key_arn],
        conditions={"StringEquals": {"kms:ViaService": service}},
    ))  # fmt: skip


def refuse_foreign(scope: Construct, secret: secretsmanager.ISecret, name: str) -> None:
    """Raise Refused for a secret of another account or region, as far as that is known at synth."""
    stack = aws_cdk.Stack.of(scope)
    for what, theirs, ours in (
        ("account", secret.env.account, stack.account),
        ("region", secret.env.region, stack.region),
    ):
        if theirs != ours and not aws_cdk.Token.is_unresolved(theirs) and not aws_cdk.Token.is_unresolved(ours):
            raise Refused(
                f"{name} is in the {what} {theirs}, and the function in {ours}",
                cure=f"use a secret of the same {what}; Secrets Manager can replicate one to other regions"
                if what == "region"
                else f"copy it to a secret of the {what} {ours}, beside the database",
            )
