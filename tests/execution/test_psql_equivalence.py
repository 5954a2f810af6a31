"""Whatever psql makes of a folder of files, db_setup makes of it: compared by pg_dump, data included.

Each case is modelled on something met in public projects' migration folders.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping

import pytest
from migrator.cli.local_server import LocalServer
from migrator.errors import MigrationFailed

from tests.plugins.databases import Database, Dump, MakeDatabase
from tests.plugins.folders import Folder
from tests.plugins.postgres import client_program
from tests.plugins.runs import Invoke

Files = Mapping[str, str | bytes]

_FUNCTION = """
CREATE FUNCTION f() RETURNS text LANGUAGE plpgsql AS $body$
DECLARE s text := $$; not the end '$$;
BEGIN
    EXECUTE $q$SELECT 'a;b'$q$ INTO s;  -- it's a comment; with a quote
    RETURN s || $tag$ $body $tag$;
END $body$;
SELECT f();
"""
_PG_DUMP = r"""
\restrict abcDEF123
SET statement_timeout = 0;
SET lock_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET row_security = off;
SET default_table_access_method = heap;
CREATE TABLE public.dumped (i integer NOT NULL, t text);
COPY public.dumped (i, t) FROM stdin;
1	one
2	\N
3	semi;colon 'quote' $$ -- no comment
4	back\\slash\ttab
\.


