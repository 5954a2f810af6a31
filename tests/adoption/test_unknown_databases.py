"""Databases with something in them and no history: what status, plan, adopt and migrate answer, and what stays."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import pytest
from migrator.errors import DbSetupError, NotBuildable, NothingProven

from tests.plugins.databases import Database, MakeDatabase
from tests.plugins.folders import Folder
from tests.plugins.runs import Body, Cli, Invoke

ADOPT, CONFIRMED = {"action": "adopt"}, {"action": "adopt", "confirm": True}
UNKNOWN = "tables_without_migration_history"


class State(NamedTuple):
    """A folder and a database; the files that are proven, the code of a refusal, and what the answer mentions.

    ``way_out`` is the target of the baseline that goes on, where a refusal offers one, and ``then`` what migrate
    applies after it.
    """

    files: Mapping[str, str]
    database: str
    proven: tuple[str, ...] = ()
    refusal: str = ""
    mentions: str = ""
    way_out: str = ""
    then: tuple[str, ...] = ()


A, B, C = "CREATE TABLE a (i int);", "CREATE TABLE b (i int);", "CREATE TABLE c (i int);"
THREE = {"001_a.sql": A, "002_b.sql": B, "003_c.sql": C}
REMAKES = {"001_accounts.sql": "DROP TABLE IF EXISTS accounts; CREATE TABLE accounts (name {} PRIMARY KEY);"}
ACCOUNTS = {"001_accounts.sql": REMAKES["001_accounts.sql"].format("citext")}
BY_PSQL = "{}; CREATE TABLE {}accounts (name {} PRIMARY KEY); INSERT INTO {}accounts VALUES ('Ada')"
MADE = {"001_accounts.sql": "CREATE TABLE accounts (name text PRIMARY KEY);", "002_b.sql": B}
IN_PUBLIC = BY_PSQL.format("SELECT 1", "", "text", "") + ";"
PATH = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = {}', current_database()); END $$"
TAKEN_BACK = {"001_a.sql": A, "002_j.sql": "ALTER TABLE a ADD j int;", "003_k.sql": "UPDATE a SET i = j; ALTER TABLE a DROP j;"}
STATES = {
    "the first files": State(THREE, A + B, ("001_a.sql", "002_b.sql")),
    "all files": State(THREE, A + B + C, tuple(THREE)),
    "with another application's table": State(THREE, f"{A} CREATE TABLE other (i int);", ("001_a.sql",), mentions="table public.other"),
    "with another application's function": State(THREE, f"{A} CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';", ("001_a.sql",), mentions="function public.f"),
    "with another application's type": State(THREE, f"{A} CREATE TYPE mood AS ENUM ('ok');", ("001_a.sql",), mentions="type public.mood"),
    "with another application's everything": State(
        THREE,
        f"{A} CREATE TABLE other (i serial PRIMARY KEY, a int); CREATE VIEW v AS SELECT * FROM other; CREATE SEQUENCE s; COMMENT ON TABLE other IS 'x';"
        "CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 1'; COMMENT ON FUNCTION f(int) IS 'x'; GRANT SELECT ON other TO PUBLIC;"
        "GRANT USAGE ON SEQUENCE other_i_seq TO PUBLIC; CREATE TYPE mood AS ENUM ('ok'); COMMENT ON TYPE mood IS 'x'; REVOKE ALL ON FUNCTION f FROM PUBLIC",
        ("001_a.sql",), mentions="view public.v",
    ),
    "extension made outside": State(ACCOUNTS, BY_PSQL.format("CREATE EXTENSION citext", "", "citext", ""), ("001_accounts.sql",), mentions="000_extensions.sql"),
    "extension in a schema made outside": State(
        {"001_accounts.sql": REMAKES["001_accounts.sql"].format("ext.citext")},
        BY_PSQL.format("CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext", "", "ext.citext", ""), ("001_accounts.sql",), mentions='CREATE SCHEMA IF NOT EXISTS \\"ext\\"',
    ),
    "schema made outside": State(
        {"001_accounts.sql": "DROP TABLE IF EXISTS app.accounts; CREATE TABLE app.accounts (name text PRIMARY KEY);"},
        BY_PSQL.format("CREATE SCHEMA app; GRANT USAGE ON SCHEMA app TO PUBLIC; COMMENT ON SCHEMA app IS 'x'", "app.", "text", "app."), ("001_accounts.sql",), mentions="000_schema.sql",
    ),
    "search_path of the database": State(
        {"001_accounts.sql": REMAKES["001_accounts.sql"].format("text")},
        BY_PSQL.format("CREATE SCHEMA app; DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = app', current_database()); END $$", "app.", "text", "app."),
        ("001_accounts.sql",), mentions="000_schema.sql",
    ),
    "search_path of the database, with public behind": State(
        {"001_accounts.sql": REMAKES["001_accounts.sql"].format("text")},
        BY_PSQL.format("CREATE SCHEMA app; DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = app, public', current_database()); END $$", "app.", "text", "app."),
        ("001_accounts.sql",), mentions="000_schema.sql",
    ),
    "search_path of the user in the database": State(
        {"001_accounts.sql": REMAKES["001_accounts.sql"].format("text")},
        BY_PSQL.format("CREATE SCHEMA app; DO $$ BEGIN EXECUTE format('ALTER ROLE CURRENT_USER IN DATABASE %I SET search_path = app', current_database()); END $$", "app.", "text", "app."),
        ("001_accounts.sql",), mentions="000_schema.sql",
    ),
    "a first file with a SET only": State({"001_set.sql": "SET search_path = public;", "002_accounts.sql": REMAKES["001_accounts.sql"].format("text")}, BY_PSQL.format("SELECT 1", "", "text", ""), ("001_set.sql", "002_accounts.sql")),
    "a SET only, and other tables": State({"001_set.sql": "SET search_path = public;", "002_b.sql": B}, "CREATE TABLE other (i int)", mentions="table public.other"),
    "rows only at the end": State({"001_a.sql": A, "002_rows.sql": "INSERT INTO a VALUES (1);"}, A, ("001_a.sql", "002_rows.sql"), mentions="check whether the data is there"),
    "rows only in the middle": State(
        {"001_a.sql": A, "002_rows.sql": "INSERT INTO a VALUES (1);", "003_c.sql": C}, A,
        ("001_a.sql", "002_rows.sql"), "nothing_proven", "002_rows.sql leaves no object changed", "002_rows.sql", ("003_c.sql",),
    ),
    "changes that are taken back in the middle": State(
        {**TAKEN_BACK, "004_c.sql": C}, A, tuple(TAKEN_BACK), "nothing_proven", "002_j.sql, 003_k.sql together leave no object changed", "001_a.sql",
        ("002_j.sql", "003_k.sql", "004_c.sql"),
    ),
    "changes that are taken back at the end": State(TAKEN_BACK, A, tuple(TAKEN_BACK), mentions="check whether the data is there"),
    "search_path that was changed since": State(MADE, f"{IN_PUBLIC} CREATE SCHEMA app; {PATH.format('app, public')}", (), "nothing_proven", "table public.accounts", "none", tuple(MADE)),
    "search_path without public since": State(MADE, f"{IN_PUBLIC} CREATE SCHEMA app; {PATH.format('app')}", (), "nothing_proven", "table public.accounts", "none", tuple(MADE)),
    "search_path that was reset since": State(MADE, BY_PSQL.format("CREATE SCHEMA app", "app.", "text", "app."), (), "nothing_proven", "table app.accounts", "none", tuple(MADE)),
    "a namesake of another application": State(MADE, BY_PSQL.format("CREATE SCHEMA crm; CREATE TABLE crm.leads (i int)", "crm.", "text", "crm."), mentions="schema crm"),
    "an older extension": State({"001_x.sql": "CREATE EXTENSION pg_trgm; CREATE TABLE a (i int);"}, "CREATE EXTENSION pg_trgm VERSION '1.3'; CREATE TABLE a (i int)", ("001_x.sql",)),
    "extension that a later file asks for": State(
        {"001_a.sql": A, "002_x.sql": "CREATE EXTENSION IF NOT EXISTS citext; CREATE TABLE b (i citext);"}, f"CREATE EXTENSION citext; {A}", ("001_a.sql",),
    ),
    "members of extensions only": State(THREE, "CREATE EXTENSION citext"),
    "other tables only": State(THREE, "CREATE TABLE other (i int)", mentions="table public.other"),
    "later file not buildable": State(
        {**THREE, "004_x.sql": "UPDATE nowhere SET i = 1;", "005_e.sql": "CREATE TABLE e (i int);"}, A + B,
        ("001_a.sql", "002_b.sql"), "not_buildable", "001_a.sql to 002_b.sql are proven to be applied; 004_x.sql cannot be built", "004_x.sql", ("005_e.sql",),
    ),
    "nothing proven, not buildable": State({"001_x.sql": "DROP TABLE IF EXISTS a; SELECT nowhere();", "002_a.sql": A}, A, (), "not_buildable", "baseline --target none if it is not", "002_a.sql"),
    "needs another tool's table": State({"001_x.sql": "DELETE FROM schema_migrations; DROP TABLE IF EXISTS a; CREATE TABLE a (j int);"}, "CREATE TABLE a (i int)", (), "not_buildable", "", "001_x.sql"),
    "a table that differs": State(THREE, "CREATE TABLE a (i bigint)", (), "nothing_proven", "column public.a.i (differs)", "001_a.sql", ("002_b.sql", "003_c.sql")),
    "a table with another column": State(THREE, f"{A} {B} ALTER TABLE a ADD j int", (), "nothing_proven", "column public.a.j (only in the database)", "003_c.sql"),
    "a function of its own": State({"001_f.sql": "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';"}, "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 2'", (), "nothing_proven", "function public.f()", "001_f.sql"),
    "a type of its own": State({"001_t.sql": "DROP TYPE IF EXISTS t; CREATE TYPE t AS ENUM ('a');"}, "CREATE TYPE t AS ENUM ('b')", (), "nothing_proven", "enum public.t", "001_t.sql"),
    "a sequence of its own": State({"001_s.sql": "DROP SEQUENCE IF EXISTS s; CREATE SEQUENCE s START 7;"}, "CREATE SEQUENCE s START 1000", (), "nothing_proven", "sequence public.s", "001_s.sql"),
    "a schema of its own": State({"001_s.sql": "DROP SCHEMA IF EXISTS s CASCADE; CREATE SCHEMA s;"}, "CREATE SCHEMA s; CREATE TABLE s.kept (i int)", ("001_s.sql",), mentions="table s.kept"),
    "a table that a later file drops": State({"001_t.sql": "CREATE TABLE old (i int);", "002_d.sql": "DROP TABLE old; CREATE TABLE b (i int);"}, "CREATE TABLE old (i bigint)", (), "nothing_proven", "column public.old.i", "001_t.sql", ("002_d.sql",)),
}  # fmt: skip


@pytest.fixture(params=STATES)
def state(request: pytest.FixtureRequest, folder: Folder, database: Database) -> State:
    """Return a state, made."""
    found = STATES[request.param]
    for name, text in found.files.items():
        folder.write(name, text)
    database.execute(found.database)
    return found


def names(body: Body) -> tuple[str, ...]:
    """Return the names of what was, or would be, adopted."""
    return tuple(item["name"] for item in body["adopted_migrations"])


def catalog(database: Database) -> list[tuple[object, ...]]:
    """Return what there is, and when it was last written to."""
    return database.query("SELECT oid, xmin::text, relname FROM pg_class UNION ALL SELECT oid, xmin::text, nspname FROM pg_namespace ORDER BY 1, 2")


def but_the_run_lock(database: Database) -> list[tuple[object, ...]]:
    """Return the same without what a run that was refused may leave: the table that it has locked."""
    if database.query("SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace('db_setup') AND relkind = 'r'") != [("run_lock",)]:
        return catalog(database)
    of_lock = database.query(
        "SELECT to_regnamespace('db_setup')::oid UNION ALL SELECT unnest(ARRAY[c.oid, t.oid, i.indexrelid, x.indexrelid]) "
        "FROM pg_class c JOIN pg_class t ON t.oid = c.reltoastrelid JOIN pg_index i ON i.indrelid = c.oid "
        "JOIN pg_index x ON x.indrelid = t.oid WHERE c.oid = 'db_setup.run_lock'::regclass"
    )
    return [row for row in catalog(database) if (row[0],) not in of_lock]


def rows(database: Database) -> list[tuple[object, ...]]:
    """Return the rows that a customer has, wherever the state has them."""
    found = database.query("SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relname = 'accounts'")
    return [row for (schema,) in found for row in database.query(f"SELECT * FROM {schema}.accounts")]


@pytest.mark.parametrize("action", ["status", "plan"])
def test_reading_says_that_it_is_unknown(invoke: Invoke, database: Database, state: State, action: str) -> None:
    """Status and plan build nothing, write nothing, and say of no file that it would be applied."""
    before = catalog(database)
    body = invoke({"action": action})
    if body["state"] == UNKNOWN:
        assert "unknown until adopt" in body["message"]
        assert "would be applied" not in body["message"]
    else:
        assert STATES["members of extensions only"] == state
    assert catalog(database) == before


def test_adopt(invoke: Invoke, database: Database, cli: Cli, state: State) -> None:
    """Adopt shows what is proven and why the rest may not run, writes nothing, and is confirmed only where it proves."""
    before = catalog(database)
    body = invoke(ADOPT)
    assert (names(body), body["success"]) == (state.proven, not state.refusal)
    assert state.mentions in cli("adopt", "--json").out
    assert catalog(database) == before
    if state.refusal or not state.proven:
        with_nothing = not state.refusal and body["state"] != UNKNOWN
        assert cli("adopt", "--yes").status == (0 if with_nothing else 1)
        assert but_the_run_lock(database) == before
    else:
        invoke(CONFIRMED)
        assert database.query("SELECT array_agg(name ORDER BY position) FROM db_setup.history") == [(list(state.proven),)]


def test_migrate(invoke: Invoke, database: Database, state: State) -> None:
    """Migrate runs what is not there, or refuses, writes nothing then, and the way out that it names works."""
    before, kept = catalog(database), rows(database)
    if state.refusal:
        with pytest.raises(DbSetupError) as caught:
            invoke()
        assert caught.value.code == state.refusal
        assert state.mentions in str(caught.value)
        assert but_the_run_lock(database) == before
        invoke({"action": "baseline", "target_revision": state.way_out, "confirm": True})
        assert tuple(invoke()["applied_migrations"]) == state.then
    else:
        body = invoke()
        assert tuple(body["applied_migrations"]) == tuple(name for name in state.files if name not in state.proven)
        assert names(body) == state.proven if state.proven else "adopted_migrations" not in body
    assert rows(database) == kept
    assert invoke()["applied_migrations"] == []


def test_way_out_of_a_missing_extension(invoke: Invoke, folder: Folder, database: Database, make_database: MakeDatabase) -> None:
    """The file that the warning asks for is the way to a new database: it runs here too, and a new one is built."""
    folder.write("001_a.sql", ACCOUNTS["001_accounts.sql"])
    database.execute(STATES["extension made outside"].database)
    (warning,) = [text for text in invoke()["warnings"] if "000_extensions.sql" in text]
    folder.write("000_extensions.sql", warning.partition("add 000_extensions.sql: ")[2])
    assert invoke()["applied_migrations"] == ["000_extensions.sql"]
    assert invoke({"action": "verify"})["state"] == "up_to_date"
    assert invoke(DATABASE_URL=make_database().url)["applied_migrations"] == ["000_extensions.sql", "001_a.sql"]
    assert rows(database) == [("Ada",)]


def test_way_out_of_a_schema_of_the_path(invoke: Invoke, folder: Folder, database: Database, make_database: MakeDatabase) -> None:
    """The same for the schema that the settings of the database name first: it is applied after the files that need it."""
    state = STATES["search_path of the database, with public behind"]
    folder.write("001_accounts.sql", state.files["001_accounts.sql"])
    database.execute(state.database)
    (warning,) = [text for text in invoke()["warnings"] if "000_schema.sql" in text]
    folder.write("000_schema.sql", warning.partition("add 000_schema.sql: ")[2])
    assert invoke()["applied_migrations"] == ["000_schema.sql"]
    assert invoke({"action": "verify"})["state"] == "up_to_date"
    database.execute("ALTER TABLE app.accounts ADD COLUMN drift int")
    assert [item["kind"] for item in invoke({"action": "verify"})["differences"]] != []


def test_closest_is_before_what_leaves_no_trace(invoke: Invoke, folder: Folder, database: Database) -> None:
    """A file that makes the difference belongs before files of rows that may not have run; they are asked about, not recorded."""
    folder.write("010_a.sql", A)
    folder.write("020_rows.sql", "INSERT INTO a VALUES (1);")
    folder.write("030_c.sql", C)
    database.execute(f"{A} ALTER TABLE a ADD j int")
    with pytest.raises(NothingProven, match=r"closest is up to 010_a\.sql"):
        invoke()
    folder.write("015_j.sql", "ALTER TABLE a ADD j int;")
    with pytest.raises(NothingProven, match=r"020_rows\.sql leaves no object changed"):
        invoke()
    invoke({"action": "baseline", "target_revision": "015_j.sql", "confirm": True})
    assert invoke()["applied_migrations"] == ["020_rows.sql", "030_c.sql"]


@pytest.mark.parametrize("others", ["", "CREATE TABLE other (i int);"], ids=["alone", "with others"])
def test_baseline_that_is_offered_sets_no_fence(invoke: Invoke, folder: Folder, database: Database, others: str) -> None:
    """Where a refusal offers a baseline beside another application's tables, it says that none of them is protected then."""
    folder.write("001_a.sql", A)
    folder.write("002_rows.sql", "INSERT INTO a VALUES (1);")
    folder.write("003_c.sql", C)
    database.execute(A + others)
    with pytest.raises(NothingProven) as caught:
        invoke()
    assert ("files may change what no file makes" in caught.value.fix) == bool(others)


