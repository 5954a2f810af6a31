"""The assemblies of app.py: synthesised once for a test session, whichever worker comes first."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.chain.template import Template

ROOT = Path(__file__).resolve().parents[2]


class Assembly:
    """One stack of a synthesised app: what ``cdk deploy`` would hand to AWS."""

    def __init__(self, folder: Path, stack: str) -> None:
        self._folder = folder
        self._stack = stack

    @cached_property
    def template(self) -> Template:
        """The template."""
        return Template(self._read("template"))

    @cached_property
    def _assets(self) -> dict[str, Any]:
        files: dict[str, Any] = self._read("assets")["files"]
        return files

    def _read(self, kind: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self._folder / f"{self._stack}.{kind}.json").read_text("utf-8"))
        return content

    def code(self, properties: Mapping[str, Any]) -> Path | None:
        """Return the folder that a function's package is made of; none for what is no function, or written inline."""
        key = properties.get("Code", {}).get("S3Key", "") if isinstance(properties.get("Code"), Mapping) else ""
        if not key:
            return None
        source = self._assets[key.partition(".")[0]]["source"]
        return (self._folder / str(source["path"])).resolve()


Release = Callable[[str], Assembly]
"""Takes the name of a release."""


def once(shared: Path, name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder that all workers share; the first who asks makes it."""
    final, unfinished = shared / name, shared / f"{name}.unfinished"
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not final.exists():
            make(unfinished)
            unfinished.rename(final)
    return final


def synthesise(output: Path) -> None:
    """Run the app in a process of its own."""
    environ = {**os.environ, "CDK_VALIDATION": "false"}  # which takes 3 s, and is not what the chain is about
    words = [sys.executable, "-m", "tests.chain.app", str(output)]
    ran = subprocess.run(words, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
