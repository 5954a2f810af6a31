"""What the steps of a file have left in the session is met by the rest of it, in whatever run that comes; none runs twice."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing

import pytest
from migrator.cli.local_server import LocalServer
from migrator.database.connection import connect
from migrator.database.credentials import from_url
from migrator.database.deadline import Deadline
from migrator.errors import LostSession, MigrationFailed, RunLockLost, ServerError, StepUndecided
from migrator.execution.session import own_parameters
from migrator.history import AppliedMigration, ApplyRecord, History, Record, RunLock

from tests.plugins.crashes import Runs
from tests.plugins.databases import Database, Dump, MakeDatabase
from tests.plugins.folders import Folder
from tests.plugins.runs import Invoke, Outside
from tests.plugins.waiting import concurrently, is_blocked, wait_until, wait_until_given_way

SHOWN = (
    "INSERT INTO public.seen SELECT current_setting('search_path') || ' ' || current_user || ' ' || current_setting('work_mem') "
    "|| ' ' || coalesce(current_setting('my.id', true), '-')"
)
SCHEMA = (
    "CREATE SCHEMA s2; CREATE TABLE log (id serial, t text); CREATE TABLE a (i int); CREATE TABLE hot (i int); "
    "CREATE TABLE seen (what text); CREATE ROLE {role}; GRANT ALL ON SCHEMA public, s2 TO {role}; "
    "GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}; "
    "CREATE FUNCTION sets(text) RETURNS text LANGUAGE sql AS $$ SELECT set_config('my.id', $1, false) $$"
)
WITHOUT_FUNCTIONS = SCHEMA.partition("CREATE FUNCTION")[0]
STEPS = {
    "query": "WITH n AS (INSERT INTO log (t) VALUES ('once') RETURNING id) SELECT set_config('my.id', id::text, false) FROM n",
    "set": "SET search_path = s2, public; SET my.id = 'it''s'; SET \"MY\".Other TO 1",
    "rollback": "BEGIN; SET search_path = s2, public; ROLLBACK",
    "rollback to": "BEGIN; SAVEPOINT a; SET search_path = s2, public; ROLLBACK TO a; SET work_mem = '9MB'; COMMIT",
    "local": "BEGIN; SET LOCAL search_path = s2, public; SET work_mem = '9MB'; SET LOCAL work_mem = '10MB'; COMMIT",
    "local query": "SELECT set_config('search_path', 's2, public', true)",
    "discard": "SET search_path = s2, public; DISCARD ALL",
    "reset": "SET search_path = s2, public; RESET ALL",
    "do": "DO $$ BEGIN INSERT INTO log (t) VALUES ('do'); PERFORM set_config('search_path', 's2, public', false); END $$",
    "local in do": "DO $$ BEGIN PERFORM set_config('search_path', 's2, public', true); PERFORM set_config('my.id', 'x', false); END $$",
    "function": "SELECT sets('by a function')",
    "role": "SET ROLE {role}",
    "role and back": "SET ROLE {role}; RESET ROLE",
    "authorization": "SET SESSION AUTHORIZATION {role}",
    "prepared": "SET search_path = s2, public; PREPARE p (text) AS INSERT INTO seen VALUES ($1 || 'prepared'); EXECUTE p ('first ')",
}
REST = "VACUUM a; INSERT INTO public.hot VALUES (1); INSERT INTO public.log (t) VALUES ('rest'); CREATE TABLE y (i int);" + SHOWN
OPTIONS = ("--exclude-schema=db_setup", "--inserts", "--no-owner")


@pytest.fixture
def role(server: LocalServer) -> Iterator[str]:
    """Return the name of a role that goes after the databases of the test."""
    name = f"test_role_{os.environ.get('PYTEST_XDIST_WORKER', '')}"
    yield name
    Database(server, "postgres").execute(f"DROP ROLE IF EXISTS {name}")


def end(steps: str) -> str:
    """Return a whole file."""
    executes = "; EXECUTE p ('again ')" if "PREPARE p" in steps else ""
    return f"{steps}; {REST}{executes};"


@pytest.mark.parametrize("steps", STEPS.values(), ids=list(STEPS))
def test_session_is_what_an_undisturbed_run_has(
    role: str, make_database: MakeDatabase, invoke: Invoke, folder: Folder, pg_dump: Dump, outside: Outside, steps: str
) -> None:
    """A step that met a lock, or failed, is tried again by this run or the next one: nothing done is done again, or forgotten."""
    clean = make_database()
    outside(SCHEMA.format(role=role), clean)
    waited, resumed = make_database(f"TEMPLATE {clean.name}"), make_database(f"TEMPLATE {clean.name}")
    folder.write("001_x.sql", end(steps.format(role=role)))
    invoke(DATABASE_URL=clean.url)
    wanted = pg_dump(clean, *OPTIONS)

    with closing(waited.connect()) as other, other.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE hot")
        keeps_lock_timeout = "RESET ALL" not in steps and "DISCARD ALL" not in steps

        def leave() -> None:
            (wait_until_given_way if keeps_lock_timeout else lambda it: wait_until(lambda: is_blocked(it)))(waited)
            cursor.execute("COMMIT")

        with concurrently(leave):
            invoke(DATABASE_URL=waited.url, LOCK_TIMEOUT="50ms", MIGRATION_TIMEOUT="20")
    assert pg_dump(waited, *OPTIONS) == wanted

    resumed.execute("ALTER TABLE hot RENAME TO cold")
    with pytest.raises(MigrationFailed):
        invoke(DATABASE_URL=resumed.url)
    resumed.execute("ALTER TABLE cold RENAME TO hot")
    invoke(DATABASE_URL=resumed.url)
    assert pg_dump(resumed, *OPTIONS) == wanted
    assert resumed.query("SELECT step_session FROM db_setup.history") == [(None,)]


KILLED = (
    "WITH n AS (INSERT INTO log (t) VALUES ('once') RETURNING id) SELECT set_config('my.id', id::text, false) FROM n;\n"
    "SELECT sets('x' || current_setting('my.id'));\nBEGIN; SET search_path = s2, public; SET LOCAL work_mem = '9MB'; COMMIT;\n"
    f"VACUUM public.a;\nCREATE TABLE y (i int);\n{SHOWN};\nBEGIN; SET my.id = 'no'; ROLLBACK;\nVACUUM public.a;\n{SHOWN};\n"
    "RESET search_path;\nCREATE INDEX CONCURRENTLY ON public.log (t);\nCREATE TABLE z (i int);\n"
)


KILLED_PLAIN = (
    f"SET search_path = s2, public;\n{SHOWN};\nVACUUM public.a;\nRESET search_path;\nSET work_mem = '9MB';\n"
    f"CREATE TEMP TABLE of_this_session (i int);\nSET ROLE {{role}};\n{SHOWN};\nRESET ROLE;\nCREATE TABLE y (i int);\n"
)


@pytest.mark.parametrize(("text", "before"), [(KILLED, True), (KILLED, False), (KILLED_PLAIN, True), (KILLED_PLAIN, False)])
def test_killed_runs_meet_the_session_again(
    role: str, make_database: MakeDatabase, folder: Folder, runs: Runs, pg_dump: Dump, outside: Outside, text: str,
    before: bool,
) -> None:  # fmt: skip
    """Killed before or after anything it asks, a file ends as one that was not, and nobody is asked anything."""
    template = make_database()
    outside((SCHEMA if text == KILLED else WITHOUT_FUNCTIONS).format(role=role), template)
    folder.write("001_x.sql", text.format(role=role))
    wanted = ""
    for point in (0, *range(8 + before, 90, 2)):
        target = make_database(f"TEMPLATE {template.name}")
        environ = {"DATABASE_URL": target.url, "MIGRATIONS_DIR": str(folder.path)}
        killed = runs.run(environ, point=point, before=before).killed
        again = runs.run(environ)
        assert not again.error, (point, again)
        wanted = wanted or pg_dump(target, *OPTIONS)
        assert pg_dump(target, *OPTIONS) == wanted, point
        if point and not killed:
            break
    else:
        pytest.fail("the run asks for more than was tried")


def test_temporary_tables_end_with_their_session(invoke: Invoke, folder: Folder, database: Database, outside: Outside) -> None:
    """A file that needs a temporary table of a run that failed is refused where it does, and goes on once it is made again."""
    text = "-- db_setup: not-resumable\nCREATE TEMP TABLE kept AS SELECT 7 AS i;\nVACUUM;\nSELECT broken;\nCREATE TABLE u AS SELECT i FROM kept;\n"
    folder.write("001_x.sql", text)
    outside("CREATE TABLE kept (i int); INSERT INTO kept VALUES (8)")
    with pytest.raises(MigrationFailed):
        invoke()
    folder.write("001_x.sql", text.replace("SELECT broken", "SELECT 1"))
    with pytest.raises(LostSession, match=r'001_x\.sql:5:33  "kept", made by the steps that are done') as caught:
        invoke()
    assert caught.value.code == "lost_session"
    again = "CREATE TEMP TABLE kept AS SELECT 9 AS i;\nCREATE TABLE u"
    folder.write("001_x.sql", text.replace("SELECT broken", "SELECT 1").replace("CREATE TABLE u", again))
    invoke()
    assert database.query("SELECT i FROM u") == [(9,)]


def test_temporary_tables_stay_while_a_step_waits(invoke: Invoke, folder: Folder, database: Database, outside: Outside) -> None:
    """A step that is tried again meets the temporary tables, prepared statements and sequences of its session."""
    outside("CREATE TABLE hot (i serial)")
    folder.write(
        "001_x.sql", "-- db_setup: not-resumable\nCREATE TEMP TABLE kept AS SELECT 7 AS i;\nSELECT nextval('hot_i_seq');\nVACUUM;\n"
        "BEGIN; PREPARE p AS INSERT INTO hot SELECT i + currval('hot_i_seq') FROM kept; EXECUTE p; LOCK TABLE hot; COMMIT;",
    )  # fmt: skip
    with closing(database.connect()) as other, other.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE hot IN ROW EXCLUSIVE MODE")

        def leave() -> None:
            wait_until_given_way(database)
            cursor.execute("COMMIT")

        with concurrently(leave):
            invoke(LOCK_TIMEOUT="50ms", MIGRATION_TIMEOUT="20")
    assert database.query("SELECT i FROM hot") == [(8,)]


@pytest.mark.parametrize("use", ["currval('t_id_seq')", "lastval()"])
@pytest.mark.parametrize("block", ["{}", "BEGIN; {} COMMIT;"], ids=["single", "block"])
def test_sequences_of_a_session_that_has_ended(
    invoke: Invoke, folder: Folder, database: Database, use: str, block: str
) -> None:
    """A step that asks what nextval() has returned in a run that failed is refused, says so, and can be written otherwise."""
    text = "-- db_setup: not-resumable\nCREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY (START 1000)); CREATE TABLE u (i bigint);\n"
    text += f"INSERT INTO t DEFAULT VALUES;\nVACUUM t;\n%s;\n{block.format('INSERT INTO u SELECT ' + use + ';')}"
    folder.write("001_x.sql", text % "SELECT broken")
    with pytest.raises(MigrationFailed):
        invoke()
    folder.write("001_x.sql", text % "SELECT 1")
    for _ in range(2):
        with pytest.raises(LostSession, match=r"001_x\.sql:6:\d+  .*not yet defined.* \(55000\): the steps that are done") as caught:
            invoke()
    assert "a re-run goes on at line 6\nFix: write the value in another way here" in str(caught.value)
    assert database.query("SELECT count(*) FROM u") == [(0,)]
    folder.write("001_x.sql", (text % "SELECT 1").replace(use, "max(id) FROM t"))
    assert invoke()["applied_migrations"] == ["001_x.sql"]
    assert database.query("SELECT i FROM u") == [(1000,)]


@pytest.mark.parametrize("before", ["", "-- db_setup: no-transaction\n"], ids=["transaction", "stepwise"])
def test_lastval_is_never_that_of_the_history(invoke: Invoke, folder: Folder, before: str) -> None:
    """What db_setup writes in the session of a file is no value of a sequence there: lastval() fails as it does in psql."""
    folder.write("001_x.sql", f"{before}CREATE TABLE u AS SELECT lastval();")
    with pytest.raises(MigrationFailed, match=r"lastval is not yet defined in this session \(55000\)"):
        invoke()


UNREAD = """
UPDATE db_setup.history SET step_session = jsonb_build_object('base', s -> 'base', 'before', s -> 'now',
    'inside', jsonb_set(s -> 'now', '{settings,my.id}', '"second"'))::text