def test_way_out_of_another_path(invoke: Invoke, folder: Folder, database: Database) -> None:
    """Where the path was changed since, the setting that the error offers lets the files be found, and the rest run beside them."""
    for name, text in MADE.items():
        folder.write(name, text)
    database.execute(f"{IN_PUBLIC} CREATE SCHEMA app; {PATH.format('app, public')}")
    with pytest.raises(NothingProven) as caught:
        invoke()
    way_out = re.search(r"ALTER ROLE .* SET search_path = \S+(?=,)", caught.value.fix)
    assert way_out is not None
    database.execute(way_out[0])
    body = invoke()
    assert (names(body), body["applied_migrations"]) == (("001_accounts.sql",), ["002_b.sql"])
    assert rows(database) == [("Ada",)]
    assert database.query("SELECT to_regclass('public.b')") == [("b",)]


def test_rows_at_the_end_of_many_changes(invoke: Invoke, folder: Folder, database: Database) -> None:
    """A last file of rows is warned of, also where so many files leave the counts alike that few catalogs are read at first."""
    folder.write("001_a.sql", A)
    for number in range(2, 10):
        folder.write(f"{number:03}_t.sql", f"ALTER TABLE a ALTER i TYPE {'text USING i::text' if number % 2 == 0 else 'int USING i::int'};")
    folder.write("010_rows.sql", "INSERT INTO a VALUES (7);")
    database.execute(A)
    body = invoke(ADOPT)
    assert len(names(body)) == 10
    (warning,) = [text for text in body["warnings"] if "check whether the data is there" in text]
    assert "010_rows.sql" in warning


