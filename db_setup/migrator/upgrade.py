"""The upgrade: what tables of the history lack that an earlier version made. Harmless where nothing is lacking."""

from __future__ import annotations

UPGRADE = """
ALTER TABLE db_setup.history ADD COLUMN IF NOT EXISTS down_sql text;
COMMENT ON COLUMN db_setup.history.state IS
    'applied; running: a stepwise file that is to be continued; reverting: its way back is to be continued';
COMMENT ON COLUMN db_setup.history.down_sql IS 'The text of its way back, when it was applied';
"""

IS_NEWEST = (
    "EXISTS (SELECT FROM pg_catalog.pg_attribute "
    "WHERE attrelid OPERATOR(pg_catalog.=) 'db_setup.history'::pg_catalog.regclass::pg_catalog.oid "
    "AND attname OPERATOR(pg_catalog.=) 'down_sql'::pg_catalog.name)"
)
"""True where the tables have everything; travels with the statement that records the beginning of a run."""
