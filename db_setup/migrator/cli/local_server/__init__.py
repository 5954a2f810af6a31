"""local_server: a PostgreSQL of the project's own, for a developer's machine and for the tests.

Invariants: its data are complete or absent; it listens on no network; processes that name one folder share one server.
May import errors.
"""

from __future__ import annotations

from migrator.cli.local_server.binaries import find_binaries
from migrator.cli.local_server.server import LocalServer, local_database_url, project_data_folder

__all__ = ["LocalServer", "find_binaries", "local_database_url", "project_data_folder"]