def test_file_that_makes_the_extension_itself(invoke: Invoke, folder: Folder, database: Database) -> None:
    """An extension that only a later file makes is not made before it, and is not said to be missing."""
    folder.write("001_accounts.sql", "CREATE TABLE accounts (name ext.citext);")
    folder.write("002_trgm.sql", "CREATE EXTENSION pg_trgm;")
    database.execute("CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext; CREATE TABLE accounts (name ext.citext); CREATE EXTENSION pg_trgm")
    body = invoke(ADOPT)
    assert names(body) == ("001_accounts.sql", "002_trgm.sql")
    (warning,) = [text for text in body["warnings"] if "000_extensions.sql" in text]
    assert ("citext" in warning, "pg_trgm" in warning) == (True, False)


def test_empty_history_proves_nothing(invoke: Invoke, folder: Folder, database: Database) -> None:
    """A history that a first failed run has left, without a row, does not let files run over tables that came since."""
    folder.write("001_a.sql", "CREATE TABLE a (i int); SELECT 1 / 0;")
    with pytest.raises(DbSetupError):
        invoke()
    assert database.query("SELECT count(*) FROM db_setup.history") == [(0,)]
    folder.write("001_a.sql", "DROP TABLE IF EXISTS a; CREATE TABLE a (i int);")
    database.execute("CREATE TABLE a (i int); INSERT INTO a VALUES (7)")
    assert names(invoke()) == ("001_a.sql",)
    assert database.query("SELECT i FROM a") == [(7,)]


