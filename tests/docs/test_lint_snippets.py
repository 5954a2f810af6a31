"""What the guide shows of lint: its output, the hook, and the workflow's own command."""

from __future__ import annotations

import os
import subprocess
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from migrator.cli.lint import squawk

from tests.docs.conftest import MakeReader
from tests.docs.documents import GUIDE, PROJECT, REFERENCE, Block, commands, only
from tests.docs.reader import Reader

ENVIRON = {
    **{f"GIT_{who}_{what}": "t@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "GITHUB_BASE_REF": "main",
}  # fmt: skip


@pytest.fixture
def reader(make_reader: MakeReader) -> Reader:
    """Make a project with one migration on main, as a clone of an origin, and work on it that lint objects to."""
    made = make_reader("db_setup", **ENVIRON)
    migrations = made.folder / "migrations"
    migrations.mkdir()
    (migrations / "001_products.sql").write_text("CREATE TABLE products (old_price bigint, price bigint);\n")
    made.run("git init -q -b main . && git add migrations && git commit -q -m x && git init -q --bare ../origin.git")
    made.run("git remote add origin ../origin.git && git push -q origin main && git switch -q -c work")
    (migrations / "001_products.sql").write_text("CREATE TABLE products (old_price bigint, price numeric);\n")
    shown = commands(Block(0, "", only(GUIDE, "console lint")))[0]
    (migrations / "002_prices.sql").write_text(shown.output)
    return made


def hook(text: str) -> dict[str, Any]:
    """Return what the two definitions of the hook must agree on."""
    found = yaml.safe_load(text)
    (definition,) = found["repos"][0]["hooks"] if isinstance(found, dict) else found
    return {key: value for key, value in definition.items() if key != "description"}


@pytest.mark.skipif(not squawk.program(), reason="squawk-cli is not installed")
def test_output(reader: Reader) -> None:
    """The guide shows what lint says of a new file and an edited one."""
    for command in commands(Block(0, "", only(GUIDE, "console lint"))):
        assert reader.run(command.words) == command.output


def test_hook(reader: Reader) -> None:
    """The hook of the guide is the one that this repository offers; its command finds what is wrong."""
    shown = hook(only(GUIDE, "yaml pre-commit"))
    assert shown == hook((PROJECT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert "edited_file" in reader.run(shown["entry"])


def test_workflow(reader: Reader) -> None:
    """The workflow's last command makes annotations, and fails for what is an error."""
    workflow = yaml.safe_load(only(GUIDE, "yaml workflow"))
    assert set(workflow) == {"name", True, "jobs"}  # YAML 1.1 reads "on" as true
    words = [step["run"] for step in workflow["jobs"]["lint"]["steps"] if "run" in step][-1]
    done = subprocess.run(
        ["/bin/sh", "-c", words], cwd=reader.folder, env=reader.environ, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert "::error file=migrations/001_products.sql,line=1,col=1,title=edited_file::" in done.stdout


def test_excluded_rules() -> None:
    """The rules that are left out, and why, are those of the code."""
    text = REFERENCE.read_text(encoding="utf-8").partition("These rules of squawk are left out:")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    assert {name.strip("`"): reason for name, reason in rows} == squawk.EXCLUDED
