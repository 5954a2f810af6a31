"""The command ``lint``: findings as text, as JSON or as annotations, and an exit status."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from migrator.cli.lint.finding import ERROR, INFO, WARNING, LintFinding, finding_of
from migrator.cli.lint.findings import find
from migrator.errors import DbSetupError
from migrator.files import default_path
from migrator.settings import Settings


def lint(
    arguments: Namespace, settings: Settings, base: str | os.PathLike[str],
    build: Callable[[], DbSetupError | None] | None = None,
) -> bool:  # fmt: skip
    """Print the findings; return whether none of them is an error.

    ``build`` builds the files as a new database gets them, and returns why it cannot; it is called if they can be read.
    """
    path = settings.migrations_dir or default_path(base)
    found = find(path, arguments.base, strict_order=settings.strict_order)
    if build is not None:
        found += _built(found, build)
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


def _built(found: Sequence[LintFinding], build: Callable[[], DbSetupError | None]) -> Iterator[LintFinding]:
    if any(item.level == ERROR for item in found):
        yield LintFinding("", 0, 0, INFO, "not_built", "the files were not built, since there are errors in them")
    elif error := build():
        failure = finding_of(error)
        yield failure._replace(rule="new_database", message=f"a new database would fail: {failure.message}")


def summary(found: list[LintFinding]) -> str:
    """Return how many there are of each level, in a sentence."""
    counts = Counter(item.level for item in found)
    names = {ERROR: "error", WARNING: "warning", INFO: "remark"}
    parts = [f"{counts[level]} {name}{'s' * (counts[level] != 1)}" for level, name in names.items() if counts[level]]
    return f"{', '.join(parts) or 'nothing found'}."
