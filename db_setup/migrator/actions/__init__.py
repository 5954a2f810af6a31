"""The actions: one verb a module, each a function from what an invocation has to the report of what it did.

``perform`` is the one name that crosses the wall. May import every package but cli. An action is loaded when a request
names it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import cast

from migrator.context import RunContext
from migrator.errors import ConnectionLost, ServerError
from migrator.report import Report

__all__ = ["perform"]

_MODULES = {"baseline": "adopt"}
"""Actions that are in the module of another one."""
_AGAIN = 3
"""How often an action is begun anew whose connection is lost while it only reads."""


def perform(context: RunContext) -> Report:
    """Carry out what the request asks for: the function of the action's name, in the module of that name."""
    name = context.request.action
    module = f"{__name__}.{_MODULES.get(name, name)}"
    __import__(module)
    return _perform(context, cast("Callable[[RunContext], Report]", getattr(sys.modules[module], name)))


def _perform(context: RunContext, action: Callable[[RunContext], Report]) -> Report:
    """Carry out an action; again where the connection is lost before anything was done that counts.

    Raises DeadlineReached and RunInterrupted in place of what the end of the time has led to.
    """
    warnings, again = list(context.warnings), _AGAIN
    while True:
        try:
            return action(context)
        except (ConnectionLost, ServerError) as error:
            if context.deadline.has_led_to(error):
                raise context.deadline.why_over() from error
            if isinstance(error, ServerError) or context.has_supervised or not again:
                raise
            context.warnings[:], again = warnings, again - 1
