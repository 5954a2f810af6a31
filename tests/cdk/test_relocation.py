"""The construct's package works under any name and in any folder of a project."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from cdk.database_initializer.location import DB_SETUP, find_db_setup, make_importable
from tests.chain.template import Template

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "cdk" / "database_initializer"
TRIGGER, FUNCTION = "Custom::Trigger", "AWS::Lambda::Function"
_APP = """
import aws_cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_secretsmanager as secretsmanager

from {package} import DatabaseInitializer, ExistingDatabase

app = aws_cdk.App(outdir="out")
stack = aws_cdk.Stack(app, "Shop")
vpc = ec2.Vpc(stack, "Network", max_azs=2, nat_gateways=1)
group = ec2.SecurityGroup(stack, "Group", vpc=vpc)
secret = secretsmanager.Secret(stack, "Secret")
layer = aws_cdk.aws_lambda.LayerVersion.from_layer_version_arn(stack, "L", "arn:aws:lambda:eu-west-1:123456789012:layer:x:1")
database = ExistingDatabase(secret=secret, endpoint="db.example", security_group=group)
DatabaseInitializer(stack, "Migrations", vpc=vpc, database=database, layers=[layer])
app.synth()
"""


class Layout(NamedTuple):
    """Where a project has the package, db_setup/, its migrations and its app, and how the app imports the package."""

    package: str
    db_setup: str
    migrations: str
    app: str
    imported: str


LAYOUTS = {
    "infra": Layout("infra/database_initializer", "db_setup", "migrations", "infra/app.py", ".database_initializer"),
    "lambda": Layout("infra/database_initializer", "lambda/db_setup", "lambda/migrations", "infra/app.py", "infra.database_initializer"),
    "another name": Layout("deploy/constructs/sql_migrations", "deploy/db_setup", "deploy/migrations", "main.py", "deploy.constructs.sql_migrations"),
}  # fmt: skip


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))


def _settle(project: Path, layout: Layout) -> None:
    """Make a project that has a package ``cdk`` of its own."""
    _copy(PACKAGE, project / layout.package)
    _copy(DB_SETUP, project / layout.db_setup)
    (project / layout.migrations).mkdir()
    (project / layout.migrations / "001_here.sql").write_text("SELECT 1;")
    (project / "cdk").mkdir()
    (project / "cdk" / "__init__.py").touch()
    (project / "cdk.json").write_text("{}")
    (project / layout.app).write_text(_APP.format(package=layout.imported))


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_copy_is_synthesised_where_it_lies(tmp_path: Path, name: str) -> None:
    """The copied package finds the db_setup/ and the migrations of its project, and packages them."""
    layout = LAYOUTS[name]
    _settle(tmp_path, layout)
    module = layout.app.removesuffix(".py").replace("/", ".")
    environ = {**os.environ, "CDK_VALIDATION": "false"}  # which takes 3 s, and is not what this is about
    done = subprocess.run(
        [sys.executable, "-m", module], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    template = Template(json.loads((tmp_path / "out" / "Shop.template.json").read_text()))
    (trigger,) = template.of_type(TRIGGER)
    listed = [line.partition(" ")[0] for line in template.resources[trigger].properties["Migrations"]]
    assert listed == ["001_here.sql"]
    (function,) = [found for found in template.of_type(FUNCTION) if found.startswith("Migrations")]
    key = template.resources[function].properties["Code"]["S3Key"].removesuffix(".zip")
    assert (tmp_path / "out" / f"asset.{key}" / "migrator" / "__init__.py").is_file()
    assert list((tmp_path / layout.db_setup).with_name(".db_setup").glob("asset-*"))


def test_its_own_modules_are_imported_relatively() -> None:
    """No module of the package names the package, nor the folder it lies in."""
    for path in PACKAGE.glob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
        names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) if not node.level]
        assert [name for name in names if name.partition(".")[0] in {"cdk", "database_initializer"}] == []
        assert {node.level for node in nodes if isinstance(node, ast.ImportFrom)} <= {0, 1}


def _db_setup(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "initializer.py").touch()
    return folder


def test_the_nearest_db_setup_is_used(tmp_path: Path) -> None:
    """The search goes upward; a folder without initializer.py is passed over."""
    package = tmp_path / "shop" / "infra" / "database_initializer"
    _db_setup(tmp_path / "db_setup")
    (tmp_path / "shop" / "infra" / "db_setup").mkdir(parents=True)
    nearest = _db_setup(tmp_path / "shop" / "db_setup")
    assert find_db_setup(package) == nearest


def test_only_the_projects_own_folders_are_searched(tmp_path: Path) -> None:
    """A db_setup/ one level below is found in the folder of cdk.json, and not in that of another project."""
    package = tmp_path / "shop" / "infra" / "database_initializer"
    _db_setup(tmp_path / "store" / "db_setup")
    found = _db_setup(tmp_path / "shop" / "lambda" / "db_setup")
    with pytest.raises(ImportError, match=r"no folder db_setup/ with initializer\.py above .*copy db_setup/ next to"):
        find_db_setup(package)
    (tmp_path / "shop" / "cdk.json").touch()
    assert find_db_setup(package) == found


def test_another_package_named_migrator_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The migrations are never checked by code that the function does not run."""
    db_setup = _db_setup(tmp_path / "db_setup")
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(ImportError, match=r"the package migrator of .* is hidden by .*__init__\.py: give"):
        make_importable(db_setup)
    assert sys.path[-1] == str(db_setup)
