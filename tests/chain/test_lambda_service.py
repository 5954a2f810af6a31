"""The Lambda of the chain answers as AWS's does."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.chain.chain import Chain
from tests.chain.execution import FunctionVersion, function_arn

PROBE = """
import json, os, sys
def handler(event, context):
    if event.get("exit") is not None:
        sys.exit(event["exit"])
    if event.get("dies"):
        os._exit(int(event["dies"]))
    if event.get("hangs"):
        while True: pass
    if event.get("wrong"):
        raise ValueError("wrong: " + event["wrong"])
    return {"environ": dict(os.environ), "path": sys.path, "left": context.get_remaining_time_in_millis()}
"""


@pytest.fixture
def probe(chain: Chain, tmp_path: Path) -> Chain:
    """Return a chain with one function that does as its event says."""
    (tmp_path / "probe.py").write_text(PROBE)
    for name, handler in (("probe", "probe.handler"), ("lost", "nowhere.handler")):
        chain.service.publish(FunctionVersion(name, "1", function_arn(name), tmp_path, handler, 1, 128, {"MINE": "1"}))
    return chain


def invoke(probe: Chain, event: object, name: str = "probe", **options: Any) -> tuple[Any, dict[str, Any]]:
    """Invoke a function and return what it answers, with the rest of the answer."""
    answer = probe.client.invoke(FunctionName=name, Payload=json.dumps(event), **options)
    text = answer["Payload"].read()
    return (json.loads(text) if text else None), dict(answer)


@pytest.mark.parametrize(
    ("event", "kind", "message"),
    [
        ({"wrong": "this"}, "ValueError", "wrong: this"),
        ({"exit": 3}, "Runtime.ExitError", "Runtime exited with error: exit status 3"),
        ({"dies": "9"}, "Runtime.ExitError", "Runtime exited with error: exit status 9"),
        ({"exit": 0}, "Runtime.ExitError", "Runtime exited without providing a reason"),
        ({"hangs": True}, "Sandbox.Timedout", "Task timed out after 1.00 seconds"),
    ],
)
def test_function_that_fails(probe: Chain, event: object, kind: str, message: str) -> None:
    """An exception, an exit and the end of the time are function errors with AWS's types and words."""
    body, answer = invoke(probe, event)
    assert answer["FunctionError"] == "Unhandled"
    assert (body["errorType"], answer["StatusCode"]) == (kind, 200)
    assert body["errorMessage"].endswith(message)
    assert invoke(probe, {})[0]["left"] > 0


def test_handler_that_cannot_be_loaded(probe: Chain) -> None:
    """A package without the handler's module is an error of the invocation."""
    body, _ = invoke(probe, {}, "lost")
    assert body["errorType"] == "Runtime.ImportModuleError"


def test_environment_of_a_function(probe: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function sees its own variables and AWS's, nothing of the test's; its package comes first on the path."""
    monkeypatch.setenv("OF_THE_TEST", "1")
    body, _ = invoke(probe, {})
    assert body["environ"]["MINE"] == "1"
    assert body["environ"]["AWS_LAMBDA_FUNCTION_NAME"] == "probe"
    assert "OF_THE_TEST" not in body["environ"]
    assert body["path"][1] == body["environ"]["LAMBDA_TASK_ROOT"]
    assert not [path for path in body["path"] if path.endswith("site-packages")]


def test_kinds_of_invocation(probe: Chain) -> None:
    """DryRun runs nothing, Event does not wait, Tail brings the log of this invocation alone."""
    assert invoke(probe, {"wrong": "dry"}, InvocationType="DryRun")[1]["StatusCode"] == 204
    assert invoke(probe, {"wrong": "later"}, InvocationType="Event")[1]["StatusCode"] == 202
    probe.service.settle()
    log = base64.b64decode(invoke(probe, {"wrong": "now"}, LogType="Tail")[1]["LogResult"]).decode()
    assert "wrong: now" in log
    assert "wrong: later" not in log
    assert "wrong: later" in probe.service.output()
    assert "wrong: dry" not in probe.service.output()


def test_unknown_function(probe: Chain) -> None:
    """A function that is not there is refused as AWS refuses it."""
    with pytest.raises(probe.client.exceptions.ResourceNotFoundException):
        invoke(probe, {}, "nobody")