def test_squashed_folder(invoke: Invoke, folder: Folder, database: Database) -> None:
    """Files that one file has taken the place of, and that repair has forgotten, are adopted as that file, and not run."""
    for name, text in THREE.items():
        folder.write(name, text)
    invoke()
    database.execute("INSERT INTO a VALUES (7)")
    for name in THREE:
        (folder.path / name).unlink()
    folder.write("010_all.sql", f"DROP TABLE IF EXISTS a, b, c; {A} {B} {C}")
    with pytest.raises(DbSetupError):
        invoke()
    invoke({"action": "repair", "confirm": True})
    assert invoke({"action": "status"})["state"] == UNKNOWN
    assert names(invoke()) == ("010_all.sql",)
    assert database.query("SELECT i FROM a") == [(7,)]


GOLANG = "CREATE TABLE schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL); INSERT INTO schema_migrations VALUES ({}, false);"


def test_claim_of_a_file_that_never_ran(invoke: Invoke, folder: Folder, database: Database) -> None:
    """A version of golang-migrate's counts for the files whose tables are there; one that was merged late is not recorded."""
    for name, text in THREE.items():
        folder.write(name, text)
    database.execute(A + C + GOLANG.format(3))
    body = invoke(ADOPT)
    assert names(body) == ("001_a.sql", "003_c.sql")
    assert "002_b.sql: schema_migrations counts it as applied, and the database has nothing of it" in body["warnings"]
    assert invoke()["applied_migrations"] == ["002_b.sql"]


