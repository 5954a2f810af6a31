"""A reader who does what a document says, in a project of their own, and compares what is printed."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.docs.documents import ELSEWHERE, PROJECT, Block, blocks, commands
from tests.plugins.project import copy_project

# The addresses that the documents write stand for databases of the test.
ADDRESSES = tuple(f"postgresql://postgres@localhost:5432/{name}" for name in ("shop", "old_shop", "library"))

# What differs from one run, machine or version to the next; everything else is compared as it stands.
VOLATILE = (
    (re.compile(r" +[\d,]+ ms$", re.MULTILINE), " N ms"),
    (re.compile(r"\bin [\d,]+ ms, all of it"), "in N ms, all of it"),
    (re.compile(r'"duration_ms": \d+'), '"duration_ms": 0'),
    (re.compile(r"^Database: PostgreSQL .*$", re.MULTILINE), "Database: PostgreSQL"),
    (re.compile(r"^Connect:  .*psql -h .* -U postgres postgres$", re.MULTILINE), "Connect:  psql"),
    (re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d UTC"), "DAY TIME UTC"),
    (re.compile(r"\bchecksum [0-9a-f]{12} then, [0-9a-f]{12} now"), "checksum A then, B now"),
    (re.compile(r'"request_id": "[^"]+"'), '"request_id": "ID"'),
    (re.compile(r"^\S*(\.db_setup/layer\.zip: .*), [\d.]+ MB$", re.MULTILINE), r"\1, N MB"),
    (re.compile(r"[ \t]+$", re.MULTILINE), ""),
)

_INVOKE = """
import json, sys, initializer
print(json.dumps(initializer.handler(json.loads(sys.argv[1]), None)))
"""


def normalised(text: str) -> str:
    """Return a text with its volatile parts replaced."""
    for pattern, replacement in VOLATILE:
        text = pattern.sub(replacement, text)
    return text.strip("\n")


class Reader:
    """Someone with a copy of db_setup in a folder, a terminal, and a database."""

    def __init__(self, folder: Path, urls: Mapping[str, str], environ: Mapping[str, str], programs: Path) -> None:
        self.folder = folder
        self._urls = urls
        # Documents say "python"; psql and pg_dump are the server's own.
        path = f"{folder / '.venv' / 'bin'}{os.pathsep}{programs}{os.pathsep}{os.environ['PATH']}"
        self.environ = {**os.environ, **environ, "PATH": path, "LC_ALL": "C", "COLUMNS": "80"}
        self._last: list[str] = []

    def settle(self, *names: str) -> None:
        """Make the folder: copies of parts of this project, and its environment by links, so that none is installed."""
        copy_project(self.folder, *names)
        venv = self.folder / ".venv"
        venv.mkdir()
        for part in Path(sys.prefix).iterdir():
            if not part.name.startswith("."):
                (venv / part.name).symlink_to(part)
        for stamp in (".run", ".cdk", ".test"):
            (venv / stamp).touch()

    def follow(self, document: Path) -> None:
        """Do everything that a document shows, in its order."""
        for block in blocks(document):
            if block.info in ELSEWHERE:
                continue
            place = f"{document.name}:{block.line}"
            kind = block.info.replace(" ", "_") or "nothing"
            act = getattr(self, f"_follow_{kind}", None)
            assert act is not None, f"{place}: no rule for a block of {block.info!r}"
            act(block, place)

    def run(self, words: str) -> str:
        """Run a command line and return what a terminal would show."""
        for address, url in self._urls.items():
            words = words.replace(address, url)
        if words.startswith("export "):
            for pair in shlex.split(words)[1:]:
                name, _, value = pair.partition("=")
                self.environ[name] = value
            return ""
        done = subprocess.run(
            ["/bin/sh", "-c", words], cwd=self.folder, env=self.environ, text=True, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        return done.stdout

    def _follow_console(self, block: Block, place: str) -> None:
        for command in commands(block):
            printed = normalised(self.run(command.words))
            document = place.partition(":")[0]
            assert printed == normalised(command.output), f"{document}:{command.line}: $ {command.words}\n{printed}"

    def _follow_sql(self, block: Block, place: str) -> None:
        assert block.file_name, f"{place}: the first line names no file"
        (self.folder / block.file_name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / block.file_name).write_text(block.text, encoding="utf-8")

    def _follow_json_event(self, block: Block, place: str) -> None:
        json.loads(block.text)
        done = subprocess.run(
            [sys.executable, "-c", _INVOKE, block.text], cwd=self.folder / "db_setup", env=self.environ,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{place}: {done.stderr}"
        self._last = done.stdout.splitlines()

    def _follow_json_answer(self, block: Block, place: str) -> None:
        assert _same(block.text) == _same(self._last[-1]), f"{place}: {self._last[-1]}"

    def _follow_json_log(self, block: Block, place: str) -> None:
        shown = [_same(line) for line in block.text.splitlines()]
        assert shown == [_same(line) for line in self._last[:-1]], f"{place}: {self._last[:-1]}"

    def _follow_json_failure(self, block: Block, place: str) -> None:
        """A failure is compared by a test of its own."""

    def _follow_json_secret(self, block: Block, place: str) -> None:
        """A secret is read by a test of its own."""

    def _follow_text_layout(self, block: Block, place: str) -> None:
        for line in block.text.splitlines():
            assert (PROJECT / line.split()[0]).exists(), f"{place}: {line}"


def _same(text: str) -> Any:
    return json.loads(normalised(text))
