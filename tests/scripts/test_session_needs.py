"""What a stepwise file needs of an earlier step's session: what is refused, where, and what is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from migrator.errors import NotResumable
from migrator.files import Migration
from migrator.scripts import STEPWISE, Script, read_script
from migrator.scripts.session_needs import find_need, refuse_needs_of

HEAD = "-- db_setup: no-transaction\n"
TEMP = "CREATE TEMP TABLE t AS SELECT 1 AS i;\n"


def script_of(text: str, check: str = "") -> Script:
    """Return the script of a file that is run stepwise, with a check if any."""
    script = read_script(Migration("001_x.sql", "", "", len(text)), keep=True, text=HEAD + text)
    if check:
        of = read_script(Migration("001_x.check.sql", "", "", len(check)), keep=True, text=check)
        script = script._replace(check=of)
    return script


REFUSED = {
    "table": (TEMP + "INSERT INTO u SELECT i FROM t;", 3, 29, 'temporary table "t"'),
    "local temporary": ("create local temporary table T (i int);\nUPDATE u SET i = 1 FROM t WHERE true;", 3, 25, 'temporary table "t"'),
    "quoted": ('CREATE TEMP TABLE "T 1" (i int);\nDELETE FROM u USING "T 1";', 3, 21, 'temporary table "T 1"'),
    "by schema": ("CREATE TABLE pg_temp.t (i int);\nTRUNCATE t;", 3, 10, 'temporary table "t"'),
    "used by schema": (TEMP + "SELECT * FROM pg_temp.t;", 3, 15, 'temporary table "t"'),
    "select into": ("SELECT 1 AS i INTO TEMP TABLE t;\nINSERT INTO t VALUES (1);", 3, 13, 'temporary table "t"'),
    "with into": ("WITH a AS (SELECT 1 AS i) SELECT i INTO TEMPORARY t FROM a;\nTABLE t;", 3, 7, 'temporary table "t"'),
    "unless exists": (TEMP + "CREATE TEMP TABLE IF NOT EXISTS t (i int);", 3, 1, 'temporary table "t"'),
    "join": (TEMP + "UPDATE u SET i = 0 FROM a x JOIN b ON b.i = x.i, t WHERE t.i = u.i;", 3, 50, 'temporary table "t"'),
    "second of a list": (TEMP + "SELECT count(*) FROM u AS a, t;", 3, 30, 'temporary table "t"'),
    "subquery": (TEMP + "DELETE FROM u WHERE i IN (SELECT i FROM t);", 3, 41, 'temporary table "t"'),
    "copy": (TEMP + "COPY t FROM STDIN;\n1\n\\.\n", 3, 6, 'temporary table "t"'),
    "copy out": (TEMP + "COPY (SELECT * FROM t) TO '/tmp/x';", 3, 21, 'temporary table "t"'),
    "index": (TEMP + "CREATE INDEX ON t (i);", 3, 17, 'temporary table "t"'),
    "alter": (TEMP + "ALTER TABLE t ADD j int;", 3, 13, 'temporary table "t"'),
    "vacuum": (TEMP + "VACUUM (FULL, ANALYZE) t;", 3, 24, 'temporary table "t"'),
    "analyze": (TEMP + "ANALYZE u, t;", 3, 12, 'temporary table "t"'),
    "as": (TEMP + "CREATE TABLE v AS TABLE t;", 3, 25, 'temporary table "t"'),
    "like": (TEMP + "CREATE TABLE v (LIKE t INCLUDING ALL);", 3, 22, 'temporary table "t"'),
    "do": (TEMP + "DO $$ BEGIN INSERT INTO u SELECT i FROM t; END $$;", 3, 41, 'temporary table "t"'),
    "made in do": ("DO $$ BEGIN CREATE TEMP TABLE t (i int); END $$;\nSELECT * FROM t;", 3, 15, 'temporary table "t"'),
    "dropped with another": (TEMP + "DROP TABLE t, u;", 3, 12, 'temporary table "t"'),
    "dropped in a block that is rolled back": (TEMP + "BEGIN; DROP TABLE t; ROLLBACK;\nSELECT * FROM t;", 4, 15, 'temporary table "t"'),
    "used in a block": (TEMP + "BEGIN;\nSELECT 1;\nSELECT * FROM t;\nCOMMIT;", 5, 15, 'temporary table "t"'),
    "made in a block": ("BEGIN;\n" + TEMP + "COMMIT;\nBEGIN;\nSELECT * FROM t;\nCOMMIT;", 6, 15, 'temporary table "t"'),
    "and chain": ("BEGIN;\n" + TEMP + "COMMIT AND CHAIN;\nSELECT * FROM t;\nCOMMIT;", 5, 15, 'temporary table "t"'),
    "view": ("CREATE TEMP VIEW v AS SELECT 1;\nSELECT * FROM v;", 3, 15, 'temporary view "v"'),
    "view of it": ("BEGIN; CREATE TEMP TABLE t (i int); CREATE VIEW v AS SELECT * FROM t; COMMIT;\nSELECT * FROM v;", 3, 15, 'view "v"'),
    "sequence": ("CREATE TEMP SEQUENCE s;\nSELECT nextval('s');", 3, 17, 'temporary sequence "s"'),
    "function": ("CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1';\nSELECT pg_temp.f();", 3, 8, "temporary function pg_temp.f"),
    "type": ("CREATE TYPE pg_temp.e AS ENUM ('a');\nCREATE TABLE x AS SELECT 'a'::pg_temp.e;", 3, 31, "temporary type pg_temp.e"),
    "cursor": ("DECLARE c SCROLL CURSOR WITH HOLD FOR SELECT 1;\nFETCH NEXT FROM c;", 3, 17, 'cursor "c"'),
    "move": ("DECLARE c CURSOR WITH HOLD FOR SELECT 1;\nMOVE 5 c;", 3, 8, 'cursor "c"'),
    "prepared": (
        "BEGIN; CREATE TEMP TABLE t (i int); PREPARE p AS SELECT * FROM t; COMMIT;\nEXECUTE p;", 3, 9, 'prepared statement "p"',
    ),
    "currval": ("INSERT INTO a DEFAULT VALUES;\nINSERT INTO b (a) VALUES (currval('a_id_seq'));", 3, 27, "last value of a sequence"),
    "lastval": ("SELECT nextval('s');\nVACUUM;\nUPDATE b SET a = lastval();", 4, 18, "last value of a sequence"),
    "currval in a block": ("INSERT INTO a DEFAULT VALUES;\nBEGIN;\nSELECT currval('a_id_seq');\nCOMMIT;", 4, 8, "last value of a sequence"),
    "connection": ("SELECT dblink_connect('c', 'dbname=x');\nSELECT dblink_exec('c', 'SELECT 1');", 3, 20, "dblink_connect()"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "line", "column", "what"), REFUSED.values(), ids=list(REFUSED))
def test_need_is_refused_where_it_is(text: str, line: int, column: int, what: str) -> None:
    """A statement that needs the session of an earlier step is refused, with its place and what it needs."""
    with pytest.raises(NotResumable) as caught:
        refuse_needs_of([script_of(text)])
    where = caught.value.where
    assert where is not None
    assert (where.file, where.line, where.column) == ("001_x.sql", line, column)
    assert what in caught.value.what
    assert "^" in str(caught.value)


FINE = {
    "one block": "BEGIN;\n" + TEMP + "INSERT INTO u SELECT i FROM t;\nCOMMIT;\nVACUUM u;",
    "one block, dropped behind it": "BEGIN;\n" + TEMP + "COMMIT;\nDROP TABLE t;",
    "dropped if it is there": TEMP + "DROP TABLE IF EXISTS pg_temp.t, t CASCADE;",
    "made again": TEMP + "DROP TABLE t;\nBEGIN; CREATE TEMP TABLE t (i int); SELECT * FROM t; COMMIT;",
    "on commit drop": "BEGIN; CREATE TEMP TABLE t (i int) ON COMMIT DROP; SELECT * FROM t; COMMIT;\nSELECT * FROM t;",
    "rolled back": "BEGIN; CREATE TEMP TABLE t (i int); ROLLBACK;\nSELECT * FROM t;",
    "discarded": TEMP + "DISCARD TEMP;\nSELECT * FROM t;",
    "another schema": TEMP + "SELECT * FROM public.t;\nINSERT INTO a.t VALUES (1);",
    "alias": TEMP + "SELECT t.i FROM big t WHERE t.i = 1;\nUPDATE big AS t SET i = 0;",
    "column": TEMP + "SELECT a, t FROM u;\nINSERT INTO u (a, t) VALUES (1, 2);\nALTER TABLE u ADD COLUMN t int;",
    "join using": TEMP + "SELECT * FROM a JOIN b USING (i, t);",
    "function arguments": TEMP + "SELECT * FROM f(a, t);\nSELECT extract(epoch FROM t) FROM u;",
    "returns table": TEMP + "CREATE FUNCTION f() RETURNS TABLE (i int, t text) LANGUAGE sql AS $$ SELECT 1, 'a' $$;",
    "distinct": TEMP + "SELECT * FROM u WHERE a IS DISTINCT FROM t;",
    "cte": TEMP + "WITH t (i) AS MATERIALIZED (SELECT 2) SELECT * FROM t;",
    "comment and string": TEMP + "-- FROM t\nSELECT 'FROM t', $$ FROM t $$ /* FROM t */;",
    "body of a function": TEMP + "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT i FROM t); END $$;",
    "permanent table of the name": TEMP + "CREATE TABLE IF NOT EXISTS t (i int);",
    "part of a name": TEMP + "SELECT * FROM t_2, a_t;",
    "prepared": "PREPARE p AS SELECT * FROM u;\nEXECUTE p;\nDEALLOCATE p;",
    "role": "SET ROLE r;\nCREATE TABLE x (i int);\nRESET ROLE;\nDROP ROLE r;",
    "closed": "DECLARE c CURSOR WITH HOLD FOR SELECT 1;\nCLOSE c;",
    "cursor in a block": "BEGIN; DECLARE c CURSOR FOR SELECT 1; FETCH c; COMMIT;\nVACUUM;",
    "currval in the block of its nextval": "INSERT INTO z DEFAULT VALUES;\nBEGIN; INSERT INTO a DEFAULT VALUES; SELECT currval('a_id_seq'); COMMIT;",
    "currval of its own": "INSERT INTO z DEFAULT VALUES;\nINSERT INTO a (n) VALUES (1) RETURNING currval('a_id_seq');",
    "currval of its own default": "INSERT INTO z DEFAULT VALUES;\nINSERT INTO a (n) VALUES (currval('a_id_seq'));",
    "nextval before it": "INSERT INTO z DEFAULT VALUES;\nSELECT nextval('s'), currval('s');\nSELECT setval('s', currval('s'));",
    "nothing before it": "SELECT currval('s');",
    "default": "INSERT INTO z DEFAULT VALUES;\nALTER TABLE a ALTER b SET DEFAULT currval('s');",
    "two-phase": "BEGIN; CREATE TABLE x (i int); PREPARE TRANSACTION 'x';\nCOMMIT PREPARED 'x';",
    "dynamic": TEMP + "DO $$ BEGIN EXECUTE 'INSERT INTO u SELECT i FROM t'; END $$;",
}  # fmt: skip


@pytest.mark.parametrize("text", FINE.values(), ids=list(FINE))
def test_what_another_session_can_do_is_left_alone(text: str) -> None:
    """What needs nothing of an earlier step's session, or what can be made again, is not refused."""
    assert find_need(script_of(text)) is None


