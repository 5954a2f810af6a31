"""lint: mistakes and dangerous statements in a folder of migrations, and differences from a git branch.

Needs no database and no driver; squawk and git are used where they are installed. A finding never changes a file.
May import scripts, planning, settings and what is below them, and no driver.
"""

from __future__ import annotations

from migrator.cli.lint.command import lint
from migrator.cli.lint.finding import ERROR, INFO, WARNING, LintFinding
from migrator.cli.lint.findings import find

__all__ = [
    "ERROR",
    "INFO",
    "WARNING",
    "LintFinding",
    "find",
    "lint",
]
