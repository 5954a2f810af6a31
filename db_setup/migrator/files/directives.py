"""Directives: the ``-- db_setup:`` lines at the top of a file, and the environments that they choose files for. Pure.

Imported late, for files that have a directive and folders that have environments.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from functools import cache
from typing import NamedTuple

from migrator.errors import UnknownDirective
from migrator.files.migration import Migration
from migrator.formatting import Location

_NAMES_SOME = re.compile(r"--[ \t]*db_setup:.*\benv=")
_DIRECTIVE_PREFIX = "db_setup:"
FORWARD_ONLY = "forward-only"
_NOT_RESUMABLE = "not-resumable"
_UNCOUNTED = (FORWARD_ONLY, _NOT_RESUMABLE)
_KNOWN_DIRECTIVES = ("no-transaction", "idempotent", *_UNCOUNTED)


class Directives(NamedTuple):
    """What the ``-- db_setup:`` lines at the top of a file ask for."""

    no_transaction: bool = False
    environments: tuple[str, ...] = ()
    idempotent: bool = False
    not_resumable: bool = False


def parse_directives(head: str, file_name: str) -> Directives:
    """Read the directives in the comment lines a text begins with.

    Raises UnknownDirective for a word that means nothing, since a misspelt directive must not be ignored.
    """
    words: list[str] = []
    environments: list[str] = []
    if _DIRECTIVE_PREFIX not in head:
        return Directives()
    uncounted = uncounted_lines(head.lstrip("\ufeff").encode())[0]
    for line_number, line in enumerate(re.split("\r\n|\r|\n", head.lstrip("\ufeff")), 1):
        stripped = line.strip()
        if stripped and not stripped.startswith("--"):
            break
        comment = stripped.removeprefix("--").strip()
        if comment.startswith(_DIRECTIVE_PREFIX) and line_number > len(uncounted):
            _refuse_uncounted(comment, line, line_number, file_name)
            rest, named = _without_environments(comment.removeprefix(_DIRECTIVE_PREFIX))
            environments += named
            words += _words(rest, line, line_number, file_name) if rest.strip() or not named else []
    return Directives(
        "no-transaction" in words, tuple(environments), "idempotent" in words, _NOT_RESUMABLE in uncounted
    )


@cache
def _uncounted() -> re.Pattern[bytes]:
    names = "|".join(_UNCOUNTED).encode()
    return re.compile(rb"[ \t]{0,20}--[ \t]{0,20}db_setup:[ \t]{0,20}(" + names + rb")[ \t]{0,20}(?:\r\n|\r|\n|\Z)")


def uncounted_lines(content: bytes) -> tuple[list[str], bytes]:
    """Return the directives that a text begins with and that are no part of its checksum, and the text after them.

    Each is a line by itself, and counts once. ``content`` is without byte order mark; one behind such a line is left
    out as well.
    """
    names: list[str] = []
    while (found := _uncounted().match(content)) and (name := found[1].decode()) not in names:
        names.append(name)
        content = content[found.end() :].removeprefix(codecs.BOM_UTF8)
    return names, content


def _refuse_uncounted(comment: str, line: str, line_number: int, file_name: str) -> None:
    """Refuse such a directive where it does not count: it is no part of the checksum, so it stands by itself."""
    for name in _UNCOUNTED:
        if name in comment:
            raise UnknownDirective(
                f"{name} counts only as the first line of a file, and by itself",
                where=Location(file_name, line_number, max(line.find(name), 0) + 1, line),
                fix=f'write "-- db_setup: {name}" as the first line, and other directives on the lines below it',
            )


def _without_environments(text: str) -> tuple[str, list[str]]:
    """Take ``env=dev,staging`` out of the words of a line."""
    named: list[str] = []
    for found in re.findall(r"(?:^|(?<=\s))env=([\w-]+(?:,[\w-]+)*)(?=\s|$)", text):
        text = text.replace(f"env={found}", "", 1)
        named += found.split(",")
    return text, named


def _words(text: str, line: str, line_number: int, file_name: str) -> list[str]:
    words = text.replace(",", " ").split()
    for word in words or [""]:
        if word not in _KNOWN_DIRECTIVES:
            shown = text.strip() if word.startswith("env") else word  # "env=dev, staging": not one word of it is wrong
            raise UnknownDirective(
                f'unknown directive "{shown}"',
                where=Location(file_name, line_number, max(line.find(word), 0) + 1, line),
                fix=f"write one of: {', '.join(_KNOWN_DIRECTIVES)}, env=NAME,NAME (no spaces); or remove the line",
            )
    return words


def named_in(head: bytes, file_name: str) -> tuple[str, ...]:
    """Return the environments that the first lines of a file name.

    Raises UnknownDirective, also for a line further down that names some: a file for a few would run everywhere.
    """
    _refuse_below(head.decode("utf-8", "replace").removeprefix("\ufeff"), file_name)
    lines = re.match(rb"(?:\xef\xbb\xbf)?(?:[ \t]*(?:--[^\r\n]*)?(?:\r\n|\r|\n|$))*", head)
    text = lines[0].decode("utf-8", "replace") if lines else ""
    return parse_directives(text, file_name).environments


def _refuse_below(text: str, file_name: str) -> None:
    begun = False
    for number, line in enumerate(re.split("\r\n|\r|\n", text), 1):
        stripped = line.strip()
        begun = begun or bool(stripped and not stripped.startswith("--"))
        if begun and _NAMES_SOME.match(stripped):
            raise UnknownDirective(
                "a directive that is not at the top of the file means nothing",
                where=Location(file_name, number, line.find("--") + 1, line),
                fix="move it above everything but comment lines with --, or remove it",
            )


class Chosen(NamedTuple):
    """The files for one environment, those for others, and a warning of an unknown name."""

    files: tuple[Migration, ...]
    others: tuple[Migration, ...]
    known: tuple[str, ...]
    warnings: tuple[str, ...]


def choose(
    files: Sequence[Migration], others: Sequence[Migration], folders: Sequence[str], environment: str
) -> Chosen:
    """Leave out what is for other environments; ``others`` are the files in the folders of those."""
    chosen, left_out, known = [], list(others), set(folders)
    for file in files:
        known.update(file.environments)
        if file.environments and environment not in file.environments:
            left_out.append(file)
        else:
            chosen.append(file)
    warnings = []
    if environment and environment not in known and (alike := _alike(environment, known)):
        warnings.append(f'MIGRATION_ENV is "{environment}", and no file is for that; is "{alike}" meant?')
    return Chosen(tuple(chosen), tuple(sorted(left_out)), tuple(sorted(known)), tuple(warnings))


def _alike(environment: str, known: Iterable[str]) -> str:
    """Return the name that is meant, such as dev for DEV, dve and development; empty where none is like it."""
    folded = {name.casefold(): name for name in sorted(known)}
    wanted = environment.casefold()
    begins = (name for name in folded if wanted.startswith(name) or name.startswith(wanted))
    found = next(iter(get_close_matches(wanted, folded, 1)), None) or next(begins, "")
    return folded.get(found, "")
