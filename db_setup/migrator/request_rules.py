"""Which keys of an event go with which action. Pure."""

from __future__ import annotations

from migrator.errors import InvalidRequest
from migrator.light import Any

_WITHOUT_TARGET = {"rotate": "user", "repair": "confirm", "history": ""}
_CONFIRMED = frozenset({"rollback", "repair", "adopt", "baseline"})


def check_keys_of_action(request: Any) -> None:
    """Raise InvalidRequest where a request has a key that means nothing for its action."""
    if request.action in _WITHOUT_TARGET and (request.target or request.dry_run):
        also = _WITHOUT_TARGET[request.action]
        cure = 'send only "action"' + f' and "{also}"' * bool(also)
        raise InvalidRequest(f"{request.action} knows no target_revision and no dry_run", cure=cure)
    for key, given, known in (("steps", request.steps, {"rollback"}), ("confirm", request.confirm, _CONFIRMED)):
        if given and request.action not in known:
            raise InvalidRequest(f"{key} has no meaning for {request.action}", cure="leave the key out")
    if request.steps and request.target:
        raise InvalidRequest("steps and target_revision say two things", cure="send only one of them")
    if request.action == "rollback" and request.dry_run:
        raise InvalidRequest("rollback knows no dry_run", cure='without "confirm": true it is one')
    if request.user and request.action != "rotate":
        raise InvalidRequest(f"user has no meaning for {request.action}", cure='send it with "action": "rotate"')
