"""The servers of other versions, as npm's packages have them; ``make faults`` fetches them."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path

MAJORS = range(12, 19)
_PACKAGES = Path(sys.prefix) / "postgres" / "node_modules"


def lacks(major: int) -> str:
    """Return why a version cannot be run, empty where it can."""
    there = (_PACKAGES / f"postgres-{major}" / "native" / "bin" / "postgres").exists()
    return "" if there else "its npm package is not installed (make faults installs it, on Linux x64)"


def programs(major: int) -> str:
    """Return the folder of a version's programs; the links between its libraries are made, which no script of it does."""
    package = _PACKAGES / f"postgres-{major}"
    for link in json.loads((package / "native" / "pg-symlinks.json").read_text("utf-8")):
        place = package / link["target"]
        with suppress(FileExistsError):
            place.symlink_to(Path(link["source"]).name)
    return str(package / "native" / "bin")
