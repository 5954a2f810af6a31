"""LOCK_REPORT=true: a real run reports what its statements locked, as a rehearsal does, and stores it in its row."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest
from migrator.database.connection import connect
from migrator.database.credentials import from_url
from migrator.database.deadline import Deadline
from migrator.errors import MigrationFailed
from migrator.history import History
from migrator.rehearsal import LockReport
from migrator.sql.statements import split

from tests.plugins.databases import Database, Dump, MakeDatabase
from tests.plugins.folders import Folder
from tests.plugins.runs import Cli, Invoke, Outside
from tests.plugins.waiting import concurrently, wait_until_given_way
from tests.rehearsal.test_rehearse_locks import found

TABLES = "CREATE TABLE a (i int, n int); INSERT INTO a SELECT g, g FROM generate_series(1, 100) g; CREATE TABLE b (i int); ANALYZE"
COLUMN = "SELECT count(*) FROM pg_attribute WHERE attrelid = 'db_setup.runs'::regclass AND attname = 'lock_report' AND NOT attisdropped"


def seen(entries: list[dict[str, Any]]) -> list[tuple[object, ...]]:
    """Return what entries say, without what differs from one time to the next."""
    return [(e["migration"], e["line"], e["column"], e["statement"], e["risk"], found(e), e["outcome"]) for e in entries]


def stored(database: Database) -> Any:
    """Return the report in the row of the last run."""
    return database.query("SELECT lock_report FROM db_setup.runs ORDER BY id DESC LIMIT 1")[0][0]


def test_same_as_a_rehearsal(invoke: Invoke, folder: Folder, database: Database, outside: Outside) -> None:
    """The answer has what the rehearsal of the same files has, and the row of the run stores it."""
    outside(TABLES)
    folder.write("001_a.sql", "ALTER TABLE a ALTER n TYPE bigint;\nSAVEPOINT s;\nCREATE INDEX b_i ON b (i);\nROLLBACK TO s;\n")
    folder.write("002_b.sql", "SET search_path = '';\nCOPY public.b FROM stdin;\n1\n\\.\nSELECT count(*) FROM public.b;\n")
    rehearsed = invoke({"action": "rehearse"})
    body = invoke(LOCK_REPORT="true")
    assert body["applied_migrations"] == ["001_a.sql", "002_b.sql"]
    assert seen(body["lock_report"]) == seen(rehearsed["rehearsal"])
    assert body["lock_report"][0]["risk"] == "rewrites"
    assert stored(database) == {"lock_report": body["lock_report"], "statements_left_out": 0}


def test_each_file_is_a_transaction_of_its_own(invoke: Invoke, folder: Folder, database: Database, outside: Outside) -> None:
    """A lock that a file takes again is reported again, and what it has read is not attributed to the next one."""
    outside(TABLES)
    folder.write("001_a.sql", "SELECT count(*) FROM a;\nALTER TABLE a ADD j int;")
    folder.write("002_b.sql", "ALTER TABLE a ADD k int;\nSELECT pg_sleep(1.1);")  # so the server counts anew
    folder.write("003_c.sql", "VACUUM a;")
    folder.write("004_d.sql", "ALTER TABLE a ADD CHECK (i > 0);")
    entries = invoke(LOCK_REPORT="true")["lock_report"]
    assert [(entry["migration"], found(entry)) for entry in entries] == [
        ("001_a.sql", {"a": "AccessShare scanned"}), ("001_a.sql", {"a": "AccessExclusive"}),
        ("002_b.sql", {"a": "AccessExclusive"}), ("002_b.sql", {}), ("004_d.sql", {"a": "AccessExclusive scanned"}),
    ]  # fmt: skip


def test_history_of_an_earlier_version(invoke: Invoke, folder: Folder, database: Database) -> None:
    """The column is added by the next run that writes, and by none with nothing to do."""
    folder.write("001_a.sql", "SELECT 1;")
    invoke()
    database.execute("ALTER TABLE db_setup.runs DROP COLUMN lock_report")
    invoke(LOCK_REPORT="true")
    assert database.query(COLUMN) == [(0,)]
    folder.write("002_b.sql", "SELECT 2;")
    assert len(invoke(LOCK_REPORT="true")["lock_report"]) == 1
    assert database.query(COLUMN) == [(1,)]
    assert stored(database)["lock_report"][0]["migration"] == "002_b.sql"


def test_without_it(invoke: Invoke, folder: Folder, database: Database) -> None:
    """Without the variable there is no report, in the answer or in the row."""
    folder.write("001_a.sql", "SELECT 1;")
    assert "lock_report" not in invoke()
    assert stored(database) is None


def test_failed_run_keeps_what_was_committed(invoke: Invoke, folder: Folder, database: Database) -> None:
    """The row of a failed run has the report of the files before; the error is that of a run without a report."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("002_b.sql", "ALTER TABLE a ADD j int;\nSELECT 1;\n  SELECT 1 / (SELECT 0);")
    with pytest.raises(MigrationFailed, match=r"002_b\.sql:3:3  division by zero"):
        invoke(LOCK_REPORT="true")
    assert [entry["migration"] for entry in stored(database)["lock_report"]] == ["001_a.sql"]


