"""adopt: databases that have tables and no history of ours, by other tools' histories, by comparison, by word."""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Mapping

import pytest
from migrator.errors import (
    AdoptionNeeded,
    ContradictoryEvidence,
    InvalidRequest,
    NotBuildable,
    NothingProven,
    ObjectExists,
    ScratchRefused,
    UnknownTarget,
)

from tests.plugins.databases import Database, MakeDatabase
from tests.plugins.drift import SCHEMA
from tests.plugins.folders import Folder
from tests.plugins.runs import Body, Cli, Invoke

ADOPT, CONFIRMED = {"action": "adopt"}, {"action": "adopt", "confirm": True}
FILES = {
    "001_a.sql": "CREATE TABLE a (i int);",
    "002_b.sql": "CREATE TABLE b (i int); CREATE INDEX ON b (i);",
    "003_a_j.sql": "ALTER TABLE a ADD COLUMN j text;",
    "004_c.sql": "CREATE TABLE c (i int);",
}
Known = list[tuple[str, str]]


@pytest.fixture
def files(folder: Folder) -> Folder:
    """Return the folder with four files."""
    for name, text in FILES.items():
        folder.write(name, text)
    return folder


def history(database: Database) -> Known:
    """Return names and modes in the order of application."""
    return [(n, m) for n, m in database.query("SELECT name, mode FROM db_setup.history ORDER BY position")]


def no_history(database: Database) -> bool:
    """Return whether nothing of ours was written."""
    return database.query("SELECT to_regclass('db_setup.history')") == [(None,)]


def named(body: Body) -> list[str]:
    """Return the names of what was, or would be, adopted."""
    return [item["name"] for item in body["adopted_migrations"]]


def test_deploy_records_what_is_proven_and_applies_the_rest(invoke: Invoke, files: Folder, database: Database) -> None:
    """A database that the first files build is taken over: they are recorded with how it is known, the others run."""
    for text in list(FILES.values())[:3]:
        database.execute(text)
    body = invoke()
    assert (body["state"], body["applied_migrations"]) == ("up_to_date", ["004_c.sql"])
    assert named(body) == ["001_a.sql", "002_b.sql", "003_a_j.sql"]
    assert "recorded as applied, and not run: 001_a.sql, 002_b.sql, 003_a_j.sql" in body["warnings"][0]
    assert history(database) == [*((name, "adopted") for name in list(FILES)[:3]), ("004_c.sql", "transaction")]
    evidence = database.query("SELECT DISTINCT evidence FROM db_setup.history WHERE mode = 'adopted'")
    assert evidence == [("the database is what the files up to 003_a_j.sql build",)]
    assert database.query("SELECT action, outcome FROM db_setup.runs ORDER BY id") == [("adopted", "succeeded"), ("migrate", "succeeded")]
    assert invoke()["message"] == "Nothing to do: the database is up to date."
    assert invoke({"action": "verify"})["state"] == "up_to_date"


def test_adopt_shows_first_and_records_when_confirmed(invoke: Invoke, cli: Cli, files: Folder, database: Database) -> None:
    """Without confirm, adopt writes nothing and says what it would record; with it, it records and applies nothing."""
    database.execute(FILES["001_a.sql"])
    body = invoke(ADOPT)
    assert (body["state"], named(body)) == ("tables_without_migration_history", ["001_a.sql"])
    assert "Would be recorded as applied: 1 migration. Nothing was written" in body["message"]
    assert no_history(database)
    shown = cli("adopt")
    assert (shown.status, no_history(database)) == (0, True)
    assert "  001  001_a.sql  the database is what the files up to 001_a.sql build\n" in shown.out
    done = cli("adopt", "--yes", "--json")
    assert json.loads(done.out)["state"] == "pending_migrations"
    assert history(database) == [("001_a.sql", "adopted")]
    again = invoke(CONFIRMED)
    assert "Nothing to adopt: the database has a history, which says what is applied." in again["message"]


def test_rich_schema(invoke: Invoke, folder: Folder, database: Database, make_database: MakeDatabase) -> None:
    """Objects of every kind, and a comment at the end, are distinguished."""
    folder.write("001_shop.sql", SCHEMA)
    folder.write("002_comment.sql", "COMMENT ON TABLE shop.lines IS 'x';")
    folder.write("003_grant.sql", "GRANT SELECT ON shop.lines TO PUBLIC;")
    database.execute(SCHEMA + "COMMENT ON TABLE shop.lines IS 'x';")
    assert named(invoke(ADOPT)) == ["001_shop.sql", "002_comment.sql"]


