"""Other people's rules for templates: AwsSolutionsChecks and cfn-lint."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import aws_cdk
import cdk_nag
import pytest

from cdk.example.stack import ExampleStack
from tests.cdk.stacks import make_app, synthesise

_BY_THE_CDK = {"W3005"}
"""The CDK writes DependsOn also where a property says the same."""


@pytest.fixture(params=["instance", "aurora"])
def example(request: pytest.FixtureRequest, tmp_path: Path) -> ExampleStack:
    """Return the example stack with one of its two databases."""
    return ExampleStack(make_app(tmp_path / "out"), "Shop", environment_name="dev", aurora=request.param == "aurora")


def test_the_construct_is_clean_for_aws_solutions(example: ExampleStack) -> None:
    """No rule of AwsSolutionsChecks finds anything in the construct's resources, its secrets too.

    In the rest of the example it does find something, which shows that it has read them.
    """
    app = example.node.root
    aws_cdk.Validations.of(app).add_plugins(cdk_nag.AwsSolutionsChecks(app, verbose=True))
    with pytest.raises(RuntimeError, match="ValidationFailed"):
        synthesise(example)
    report = json.loads((Path(str(app.outdir)) / "validation-report.json").read_text())  # type: ignore[attr-defined]
    found = [(v["ruleName"], c["constructPath"]) for r in report["pluginReports"] for v in r["violations"] for c in v["violatingConstructs"]]
    assert any(path.startswith("Shop/Database") for _, path in found)
    assert [(rule, path) for rule, path in found if path.startswith("Shop/Migrations/")] == []


def test_cfn_lint_finds_nothing_of_ours(example: ExampleStack) -> None:
    """The template follows AWS's schemas; what is found is the CDK's own doing, and listed here."""
    folder = synthesise(example).folder
    program = Path(sys.executable).with_name("cfn-lint")
    command = [str(program), "--format", "json", str(folder / "Shop.template.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout or "[]")
    assert found  # W3005 is always there: an empty answer would mean that nothing was read
    assert {match["Rule"]["Id"] for match in found} <= _BY_THE_CDK
