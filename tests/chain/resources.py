"""What stands in for AWS behind the resources of a stack: secrets, functions, the database, and the trigger."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.chain.cloudformation import CREATE, DELETE, Change, ResourceFailed
from tests.chain.execution import LATEST, FunctionVersion, function_arn
from tests.chain.lambda_service import LambdaService
from tests.chain.provider import MAX_ANSWER, Answer, Providers
from tests.chain.template import ACCOUNT, REGION, stringified

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient


TRIGGER = "Custom::Trigger"


class Endpoint(NamedTuple):
    """Where the database really is that stands in for the one of the template."""

    host: str
    port: int
    name: str


class AnyResource:
    """A resource that nothing of the chain depends on: it has a name, and its attributes have names."""

    def carry_out(self, change: Change) -> str:
        """Return a name for it."""
        return change.physical_id or f"{change.stack}-{change.logical_id}"

    def attribute(self, physical_id: str, name: str) -> object:
        """Return a name for the attribute."""
        return f"{physical_id}.{name}"


class DatabaseServer(AnyResource):
    """A DB instance or cluster, whose endpoint is that of a real server."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def attribute(self, physical_id: str, name: str) -> object:
        """Return the endpoint."""
        known = {"Endpoint.Address": self._endpoint.host, "Endpoint.Port": str(self._endpoint.port)}
        return known.get(name) or super().attribute(physical_id, name)


class Secret(AnyResource):
    """A secret in Secrets Manager, with a generated password where one is asked for, else without a value."""

    def __init__(self, client: SecretsManagerClient, password: str) -> None:
        self._client = client
        self._password = password

    def carry_out(self, change: Change) -> str:
        """Make or remove the secret; the physical id is its ARN."""
        if change.action == DELETE:
            self._client.delete_secret(SecretId=change.physical_id, ForceDeleteWithoutRecovery=True)
        if change.action != CREATE:
            return change.physical_id
        name = f"{change.stack}-{change.logical_id}"
        wanted = change.properties.get("GenerateSecretString")
        if wanted is None:
            return self._client.create_secret(Name=name)["ARN"]
        content = {**json.loads(wanted["SecretStringTemplate"]), wanted["GenerateStringKey"]: self._password}
        return self._client.create_secret(Name=name, SecretString=json.dumps(content))["ARN"]


class SecretAttachment(AnyResource):
    """Writes into a secret which database it is for."""

    def __init__(self, client: SecretsManagerClient, endpoint: Endpoint) -> None:
        self._client = client
        self._endpoint = endpoint

    def carry_out(self, change: Change) -> str:
        """Complete the secret; the physical id is the secret's ARN."""
        arn = str(change.properties["SecretId"])
        if change.action == CREATE:
            content = json.loads(self._client.get_secret_value(SecretId=arn)["SecretString"])
            host, port, name = self._endpoint
            place = {"engine": "postgres", "host": host, "port": port, "dbname": name}
            self._client.put_secret_value(SecretId=arn, SecretString=json.dumps({**content, **place}))
        return arn


class Function(AnyResource):
    """A function as it stands ($LATEST); what the trigger invokes are its versions."""

    def __init__(self, service: LambdaService) -> None:
        self.code: dict[str, Path] = {}
        """The unpacked packages, by ARN."""
        self._service = service

    def carry_out(self, change: Change) -> str:
        """Take over code and settings; the physical id is the function's name."""
        name = super().carry_out(change)
        if change.code is None:
            return name  # its code is in the template; nobody invokes it
        arn, given = function_arn(name), change.properties
        self.code[arn] = change.code
        variables: Mapping[str, object] = given.get("Environment", {}).get("Variables", {})
        settings = {key: str(value) for key, value in variables.items()}
        self._service.publish(FunctionVersion(
            name, LATEST, arn, change.code, given["Handler"], given["Timeout"], given["MemorySize"], settings
        ))  # fmt: skip
        return name

    def attribute(self, physical_id: str, name: str) -> object:
        """Return the ARN."""
        return function_arn(physical_id) if name == "Arn" else super().attribute(physical_id, name)


class FunctionVersions(AnyResource):
    """Published versions: a function's code and settings at the moment of publishing."""

    def __init__(self, service: LambdaService) -> None:
        self._service = service
        self._numbers = map(str, count(1))

    def carry_out(self, change: Change) -> str:
        """Publish or remove a version; the physical id is its ARN."""
        if change.action == DELETE:
            self._service.versions.pop(change.physical_id)
        if change.action != CREATE:
            return change.physical_id
        latest = self._service.versions[function_arn(change.properties["FunctionName"])]
        number = next(self._numbers)
        self._service.publish(latest._replace(number=number, arn=f"{latest.arn}:{number}"))
        return f"{latest.arn}:{number}"


class Trigger(AnyResource):
    """Custom::Trigger: CloudFormation sends an event to the provider, and waits for its answer."""

    def __init__(self, functions: Function, service: LambdaService, providers: Providers) -> None:
        self.answers: list[Answer] = []
        self._functions, self._service, self._providers = functions, service, providers

    def carry_out(self, change: Change) -> str:
        """Send the event; raises ResourceFailed with the reason that the provider gives."""
        folder = self._functions.code[change.properties["ServiceToken"]]
        answer = self._providers.call(folder, _event(change, len(self.answers)), self._service.url)
        self.answers.append(answer)
        assert answer.size <= MAX_ANSWER, "CloudFormation would not take this answer"
        if answer.status != "SUCCESS":
            raise ResourceFailed(answer.reason, answer.physical_id)
        return answer.physical_id


def _event(change: Change, number: int) -> dict[str, Any]:
    event = {
        "RequestType": change.action,
        "ResponseURL": "https://cloudformation.example/answer?signature",
        "StackId": f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{change.stack}/1",
        "RequestId": f"request-{number}",
        "LogicalResourceId": change.logical_id,
        "ResourceType": change.type,
        "ResourceProperties": stringified(change.properties),
    }
    if change.action != CREATE:
        event["PhysicalResourceId"] = change.physical_id
    if change.old:
        event["OldResourceProperties"] = stringified(change.old)
    return event
