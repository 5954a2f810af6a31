"""Drift: how the catalog of a database differs from the one that its files build in a scratch database.

The live database is only read. Scratch databases are dropped at the end, or by a later run; files are applied to them
by what applies them to the live database, but for what reaches beyond a database.
May import execution and what that may import.
"""

from __future__ import annotations

from migrator.drift import catalog_expressions, new_database
from migrator.drift.build import Build, building
from migrator.drift.diff import Difference, compare, difference_fields, in_words, made_by
from migrator.drift.snapshot import Catalog, CatalogObject, Key, query_catalog, read_catalog

__all__ = [
    "Build",
    "Catalog",
    "CatalogObject",
    "Difference",
    "Key",
    "building",
    "catalog_expressions",
    "compare",
    "difference_fields",
    "in_words",
    "made_by",
    "new_database",
    "query_catalog",
    "read_catalog",
]
