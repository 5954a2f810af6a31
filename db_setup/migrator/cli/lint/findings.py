"""Lint: what is wrong, or dangerous, in a folder of migrations, as far as files and git show; needs no database.

The folder is read as all its environments see it.
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from migrator.cli.lint import squawk
from migrator.cli.lint.finding import ERROR, INFO, WARNING, LintFinding, finding_of
from migrator.cli.lint.git import Branch, read_branch
from migrator.cli.lint.slow_after_lock import find_slow_after_lock
from migrator.errors import DbSetupError, NotResumable, TextError, UnreadableFile
from migrator.files import REPEATABLE, Migration, number_of, read_folder
from migrator.files.foreign import foreign_name
from migrator.planning.numbering import TAKE_NEXT, describe_duplicate, duplicates, highest, is_late
from migrator.scripts import STEPWISE, Script, down_section, kept, read_script, with_companions
from migrator.scripts.session_needs import refuse_needs_of

_ON_THE_BRANCH = "applied files are history: put it back as it was, and write the change as a new file"


def find(
    path: str | os.PathLike[str], base: str = "", *, strict_order: bool = False, only_new: bool = False
) -> list[LintFinding]:
    """Return the findings of a folder, with the files of all its environments, in the order of files and lines.

    ``base`` is the git branch to compare with; empty: the main branch, if there is a repository. ``only_new`` keeps
    squawk from files that may be old, where there is no branch to compare with. Reads only. Raises UsageError for a
    base that does not exist; everything else that is wrong is a finding.
    """
    try:
        seen = read_all_environments(path)
    except DbSetupError as error:
        return [finding_of(error)]
    branch = read_branch(path, base)
    foreign = {item.file: item for item in _foreign(seen, branch)}
    ours = seen._replace(files=tuple(file for file in seen.files if file.name not in foreign))
    new = [file for file in ours.files if file.name not in branch.known]
    found = [LintFinding("", 0, 0, WARNING, "not_run", text) for text in seen.warnings]
    found += [*_empty(seen), *foreign.values(), *_unnumbered(new), *_duplicates(ours, branch), *_against(seen, branch)]
    found += [*_late(new, ours, branch, strict=strict_order), *_without_down_file(new, ours)]
    every = (*seen.files, *seen.repeatable)
    shown = [] if only_new and branch.missing else [file for file in every if _is_another(file, branch)]
    may_be_old = only_new and bool(branch.missing)
    old = {file.name for file in every if may_be_old or not _is_another(file, branch)}
    scripts, of_files = _read_all(every, {file.name for file in shown}, old)
    found += of_files + [item for script in scripts for item in find_slow_after_lock(script)]
    found += squawk.run_squawk(scripts)
    if branch.missing:
        found.append(LintFinding("", 0, 0, INFO, "no_branch", f"not compared with a branch: {branch.missing}"))
    return sorted(dict.fromkeys(found), key=lambda item: (item.file, item.line, item.column))


def _read_all(
    files: Sequence[Migration], wanted: Container[str], old: Container[str]
) -> tuple[list[Script], list[LintFinding]]:  # fmt: skip
    """Read files and their companions as a run does before it touches anything; return the scripts that are wanted.

    ``old`` are the files that may be applied.
    """
    scripts, found = [], []
    keeps = dict(kept(file for file in files if file.name in wanted))
    for file in files:
        try:
            script = read_script(file, keep=keeps.get(file, False))
        except DbSetupError as error:
            found.append(finding_of(error, file.name))
        else:
            scripts += [script] * (file.name in wanted)
            found += _needs(script, file.name in old)
        found += _in_companions(file)
    return scripts, found


def _needs(script: Script, is_old: bool) -> Iterator[LintFinding]:
    """Find that a file which is run step by step could not be carried on, or says that it may not be."""
    if script.mode != STEPWISE:
        return
    with suppress(TextError, UnreadableFile):  # of its companions, which are looked at by themselves
        script = with_companions(script)
    try:
        (read,) = refuse_needs_of([script])
    except NotResumable as error:
        yield _may_be_applied(finding_of(error)) if is_old else finding_of(error)
    else:
        for text in read.warnings[len(script.warnings) :]:
            yield LintFinding(script.migration.name, 1, 1, INFO, NotResumable.code, text)


def _in_companions(file: Migration) -> Iterator[LintFinding]:
    """Find what is wrong in a down migration, of which a run only warns, and in a check; both where both are."""
    for alone in (file._replace(check=""), file._replace(down="")):
        try:
            script = with_companions(Script(alone, "", "", lambda: iter(())))
        except DbSetupError as error:
            yield finding_of(error, file.name)
        else:
            if script.unfit is not None:
                yield finding_of(script.unfit, file.name)
                continue
            yield from (LintFinding(file.name, 1, 1, WARNING, "not_stored", text) for text in script.warnings)


def _foreign(seen: AllEnvironments, branch: Branch) -> Iterator[LintFinding]:
    """Find what another tool would not run forward; what the base has like this may be applied, and is warned of."""
    files = {file.name: file for file in (*seen.files, *seen.repeatable)}
    for file in seen.suspects:
        if error := foreign_name(file, files) or down_section(file):
            finding = finding_of(error, file.name)
            there = branch.tip.get(file.name) or branch.fork.get(file.name)
            is_there = there is not None and there.checksum == file.checksum
            yield _may_be_applied(finding) if is_there else finding


def _may_be_applied(finding: LintFinding) -> LintFinding:
    """Return the warning for what would be an error in a file that is applied nowhere yet."""
    return finding._replace(level=WARNING, refusal="")


def _is_another(file: Migration, branch: Branch) -> bool:
    """Return whether a deploy would run this text anew: it is not on the base, or is repeatable and was edited."""
    there = branch.tip.get(file.name) or branch.fork.get(file.name)
    return there is None or (_is_repeatable(file) and there.checksum != file.checksum)


def _empty(seen: AllEnvironments) -> Iterator[LintFinding]:
    if not (seen.files or seen.repeatable):
        yield LintFinding("", 0, 0, WARNING, "no_migrations", "there are no migrations in this folder")


def _unnumbered(new: Sequence[Migration]) -> Iterator[LintFinding]:
    for file in new:
        if file.number is None:
            what = f"{file.name} has no number: it is applied after the numbered ones, in the order of names"
            yield LintFinding(file.name, 1, 1, WARNING, "no_number", what, '"python db_setup number" gives it one')


def _without_down_file(new: Sequence[Migration], seen: AllEnvironments) -> Iterator[LintFinding]:
    """Remark on new files without a down migration, in a folder where others have one."""
    if not any(file.down for file in seen.files):
        return
    for file in new:
        if not file.down:
            yield LintFinding(file.name, 1, 1, INFO, "no_down_file", f"{file.name} has no .down.sql file")


def _duplicates(seen: AllEnvironments, branch: Branch) -> Iterator[LintFinding]:
    """Find numbers that several files of one environment have, here or once this branch and the base are merged."""
    here, ahead = ({file.name: file for file in files} for files in (seen.files, branch.ahead))
    for files in _by_environment(seen, {**here, **ahead, **here}.values()):
        for names in duplicates(files):
            new = [name for name in names if name not in branch.known and name not in ahead]
            level = ERROR if new or not branch.known else WARNING
            other = f" ({branch.name} has files that are not here)" if set(names) & set(ahead) else ""
            what = f"{describe_duplicate(names)}{other}"
            yield LintFinding((new or names)[-1], 1, 1, level, "duplicate_number", what, TAKE_NEXT)


def _by_environment(seen: AllEnvironments, files: Iterable[Migration]) -> Iterator[list[Migration]]:
    """Yield the numbered files of each environment, and of a run without one."""
    numbered = [file for file in files if not _is_repeatable(file)]
    for environment in seen.environments:
        yield [file for file in numbered if runs_in(file, environment)]


def _against(seen: AllEnvironments, branch: Branch) -> Iterator[LintFinding]:
    """Find what was edited, deleted or renamed since this branch began; repeatable files are there to be edited."""
    here = {file.name: file for file in seen.files}
    for name, old in branch.fork.items():
        file = here.get(name)
        if _is_repeatable(old) or (file is None and name in branch.gone):
            continue
        if file is None:
            yield _moved(old, seen, branch)
        elif file.checksum != old.checksum:
            what = f"{name} is on {branch.name}, and was edited here"
            yield LintFinding(name, 1, 1, ERROR, "edited_file", what, _ON_THE_BRANCH)


def _moved(old: Migration, seen: AllEnvironments, branch: Branch) -> LintFinding:
    """Return the finding for a file that is not here under its name."""
    twins = (file for file in seen.files if file.checksum == old.checksum and file.name not in branch.fork)
    twin = next(twins, None)
    if twin is None:
        what = f"{old.name} is on {branch.name}, and is missing here"
        return LintFinding(old.name, 0, 0, ERROR, "missing_file", what, _ON_THE_BRANCH)
    what = f"{old.name} is on {branch.name}, and is {twin.name} here; a run follows a new name, but not an edit as well"
    if all(runs_in(twin, name) for name in seen.environments if runs_in(old, name)):
        return LintFinding(twin.name, 1, 1, WARNING, "renamed_file", what)
    what = f"{old.name} is on {branch.name}, and is {twin.name} here: another environment that has applied it misses it"
    return LintFinding(twin.name, 1, 1, ERROR, "renamed_file", what, _ON_THE_BRANCH)


def _late(new: Sequence[Migration], seen: AllEnvironments, branch: Branch, *, strict: bool) -> Iterator[LintFinding]:
    """Find new files that come before one that the base has, and databases may have applied."""
    known = {**branch.fork, **branch.tip}.values()
    for files, environment in zip(_by_environment(seen, known), seen.environments, strict=True):
        names = sorted(file.name for file in files)
        last = highest(names)
        for file in new:
            if is_late(file.name, last) and runs_in(file, environment):
                highest_name = [name for name in names if number_of(name) == last][-1]
                what = f"{file.name} comes before {highest_name}, which is on {branch.name}"
                level = ERROR if strict else WARNING
                yield LintFinding(file.name, 1, 1, level, "out_of_order", what, TAKE_NEXT)


def _is_repeatable(file: Migration) -> bool:
    return file.name.startswith(REPEATABLE)


class AllEnvironments(NamedTuple):
    """The files of all environments, each once; ``environments`` has their names, and "" for a run without one."""

    files: tuple[Migration, ...]
    repeatable: tuple[Migration, ...]
    warnings: tuple[str, ...]
    environments: tuple[str, ...]
    suspects: tuple[Migration, ...]


def read_all_environments(path: str | os.PathLike[str]) -> AllEnvironments:
    """Read a folder for each environment; raises what read_folder raises."""
    plain = read_folder(path)
    folders = [plain, *(read_folder(path, name) for name in plain.environments)]
    files = {file.name: file for folder in folders for file in folder.files}
    repeatable = {file.name: file for folder in folders for file in folder.repeatable}
    warnings = dict.fromkeys(text for folder in folders for text in folder.warnings)
    suspects = dict.fromkeys(file for folder in folders for file in folder.suspects)
    return AllEnvironments(
        tuple(files[name] for name in sorted(files)), tuple(repeatable.values()), tuple(warnings),
        ("", *plain.environments), tuple(suspects),
    )  # fmt: skip


def runs_in(file: Migration, environment: str) -> bool:
    """Return whether a run with this environment's name applies a file; "" is a run without one."""
    top, _, rest = file.name.partition("/")
    folder = rest.partition("/")[0] if top == "env" and rest else environment
    return folder == environment and (not file.environments or environment in file.environments)
