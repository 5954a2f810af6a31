"""The upgrade: what tables of the history lack that an earlier version made. Harmless where nothing is lacking."""

from __future__ import annotations

from migrator.history_tables import SCHEMA

UPGRADE = f"""
ALTER TABLE {SCHEMA}.runs ADD COLUMN IF NOT EXISTS lock_report jsonb, ADD COLUMN IF NOT EXISTS history_head text;
ALTER TABLE {SCHEMA}.history ADD COLUMN IF NOT EXISTS evidence text, ADD COLUMN IF NOT EXISTS down_sql text,
    ADD COLUMN IF NOT EXISTS chain text, ADD COLUMN IF NOT EXISTS previous text;
COMMENT ON COLUMN {SCHEMA}.runs.lock_report IS 'What each statement locked, where LOCK_REPORT asked for it';
COMMENT ON COLUMN {SCHEMA}.runs.history_head IS
    'Number of rows in the chain, chain and name of the last one when the run ended; empty: the rows are not sealed';
COMMENT ON COLUMN {SCHEMA}.history.state IS
    'applied; running: a stepwise file that is to be continued; reverting: its way back is to be continued';
COMMENT ON COLUMN {SCHEMA}.history.evidence IS 'How it is known that a file not run here is applied';
COMMENT ON COLUMN {SCHEMA}.history.down_sql IS 'The text of its way back, when it was applied';
COMMENT ON COLUMN {SCHEMA}.history.chain IS 'SHA-256 over this row and the chain of the row before it';
COMMENT ON COLUMN {SCHEMA}.history.previous IS 'The name of the row before it in the chain';
"""

_NEW_COLUMNS = {
    "runs": ("lock_report", "history_head"),
    "history": ("evidence", "down_sql", "chain", "previous"),
}


def _newest() -> str:
    tables = " OR ".join(
        f"(attrelid OPERATOR(pg_catalog.=) '{SCHEMA}.{table}'::pg_catalog.regclass::pg_catalog.oid "
        f"AND attname OPERATOR(pg_catalog.=) ANY ('{{{','.join(columns)}}}'::pg_catalog.name[]))"
        for table, columns in _NEW_COLUMNS.items()
    )
    count = sum(map(len, _NEW_COLUMNS.values()))
    return (
        f"(SELECT pg_catalog.count(*) OPERATOR(pg_catalog.=) {count} FROM pg_catalog.pg_attribute "
        f"WHERE NOT attisdropped AND ({tables})) AS newest"
    )


IS_NEWEST = _newest()
"""True where the tables have everything; travels with the statement that records the beginning of a run."""