def test_retried_file_is_reported_once(invoke: Invoke, folder: Folder, database: Database, outside: Outside) -> None:
    """A file that met a lock and was tried again is in the report once."""
    outside(TABLES)
    folder.write("001_a.sql", "SELECT 1;\nALTER TABLE a ADD j int;")
    with closing(database.connect()) as holder, holder.cursor() as cursor:
        cursor.execute("BEGIN; SELECT * FROM a")

        def leave() -> None:
            wait_until_given_way(database)
            cursor.execute("COMMIT")

        with concurrently(leave):
            body = invoke(LOCK_REPORT="true", LOCK_TIMEOUT="200ms")
    assert [entry["line"] for entry in body["lock_report"]] == [1, 2]


def test_run_that_lost_its_connection(database: Database) -> None:
    """The answer has what each connection of the run has seen of whole files, the row what the last one has."""
    report = LockReport()
    with closing(connect(from_url(database.url), 1.0, Deadline(None))) as connection:
        History(connection).create()
        run_id = History(connection).begin_run("migrate", "x")
        for name in ("001_a.sql", "002_b.sql"):
            trace = report.trace(connection)
            connection.run("BEGIN")
            trace.begin_file(name)
            trace.run(connection, next(split("SELECT 1;")))
            trace.end_file()
            trace.begin_file("003_unfinished.sql")
            trace.run(connection, next(split("SELECT 2;")))
            connection.rollback()
        report.record(connection, run_id)
    assert [entry["migration"] for entry in report.details()["lock_report"]] == ["001_a.sql", "002_b.sql"]
    assert [entry["migration"] for entry in stored(database)["lock_report"]] == ["002_b.sql"]


def test_large_file(invoke: Invoke, folder: Folder, make_database: MakeDatabase, pg_dump: Dump) -> None:
    """A file of many batches ends as without a report; the report stays small and counts all statements."""
    rows = "".join(f"INSERT INTO c VALUES ({i}, '{'x' * 900}');\n" for i in range(700))
    folder.write("001_c.sql", f"CREATE TABLE c (i int, s text);\n{rows}SAVEPOINT s;\n{rows}ROLLBACK TO s;\n")
    dumps = []
    for report in ("true", "false"):
        target = make_database()
        body = invoke(DATABASE_URL=target.url, LOCK_REPORT=report)
        dumps.append(pg_dump(target, "--exclude-schema=db_setup", "--inserts"))
        if report == "true":
            assert (len(body["lock_report"]), body["statements_left_out"]) == (200, 1403 - 200)
    assert dumps[0] == dumps[1]


def test_on_a_terminal(cli: Cli, folder: Folder, database: Database, outside: Outside) -> None:
    """The report stands below the migrations."""
    outside(TABLES)
    folder.write("001_a.sql", "ALTER TABLE b ADD j int;")
    lines = cli("migrate", LOCK_REPORT="true").out.splitlines()
    assert lines[1].startswith("  001_a.sql:1:1  blocks reads  ALTER TABLE b ADD j int;")
    assert lines[2:] == ["      public.b: AccessExclusiveLock", "Applied 1 migration to reach 001.", "State: up_to_date, at 001."]
