"""The checks of the migrations at synth: what ``python db_setup lint`` finds in the folder, as annotations.

They need no database. What depends on a database (an edited or a missing file) is checked by the deploy.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from migrator.cli.lint import ERROR, INFO, LintFinding, find
from migrator.errors import DbSetupError
from migrator.files import Folder, Migration, read_folder
from migrator.planning import Policy, make_plan

_ABOUT_APPLIED_FILES = frozenset({"edited_file", "missing_file", "renamed_file"})
"""Rules that are warnings at synth, since git does not record what a database has applied.

Editing a file is correct after its deploy has failed, and a new database has applied nothing. A deploy compares the
files with the history in the database, and refuses before it runs anything.
"""


class Warned(NamedTuple):
    """A warning, with the id by which an app can acknowledge all of its rule."""

    id: str
    text: str


class Findings(NamedTuple):
    """What synth reports about a folder. ``files`` are an environment's migrations in the order they are applied."""

    files: tuple[Migration, ...] = ()
    errors: tuple[str, ...] = ()
    warnings: tuple[Warned, ...] = ()


def inspect(path: Path, environment: str = "", *, strict_order: bool = False) -> Findings:
    """Check all files of the folder, those for other environments, too."""
    if not path.is_dir():
        fix = "Create it, or give the path of the folder with the .sql files."
        return Findings(errors=(f"migrations: there is no folder {path}. {fix}",))
    found = find(path, strict_order=strict_order, only_new=True)
    try:
        folder = read_folder(path, environment)
    except DbSetupError:  # the same is among the findings
        folder = Folder(str(path), (), ())
    return _translated(found, folder, _shown(path))


def _shown(path: Path) -> str:
    """Return the path relative to where synth runs, as a terminal can open it."""
    here = os.path.relpath(path)
    return str(path) if here.startswith(os.pardir) else here


def _translated(found: Iterable[LintFinding], folder: Folder, shown: str) -> Findings:
    errors, warnings = [], []
    reported = set()
    for item in found:
        text = item.refusal or item.without_level(shown)  # in the words of the deploy where it has some
        reported.add(item.message)
        if item.level == ERROR and item.rule not in _ABOUT_APPLIED_FILES:
            errors.append(text)
        elif item.level != INFO:  # info is for a review, not for every synth
            warnings.append(Warned(f"db_setup:{item.rule}", text))
    warnings += [Warned("db_setup:environment", text) for text in folder.warnings if text not in reported]
    return Findings(_in_order(folder), tuple(errors), tuple(warnings))


def _in_order(folder: Folder) -> tuple[Migration, ...]:
    plan = make_plan(folder.files, (), False, Policy())
    return (*(item.migration for item in plan.pending), *folder.repeatable)
