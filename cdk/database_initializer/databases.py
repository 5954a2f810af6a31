"""The kinds of database that the construct accepts, reduced to one description."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import aws_cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_rds as rds
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import IConstruct

from .errors import InvalidProps


@dataclass(frozen=True)
class ExistingDatabase:
    """A database that exists already: not made by this app, or made by another stack of it.

    ``secret`` is its admin's, in the JSON that RDS writes; ``security_group`` is the database's own.
    """

    secret: secretsmanager.ISecret
    endpoint: str
    security_group: ec2.ISecurityGroup
    port: int = 5432


Database = rds.DatabaseInstance | rds.DatabaseCluster | rds.IDatabaseInstance | rds.IDatabaseCluster | ExistingDatabase


class Facts(NamedTuple):
    """What the function needs to know about a database: its address, its credentials, and what must exist first."""

    host: str
    port: str
    secret: secretsmanager.ISecret
    connections: ec2.Connections
    wait_for: tuple[IConstruct, ...]
    name: str = ""

    def variables(self, given: Mapping[str, str | None]) -> dict[str, str]:
        """Return the variables of the function that name the database, with those of ``given`` that are not empty."""
        found = {"DB_SECRET_NAME": self.secret.secret_arn, "DB_HOST": self.host, "DB_PORT": self.port}
        found |= {"DB_NAME": self.name} if self.name else {}
        return {**found, **{name: value for name, value in given.items() if value}}


_DEFAULT_NAME = "postgres"
_AWAITED = (rds.CfnDBInstance, rds.CfnDBCluster, secretsmanager.CfnSecretTargetAttachment)
"""Not the whole database: its rules for other functions may depend on those functions, and they on the migrations."""


def facts_of(database: Database, admin_secret: secretsmanager.ISecret | None) -> Facts:
    """Return the facts; raises InvalidProps when no secret is known to connect with."""
    if isinstance(database, ExistingDatabase):
        port = ec2.Port.tcp(database.port)
        connections = ec2.Connections(security_groups=[database.security_group], default_port=port)
        return Facts(database.endpoint, str(database.port), admin_secret or database.secret, connections, ())
    endpoint = _endpoint(database)
    own: secretsmanager.ISecret | None = getattr(database, "secret", None)
    secret = admin_secret or own
    if secret is None:
        raise InvalidProps(
            f"the database {database.node.path} has no secret of its own",
            fix="make it with credentials=rds.Credentials.from_generated_secret(...), or name one in admin_secret",
        )
    awaited = tuple(child for child in database.node.find_all() if isinstance(child, _AWAITED))
    port_text = aws_cdk.Tokenization.stringify_number(endpoint.port)
    name = _database_name(awaited, complete=admin_secret is None)
    return Facts(endpoint.hostname, port_text, secret, database.connections, awaited, name)


def _endpoint(database: rds.IDatabaseInstance | rds.IDatabaseCluster) -> rds.Endpoint:
    _refuse_other_engines(database)
    for name in ("cluster_endpoint", "instance_endpoint"):  # that of a cluster is the writer's
        try:
            found: rds.Endpoint | None = getattr(database, name, None)
        except RuntimeError as error:  # the CDK's, for an imported cluster
            raise InvalidProps(
                f"nothing says where the imported database {database.node.path} is",
                fix="give cluster_endpoint_address and port where it is imported",
            ) from error
        if found is not None:
            return found
    raise InvalidProps(
        f"database is a {type(database).__name__}",
        fix="give an rds.DatabaseInstance, an rds.DatabaseCluster, or an ExistingDatabase",
    )


def _refuse_other_engines(database: rds.IDatabaseInstance | rds.IDatabaseCluster) -> None:
    engine = getattr(getattr(database, "engine", None), "engine_type", "postgres")
    if "postgres" not in engine:
        raise InvalidProps(f"the engine of {database.node.path} is {engine}", fix="only PostgreSQL is supported")
    if isinstance(database, rds.DatabaseInstanceReadReplica):
        raise InvalidProps(f"{database.node.path} is a read replica, which nothing can write to", fix="name its source")


def _database_name(awaited: Sequence[IConstruct], *, complete: bool) -> str:
    """Return the name of the database that RDS makes; "" when the secret contains it, or when it is unknown.

    The CDK's attachment adds it to the database's own secret; a secret that RDS manages itself does not contain it. A
    database without a name is called "postgres".
    """
    complete &= any(isinstance(resource, secretsmanager.CfnSecretTargetAttachment) for resource in awaited)
    for resource in awaited:
        name = ""
        if isinstance(resource, rds.CfnDBCluster):
            name = resource.database_name or _DEFAULT_NAME
        elif isinstance(resource, rds.CfnDBInstance) and resource.db_cluster_identifier is None:
            name = resource.db_name or _DEFAULT_NAME
        if name:
            return "" if complete and name != _DEFAULT_NAME else name
    return ""