def test_adopted_database_is_no_drift(invoke: Invoke, folder: Folder, database: Database) -> None:
    """A rich database that was built without us and adopted is, for verify, what its files build."""
    folder.write("001_shop.sql", SCHEMA)
    folder.write("002_more.sql", "CREATE TABLE shop.more (i int);")
    database.execute(SCHEMA)
    assert named(invoke()) == ["001_shop.sql"]
    body = invoke({"action": "verify"})
    assert (body["state"], body["differences"]) == ("up_to_date", [])


def test_nothing_is_proven(invoke: Invoke, cli: Cli, files: Folder, database: Database) -> None:
    """A database that no run of files builds fails the deploy: with the differences, the ways out, nothing written."""
    for text in list(FILES.values())[:2]:
        database.execute(text)
    database.execute("ALTER TABLE b ALTER i TYPE bigint; ALTER TABLE a ADD COLUMN too int")
    relations = "SELECT oid FROM pg_class WHERE oid::regclass::text NOT LIKE 'db_setup.run_lock%' AND relkind = 'r' ORDER BY 1"
    before = database.query(relations)
    with pytest.raises(NothingProven) as caught:
        invoke()
    message = str(caught.value)
    assert "closest is up to 002_b.sql: column public.a.too (only in the database); column public.b.i (differs)" in message
    assert "baseline --target N" in message
    assert len(message.encode()) <= 1024
    assert database.query(relations) == before
    body = invoke(ADOPT)
    assert (body["success"], body["adopted_migrations"]) == (False, [])
    assert ("column", "public.a.too") in [(item["kind"], item["identity"]) for item in body["differences"]]
    done = cli("migrate")
    assert done.status == 1
    assert "column public.a.too: only in the database" in done.err
    with pytest.raises(NothingProven):
        invoke(CONFIRMED)
    assert no_history(database)


def test_tables_that_have_nothing_to_do_with_the_files(invoke: Invoke, files: Folder, database: Database) -> None:
    """Tables of another owner are no reason not to apply the files; nothing is recorded without being run."""
    database.execute("CREATE TABLE others (i int); CREATE SCHEMA spare; CREATE TABLE spare.a (i text)")
    body = invoke()
    assert body["applied_migrations"] == list(FILES)
    assert {mode for _, mode in history(database)} == {"transaction"}


def test_other_schemas_and_grants_are_not_compared(invoke: Invoke, files: Folder, database: Database) -> None:
    """Schemas and extensions that no file makes, and grants to roles that no file names, are reported and do not count."""
    for text in FILES.values():
        database.execute(text)
    database.execute(
        "CREATE SCHEMA bi; CREATE VIEW bi.v AS SELECT * FROM a; GRANT SELECT ON a TO pg_monitor;"
        "COMMENT ON VIEW bi.v IS 'x'; CREATE EXTENSION file_fdw"
    )
    body = invoke(ADOPT)
    assert named(body) == list(FILES)
    assert body["not_compared"] == ["schema bi", "extension file_fdw"]


def test_schema_of_a_later_file_counts(invoke: Invoke, folder: Folder, database: Database) -> None:
    """A schema that a later file makes is compared from the beginning, so a shorter run of files is no proof."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("002_app.sql", "CREATE SCHEMA app; CREATE TABLE app.b (i int);")
    database.execute("CREATE TABLE a (i int); CREATE SCHEMA app; CREATE TABLE app.b (i bigint)")
    with pytest.raises(NothingProven, match=r"column app\.b\.i \(differs\)"):
        invoke()


def test_objects_that_files_drop_again(invoke: Invoke, folder: Folder, database: Database) -> None:
    """The longest run is found also where later files drop and rename what earlier ones made."""
    texts = ["CREATE TABLE old (i int);", "DROP TABLE old; CREATE TABLE a (i int);", "ALTER TABLE a RENAME TO old;", "DROP TABLE old; CREATE TABLE z (i int);"]
    for number, text in enumerate(texts, 1):
        folder.write(f"{number:03}_x.sql", text)
    database.execute("CREATE TABLE a (i int)")
    assert named(invoke(ADOPT)) == ["001_x.sql", "002_x.sql"]
    database.execute("ALTER TABLE a RENAME TO old")
    assert named(invoke(ADOPT)) == ["001_x.sql", "002_x.sql", "003_x.sql"]


def test_schema_that_files_drop_again(invoke: Invoke, folder: Folder, database: Database) -> None:
    """A schema that was the files' is compared also after the file that drops it."""
    folder.write("001_app.sql", "CREATE SCHEMA app; CREATE TABLE app.a (i int); CREATE TABLE b (i int);")
    folder.write("002_drop.sql", "DROP SCHEMA app CASCADE;")
    database.execute("CREATE SCHEMA app; CREATE TABLE app.a (i int); CREATE TABLE b (i int);")
    assert named(invoke(ADOPT)) == ["001_app.sql"]


