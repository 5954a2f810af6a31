"""Speed and memory of whole processes, against a floor in the same run: ``python -m tests.benchmarks``."""

import sys
from pathlib import Path

PRODUCT = Path(__file__).resolve().parents[2] / "db_setup"
"""The drop-in folder that is measured."""

sys.path.insert(0, str(PRODUCT))  # the server that the benchmarks start is the project's own local one
