"""What the documents show: fenced blocks of Markdown, the commands in them, and tables."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).resolve().parents[2]
README = PROJECT / "README.md"
GUIDE = PROJECT / "databaseModificationGuide.md"
REFERENCE = PROJECT / "db_setup" / "README.md"
DOCUMENTS = (README, GUIDE, REFERENCE)
CONTRIBUTING = PROJECT / ".github" / "CONTRIBUTING.md"
CHANGELOG = PROJECT / "db_setup" / "CHANGELOG.md"
PAGES = (*DOCUMENTS, CONTRIBUTING, CHANGELOG)

# Blocks that have a test of their own, most in test_cdk_snippets.py.
ELSEWHERE = frozenset(
    {
        "python construct", "python users", "sql shop", "text diff", "text synth", "sql deploy", "text deploy",
        "console own stack", "typescript own stack", "python own stack", "text not run",
        "console lint", "yaml pre-commit", "yaml workflow", "text newer history", "json failure",
    }
)  # fmt: skip

_FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
_FILE = re.compile(r"-- (\S+\.sql)$", re.MULTILINE)
_CELL_END = re.compile(r"(?<!\\)\|")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


class Block(NamedTuple):
    """A fenced block: where it begins, what the words behind the fence say it is, and its text."""

    line: int
    info: str
    text: str

    @property
    def file_name(self) -> str:
        """Return the file that an SQL block says it is, in its first line."""
        found = _FILE.match(self.text)
        return found[1] if found else ""


class Command(NamedTuple):
    """A command line of a console block, and what it is said to print."""

    line: int
    words: str
    output: str


def blocks(document: Path) -> list[Block]:
    """Return the fenced blocks of a document, in order."""
    text = document.read_text(encoding="utf-8")
    return [
        Block(text.count("\n", 0, found.start()) + 1, found["info"].strip(), found["text"])
        for found in _FENCE.finditer(text)
    ]


def only(document: Path, info: str) -> str:
    """Return the text of the one block of a kind."""
    (text,) = [block.text for block in blocks(document) if block.info == info]
    return text


def commands(block: Block) -> list[Command]:
    """Return the commands of a console block: what follows ``$ ``, and the lines below it."""
    found: list[Command] = []
    for number, line in enumerate(block.text.splitlines(), block.line + 1):
        if line.startswith("$ "):
            found.append(Command(number, line.removeprefix("$ "), ""))
        else:
            assert found, f"line {number}: output without a command"
            found[-1] = found[-1]._replace(output=f"{found[-1].output}{line}\n")
    return found


def table(document: Path, heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading, without its first two lines; code marks are removed."""
    text = document.read_text(encoding="utf-8")
    titles = [found for found in _HEADING.finditer(text) if found[1] == heading]
    assert len(titles) == 1, f"{document.name} has {len(titles)} headings {heading!r}"
    rows: list[list[str]] = []
    for line in text[titles[0].end() :].splitlines():
        if line.startswith("|"):
            rows.append([cell.strip().replace("`", "") for cell in _CELL_END.split(line.strip("|"))])
        elif rows:
            break
    return rows[2:]


def column(document: Path, heading: str, index: int = 0) -> list[str]:
    """Return one column of the first table below a heading."""
    return [row[index] for row in table(document, heading)]
