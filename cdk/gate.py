"""The migrations as synth sees them: read with the rooms of the function, so that what it would refuse, synth refuses.

Nothing here asks a database. What only a database can tell (an edited past, a missing file) is for the deploy.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from migrator.beside import with_what_is_beside
from migrator.errors import DbSetupError, FolderNotFound
from migrator.folder import Folder, read_folder
from migrator.migration import Migration
from migrator.plan import Policy, make_plan
from migrator.report import listed
from migrator.script import read_script


class Findings(NamedTuple):
    """What synth says about a folder. ``files`` are its migrations in the order of their application."""

    files: tuple[Migration, ...] = ()
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def inspect(path: Path) -> Findings:
    """Read the folder and every file in it, ways back and checks too."""
    try:
        folder = read_folder(path)
    except FolderNotFound:
        cure = "Make it, or give the path of the folder with the .sql files."
        return Findings(errors=(f"migrations: there is no folder {path}. {cure}",))
    except DbSetupError as error:
        return Findings(errors=(str(error),))
    return _together([_inspected(folder), *(_inspected(read_folder(path, name)) for name in folder.environments)])


def _together(found: Sequence[Findings]) -> Findings:
    """Put the findings of all environments together, each once; the files are those for every environment."""
    errors = dict.fromkeys(text for each in found for text in each.errors)
    warnings = dict.fromkeys(text for each in found for text in each.warnings)
    return Findings(found[0].files, tuple(errors), tuple(warnings))


def _inspected(folder: Folder) -> Findings:
    plan = make_plan(folder.files, (), False, Policy("", False, False))
    errors = [f"{problem.what}. Cure: {problem.cure}" for problem in plan.problems]
    warnings = [*folder.warnings, *_unnumbered(folder), *_late(folder)]
    if not folder.files:
        warnings.append(f"there are no migrations in {folder.path}")
    for file in (*folder.files, *folder.repeatable):
        try:
            warnings += with_what_is_beside(read_script(file, keep=False)).warnings
        except DbSetupError as error:
            errors.append(str(error))
    return Findings(tuple(item.migration for item in plan.pending), tuple(errors), tuple(warnings))


def _unnumbered(folder: Folder) -> Sequence[str]:
    names = [file.name for file in folder.files if file.number is None]
    if not names:
        return ()
    what = f"without a number: {listed(names)}; such files are applied after the numbered ones, in the order of names"
    return [f'{what}. "python db_setup number" writes their numbers into the names']


def _late(folder: Folder) -> list[str]:
    """Say which files are new here and yet numbered below one that is committed, and so perhaps deployed."""
    committed = _committed(Path(folder.path))
    old = [file for file in folder.files if file.number is not None and file.name in committed]
    if not old:
        return []
    last = max(old, key=_number)
    late = [f for f in folder.files if f.number is not None and f.name not in committed and _number(f) < _number(last)]
    return [
        f"{file.name} comes late: {last.name} is committed already. It is applied, after what a database has; "
        "give it a higher number if it should come later everywhere"
        for file in late
    ]


def _number(file: Migration) -> tuple[int, ...]:
    assert file.number is not None
    return file.number


def _committed(folder: Path) -> frozenset[str]:
    """Return the names that git has for the folder on the main branch, or at HEAD; none where there is no git."""
    for base in ("origin/HEAD", "HEAD"):
        words = ["git", "-C", str(folder), "ls-tree", "-z", "--name-only", base]
        try:
            done = subprocess.run(words, capture_output=True, check=False)
        except OSError:  # no git on this machine: then nothing is known to be committed
            return frozenset()
        if done.returncode == 0:
            return frozenset(name.decode(errors="replace") for name in done.stdout.split(b"\0") if name)
    return frozenset()
