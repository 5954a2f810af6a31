"""What one event asks for, checked before anything is touched, and which keys each action accepts. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from migrator.errors import InvalidRequest
from migrator.settings import KINDS

KEYS_OF_ACTIONS = {
    "migrate": ("target_revision", "dry_run"),
    "plan": ("target_revision", "dry_run"),
    "rehearse": ("target_revision",),
    "status": (),
    "history": (),
    "verify": (),
    "adopt": ("target_revision", "confirm"),
    "baseline": ("target_revision", "confirm"),
    "rotate": ("user",),
    "rollback": ("target_revision", "steps", "confirm", "heard"),
    "repair": ("confirm",),
    "resolve": ("step", "confirm"),
}
"""The keys that an action accepts, in addition to those of every action."""
ACTIONS = tuple(KEYS_OF_ACTIONS)
ANSWERS = ("done", "repeat")
"""What a person can say of a step that nothing shows."""
KEYS_OF_ALL = ("action", "secret_name")
_REQUEST_KEYS = ("action", "target_revision", "dry_run", "secret_name", "user", "steps", "step", "confirm", "heard")


class Request(NamedTuple):
    """What one invocation is asked to do. ``target`` is empty for everything there is ("head").

    ``heard`` is the number of a run whose answer the caller has; 0: of the run that this event asks for it is said
    later; None: whoever is answered hears it.
    """

    action: str = "migrate"
    target: str = ""
    secret_name: str = ""
    by_deploy: bool = False
    user: str = ""
    steps: int = 0
    confirm: bool = False
    step: str = ""
    heard: int | None = None

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
                fix='name the last migration that is applied: a number, the name of a file, "head" or "none"',
            )
        request = cls(
            action=action,
            target=_target(event.get("target_revision", "head")),
            secret_name=_filled("secret_name", event, fix="name a secret, or leave the key out"),
            user=_filled("user", event, fix=f"send one of: {', '.join(KINDS)}; or leave the key out for all of them"),
            steps=_steps(event),
            confirm=_boolean("confirm", event),
            step=_step(event),
            heard=_heard(event),
        )
        dry_run = _boolean("dry_run", event)
        _check_keys(request, dry_run)
        return request._replace(action="plan") if dry_run else request


def _check_keys(request: Request, dry_run: bool) -> None:
    """Raise InvalidRequest where a key has a value, other than its default, that the action would ignore."""
    values = {
        "target_revision": request.target, "dry_run": dry_run, "user": request.user, "steps": request.steps,
        "confirm": request.confirm, "step": request.step, "heard": request.heard is not None,
    }  # fmt: skip
    accepted = KEYS_OF_ACTIONS[request.action]
    for key, value in values.items():
        if value and key not in accepted:
            fix = f"send only: {', '.join((*KEYS_OF_ALL, *accepted))}"
            if key == "dry_run" and "confirm" in accepted:
                fix = 'leave it out: without "confirm": true nothing is changed'
            raise InvalidRequest(f"{request.action} does not accept {key}", fix=fix)
    if request.action == "resolve" and not request.step:
        raise InvalidRequest("resolve without an answer", fix='send "step": "done" or "step": "repeat"')
    if request.steps and request.target:
        raise InvalidRequest("steps and target_revision are mutually exclusive", fix="send only one of them")
    if request.heard and (request.steps or request.target or request.confirm):
        fix = f'send only {{"action": "rollback", "heard": {request.heard}}}'
        raise InvalidRequest("heard names a run, and asks for none", fix=fix)


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
        raise InvalidRequest(f'steps is "{value}"', fix="send a positive integer, without quotes")
    return value if "steps" in event else 0


def _step(event: Mapping[str, object]) -> str:
    value = event.get("step", "")
    if value not in {"", *ANSWERS} or (not value and "step" in event):
        raise InvalidRequest(f'step is "{value}"', fix='send "done", or "repeat" to have it run again')
    return str(value)


def _heard(event: Mapping[str, object]) -> int | None:
    if "heard" not in event:
        return None
    value = event["heard"]
    if not isinstance(value, int) or value is True or (value is not False and value < 1):
        raise InvalidRequest(f'heard is "{value}"', fix="send false, or the run_id of an answer, without quotes")
    return int(value)


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
