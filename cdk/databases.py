"""The databases the construct knows, brought to one form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import aws_cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_rds as rds
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct, IConstruct

from cdk.refusals import Refused


@dataclass(frozen=True)
class ExistingDatabase:
    """A database that is there already: not made by this app, or made by another stack of it.

    ``secret`` is its admin's, in the JSON that RDS writes; ``security_group`` is the database's own.
    """

    secret: secretsmanager.ISecret
    endpoint: str
    security_group: ec2.ISecurityGroup
    port: int = 5432


Database = rds.DatabaseInstance | rds.DatabaseCluster | rds.IDatabaseInstance | rds.IDatabaseCluster | ExistingDatabase


class Facts(NamedTuple):
    """What the function has to know about a database: where it is, how it is reached, what must be there first."""

    host: str
    port: str
    secret: secretsmanager.ISecret
    connections: ec2.Connections
    wait_for: tuple[IConstruct, ...]

    def variables(self, given: Mapping[str, str | None]) -> dict[str, str]:
        """Return the variables of the function that say which database; ``given`` are further ones, if not empty."""
        found = {"DB_SECRET_NAME": self.secret.secret_arn, "DB_HOST": self.host, "DB_PORT": self.port}
        return {**found, **{name: value for name, value in given.items() if value}}


_AWAITED = (rds.CfnDBInstance, rds.CfnDBCluster, secretsmanager.CfnSecretTargetAttachment)
"""Not everything of the database: rules for other functions may wait for these functions, and they for us."""


def facts_of(database: Database, admin_secret: secretsmanager.ISecret | None) -> Facts:
    """Return the facts; raises Refused when nothing says with which secret to connect."""
    if isinstance(database, ExistingDatabase):
        port = ec2.Port.tcp(database.port)
        connections = ec2.Connections(security_groups=[database.security_group], default_port=port)
        return Facts(database.endpoint, str(database.port), admin_secret or database.secret, connections, ())
    endpoint = _endpoint(database)
    own: secretsmanager.ISecret | None = getattr(database, "secret", None)
    secret = admin_secret or own
    if secret is None:
        raise Refused(
            f"the database {database.node.path} has no secret of its own",
            cure="make it with credentials=rds.Credentials.from_generated_secret(...), or name one in admin_secret",
        )
    port_text = aws_cdk.Token.as_string(endpoint.port)
    return Facts(endpoint.hostname, port_text, secret, database.connections, tuple(_awaited(database)))


def _endpoint(database: rds.IDatabaseInstance | rds.IDatabaseCluster) -> rds.Endpoint:
    if hasattr(database, "cluster_endpoint"):
        return database.cluster_endpoint  # the writer
    if hasattr(database, "instance_endpoint"):
        return database.instance_endpoint
    raise Refused(
        f"database is a {type(database).__name__}",
        cure="give an rds.DatabaseInstance, an rds.DatabaseCluster, or an ExistingDatabase",
    )


def _awaited(database: Construct | IConstruct) -> Iterable[IConstruct]:
    """Yield the instances (of a cluster each one, the writer too) and the attachment of the secret."""
    return [child for child in database.node.find_all() if isinstance(child, _AWAITED)]
