"""The patches, and how one is tried: applied to a copy, in which the test that it names has to fail."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import NamedTuple

_PROJECT = Path(__file__).resolve().parents[3]
_FOUND_BY = re.compile(r"^Found by: (.+)$", re.MULTILINE)
_LIMIT = 150  # seconds, in which the tests that find faults end where there is none


class Plant(NamedTuple):
    """A patch that takes one fix back: its name, and pytest's words for the test that finds it."""

    patch: Path
    test: str

    @property
    def name(self) -> str:
        """The name of the patch."""
        return self.patch.stem

    def why_not(self) -> str:
        """Return why the patch does not apply to the project, empty where it does."""
        done = subprocess.run(["git", "apply", "--check", str(self.patch)], cwd=_PROJECT, capture_output=True, text=True, check=False)
        return done.stderr

    def escapes(self) -> str:
        """Plant the fault in a copy and run the test; return why it was not found, empty where it was."""
        if why := self.why_not():
            return f"the patch does not apply any more: {why}"
        with tempfile.TemporaryDirectory(prefix="planted-") as folder:
            copy, report = Path(folder) / "project", Path(folder) / "report.xml"
            _copy(copy)
            subprocess.run(["git", "apply", str(self.patch)], cwd=copy, check=True)
            words = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"--junit-xml={report}", self.test]
            environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
            try:
                done = subprocess.run(words, cwd=copy, env=environ, capture_output=True, text=True, timeout=_LIMIT, check=False)
            except subprocess.TimeoutExpired:
                return ""  # the test hangs, as the fault has it
            failed = [case for case in ET.parse(report).getroot().iter("testcase") if case.find("failure") is not None]  # noqa: S314 - ours
        return "" if failed else f"{self.test} does not fail: {done.stdout[-400:]}{done.stderr[-400:]}"


def _copy(to: Path) -> None:
    """Copy what belongs to the project, as it is now."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=_PROJECT, capture_output=True, check=True
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (_PROJECT / name).exists():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(_PROJECT / name, to / name)
    (to / ".venv").symlink_to(sys.prefix)


def plants() -> list[Plant]:
    """Return all patches that are kept."""
    return [_read(patch) for patch in sorted(Path(__file__).parent.glob("*.patch"))]


def _read(patch: Path) -> Plant:
    found = _FOUND_BY.search(patch.read_text(encoding="utf-8"))
    assert found is not None, f"{patch.name} does not say what finds it"
    return Plant(patch, found[1])
