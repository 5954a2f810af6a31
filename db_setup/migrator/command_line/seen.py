"""A folder as all its environments see it, and which of them run a file."""

from __future__ import annotations

import os

from migrator.folder import read_folder
from migrator.light import NamedTuple
from migrator.migration import Migration


class Seen(NamedTuple):
    """The files of all environments, each once; ``environments`` has their names, and "" for a run without one."""

    files: tuple[Migration, ...]
    repeatable: tuple[Migration, ...]
    warnings: tuple[str, ...]
    environments: tuple[str, ...]


def look(path: str | os.PathLike[str]) -> Seen:
    """Read a folder for each environment; raises what read_folder raises."""
    plain = read_folder(path)
    folders = [plain, *(read_folder(path, name) for name in plain.environments)]
    files = {file.name: file for folder in folders for file in folder.files}
    repeatable = {file.name: file for folder in folders for file in folder.repeatable}
    warnings = dict.fromkeys(text for folder in folders for text in folder.warnings)
    return Seen(
        tuple(files[name] for name in sorted(files)), tuple(repeatable.values()), tuple(warnings),
        ("", *plain.environments),
    )  # fmt: skip


def runs_in(file: Migration, environment: str) -> bool:
    """Tell whether a run with this environment's name applies a file; "" is a run without one."""
    top, _, rest = file.name.partition("/")
    folder = rest.partition("/")[0] if top == "env" and rest else environment
    return folder == environment and (not file.environments or environment in file.environments)
