"""Secrets Manager and IAM tokens: the only module of the Lambda that uses boto3; it loads boto3 on first use."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from migrator.errors import SecretError

MAX_BYTES = 65536  # the limit of Secrets Manager
CURRENT, PENDING = "AWSCURRENT", "AWSPENDING"


def read_secret(name: str) -> dict[str, Any]:
    """Return the JSON object a secret holds; ``name`` is a name or an ARN. Raises SecretError."""
    return _parsed(name, _text(name, Service(name).get()))


class _Unusable(SecretError):
    """The secret has no value, or none that is a JSON object."""


class Version(NamedTuple):
    """One stored version of a secret."""

    id: str
    value: dict[str, Any]

    def __repr__(self) -> str:
        """Return the version without what it holds."""
        return f"Version({self.id!r})"


class UserSecret:
    """The secret of a limited user: its current and its pending version, and how one becomes the other."""

    def __init__(self, name: str) -> None:
        """Read the secret, which may have no value yet; raises SecretError."""
        self.name = name
        self._service = Service(name)
        described = self._service.call("describe_secret")
        if described.get("DeletedDate"):
            raise SecretError(f"the secret {name} is scheduled for deletion", fix="restore it, or name another")
        self.known_as = frozenset({str(described["ARN"]), str(described["Name"]), str(described["ARN"])[:-7]})
        self._stages: dict[str, list[str]] = described.get("VersionIdsToStages") or {}
        self.current = self._read(CURRENT)
        self.unusable = ""
        self.pending = self._read_pending()

    def _read_pending(self) -> Version | None:
        """Return the pending version; one that another tool has left unusable is only noted in ``unusable``."""
        try:
            return self._read(PENDING)
        except _Unusable as error:
            self.unusable = error.what
            return None

    def _read(self, stage: str) -> Version | None:
        for version, stages in self._stages.items():
            if stage in stages:
                text = _text(self.name, self._service.get(VersionId=version))
                return Version(version, _parsed(self.name, text) if text.strip() else {})
        return None

    def version(self, token: str) -> str:
        """Return the state of the version that was staged with ``token``: CURRENT, PENDING, "past" or nothing."""
        if token not in self._stages:
            return ""
        stages = self._stages[token]
        return next((stage for stage in (CURRENT, PENDING) if stage in stages), "past")

    def check_size(self, value: Mapping[str, object]) -> None:
        """Raise SecretError when a value does not fit into a secret."""
        if (size := len(json.dumps(value).encode())) > MAX_BYTES:
            raise SecretError(
                f"the secret {self.name} would be {size:,} bytes long, and the limit is {MAX_BYTES:,}",
                fix="move what is not about this user to a secret of its own",
            )

    def stage(self, value: dict[str, Any], token: str) -> Version:
        """Store a pending version; applications do not see it yet."""
        self.check_size(value)
        text = json.dumps(value)
        made = self._service.call(
            "put_secret_value", ClientRequestToken=token, SecretString=text, VersionStages=[PENDING]
        )
        self.pending = Version(str(made["VersionId"]), value)
        if self.current is None:  # Secrets Manager makes the first version of a secret current by itself
            stages = self._service.call("describe_secret").get("VersionIdsToStages") or {}
            self.current = self.pending if CURRENT in stages.get(self.pending.id, ()) else None
        return self.pending

    def promote(self, version: Version) -> None:
        """Make a pending version the current one; idempotent."""
        call = self._service.call
        if self.current is None or self.current.id != version.id:
            old = {} if self.current is None else {"RemoveFromVersionId": self.current.id}
            call("update_secret_version_stage", VersionStage=CURRENT, MoveToVersionId=version.id, **old)
        self.current = version
        if self.pending is not None and self.pending.id == version.id:
            call("update_secret_version_stage", VersionStage=PENDING, RemoveFromVersionId=version.id)
            self.pending = None


def iam_token(host: str, port: int, user: str) -> str:
    """Return a password for 15 minutes, signed on this machine with the role's own credentials."""
    import boto3  # noqa: PLC0415 - see Service

    _keep_quiet()
    with _TranslatedErrors(f"no IAM token for {user}", {}):
        return str(boto3.client("rds").generate_db_auth_token(DBHostname=host, Port=port, DBUsername=user))


