"""Importing this drops from the environment everything that db_setup, libpq or boto3 would read in a test."""

from __future__ import annotations

import os
import signal

# The server that the tests use may be chosen; that alone is remembered.
PGBIN = os.environ.get("PGBIN", "")
_PREFIXES = ("DB_", "PG", "MIGRATION", "AWS_")
_NAMES = {"DATABASE_URL", "AUTO_MIGRATE", "LOCK_TIMEOUT", "STRICT_ORDER", "ALLOW_MISSING", "NO_COLOR", "REHEARSE_TIMEOUT", "LOCK_REPORT"}

for _name in [name for name in os.environ if name.startswith(_PREFIXES) or name in _NAMES]:
    del os.environ[_name]

# A shell that starts the tests in the background has SIGINT ignored, and every process below would ignore it, too.
signal.signal(signal.SIGINT, signal.default_int_handler)
