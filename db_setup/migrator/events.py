"""Events: what a run says while it goes on, and what only some answers have. Imports nothing of ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Listener = Callable[[str, dict[str, Any]], None]
"""Takes the events of a run: a dotted name and its fields."""

Details = Mapping[str, Any]
"""Names and values of fields that only some actions answer with."""
