"""What is slow behind a lock is judged from the text of a transaction, by what it locks and what it works through."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from migrator.cli.lint.clauses import Clauses
from migrator.cli.lint.finding import WARNING, LintFinding
from migrator.cli.lint.findings import find
from migrator.cli.lint.slow_after_lock import RULE, slow_after_lock
from migrator.cli.lint.table_locks import READS, WRITES, dropped_index, locks_of
from migrator.cli.lint.table_work import MANY, work_of
from migrator.sql import split
from psycopg2.extensions import cursor

from tests.plugins.databases import Database
from tests.plugins.folders import Folder

LOCK = "ALTER TABLE a ADD COLUMN x int;"


def judged(*statements: str) -> list[tuple[int, str, int]]:
    """Return for each slow statement its number, what it is, and the number of the one that holds the lock."""
    found = slow_after_lock(split("\n".join(statements)))
    return [(slow.statement.line, slow.work.what, slow.held.taker.line) for slow in found]


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("UPDATE b SET i = 1;", "UPDATE"),
        ("UPDATE b SET i = 1 WHERE j IS NULL;", "UPDATE"),
        ("UPDATE b SET i = 1 WHERE i = 2 OR i = 3;", "UPDATE"),
        ("UPDATE b SET i = c.i FROM c WHERE c.id = b.id;", "UPDATE"),
        ("UPDATE b SET i = (SELECT i FROM c LIMIT 1);", "UPDATE"),
        ("UPDATE b SET i = 1 WHERE done = true;", "UPDATE"),
        ("UPDATE b SET i = 1 WHERE i >= 2;", "UPDATE"),
        ("UPDATE a SET x = 1;", "UPDATE"),
        ("DELETE FROM b;", "DELETE"),
        ("DELETE FROM b WHERE id IN (SELECT id FROM c);", "DELETE"),
        ("DELETE FROM b WHERE id NOT IN (1, 2);", "DELETE"),
        ("WITH w AS (SELECT id FROM c) DELETE FROM b USING w WHERE w.id = b.id;", "DELETE"),
        ("MERGE INTO b USING c ON b.id = c.id WHEN MATCHED THEN DELETE;", "MERGE"),
        ("INSERT INTO b (i) SELECT i FROM c;", "INSERT ... SELECT"),
        ("insert into b select * from b;", "INSERT ... SELECT"),
        ("INSERT INTO b (SELECT i FROM c);", "INSERT ... SELECT"),
        ("INSERT INTO b TABLE c;", "INSERT ... SELECT"),
        ("CREATE TABLE n AS SELECT * FROM b;", "CREATE TABLE AS"),
        ("CREATE TEMP TABLE n AS (SELECT * FROM b);", "CREATE TABLE AS"),
        ("SELECT * INTO n FROM b;", "SELECT INTO"),
        ("CREATE MATERIALIZED VIEW v AS SELECT * FROM b;", "CREATE MATERIALIZED VIEW"),
        ("REFRESH MATERIALIZED VIEW v;", "REFRESH MATERIALIZED VIEW"),
        ("REFRESH MATERIALIZED VIEW CONCURRENTLY v;", "REFRESH MATERIALIZED VIEW"),
        ("CREATE INDEX ON a (x);", "CREATE INDEX"),
        ("CREATE UNIQUE INDEX i ON s.b USING btree (i);", "CREATE INDEX"),
        ("REINDEX TABLE b;", "REINDEX"),
        ("CLUSTER b USING i;", "CLUSTER"),
        ("COPY b FROM '/data';", "COPY ... FROM"),
        ("ALTER TABLE a VALIDATE CONSTRAINT c;", "ALTER TABLE ... VALIDATE CONSTRAINT"),
        ("ALTER TABLE b ALTER i SET NOT NULL;", "ALTER TABLE ... SET NOT NULL"),
        ("ALTER TABLE b ALTER COLUMN i TYPE bigint;", "ALTER TABLE ... ALTER COLUMN ... TYPE"),
        ('ALTER TABLE "b" ALTER "i, j" SET DATA TYPE bigint;', "ALTER TABLE ... ALTER COLUMN ... TYPE"),
        ("ALTER TABLE b ALTER i SET DATA TYPE text USING i::text;", "ALTER TABLE ... ALTER COLUMN ... TYPE"),
        ("ALTER TABLE a ADD FOREIGN KEY (i) REFERENCES b;", "ALTER TABLE ... ADD FOREIGN KEY"),
        ("ALTER TABLE b DROP COLUMN j, ADD CONSTRAINT c CHECK (i > 0);", "ALTER TABLE ... ADD CHECK"),
        ("ALTER TABLE b ADD CONSTRAINT u UNIQUE (i);", "ALTER TABLE ... ADD UNIQUE"),
        ("ALTER TABLE b ADD PRIMARY KEY (i);", "ALTER TABLE ... ADD PRIMARY KEY"),
        ("ALTER TABLE b ADD u uuid DEFAULT gen_random_uuid();", "ALTER TABLE ... ADD COLUMN"),
        ("ALTER TABLE b ADD COLUMN IF NOT EXISTS n bigserial;", "ALTER TABLE ... ADD COLUMN"),
        ("ALTER TABLE b ADD n int GENERATED ALWAYS AS (i * 2) STORED;", "ALTER TABLE ... ADD COLUMN"),
        ("ALTER TABLE b SET UNLOGGED;", "ALTER TABLE ... SET UNLOGGED"),
        ("ALTER TABLE p ATTACH PARTITION b FOR VALUES IN (1);", "ALTER TABLE ... ATTACH PARTITION"),
        # Not slow, or not known to be:
        ("UPDATE b SET i = 1 WHERE name = 'x';", ""),
        ("UPDATE b SET i = 1 WHERE j IS NULL AND id = 7 RETURNING i;", ""),
        ("UPDATE b SET i = 1 WHERE id IN (1, 2);", ""),
        ("UPDATE b SET i = 1 WHERE id = (SELECT id FROM c WHERE name = 'x');", ""),
        ("UPDATE schema_version SET version = 7;", ""),
        ("UPDATE b SET i = 1 WHERE id IN (SELECT id FROM b LIMIT 100);", ""),
        ("INSERT INTO b VALUES (1, (SELECT max(i) FROM c));", ""),
        ("INSERT INTO b SELECT 1 WHERE NOT EXISTS (SELECT FROM b WHERE i = 1);", ""),
        ("INSERT INTO b SELECT i FROM generate_series(1, 9) i;", ""),
        ("INSERT INTO b SELECT i FROM c WHERE id = 1;", ""),
        ("INSERT INTO b SELECT 'x FROM c';", ""),
        ("SELECT count(*) FROM b;", ""),
        ("CREATE VIEW v AS SELECT * FROM b;", ""),
        ("CREATE TABLE n AS SELECT * FROM b WITH NO DATA;", ""),
        ("CREATE TABLE n (LIKE b);", ""),
        ("CREATE INDEX i ON ONLY b (i);", ""),
        ("COPY b TO '/data';", ""),
        ("ALTER TABLE b ADD CONSTRAINT c CHECK (i > 0) NOT VALID;", ""),
        ("ALTER TABLE b ADD CONSTRAINT u UNIQUE USING INDEX i;", ""),
        ("ALTER TABLE b ADD n int NOT NULL DEFAULT 0, ADD m timestamptz DEFAULT now();", ""),
        ("ALTER TABLE b ADD n int REFERENCES c;", ""),
        ("ALTER TABLE b ALTER i TYPE text;", ""),
        ("ALTER TABLE b ALTER i SET DEFAULT 1, ALTER j DROP NOT NULL;", ""),
        ("COMMENT ON TABLE b IS 'UPDATE b SET i = 1';", ""),
    ],
)
def test_what_is_slow(statement: str, what: str) -> None:
    """A statement behind a lock is slow if it works through a table that was there before, as far as the text shows."""
    assert judged(LOCK, statement) == ([(2, what, 1)] if what else [])
    assert judged(statement) == []


@pytest.mark.parametrize(
    ("statement", "locks"),
    [
        ("ALTER TABLE a DROP COLUMN x;", True),
        ("ALTER TABLE ONLY s.a OWNER TO r;", True),
        ("ALTER TABLE a SET (fillfactor = 70), DROP COLUMN x;", True),
        ("ALTER TABLE b ADD FOREIGN KEY (i) REFERENCES a NOT VALID;", True),
        ("ALTER TABLE a ENABLE ROW LEVEL SECURITY;", True),
        ("ALTER TABLE a DISABLE TRIGGER t;", True),
        ("ALTER TABLE p ATTACH PARTITION a DEFAULT;", True),
        ("CREATE TABLE n (i int REFERENCES a);", True),
        ("CREATE TABLE n PARTITION OF a DEFAULT;", True),
        ("CREATE TRIGGER t AFTER INSERT ON a EXECUTE FUNCTION f();", True),
        ("CREATE OR REPLACE TRIGGER t AFTER UPDATE OF i ON a EXECUTE FUNCTION f();", True),
        ("DROP TRIGGER t ON a;", True),
        ("CREATE POLICY p ON a;", True),
        ("CREATE RULE r AS ON INSERT TO a DO NOTHING;", True),
        ("DROP INDEX IF EXISTS i;", True),
        ("TRUNCATE a;", True),
        ("LOCK TABLE a;", True),
        ("LOCK TABLE a IN SHARE ROW EXCLUSIVE MODE;", True),
        ("REFRESH MATERIALIZED VIEW a;", True),
        ("CLUSTER a;", True),
        ("ALTER TABLE p ATTACH PARTITION n DEFAULT;", True),
        # No lock that others wait for, or none that another file would spare them:
        ("ALTER TABLE a VALIDATE CONSTRAINT c;", False),
        ("ALTER TABLE a ALTER x SET STATISTICS 100;", False),
        ("ALTER TABLE a SET (fillfactor = 70);", False),
        ("LOCK TABLE a IN ROW EXCLUSIVE MODE;", False),
        ("CREATE TABLE n (i int);", False),
        ("CREATE INDEX ON a (x);", False),
        ("CREATE VIEW v AS SELECT * FROM a;", False),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';", False),
        ("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DROP TRIGGER t ON a; END $$;", False),
        ("DROP TABLE a;", False),
        ("GRANT SELECT ON a TO r;", False),
        ("ALTER TYPE e ADD VALUE 'x';", False),
        ("INSERT INTO a VALUES (1);", False),
    ],
)
def test_what_locks(statement: str, locks: bool) -> None:
    """What keeps others from a table until the transaction ends is what a slow statement behind it is warned of for."""
    assert judged(statement, "UPDATE c SET i = 1;") == ([(2, "UPDATE", 1)] if locks else [])


@pytest.mark.parametrize(
    ("statements", "wanted"),
    [
        # What the transaction has made, nobody waits for, and nothing is in it:
        (["CREATE TABLE a (i int);", LOCK, "UPDATE b SET i = 1;"], []),
        (["CREATE TABLE b (i int);", LOCK, "UPDATE b SET i = 1;", "CREATE INDEX ON b (i);"], []),
        (["CREATE TEMP TABLE b (i int);", LOCK, "INSERT INTO c SELECT * FROM b;"], []),
        (["CREATE TABLE b (i int);", LOCK, "INSERT INTO b SELECT * FROM c;"], [(3, "INSERT ... SELECT", 2)]),
        (["CREATE TABLE b (i int);", LOCK, "UPDATE b SET i = c.i FROM c;"], [(3, "UPDATE", 2)]),
        (["CREATE TABLE b (i int);", "CREATE INDEX j ON b (i);", "DROP INDEX j;", "UPDATE c SET i = 1;"], []),
        (["DO $$ BEGIN CREATE TABLE b (i int); END $$;", LOCK, "UPDATE b SET i = 1;"], []),
        # A table with a new name is no new table:
        (["ALTER TABLE a RENAME TO b;", "CREATE TABLE a (i int);", "INSERT INTO a SELECT * FROM b;"],
         [(3, "INSERT ... SELECT", 1)]),
        (["CREATE TABLE n (i int);", "ALTER TABLE n RENAME TO a;", LOCK, "UPDATE a SET x = 1;"], []),
        (["ALTER TABLE a RENAME TO b;", "ALTER TABLE b ALTER i SET NOT NULL;"], []),
        # Alone it would have the same people wait for the same table:
        ([LOCK, "ALTER TABLE a ALTER x SET NOT NULL;"], []),
        ([LOCK, "ALTER TABLE a ADD CHECK (x > 0);"], []),
        (["DROP INDEX i;", "ALTER TABLE a ALTER x TYPE bigint;"], []),
        (["CREATE TABLE n (i int REFERENCES a);", "CREATE INDEX ON a (x);"], []),
        ([LOCK, "CREATE INDEX ON a (x);"], [(2, "CREATE INDEX", 1)]),
        ([LOCK, "ALTER TABLE b ALTER x SET NOT NULL;"], [(2, "ALTER TABLE ... SET NOT NULL", 1)]),
        # The hardest lock is named, and each slow statement:
        (["CREATE TABLE n (i int REFERENCES b);", LOCK, "UPDATE c SET i = 1;", "DELETE FROM c;"],
         [(3, "UPDATE", 2), (4, "DELETE", 2)]),
        (["UPDATE a SET x = 1;", LOCK], []),
    ],
)  # fmt: skip
def test_order_and_tables(statements: list[str], wanted: list[tuple[int, str, int]]) -> None:
    """A slow statement counts if it makes somebody wait longer for a table that was there before."""
    assert judged(*statements) == wanted


@pytest.mark.parametrize(("lines", "wanted"), [(MANY - 1, []), (MANY, [(2, "COPY ... FROM", 1)])])
def test_data_of_copy(lines: int, wanted: list[tuple[int, str, int]]) -> None:
    """COPY is slow with much data in the file; the statements behind it keep their places."""
    data = "1\n" * lines + "\\."
    assert judged(LOCK, "COPY b FROM stdin;", data, "DELETE FROM b;") == [*wanted, (lines + 4, "DELETE", 1)]


TABLES = """
    CREATE TABLE a (i int PRIMARY KEY, x int, y varchar(9), CONSTRAINT positive CHECK (i > 0) NOT VALID);
    CREATE TABLE b (i int, n int NOT NULL);
    ALTER TABLE b ADD CONSTRAINT b_i_fkey FOREIGN KEY (i) REFERENCES a NOT VALID;
    CREATE TABLE p (i int) PARTITION BY LIST (i); CREATE TABLE q (i int);
    CREATE INDEX x ON a (x); CREATE UNIQUE INDEX u ON b (n);
    CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
    CREATE TRIGGER t AFTER INSERT ON a EXECUTE FUNCTION f();
    CREATE POLICY w ON a; CREATE RULE r AS ON UPDATE TO a DO ALSO NOTHING;
    CREATE MATERIALIZED VIEW v AS SELECT 1 AS i; CREATE SCHEMA other;
