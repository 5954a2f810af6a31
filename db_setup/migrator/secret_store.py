"""Secrets Manager: the only room that knows boto3, and loads it when a secret is read, not before."""

from __future__ import annotations

import json

from migrator.errors import SecretError
from migrator.light import Any


def read_secret(name: str) -> dict[str, Any]:
    """Return the JSON object a secret holds; ``name`` is a name or an ARN. Raises SecretError."""
    text = _fetch(name)
    try:
        value = json.loads(text)
    except ValueError:
        # "from None": the decoder's message quotes the text it could not read
        raise SecretError(f"the secret {name} is not JSON", cure=_JSON_CURE) from None
    if not isinstance(value, dict):
        raise SecretError(f"the secret {name} is not a JSON object", cure=_JSON_CURE)
    return value


_JSON_CURE = 'store {"host": ..., "port": ..., "dbname": ..., "username": ..., "password": ...}, as RDS does'

_CURES = {
    "ResourceNotFoundException": "check DB_SECRET_NAME, and the region",
    "AccessDeniedException": "allow secretsmanager:GetSecretValue on this secret (and kms:Decrypt on its key)",
    "DecryptionFailure": "allow kms:Decrypt on the key of this secret",
    "InvalidRequestException": "the secret may be scheduled for deletion, or have no value yet",
}


def _fetch(name: str) -> str:
    import boto3  # noqa: PLC0415 - costs 0.2 s of CPU, which only a run that reads a secret should pay
    from botocore.config import Config  # noqa: PLC0415
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    # Without a VPC endpoint the defaults would wait for minutes, longer than a function may have.
    patience = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 3})
    try:
        answer = boto3.client("secretsmanager", config=patience).get_secret_value(SecretId=name)
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", "unknown"))
        cure = _CURES.get(code, "see the error's name in the Secrets Manager manual")
        raise SecretError(f"the secret {name} cannot be read: {code}", cure=cure) from error
    except BotoCoreError as error:
        raise SecretError(
            f"Secrets Manager cannot be reached for {name}: {error}",
            cure="check region and credentials; in a private subnet, add the secretsmanager VPC endpoint",
        ) from error
    if "SecretString" not in answer:
        raise SecretError(f"the secret {name} is binary", cure=_JSON_CURE)
    return str(answer["SecretString"])