COPY public.dumped (i, t) FROM stdin;
\.
ALTER TABLE ONLY public.dumped ADD CONSTRAINT dumped_pkey PRIMARY KEY (i);
CREATE INDEX dumped_t ON public.dumped USING btree (t);
\unrestrict abcDEF123
"""

CASES: dict[str, Files] = {
    "wrapper": {"1.sql": "BEGIN;\nCREATE TABLE t (i int);\nINSERT INTO t VALUES (1);\nCOMMIT;\n"},
    "wrapper with comments around": {
        "1.sql": "-- head\n/* more */ BEGIN TRANSACTION; -- go\nCREATE TABLE t (i int);\nEND; -- done\n-- tail"
    },
    "wrapper with isolation level": {
        "1.sql": "BEGIN ISOLATION LEVEL SERIALIZABLE;\nCREATE TABLE t AS SELECT current_setting('transaction_isolation');COMMIT"
    },
    "set transaction in a wrapper": {
        "1.sql": "BEGIN; SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;"
        "CREATE TABLE t AS SELECT current_setting('transaction_isolation'); COMMIT;"
    },
    "several blocks": {
        "1.sql": "BEGIN; CREATE TABLE a (i int); COMMIT;\nBEGIN; CREATE TABLE b (i int); COMMIT;\nCREATE TABLE c (i int);"
    },
    "block rolled back": {
        "1.sql": "CREATE TABLE a (i int);\nBEGIN;\nCREATE TABLE b (i int);\nROLLBACK;\nINSERT INTO a VALUES (1);"
    },
    "commit and chain": {
        "1.sql": "BEGIN; CREATE TABLE a (i int); COMMIT AND CHAIN; CREATE TABLE b (i int); ROLLBACK AND CHAIN;"
        "CREATE TABLE c (i int); COMMIT; CREATE TABLE d (i int);"
    },
    "stray commit": {"1.sql": "CREATE TABLE a (i int);\nCOMMIT;\nINSERT INTO a VALUES (1);\nCOMMIT;"},
    "settings before the block": {
        "1.sql": "SET search_path = s, public;\nCREATE SCHEMA s;\nBEGIN;\nCREATE TABLE t (i int);\nCOMMIT;",
        "2.sql": "CREATE TABLE u (i int);",
    },
    "savepoints": {
        "1.sql": "BEGIN; CREATE TABLE t (i int); SAVEPOINT a; INSERT INTO t VALUES (1); ROLLBACK TO a;"
        "INSERT INTO t VALUES (2); RELEASE a; COMMIT;"
    },
    "indexes concurrently": {
        "1.sql": "CREATE TABLE t (i int, j int); INSERT INTO t SELECT g, g FROM generate_series(1, 100) g;",
        "2.sql": "CREATE INDEX CONCURRENTLY t_i ON t (i);\nCREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS t_j ON t (j);\n"
        "CREATE INDEX CONCURRENTLY ON t (i, j);",
        "3.sql": "DROP INDEX CONCURRENTLY IF EXISTS t_i; REINDEX INDEX CONCURRENTLY t_j; REINDEX (CONCURRENTLY) TABLE t;",
    },
    "mixed with vacuum": {
        "1.sql": "CREATE TABLE t (i int);\nINSERT INTO t VALUES (1);\nVACUUM ANALYZE t;\nINSERT INTO t VALUES (2);"
    },
    "enum value used at once": {
        "1.sql": "CREATE TYPE mood AS ENUM ('a');\nCREATE TABLE t (m mood);",
        "2.sql": "ALTER TYPE mood ADD VALUE 'b';\nINSERT INTO t VALUES ('b');",
        "3.sql": "ALTER TYPE mood ADD VALUE IF NOT EXISTS 'c' AFTER 'a';",
    },
    "commit inside do": {
        "1.sql": "CREATE TABLE t (i int);",
        "2.sql": "DO $$ BEGIN FOR i IN 1..3 LOOP INSERT INTO t VALUES (i); COMMIT; END LOOP; END $$;",
    },
    "procedure that commits": {
        "1.sql": "CREATE TABLE t (i int);\nCREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN INSERT INTO t VALUES (1); "
        "COMMIT; INSERT INTO t VALUES (2); END $$;\nCALL p();"
    },
    "commit inside do, rows numbered": {
        "1.sql": "CREATE TABLE t (id serial PRIMARY KEY, v text);",
        "2.sql": "DO $$ BEGIN FOR i IN 1..3 LOOP INSERT INTO t (v) VALUES (i); COMMIT; END LOOP; END $$;",
    },
    "deferred check before a change of the table": {
        "1.sql": "CREATE TABLE a (i int PRIMARY KEY); INSERT INTO a VALUES (1);"
        "CREATE TABLE b (i int REFERENCES a DEFERRABLE INITIALLY DEFERRED);",
        "2.sql": "INSERT INTO b VALUES (1); ALTER TABLE b ADD COLUMN x int;",
    },
    "defaults of the database": {
        "1.sql": "CREATE SCHEMA app; DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = app, public', "
        "current_database()); END $$;",
        "2.sql": "CREATE TABLE t (i int);",
        "3.sql": "CREATE INDEX CONCURRENTLY ON t (i);",
    },
    "defaults of the transactions": {
        "1.sql": "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE;",
        "2.sql": "CREATE TABLE t AS SELECT current_setting('transaction_isolation');",
        "3.sql": "SET default_transaction_read_only = on;",
        "4.sql": "CREATE TABLE u (i int);",
    },
    "copy to standard output": {"1.sql": "CREATE TABLE t (i int);\nCOPY (SELECT 1) TO STDOUT;\nINSERT INTO t VALUES (1);"},
    "prepared and let go": {
        "1.sql": "PREPARE p AS SELECT 1;\nEXECUTE p;\nDEALLOCATE p;\nCREATE TABLE t (i int);\nDEALLOCATE ALL;"
    },
    "lock table": {"1.sql": "CREATE TABLE t (i int);", "2.sql": "BEGIN; LOCK TABLE t IN EXCLUSIVE MODE; COMMIT;"},
    "alter system": {"1.sql": "CREATE TABLE t (i int);\nALTER SYSTEM SET work_mem = '5MB';\nALTER SYSTEM RESET work_mem;"},
    "detach concurrently": {
        "1.sql": "CREATE TABLE p (i int) PARTITION BY RANGE (i); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (9);"
        "CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (9) TO (19);",
        "2.sql": "ALTER TABLE p DETACH PARTITION p1 CONCURRENTLY;",
    },
    "refresh concurrently": {
        "1.sql": "CREATE TABLE t AS SELECT 1 AS i; CREATE MATERIALIZED VIEW m AS SELECT i FROM t;"
        "CREATE UNIQUE INDEX ON m (i); REFRESH MATERIALIZED VIEW CONCURRENTLY m;"
    },
    "functions and quotes": {"1.sql": _FUNCTION},
    "begin atomic": {
        "1.sql": "CREATE TABLE t (i int);\nCREATE FUNCTION f(a int) RETURNS int LANGUAGE sql BEGIN ATOMIC\n"
        "  SELECT CASE WHEN a > 0 THEN 1 ELSE 2 END;\n  SELECT a + 1;\nEND;\nCREATE TABLE u (i int);"
    },
    "rule with a list": {
        "1.sql": "CREATE TABLE t (i int); CREATE TABLE l (i int);\nCREATE RULE r AS ON INSERT TO t DO ALSO "
        "(INSERT INTO l VALUES (new.i); INSERT INTO l VALUES (new.i + 1););\nINSERT INTO t VALUES (1);"
    },
    "escapes": {
        "1.sql": r"""CREATE TABLE t (s text);