FROM (SELECT step_session::jsonb AS s FROM db_setup.history) recorded
"""
"""What a server that ends right after the COMMIT of a step leaves: what that saw inside its transaction."""


def test_session_that_could_not_be_read(invoke: Invoke, folder: Folder, database: Database) -> None:
    """Where what a step left could not be read after its COMMIT, the step is not repeated, and a person is asked."""
    begin = (
        "CREATE TABLE log (t text); SET my.id = 'first';\n"
        "BEGIN; INSERT INTO log VALUES ('once'); SET LOCAL my.id = 'second'; COMMIT;\n"
    )
    folder.write("001_x.sql", f"{begin}SELECT 1 / 0;\nVACUUM;")
    with pytest.raises(MigrationFailed):
        invoke()
    database.execute(UNREAD)
    folder.write("001_x.sql", f"{begin}INSERT INTO log VALUES (current_setting('my.id'));\nVACUUM;")
    with pytest.raises(StepUndecided, match=r"001_x.sql:2:1  .*not known \(my.id\)"):
        invoke()
    problem, = invoke({"action": "status"})["problems"]
    assert "my.id" in problem
    assert "second" not in problem.partition(": ")[0]
    with pytest.raises(StepUndecided, match="cannot be repeated"):
        invoke({"action": "resolve", "step": "repeat", "confirm": True})
    invoke({"action": "resolve", "step": "done", "confirm": True})
    invoke()
    assert database.query("SELECT t FROM log") == [("once",), ("first",)]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("SET my.id = 1", {"my.id"}),
        ("set session My.Id to 1", {"my.id"}),
        ('SET LOCAL "my"."Id" TO 1', {"my.id"}),
        ("SELECT set_config('my.id', 'x', false), current_setting( 'other.id')", {"my.id", "other.id"}),
        ("DO 'BEGIN PERFORM set_config(''my.id'', ''x'', true); END'", {"my.id"}),
        ("SET search_path = a, b", set()),
        ("SELECT 1.5, a.b FROM a", set()),
        ("INSERT INTO t VALUES ('a.b')", set()),
        ("SELECT set_config(/* why */ 'my.id', 'x', false)", {"my.id"}),
    ],
)
def test_parameters_are_found_in_the_text(text: str, names: set[str]) -> None:
    """The names of users' own parameters, which the server does not list, are found where they are set or read."""
    assert own_parameters(text) == names


