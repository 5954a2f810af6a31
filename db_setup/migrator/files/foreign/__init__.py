"""What other migration tools leave in a folder: names, marks and layouts by which a file is not to be run forward.

Pure but for the layouts, which read names below a folder. Imported late, by those who have found a word that is worth
the look: a deploy of an ordinary folder loads nothing of it. May import errors, formatting, lazy and files.migration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from migrator.lazy import late

if TYPE_CHECKING:
    from migrator.files.foreign.layouts import refuse_down_folder, refuse_foreign_layout
    from migrator.files.foreign.marks import Mark, has_down_line, marks_in
    from migrator.files.foreign.names import FORWARD_ONLY, foreign_name
else:
    __getattr__ = late(
        __name__,
        {
            "refuse_down_folder": "layouts",
            "refuse_foreign_layout": "layouts",
            "Mark": "marks",
            "has_down_line": "marks",
            "marks_in": "marks",
            "FORWARD_ONLY": "names",
            "foreign_name": "names",
        },
    )

__all__ = [
    "FORWARD_ONLY",
    "Mark",
    "foreign_name",
    "has_down_line",
    "marks_in",
    "refuse_down_folder",
    "refuse_foreign_layout",
]
