"""A git branch, as far as lint compares with it: the migrations it has, and those at the merge base."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from typing import NamedTuple

from migrator.errors import UnknownDirective, UsageError
from migrator.files import REPEATABLE, Migration, checksum, is_migration
from migrator.files.directives import named_in

_USUAL = ("origin/HEAD", "origin/main", "origin/master", "main", "master")


class Branch(NamedTuple):
    """The migrations, by name, where this branch began (``fork``), and on the base now (``tip``); they have no path.

    ``missing`` says why there is nothing to compare with.
    """

    name: str = ""
    fork: Mapping[str, Migration] = {}
    tip: Mapping[str, Migration] = {}
    missing: str = ""

    @property
    def known(self) -> frozenset[str]:
        """Return the names that the base has or had."""
        return frozenset(self.fork) | frozenset(self.tip)

    @property
    def ahead(self) -> tuple[Migration, ...]:
        """Return what came to the base after this branch began."""
        return tuple(file for name, file in self.tip.items() if name not in self.fork)

    @property
    def gone(self) -> frozenset[str]:
        """Return the names that the base itself has lost since."""
        return frozenset(self.fork) - frozenset(self.tip)


def read_branch(folder: str | os.PathLike[str], base: str = "") -> Branch:
    """Read the base that is named, or the main branch; raises UsageError when the named one does not exist."""
    git = _Git(folder)
    if git.ask("rev-parse", "--show-toplevel") is None:
        return Branch(missing="there is no git here, or no repository")
    for name in (base,) if base else _USUAL:
        if (tip := git.ask("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")) is not None:
            fork = git.ask("merge-base", tip, "HEAD") or tip
            try:
                began = git.migrations(fork)
                return Branch(name, began, began if fork == tip else git.migrations(tip))
            except _Unreadable:
                return Branch(missing=f"git cannot read the files that {name} has; fetch them first")
    if base:
        raise UsageError(
            f'git has no branch or commit "{base}"', fix="fetch it first, with its history (fetch-depth: 0 in CI)"
        )
    return Branch(missing=f"git has none of {', '.join(_USUAL)}; --base names another")


def _is_read(path: str) -> bool:
    """Return whether a run reads a file with this path in the folder as a migration."""
    folder, _, name = path.rpartition("/")
    parts = folder.split("/")
    known = folder in {"", REPEATABLE.removesuffix("/")} or (len(parts) == 2 and parts[0] == "env")
    return known and not parts[-1].startswith(".") and is_migration(name)


class _Unreadable(Exception):
    """An object that git names is not here, as in a partial clone without a network."""


class _Git:
    """Git in one folder."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._words = ["git", "-C", os.fspath(folder)]

    def ask(self, *words: str) -> str | None:
        """Return the one line that git answers, None where it refuses or is not installed."""
        answer = self._run(words)
        return None if answer is None else answer.decode(errors="surrogateescape").strip()

    def _run(self, words: tuple[str, ...], given: bytes = b"") -> bytes | None:
        try:
            done = subprocess.run([*self._words, *words], input=given, capture_output=True, check=False)
        except OSError:  # no git on this machine
            return None
        return done.stdout if done.returncode == 0 else None

    def migrations(self, commit: str) -> dict[str, Migration]:
        """Return the migrations of the folder and its subfolders in a commit, by name; raises _Unreadable."""
        lines = (self._run(("ls-tree", "-r", "-z", commit)) or b"").split(b"\0")
        blobs: dict[str, bytes] = {}
        for line in filter(None, lines):
            head, _, name = line.partition(b"\t")
            _, kind, blob = head.split()
            text = name.decode(errors="surrogateescape")
            if kind == b"blob" and _is_read(text):
                blobs[text] = blob
        contents = self._contents(list(blobs.values()))
        return {name: _migration(name, content) for name, content in zip(blobs, contents, strict=True)}

    def _contents(self, blobs: list[bytes]) -> list[bytes]:
        output = self._run(("cat-file", "--batch"), b"".join(blob + b"\n" for blob in blobs)) or b""
        contents, at = [], 0
        for blob in blobs:
            end = output.find(b"\n", at)
            head = output[at:end].split()
            if end < 0 or head[:2] != [blob, b"blob"]:
                raise _Unreadable
            size = int(head[2])
            contents.append(output[end + 1 : end + 1 + size])
            at = end + 1 + size + 1
        return contents


def _migration(name: str, content: bytes) -> Migration:
    try:
        environments = named_in(content, name)
    except UnknownDirective:  # of the base; here such a file is a finding
        environments = ()
    return Migration(name, "", checksum(content), len(content), environments=environments)
