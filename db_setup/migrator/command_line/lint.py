"""Lint: what is wrong, or dangerous, in a folder of migrations, as far as files and git tell; needs no database."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

from migrator.command_line import squawk
from migrator.command_line.branch import Branch, read_branch
from migrator.command_line.finding import ERROR, INFO, WARNING, Finding
from migrator.errors import DbSetupError
from migrator.folder import Folder, read_folder
from migrator.migration import Migration, Number, number_of
from migrator.report import listed
from migrator.script import Script, read_script

_ON_THE_BRANCH = "applied files are history: put it back as it was, and write the change as a new file"


def find(path: str | os.PathLike[str], base: str = "", *, strict_order: bool = False) -> list[Finding]:
    """Return the findings of a folder, in the order of files and lines.

    ``base`` is the git branch to compare with; empty: the main branch, if there is a repository. Reads only. Raises
    UsageError for a base that does not exist; all else that is wrong is a finding.
    """
    try:
        folder = read_folder(path)
    except DbSetupError as error:
        return [_of_error(error, "")]
    branch = read_branch(path, base)
    new = [file for file in folder.files if file.name not in branch.known]
    found = [Finding("", 0, 0, WARNING, "not_run", text) for text in folder.warnings]
    found += [*_duplicates(folder, branch), *_against(folder, branch), *_late(new, branch, strict=strict_order)]
    found += _ways_back(new, path)
    scripts = []
    for file in folder.files:
        script, of_file = _read(file)
        found += of_file
        scripts += [script] if script is not None and file in new else []
    found += squawk.look(scripts)
    if branch.missing:
        found.append(Finding("", 0, 0, INFO, "no_branch", f"not compared with a branch: {branch.missing}"))
    return sorted(found, key=lambda item: (item.file, item.line, item.column))


def _of_error(error: DbSetupError, name: str) -> Finding:
    where = error.where
    line, column = (where.line, where.column) if where else (0, 0)
    return Finding(where.file if where else name, line, column, ERROR, error.code, error.what, error.cure)


def _read(file: Migration) -> tuple[Script | None, list[Finding]]:
    """Read a file as a run does before it touches anything."""
    try:
        script = read_script(file, keep=False)
    except DbSetupError as error:
        return None, [_of_error(error, file.name)]
    marks = [Finding(file.name, 1, 1, WARNING, "down_part", text) for text in script.warnings]
    return script, marks


def _duplicates(folder: Folder, branch: Branch) -> Iterator[Finding]:
    """Find numbers that several files carry, here or once this branch and the base are one."""
    groups: dict[Number, list[str]] = {}
    for name in dict.fromkeys((*(file.name for file in folder.files), *branch.ahead)):
        if (number := number_of(name)) is not None:
            groups.setdefault(number, []).append(name)
    for names in groups.values():
        new = [name for name in names if name not in branch.known and name not in branch.ahead]
        if len(names) > 1:
            level = ERROR if new or not branch.known else WARNING
            other = f" ({branch.name} has files that are not here)" if set(names) & set(branch.ahead) else ""
            what = f"one number, {len(names)} files: {listed(names)}{other}"
            yield Finding((new or names)[-1], 1, 1, level, "duplicate_number", what, "give it the next free number")


def _against(folder: Folder, branch: Branch) -> Iterator[Finding]:
    """Find what was edited, deleted or renamed since this branch began."""
    here = {file.name: file.checksum for file in folder.files}
    for name, checksum in branch.fork.items():
        if here.get(name) == checksum or (name not in here and name in branch.gone):
            continue
        if name in here:
            what = f"{name} is on {branch.name}, and was edited here"
            yield Finding(name, 1, 1, ERROR, "edited_file", what, _ON_THE_BRANCH)
        elif twin := _twin(checksum, here, branch.fork):
            what = f"{name} is on {branch.name}, and is {twin} here; a run follows a new name, but not an edit as well"
            yield Finding(twin, 1, 1, WARNING, "renamed_file", what)
        else:
            what = f"{name} is on {branch.name}, and is missing here"
            yield Finding(name, 0, 0, ERROR, "missing_file", what, _ON_THE_BRANCH)


def _twin(checksum: str, here: Mapping[str, str], fork: Mapping[str, str]) -> str:
    return next((name for name, other in here.items() if other == checksum and name not in fork), "")


def _late(new: Sequence[Migration], branch: Branch, *, strict: bool) -> Iterator[Finding]:
    """Find new files that come before one that the base has, and databases perhaps have applied."""
    numbered = [(number, name) for name in branch.known if (number := number_of(name)) is not None]
    last, last_name = max(numbered, default=((), ""))
    for file in new:
        if file.number is not None and file.number < last:
            what = f"{file.name} comes before {last_name}, which is on {branch.name}"
            level = ERROR if strict else WARNING
            yield Finding(file.name, 1, 1, level, "out_of_order", what, "give it the next free number")


def _ways_back(new: Sequence[Migration], path: str | os.PathLike[str]) -> Iterator[Finding]:
    """Remark on new files without a way back, in a folder where others have one."""
    down = {name for name in os.listdir(path) if name.endswith(".down.sql")}
    for file in new if down else ():
        if f"{file.name.removesuffix('.sql')}.down.sql" not in down:
            yield Finding(file.name, 1, 1, INFO, "no_way_back", f"{file.name} has no .down.sql beside it")
