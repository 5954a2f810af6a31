"""Names of a package that are loaded when they are first used (PEP 562)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


def late(package: str, modules: dict[str, str]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package: ``modules`` has the module of each name that is loaded late.

    A deploy with nothing to do loads the first part of a package only; who needs more imports it from the package, too.
    """

    def load(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(__import__(f"{package}.{modules[name]}", fromlist=[name]), name)
        setattr(sys.modules[package], name, value)  # so that it is asked for once
        return value

    return load