@pytest.mark.parametrize(
    ("live", "version", "message"),
    [
        (A + B + C, 2, "does not count the files as applied that make"),
        (A + B + "ALTER TABLE b ADD j int; CREATE TABLE c (i text);", 2, "does not count the files as applied that make"),
        ("CREATE TABLE other (i int);", 2, "the database has nothing of what they make"),
    ],
    ids=["applied by hand", "made otherwise", "nothing applied"],
)
def test_claim_that_the_database_contradicts(invoke: Invoke, folder: Folder, database: Database, live: str, version: int, message: str) -> None:
    """A file that the tool does not count, and that has left what it makes, does not run; nor do all where nothing is there."""
    for name, text in THREE.items():
        folder.write(name, f"DROP TABLE IF EXISTS {name[4]}; {text}")
    database.execute(live + GOLANG.format(version))
    before = catalog(database)
    with pytest.raises(DbSetupError, match=message) as caught:
        invoke()
    assert caught.value.code == "contradictory_evidence"
    assert but_the_run_lock(database) == before


def test_claim_and_a_drift(invoke: Invoke, folder: Folder, database: Database) -> None:
    """What differs from what the counted files build is told, and does not undo another tool's word."""
    for name, text in THREE.items():
        folder.write(name, text)
    database.execute(A + B + "ALTER TABLE b ADD j int; CREATE TABLE other (i int);" + GOLANG.format(2))
    body = invoke()
    assert (names(body), body["applied_migrations"]) == (("001_a.sql", "002_b.sql"), ["003_c.sql"])
    assert any("column public.b.j (only in the database)" in text for text in body["warnings"])


