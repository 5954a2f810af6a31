"""Fixes: none of them tells people to destroy what they have. Read from the code, wherever one is written."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(chain((ROOT / "db_setup").rglob("*.py"), (ROOT / "cdk").rglob("*.py")))
NAMED = re.compile(r"(?:^|_)(?:fix|fixes|hint|instead|ways_out|anew|take_\w+|refusals|log_in)(?:$|_)", re.IGNORECASE)
"""Names of constants and functions that a fix is taken from."""
DESTROYS = re.compile(
    r"\b(?:drop|dropped|dropping|delet\w+|remov\w+|truncat\w+|cascade|purge|clean|wipe|reset|discard|forget|overwrite|rm)\b",
    re.IGNORECASE,
)
ALLOWED = {
    "remove its COMMIT or ROLLBACK": "of the text of the reader's file",
    ", env=NAME,NAME (no spaces); or remove the line": "of the text of the reader's file",
    "move it above everything but comment lines with --, or remove it": "of the text of the reader's file",
    "run it again: it is dropped and built anew": "says what the run does: an invalid index has nothing that a new one has not",
    "run it again; files must not call pg_advisory_unlock_all or DISCARD ALL": "says what not to do",
    "'); in place of DROP OWNED and REASSIGN OWNED, name the objects": "says what not to do",
    "the secret may be scheduled for deletion, or have no value yet": "says what may be",
    "put the file back as it was (its change is still in the database), or have repair forget it, and take over all "
    "other names: what it made stays, and a file of that name would be run": "the row of a file, and says what follows",
    "put the file back under this name, corrected where it failed: migrate goes on where it stopped; where another "
    "folder has begun it, migrate from that; else roll it back, or have repair forget it: what its steps made stays, "
    "and a file of that name would be run from the beginning": "the row of a file, and says what follows",
    "put the file back as it was (its change is still in the database); where another folder has applied it, keep all "
    "migrations of a database in one folder, or give each a database; where it was deleted for good, repair shows what "
    "follows; ALLOW_MISSING=true is for development databases that branches share": "says what may have been done",
}  # fmt: skip
"""Texts with such a word that destroy nothing, and why."""


def fixes(path: Path) -> Iterator[tuple[int, str]]:
    """Yield every text that a module has for fixes, with its line: arguments, variables, tables, results of functions."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        for part in parts(node):
            for found in ast.walk(part):
                if isinstance(found, ast.Constant) and isinstance(found.value, str):
                    yield found.lineno, found.value


def parts(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the expressions in a node that are fixes."""
    if isinstance(node, ast.keyword) and node.arg == "fix":
        yield node.value
    elif isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign) and node.value is not None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if any(NAMED.search(name.id) for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)):
            yield node.value
    elif isinstance(node, ast.FunctionDef) and NAMED.search(node.name):
        yield from (inner.value for inner in ast.walk(node) if isinstance(inner, ast.Return) and inner.value)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "LintFinding":
        yield from node.args[6:]


@pytest.mark.parametrize("path", MODULES, ids=[path.relative_to(ROOT).as_posix() for path in MODULES])
def test_no_fix_destroys(path: Path) -> None:
    """No fix has people drop, delete, remove or empty what they have; each exception is allowed by its whole text."""
    found = [f"line {line}: {text}" for line, text in fixes(path) if DESTROYS.search(text) and text not in ALLOWED]
    assert found == []


def test_all_fixes_are_read() -> None:
    """The reading finds the fixes: of arguments, tables, functions and findings; and no exception is out of use."""
    texts = {text for path in MODULES for _, text in fixes(path)}
    assert len([text for text in texts if " " in text]) > 150
    assert {"leave it out", "write ; instead", "give it the next free number", "correct the file and run again"} <= texts
    assert set(ALLOWED) <= texts
