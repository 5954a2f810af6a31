"""A deployed Lambda function and how it is called: for a developer's machine only, which then needs boto3.

What fails on the way to the function becomes an error here; ``remote`` reads what the function itself answers.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from migrator.errors import DbSetupError, FunctionUnreachable, OutcomeUnknown

# Longer than the longest function (900 s): whoever gives up before it can only guess how the run ended.
_PATIENCE = 960  # seconds


class Reply(NamedTuple):
    """What came back from the function: JSON, whether it is an error's, and the last lines of its log."""

    payload: bytes
    failed: bool
    log: str


class LambdaFunction:
    """A function by name or ARN, as a profile and a region see it; empty ones are those of the environment."""

    def __init__(self, name: str, profile: str = "", region: str = "") -> None:
        self.name = name
        arn = name.split(":")
        self._profile = profile
        self._region = region or (arn[3] if arn[0] == "arn" and len(arn) > 3 else "")
        self._client: Any = None

    @property
    def region(self) -> str:
        """Return the region in which the function is called."""
        return str(self._connected().meta.region_name)

    def invoke(self, event: dict[str, Any]) -> Reply:
        """Call the function once and wait for its answer. Raises FunctionUnreachable or OutcomeUnknown."""
        client = self._connected()
        with _translated_errors(self.name):
            answer = client.invoke(FunctionName=self.name, LogType="Tail", Payload=json.dumps(event).encode())
            payload = answer["Payload"].read()
        log = base64.b64decode(answer.get("LogResult", "")).decode("utf-8", "replace")
        return Reply(payload, "FunctionError" in answer, log)

    def _connected(self) -> Any:
        """Return the client, made once."""
        if self._client is None:
            import boto3  # noqa: PLC0415 - a local run does not pay for it
            from botocore.config import Config  # noqa: PLC0415
            from botocore.exceptions import NoRegionError  # noqa: PLC0415

            # A call that is repeated by itself would be a second run next to the first.
            config = Config(
                connect_timeout=10, read_timeout=_PATIENCE, tcp_keepalive=True, retries={"total_max_attempts": 1}
            )
            with _translated_errors(self.name):
                session = boto3.Session(profile_name=self._profile or None, region_name=self._region or None)
                if not session.region_name:  # boto3 would take a variable that is set to nothing for a region
                    raise NoRegionError
                self._client = session.client("lambda", config=config)
        return self._client


@contextmanager
def _translated_errors(name: str) -> Iterator[None]:
    """Raise errors of ours for what fails on the way to the function."""
    from botocore.exceptions import (  # noqa: PLC0415
        BotoCoreError,
        ClientError,
        HTTPClientError,
        IncompleteReadError,
    )

    try:
        yield
    except ClientError as error:
        raise _refused(name, error.response, error.operation_name) from error
    except (HTTPClientError, IncompleteReadError) as error:
        raise _unanswered(name, f"the connection ended before its answer: {error}") from error
    except (BotoCoreError, ValueError, OSError, EOFError) as error:
        # ValueError: an endpoint that is no address; OSError, EOFError: a profile's program, file or question
        fix = _fix(type(error).__name__, _FIXES)
        raise FunctionUnreachable(f"the function {name} cannot be called: {error}", fix=fix) from error


def _refused(name: str, response: Any, operation: str) -> DbSetupError:
    """Return the error for an answer of a service instead of the function: Lambda's, or that of a log-in before."""
    error, status = response.get("Error", {}), response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code, text = str(error.get("Code", "unknown")), str(error.get("Message", ""))
    if status >= 500 and operation == "Invoke":
        return _unanswered(name, f"{code}: {text}")
    fix = _fix(code, _REFUSALS) if operation == "Invoke" else _LOG_IN
    return FunctionUnreachable(f"the function {name} was not called: {code}: {text}", fix=fix)


def _unanswered(name: str, why: str) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"the function {name} did not answer; {why}",
        applied="what the function has committed; it may still be at work",
        fix=f"python db_setup status --function {name} shows what is applied; a re-run carries on",
    )


def _fix(name: str, fixes: tuple[tuple[str, str], ...]) -> str:
    """Return the fix of the first entry that stands in the name of an error."""
    return next(fix for part, fix in fixes if part in name)


_LOG_IN = "log in again (aws sso login, aws login or aws configure), or choose another --profile"
_FIXES = (
    ("ProfileNotFound", "aws configure list-profiles shows the profiles of this machine (AWS_PROFILE may name one)"),
    ("Region", "give --region, such as eu-central-1, or set AWS_DEFAULT_REGION"),
    ("Connect", "check the network, the proxy and the region"),
    ("SSLError", "check the proxy and the certificates (AWS_CA_BUNDLE)"),
    ("MissingDependency", 'pip install "botocore[crt]"'),
    ("Config", "correct ~/.aws/config, or the file that AWS_CONFIG_FILE names"),
    ("ValidationError", "check the function's name, the region and AWS_ENDPOINT_URL"),
    ("ValueError", "check AWS_ENDPOINT_URL and the region"),
    ("", _LOG_IN),
)
_REFUSALS = (
    ("ResourceNotFound", "check the function's name, --region and --profile (the account)"),
    ("AccessDenied", "allow lambda:InvokeFunction on this function, or choose another --profile"),
    ("TooManyRequests", "try again in a moment; another run may be at work in the function"),
    ("Throttl", "try again in a moment"),
    ("ResourceConflict", "the function is being deployed: try again when that is done"),
    ("ResourceNotReady", "the function is being deployed: try again when that is done"),
    ("Validation", "check the function's name"),
    ("InvalidParameter", "check the function's name"),
    ("Token", _LOG_IN),
    ("UnrecognizedClient", _LOG_IN),
    ("Signature", f"{_LOG_IN}; check this machine's clock"),
    ("AuthFailure", _LOG_IN),
    ("", "see the error's name in the manual of Lambda's Invoke"),
)