def test_claim_that_cannot_be_held_against_the_database(invoke: Invoke, folder: Folder, database: Database) -> None:
    """One version for all files proves nothing of a file that cannot be built."""
    folder.write("001_a.sql", A)
    folder.write("002_x.sql", "INSERT INTO a SELECT 1 / i FROM (VALUES (0)) v (i);")
    database.execute(A + GOLANG.format(2))
    with pytest.raises(NotBuildable, match="division by zero"):
        invoke()
    invoke({"action": "baseline", "target_revision": "2", "confirm": True})
    assert invoke()["applied_migrations"] == []


def test_nothing_to_adopt(invoke: Invoke, folder: Folder, database: Database) -> None:
    """Adopt --yes on tables that are none of the files' refuses, and says what to do: migrate applies the files."""
    folder.write("001_a.sql", A)
    database.execute("CREATE TABLE other (i int)")
    with pytest.raises(NothingProven, match="there is nothing to adopt"):
        invoke(CONFIRMED)
    assert invoke()["applied_migrations"] == ["001_a.sql"]


KEPT = "CREATE TABLE orders (i int); INSERT INTO orders VALUES (7); CREATE SCHEMA crm; CREATE TABLE crm.leads (i int); INSERT INTO crm.leads VALUES (8);"
HOSTILE = {
    "a table is dropped on the way": "DROP TABLE IF EXISTS orders; CREATE TABLE c (i int);",
    "a schema is dropped": "DROP SCHEMA public CASCADE; CREATE SCHEMA public; CREATE TABLE c (i int);",
    "a block empties a table": "CREATE TABLE c (i int); DO $$ BEGIN IF to_regclass('crm.leads') IS NOT NULL THEN EXECUTE 'TRUNCATE crm.leads'; END IF; END $$;",
    "a table is made and dropped": "CREATE TABLE IF NOT EXISTS orders (i int); DROP TABLE orders; CREATE TABLE c (i int);",
    "a table is referenced": "ALTER TABLE IF EXISTS orders ADD PRIMARY KEY (i); CREATE TABLE c (i int);",
    "a schema is renamed": "DO $$ BEGIN ALTER SCHEMA crm RENAME TO old; EXCEPTION WHEN OTHERS THEN NULL; END $$; CREATE TABLE c (i int);",
    "step by step": "CREATE TABLE c (i int);\nVACUUM c;\nDROP TABLE IF EXISTS orders;",
}


_REFUSED = r"002_b\.sql changes .*, which no file makes|was there when the database was adopted, so 002_b\.sql may be applied"


@pytest.mark.parametrize("applied", [0, 1], ids=["nothing applied", "one applied"])
@pytest.mark.parametrize("case", HOSTILE)
def test_nobody_else_s_rows_are_lost(invoke: Invoke, folder: Folder, database: Database, case: str, applied: int) -> None:
    """A file that makes nothing that is there, and destroys what no file makes, is rolled back, in this run and the next."""
    folder.write("001_a.sql", A)
    folder.write("002_b.sql", HOSTILE[case])
    folder.write("003_d.sql", "CREATE TABLE d (i int);")
    database.execute(KEPT + A * applied)
    for _ in range(2):
        with pytest.raises(DbSetupError, match=_REFUSED) as caught:
            invoke()
        assert caught.value.code == "changes_foreign_object"
        assert database.query("SELECT i FROM orders UNION ALL SELECT i FROM crm.leads") == [(7,), (8,)]
        assert database.query("SELECT to_regclass('d')") == [(None,)]
    if case != "step by step":  # a rehearsal ends at the first step that cannot be rolled back
        with pytest.raises(DbSetupError, match=_REFUSED):
            invoke({"action": "rehearse"})
        folder.write("002_b.sql", "CREATE TABLE c (i int);")
        assert invoke()["applied_migrations"] == ["002_b.sql", "003_d.sql"]
        folder.write("004_o.sql", "DROP TABLE orders;")
        assert invoke()["applied_migrations"] == ["004_o.sql"]


