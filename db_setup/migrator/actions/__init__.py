"""The actions: one verb a module, each a function from what an invocation has to the report of what it did.

``perform`` is the one name that crosses the wall. May import every package but cli. An action is loaded when a request
names it.
"""

from __future__ import annotations

from typing import cast

from migrator.context import RunContext
from migrator.lazy import late
from migrator.report import Report
from migrator.request import ACTIONS

__all__ = ["perform"]

_find = late(__name__, {action: "adopt" if action == "baseline" else action for action in ACTIONS})


def perform(context: RunContext) -> Report:
    """Carry out what the request asks for: the function of the action's name in the action's module."""
    return cast("Report", _find(context.request.action)(context))