INSERT INTO t VALUES (E'a\';b'), ('a\'), (U&'d\0061t;\+000061'), ('it''s; ok'), (E'\\');
INSERT INTO t VALUES ('x'
';y'), (date'2020-01-01'::text);
"""
    },
    "old strings": {
        "1.sql": "SET standard_conforming_strings = off;\nSET escape_string_warning = off;\nCREATE TABLE t (s text);\n"
        "INSERT INTO t VALUES ('a\\';b');\n",
        "2.sql": "INSERT INTO t VALUES ('a\\');",
    },
    "percent and braces": {
        "1.sql": "CREATE TABLE t (s text DEFAULT '100%');\nINSERT INTO t VALUES ('%s %(x)s {{ a }} ${b} :c');"
        "SELECT 5 % 2, * FROM t WHERE s LIKE '%s%';"
    },
    "dump": {"1.sql": _PG_DUMP, "2.sql": "CREATE TABLE after_dump (i int);"},
    "copy between statements": {
        "1.sql": "CREATE TABLE t (a int, b text);\nCOPY t (a, b) FROM STDIN WITH (FORMAT csv, HEADER);\na,b\n"
        '1,"x;\ny"\n2,\\N\n\\.\nINSERT INTO t VALUES (3, \'z\');\ncopy t from stdin;\n4\tw\n'
    },
    "copy with its own wrapper": {
        "1.sql": "BEGIN;\nCREATE TABLE t (a int);\nCOPY t FROM stdin;\n1\n2\n\\.\nCOMMIT;\nANALYZE t;"
    },
    "byte order mark": {"1.sql": b"\xef\xbb\xbfCREATE TABLE t (s text); INSERT INTO t VALUES ('\xc3\xa9');"},
    "windows line ends": {
        "1.sql": "-- one\r\nCREATE TABLE t (s text);\r\nINSERT INTO t VALUES ('a\r\nb');\r\n"
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$\r\n  SELECT 1;\r\n$$;\r\n"
    },
    "old mac line ends": {"1.sql": "-- one\rCREATE TABLE t (i int);\r-- two\rINSERT INTO t VALUES (1);\r"},
    "latin1": {
        "1.sql": "SET client_encoding = 'LATIN1';\nCREATE TABLE t (s text);\nINSERT INTO t VALUES ('caf\xe9');\n".encode(
            "latin-1"
        ),
        "2.sql": "INSERT INTO t VALUES ('naïve');",
    },
    "windows code page": {
        "1.sql": "SET client_encoding TO WIN1252;\nCREATE TABLE t (s text);\nINSERT INTO t VALUES ('\u20ac5');".encode("cp1252")
    },
    "no statement at all": {"1.sql": "", "2.sql": "\n\n", "3.sql": "-- nothing here", "4.sql": "/* nor here; */", "5.sql": ";;"},
    "no semicolon at the end": {"1.sql": "CREATE TABLE t (i int);\nINSERT INTO t VALUES (1) -- last;", "2.sql": "SELECT 1"},
    "numbers": {
        "9_b.sql": "INSERT INTO t VALUES (9);",
        "100_c.sql": "INSERT INTO t VALUES (100); CREATE TABLE u AS SELECT array_agg(i) FROM t;",
        "1_a.sql": "CREATE TABLE t (i int);",
    },
    "versions": {
        "V1_10__c.sql": "CREATE TABLE u AS SELECT array_agg(i) FROM t;",
        "V1_2__b.sql": "INSERT INTO t VALUES (2);",
        "V1__a.sql": "CREATE TABLE t (i int);",
    },
    "settings do not leak": {
        "1.sql": "CREATE SCHEMA s; SET search_path = s; CREATE TEMP TABLE x (i int); PREPARE p AS SELECT 1; LISTEN c;",
        "2.sql": "CREATE TABLE x (i int); PREPARE p AS SELECT 2; EXECUTE p;",
    },
    "set role": {
        "1.sql": "DO $$ BEGIN CREATE ROLE equivalence_owner; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;"
        "CREATE SCHEMA s AUTHORIZATION equivalence_owner; SET ROLE equivalence_owner; CREATE TABLE s.t (i int);",
        "2.sql": "CREATE TABLE u (i int);",
    },
    "set role stepwise": {
        "1.sql": "DO $$ BEGIN CREATE ROLE equivalence_owner; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;"
        "CREATE SCHEMA s AUTHORIZATION equivalence_owner; SET ROLE equivalence_owner; CREATE TABLE s.t (i int);"
        "CREATE INDEX CONCURRENTLY ON s.t (i); INSERT INTO s.t VALUES (1); RESET ROLE; CREATE TABLE u (i int);",
    },
    "two-phase commit": {
        "1.sql": "BEGIN; CREATE TABLE t (i int); PREPARE TRANSACTION 'equivalence'; COMMIT PREPARED 'equivalence';"
    },
    "discard all": {"1.sql": "CREATE TABLE t (i int); SET search_path = pg_catalog; DISCARD ALL; CREATE TABLE u (i int);"},
    "large object of statements": {
        "1.sql": "CREATE TABLE t (i int PRIMARY KEY, s text);\n"
        + "".join(f"INSERT INTO t VALUES ({i}, 'row; {i}');\n" for i in range(20000))
    },
    "large wrapper with savepoints": {
        "1.sql": "BEGIN;\nCREATE TABLE t (i int);\nSAVEPOINT a;\n"
        + "".join(f"INSERT INTO t VALUES ({i});\n" for i in range(15000))
        + "ROLLBACK TO a;\nINSERT INTO t VALUES (-1);\nCOMMIT;\n"
    },
    "deferred constraint": {
        "1.sql": "CREATE TABLE a (i int PRIMARY KEY);\nCREATE TABLE b (i int REFERENCES a DEFERRABLE INITIALLY DEFERRED);\n"
        "BEGIN; INSERT INTO b VALUES (1); INSERT INTO a VALUES (1); COMMIT;"
    },
    "cursor": {
        "1.sql": "CREATE TABLE t AS SELECT g FROM generate_series(1, 5) g;\nBEGIN; DECLARE c CURSOR FOR SELECT * FROM t;"
        "FETCH 2 FROM c; MOVE c; DELETE FROM t WHERE CURRENT OF c; CLOSE c; COMMIT;"
    },
    "tables named like ours": {"1.sql": "CREATE TABLE history (name int); CREATE TABLE runs (id text); CREATE TABLE pg_class_ (i int);"},
    "hostile operator": {
        "1.sql": "CREATE SCHEMA evil; CREATE FUNCTION evil.no(text, text) RETURNS bool LANGUAGE sql AS 'SELECT false';"
        "CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.no);"
        "SET search_path = evil, pg_catalog, public; CREATE TABLE public.t (i int);"
        "CREATE INDEX CONCURRENTLY ti ON public.t (i);"
    },
}


_SINCE_14 = re.compile("BEGIN ATOMIC|DETACH PARTITION .* CONCURRENTLY")


def _psql(server: LocalServer, database: Database, folder: Folder, names: list[str]) -> str:
    """Run files, and return the error that ends them; where the server knows all of their words, there must be none."""
    known = database.major() >= 14
    for name in names:  # a session for each file, as db_setup promises
        command = [str(client_program(server, "psql")), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(folder.path / name), database.url]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PGCLIENTENCODING": "UTF8"})
        if done.returncode != 0:
            newer = _SINCE_14.search((folder.path / name).read_text(encoding="utf-8"))
            assert (known, newer is None) == (False, False), done.stderr
            return done.stderr
    return ""


OLD_STRINGS: dict[str, Files] = {
    name: CASES[name]
    for name in (
        "dump", "functions and quotes", "begin atomic", "copy between statements", "set role stepwise",
        "discard all", "settings do not leak", "large wrapper with savepoints", "mixed with vacuum", "percent and braces",
    )
} | {
    "backslashes": {
        "1.sql": r"""CREATE TABLE t (s text);
INSERT INTO t VALUES ('a\\b'), ('it\'s; ok'), (E'x\'y'), ($$a\b$$), ('c\
d'), ('e'
'\';f'), ('\101'), ('g\''');h');
""",
        "2.sql": r"INSERT INTO t VALUES ('i\';j'); VACUUM t; INSERT INTO t VALUES ('k\'; --');",
    },
    "standard strings": {
        "1.sql": "SET standard_conforming_strings = on;\nCREATE TABLE t (s text); INSERT INTO t VALUES ('a\\'), ('b');",
        "2.sql": "INSERT INTO t VALUES ('c\\'d');",
        "3.sql": "SET standard_conforming_strings = on;\nINSERT INTO t VALUES ('e\\');\nRESET ALL;\nINSERT INTO t VALUES ('f\\'g');",
    },
}  # fmt: skip


@pytest.mark.parametrize("files", OLD_STRINGS.values(), ids=OLD_STRINGS)
def test_result_equals_that_of_psql_with_old_strings(
    files: Files, folder: Folder, database: Database, make_database: MakeDatabase, server: LocalServer,
    invoke: Invoke, pg_dump: Dump,
) -> None:  # fmt: skip
    """The same where the database has standard_conforming_strings off, as psql follows it."""
    database.execute(f"ALTER DATABASE {database.name} SET standard_conforming_strings = off")
    expected = make_database()
    expected.execute(f"ALTER DATABASE {expected.name} SET standard_conforming_strings = off")
    _compare(files, folder, database, expected, server, invoke, pg_dump)


@pytest.mark.parametrize("files", CASES.values(), ids=CASES)
def test_result_equals_that_of_psql(
    files: Files, folder: Folder, database: Database, make_database: MakeDatabase, server: LocalServer,
    invoke: Invoke, pg_dump: Dump,
) -> None:  # fmt: skip
    """A folder leaves the same schema and the same rows as the same files run by psql in the same order."""
    _compare(files, folder, database, make_database(), server, invoke, pg_dump)


def _compare(
    files: Files, folder: Folder, database: Database, expected: Database, server: LocalServer, invoke: Invoke,
    pg_dump: Dump,
) -> None:  # fmt: skip
    for name, content in files.items():
        folder.write(name, content)
    error = _psql(server, expected, folder, invoke({"action": "plan"})["pending_migrations"])
    if error:
        with pytest.raises(MigrationFailed) as caught:
            invoke()
        assert (caught.value.sqlstate, "ERROR:  syntax error" in error) == ("42601", True)
        return
    invoke()
    options = ("--exclude-schema=db_setup", "--inserts")
    assert pg_dump(database, *options) == pg_dump(expected, *options)
    assert invoke()["state"] == "up_to_date"