def test_file_in_one_transaction_is_left_alone() -> None:
    """Only files that are run step by step are refused."""
    text = f"{TEMP}SELECT * FROM t;"
    script = read_script(Migration("001_x.sql", "", "", len(text)), keep=True, text=text)
    assert refuse_needs_of([script]) == [script]
    assert find_need(script) is not None
    with pytest.raises(NotResumable):
        refuse_needs_of([script._replace(mode=STEPWISE)])


def test_file_that_is_begun_goes_on() -> None:
    """A file that an earlier run has begun is not refused: it may be past the two statements."""
    script = script_of(f"{TEMP}SELECT * FROM t;")
    assert refuse_needs_of([script], {"001_x.sql"}) == [script]


def test_check_is_the_last_step() -> None:
    """A check that asks for a temporary table is refused, too, in its own file."""
    with pytest.raises(NotResumable, match=r'^001_x\.check\.sql:1:28  .*temporary table "t" of line 2'):
        refuse_needs_of([script_of(TEMP, check="SELECT count(*) = 1\n FROM t;".replace("\n ", "   "))])


@pytest.mark.parametrize(("between", "fix"), [
    ("SELECT 1;\n", "put lines 2 to 4 into one BEGIN; ... COMMIT; block, or into a file of their own"),
    ("VACUUM;\n", "move line 3, which runs in no transaction, into a file of its own, and put lines 2 to 4 into one BEGIN;"),
])  # fmt: skip
def test_fix_says_where_to_split(between: str, fix: str) -> None:
    """The error says which lines belong together, what has to go elsewhere, and how to run the file as it is."""
    with pytest.raises(NotResumable) as caught:
        refuse_needs_of([script_of(f"{TEMP}{between}SELECT * FROM t;")])
    assert caught.value.fix.startswith(fix)
    assert caught.value.fix.endswith('or write "-- db_setup: not-resumable" as the first line, which runs it as it is')


@pytest.mark.parametrize(("text", "says"), [
    (f"{TEMP}SELECT * FROM t;", 'line 4 needs the temporary table "t" of line 3; if a run ends between the two'),
    ("SELECT 1;", "if a run ends in the middle of it, the next one may not be able to go on"),
])  # fmt: skip
def test_directive_makes_it_a_warning(text: str, says: str) -> None:
    """A file that says that it is not resumable is run, and what a failure will mean is a warning."""
    text = f"-- db_setup: not-resumable\n{HEAD}{text}"
    script = read_script(Migration("001_x.sql", "", "", len(text)), keep=True, text=text)
    (read,) = refuse_needs_of([script])
    (warning,) = read.warnings
    assert says in warning


def test_large_file_is_read_from_disk(tmp_path: Path) -> None:
    """The need of a file that is too large to be kept is found as well, in one more pass."""
    path = tmp_path / "001_x.sql"
    path.write_text(HEAD + TEMP + "INSERT INTO u VALUES (1);\n" * 20_000 + "SELECT * FROM t;")
    need = find_need(read_script(Migration("001_x.sql", str(path), "", path.stat().st_size), keep=False))
    assert need is not None
    assert need.statement.line == 20_003
