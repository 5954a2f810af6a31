"""The CDK's own command line on a copy of the example: what a developer types and sees."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.plugins.project import copy_project

ROOT = Path(__file__).resolve().parents[2]
CDK = ROOT / ".venv/node/node_modules/.bin/cdk"
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a copy of the example project."""
    copy_project(tmp_path, "cdk", "db_setup", "migrations", "app.py", "cdk.json")
    if (ROOT / ".db_setup").is_dir():  # what is built already
        (tmp_path / ".db_setup").symlink_to(ROOT / ".db_setup")
    return tmp_path


@pytest.fixture
def cdk(project: Path) -> Run:
    """Run the CDK's command line in the project."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "CI": "true"}
        command = [str(CDK), *words, "--no-notices", "--no-version-reporting"]
        return subprocess.run(command, cwd=project, env=environ, capture_output=True, text=True, check=False)

    return run


def test_a_bad_file_fails_synth_with_its_place(cdk: Run, project: Path) -> None:
    """``cdk synth`` fails with file:line:column, the text, the fix and the code, and without a traceback."""
    (project / "migrations/007_bad.sql").write_text("SELECT 1;\nSELECT 'x;\n")
    done = cdk("synth", "--quiet", "ShopDev")
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert "007_bad.sql:2:8  a string opened here is never closed" in said
    assert "[unterminated_text]" in said
    assert "Traceback" not in said


def test_the_example_is_synthesised_and_a_diff_names_a_new_file(cdk: Run, project: Path) -> None:
    """``cdk synth`` succeeds; ``cdk diff`` of a change that adds a file shows the file, and no other."""
    done = cdk("synth", "--quiet", "ShopDev")
    assert done.returncode == 0, done.stderr
    before = project / "before.json"
    shutil.copy(project / "cdk.out/ShopDev.template.json", before)
    (project / "migrations/007_add_phone.sql").write_text("ALTER TABLE users ADD COLUMN phone text;\n")
    done = cdk("diff", "ShopDev", "--template", str(before))
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "007_add_phone.sql" in said
    assert "006_audit.sql" not in [line.strip(' +-[]│├└─"') for line in said.splitlines() if "[+]" in line]
