"""What is left out of a build is no drift: what it would have changed is named, and everything else is compared."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from migrator.drift.left_out import can_be_tried, may_change_catalog
from migrator.errors import ScratchFailed
from migrator.sql.effects import effect_outside
from migrator.sql.statements import split

from tests.plugins.databases import Database
from tests.plugins.folders import Folder
from tests.plugins.runs import Invoke

VERIFY = {"action": "verify"}
BLOCKS = {
    "a new table": "CREATE TABLE made (i int PRIMARY KEY); CREATE INDEX ON made (i)",
    "an owner": "ALTER TABLE a OWNER TO {role}",
    "a column": "ALTER TABLE a ADD COLUMN made int",
    "a function": "CREATE FUNCTION made() RETURNS int LANGUAGE sql AS ''SELECT 1''",
    "a schema": "CREATE SCHEMA made; CREATE TABLE made.t (i int)",
    "a grant": "GRANT SELECT ON a TO {role}",
    "a dropped table": "DROP TABLE c",
}


@pytest.fixture
def role(database: Database) -> Iterator[str]:
    """Return the name of a role that the test may make, which is dropped after it."""
    name = f"left_{database.name}"
    yield name
    database.execute(f"DO $$ BEGIN IF to_regrole('{name}') IS NOT NULL THEN DROP OWNED BY {name} CASCADE; DROP ROLE {name}; END IF; END $$")


def block(role: str, what: str) -> str:
    """Return a block that changes a role and something that is compared."""
    inner = "; ".join(f"EXECUTE '{part.strip()}'" for part in what.format(role=role).split(";"))
    return f"DO $$ BEGIN IF to_regrole('{role}') IS NULL THEN CREATE ROLE {role}; END IF; ALTER ROLE {role} NOLOGIN; {inner}; END $$;"


@pytest.mark.parametrize(
    ("text", "effect", "may_change", "can_be"),
    [("CREATE ROLE r", "", False, False), ("DROP OWNED BY r", "", True, True), ("DO $$ BEGIN CREATE ROLE r; COMMIT; END $$", "", True, False),
     ("DO $$ BEGIN CREATE ROLE r; END $$", "block", True, True), ("DO $$ BEGIN PERFORM pg_reload_conf(); END $$", "", True, False),
     ("SELECT dblink_exec('x', 'insert into t values (1)')", "", False, False), ("SELECT dblink_exec('x', $$insert into t$$) -- into", "", False, False),
     ("SELECT dblink_exec('x', 'y') AS i INTO t", "", True, False), ("CREATE TABLE t AS SELECT dblink_exec('x', 'y')", "", True, False),
     ("COPY t TO '/tmp/x'", "", False, False), ("ALTER DATABASE d SET work_mem = '1MB'", "", False, False)],
)  # fmt: skip
def test_what_may_be_left_out(text: str, effect: str, may_change: bool, can_be: bool) -> None:
    """A statement may change what is compared, or not, and may be tried in a transaction that is rolled back, or not."""
    (statement,) = split(f"{text};\n")
    found = effect or effect_outside(statement)
    assert (may_change_catalog(statement, found), can_be_tried(statement, found)) == (may_change, can_be)


@pytest.mark.parametrize("mode", ["transaction", "stepwise"])
@pytest.mark.parametrize("case", BLOCKS)
def test_block(invoke: Invoke, folder: Folder, database: Database, role: str, case: str, mode: str) -> None:
    """What a block that changes a role makes or changes beside it is named, and no drift; what was done by hand is."""
    folder.write("001_a.sql", "CREATE TABLE a (i int); CREATE TABLE b (i int); CREATE TABLE c (i int);")
    steps = "CREATE INDEX CONCURRENTLY ON b (i);\n" if mode == "stepwise" else "SELECT 1;\n"
    folder.write("002_role.sql", steps + block(role, BLOCKS[case]))
    folder.write("003_d.sql", "CREATE TABLE d (i int);")
    invoke()
    body = invoke(VERIFY)
    assert (body["state"], body["differences"], body["problems"]) == ("up_to_date", [], [])
    assert body["not_verifiable"][0] == '002_role.sql:2  "do ..." (block)'
    assert body["not_verifiable"][1].startswith("what 002_role.sql:2 changes: ")
    assert body["message"] == (
        "The database is what 3 migrations build, as far as they can be compared: what is left out of a scratch build is named."
    )
    database.execute("CREATE INDEX by_hand ON b (i); ALTER TABLE d ADD COLUMN by_hand int; ALTER TABLE a ALTER i SET NOT NULL")
    body = invoke(VERIFY)
    assert body["state"] == "drifted"
    assert {item["identity"] for item in body["differences"]} == {"public.by_hand", "public.d.by_hand", "public.a.i"}


def test_block_under_a_search_path(invoke: Invoke, folder: Folder, role: str) -> None:
    """A block is tried with the settings of its file, so that what it makes is looked for where it is."""
    folder.write("001_s.sql", "CREATE SCHEMA s;")
    folder.write("002_role.sql", f"SET search_path = s; SET LOCAL lock_timeout = '1s';\n{block(role, 'CREATE TABLE made (i int)')}")
    invoke()
    body = invoke(VERIFY)
    assert (body["state"], body["not_verifiable"][1]) == ("up_to_date", "what 002_role.sql:2 changes: column order s.made, column s.made.i, table s.made")


@pytest.mark.parametrize("text", ["CREATE ROLE {role}; EXECUTE 'CREATE TABLE made (i int)';", "ALTER ROLE {role} NOLOGIN; EXECUTE 'CREATE TABLE made (i int)'; COMMIT;"])
def test_block_that_cannot_be_tried(invoke: Invoke, folder: Folder, database: Database, role: str, text: str) -> None:
    """Of a block that fails where its role is, or commits, nothing is known: differences are neither drift nor none."""
    database.execute(f"CREATE ROLE {role}" if "CREATE ROLE" not in text else "SELECT 1")
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("002_role.sql", f"DO $$ BEGIN {text.format(role=role)} END $$;")
    invoke()
    with pytest.raises(ScratchFailed, match=r"002_role\.sql:1 is left out of a scratch build, .* may come from it: table public\.made"):
        invoke(VERIFY)
    body = invoke(VERIFY="true")
    assert (body["state"], body["message"]) == ("up_to_date", "Nothing to do: the database is up to date.")
    assert "could not be verified: 002_role.sql:1 is left out" in body["warnings"][0]
    database.execute("DROP TABLE made")
    assert "as far as they can be compared" in invoke(VERIFY)["message"]


def test_file_that_needs_what_is_left_out(invoke: Invoke, folder: Folder, role: str) -> None:
    """Where a later file needs what a block would have made, the error names the block."""
    folder.write("001_role.sql", block(role, "CREATE TABLE made (i int)"))
    folder.write("002_b.sql", "ALTER TABLE made ADD COLUMN j int;")
    invoke()
    with pytest.raises(ScratchFailed, match=r"002_b\.sql cannot be built .*; 001_role\.sql:1, which is left out there, may make what it needs"):
        invoke(VERIFY)


def test_role_is_not_changed(invoke: Invoke, folder: Folder, database: Database, role: str) -> None:
    """Trying a block changes nothing of the role that it names."""
    folder.write("001_role.sql", block(role, "CREATE TABLE made (i int)"))
    invoke()
    database.execute(f"ALTER ROLE {role} LOGIN CONNECTION LIMIT 7")
    state = "SELECT xmin::text, rolcanlogin, rolconnlimit FROM pg_authid WHERE rolname = %s"
    before = database.query(state, role)
    assert invoke(VERIFY)["state"] == "up_to_date"
    assert database.query(state, role) == before


def test_reassigned_objects(invoke: Invoke, folder: Folder, database: Database, role: str) -> None:
    """REASSIGN OWNED is tried as well: what has another owner by it is named, and no drift."""
    database.execute(f"CREATE ROLE {role}")
    folder.write("001_a.sql", f"CREATE SCHEMA s AUTHORIZATION {role}; SET ROLE {role}; CREATE TABLE s.a (i int);")
    folder.write("002_own.sql", f"REASSIGN OWNED BY {role} TO CURRENT_USER;")
    invoke()
    body = invoke(VERIFY)
    assert (body["state"], body["problems"]) == ("up_to_date", [])
    assert body["not_verifiable"][-1] == "what 002_own.sql:1 changes: schema s, table s.a"
