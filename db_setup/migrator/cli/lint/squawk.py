"""Squawk: a linter of SQL that knows which changes are dangerous on a live database; used where it is installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence

from migrator.cli.lint.finding import INFO, WARNING, LintFinding
from migrator.scripts import TRANSACTION, Script
from migrator.sql import Statement, read_text

EXCLUDED = {
    "prefer-robust-stmts": "a file is applied exactly once, and nothing of it stays when it fails",
    "require-timeout-settings": "each run sets lock_timeout (LOCK_TIMEOUT) and statement_timeout",
    "require-lock-timeout": "each run sets lock_timeout (LOCK_TIMEOUT)",
    "require-statement-timeout": "each run sets statement_timeout to the time it has left",
    "transaction-nesting": "BEGIN and COMMIT around a file are absorbed, so nothing is nested",
    "ban-concurrent-index-creation-in-transaction": "a file with CONCURRENTLY is run outside any transaction",
    "ban-uncommitted-transaction": "a BEGIN without its end is an error before anything is run",
}
"""Rules that do not apply here, and why."""

_FINDINGS = (0, 1)  # exit statuses: none, some


def program() -> str:
    """Return where squawk is: next to this Python, in the project's environment, or on PATH; empty when it is not."""
    here = os.path.realpath(__file__)
    project = os.path.abspath(os.path.join(os.path.dirname(here), *[os.pardir] * 4))
    folders = (os.path.dirname(sys.executable), os.path.join(project, ".venv", "bin"), os.environ.get("PATH", ""))
    return shutil.which("squawk", path=os.pathsep.join(folders)) or ""


def run_squawk(scripts: Sequence[Script]) -> list[LintFinding]:
    """Return what squawk finds in scripts; that it is not installed is a finding, too."""
    if not scripts:
        return []
    path = program()
    if not path:
        what = "squawk is not installed: statements that are dangerous on a live database were not looked for"
        return [LintFinding("", 0, 0, INFO, "no_squawk", what, "pip install squawk-cli")]
    return [finding for script in scripts for finding in _findings(path, script)]


def _findings(path: str, script: Script) -> list[LintFinding]:
    name = script.migration.name
    file = script.migration
    text = "".join(read_text(name, file.path, file.size)) if script.text is None else script.text
    sql = without_data(text, script.read())
    words = [path, "--reporter", "json", f"--exclude={','.join(EXCLUDED)}", f"--stdin-filepath={name}"]
    words += ["--assume-in-transaction"] * (script.mode == TRANSACTION)
    done = subprocess.run(words, input=sql.encode(), capture_output=True, check=False)
    if done.returncode not in _FINDINGS or not done.stdout.strip().startswith(b"["):
        said = done.stderr.decode(errors="replace").strip().partition("\n")[0] or f"exit status {done.returncode}"
        return [LintFinding(name, 1, 1, WARNING, "squawk_failed", f"squawk did not read this file: {said}")]
    lines = sql.split("\n")
    return [_finding(name, found, lines) for found in json.loads(done.stdout)]


def _finding(name: str, found: dict[str, object], lines: Sequence[str]) -> LintFinding:
    line, column = int(str(found["line"])), int(str(found["column"]))
    before = lines[line].encode()[:column].decode(errors="ignore") if line < len(lines) else ""
    rule, message, fix = (str(found[key] or "") for key in ("rule_name", "message", "help"))
    return LintFinding(name, line + 1, len(before) + 1, WARNING, rule, message, fix)


def without_data(text: str, statements: Iterable[Statement]) -> str:
    """Return a file's text with empty lines in place of the data of COPY and of psql's commands."""
    lines = text.split("\n")
    after = 0  # the line below the statement before, counted from 0
    for statement in statements:
        _empty_commands(lines, after, statement.line - 1)
        after = statement.line + statement.text.count("\n")
        ended = statement.data is None
        while not ended and after < len(lines):
            ended = lines[after].rstrip("\r") == "\\."
            lines[after] = ""
            after += 1
    _empty_commands(lines, after, len(lines))
    return "\n".join(lines)


def _empty_commands(lines: list[str], first: int, end: int) -> None:
    for number in range(first, end):
        if lines[number].lstrip().startswith("\\"):
            lines[number] = ""
