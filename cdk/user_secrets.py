"""The secrets of the limited users: given, or made here without a value for the function to fill."""

from __future__ import annotations

import aws_cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from cdk.acknowledgment import acknowledge
from cdk.permissions import allow_secret, refuse_foreign
from cdk.refusals import Refused

Secret = secretsmanager.ISecret
_WHY_NOT_ROTATED = "The function makes the password, and makes a new one with the action rotate"


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
        """Return the variables of the function that tell it of these secrets."""
        if self._create_users is False:
            return {"CREATE_USERS": "false"}
        return {name: secret.secret_arn for name, secret in self._named().items()}

    def grant_to(self, scope: Construct, function: iam.IGrantable, admin: Secret) -> None:
        """Let the function read and write exactly these secrets; raises Refused for one that cannot be given."""
        if self._create_users is False:
            return
        stack, used = aws_cdk.Stack.of(scope), {"the admin": admin}
        for name, secret in self._named().items():
            refuse_foreign(scope, secret, name)
            for other, its in used.items():
                if stack.resolve(its.secret_arn) == stack.resolve(secret.secret_arn):
                    raise Refused(f"{name} is the secret of {other}, too", cure="give each user a secret of its own")
            used[name] = secret
            allow_secret(function, secret, write=True)


def _empty(scope: Construct, id: str, what: str) -> secretsmanager.Secret:  # noqa: A002 - the CDK's name for it
    secret = secretsmanager.Secret(scope, id, description=f"The database user that {what}; written by the migrations")
    resource = secret.node.default_child
    assert isinstance(resource, aws_cdk.CfnResource)
    resource.add_property_deletion_override("GenerateSecretString")  # a random text is no user
    acknowledge(secret, "AwsSolutions::AwsSolutions-SMG4", _WHY_NOT_ROTATED)
    return secret