def test_many_files_of_which_the_counts_say_nothing(invoke: Invoke, folder: Folder, database: Database) -> None:
    """Where each file replaces one function, the right one of many is found, although catalogs are read rarely."""
    folder.write("000_t.sql", "CREATE TABLE t (i int);")
    for number in range(1, 41):
        folder.write(f"{number:03}_f.sql", f"CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT {number}';")
    database.execute("CREATE TABLE t (i int); CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 30'")
    assert named(invoke(ADOPT))[-1] == "030_f.sql"
    database.execute("CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 40'")
    assert named(invoke(ADOPT))[-1] == "040_f.sql"


def test_files_that_change_no_object(invoke: Invoke, folder: Folder, database: Database) -> None:
    """A data file at the end cannot be seen; it is taken as applied, and the warning and the history say so."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("002_rows.sql", "INSERT INTO a VALUES (1);")
    database.execute("CREATE TABLE a (i int)")
    body = invoke()
    assert any("002_rows.sql: it leaves no object changed" in warning for warning in body["warnings"])
    rows = database.query("SELECT evidence FROM db_setup.history ORDER BY position")
    assert ["leaves no object changed" in text for (text,) in rows] == [False, True]


def test_file_that_changes_nothing_that_is_compared(invoke: Invoke, folder: Folder, database: Database) -> None:
    """A last file that changes an owner only does not show, and is said to be taken as applied."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("002_owner.sql", "ALTER TABLE a OWNER TO pg_monitor;")
    database.execute("CREATE TABLE a (i int)")
    body = invoke(ADOPT)
    assert any(text.startswith("002_owner.sql: ") for text in body["warnings"])


def test_baseline_before_all_files(invoke: Invoke, folder: Folder, database: Database) -> None:
    """A baseline of Flyway's that is older than all files says nothing of them, and contradicts none."""
    folder.write("002_b.sql", FILES["002_b.sql"])
    rows = flyway({"version": "'1'", "what": "<< Flyway Baseline >>", "type": "BASELINE"}, {"version": "'2'", "what": "b"})
    database.execute(FILES["002_b.sql"] + rows)
    assert named(invoke(ADOPT)) == ["002_b.sql"]


