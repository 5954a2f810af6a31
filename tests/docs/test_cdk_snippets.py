"""The CDK snippets of the README, and its commands around them, in projects of readers."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from migrator.cli.arguments import parser
from migrator.errors import MigrationFailed
from migrator.request import Request

from cdk.database_initializer.driver_wheels import Target
from tests.chain.template import Template
from tests.docs.conftest import MakeReader
from tests.docs.documents import PROJECT, README, blocks, commands, only
from tests.docs.reader import Reader, normalised
from tests.docs.stacks import (
    ARCHITECTURE,
    PYTHON,
    STACKS,
    TRIGGER,
    Synthesis,
    cdk_command,
    for_here,
    link_drivers,
    run_package,
    synthesise_python,
    synthesise_typescript,
    the,
)
from tests.plugins.databases import Database
from tests.plugins.folders import Folder
from tests.plugins.runs import Invoke

_OWN_FUNCTION = "AWS::Lambda::Function"


def follow(reader: Reader, console: str) -> None:
    """Do what a block shows, and see that it prints what it says, for this machine's Python and processor."""
    (block,) = [block for block in blocks(README) if console in block.text]
    for command in commands(block):
        assert normalised(reader.run(for_here(command.words))) == normalised(for_here(command.output))


def shown_files() -> dict[str, dict[str, str]]:
    """Return the files of the construct's section, each for a release of its own."""
    shown = [block for block in blocks(README) if block.info == "sql shop"]
    return {"0": {}, **{str(number): {block.file_name: block.text} for number, block in enumerate(shown, 1)}}


def test_construct(make_reader: MakeReader) -> None:
    """The construct is in the stack by the lines shown; diff names the new file; synth refuses the wrong one."""
    reader = make_reader("db_setup", "cdk", "migrations")
    shop = reader.folder.parent / "shop"
    shop.mkdir()
    follow(reader, "cp -R db_setup cdk ")
    shutil.rmtree(shop / "cdk" / "example")  # which the README calls not needed
    link_drivers(shop, Target("3.14", "x86_64"))
    out = synthesise_python(reader, shop, only(README, "python construct"), shown_files())
    for stack in STACKS:
        check_order(Template(Synthesis(out / "0").template(stack)))
    check_diff(reader, out)
    refused = cdk_command(reader, shop, "synth", "--quiet", "--app", "out/2")
    assert refused.returncode == 1
    assert only(README, "text synth").strip() in refused.stdout


