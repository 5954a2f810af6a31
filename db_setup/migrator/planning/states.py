"""The states of a database, as answers name them: db_setup/README.md, "States"."""

from __future__ import annotations

EMPTY = "empty"
UNTRACKED = "tables_without_migration_history"
PENDING = "pending_migrations"
UP_TO_DATE = "up_to_date"
INCONSISTENT = "inconsistent"
AHEAD = "ahead"
DRIFTED = "drifted"
