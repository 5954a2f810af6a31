"""An AWS CDK construct that applies a folder of SQL migrations to PostgreSQL in every deploy.

The package imports its own modules relatively, so it works under any name and in any folder of a project that has
``db_setup/`` (see location.py).
"""

from . import location as location  # first: the other modules import migrator

# isort: split
from .construct import DatabaseInitializer
from .databases import ExistingDatabase
from .errors import InvalidProps

__all__ = ["DatabaseInitializer", "ExistingDatabase", "InvalidProps"]
