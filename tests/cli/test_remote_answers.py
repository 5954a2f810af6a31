"""remote and lambda_function: how a function is called, and what is made of what it says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from migrator.cli.lambda_function import LambdaFunction, Reply
from migrator.cli.remote import FailedThere, _body, _event
from migrator.errors import (
    DbSetupError,
    FunctionFailed,
    InvalidRequest,
    MigrationFailed,
    NoDatabase,
    Progress,
    RunInterrupted,
)
from migrator.formatting import Location
from migrator.report import Report

from tests.plugins.answers import check_answer

ARN = "arn:aws:lambda:us-west-2:123456789012:function:shop"


@pytest.fixture(autouse=True)
def _account(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in no account of anybody's."""
    for name, value in {
        "AWS_DEFAULT_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)


def reply(payload: object, *, failed: bool = False) -> Reply:
    """Return what came back from a function."""
    return Reply(json.dumps(payload).encode(), failed, "")


def test_call_is_patient_and_never_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client outwaits the longest function, keeps the connection alive and tries once, whatever the environment says."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "9")
    config = LambdaFunction("shop")._connected().meta.config
    assert config.read_timeout > 15 * 60
    assert config.tcp_keepalive
    assert config.retries["total_max_attempts"] == 1


@pytest.mark.parametrize(
    ("name", "region", "found"),
    [
        ("shop", "", "eu-central-1"),
        ("shop", "sa-east-1", "sa-east-1"),
        (ARN, "", "us-west-2"),
        (f"{ARN}:live", "", "us-west-2"),
        (ARN, "sa-east-1", "sa-east-1"),
        ("123456789012:function:shop", "", "eu-central-1"),
        ("arn", "", "eu-central-1"),
    ],
)
def test_region_is_the_option_or_that_of_the_arn(name: str, region: str, found: str) -> None:
    """The option goes before the ARN, and that before the environment."""
    assert LambdaFunction(name, "", region).region == found


@pytest.mark.parametrize("error", [InvalidRequest("a", fix="b"), NoDatabase("a"), MigrationFailed("a"), RunInterrupted("a")])
def test_error_of_a_run_is_reported_in_its_own_words(error: DbSetupError) -> None:
    """Text, code and exit status of a run's error come through whole."""
    with pytest.raises(FailedThere) as caught:
        _body("shop", reply({"errorMessage": str(error), "errorType": "X", "stackTrace": []}, failed=True))
    assert (str(caught.value), caught.value.code) == (str(error), error.code)
    assert caught.value.exit_status == error.exit_status


def failing(error: DbSetupError, events: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """Return the JSON of a failed call, as the command line prints it."""
    with pytest.raises(FailedThere) as caught:
        _body("shop", reply({"errorMessage": str(error), "errorType": "X"}, failed=True), events)
    body = {"action": "migrate", **caught.value.body(), "duration_ms": 1}
    check_answer(body)
    return body


REFUSED = MigrationFailed(
    'column "nope" does not exist (42703)', where=Location("my file: 2.sql", 2, 8, "SELECT nope;"), sqlstate="42703",
    fix="correct the file\nand run it again",
).after(Progress(("001_a.sql",), "my file: 2.sql"))  # fmt: skip


def test_failure_has_the_fields_of_the_log() -> None:
    """The log's last line gives --json all that the run itself knew of its failure."""
    finished = ("run.finished", {"request_id": "1", "action": "migrate", **REFUSED.body(), "duration_ms": 3})
    other = ("run.finished", {"request_id": "0", "success": True, "message": "Nothing to do."})
    expected = {"action": "migrate", **REFUSED.body(), "duration_ms": 1}
    assert failing(REFUSED, [other, ("migration.notice", {}), finished]) == expected
    assert failing(REFUSED, [finished, other]) == expected


def test_failure_has_the_fields_of_its_text_where_the_log_is_cut() -> None:
    """Without the log there are the place, the SQLSTATE, the fix and the code; what was applied is not known."""
    unknown = {"applied_migrations": None, "pending_migrations": None, "failed_migration": None}
    assert failing(REFUSED, []) == {"action": "migrate", **REFUSED.body(), "duration_ms": 1, **unknown}
    body = failing(NoDatabase("nothing says which database", fix="set DATABASE_URL"), [])
    known = {name: body[name] for name in ("code", "fix", "file", "line", "column", "sqlstate")}
    assert known == {
        "code": "no_database", "fix": "set DATABASE_URL", "file": None, "line": None, "column": None, "sqlstate": None,
    }  # fmt: skip
    assert failing(MigrationFailed("a"), [])["fix"] is None


@pytest.mark.parametrize(
    ("kind", "text", "fix"),
    [
        ("Sandbox.Timedout", "RequestId: 1 Error: Task timed out after 3.00 seconds", "more time"),
        ("", "2026-01-01T00:00:00.000Z 1 Task timed out after 3.00 seconds", "more time"),
        ("Runtime.OutOfMemory", "RequestId: 1 Error: Runtime exited with error: signal: killed", "more memory"),
        ("Runtime.ExitError", "RequestId: 1 Error: Runtime exited with error: signal: killed", "more memory"),
        ("Runtime.ExitError", "RequestId: 1 Error: Runtime exited with error: exit status 1", "log"),
        ("Runtime.ImportModuleError", "Unable to import module 'initializer': No module named 'psycopg2'", "psycopg2"),
        ("Runtime.ImportModuleError", "Unable to import module 'x': No module named 'psycopg2._psycopg'", "architecture"),
        ("Runtime.ImportModuleError", "Unable to import module 'x': No module named 'migrator'", "whole folder"),
        ("Runtime.HandlerNotFound", "Handler 'x' missing on module 'initializer'", "initializer.handler"),
        ("Runtime.UserCodeSyntaxError", "Syntax error in module 'initializer'", "3.11"),
        ("Function.ResponseSizeTooLarge", "Response payload size exceeded", "status --function shop"),
        ("KeyError", "'x' [not_ours]", "log"),
        ("", "", "log"),
    ],
)
def test_end_that_is_none_of_a_run(kind: str, text: str, fix: str) -> None:
    """What Lambda itself says of a crash is reported with what to change."""
    with pytest.raises(FunctionFailed) as caught:
        _body("shop", reply({"errorType": kind, "errorMessage": text}, failed=True))
    assert (caught.value.code, caught.value.exit_status) == ("function_failed", 1)
    assert text in caught.value.what
    assert fix in caught.value.fix


@pytest.mark.parametrize(
    "payload",
    [None, [], "done", 1, {}, {"statusCode": 200}, {"statusCode": 200, "body": "{}"}, {"body": {"success": True}}],
    ids=json.dumps,
)
def test_answer_of_another_function_is_no_success(payload: object) -> None:
    """A function that answers in another way is refused by name."""
    with pytest.raises(FunctionFailed, match="the function shop answered, and not as this db_setup does"):
        _body("shop", reply(payload))


def test_body_is_that_of_the_report() -> None:
    """What the handler answers is found again; what a later version adds does no harm."""
    body = Report("status", "up_to_date").body()
    assert _body("shop", reply({"statusCode": 200, "body": Report("status", "up_to_date").body()})) == body
    assert _body("shop", reply({"body": {**body, "later": 1}})) == {**body, "later": 1}


@pytest.mark.parametrize(
    ("line", "event"),
    [
        ('{"event": "migration.notice", "migration": "a", "notice": "b"}', "migration.notice"),
        ("START RequestId: 1 Version: $LATEST", None),
        ('"migration.notice", "migration": "cut at the front"}', None),
        ('{"event": "migration.notice", "migr2026-01-01T00:00:00Z 1 Task timed out after 3.00 seconds', None),
        ("[1, 2]", None),
        ("", None),
    ],
)
def test_line_of_the_log(line: str, event: str | None) -> None:
    """Whole lines of ours are events; what Lambda writes, or cuts, is not."""
    found: tuple[str, dict[str, Any]] | None = _event(line)
    assert (found[0] if found else None) == event