@pytest.mark.parametrize("name", ["002_b.sql", "env/dev/002_b.sql", "env/dev/007_b.sql"])
def test_file_that_was_not_compared(invoke: Invoke, folder: Folder, database: Database, name: str) -> None:
    """A file that comes late, or is for another environment, drops no table that was there, until a person says that it may."""
    (folder.path / "env" / "dev").mkdir(parents=True)
    folder.write("001_a.sql", A)
    folder.write("003_d.sql", "CREATE TABLE d (i int);")
    if name.startswith("env/"):
        folder.write(name, HOSTILE["a table is dropped on the way"])
    database.execute(f"{KEPT}{A}CREATE TABLE d (i int);")
    assert [row["name"] for row in invoke()["adopted_migrations"]] == ["001_a.sql", "003_d.sql"]
    folder.write(name, HOSTILE["a table is dropped on the way"])
    folder.write("008_e.sql", "CREATE TABLE e (i int);")
    for _ in range(2):
        with pytest.raises(DbSetupError, match=r"_b\.sql changes table public\.orders, which no file makes") as caught:
            invoke(MIGRATION_ENV="dev")
        assert caught.value.code == "changes_foreign_object"
        assert database.query("SELECT i FROM orders") == [(7,)]
    if "002" in name:
        assert "give it a number above 003, and if it is refused still, baseline --target " in caught.value.fix
        folder.path.joinpath(name).rename(folder.path / name.replace("002", "007"))
    else:
        assert "baseline --target 003_d.sql; " in caught.value.fix
        invoke({"action": "baseline", "target_revision": "003_d.sql", "confirm": True}, MIGRATION_ENV="dev")
    assert invoke(MIGRATION_ENV="dev")["applied_migrations"] == [name.replace("002", "007"), "008_e.sql"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('DROP TABLE IF EXISTS orders; CREATE TABLE "orders" (i int);', r"^004_o\.sql changes table public\.orders"),
        ("DROP TABLE IF EXISTS crm.leads; CREATE UNLOGGED TABLE crm.leads (i int);", r"^004_o\.sql changes table crm\.leads"),
        ("CREATE TABLE IF NOT EXISTS Orders (i int); INSERT INTO a VALUES (2);", "table public.orders was there .* applied already"),
        ("CREATE TABLE IF NOT EXISTS orders (i int);\nVACUUM a;\nINSERT INTO a VALUES (2);", "table public.orders was there"),
    ],
    ids=["dropped", "in-a-schema", "kept", "kept-step-by-step"],
)
def test_newer_file_makes_what_was_there(
    invoke: Invoke, folder: Folder, database: Database, text: str, reason: str
) -> None:
    """A newer folder's file, on a history that an older one has adopted, does not run again what it has done before."""
    folder.write("001_a.sql", A)
    database.execute(f"{KEPT}{A}")
    invoke()
    folder.write("004_o.sql", text)
    folder.write("003_fine.sql", "CREATE TABLE orders_of_a (i int);")
    for event in ({"action": "rehearse"}, {}):
        if "VACUUM" in text and event:
            continue
        with pytest.raises(DbSetupError, match=reason) as caught:
            invoke(event)
        assert caught.value.code == "changes_foreign_object"
    assert database.query("SELECT (SELECT i FROM orders), (SELECT i FROM crm.leads), (SELECT count(*) FROM a)") == [(7, 8, 0)]
    for target, ran in ((r"baseline --target (004\S+);", []), (r"baseline --target (001\S+);", ["004_o.sql"])):
        if found := re.search(target, caught.value.fix):
            invoke({"action": "baseline", "target_revision": found[1], "confirm": True})
            assert invoke()["applied_migrations"] == ran
            return
    pytest.fail(caught.value.fix)


def test_word_of_a_person_lifts_the_fence(invoke: Invoke, folder: Folder, database: Database) -> None:
    """After the baseline that the error offers, the file may change what it names, and does."""
    folder.write("001_b.sql", "DROP TABLE IF EXISTS orders; CREATE TABLE c (i int);")
    database.execute(KEPT)
    with pytest.raises(DbSetupError) as caught:
        invoke()
    assert "baseline --target none; 001_b.sql may then change table public.orders" in caught.value.fix
    invoke({"action": "baseline", "target_revision": "none", "confirm": True})
    assert invoke()["applied_migrations"] == ["001_b.sql"]
    assert database.query("SELECT to_regclass('orders'), to_regclass('crm.leads')::text") == [(None, "crm.leads")]


