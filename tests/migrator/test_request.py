"""request: events, read and refused by name before anything is touched."""

from __future__ import annotations

import re

import pytest
from migrator.errors import InvalidRequest
from migrator.request import Request

from tests.plugins.databases import Database
from tests.plugins.folders import Folder
from tests.plugins.runs import Invoke


@pytest.mark.parametrize("event", [None, {}], ids=["none", "empty"])
def test_no_payload_is_a_deploy(event: object) -> None:
    """What the CDK Trigger sends means: migrate everything, as part of a deploy."""
    assert Request.parse(event) == Request("migrate", "", "", by_deploy=True)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"action": "migrate"}, Request("migrate")),
        ({"action": "plan"}, Request("plan")),
        ({"action": "status"}, Request("status")),
        ({"target_revision": "head"}, Request(target="")),
        ({"target_revision": "003"}, Request(target="003")),
        ({"target_revision": 3}, Request(target="3")),
        ({"target_revision": "003_add_phone.sql"}, Request(target="003_add_phone.sql")),
        ({"dry_run": True}, Request("plan")),
        ({"dry_run": False}, Request()),
        ({"action": "plan", "dry_run": True}, Request("plan")),
        ({"action": "verify", "target_revision": "head", "dry_run": False, "confirm": False}, Request("verify")),
        ({"secret_name": "arn:aws:x"}, Request(secret_name="arn:aws:x")),
        (
            {"action": "migrate", "target_revision": "V1_2", "dry_run": True, "secret_name": "s"},
            Request("plan", "V1_2", "s"),
        ),
        ({"action": "rotate"}, Request("rotate")),
        ({"action": "rotate", "user": "readonly"}, Request("rotate", user="readonly")),
    ],
    ids=["migrate", "plan", "status", "head", "number", "integer", "name", "dry-run", "wet-run", "dry-plan", "defaults", "secret", "all",
         "rotate", "rotate-one"],
)
def test_event_is_read(event: object, expected: Request) -> None:
    """Each documented key is understood, and an event with a payload is no deploy."""
    assert Request.parse(event) == expected


@pytest.mark.parametrize(
    ("event", "named"),
    [
        ([], "list"),
        (["migrate"], "list"),
        ("migrate", "str"),
        ("", "str"),
        (b"{}", "bytes"),
        (0, "int"),
        (False, "bool"),
        ({"actoin": "status"}, "actoin"),
        ({"action": "migrate", "Target_Revision": "3"}, "Target_Revision"),
        ({"RequestType": "Create", "ResourceProperties": {}}, "RequestType"),
        ({"": "x"}, "unknown key"),
        ({1: "x", "b": "y", None: "z"}, "1"),
        ({"action": "drop"}, 'unknown action "drop"'),
        ({"action": ""}, "unknown action"),
        ({"action": None}, "unknown action"),
        ({"action": ["migrate"]}, "unknown action"),
        ({"action": {"x": 1}}, "unknown action"),
        ({"action": "MIGRATE"}, 'unknown action "MIGRATE"'),
        ({"dry_run": "true"}, "dry_run"),
        ({"dry_run": 1}, "dry_run"),
        ({"dry_run": None}, "dry_run"),
        ({"target_revision": ""}, "target_revision"),
        ({"target_revision": None}, "target_revision"),
        ({"target_revision": True}, "target_revision"),
        ({"target_revision": 1.5}, "target_revision"),
        ({"target_revision": ["003"]}, "target_revision"),
        ({"target_revision": "00\x003"}, "target_revision"),
        ({"secret_name": 5}, "secret_name"),
        ({"secret_name": None}, "secret_name"),
        ({"secret_name": "a\x00b"}, "secret_name"),
        ({"secret_name": ""}, "secret_name"),
        ({"user": "user"}, "migrate does not accept user"),
        ({"action": "rotate", "user": ""}, "user is empty"),
        ({"action": "rotate", "user": ["user"]}, "user is not a text"),
        ({"action": "rotate", "user": "a\x00"}, "user is not a text"),
        ({"action": "rotate", "dry_run": True}, "rotate does not accept dry_run"),
        ({"action": "rotate", "target_revision": "3"}, "rotate does not accept target_revision"),
        (
            {"action": "rollback", "target_revision": "3", "steps": 1},
            "steps and target_revision are mutually exclusive",
        ),
    ],
    ids=repr,
)
def test_other_events_are_refused_by_name(event: object, named: str) -> None:
    """An event of another type, an unknown key or an unusable value is refused, and the refusal names it."""
    with pytest.raises(InvalidRequest, match=re.escape(named)) as caught:
        Request.parse(event)
    assert caught.value.fix
    assert caught.value.exit_status == 2


VALUES = {"target_revision": "3", "dry_run": True, "user": "user", "steps": 1, "step": "done", "confirm": True}
ACCEPTED = {
    "migrate": {"target_revision", "dry_run"}, "plan": {"target_revision", "dry_run"}, "rehearse": {"target_revision"},
    "status": set(), "history": set(), "verify": set(), "adopt": {"target_revision", "confirm"},
    "baseline": {"target_revision", "confirm"}, "rotate": {"user"}, "repair": {"confirm"},
    "rollback": {"target_revision", "steps", "confirm"}, "resolve": {"step", "confirm"},
}  # fmt: skip
REQUIRED: dict[str, dict[str, object]] = {"baseline": {"target_revision": "head"}, "resolve": {"step": "done"}}


@pytest.mark.parametrize("key", VALUES)
@pytest.mark.parametrize("action", ACCEPTED)
def test_key_that_the_action_would_ignore_is_refused(action: str, key: str) -> None:
    """Each action accepts the keys that mean something for it, and refuses every other by name."""
    event = {"action": action, **REQUIRED.get(action, {}), key: VALUES[key]}
    if key in ACCEPTED[action]:
        assert Request.parse(event).action == ("plan" if key == "dry_run" else action)
    else:
        with pytest.raises(InvalidRequest, match=f"{action} does not accept {key}"):
            Request.parse(event)


def test_huge_event_makes_a_bounded_message() -> None:
    """A value of a megabyte is refused in a message of at most a kilobyte."""
    with pytest.raises(InvalidRequest) as caught:
        Request.parse({"action": "x" * 1_000_000})
    assert len(str(caught.value).encode()) <= 1024


@pytest.mark.parametrize("action", ["verify", "rehearse", "adopt", "baseline"])
def test_dry_run_does_not_turn_another_action_into_a_plan(
    invoke: Invoke, folder: Folder, database: Database, action: str
) -> None:
    """A dry run of anything but migrate is refused, where it was answered with "up to date" of a drifted database."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    invoke()
    database.execute("DROP TABLE a")
    with pytest.raises(InvalidRequest, match=f"{action} does not accept dry_run"):
        invoke({"action": action, "dry_run": True, **({"target_revision": "1"} if action == "baseline" else {})})
