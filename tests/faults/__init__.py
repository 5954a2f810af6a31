"""The campaign of faults: scenarios x faults, one oracle, one command (``python -m tests.faults``)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "db_setup"))
