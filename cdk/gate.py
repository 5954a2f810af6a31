"""The migrations as synth sees them: what ``python db_setup lint`` finds in the folder, as annotations.

Nothing here asks a database. What only a database can tell (an edited past, a missing file) is for the deploy.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from migrator.cli.lint import ERROR, INFO, LintFinding, find
from migrator.errors import DbSetupError
from migrator.files import Folder, Migration, read_folder
from migrator.planning.plan import Policy, make_plan

_ABOUT_THE_PAST = frozenset({"edited_file", "missing_file", "renamed_file"})
"""Rules that are warnings at synth: git does not know what a database has applied.

To edit a file is right where its deploy has failed, and in a new database there is no past. A deploy compares with the
database itself, and refuses before it runs anything.
"""


class Warned(NamedTuple):
    """A warning, with the id by which an app can acknowledge all of its rule."""

    id: str
    text: str


class Findings(NamedTuple):
    """What synth says about a folder. ``files`` are an environment's migrations in the order of their application."""

    files: tuple[Migration, ...] = ()
    errors: tuple[str, ...] = ()
    warnings: tuple[Warned, ...] = ()


def inspect(path: Path, environment: str = "", *, strict_order: bool = False) -> Findings:
    """Look at all files of the folder, those for other environments too."""
    if not path.is_dir():
        cure = "Make it, or give the path of the folder with the .sql files."
        return Findings(errors=(f"migrations: there is no folder {path}. {cure}",))
    found = find(path, strict_order=strict_order, only_new=True)
    try:
        folder = read_folder(path, environment)
    except DbSetupError:  # the same is among the findings
        folder = Folder(str(path), (), ())
    return _translated(found, folder, _shown(path))


def _shown(path: Path) -> str:
    """Return the path from where synth runs, as a terminal can open it."""
    here = os.path.relpath(path)
    return str(path) if here.startswith(os.pardir) else here


def _translated(found: Iterable[LintFinding], folder: Folder, shown: str) -> Findings:
    errors, warnings = [], []
    told = set()
    for item in found:
        text = item.refusal or item.without_level(shown)  # in the words of the deploy where it has some
        told.add(item.message)
        if item.level == ERROR and item.rule not in _ABOUT_THE_PAST:
            errors.append(text)
        elif item.level != INFO:  # a remark is for a review, not for every synth
            warnings.append(Warned(f"db_setup:{item.rule}", text))
    warnings += [Warned("db_setup:environment", text) for text in folder.warnings if text not in told]
    return Findings(_in_order(folder), tuple(errors), tuple(warnings))


def _in_order(folder: Folder) -> tuple[Migration, ...]:
    plan = make_plan(folder.files, (), False, Policy())
    return (*(item.migration for item in plan.pending), *folder.repeatable)