def test_file_that_cannot_be_built(invoke: Invoke, folder: Folder, database: Database) -> None:
    """What comes after a file that cannot be built may be applied or not: nothing runs, and both ways out work."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("002_broken.sql", "INSERT INTO a VALUES (0);\nSELECT 1 / (SELECT i FROM a);")
    folder.write("003_c.sql", "CREATE TABLE c (i int);")
    database.execute("CREATE TABLE a (i int)")
    with pytest.raises(NotBuildable) as caught:
        invoke()
    message = str(caught.value)
    assert message.startswith("002_broken.sql:2:1  001_a.sql is proven to be applied; 002_broken.sql cannot be built in a scratch database: division by zero (22012), so whether 002_broken.sql to 003_c.sql are applied already is not known")
    assert "baseline --target 002_broken.sql if that is applied, baseline --target 001_a.sql if it is not" in message
    with pytest.raises(NotBuildable):
        invoke(CONFIRMED)
    assert no_history(database)
    invoke({"action": "baseline", "target_revision": "002_broken.sql", "confirm": True})
    assert invoke()["applied_migrations"] == ["003_c.sql"]


def test_role_of_a_later_file(invoke: Invoke, folder: Folder, database: Database) -> None:
    """A file that makes a role which the server does not have is not applied; the inspection makes no role."""
    role = f"later_{database.name}"
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("002_role.sql", f"DO $$ BEGIN CREATE ROLE {role}; END $$; GRANT SELECT ON a TO {role};")
    database.execute("CREATE TABLE a (i int)")
    assert named(invoke(ADOPT)) == ["001_a.sql"]
    assert database.query("SELECT rolname FROM pg_roles WHERE rolname = %s", role) == []
    try:
        assert invoke()["applied_migrations"] == ["002_role.sql"]
    finally:
        database.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_target(invoke: Invoke, files: Folder, database: Database) -> None:
    """A target limits what is applied, not what is found to be there."""
    for text in list(FILES.values())[:2]:
        database.execute(text)
    body = invoke({"target_revision": "001"})
    assert (named(body), body["applied_migrations"]) == (["001_a.sql", "002_b.sql"], [])
    assert body["pending_migrations"] == ["003_a_j.sql", "004_c.sql"]


def test_manual(invoke: Invoke, files: Folder, database: Database) -> None:
    """ADOPT=manual leaves every database without a history to a person; an empty one needs nobody."""
    database.execute(FILES["001_a.sql"])
    with pytest.raises(AdoptionNeeded, match="ADOPT=manual"):
        invoke(ADOPT="manual")
    assert no_history(database)
    invoke(CONFIRMED, ADOPT="manual")
    assert invoke(ADOPT="manual")["applied_migrations"] == list(FILES)[1:]


def test_manual_on_an_empty_database(invoke: Invoke, files: Folder) -> None:
    """ADOPT=manual does not ask where there is nothing to adopt."""
    assert "Nothing to adopt: the database has no tables." in invoke(ADOPT)["message"]
    assert invoke(ADOPT="manual")["applied_migrations"] == list(FILES)


def test_user_who_may_not_create_databases(invoke: Invoke, files: Folder, database: Database) -> None:
    """Without CREATEDB nothing can be compared: that is said with the ways out, and a baseline works."""
    name = f"plain_{database.name}"
    database.execute(f"CREATE ROLE {name} LOGIN; ALTER DATABASE {database.name} OWNER TO {name}; SET ROLE {name}; CREATE SCHEMA s; CREATE TABLE s.a (i int)")
    url = database.url.replace("postgres@", f"{name}@")
    try:
        with pytest.raises(ScratchRefused, match=r"(?s)may not create databases.*baseline --target N"):
            invoke(DATABASE_URL=url)
        invoke({"action": "baseline", "target_revision": "head", "confirm": True}, DATABASE_URL=url)
        assert invoke(DATABASE_URL=url)["state"] == "up_to_date"
    finally:
        database.execute(f"ALTER DATABASE {database.name} OWNER TO postgres; REASSIGN OWNED BY {name} TO postgres")
        database.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


def test_baseline(invoke: Invoke, cli: Cli, files: Folder, database: Database) -> None:
    """A baseline records without a check, says what it does not know, needs a target, and is shown before it is done."""
    database.execute("CREATE TABLE unlike (i int)")
    body = invoke({"action": "baseline", "target_revision": "2"})
    assert (named(body), no_history(database)) == (["001_a.sql", "002_b.sql"], True)
    assert any("a baseline compares nothing" in warning for warning in body["warnings"])
    with pytest.raises(InvalidRequest, match="baseline without a target"):
        invoke({"action": "baseline", "confirm": True})
    with pytest.raises(UnknownTarget):
        invoke({"action": "baseline", "target_revision": "7", "confirm": True})
    assert cli("baseline").status == 2
    assert cli("baseline", "--target", "002", "--yes").status == 0
    assert history(database) == [("001_a.sql", "baseline"), ("002_b.sql", "baseline")]
    assert "baselined, not verified" in database.query("SELECT min(evidence) FROM db_setup.history")[0][0]
    with pytest.raises(Exception, match='relation "a" does not exist'):
        invoke()


def test_baseline_of_nothing(invoke: Invoke, files: Folder, database: Database) -> None:
    """A baseline of "none" says that no file is applied: then all of them run, on whatever is there."""
    database.execute("CREATE TABLE b (i bigint)")
    invoke({"action": "baseline", "target_revision": "none", "confirm": True})
    assert history(database) == []
    with pytest.raises(ObjectExists, match='relation "b" already exists'):
        invoke(ADOPT="manual")
    with pytest.raises(ObjectExists, match='relation "b" already exists'):
        invoke()
    assert history(database) == [("001_a.sql", "transaction")]


def test_first_generation_is_asked_for_too(invoke: Invoke, folder: Folder, database: Database) -> None:
    """The first generation's table is shown by adopt, and with ADOPT=manual taken over only when confirmed."""
    database.execute(
        "CREATE TABLE schema_migrations (id serial PRIMARY KEY, migration_name varchar(255) UNIQUE NOT NULL, "
        "applied_at timestamp DEFAULT current_timestamp); INSERT INTO schema_migrations (migration_name) VALUES ('001_a');"
        "CREATE TABLE a (i int)"
    )
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("002_b.sql", "CREATE TABLE b (i int);")
    assert named(invoke(ADOPT)) == ["001_a.sql"]
    assert no_history(database)
    with pytest.raises(AdoptionNeeded):
        invoke(ADOPT="manual")
    invoke(CONFIRMED)
    assert history(database) == [("001_a.sql", "imported")]
    assert "schema_migrations" in database.query("SELECT evidence FROM db_setup.history")[0][0]


