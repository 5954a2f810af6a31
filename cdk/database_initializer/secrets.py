"""What the function may do, and the secrets of the users it manages.

Its role allows its log group, its network interface and its secrets, and nothing else. The secrets of limited users are
given, or made here without a value for the function to fill.
"""

from __future__ import annotations

import aws_cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct, IConstruct

from .errors import InvalidProps

Secret = secretsmanager.ISecret

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
_WHY_NOT_ROTATED = "The function makes the password, and makes a new one with the action rotate"


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
    """Raise InvalidProps for a secret of another account or region, as far as that is known at synth."""
    stack = aws_cdk.Stack.of(scope)
    for what, theirs, ours in (
        ("account", secret.env.account, stack.account),
        ("region", secret.env.region, stack.region),
    ):
        if theirs != ours and not aws_cdk.Token.is_unresolved(theirs) and not aws_cdk.Token.is_unresolved(ours):
            raise InvalidProps(
                f"{name} is in the {what} {theirs}, and the function in {ours}",
                fix=f"use a secret of the same {what}; Secrets Manager can replicate one to other regions"
                if what == "region"
                else f"copy it to a secret of the {what} {ours}, next to the database",
            )


class UserSecrets:
    """One secret for each kind of limited user, or None where there is no such user."""

    def __init__(
        self, scope: Construct, user: Secret | None, table_creator: Secret | None, readonly: Secret | None,
        create_users: bool | None,
    ) -> None:  # fmt: skip
        make = create_users is True
        self.user = user or (_empty(scope, "UserSecret", "reads and writes") if make else None)
        self.table_creator = table_creator or (_empty(scope, "TableCreatorSecret", "makes tables") if make else None)
        self.readonly = readonly or (_empty(scope, "ReadonlySecret", "reads") if make else None)
        self.all = self.user, self.table_creator, self.readonly
        self._create_users = create_users

    def _named(self) -> dict[str, Secret]:
        by_name = {
            "DB_USER_SECRET_NAME": self.user,
            "DB_TABLE_CREATOR_SECRET_NAME": self.table_creator,
            "DB_READONLY_SECRET_NAME": self.readonly,
        }
        return {name: secret for name, secret in by_name.items() if secret is not None}

    def variables(self) -> dict[str, str]:
        """Return the variables of the function that name these secrets."""
        if self._create_users is False:
            return {"CREATE_USERS": "false"}
        return {name: secret.secret_arn for name, secret in self._named().items()}

    def grant_to(self, scope: Construct, function: iam.IGrantable, admin: Secret) -> None:
        """Let the function read and write exactly these secrets; raises InvalidProps for one that cannot be given."""
        if self._create_users is False:
            return
        stack, used = aws_cdk.Stack.of(scope), {"the admin": admin}
        for name, secret in self._named().items():
            refuse_foreign(scope, secret, name)
            for other, its in used.items():
                if stack.resolve(its.secret_arn) == stack.resolve(secret.secret_arn):
                    raise InvalidProps(f"{name} is the secret of {other}, too", fix="give each user its own secret")
            used[name] = secret
            allow_secret(function, secret, write=True)


def _empty(scope: Construct, id: str, what: str) -> secretsmanager.Secret:  # noqa: A002 - the CDK's name for it
    secret = secretsmanager.Secret(scope, id, description=f"The database user that {what}; written by the migrations")
    resource = secret.node.default_child
    assert isinstance(resource, aws_cdk.CfnResource)
    resource.add_property_deletion_override("GenerateSecretString")  # a random text is no user
    acknowledge(secret, "AwsSolutions::AwsSolutions-SMG4", _WHY_NOT_ROTATED)
    return secret


def acknowledge(construct: IConstruct, rule: str, reason: str) -> None:
    """Record why a known finding of a rule for templates (AwsSolutionsChecks) stays.

    An aws-cdk-lib too old for acknowledgments has no such rules either.
    """
    if hasattr(aws_cdk, "Acknowledgment"):
        aws_cdk.Validations.of(construct).acknowledge(aws_cdk.Acknowledgment(id=rule, reason=reason))
