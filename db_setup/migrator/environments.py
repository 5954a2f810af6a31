"""Environments: which files are for some of them only. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches

from migrator.light import NamedTuple
from migrator.migration import Migration, parse_directives


class Chosen(NamedTuple):
    """The files for one environment, the names of those for others, and a remark about a name nobody knows."""

    files: tuple[Migration, ...]
    skipped: tuple[str, ...]
    known: tuple[str, ...]
    warnings: tuple[str, ...]


def named_in(head: bytes, file_name: str) -> tuple[str, ...]:
    """Return the environments that the first lines of a file name; raises UnknownDirective."""
    lines = re.match(rb"(?:\xef\xbb\xbf)?(?:[ \t]*(?:--[^\r\n]*)?(?:\r\n|\r|\n|$))*", head)
    text = lines[0].decode("utf-8", "replace") if lines else ""
    return parse_directives(text, file_name).environments


def choose(files: Sequence[Migration], others: Sequence[str], folders: Sequence[str], environment: str) -> Chosen:
    """Leave out what is for other environments; ``others`` are names in the folders of those."""
    kept, skipped, known = [], list(others), set(folders)
    for file in files:
        known.update(file.environments)
        if file.environments and environment not in file.environments:
            skipped.append(file.name)
        else:
            kept.append(file)
    warnings = []
    if environment and environment not in known and (alike := get_close_matches(environment, known, 1)):
        warnings.append(f'MIGRATION_ENV is "{environment}", and no file is for that; is "{alike[0]}" meant?')
    return Chosen(tuple(kept), tuple(sorted(skipped)), tuple(sorted(known)), tuple(warnings))
