"""The construct and the example stacks.

Importing this puts the drop-in folder on ``sys.path``, as Lambda does: the rooms that read the migrations at synth are
the ones that read them in the function.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

DB_SETUP = Path(__file__).resolve().parent.parent / "db_setup"

if str(DB_SETUP) not in sys.path:
    sys.path.append(str(DB_SETUP))  # behind everything else: no name of ours may hide one of the project's

_found = find_spec("migrator")
if _found is None or not str(_found.origin).startswith(str(DB_SETUP)):
    raise ImportError(
        f"the package migrator of {DB_SETUP} is hidden by {_found.origin if _found else 'nothing'}: "
        "give the project's own package another name, or copy db_setup/ beside cdk/"
    )