"""
KEPT_FROM = {"AccessExclusiveLock": READS, "ExclusiveLock": WRITES, "ShareRowExclusiveLock": WRITES, "ShareLock": WRITES}
HELD = "SELECT relation::regclass::text, mode FROM pg_locks WHERE pid = pg_backend_pid() AND relation::regclass::text = ANY (%s)"
NAMES = ["a", "b", "p", "q", "v"]
LOCKING = (
    "ALTER TABLE a DROP COLUMN x", "ALTER TABLE ONLY a ALTER x SET DEFAULT 1", "ALTER TABLE a RENAME y TO z",
    "ALTER TABLE a ALTER x SET NOT NULL", "ALTER TABLE a ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE a DISABLE TRIGGER t", "ALTER TABLE a ENABLE ALWAYS TRIGGER t",
    "ALTER TABLE a VALIDATE CONSTRAINT positive", "ALTER TABLE a ALTER x SET STATISTICS 100",
    "ALTER TABLE a ALTER COLUMN x SET (n_distinct = 5)", "ALTER TABLE a SET (fillfactor = 70)",
    "ALTER TABLE a RESET (fillfactor)", "ALTER TABLE a CLUSTER ON x", "ALTER TABLE a SET WITHOUT CLUSTER",
    "ALTER TABLE a SET (fillfactor = 70), DROP COLUMN x", "ALTER TABLE a OWNER TO current_user",
    "ALTER TABLE a REPLICA IDENTITY FULL", "ALTER TABLE b ADD CONSTRAINT k FOREIGN KEY (n) REFERENCES a",
    "ALTER TABLE b ADD FOREIGN KEY (n) REFERENCES a NOT VALID",
    "ALTER TABLE b ADD CONSTRAINT un UNIQUE USING INDEX u", "ALTER TABLE b ADD c int REFERENCES a",
    "ALTER TABLE p ATTACH PARTITION q FOR VALUES IN (1)", "CREATE TABLE n (i int REFERENCES a)",
    "CREATE TABLE n (LIKE a)", "CREATE TABLE n PARTITION OF p DEFAULT",
    "CREATE TRIGGER t2 AFTER UPDATE OF x ON a EXECUTE FUNCTION f()", "ALTER TRIGGER t ON a RENAME TO t3",
    "DROP TRIGGER t ON a", "CREATE POLICY z ON a", "ALTER POLICY w ON a USING (true)", "DROP POLICY w ON a",
    "CREATE RULE z AS ON INSERT TO a DO ALSO NOTHING", "DROP RULE r ON a", "CREATE INDEX ON a (y)", "TRUNCATE b",
    "LOCK TABLE a, b", "LOCK TABLE a IN SHARE ROW EXCLUSIVE MODE", "LOCK TABLE a IN EXCLUSIVE MODE",
    "LOCK a IN SHARE MODE", "LOCK TABLE a IN SHARE UPDATE EXCLUSIVE MODE", "LOCK TABLE ONLY a IN ROW EXCLUSIVE MODE",
    "CLUSTER a USING x", "REFRESH MATERIALIZED VIEW v", "UPDATE a SET x = 1", "INSERT INTO a VALUES (1)",
    "DELETE FROM b", "COMMENT ON TABLE a IS 'x'", "GRANT SELECT ON a TO current_user",
    "CREATE VIEW w AS SELECT * FROM a",
)  # fmt: skip
ACTIONS = (
    "ADD c int", "ADD c int NOT NULL DEFAULT 0", "ADD c timestamptz DEFAULT now()", "ADD c float DEFAULT random()",
    "ADD c serial", "ADD COLUMN IF NOT EXISTS c bigint GENERATED BY DEFAULT AS IDENTITY", "ADD c int REFERENCES a",
    "ADD c int GENERATED ALWAYS AS (n + 1) STORED", "ADD c int UNIQUE", "ADD c int CHECK (c > 0)",
    "ADD c timestamptz DEFAULT clock_timestamp()", "ADD CHECK (i > 0)", "ADD CONSTRAINT k CHECK (i > 0) NOT VALID",
    "ADD UNIQUE (i)", "ADD CONSTRAINT k UNIQUE USING INDEX u", "ADD PRIMARY KEY (n)",
    "ADD CONSTRAINT k PRIMARY KEY USING INDEX u", "ADD CONSTRAINT k EXCLUDE (i WITH =)",
    "ADD FOREIGN KEY (n) REFERENCES a", "ADD FOREIGN KEY (n) REFERENCES a NOT VALID", "VALIDATE CONSTRAINT b_i_fkey",
    "ALTER i SET NOT NULL", "ALTER n DROP NOT NULL", "ALTER COLUMN n TYPE bigint",
    "ALTER n SET DATA TYPE text USING n::text", "ALTER n SET DEFAULT 5", "DROP COLUMN n", "SET UNLOGGED",
    "RENAME TO c", "RENAME n TO c", "SET (fillfactor = 70)", "SET SCHEMA other",
)  # fmt: skip


@pytest.fixture
def session(database: Database) -> Iterator[cursor]:
    """Make the tables, and connect without autocommit."""
    database.execute(TABLES)
    connection = database.connect()
    connection.autocommit = False
    with connection.cursor() as opened:
        yield opened
    connection.close()


def locked(session: cursor, statement: str) -> dict[str, int]:
    """Run a statement and roll it back; return which tables it has locked, and what others were kept from."""
    session.execute(statement)
    session.execute(HELD, (NAMES,))
    held: dict[str, int] = {}
    for name, mode in session.fetchall():
        held[name] = max(KEPT_FROM.get(mode, 0), held.get(name, 0))
    session.connection.rollback()
    return {name: kept for name, kept in held.items() if kept}


def is_worked_through(session: cursor, statement: str) -> bool:
    """Run a statement and roll it back; return whether the server says that it reads or writes the rows of a table."""
    notices: list[str] = session.connection.notices
    notices.clear()
    session.execute("SET LOCAL client_min_messages = debug1")
    session.execute(statement)
    session.connection.rollback()
    words = r"DEBUG:\s+(?:rewriting table|verifying table|validating foreign key|building index)(?!.*pg_toast)"
    return any(re.match(words, text) for text in notices)


def test_locks_are_those_of_the_server(session: cursor) -> None:
    """Which tables a statement locks, and for whom, is what the server says that it has locked."""
    known = {text: locks_of(Clauses(next(split(text)))) for text in LOCKING}
    found = {text: {name: kept for name, kept in locks.items() if name in NAMES} for text, locks in known.items()}
    assert found == {text: locked(session, text) for text in LOCKING}


def test_dropped_index_locks_its_table(session: cursor) -> None:
    """DROP INDEX keeps others from reading the table, which it does not name."""
    assert locked(session, "DROP INDEX IF EXISTS x") == {"a": READS}
    assert dropped_index(Clauses(next(split("DROP INDEX IF EXISTS x")))) == "x"


def test_work_is_that_of_the_server(session: cursor) -> None:
    """ALTER TABLE is slow where the server says that it rewrites or reads the table, or builds an index."""
    statements = [f"ALTER TABLE b {action}" for action in ACTIONS]
    found = {text: bool(list(work_of(Clauses(next(split(text)))))) for text in statements}
    assert found == {text: is_worked_through(session, text) for text in statements}


Found = Callable[[str], list[LintFinding]]


@pytest.fixture
def found(folder: Folder) -> Found:
    """Lint a folder of one file, and return what this rule finds."""

    def run(text: str) -> list[LintFinding]:
        folder.write("001_a.sql", text)
        return [item for item in find(folder) if item.rule == RULE]

    return run


def test_finding(found: Found) -> None:
    """One warning for a transaction names the first slow statement, the lock, and how to write it."""
    (finding,) = found(f"{LOCK}\n/* all\nof them */ UPDATE a SET x = 1;\nDELETE FROM b;\nCREATE INDEX ON a (x);\n")
    assert finding == LintFinding(
        "001_a.sql", 3, 12, WARNING, RULE,
        'line 3 (UPDATE) may take long, and line 1 (ALTER TABLE) keeps others from using "a" until the transaction '
        "ends; so may lines 4, 5",
        "put line 3 into a file of its own, before this one or after it; or, where the table is small, write "
        '"-- db_setup-ignore slow_after_lock" above the line',
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message", "way"),
    [
        ("CREATE OR REPLACE TRIGGER t AFTER INSERT ON a EXECUTE FUNCTION f();\nDELETE FROM b;",
         'line 1 (CREATE TRIGGER) keeps others from writing to "a" until', "own, before"),
        ("DROP INDEX s.i;\nCREATE INDEX i ON a (x);",
         'line 1 (DROP INDEX) keeps others from using the table of "i" until', "own, with CONCURRENTLY, before"),
        (f"{LOCK}{'DELETE FROM b;' * 5}", "ends; so may 4 statements below it", "own, before"),
        (f"{LOCK}DELETE FROM b;DELETE FROM b;", "ends; so may line 1", "own, before"),
        ('ALTER TABLE s."A b" ADD i int;DELETE FROM b;', 'using "A b" until', "own, before"),
    ],
)  # fmt: skip
def test_words_of_a_finding(found: Found, text: str, message: str, way: str) -> None:
    """What is locked, and for whom, is said as far as the text shows it."""
    (finding,) = found(text)
    assert message in finding.message
    assert way in finding.help


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (f"BEGIN;\n{LOCK}\nDELETE FROM b;\nCOMMIT;", [3]),
        (f"VACUUM;\n{LOCK}\nDELETE FROM b;", []),
        (f"-- db_setup: no-transaction\n{LOCK}\nDELETE FROM b;", []),
        (f"VACUUM;\nBEGIN;\n{LOCK}\nCOMMIT;\nDELETE FROM b;\nBEGIN;\nDELETE FROM b;\nCOMMIT;", []),
        (f"BEGIN;\n{LOCK}\nDELETE FROM b;\nCOMMIT;\nBEGIN;\n{LOCK}\nDELETE FROM b;\nROLLBACK;", [3, 7]),
        (f"BEGIN;\n{LOCK}\nCOMMIT AND CHAIN;\n{LOCK}\nDELETE FROM b;\nCOMMIT;", [5]),
        (f"{LOCK}\n-- db_setup-ignore slow_after_lock\nDELETE FROM b;", []),
        (f"{LOCK}\n-- db_setup-ignore slow_after_lock: few rows\n-- and no more\n  DELETE FROM b;\nDELETE FROM c;", [5]),
        (f"{LOCK}\n-- db_setup-ignore slow_after_lock\n\nDELETE FROM b;", [4]),
        (f"{LOCK}\n-- db_setup-ignore other\nDELETE FROM b;", [3]),
    ],
)
def test_transactions_of_a_file(found: Found, text: str, lines: list[int]) -> None:
    """Each transaction counts by itself, steps outside of them not at all, nor a statement below a comment that says so."""
    assert [item.line for item in found(text)] == lines


def test_large_file(found: Found) -> None:
    """A file that is not kept in memory is read like any other."""
    text = f"{LOCK}\n{'SELECT 1;' * 20_000}\nDELETE FROM b;\n-- db_setup-ignore slow_after_lock\nDELETE FROM c;\n"
    assert [(item.line, "so may" in item.message) for item in found(text)] == [(3, False)]


def test_files_that_would_run(folder: Folder) -> None:
    """Where files may be old, and those are to be left alone, nothing is found in them."""
    folder.write("001_a.sql", f"{LOCK}\nDELETE FROM b;")
    assert [item.rule for item in find(folder, only_new=True) if item.rule == RULE] == []
