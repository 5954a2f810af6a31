"""The tables of the history: how they are created, and how those of an earlier version are upgraded.

A new column stands in CREATE_SQL, in UPGRADE with its comment, and in IS_NEWEST with the count of columns. Pure.
"""

from __future__ import annotations

from migrator.history.rows import SCHEMA
from migrator.history.run_lock import RunLock

CREATE_SQL = f"""
CREATE SCHEMA IF NOT EXISTS {SCHEMA};
CREATE TABLE IF NOT EXISTS {SCHEMA}.runs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    request_id text NOT NULL,
    action text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    finished_at timestamptz,
    outcome text NOT NULL DEFAULT 'running',
    message text NOT NULL DEFAULT '',
    run_by text NOT NULL DEFAULT SESSION_USER,
    package_version text NOT NULL,
    lock_report jsonb,
    history_head text,
    removed jsonb,
    fence jsonb
);
CREATE TABLE IF NOT EXISTS {SCHEMA}.history (
    position bigint GENERATED ALWAYS AS IDENTITY,
    name text PRIMARY KEY,
    number text NOT NULL,
    checksum text NOT NULL,
    state text NOT NULL,
    mode text NOT NULL,
    steps integer NOT NULL DEFAULT 0,
    steps_checksum text NOT NULL DEFAULT '',
    step_begun integer NOT NULL DEFAULT 0,
    step_note text NOT NULL DEFAULT '',
    applied_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    duration_ms integer,
    run_id bigint,
    applied_by text NOT NULL DEFAULT SESSION_USER,
    package_version text NOT NULL,
    evidence text,
    down_sql text,
    chain text,
    previous text,
    earlier_checksums text,
    step_session text
);
REVOKE ALL ON SCHEMA {SCHEMA} FROM PUBLIC;
REVOKE ALL ON {SCHEMA}.history, {SCHEMA}.runs FROM PUBLIC;
COMMENT ON SCHEMA {SCHEMA} IS 'What db_setup has applied to this database; not to be edited by hand';
COMMENT ON TABLE {SCHEMA}.runs IS 'One row for each run that found something to do';
COMMENT ON COLUMN {SCHEMA}.runs.request_id IS 'The Lambda request, or the host and process that ran';
COMMENT ON COLUMN {SCHEMA}.runs.outcome IS 'running, succeeded or failed; running without a runner: it was killed';
COMMENT ON TABLE {SCHEMA}.history IS 'One row for each migration, in the order of application';
COMMENT ON COLUMN {SCHEMA}.history.name IS 'The name of the file, which identifies a migration';
COMMENT ON COLUMN {SCHEMA}.history.number IS 'The number in the name, or the one given to an unnumbered file';
COMMENT ON COLUMN {SCHEMA}.history.checksum IS 'SHA-256 of the text, no BOM, LF line ends; empty when unknown';
COMMENT ON COLUMN {SCHEMA}.history.mode IS 'transaction, stepwise, or not run here: imported, adopted, baseline';
COMMENT ON COLUMN {SCHEMA}.history.run_id IS 'The id of its row in runs';
COMMENT ON COLUMN {SCHEMA}.history.steps IS 'Stepwise: how many steps are proven done';
COMMENT ON COLUMN {SCHEMA}.history.steps_checksum IS 'Stepwise: SHA-256 chained over the texts of these steps';
COMMENT ON COLUMN {SCHEMA}.history.step_begun IS 'Stepwise: the step outside any transaction that was begun last';
{RunLock.CREATE_SQL}"""
"""Harmless where they are already; comments on columns that came later are in UPGRADE."""

