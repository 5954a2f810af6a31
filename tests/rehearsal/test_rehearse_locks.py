"""What a rehearsal says of each kind of statement: lock, risk, rewrite, scan."""

from __future__ import annotations

from typing import Any, NamedTuple

from tests.plugins.databases import Database, Dump
from tests.plugins.folders import Folder
from tests.plugins.runs import Invoke, Outside

SCHEMA = """
CREATE TABLE a (id int PRIMARY KEY, v varchar(10), n int, t timestamp, k int NOT NULL DEFAULT 1, w varchar(10));
INSERT INTO a SELECT g, 'x', g, now() FROM generate_series(1, 200) g;
CREATE INDEX a_v ON a (v);
CREATE INDEX a_w ON a (w);
CREATE TABLE b (id int PRIMARY KEY, aid int REFERENCES a (id));
INSERT INTO b SELECT g, g FROM generate_series(1, 50) g;
CREATE TABLE p (i int) PARTITION BY RANGE (i);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
CREATE TABLE loose (i int);
CREATE SEQUENCE sq;
CREATE VIEW vw AS SELECT id FROM a;
CREATE MATERIALIZED VIEW mv AS SELECT count(*) AS c FROM a;
CREATE UNIQUE INDEX mv_c ON mv (c);
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE FUNCTION hidden() RETURNS void LANGUAGE plpgsql AS $$ BEGIN ALTER TABLE loose ADD COLUMN h int; END $$;
ALTER TABLE a ADD CONSTRAINT later CHECK (n > 0) NOT VALID;
ALTER TABLE a ADD CONSTRAINT proven CHECK (v IS NOT NULL);
ANALYZE;
"""


class Case(NamedTuple):
    """A statement, its risk, and for each table its lock and what else was done to it."""

    sql: str
    risk: str | None
    tables: dict[str, str]


AE, E, SRE, S, SUE = "AccessExclusive", "Exclusive", "ShareRowExclusive", "Share", "ShareUpdateExclusive"
RE, RS, AS = "RowExclusive", "RowShare", "AccessShare"
DETACH = "ALTER TABLE p DETACH PARTITION p1"

