"""The actions: one verb a module, each a function from what an invocation has to the report of what it did.

``perform`` is the one name that crosses the wall. May import every package but cli. An action is loaded when a request
names it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import cast

from migrator.context import RunContext
from migrator.report import Report

__all__ = ["perform"]

_MODULES = {"baseline": "adopt"}
"""Actions that are in the module of another one."""


def perform(context: RunContext) -> Report:
    """Carry out what the request asks for: the function of the action's name, in the module of that name."""
    action = context.request.action
    module = f"{__name__}.{_MODULES.get(action, action)}"
    __import__(module)
    return cast("Callable[[RunContext], Report]", getattr(sys.modules[module], action))(context)