def _keep_quiet() -> None:
    """Keep requests and responses out of the log, where a root logger at DEBUG would put them."""
    import logging  # noqa: PLC0415 - boto3 has loaded it

    for name in ("botocore", "boto3", "urllib3"):
        logger = logging.getLogger(name)
        if logger.level < logging.INFO:  # NOTSET, too
            logger.setLevel(max(logging.INFO, logger.getEffectiveLevel()))


class Service:
    """The calls of Secrets Manager for one secret, their failures turned into SecretError."""

    def __init__(self, name: str) -> None:
        import boto3  # noqa: PLC0415 - costs 0.2 s of CPU, which only a run that reads a secret should pay
        from botocore.config import Config  # noqa: PLC0415

        _keep_quiet()
        self._name = name
        # Without a VPC endpoint the defaults would wait for minutes, longer than the function's timeout.
        config = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 3})
        with _TranslatedErrors(f"Secrets Manager cannot be reached for {name}", _FIXES):
            self._client = boto3.client("secretsmanager", config=config)

    def get(self, **version: str) -> dict[str, Any]:
        """Return the response of GetSecretValue."""
        return self._call("cannot be read", self._client.get_secret_value, version, _FIXES)

    def call(self, operation: str, **arguments: object) -> dict[str, Any]:
        """Return the response of an operation on the secret."""
        return self._call(f"refuses {operation}", getattr(self._client, operation), arguments, _USER_FIXES)

    def _call(
        self, what: str, operation: Callable[..., Any], arguments: Mapping[str, object], fixes: Mapping[str, str]
    ) -> dict[str, Any]:
        with _TranslatedErrors(f"the secret {self._name} {what}", fixes, self._name):
            response: dict[str, Any] = operation(SecretId=self._name, **arguments)
            return response


class _TranslatedErrors:
    """Turns botocore's errors into SecretErrors without any value that was sent."""

    def __init__(self, what: str, fixes: Mapping[str, str], name: str = "") -> None:
        self._what = what
        self._fixes = fixes
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError  # noqa: PLC0415

        if isinstance(error, ClientError):
            code = str(error.response.get("Error", {}).get("Code", "unknown"))
            fix = self._fixes.get(code, "see this error code in the Secrets Manager API reference")
            kind = _Unusable if code == "ResourceNotFoundException" else SecretError
            raise kind(f"{self._what}: {code}", fix=fix) from error
        if isinstance(error, ParamValidationError):  # its text may quote the value
            raise SecretError(f"{self._what}: a parameter is not valid", fix="check the secret's name") from None
        if isinstance(error, BotoCoreError):
            what = f"Secrets Manager cannot be reached for {self._name}" if self._name else self._what
            raise SecretError(
                f"{what}: {error}",
                fix="check region and credentials; in a private subnet, add the secretsmanager VPC endpoint",
            ) from error


def _text(name: str, response: Mapping[str, Any]) -> str:
    if "SecretString" not in response:
        raise _Unusable(f"the secret {name} is binary", fix=_JSON_FIX)
    text = str(response["SecretString"])
    if len(text.encode(errors="replace")) > MAX_BYTES:
        raise _Unusable(f"the secret {name} is longer than {MAX_BYTES:,} bytes", fix=_JSON_FIX)
    return text


def _parsed(name: str, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        # "from None": the decoder's error holds the text
        raise _Unusable(f"the secret {name} is not JSON", fix=_JSON_FIX) from None
    if not isinstance(value, dict):
        raise _Unusable(f"the secret {name} is not a JSON object", fix=_JSON_FIX)
    return value


_JSON_FIX = 'store {"host": ..., "port": ..., "dbname": ..., "username": ..., "password": ...}, as RDS does'

_FIXES = {
    "ResourceNotFoundException": "check DB_SECRET_NAME, and the region",
    "AccessDeniedException": "allow secretsmanager:GetSecretValue on this secret (and kms:Decrypt on its key)",
    "DecryptionFailure": "allow kms:Decrypt on the key of this secret",
    "InvalidRequestException": "the secret may be scheduled for deletion, or have no value yet",
}
_USER_FIXES = {
    **_FIXES,
    "ResourceNotFoundException": "check the variables that name the users' secrets, and the region",
    "AccessDeniedException": "allow secretsmanager:DescribeSecret, GetSecretValue, PutSecretValue and "
    "UpdateSecretVersionStage on this secret (and kms:Decrypt, kms:GenerateDataKey on its key)",
    "EncryptionFailure": "allow kms:GenerateDataKey on the key of this secret",
}
