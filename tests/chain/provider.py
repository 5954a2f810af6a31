"""The CDK's provider of Custom::Trigger: its own JavaScript, out of the assembly, in one Node for a test session."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.chain.assembly import ROOT
from tests.chain.template import REGION
from tests.plugins.node import NODE

NODE_MODULES = ROOT / ".venv" / "node" / "node_modules"
MAX_ANSWER = 4096
"""Bytes; CloudFormation takes no longer answer, and waits for an hour."""


class Answer(NamedTuple):
    """What the provider reports to CloudFormation, and what it has logged."""

    status: str
    reason: str
    physical_id: str
    size: int
    output: str


class Providers:
    """Each provider asset in a process that stays for the next event, as Lambda's does."""

    def __init__(self) -> None:
        self._processes: dict[Path, subprocess.Popen[str]] = {}

    def call(self, folder: Path, event: Mapping[str, Any], lambda_url: str) -> Answer:
        """Send one event and return the answer."""
        process = self._process(folder)
        assert process.stdin is not None
        assert process.stdout is not None
        environment = {"AWS_ENDPOINT_URL_LAMBDA": lambda_url}
        process.stdin.write(json.dumps({"event": event, "environment": environment}) + "\n")
        process.stdin.flush()
        said = json.loads(process.stdout.readline())
        body = json.loads(said["answer"])
        return Answer(body["Status"], body["Reason"], body["PhysicalResourceId"], len(said["answer"].encode()), said["output"])

    def close(self) -> None:
        """End the processes."""
        for process in self._processes.values():
            process.communicate()

    def _process(self, folder: Path) -> subprocess.Popen[str]:
        if folder not in self._processes:
            environ = {
                "NODE_PATH": str(NODE_MODULES), "AWS_REGION": REGION, "AWS_ACCESS_KEY_ID": "testing",
                "AWS_SECRET_ACCESS_KEY": "testing",
            }  # fmt: skip
            words = [str(NODE), str(Path(__file__).with_name("provider.js")), str(folder)]
            self._processes[folder] = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ
            )
        return self._processes[folder]
