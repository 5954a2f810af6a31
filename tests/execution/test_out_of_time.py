"""A statement that is longer than the run's time: which it was, how long it ran, what begins anew, what gives more time."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest
from migrator.database import Deadline
from migrator.errors import DeadlineReached
from migrator.formatting import mask_values

from tests.plugins.databases import Database
from tests.plugins.folders import Folder
from tests.plugins.runs import Invoke, LambdaContext, Outside

LONG = "SELECT pg_sleep(60)"
TIME = {"MIGRATION_TIMEOUT": "4"}


def out_of_time(invoke: Invoke, event: dict[str, Any] | None = None, **environ: str) -> DeadlineReached:
    """Return the error of a run whose time is over."""
    with pytest.raises(DeadlineReached) as caught:
        invoke(event or {}, **{**TIME, **environ})
    return caught.value


def test_runs_that_end_in_one_statement(invoke: Invoke, folder: Folder, database: Database) -> None:
    """The second run in a file says which statement it is, the third how many have ended there; none says it carries on."""
    folder.write("001_x.sql", f"CREATE TABLE a (i int);\nINSERT INTO a SELECT 5 FROM ({LONG}, 'secret') s;")
    first, second, third = (out_of_time(invoke, MIGRATION_TIMEOUT="8") for _ in range(3))
    assert first.cause.startswith("001_x.sql:1:1  the time for this run is over; one of these 2 statements, to line 2, was")
    for error, runs in ((second, 1), (third, 2)):
        assert error.cause.startswith("001_x.sql:2:1  the time for this run is over; this statement was at work for ")
        body = error.body()
        found = body["at_work"]
        assert {**found, "duration_ms": 0} == {
            "file": "001_x.sql", "line": 2, "last_line": 2, "statements": 1, "duration_ms": 0, "runs": runs,
        }  # fmt: skip
        assert 5000 < found["duration_ms"] < 8500
        assert (body["file"], body["line"], body["column"]) == ("001_x.sql", 2, 1)
        assert "secret" not in str(body)
        assert "carries on" not in str(error)
        assert error.fix == (
            "001_x.sql begins anew in each run, and 8 s were not enough: MIGRATION_TIMEOUT gives a run more time; or split "
            "the file: what is applied stays applied"
        )
    assert "the last 2 runs have all ended here" in third.what
    assert "the last" not in second.what
    folder.write("001_x.sql", "CREATE TABLE a (i int);\nSELECT pg_sleep(61);")
    assert "the last" not in out_of_time(invoke).what
    messages = [message for (message,) in database.query("SELECT message FROM db_setup.runs")]
    assert "secret" not in "".join(messages)


def test_step(invoke: Invoke, folder: Folder) -> None:
    """Of a stepwise file the steps that are kept are named, and the one that begins anew."""
    folder.write("001_x.sql", f"CREATE TABLE a (i int);\nVACUUM a;\n{LONG};")
    error = out_of_time(invoke)
    assert error.cause.startswith("001_x.sql:3:1  the time for this run is over; this statement was at work for ")
    assert "2 steps of 001_x.sql, recorded; a re-run goes on at line 3" in error.applied
    assert "the step at work begins anew" in error.fix


def test_index_build(invoke: Invoke, folder: Folder, database: Database, outside: Outside) -> None:
    """An index that is built concurrently, and waits, is named."""
    outside("CREATE TABLE a (i int)")
    folder.write("001_x.sql", "CREATE INDEX CONCURRENTLY ON a (i);")
    with closing(database.connect()) as other, other.cursor() as cursor:
        cursor.execute("BEGIN; INSERT INTO a VALUES (1)")
        error = out_of_time(invoke)
    assert error.cause.startswith("001_x.sql:1:1  the time for this run is over; this statement was at work for ")


def test_copy(invoke: Invoke, folder: Folder) -> None:
    """Of a COPY its own line is shown, and no row."""
    slow = "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$"
    trigger = "CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW EXECUTE FUNCTION f()"
    folder.write("001_x.sql", f"CREATE TABLE a (s text);\n{slow};\n{trigger};\nCOPY a FROM STDIN;\nsecret\n\\.\n")
    error = out_of_time(invoke)
    assert error.cause.startswith("001_x.sql:4:1  the time for this run is over; this statement was at work for ")
    assert "secret" not in str(error)


def test_check(invoke: Invoke, folder: Folder) -> None:
    """A query of a check is named in the file of the check."""
    folder.write("001_x.sql", "CREATE TABLE a (i int);")
    folder.write("001_x.check.sql", "SELECT true;\nSELECT pg_sleep(60) IS NULL;")
    error = out_of_time(invoke)
    assert error.cause.startswith("001_x.check.sql:2:1  the time for this run is over; this statement was at work for ")
    assert error.body()["failed_migration"] == "001_x.sql"


def test_down_migration(invoke: Invoke, folder: Folder) -> None:
    """A rollback names the statement of the down migration."""
    folder.write("001_x.sql", "CREATE TABLE a (i int);")
    folder.write("001_x.down.sql", f"DROP TABLE a;\n{LONG};")
    invoke()
    error = out_of_time(invoke, {"action": "rollback", "confirm": True})
    assert error.cause.startswith("001_x.down.sql:1:1  the time for this run is over; one of these 2 statements, to line 2")


def test_function_is_told_of_its_own_timeout(invoke: Invoke, folder: Folder) -> None:
    """Where Lambda bounds the run, the advice is about the function, and where there is more time than it can have."""
    folder.write("001_x.sql", f"{LONG};")
    with pytest.raises(DeadlineReached) as caught:
        invoke(context=LambdaContext(remaining_ms=2500))
    assert "give the function a longer timeout (at most 780 s), or run from a machine that reaches" in caught.value.fix


def test_deadline_knows_what_bounds_it() -> None:
    """MIGRATION_TIMEOUT bounds a run in a function where it is the shorter one."""
    assert Deadline.of_run(5.0, 100.0).of_function is False
    assert Deadline.of_run(None, 100.0).of_function is True
    assert Deadline.of_run(500.0, 100.0).of_function is True
    assert Deadline.of_run(None, None).limit is None


MASKED = {
    "INSERT INTO t1 VALUES (12, 'a''b c', -3.5e2);": "INSERT INTO t1 VALUES (**, '*''* *', -*****);",
    "SELECT 'never closed": "SELECT '***** ******",
    'UPDATE "t2" SET a1 = $1, b = E\'x\'': 'UPDATE "t2" SET a1 = $1, b = E\'*\'',
    "SELECT $$a b$$, $q$c$q$ FROM t": "SELECT $$* *$$, $*$*$*$ FROM t",
    "ALTER ROLE r PASSWORD 'x'": "ALTER ROLE r PASSWORD ***",
}


@pytest.mark.parametrize(("text", "masked"), MASKED.items())
def test_values_are_masked(text: str, masked: str) -> None:
    """Strings and numbers are asterisks, names and the place of each character stay."""
    assert mask_values(text) == masked
    assert len(masked) == len(text)