def test_word_of_a_person_keeps_what_is_proven(invoke: Invoke, folder: Folder, database: Database) -> None:
    """The baseline that the error offers lifts the fence, and runs no file again that was proven to be applied."""
    folder.write("001_a.sql", "DROP TABLE IF EXISTS a; CREATE TABLE a (i int);")
    folder.write("002_b.sql", "CREATE TABLE b (i int);")
    folder.write("003_all.sql", "GRANT SELECT ON ALL TABLES IN SCHEMA public TO PUBLIC;")
    database.execute(f"{KEPT}; CREATE TABLE a (i int); INSERT INTO a VALUES (1)")
    with pytest.raises(DbSetupError) as caught:
        invoke()
    assert "baseline --target 001_a.sql; 003_all.sql may then change table public.orders" in caught.value.fix
    invoke({"action": "baseline", "target_revision": "001_a.sql", "confirm": True})
    assert invoke()["applied_migrations"] == ["003_all.sql"]
    assert database.query("SELECT i FROM a") == [(1,)]


def test_word_of_a_person_after_a_file_has_run(invoke: Invoke, folder: Folder, database: Database) -> None:
    """The baseline that the error offers lifts the fence also where a fenced file has run before the one that failed."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("002_all.sql", "GRANT SELECT ON ALL TABLES IN SCHEMA public TO PUBLIC;")
    database.execute(KEPT)
    with pytest.raises(DbSetupError) as caught:
        invoke()
    assert "baseline --target none; 002_all.sql may then" in caught.value.fix
    invoke({"action": "baseline", "target_revision": "none", "confirm": True})
    assert invoke()["applied_migrations"] == ["002_all.sql"]


def test_fence_without_anybody(invoke: Invoke, folder: Folder, database: Database) -> None:
    """Where nobody else has anything, or not in public, the files may change public, and their own default privileges."""
    folder.write("001_a.sql", A)
    folder.write("002_p.sql", "REVOKE ALL ON SCHEMA public FROM PUBLIC; ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC;")
    database.execute(f"{A} CREATE SCHEMA spare")
    assert invoke()["applied_migrations"] == ["002_p.sql"]


def test_fence_of_a_name_like_ours(invoke: Invoke, folder: Folder, database: Database) -> None:
    """A table of another application stays its own, whatever its name says."""
    folder.write("001_a.sql", A)
    folder.write("002_p.sql", "REVOKE ALL ON SCHEMA public FROM PUBLIC; ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC;")
    database.execute(f'{A} CREATE SCHEMA spare; CREATE TABLE spare."x db_setup.y" (i int)')
    with pytest.raises(DbSetupError) as caught:
        invoke()
    assert caught.value.code == "changes_foreign_object"


def test_fence_knows_long_signatures(invoke: Invoke, folder: Folder, database: Database) -> None:
    """A function of the files' whose signature is longer than a name is theirs, to replace and to drop."""
    signature = f"f({', '.join(['character varying'] * 5)})"
    folder.write("001_f.sql", f"CREATE FUNCTION {signature} RETURNS int LANGUAGE sql AS 'SELECT 1';")
    folder.write("002_r.sql", f"CREATE OR REPLACE FUNCTION {signature} RETURNS int LANGUAGE sql AS 'SELECT 2'; CREATE TABLE b (i int);")
    folder.write("003_d.sql", f"DROP FUNCTION {signature};")
    database.execute(KEPT + f"CREATE FUNCTION {signature} RETURNS int LANGUAGE sql AS 'SELECT 1'")
    body = invoke()
    assert (names(body), body["applied_migrations"]) == (("001_f.sql",), ["002_r.sql", "003_d.sql"])


def test_fence_lets_the_files_work_together(invoke: Invoke, folder: Folder, database: Database) -> None:
    """Pending files may change what other files have made, roles among them."""
    role = f"made_{database.name}"
    folder.write("001_a.sql", f"{A} DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN CREATE ROLE {role}; END IF; END $$;")
    folder.write("002_g.sql", f"ALTER TABLE a ADD j int; GRANT SELECT ON a TO {role}; CREATE VIEW v AS SELECT * FROM a; CREATE EXTENSION citext;")
    folder.write("003_x.sql", "DROP VIEW v; DROP TABLE a; DROP EXTENSION citext;")
    database.execute(f"{KEPT} {A} CREATE ROLE {role}")
    try:
        body = invoke()
        assert (names(body), body["applied_migrations"]) == (("001_a.sql",), ["002_g.sql", "003_x.sql"])
    finally:
        database.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
