"""The table in README.md, with what it takes to measure it again."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.faults.campaign import Row, table

README = Path(__file__).with_name("README.md")
_BEGIN, _END = "<!-- measured -->", "<!-- end -->"


def publish(rows: Sequence[Row], words: Sequence[str], seed: int, server: str) -> None:
    """Put the table of a campaign in the place of the one that is there."""
    before, _, rest = README.read_text(encoding="utf-8").partition(_BEGIN)
    _, _, after = rest.partition(_END)
    command = " ".join(["python -m tests.faults", *words])
    said = [
        (f"Measured on {datetime.now(UTC):%Y-%m-%d}, commit {_commit()}, `{command}`, seed {seed}, {server}, "
        f"{os.cpu_count()} processors with a load of {os.getloadavg()[2]:.0f}."),
        "",
        table(rows),
    ]
    README.write_text("\n".join([f"{before}{_BEGIN}", "", *said, "", f"{_END}{after}"]), encoding="utf-8")


def _commit() -> str:
    found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=README.parent, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"
