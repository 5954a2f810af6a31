"""DatabaseInitializer: a deploy applies the migrations before the application that needs them goes live.

    DatabaseInitializer(self, "Migrations", vpc=vpc, database=database, execute_before=[service])

The path of a deploy: synth_checks.py checks the folder, asset.py packages it, CloudFormation makes the function and
waits for what it needs (databases.py, network.py), the CDK's trigger (trigger.py) invokes ``initializer.handler``, and
a failure there fails the deploy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import aws_cdk
import jsii
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda, triggers
from aws_cdk import aws_logs as logs
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct, IConstruct

from .databases import Database, facts_of
from .network import Place, allow, at_synth, connect_endpoints
from .package import Package
from .secrets import UserSecrets, allow_secret, refuse_foreign
from .trigger import (
    MAX_TIMEOUT,
    check_run_on,
    follow,
    make_function,
    refuse_circle,
    set_properties,
    socket_timeout,
)
from .variables import checked


@jsii.implements(ec2.IConnectable, iam.IGrantable)
class DatabaseInitializer(Construct):
    """Applies the migrations of a folder to a database, in every deploy, before what ``execute_before`` names.

    Properties; only the first two are needed:

    - ``vpc``: where the database can be reached.
    - ``database``: an rds.DatabaseInstance, an rds.DatabaseCluster, or an ExistingDatabase.
    - ``migrations``: the folder with the .sql files; default: ``migrations``, in db_setup/ or next to it.
    - ``admin_secret``: whose user applies them; default: the database's own secret.
    - ``database_name``: for a secret that has no ``dbname``.
    - ``user_secret``, ``table_creator_secret``, ``readonly_secret``: where the credentials of limited users are stored.
    - ``create_users``: True makes those of the three secrets that are not given; False leaves all users alone.
    - ``runtime``, ``architecture``: default Python 3.14 on x86_64.
    - ``memory_size``: in MB. ``timeout``: at most 13 minutes, which is the default.
    - ``vpc_subnets``, ``security_groups``: default: private subnets, and a group made here.
    - ``environment_name``: such as "dev", to run the files for that environment too, those in ``migrations/env/dev``
      and those that name it; the function's ``MIGRATION_ENV``. Default: only the files for all environments.
    - ``log_retention``: default three months.
    - ``run_on``: "deploy" (every one, the default) or "change" (when the folder or a setting has changed).
    - ``execute_after``, ``execute_before``: constructs to come before and after the migrations.
    - ``environment``: more of the variables in db_setup/README.md.
    - ``layers``: yours; psycopg2 must be in one of them, since the package then has none.
    - ``ca_bundle``: path of the RDS certificates; the server is then verified.

    Raises InvalidProps for what cannot work. What is wrong in the folder is an error of ``cdk synth``.
    """

    def __init__(
        self, scope: Construct, id: str, *,  # noqa: A002 - the CDK's name for it
        vpc: ec2.IVpc, database: Database,
        migrations: str | Path | None = None,
        admin_secret: secretsmanager.ISecret | None = None, database_name: str | None = None,
        user_secret: secretsmanager.ISecret | None = None,
        table_creator_secret: secretsmanager.ISecret | None = None,
        readonly_secret: secretsmanager.ISecret | None = None,
        create_users: bool | None = None,
        runtime: aws_lambda.Runtime | None = None, architecture: aws_lambda.Architecture | None = None,
        memory_size: int = 512, timeout: aws_cdk.Duration | None = None,
        vpc_subnets: ec2.SubnetSelection | None = None,
        security_groups: Sequence[ec2.ISecurityGroup] | None = None,
        environment_name: str | None = None,
        log_retention: logs.RetentionDays = logs.RetentionDays.THREE_MONTHS,
        run_on: str = "deploy",
        execute_after: Sequence[IConstruct] = (), execute_before: Sequence[Construct] = (),
        environment: Mapping[str, str] | None = None,
        layers: Sequence[aws_lambda.ILayerVersion] = (), ca_bundle: str | Path | None = None,
    ) -> None:  # fmt: skip
        super().__init__(scope, id)
        check_run_on(run_on)
        limit = timeout or aws_cdk.Duration.seconds(MAX_TIMEOUT)
        socket_seconds = socket_timeout(limit.to_seconds())
        facts = facts_of(database, admin_secret)
        refuse_foreign(self, facts.secret, "the admin's secret")
        overrides = checked(self, environment or {}, environment_name)
        package = Package(self, migrations, runtime, architecture, layers, ca_bundle, overrides)
        users = UserSecrets(self, user_secret, table_creator_secret, readonly_secret, create_users)
        self.user_secret, self.table_creator_secret, self.readonly_secret = users.all
        given = {"DB_NAME": database_name}
        variables = {**facts.variables(given), **users.variables(), **overrides.variables}
        place = Place(self, vpc, vpc_subnets, security_groups)
        self.function = make_function(self, package, place, variables, memory_size, limit, log_retention)
        set_properties(self.trigger, package, socket_seconds, every_deploy=run_on == "deploy")
        follow(self.function, facts.host, facts.port)
        allow_secret(self.function, facts.secret)
        users.grant_to(self, self.function, facts.secret)
        self._awaited: list[IConstruct] = [self, vpc]
        self.execute_after(*facts.wait_for, *allow(self.connections, facts.connections), *execute_after)
        self.trigger.node.add_dependency(*place.awaited())
        self.execute_before(*execute_before)
        at_synth(self, lambda: self.execute_after(*connect_endpoints(self, place, self.connections)))

    @property
    def trigger(self) -> triggers.Trigger:
        """The trigger, whose custom resource stands for one run of the migrations."""
        return self.function.trigger

    @property
    def connections(self) -> ec2.Connections:
        """The function's connections; rules to the database are made already."""
        return self.function.connections

    @property
    def grant_principal(self) -> iam.IPrincipal:
        """Whom to grant something, such as the right to read a bucket."""
        return self.function.grant_principal

    def execute_after(self, *scopes: IConstruct) -> None:
        """Apply the migrations after these constructs exist."""
        self._awaited += scopes
        if scopes:
            self.trigger.node.add_dependency(*scopes)

    def execute_before(self, *scopes: Construct) -> None:
        """Let these go live after the migrations, and not at all when they fail. Raises InvalidProps for a circle."""
        for scope in scopes:
            refuse_circle(scope, self._awaited)
        self.trigger.execute_before(*scopes)
