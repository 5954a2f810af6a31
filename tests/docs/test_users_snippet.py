"""The README's lines about users, in a stack with a service."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cdk.database_initializer import DatabaseInitializer
from tests.cdk.stacks import make_service, make_site, synthesise
from tests.docs.documents import README, only


@pytest.mark.usefixtures("example_as_default")
def test_users_snippet(tmp_path: Path) -> None:
    """The service may read its user's secret and nothing more of the secrets, and goes live after the migrations."""
    site = make_site(tmp_path / "out")
    names = {
        "self": site.stack, "vpc": site.vpc, "database": site.database,
        "service": make_service(site.stack, site.vpc), "DatabaseInitializer": DatabaseInitializer,
    }  # fmt: skip
    exec(only(README, "python users"), names)  # noqa: S102 - it is what the reader types
    template = synthesise(site.stack).template
    (service,) = template.of_type("AWS::ECS::Service")
    (trigger,) = template.of_type("Custom::Trigger")
    assert trigger in template.waits_for(service)
    (policy,) = [name for name in template.of_type("AWS::IAM::Policy") if name.startswith("TaskTaskRole")]
    (statement,) = template.resources[policy].properties["PolicyDocument"]["Statement"]
    assert "MigrationsUserSecret" in json.dumps(statement["Resource"])