def check_diff(reader: Reader, out: Path) -> None:
    """See that the CDK's own diff of the first two releases has the lines that are shown, in their order."""
    done = cdk_command(
        reader, out, "diff", "Instance", "--app", "1", "--method=template", "--template", "0/Instance.template.json"
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    printed = iter(done.stdout.splitlines())
    assert [line for line in only(README, "text diff").splitlines() if line not in printed] == [], done.stdout


def check_order(template: Template) -> None:
    """See that the migrations wait for what they need, the application for them, and nothing for itself."""
    template.order()
    trigger = the(template, TRIGGER)
    waits_for = template.waits_for(trigger)
    assert "Application" not in {name.rstrip("0123456789ABCDEF") for name in waits_for}
    instances = {*template.of_type("AWS::RDS::DBInstance"), *template.of_type("AWS::RDS::DBCluster")}
    endpoints = set(template.of_type("AWS::EC2::VPCEndpoint"))
    attachments = set(template.of_type("AWS::SecretsManager::SecretTargetAttachment"))
    assert instances and endpoints and attachments  # noqa: PT018 - there is something to wait for
    assert instances | endpoints | attachments <= waits_for
    (application,) = [name for name in template.of_type(_OWN_FUNCTION) if name.startswith("Application")]
    assert trigger in template.waits_for(application)


def test_failed_deploy(invoke: Invoke, folder: Folder) -> None:
    """The reason that a deploy fails with is the handler's message, below what CloudFormation and the provider add."""
    for block in [block for block in blocks(README) if block.info in {"sql shop", "sql deploy"}]:
        folder.write(Path(block.file_name).name, block.text)
    with pytest.raises(MigrationFailed) as failed:
        invoke()
    added, _, message = only(README, "text deploy").partition("Message returned: Error: ")
    assert added == "Received response status [FAILED] from custom resource. "
    assert str(failed.value) == message.strip()


@pytest.mark.parametrize("language", ["typescript", "python"])
def test_own_stack(make_reader: MakeReader, database: Database, tmp_path: Path, language: str) -> None:
    """The function of one's own stack is right in all that is easily wrong, and its package applies the migrations."""
    reader = make_reader("db_setup", "cdk", "migrations", "Makefile", ".locks")
    store = reader.folder.parent / "store"
    (store / "lambda").mkdir(parents=True)
    link_drivers(reader.folder, Target(PYTHON, ARCHITECTURE))
    follow(reader, "$ make layer LAYER=")
    leave_traces(store / "lambda" / "db_setup")
    snippet = for_here(only(README, f"{language} own stack"))
    if language == "typescript":
        out = synthesise_typescript(reader, store, snippet, ["first", "second"])
    else:
        out = synthesise_python(reader, store, snippet, {"first": {}, "second": {}})
    first, second = Synthesis(out / "first"), Synthesis(out / "second")
    for stack in STACKS:
        check_own_stack(Template(first.template(stack)))
        check_only_the_time_differs(first.template(stack), second.template(stack))
    check_run(first, tmp_path, database)


def leave_traces(folder: Path) -> None:
    """Leave what Python leaves in a folder in which it has run."""
    for place in (folder, folder / "migrator"):
        (place / "__pycache__").mkdir(exist_ok=True)
        (place / "__pycache__" / "errors.cpython-311.pyc").touch()


def check_own_stack(template: Template) -> None:
    """See that the traps of the CDK's trigger are handled."""
    check_order(template)
    trigger, function = template.resources[the(template, TRIGGER)], template.resources[our_function(template)]
    assert function.properties["Handler"] == "initializer.handler"
    assert function.properties["Timeout"] <= 780
    assert trigger.properties["Timeout"] == str(1000 * (function.properties["Timeout"] + 40))
    check_rule(template)
    assert template.resources[function.properties["LoggingConfig"]["LogGroup"]["Ref"]].properties["RetentionInDays"] == 90
    assert not template.of_type("Custom::LogRetention")
    assert "FunctionName" not in function.properties
    (statement,) = template.resources[the(template, "AWS::IAM::Policy")].properties["PolicyDocument"]["Statement"]
    assert set(statement["Action"]) == {"secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"}
    assert statement["Resource"] == function.properties["Environment"]["Variables"]["DB_SECRET_NAME"]


def our_function(template: Template) -> str:
    """Return the logical id of the function that applies the migrations."""
    (name,) = [name for name in template.of_type(_OWN_FUNCTION) if name.startswith("Migrations")]
    return name


def check_rule(template: Template) -> None:
    """See that the trigger waits for the rule that lets this function reach the database, and for no other's."""
    rules = template.of_type("AWS::EC2::SecurityGroupIngress")
    assert len(rules) == 2  # the application's is the other
    (rule,) = template.waits_for(the(template, TRIGGER)) & set(rules)
    (group,) = template.resources[our_function(template)].properties["VpcConfig"]["SecurityGroupIds"]
    assert template.resources[rule].properties["SourceSecurityGroupId"] == group


def check_only_the_time_differs(first: dict[str, Any], second: dict[str, Any]) -> None:
    """See that a second synth is the first one, but for the one property that makes the trigger run."""
    times = [
        resource["Properties"].pop("Deploy")
        for template in (first, second)
        for resource in template["Resources"].values()
        if resource["Type"] == TRIGGER
    ]
    assert len(times) == len(set(times)) == 2
    assert first == second


def check_run(synthesis: Synthesis, tmp_path: Path, database: Database) -> None:
    """Run the package with its layer on a database."""
    resources = synthesis.template("Instance")["Resources"]
    template = Template(synthesis.template("Instance"))
    code = synthesis.asset("Instance", resources[our_function(template)]["Properties"]["Code"])
    layer = synthesis.asset("Instance", resources[the(template, "AWS::Lambda::LayerVersion")]["Properties"]["Content"])
    assert list(code.rglob("*.pyc")) == []
    body = run_package(code, layer, tmp_path, database.url)["body"]
    assert body["applied_migrations"] == ["001_initial_schema.sql"]
    assert database.query("SELECT name, state FROM db_setup.history") == [("001_initial_schema.sql", "applied")]


def test_commands_that_are_not_run() -> None:
    """What needs an AWS account names actions, options, events, targets and stacks that exist."""
    shown = "".join(block.text for block in blocks(README) if block.info == "text not run").replace("\\\n", "")
    lines = [shlex.split(line) for line in shown.splitlines()]
    programs = {" ".join(words[:2]) for words in lines}
    assert programs == {"make synth", ". .venv/bin/activate", "npx aws-cdk@2", "python db_setup", "aws lambda"}
    for words in lines:
        if words[0] == "python":
            assert parser().parse_args(words[2:]).function == "NAME"
        elif words[0] == "npx":
            assert f'"{words[-1]}"' in (PROJECT / "app.py").read_text("utf-8")
        elif words[0] == "make":
            assert re.search(rf"^{words[1]}:.*(?:\n\t.*)*\$\(SYNTH\)", (PROJECT / "Makefile").read_text("utf-8"), re.MULTILINE)
    (payload,) = re.findall(r"--payload '(.*?)'", shown)
    assert Request.parse(json.loads(payload)).action == "status"