CASES = (
    Case("ALTER TABLE a ADD COLUMN c int", "blocks reads", {"a": AE}),
    Case("ALTER TABLE a ADD COLUMN c int NOT NULL DEFAULT 5", "blocks reads", {"a": AE}),
    Case("ALTER TABLE a ADD COLUMN c float8 DEFAULT random()", "rewrites", {"a": f"{AE} rewritten scanned"}),
    Case("ALTER TABLE a ADD COLUMN c int GENERATED ALWAYS AS (n * 2) STORED", "rewrites", {"a": f"{AE} rewritten scanned"}),
    Case("ALTER TABLE a ALTER n TYPE bigint", "rewrites", {"a": f"{AE} rewritten scanned"}),
    Case("ALTER TABLE a ALTER w TYPE varchar(200)", "blocks reads", {"a": AE}),
    Case("ALTER TABLE a ALTER w TYPE text", "blocks reads", {"a": AE}),
    Case("ALTER TABLE a ALTER v TYPE text", "blocks reads", {"a": f"{AE} scanned"}),  # its CHECK is proven again
    Case("ALTER TABLE a ALTER w TYPE varchar(5)", "rewrites", {"a": f"{AE} rewritten scanned"}),
    Case("ALTER TABLE a ALTER n SET NOT NULL", "blocks reads", {"a": f"{AE} scanned"}),
    Case("ALTER TABLE a ALTER v SET NOT NULL", "blocks reads", {"a": AE}),  # a constraint proves it
    Case("ALTER TABLE a ALTER n SET DEFAULT 1", "blocks reads", {"a": AE}),
    Case("ALTER TABLE a ADD CONSTRAINT c CHECK (n > 0)", "blocks reads", {"a": f"{AE} scanned"}),
    Case("ALTER TABLE a ADD CONSTRAINT c CHECK (n > 0) NOT VALID", "blocks reads", {"a": AE}),
    Case("ALTER TABLE a VALIDATE CONSTRAINT later", "scans", {"a": f"{SUE} scanned"}),
    Case("ALTER TABLE a ADD CONSTRAINT u UNIQUE (n)", "blocks reads", {"a": f"{AE} scanned"}),
    Case("ALTER TABLE a DROP COLUMN n", "blocks reads", {"a": AE}),
    Case("ALTER TABLE a RENAME COLUMN n TO m", "blocks reads", {"a": AE}),
    Case("ALTER TABLE a RENAME TO z", "blocks reads", {"a": AE}),
    Case("ALTER TABLE a SET (fillfactor = 50)", None, {"a": SUE}),
    Case("ALTER TABLE loose SET UNLOGGED", "rewrites", {"loose": f"{AE} rewritten scanned"}),
    Case("ALTER TABLE a ALTER n SET STATISTICS 100", None, {"a": SUE}),
    Case("ALTER TABLE p ATTACH PARTITION loose FOR VALUES FROM (20) TO (30)", "blocks reads", {"p": SUE, "loose": f"{AE} scanned"}),
    Case(DETACH, "blocks reads", {"p": AE, "p1": AE}),
    Case("CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20)", "blocks reads", {"p": AE}),
    Case("CREATE INDEX a_n ON a (n)", "blocks writes", {"a": f"{S} scanned"}),
    Case("DROP INDEX a_v", "blocks reads", {"a": AE}),
    Case("REINDEX TABLE a", "blocks reads", {"a": f"{AE} scanned"}),
    Case("CLUSTER a USING a_pkey", "rewrites", {"a": f"{AE} rewritten scanned"}),
    Case("TRUNCATE b", "blocks reads", {"b": AE}),
    Case("DROP TABLE b", "blocks reads", {"a": AE, "b": AE}),
    Case("CREATE TRIGGER tg BEFORE INSERT ON a FOR EACH ROW EXECUTE FUNCTION touch()", "blocks writes", {"a": SRE}),
    Case("ALTER TABLE a ENABLE ROW LEVEL SECURITY", "blocks reads", {"a": AE}),
    Case("CREATE POLICY po ON a USING (true)", "blocks reads", {"a": AE}),
    Case("CREATE STATISTICS st ON n, k FROM a", None, {"a": SUE}),
    Case("COMMENT ON TABLE a IS 'x'", None, {"a": SUE}),
    Case("ANALYZE b", None, {"b": SUE}),
    Case("LOCK TABLE a IN EXCLUSIVE MODE", "blocks writes", {"a": E}),
    Case("CREATE OR REPLACE VIEW vw AS SELECT id, n FROM a", "blocks reads", {"a": AS, "vw": AE}),
    Case("REFRESH MATERIALIZED VIEW mv", "rewrites", {"mv": f"{AE} rewritten scanned", "a": f"{AS} scanned"}),
    Case("REFRESH MATERIALIZED VIEW CONCURRENTLY mv", "blocks writes", {"mv": f"{E} scanned", "a": f"{AS} scanned"}),
    Case("CREATE TABLE nw AS SELECT * FROM a", "scans", {"a": f"{AS} scanned"}),
    Case("CREATE TABLE nw (i int REFERENCES a (id))", "blocks writes", {"a": SRE}),
    Case("CREATE TABLE nw (i int)", None, {}),
    Case("INSERT INTO loose VALUES (1)", None, {"loose": RE}),
    Case("UPDATE loose SET i = i + 1", "scans", {"loose": f"{RE} scanned"}),
    Case("SELECT nextval('sq')", None, {"sq": RE}),
    Case("ALTER SEQUENCE sq RESTART WITH 7", "blocks writes", {"sq": SRE}),
    Case("DO $$ BEGIN EXECUTE 'ALTER TABLE loose ADD COLUMN d float8 DEFAULT random()'; END $$", "rewrites", {"loose": f"{AE} rewritten scanned"}),
    Case("SELECT hidden()", "blocks reads", {"loose": AE}),
)  # fmt: skip


def found(entry: dict[str, Any]) -> dict[str, str]:
    """Return the tables of an entry in the short form of the cases."""
    return {
        table["table"].removeprefix("public."): " ".join(
            ([table["lock"].removesuffix("Lock")] if table["lock"] else [])
            + ["rewritten"] * table["rewritten"] + ["scanned"] * table["scanned"]
        )
        for table in entry["tables"]
    }  # fmt: skip


def test_statements(
    invoke: Invoke, folder: Folder, database: Database, outside: Outside, pg_dump: Dump
) -> None:  # fmt: skip
    """The strongest lock on each table that was there before, what was rewritten or read whole; and nothing stays."""
    outside(SCHEMA)
    before = pg_dump(database)
    wrong = {}
    weaker = {DETACH: {"p": AE, "p1": SUE}} if database.major() < 14 else {}
    for case in CASES:
        folder.write("001_a.sql", f"{case.sql};\n")
        (entry,) = invoke({"action": "rehearse"})["rehearsal"]
        assert (entry["migration"], entry["line"], entry["column"], entry["outcome"]) == ("001_a.sql", 1, 1, "done")
        if (entry["risk"], found(entry)) != (case.risk, weaker.get(case.sql, case.tables)):
            wrong[case.sql] = (entry["risk"], found(entry))
    assert wrong == {}
    moved = "SELECT pg_catalog.setval('public.sq', 1, true);"
    assert pg_dump(database).replace(moved, moved.replace("true", "false")) == before
