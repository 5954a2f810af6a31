"""secret_store: secrets by name or ARN, from a Secrets Manager served by moto, faults from botocore's Stubber."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from migrator.errors import SecretError
from migrator.secret_store import read_secret
from moto import mock_aws

RDS = {"engine": "postgres", "host": "h", "username": "u", "password": "S3CRET", "dbname": "d", "port": 5432}


@pytest.fixture(autouse=True)
def _account(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in no account of anybody's."""
    for name, value in {
        "AWS_DEFAULT_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true", "AWS_MAX_ATTEMPTS": "1", "AWS_CONFIG_FILE": "/nonexistent",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)


@pytest.fixture
def secrets() -> Iterator[Any]:
    """Yield a client of an empty Secrets Manager."""
    with mock_aws():
        yield boto3.client("secretsmanager")


@pytest.fixture
def stubber(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubber]:
    """Yield botocore's own stub of the client that the code will get."""
    client = boto3.client("secretsmanager")
    with Stubber(client) as stub:
        monkeypatch.setattr(boto3, "client", lambda *_args, **_options: client)
        yield stub


@pytest.mark.parametrize("by", ["Name", "ARN"])
def test_secret_is_read_by_name_or_arn(secrets: Any, by: str) -> None:
    """The JSON of a secret is returned, whether its name or its ARN was given."""
    made = secrets.create_secret(Name="prod/db", SecretString=json.dumps(RDS))
    assert read_secret(made[by]) == RDS


@pytest.mark.parametrize(
    "text",
    ["S3CRET", "{'password': 'S3CRET'}", '{"password": "S3CRET"', '"S3CRET"', '["S3CRET"]', "12345", "null",
     "true", "postgresql://u:S3CRET@h/d", '\ufeff{"password": "S3CRET"}', '{"password": "S3CRET"} x'],
    ids=lambda text: ascii(text)[:30],
)  # fmt: skip
def test_secret_that_is_no_json_object_is_refused_without_showing_it(stubber: Stubber, text: str) -> None:
    """Anything but a JSON object is refused with the secret's name and the JSON that is wanted, never its text."""
    stubber.add_response("get_secret_value", {"SecretString": text}, {"SecretId": "prod/db"})
    with pytest.raises(SecretError, match="prod/db") as caught:
        read_secret("prod/db")
    assert "username" in caught.value.cure
    for shown in (str(caught.value), repr(caught.value), repr(caught.value.__cause__)):
        assert "S3CRET" not in shown
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_binary_secret_is_refused(secrets: Any) -> None:
    """A secret that is binary is refused as that."""
    secrets.create_secret(Name="prod/db", SecretBinary=b"S3CRET")
    with pytest.raises(SecretError, match="binary") as caught:
        read_secret("prod/db")
    assert "S3CRET" not in str(caught.value)


def test_missing_secret_is_named(secrets: Any) -> None:
    """A secret that is not there is named, with where to look."""
    with pytest.raises(SecretError, match="prod/db") as caught:
        read_secret("prod/db")
    assert "DB_SECRET_NAME" in caught.value.cure


def test_deleted_secret_is_named(secrets: Any) -> None:
    """A secret that is scheduled for deletion is told from one that never was."""
    secrets.create_secret(Name="prod/db", SecretString=json.dumps(RDS))
    secrets.delete_secret(SecretId="prod/db")
    with pytest.raises(SecretError, match="InvalidRequestException") as caught:
        read_secret("prod/db")
    assert "deletion" in caught.value.cure


@pytest.mark.parametrize(
    ("code", "cure"),
    [
        ("AccessDeniedException", "secretsmanager:GetSecretValue"),
        ("DecryptionFailure", "kms:Decrypt"),
        ("ResourceNotFoundException", "DB_SECRET_NAME"),
        ("ThrottlingException", ""),
        ("InternalServiceError", ""),
    ],
)
def test_refusal_of_the_service_has_its_code_and_a_cure(stubber: Stubber, code: str, cure: str) -> None:
    """What the service refuses is shown by its own code, with what to allow."""
    stubber.add_client_error("get_secret_value", code, "no")
    with pytest.raises(SecretError, match=code) as caught:
        read_secret("prod/db")
    assert "prod/db" in caught.value.what
    assert caught.value.cure
    assert cure in caught.value.cure


@pytest.mark.parametrize(
    "missing",
    [["AWS_DEFAULT_REGION"], ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]],
    ids=["no-region", "no-credentials"],
)
def test_missing_region_or_credentials_are_explained(monkeypatch: pytest.MonkeyPatch, missing: list[str]) -> None:
    """Without region or credentials the error is ours, and says what to check."""
    for name in missing:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", "/nonexistent")
    with pytest.raises(SecretError, match="prod/db") as caught:
        read_secret("prod/db")
    assert "region and credentials" in caught.value.cure


def test_unreachable_service_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint nobody listens at is an error of ours that names the VPC endpoint as the likely cure."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://127.0.0.1:1")
    with pytest.raises(SecretError, match="prod/db") as caught:
        read_secret("prod/db")
    assert "VPC endpoint" in caught.value.cure
    assert len(str(caught.value).encode()) <= 1024


def test_boto3_is_imported_only_when_a_secret_is_read() -> None:
    """Importing the room, and everything a Lambda imports, loads neither boto3 nor the command line."""
    program = (
        "import sys, initializer, migrator.secret_store\n"
        "assert not {'boto3', 'botocore', 'argparse'} & set(sys.modules), 'loaded'\n"
        "assert not [name for name in sys.modules if 'command_line' in name], 'loaded'"
    )
    package = Path(__file__).resolve().parents[2] / "db_setup"
    subprocess.run([sys.executable, "-c", program], cwd=package, check=True)
