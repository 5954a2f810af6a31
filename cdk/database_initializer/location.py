"""Finds the folder db_setup/ and makes the package ``migrator`` in it importable, as it is in Lambda.

What checks the migrations at synth is then the same code that applies them in the function.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path


def find_db_setup(package: Path) -> Path:
    """Return the nearest db_setup/ in a folder above ``package``, or one level below the folder of cdk.json.

    So the package may be ``cdk/database_initializer/`` with ``db_setup/`` next to ``cdk/``, and db_setup/ may lie in
    ``lambda/``. Raises ImportError when there is none.
    """
    for folder in package.parents:
        below = folder.glob("*/db_setup") if os.path.isfile(folder / "cdk.json") else ()
        for found in (folder / "db_setup", *sorted(below)):
            if os.path.isfile(found / "initializer.py"):
                return found
    raise ImportError(f"no folder db_setup/ with initializer.py above {package}: copy db_setup/ next to your app.py")


def make_importable(db_setup: Path) -> None:
    """Append db_setup/ to ``sys.path``; raises ImportError when another package named migrator comes first.

    It is appended, so that none of its modules hides one of the project.
    """
    if str(db_setup) not in sys.path:
        sys.path.append(str(db_setup))
    found = find_spec("migrator")
    origin = found.origin if found else None
    if origin is None or not Path(origin).resolve().is_relative_to(db_setup):
        raise ImportError(
            f"the package migrator of {db_setup} is hidden by {origin or 'another one'}: "
            "give the project's own package another name"
        )


DB_SETUP = find_db_setup(Path(__file__).resolve().parent)

make_importable(DB_SETUP)
