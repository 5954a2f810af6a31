"""Roles and schemas whose names mean something to SQL, regular expressions or templates: in all that builds queries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest
from migrator.formatting import quoted

from tests.plugins.databases import Database
from tests.plugins.drift import ODD_NAMES
from tests.plugins.folders import Folder
from tests.plugins.runs import Body, Invoke

FILE = """
CREATE SCHEMA {name}; CREATE TABLE {name}.a (i int); COMMENT ON TABLE {name}.a IS 'x';
CREATE FUNCTION {name}.f() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE VIEW {name}.v AS SELECT * FROM {name}.a;
CREATE TYPE {name}.e AS ENUM ('x'); ALTER DEFAULT PRIVILEGES IN SCHEMA {name} GRANT SELECT ON TABLES TO PUBLIC;
"""
InvokeAs = Callable[..., Body]


def filled(text: str, name: str) -> str:
    """Return SQL with a quoted name in its places."""
    return text.replace("{name}", quoted(name))


@pytest.fixture(params=ODD_NAMES)
def name(request: pytest.FixtureRequest) -> str:
    """Return an odd name."""
    return str(request.param)


@pytest.fixture
def role(database: Database, name: str) -> str:
    """Return the name of a role of the test's own that has the odd name in it."""
    return f"{name} {database.name}"


@pytest.fixture
def invoke_as(invoke: Invoke, database: Database, role: str) -> Iterator[InvokeAs]:
    """Invoke the handler as a role with an odd name, which owns the database and may create others."""
    database.execute(f"CREATE ROLE {quoted(role)} LOGIN CREATEDB; ALTER DATABASE {database.name} OWNER TO {quoted(role)}")
    if database.major() < 15:
        database.execute(f"GRANT CREATE ON SCHEMA public TO {quoted(role)}")
    url = database.url.replace("postgres@", f"{quote(role, safe='')}@")
    try:
        yield lambda event=None: invoke(event, DATABASE_URL=url)
    finally:
        database.execute(f"ALTER DATABASE {database.name} OWNER TO postgres; REASSIGN OWNED BY {quoted(role)} TO postgres")
        database.execute(f"DROP OWNED BY {quoted(role)}; DROP ROLE {quoted(role)}")


def test_verify(invoke_as: InvokeAs, folder: Folder, database: Database, name: str) -> None:
    """A database that such a role has built has not drifted; what another role makes by hand is one difference."""
    folder.write("001_a.sql", filled(FILE, name))
    invoke_as()
    body = invoke_as({"action": "verify"})
    assert (body["state"], body["differences"]) == ("up_to_date", [])
    database.execute(filled("ALTER TABLE {name}.a OWNER TO postgres", name))
    (found,) = invoke_as({"action": "verify"})["differences"]
    assert (found["kind"], found["lines"]) == ("table", ["- owner the migrating user", "+ owner postgres"])


def test_adopt(invoke_as: InvokeAs, folder: Folder, database: Database, role: str, name: str) -> None:
    """What such a role has built without db_setup is adopted; a schema of such a name that no file makes is not compared."""
    other = f"{name} too"
    folder.write("001_a.sql", filled(FILE, name))
    folder.write("002_b.sql", "CREATE TABLE b (i int);")
    database.execute(f"SET ROLE {quoted(role)};" + filled(FILE, name) + filled(FILE, other))
    body = invoke_as({"action": "adopt"})
    assert [item["name"] for item in body["adopted_migrations"]] == ["001_a.sql"]
    assert body["not_compared"] == [f"schema {other}"]
    database.execute(filled("CREATE TABLE {name}.b (i int)", name))
    assert invoke_as({"action": "adopt"})["not_compared"] == [f"schema {other}", f"table {quoted(name)}.b"]
    database.execute(filled("ALTER TABLE {name}.a ADD COLUMN {name} int", name))
    assert [item["kind"] for item in invoke_as({"action": "adopt"})["differences"]] == ["column"]


def test_rehearse(invoke_as: InvokeAs, folder: Folder, database: Database, name: str) -> None:
    """Such a role can rehearse, and a table of such a name is found in a statement that locks it again."""
    folder.write("001_a.sql", filled("CREATE SCHEMA {name}; CREATE TABLE {name}.{name} (i int);", name))
    invoke_as()
    folder.write("002_b.sql", filled("ALTER TABLE {name}.{name} ADD j int;\nALTER TABLE {name}.{name} ADD k int;", name))
    first, again = invoke_as({"action": "rehearse"})["rehearsal"]
    assert [table["lock"] for table in first["tables"]] == ["AccessExclusiveLock"]
    assert again["already_locked"] == [f"{quoted(name)}.{quoted(name)}"]
