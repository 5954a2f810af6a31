"""Which keys of an event go with which action. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from migrator.errors import InvalidRequest
from migrator.settings import KINDS

_WITHOUT_TARGET = {"rotate": "user", "repair": "confirm", "history": ""}
_CONFIRMED = frozenset({"rollback", "repair", "adopt", "baseline"})


def check_keys_of_action(request: Any) -> None:
    """Raise InvalidRequest where a request has a key that means nothing for its action."""
    if request.action in _WITHOUT_TARGET and (request.target or request.dry_run):
        also = _WITHOUT_TARGET[request.action]
        fix = 'send only "action"' + f' and "{also}"' * bool(also)
        raise InvalidRequest(f"{request.action} knows no target_revision and no dry_run", fix=fix)
    for key, given, known in (("steps", request.steps, {"rollback"}), ("confirm", request.confirm, _CONFIRMED)):
        if given and request.action not in known:
            raise InvalidRequest(f"{key} has no meaning for {request.action}", fix="leave the key out")
    if request.steps and request.target:
        raise InvalidRequest("steps and target_revision say two things", fix="send only one of them")
    if request.action == "rollback" and request.dry_run:
        raise InvalidRequest("rollback knows no dry_run", fix='without "confirm": true it is one')
    if request.user and request.action != "rotate":
        raise InvalidRequest(f"user has no meaning for {request.action}", fix='send it with "action": "rotate"')


ACTIONS = (
    "migrate", "plan", "rehearse", "status", "history", "verify", "adopt", "baseline", "rotate", "rollback", "repair",
)  # fmt: skip
_REQUEST_KEYS = ("action", "target_revision", "dry_run", "secret_name", "user", "steps", "confirm")


class Request(NamedTuple):
    """What one invocation is asked to do. ``target`` is empty for everything there is ("head")."""

    action: str = "migrate"
    target: str = ""
    dry_run: bool = False
    secret_name: str = ""
    by_deploy: bool = False
    user: str = ""
    steps: int = 0
    confirm: bool = False

    @classmethod
    def parse(cls, event: object) -> Request:
        """Read an event; ``{}`` and None (what the CDK Trigger sends) mean migrate. Raises InvalidRequest."""
        if event is None or event == {}:
            return cls(by_deploy=True)
        if not isinstance(event, Mapping):
            raise InvalidRequest(
                f"the event is a {type(event).__name__}", fix='send an object, such as {"action": "status"}'
            )
        unknown = sorted(str(key) for key in event if key not in _REQUEST_KEYS)
        if unknown:
            raise InvalidRequest(
                f"unknown key in the event: {', '.join(unknown)}", fix=f"use only: {', '.join(_REQUEST_KEYS)}"
            )
        action = _action(event.get("action", "migrate"))
        if action == "baseline" and "target_revision" not in event:
            raise InvalidRequest(
                "baseline without a target",
                fix='say up to which migration everything is applied: a number, the name of a file, "head" or "none"',
            )
        request = cls(
            action=action,
            target=_target(event.get("target_revision", "head")),
            dry_run=_boolean("dry_run", event),
            secret_name=_filled("secret_name", event, fix="name a secret, or leave the key out"),
            user=_filled("user", event, fix=f"send one of: {', '.join(KINDS)}; or leave the key out for all of them"),
            steps=_steps(event),
            confirm=_boolean("confirm", event),
        )

        check_keys_of_action(request)
        return request


def _action(value: object) -> str:
    if value not in ACTIONS:
        raise InvalidRequest(f'unknown action "{value}"', fix=f"use one of: {', '.join(ACTIONS)}")
    return str(value)


def _boolean(key: str, event: Mapping[str, object]) -> bool:
    value = event.get(key, False)
    if not isinstance(value, bool):
        raise InvalidRequest(f'{key} is "{value}"', fix=f"set {key} to true or false, without quotes")
    return value


def _steps(event: Mapping[str, object]) -> int:
    value = event.get("steps", 1)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InvalidRequest(f'steps is "{value}"', fix="send a whole number from 1 on, without quotes")
    return value if "steps" in event else 0


def _target(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    text = _text("target_revision", value)
    if not text:
        raise InvalidRequest("target_revision is empty", fix='send "head", a number, or the name of a file')
    return "" if text == "head" else text


def _filled(key: str, event: Mapping[str, object], *, fix: str) -> str:
    text = _text(key, event.get(key, ""))
    if key in event and not text:
        raise InvalidRequest(f"{key} is empty", fix=fix)
    return text


def _text(key: str, value: object) -> str:
    if not isinstance(value, str) or "\x00" in value:
        raise InvalidRequest(f"{key} is not a text", fix=f'send {key} as a text, such as "{key}": "..."')
    return value