def test_steps_of_an_earlier_version(invoke: Invoke, folder: Folder, database: Database, outside: Outside) -> None:
    """Where an earlier version recorded no session, SET is made again, and nothing that may write is."""
    text = "CREATE SCHEMA s;\nSET search_path = s, public;\nSELECT nextval('public.n'), set_config('my.id', 'x', false);\nSELECT broken;"
    outside("CREATE SEQUENCE n")
    folder.write("001_x.sql", f"{text}\nVACUUM;")
    with pytest.raises(MigrationFailed):
        invoke()
    database.execute("UPDATE db_setup.history SET step_session = NULL")
    folder.write("001_x.sql", f"{text.replace('broken', '1')}\nVACUUM;\nCREATE TABLE made (i int);")
    invoke()
    assert database.query("SELECT to_regclass('s.made') IS NOT NULL, last_value FROM n") == [(True, 1)]


def test_history_that_is_locked(invoke: Invoke, folder: Folder, database: Database) -> None:
    """A resumed file that cannot write its row at once is tried again, and meets its session all the same."""
    folder.write("001_x.sql", "CREATE SCHEMA s;\nSET search_path = s;\nSELECT broken;")
    with pytest.raises(MigrationFailed):
        invoke()
    folder.write("001_x.sql", "CREATE SCHEMA s;\nSET search_path = s;\nCREATE TABLE made (i int);")
    with closing(database.connect()) as other, other.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE db_setup.history IN SHARE MODE")

        def leave() -> None:
            wait_until_given_way(database)
            cursor.execute("COMMIT")

        with concurrently(leave):
            invoke(LOCK_TIMEOUT="50ms", MIGRATION_TIMEOUT="20")
    assert database.query("SELECT to_regclass('s.made') IS NOT NULL") == [(True,)]


def test_row_that_is_gone(database: Database) -> None:
    """A file whose row somebody removes while it runs is not recorded as applied: its record fails, as the fence does."""
    with closing(connect(from_url(database.url), 1, Deadline(None))) as connection:
        RunLock(connection).acquire(Deadline(5), print)
        History(connection).create()
        record = ApplyRecord(AppliedMigration("001_a.sql", "001", "x", "applied"), "stepwise", 1, 1)
        record.open(connection)
        database.execute("DELETE FROM db_setup.history")
        with pytest.raises(ServerError) as caught:
            record.close(connection)
        assert Record.is_fence(caught.value)
        connection.rollback()
        with pytest.raises(RunLockLost):
            record.progress(connection)
