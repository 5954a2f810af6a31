"""The deploy chain: CloudFormation, the CDK's provider, Lambda and Secrets Manager, joined for one stack."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Mapping
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3

from tests.chain.assembly import Release
from tests.chain.cloudformation import Stack
from tests.chain.execution import LATEST, function_arn
from tests.chain.lambda_service import LambdaService
from tests.chain.provider import Answer, Providers
from tests.chain.resources import (
    TRIGGER,
    AnyResource,
    DatabaseServer,
    Endpoint,
    Function,
    FunctionVersions,
    Secret,
    SecretAttachment,
    Trigger,
)
from tests.chain.shop import ADMIN
from tests.chain.template import REGION
from tests.plugins.answers import check_answer

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_secretsmanager import SecretsManagerClient

CANARY = "canary-Zq7"
"""The admin's password; where it is found, a secret has left."""
_NUMBERS = count(1)


class Chain:
    """One stack and what stands in for AWS behind it."""

    def __init__(
        self, release: Release, providers: Providers, secrets: SecretsManagerClient, endpoint: Endpoint,
        runtime: Path, logs: Path, urls: Mapping[str, str],
    ) -> None:  # fmt: skip
        self.service = LambdaService(runtime, logs, urls)
        self.release = release
        self._secrets, self._endpoint = secrets, endpoint
        function = Function(self.service)
        self._trigger = Trigger(function, self.service, providers)
        server = self.database = DatabaseServer(endpoint)
        self.stack = Stack(f"shop-{os.getpid()}-{next(_NUMBERS)}", {
            "AWS::SecretsManager::Secret": Secret(secrets, CANARY),
            "AWS::SecretsManager::SecretTargetAttachment": SecretAttachment(secrets, endpoint),
            "AWS::RDS::DBInstance": server,
            "AWS::RDS::DBCluster": server,
            "AWS::Lambda::Function": function,
            "AWS::Lambda::Version": FunctionVersions(self.service),
            TRIGGER: self._trigger,
        }, AnyResource())  # fmt: skip

    def deploy(
        self, release: str, *, failing: Collection[str] = (), function_timeout: float = 0, socket_timeout: float = 0,
        parameters: Mapping[str, str] | None = None,
    ) -> str:
        """Deploy a release and return the stack's status; ``failing`` are constructs that fail by themselves.

        The template's times (13 minutes) can be replaced by short ones, in seconds.
        """
        assembly = self.release(release)
        names = [name for name in assembly.template.resources if name[:-8] in failing]  # without its hash
        overrides: dict[str, dict[str, object]] = {}
        if function_timeout:
            overrides["AWS::Lambda::Function"] = {"Timeout": function_timeout}
        if socket_timeout:
            overrides[TRIGGER] = {"Timeout": int(socket_timeout * 1000)}
        return self.stack.deploy(assembly, failing=names, overrides=overrides, parameters=parameters or {})

    @property
    def answers(self) -> list[Answer]:
        """What the provider has reported to CloudFormation, oldest first."""
        return self._trigger.answers

    @property
    def reason(self) -> str:
        """The first reason for a failure in the last deploy."""
        return next(event.reason for event in self.stack.events if event.status.endswith("_FAILED"))

    def calls(self) -> list[str]:
        """Return the version of each invocation that reached a function."""
        return [request.qualifier for request in self.service.invoked()]

    def finished(self) -> list[dict[str, Any]]:
        """Return the last log line of each run: its answer, or its error."""
        return self.service.events("run.finished")

    def events(self, construct: str) -> list[str]:
        """Return what the last deploy did to a construct."""
        return [event.status for event in self.stack.events if event.logical_id[:-8] == construct]

    def invoke(self, event: Mapping[str, object]) -> dict[str, Any]:
        """Invoke the function as a person does, and return the body of its answer."""
        answer = self.client.invoke(FunctionName=self.function_name, Payload=json.dumps(event))
        assert not answer.get("FunctionError"), answer
        body: dict[str, Any] = json.load(answer["Payload"])["body"]
        check_answer(body)
        return body

    @property
    def function_name(self) -> str:
        """The name of the function that applies the migrations."""
        (name,) = {version.name for version in self.service.versions.values() if version.number != LATEST}
        return name

    @property
    def function_arn(self) -> str:
        """Its ARN."""
        return function_arn(self.function_name)

    @property
    def client(self) -> LambdaClient:
        """A client of the chain's Lambda."""
        return boto3.client(
            "lambda", REGION, endpoint_url=self.service.url, aws_access_key_id="testing", aws_secret_access_key="testing"
        )

    def secret(self, construct: str) -> tuple[str, dict[str, Any]]:
        """Return the current version of a secret that the stack has made, and what is in it."""
        made = self.release("users").template.of_type("AWS::SecretsManager::Secret")
        (name,) = [logical_id for logical_id in made if logical_id[:-8] == construct]
        answer = self._secrets.get_secret_value(SecretId=f"{self.stack.name}-{name}")
        return answer["VersionId"], json.loads(answer["SecretString"])

    def make_secret(self, name: str) -> str:
        """Make the admin's secret of a database that no stack has made, and return its name."""
        content = {"engine": "postgres", "dbname": self._endpoint.name, "username": ADMIN, "password": CANARY}
        self._secrets.create_secret(Name=f"{self.stack.name}/{name}", SecretString=json.dumps(content))
        return f"{self.stack.name}/{name}"

    def close(self) -> None:
        """End everything that runs."""
        self.service.close()

    def check_secrecy(self) -> None:
        """See that the admin's password is nowhere but in Secrets Manager."""
        shown = [self.service.output(), *(request.answer.decode() for request in self.service.requests)]
        shown += [text for answer in self.answers for text in (answer.reason, answer.output)]
        assert not [text for text in shown if CANARY in text]


MakeChain = Callable[..., Chain]
"""Takes where the database is (host and port) and the URL of Secrets Manager, where these are not in order."""
