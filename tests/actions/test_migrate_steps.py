"""The path of a deploy: the steps that migrate's docstring names are the steps that it takes."""

from __future__ import annotations

import re
import sys
from types import FrameType
from typing import Any

import pytest
from migrator.actions import migrate

from tests.plugins.secrets import Deploy, Site

_STEP = re.compile(r"^ *(\d+)\. ``(\w+)``: ", re.MULTILINE)


@pytest.mark.parametrize(
    ("there_before", "not_taken"),
    [("", ["before_applying", "refuse_tampering"]), ("CREATE TABLE a (i int)", ["create"])],
    ids=["new", "untracked"],
)
def test_steps_of_the_docstring_are_the_steps_of_a_deploy(
    site: Site, deploy: Deploy, there_before: str, not_taken: list[str]
) -> None:
    """A first deploy takes each step that is listed, in that order, but for those of the other kind of database."""
    steps = _STEP.findall(migrate.__doc__ or "")
    assert [int(number) for number, _ in steps] == list(range(1, 18))
    site.declare("user")
    site.folder.write("001_a.sql", "CREATE TABLE a (i int);")
    site.folder.write("002_b.sql", "CREATE TABLE b (i int);")
    if there_before:
        site.as_admin(there_before)
    called: list[str] = []

    def record(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_globals.get("__name__", "").startswith("migrator."):
            called.append(frame.f_code.co_name)

    sys.setprofile(record)
    try:
        deploy()
    finally:
        sys.setprofile(None)
    rest = iter(called)
    expected = [name for _, name in steps if name not in not_taken]
    assert [name for name in expected if name in rest] == expected
