"""Scripts: the statements of a file with its companions, read once, and how they are to be run.

Everything that can be refused from the text alone is refused when a script is read, before a run touches anything. A
small file is kept in memory; a large one is read again, piece by piece, when it runs. May import sql, files and what is
below them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from migrator.lazy import late
from migrator.scripts.script import (
    ENDS,
    PLAIN_OPENING,
    STEPWISE,
    TRANSACTION,
    Script,
    kept,
    place,
    read_script,
    read_scripts,
    terminated,
)

if TYPE_CHECKING:
    from migrator.scripts import session_needs
    from migrator.scripts.companions import differs, down_texts, read_down, stored_down, with_companions
    from migrator.scripts.sections import down_section
else:
    __getattr__ = late(
        __name__,
        {
            "differs": "companions",
            "down_section": "sections",
            "down_texts": "companions",
            "read_down": "companions",
            "stored_down": "companions",
            "with_companions": "companions",
        },
    )

__all__ = [
    "ENDS",
    "PLAIN_OPENING",
    "STEPWISE",
    "TRANSACTION",
    "Script",
    "differs",
    "down_section",
    "down_texts",
    "kept",
    "place",
    "read_down",
    "read_script",
    "read_scripts",
    "session_needs",
    "stored_down",
    "terminated",
    "with_companions",
]