# The tables as the tools make them, and rows as they write them.
FLYWAY = """
CREATE TABLE flyway_schema_history (
    installed_rank int NOT NULL CONSTRAINT flyway_schema_history_pk PRIMARY KEY, version varchar(50),
    description varchar(200) NOT NULL, type varchar(20) NOT NULL, script varchar(1000) NOT NULL, checksum integer,
    installed_by varchar(100) NOT NULL, installed_on timestamp NOT NULL DEFAULT now(), execution_time integer NOT NULL,
    success boolean NOT NULL);
CREATE INDEX flyway_schema_history_s_idx ON flyway_schema_history (success);
"""
FLYWAY_ROW = "INSERT INTO flyway_schema_history VALUES ({rank}, {version}, '{what}', '{type}', 'V__.sql', {checksum}, 'me', '2024-05-06 07:08:09.12', 3, {ok});"
GOLANG = "CREATE TABLE schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL);"
GOOSE = """
CREATE TABLE goose_db_version (
    id integer PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY, version_id bigint NOT NULL, is_applied boolean NOT NULL,
    tstamp timestamp NOT NULL DEFAULT now());
INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, true), (1, true), (2, true), (3, true), (3, false);
"""
SQLX = """
CREATE TABLE _sqlx_migrations (
    version bigint PRIMARY KEY, description text NOT NULL, installed_on timestamptz NOT NULL DEFAULT now(),
    success boolean NOT NULL, checksum bytea NOT NULL, execution_time bigint NOT NULL);
"""
PGMIGRATIONS = """
CREATE TABLE pgmigrations (id serial PRIMARY KEY, name varchar(255) NOT NULL, run_on timestamp NOT NULL);
INSERT INTO pgmigrations (name, run_on) VALUES ('001_a', now()), ('002_b', now());
"""
DBMATE = "CREATE TABLE schema_migrations (version varchar(128) PRIMARY KEY); INSERT INTO schema_migrations VALUES ('001'), ('002');"
RAILS = """
CREATE TABLE schema_migrations (version character varying NOT NULL PRIMARY KEY);
CREATE TABLE ar_internal_metadata (key character varying NOT NULL PRIMARY KEY, value character varying,
    created_at timestamp(6) NOT NULL, updated_at timestamp(6) NOT NULL);
INSERT INTO ar_internal_metadata VALUES ('environment', 'production', now(), now());
INSERT INTO schema_migrations VALUES ('2'), ('1');
"""


def crc(text: str) -> int:
    """Return Flyway's checksum of a text."""
    value = zlib.crc32("".join(text.splitlines()).encode())
    return value - (1 << 32) if value >= 1 << 31 else value


def flyway(*rows: Mapping[str, object]) -> str:
    """Return Flyway's table with the rows."""
    plain = {"type": "SQL", "checksum": "NULL", "ok": "true"}
    return FLYWAY + "".join(FLYWAY_ROW.format_map({**plain, "rank": rank, **row}) for rank, row in enumerate(rows, 1))


