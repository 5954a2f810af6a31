"""The command ``lint``: findings as text, as JSON or as annotations, and an exit status."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from collections import Counter

from migrator.cli.lint.finding import ERROR, INFO, WARNING, LintFinding
from migrator.cli.lint.findings import find
from migrator.files import default_path
from migrator.settings import Settings


def lint(arguments: Namespace, settings: Settings, base: str | os.PathLike[str]) -> bool:
    """Print the findings; return whether none of them is an error."""
    path = settings.migrations_dir or default_path(base)
    found = find(path, arguments.base, strict_order=settings.strict_order)
    if arguments.strict:
        found = [item._replace(level=ERROR) if item.level == WARNING else item for item in found]
    workspace = os.environ.get("GITHUB_WORKSPACE", "") if arguments.github else ""
    folder = os.path.relpath(path, workspace or None)
    passed = all(item.level != ERROR for item in found)
    if arguments.json:
        entries = [item.entry(folder) for item in found]
        print(json.dumps({"success": passed, "action": "lint", "message": summary(found), "findings": entries}))
        return passed
    for item in found:
        print(item.annotation(folder) if arguments.github else item.text(folder))
    print(summary(found))
    return passed


def summary(found: list[LintFinding]) -> str:
    """Return how many there are of each level, in a sentence."""
    counts = Counter(item.level for item in found)
    names = {ERROR: "error", WARNING: "warning", INFO: "remark"}
    parts = [f"{counts[level]} {name}{'s' * (counts[level] != 1)}" for level, name in names.items() if counts[level]]
    return f"{', '.join(parts) or 'nothing found'}."
