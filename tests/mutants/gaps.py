"""Branch coverage of the packages: the lines and the jumps that no test takes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import coverage

from tests.mutants.tree import MIGRATOR, PACKAGES, PROJECT

_SETTINGS = """
[run]
branch = true
data_file = {data}
[report]
exclude_also =
    if TYPE_CHECKING:
    def .*: \\.\\.\\.$
    ^ +\\.\\.\\.$
"""


def gaps(parts: Iterable[Path]) -> list[str]:
    """Return each gap as a line of text: ``path:line``, and where it never goes from there."""
    with tempfile.TemporaryDirectory() as scratch:
        settings = Path(scratch) / "coverage.ini"
        settings.write_text(_SETTINGS.format(data=Path(scratch) / "all"), encoding="utf-8")
        measuring = coverage.Coverage(config_file=str(settings))
        measuring.combine([str(part) for part in parts], keep=True)
        return [text for package in PACKAGES for text in _of_package(measuring, package)]


def _of_package(measuring: coverage.Coverage, package: str) -> list[str]:
    found = []
    for file in sorted((PROJECT / MIGRATOR / package).rglob("*.py")):
        name = file.relative_to(PROJECT).as_posix()
        _, _, _, missing, _ = measuring.analysis2(str(file))
        found += [f"{name}:{line} never runs" for line in missing]
        found += [
            f"{name}:{line} never goes on at {_place(target)}"
            for line, stats in sorted(measuring.branch_stats(str(file)).items())
            if line not in missing and stats[0] > stats[1] > 0
            for target in measuring._analyze(str(file)).missing_branch_arcs()[line]
        ]
    return found


def _place(target: int) -> str:
    return f"line {target}" if target > 0 else "the end of its function"