def sqlx(name: str, version: int, *, ok: bool = True, text: str = "") -> str:
    """Return a row of sqlx's."""
    digest = hashlib.sha384((text or FILES[name]).encode()).hexdigest()
    return f"INSERT INTO _sqlx_migrations VALUES ({version}, '{name[4:-4].replace('_', ' ')}', now(), {ok}, '\\x{digest}', 1);"


HISTORIES = {
    "Flyway": flyway({"version": "'1'", "what": "a", "checksum": crc(FILES["001_a.sql"])}, {"version": "'002'", "what": "b"}, {"version": "NULL", "what": "views"}),
    "Flyway's baseline": flyway({"version": "'2'", "what": "<< Flyway Baseline >>", "type": "BASELINE"}),
    "Flyway's undo": flyway(*({"version": f"'{n}'", "what": w} for n, w in ((1, "a"), (2, "b"), (3, "a j"))), {"version": "'3'", "what": "a j", "type": "UNDO_SQL"}),
    "dbmate": DBMATE,
    "Rails": RAILS,
    "golang-migrate": f"{GOLANG} INSERT INTO schema_migrations VALUES (2, false);",
    "goose": GOOSE,
    "sqlx": SQLX + sqlx("001_a.sql", 1) + sqlx("002_b.sql", 2),
    "node-pg-migrate": PGMIGRATIONS,
}


@pytest.mark.parametrize("tool", HISTORIES)
def test_history_of_another_tool(invoke: Invoke, files: Folder, database: Database, tool: str) -> None:
    """What another tool has recorded is recorded with its source, the rest is applied, and its table stays."""
    for text in list(FILES.values())[:2]:
        database.execute(text)
    database.execute("CREATE TABLE unknown_to_the_files (i int);" + HISTORIES[tool])
    (table,) = re.findall(r"CREATE TABLE (\w+ma_history|\w*schema_migrations|goose\w+|_sqlx\w+|pgmigrations)", HISTORIES[tool])
    before = database.query(f"SELECT * FROM {table} ORDER BY 1")
    body = invoke()
    assert (named(body), body["applied_migrations"]) == (["001_a.sql", "002_b.sql"], ["003_a_j.sql", "004_c.sql"])
    evidence = [text for (text,) in database.query("SELECT evidence FROM db_setup.history WHERE mode = 'adopted'")]
    assert all(text.startswith(f"{table} of ") for text in evidence)
    assert database.query(f"SELECT * FROM {table} ORDER BY 1") == before
    assert invoke()["state"] == "up_to_date"


@pytest.mark.parametrize(
    "table",
    ["_yoyo_log (id varchar(36) PRIMARY KEY)", "refinery_schema_history (version int4)", '"SequelizeMeta" (name varchar(255))',
     '"__EFMigrationsHistory" ("MigrationId" varchar(150))', 'migrations (id serial, "timestamp" bigint, name varchar)'],
)  # fmt: skip
def test_table_of_a_tool_that_cannot_be_read(invoke: Invoke, files: Folder, database: Database, table: str) -> None:
    """The history of a tool that db_setup cannot read is nothing that the files would have to make."""
    for text in list(FILES.values())[:2]:
        database.execute(text)
    database.execute(f"CREATE TABLE {table}")
    body = invoke()
    assert (named(body), body["applied_migrations"]) == (["001_a.sql", "002_b.sql"], ["003_a_j.sql", "004_c.sql"])


