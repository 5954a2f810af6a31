"""effects: what a statement does outside its transaction or its database; one table for both questions."""

from __future__ import annotations

import pytest
from migrator.sql.effects import acts_outside, effect_outside
from migrator.sql.statements import Statement, split

from tests.plugins.databases import Database
from tests.plugins.folders import Folder
from tests.plugins.runs import Invoke

NOT_UNDONE = {
    "SELECT http_post('x')": "function",
    "SELECT net.http_post('x')": "function",
    'SELECT "http_get" /* c */ (\'x\')': "function",
    "SELECT http_put('x'), http_patch('x'), http_delete('x'), http_head('x')": "function",
    "SELECT dblink_exec('x', 'y')": "function",
    "CREATE TABLE t AS SELECT * FROM dblink('x', 'y') AS d(i int)": "function",
    "SELECT lo_export(1, '/x')": "function",
    "SELECT pg_terminate_backend(1)": "function",
    "SELECT pg_cancel_backend(1)": "function",
    "SELECT pg_reload_conf()": "function",
    "SELECT pg_rotate_logfile()": "function",
    "SELECT pg_switch_wal()": "function",
    "SELECT pg_create_restore_point('x')": "function",
    "SELECT pg_promote()": "function",
    "SELECT pg_file_write('x', 'y', true)": "function",
    "SELECT pg_create_physical_replication_slot('x')": "function",
    "SELECT pg_copy_logical_replication_slot('x', 'y')": "function",
    "SELECT pg_drop_replication_slot('x')": "function",
    "SELECT pg_replication_slot_advance('x', '0/0')": "function",
    "SELECT pg_replication_origin_advance('x', '0/0')": "function",
    "SELECT aws_s3.query_export_to_s3('x', 'y')": "function",
    "SELECT query_export_to_s3('x', 'y')": "function",
    "SELECT aws_s3.table_import_from_s3('x', 'y')": "function",
    "SELECT aws_lambda.invoke('x', 'y')": "function",
    'SELECT "aws_lambda"."invoke"(\'x\', \'y\')': "function",
    "EXPLAIN ANALYZE SELECT dblink_exec('x', 'y')": "function",
    "ALTER TABLE t ALTER i TYPE text USING dblink_exec('x', 'y')": "function",
    "DO $$ BEGIN PERFORM http_post('x'); END $$": "function",
    "DO $$ BEGIN EXECUTE format('COPY t TO %L', f); END $$": "file",
    "DO $$ BEGIN COPY t TO PROGRAM 'cat'; END $$": "file",
    "COPY t TO '/x'": "file",
    "COPY t TO $$/x$$": "file",
    "COPY t FROM PROGRAM 'cat'": "file",
    "COPY (SELECT dblink_exec('x', 'y')) TO STDOUT": "function",
}
"""Statements with effects that no rollback undoes."""
UNDONE = (
    "CREATE ROLE r", "GRANT a TO b", "COMMENT ON DATABASE d IS 'x'", "SELECT cron.schedule('x', '* * * * *', 'SELECT 1')",
    "DO $$ BEGIN CREATE ROLE r; COMMIT; END $$",
)  # fmt: skip
"""Statements that a rehearsal may run, since they are rolled back, and a build must not, since it commits."""
READING = ("COPY t FROM '/x'", "SELECT lo_import('/x')", "SELECT run('copy t to ''/x''')")
"""Statements that a rehearsal does not run, and a build does."""
NEITHER = (
    "SELECT 1", "COPY t FROM STDIN", "COPY t TO STDOUT", "SELECT 'pg_reload_conf'", "SELECT pg_catalog.now()",
    "CREATE FUNCTION http_post(t text) RETURNS void LANGUAGE sql AS $$ SELECT dblink_exec('x', t) $$",
    "CREATE VIEW v AS SELECT dblink_exec('x', 'y')", "DROP FUNCTION http_post(text)",
    "COMMENT ON FUNCTION http_post(text) IS 'x'", "GRANT EXECUTE ON FUNCTION http_post(text) TO r",
    "REVOKE ALL ON FUNCTION http_post(text) FROM PUBLIC", "ALTER FUNCTION http_post(text) RENAME TO post",
    "INSERT INTO t VALUES (1) -- http_post('x')",
)  # fmt: skip


def one(text: str) -> Statement:
    """Return the only statement of a text."""
    (statement,) = split(f"{text};\n")
    return statement


@pytest.mark.parametrize(("text", "what"), NOT_UNDONE.items())
def test_both_questions_agree_on_what_no_rollback_undoes(text: str, what: str) -> None:
    """A statement whose effect leaves the transaction is neither rehearsed nor built."""
    assert (acts_outside(one(text)), effect_outside(one(text))) == (True, what)


@pytest.mark.parametrize("text", UNDONE)
def test_shared_objects_are_rehearsed_and_not_built(text: str) -> None:
    """What a rollback undoes may be rehearsed, though it is for the whole server."""
    assert not acts_outside(one(text))
    assert effect_outside(one(text))


@pytest.mark.parametrize("text", READING)
def test_files_of_the_server_are_read_by_a_build_only(text: str) -> None:
    """What reads a file, or may hand on such SQL, ends a rehearsal; a build needs its rows."""
    assert (acts_outside(one(text)), effect_outside(one(text))) == (True, "")


@pytest.mark.parametrize("text", NEITHER)
def test_definition_or_name_of_a_function_is_no_call(text: str) -> None:
    """A statement that calls none of the functions, though it may define or name one, is rehearsed and built."""
    assert (acts_outside(one(text)), effect_outside(one(text))) == (False, "")


def test_verify_does_not_call_another_service_again(invoke: Invoke, folder: Folder, database: Database) -> None:
    """A call of http_post is left out of a scratch build and named; a table that the stub makes shows that it never ran."""
    folder.write("001_stub.sql", "CREATE FUNCTION http_post(t text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN EXECUTE format('CREATE TABLE %I ()', t); RETURN 1; END $$;")
    folder.write("002_call.sql", "SELECT 1;\nSELECT http_post('called');")
    invoke()
    database.execute("DROP TABLE called")
    body = invoke({"action": "verify"})
    assert (body["state"], body["differences"]) == ("up_to_date", [])
    assert body["not_verifiable"] == ['002_call.sql:2  "select ..." (function)']


@pytest.mark.parametrize(
    "text", ["SELECT pg_replication_origin_advance('x', '0/0');", "SELECT aws_s3.call('x');", "SELECT dblink_exec /* c */ ('x');"]
)
def test_rehearsal_ends_before_an_effect_that_stays(invoke: Invoke, folder: Folder, text: str) -> None:
    """A rehearsal does not run what only the scratch builds knew as an effect outside the transaction."""
    folder.write("001_a.sql", f"CREATE TABLE a (i int);\n{text}")
    assert invoke({"action": "rehearse"})["not_rehearsed"][0] == "001_a.sql: line 2 acts outside the transaction, and would stay"
