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
from migrator.database.secrets_manager import UserSecret, iam_token, read_secret
from migrator.errors import SecretError
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
    assert "username" in caught.value.fix
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
    """A secret that is not there is named, with what to check."""
    with pytest.raises(SecretError, match="prod/db") as caught:
        read_secret("prod/db")
    assert "DB_SECRET_NAME" in caught.value.fix


def test_deleted_secret_is_named(secrets: Any) -> None:
    """A secret that is scheduled for deletion is distinguished from one that never was."""
    secrets.create_secret(Name="prod/db", SecretString=json.dumps(RDS))
    secrets.delete_secret(SecretId="prod/db")
    with pytest.raises(SecretError, match="InvalidRequestException") as caught:
        read_secret("prod/db")
    assert "deletion" in caught.value.fix


@pytest.mark.parametrize(
    ("code", "fix"),
    [
        ("AccessDeniedException", "secretsmanager:GetSecretValue"),
        ("DecryptionFailure", "kms:Decrypt"),
        ("ResourceNotFoundException", "DB_SECRET_NAME"),
        ("ThrottlingException", ""),
        ("InternalServiceError", ""),
    ],
)
def test_refusal_of_the_service_has_its_code_and_a_fix(stubber: Stubber, code: str, fix: str) -> None:
    """What the service refuses is shown by its own code, with what to allow."""
    stubber.add_client_error("get_secret_value", code, "no")
    with pytest.raises(SecretError, match=code) as caught:
        read_secret("prod/db")
    assert "prod/db" in caught.value.what
    assert caught.value.fix
    assert fix in caught.value.fix


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
    assert "region and credentials" in caught.value.fix


def test_unreachable_service_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint nobody listens at is an error of ours that names the VPC endpoint as the likely fix."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://127.0.0.1:1")
    with pytest.raises(SecretError, match="prod/db") as caught:
        read_secret("prod/db")
    assert "VPC endpoint" in caught.value.fix
    assert len(str(caught.value).encode()) <= 1024


def test_boto3_is_imported_only_when_a_secret_is_read() -> None:
    """Importing the module, and everything a Lambda imports, loads neither boto3 nor the command line."""
    program = (
        "import sys, initializer, migrator.database.secrets_manager\n"
        "assert not {'boto3', 'botocore', 'argparse'} & set(sys.modules), 'loaded'\n"
        "assert not [name for name in sys.modules if 'migrator.cli' in name], 'loaded'"
    )
    package = Path(__file__).resolve().parents[2] / "db_setup"
    subprocess.run([sys.executable, "-c", program], cwd=package, check=True)


def test_user_secret_without_a_value(secrets: Any) -> None:
    """A secret that was made empty has no version; what is staged there is promoted and is then the only one."""
    secrets.create_secret(Name="app")
    secret = UserSecret("app")
    assert (secret.current, secret.pending) == (None, None)
    version = secret.stage({"username": "u"}, "t" * 32)
    secret.promote(version)
    assert secrets.describe_secret(SecretId="app")["VersionIdsToStages"] == {"t" * 32: ["AWSCURRENT"]}
    again = UserSecret("app")
    assert again.current == version
    assert again.pending is None
    again.promote(version)


def test_user_secret_stages_and_promotes(secrets: Any) -> None:
    """What is staged is unseen by readers; promoted, it is current and what was current is previous."""
    secrets.create_secret(Name="app", SecretString='{"password": "old"}')
    old = UserSecret("app").current
    staged = UserSecret("app").stage({"password": "new"}, "t" * 32)
    assert read_secret("app") == {"password": "old"}
    secret = UserSecret("app")
    assert (secret.current, secret.pending) == (old, staged)
    assert (secret.version("t" * 32), secret.version("x")) == ("AWSPENDING", "")
    secret.promote(staged)
    for stage, text in (("AWSCURRENT", '{"password": "new"}'), ("AWSPREVIOUS", '{"password": "old"}')):
        assert secrets.get_secret_value(SecretId="app", VersionStage=stage)["SecretString"] == text


def test_first_version_that_the_service_makes_current(stubber: Stubber) -> None:
    """Secrets Manager makes the first version current as it is staged; only the label of staging is taken off then."""
    arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:app-AbCdEf"
    stubber.add_response("describe_secret", {"ARN": arn, "Name": "app"}, {"SecretId": "app"})
    stubber.add_response("put_secret_value", {"VersionId": "t" * 32, "VersionStages": ["AWSPENDING"]})
    labels = {"t" * 32: ["AWSPENDING", "AWSCURRENT"]}
    stubber.add_response("describe_secret", {"ARN": arn, "Name": "app", "VersionIdsToStages": labels})
    stubber.add_response(
        "update_secret_version_stage", {},
        {"SecretId": "app", "VersionStage": "AWSPENDING", "RemoveFromVersionId": "t" * 32},
    )  # fmt: skip
    secret = UserSecret("app")
    secret.promote(secret.stage({"username": "u"}, "t" * 32))
    stubber.assert_no_pending_responses()
    assert secret.known_as == {arn, "app", arn.removesuffix("-AbCdEf")}


@pytest.mark.parametrize("code", ["AccessDeniedException", "EncryptionFailure", "LimitExceededException"])
def test_refused_writing_is_reported_without_the_value(stubber: Stubber, code: str) -> None:
    """A version that cannot be stored is an error with the operation, the code and what to allow; no value is in it."""
    stubber.add_response("describe_secret", {"ARN": "arn:aws:secretsmanager:x", "Name": "app"})
    stubber.add_client_error("put_secret_value", code, "no")
    with pytest.raises(SecretError, match=f"app refuses put_secret_value: {code}") as caught:
        UserSecret("app").stage({"password": "S3CRET"}, "t" * 32)
    assert caught.value.fix
    assert "S3CRET" not in f"{caught.value} {caught.value!r} {caught.value.__cause__!r}"


def test_versions_do_not_show_what_they_hold(secrets: Any) -> None:
    """A version is shown by its number only."""
    secrets.create_secret(Name="app", SecretString='{"password": "S3CRET"}')
    assert "S3CRET" not in repr(UserSecret("app").current)


def test_value_that_does_not_fit_is_refused(secrets: Any) -> None:
    """More than Secrets Manager can keep is refused before it is sent."""
    secrets.create_secret(Name="app", SecretString=json.dumps({"more": "x" * 65400}))
    secret = UserSecret("app")
    assert secret.current is not None
    with pytest.raises(SecretError, match="65,536"):
        secret.stage({**secret.current.value, "password": "p" * 200}, "t" * 32)


def test_iam_token_is_signed_here() -> None:
    """A token names host, port and user, and needs no network."""
    token = iam_token("db.example", 5432, "app")
    assert token.startswith("db.example:5432/?Action=connect&DBUser=app&X-Amz-Algorithm=AWS4-HMAC-SHA256")


def test_iam_token_without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without credentials there is no token, and the error says whose it would have been."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    with pytest.raises(SecretError, match="no IAM token for app"):
        iam_token("db.example", 5432, "app")