CONTRADICTIONS = {
    "a failed row of Flyway": (flyway({"version": "'1'", "what": "a", "ok": "false"}), "that 1 failed"),
    "a dirty version": (f"{GOLANG} INSERT INTO schema_migrations VALUES (2, true);", "that 2 failed"),
    "a failed row of sqlx": (SQLX + sqlx("001_a.sql", 1, ok=False), "that 1 failed"),
    "another text in Flyway": (flyway({"version": "'1'", "what": "a", "checksum": 17}), "001_a.sql is not the text that Flyway has applied"),
    "another text in sqlx": (SQLX + sqlx("001_a.sql", 1, text="SELECT 1"), "001_a.sql is not the text that sqlx has applied"),
    "another name": (flyway({"version": "'1'", "what": "orders"}), 'has applied 1 as "orders", and the file with that number is 001_a.sql'),
    "no such file": (DBMATE + "INSERT INTO schema_migrations VALUES ('017');", "has recorded 017 in schema_migrations, and no file"),
    "no such name": (PGMIGRATIONS + "INSERT INTO pgmigrations (name, run_on) VALUES ('000_zero', now());", "has recorded 000_zero"),
    "a failure in text": (flyway({"version": "'1'", "what": "a", "ok": "false"}).replace("success boolean", "success text"), "that 1 failed"),
    "two tools": (DBMATE + GOOSE, "several tools have a history here"),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_contradictory_evidence(invoke: Invoke, files: Folder, database: Database, case: str) -> None:
    """A history that does not fit the files, or says that one failed, stops the deploy; nothing is written."""
    sql, message = CONTRADICTIONS[case]
    database.execute(FILES["001_a.sql"] + sql)
    with pytest.raises(ContradictoryEvidence, match=message):
        invoke()
    assert no_history(database)


def test_number_of_two_files(invoke: Invoke, files: Folder, database: Database) -> None:
    """A version without a name that two files have as their number proves neither."""
    files.write("001_other.sql", "CREATE TABLE other (i int);")
    database.execute(FILES["001_a.sql"] + DBMATE)
    with pytest.raises(Exception, match=r"several files have that number|001_other\.sql"):
        invoke()
    assert no_history(database)


@pytest.mark.parametrize(
    "rows",
    [f"{GOLANG} INSERT INTO schema_migrations VALUES (9, false);", RAILS.replace("('2'), ('1')", "('20200101120000')")],
    ids=["golang-migrate", "Rails"],
)
def test_history_of_other_files(invoke: Invoke, files: Folder, database: Database, rows: str) -> None:
    """A tool's history of which no row fits a file was about other files: the comparison decides."""
    for text in list(FILES.values())[:2]:
        database.execute(text)
    database.execute(rows)
    body = invoke(ADOPT)
    assert named(body) == ["001_a.sql", "002_b.sql"]
    assert body["adopted_migrations"][0]["evidence"] == "the database is what the files up to 002_b.sql build"


def test_alembic(invoke: Invoke, files: Folder, database: Database) -> None:
    """A revision of Alembic's means a file only when the user says which; without that the comparison decides."""
    for text in list(FILES.values())[:2]:
        database.execute(text)
    database.execute(
        "CREATE TABLE alembic_version (version_num varchar(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num));"
        "INSERT INTO alembic_version VALUES ('ae1027a6acf')"
    )
    assert named(invoke(ADOPT)) == ["001_a.sql", "002_b.sql"]
    body = invoke({**ADOPT, "target_revision": "003"})
    assert named(body) == ["001_a.sql", "002_b.sql"]
    assert any(text.startswith("003_a_j.sql: alembic_version counts it as applied, and the database has nothing of it") for text in body["warnings"])
    database.execute(FILES["003_a_j.sql"])
    body = invoke({**CONFIRMED, "target_revision": "003"})
    assert named(body) == ["001_a.sql", "002_b.sql", "003_a_j.sql"]
    assert "alembic_version of Alembic: ae1027a6acf" in body["adopted_migrations"][0]["evidence"]


def test_empty_history_of_another_tool(invoke: Invoke, files: Folder, database: Database) -> None:
    """A tool's table without rows says nothing."""
    database.execute("CREATE SCHEMA tool; CREATE TABLE tool.schema_migrations (version varchar(128) PRIMARY KEY)")
    assert invoke()["applied_migrations"] == list(FILES)


def test_deploys_at_once(files: Folder, cli: Cli, database: Database) -> None:
    """Several deploys of one old database at once make one adoption and one set of changes."""
    from concurrent.futures import ThreadPoolExecutor

    for text in list(FILES.values())[:2]:
        database.execute(text)
    with ThreadPoolExecutor(3) as pool:
        done = [job.result() for job in [pool.submit(cli, "migrate", "--json") for _ in range(3)]]
    assert [item.status for item in done] == [0, 0, 0]
    assert [name for name, _ in history(database)] == list(FILES)
    assert [mode for _, mode in history(database)] == ["adopted", "adopted", "transaction", "transaction"]
