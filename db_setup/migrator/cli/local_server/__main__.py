"""``python -m migrator.cli.local_server``: remove the project's local server, for ``make clean``."""

from __future__ import annotations

import sys

from migrator.cli.local_server import LocalServer, project_data_folder
from migrator.errors import LocalServerError

if __name__ == "__main__":
    try:
        LocalServer(project_data_folder()).remove()
    except LocalServerError as error:
        sys.exit(str(error))