UPGRADE = f"""
ALTER TABLE {SCHEMA}.runs ADD COLUMN IF NOT EXISTS lock_report jsonb, ADD COLUMN IF NOT EXISTS history_head text,
    ADD COLUMN IF NOT EXISTS removed jsonb, ADD COLUMN IF NOT EXISTS fence jsonb;
ALTER TABLE {SCHEMA}.history ADD COLUMN IF NOT EXISTS evidence text, ADD COLUMN IF NOT EXISTS down_sql text,
    ADD COLUMN IF NOT EXISTS chain text, ADD COLUMN IF NOT EXISTS previous text,
    ADD COLUMN IF NOT EXISTS earlier_checksums text, ADD COLUMN IF NOT EXISTS step_session text;
COMMENT ON COLUMN {SCHEMA}.runs.lock_report IS 'What each statement locked, where LOCK_REPORT asked for it';
COMMENT ON COLUMN {SCHEMA}.runs.history_head IS
    'Number of rows in the chain, chain and name of the last one when the run ended; empty: the rows are not sealed';
COMMENT ON COLUMN {SCHEMA}.runs.removed IS 'The rows that it took from the history, by a rollback or a repair';
COMMENT ON COLUMN {SCHEMA}.runs.fence IS
    'Of an adoption: the files that were pending, and what was there, which no file makes and they must not change';
COMMENT ON COLUMN {SCHEMA}.history.state IS
    'applied; running: a stepwise file that is to be continued; reverting: its down migration is to be continued';
COMMENT ON COLUMN {SCHEMA}.history.step_note IS
    'Stepwise: what that step found before it began; after a question mark: what a person has to answer';
COMMENT ON COLUMN {SCHEMA}.history.step_session IS
    'Stepwise: settings, role and the like that the steps have left in the session; empty once the file is applied';
COMMENT ON COLUMN {SCHEMA}.history.evidence IS 'How it is known that a file not run here is applied';
COMMENT ON COLUMN {SCHEMA}.history.down_sql IS 'The text of its down migration, when it was applied';
COMMENT ON COLUMN {SCHEMA}.history.chain IS 'SHA-256 over this row and the chain of the row before it';
COMMENT ON COLUMN {SCHEMA}.history.previous IS 'The name of the row before it in the chain';
COMMENT ON COLUMN {SCHEMA}.history.earlier_checksums IS
    'Beginnings of the checksums that a repeatable or edited file had before, the oldest first';
"""

IS_NEWEST = f"""(SELECT pg_catalog.count(*) OPERATOR(pg_catalog.=) 10 FROM pg_catalog.pg_attribute
    WHERE NOT attisdropped AND (attrelid OPERATOR(pg_catalog.=) '{SCHEMA}.runs'::pg_catalog.regclass::pg_catalog.oid
        AND attname OPERATOR(pg_catalog.=) ANY ('{{lock_report,history_head,removed,fence}}'::pg_catalog.name[])
    OR attrelid OPERATOR(pg_catalog.=) '{SCHEMA}.history'::pg_catalog.regclass::pg_catalog.oid
        AND attname OPERATOR(pg_catalog.=) ANY (
            '{{evidence,down_sql,chain,previous,earlier_checksums,step_session}}'::pg_catalog.name[]))
    ) AS newest"""
"""True where the tables have every column; travels with the statement that records the beginning of a run."""

OBSTACLES = f"""(SELECT pg_catalog.string_agg(pg_catalog.format('ALTER TABLE %I.%I ', n.nspname, c.relname)
        OPERATOR(pg_catalog.||) remedy, '; ')
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace,
    LATERAL (SELECT pg_catalog.format('DISABLE TRIGGER %I', tgname) FROM pg_catalog.pg_trigger
        WHERE tgrelid OPERATOR(pg_catalog.=) c.oid AND NOT tgisinternal AND tgenabled OPERATOR(pg_catalog.<>) 'D'
    UNION ALL SELECT pg_catalog.format('DISABLE RULE %I', rulename) FROM pg_catalog.pg_rewrite
        WHERE ev_class OPERATOR(pg_catalog.=) c.oid AND ev_enabled OPERATOR(pg_catalog.<>) 'D'
    UNION ALL SELECT 'DISABLE ROW LEVEL SECURITY' WHERE pg_catalog.row_security_active(c.oid)) o (remedy)
    WHERE n.nspname OPERATOR(pg_catalog.=) '{SCHEMA}'
    AND c.relname OPERATOR(pg_catalog.=) ANY ('{{history,runs,run_lock}}'::pg_catalog.name[]))"""
"""What keeps the tables from being written as they must be, by the statements that undo it; null where nothing does."""
