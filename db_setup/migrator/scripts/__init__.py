"""Scripts: the statements of a file with its companions, read once, and how they are to be run.

Everything that can be refused from the text alone is refused when a script is read, before a run touches anything. A
small file is kept in memory; a large one is read again, piece by piece, when it runs. Imports sql and files.
"""

from __future__ import annotations

from migrator.scripts.companions import differs, down_text, kept, read_down, read_scripts, stored_down, with_companions
from migrator.scripts.script import ENDS, PLAIN_OPENING, STEPWISE, TRANSACTION, Script, place, read_script, terminated

__all__ = [
    "ENDS",
    "PLAIN_OPENING",
    "STEPWISE",
    "TRANSACTION",
    "Script",
    "differs",
    "down_text",
    "kept",
    "place",
    "read_down",
    "read_script",
    "read_scripts",
    "stored_down",
    "terminated",
    "with_companions",
]
