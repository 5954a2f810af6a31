"""server_errors: what the server said of a migration, as a developer needs to read it."""

from __future__ import annotations

import re

import pytest
from migrator.database.server_errors import TRANSIENT, lock_lost, migration_error
from migrator.errors import (
    LockTimeout,
    MigrationFailed,
    MissingExtension,
    ObjectExists,
    Progress,
    RunLockLost,
    ServerError,
)
from migrator.formatting import Location

from tests.plugins.folders import Folder
from tests.plugins.runs import Invoke

NAME = "003_add_phone.sql"


def test_error_has_place_cause_applied_and_fix() -> None:
    """A refused statement is shown with file, line and column, the server's words, what was applied and a fix."""
    error = ServerError("42601", 'syntax error at or near "COLUM"')
    error.where = Location("", 4, 19, "ALTER TABLE users ADD COLUM phone text;")
    failure = migration_error(error, NAME, untracked=False).after(Progress(failed=NAME))
    assert str(failure).startswith('003_add_phone.sql:4:19  syntax error at or near "COLUM" (42601)\n')
    assert f"Applied: nothing of {NAME}" in str(failure)
    assert "Fix: correct the statement" in str(failure)
    assert "[migration_failed]" in str(failure)


def test_error_without_a_place_names_the_file() -> None:
    """Where no place is known, the message begins with the file."""
    assert str(migration_error(ServerError("XX000", "it broke"), NAME, untracked=False)).startswith(f"{NAME}: it broke (XX000)")


@pytest.mark.parametrize(
    ("sqlstate", "message", "kind", "code"),
    [
        ("42601", "syntax error", MigrationFailed, "migration_failed"),
        ("23505", "duplicate key value violates unique constraint", MigrationFailed, "migration_failed"),
        ("P0001", "raised by hand", MigrationFailed, "migration_failed"),
        ("55P03", "canceling statement due to lock timeout", LockTimeout, "lock_timeout"),
        ("42P07", 'relation "users" already exists', ObjectExists, "already_exists"),
        ("42710", 'role "app" already exists', ObjectExists, "already_exists"),
        ("42P06", 'schema "app" already exists', ObjectExists, "already_exists"),
        ("42701", 'column "phone" already exists', ObjectExists, "already_exists"),
        ("42723", 'function "f" already exists', ObjectExists, "already_exists"),
        ("42P04", 'database "d" already exists', ObjectExists, "already_exists"),
        ("0A000", 'extension "postgis" is not available', MissingExtension, "missing_extension"),
        (
            "58P01",
            'could not open extension control file "/usr/share/extension/pgcrypto.control": No such file',
            MissingExtension,
            "missing_extension",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) == 5 else "",
)
def test_kind_and_code_follow_from_the_sqlstate(
    sqlstate: str, message: str, kind: type[MigrationFailed], code: str
) -> None:
    """What can be distinguished has a kind and a stable code of its own, and always a fix."""
    failure = migration_error(ServerError(sqlstate, message), NAME, untracked=False)
    assert type(failure) is kind
    assert failure.code == code
    assert failure.fix
    assert message in failure.what
    assert sqlstate in failure.what


@pytest.mark.parametrize("untracked", [True, False])
def test_object_that_exists_is_named_and_nothing_was_applied(untracked: bool) -> None:
    """The error of a file that makes what is there names the object, says what was applied, and how to go on."""
    error = ServerError("42P07", 'relation "users" already exists')
    failure = migration_error(error, NAME, untracked).after(Progress(failed=NAME))
    assert 'relation "users"' in str(failure)
    assert f"Applied: nothing of {NAME}" in str(failure)
    assert "IF NOT EXISTS" in failure.fix
    assert ("no history" in failure.fix) is untracked


@pytest.mark.parametrize("name", ["postgis", "pgcrypto", "uuid-ossp"])
def test_missing_extension_is_named_with_what_to_do(name: str) -> None:
    """The fix for an extension the server lacks names it, and PGBIN and DATABASE_URL."""
    failure = migration_error(ServerError("0A000", f'extension "{name}" is not available'), NAME, untracked=False)
    assert all(word in failure.fix for word in (name, "PGBIN", "DATABASE_URL"))


def test_hint_of_the_server_is_the_fix_when_there_is_no_better_one() -> None:
    """For a SQLSTATE without advice of ours the server's hint is what to do, and is shown once."""
    failure = migration_error(ServerError("42883", "no such function", hint="add a cast"), NAME, untracked=False)
    assert (failure.what, failure.fix) == (f"{NAME}: no such function (42883)", "add a cast")


def test_detail_and_hint_stand_behind_the_cause() -> None:
    """The server's detail and hint follow its message."""
    failure = migration_error(ServerError("23505", "duplicate key", detail="Key (id)=(7) exists.", hint="look"), NAME, untracked=False)
    assert failure.what == f"{NAME}: duplicate key (23505); detail: Key (id)=(7) exists.; hint: look"


def test_very_long_detail_leaves_space_for_the_rest() -> None:
    """A detail of a megabyte does not push what was applied, fix and code out of the message."""
    text = str(migration_error(ServerError("23505", "duplicate key", detail="x" * 1_000_000), NAME, untracked=False).after(Progress(failed=NAME)))
    assert len(text.encode()) <= 1024
    assert text.startswith(f"{NAME}: duplicate key")
    assert "Applied: nothing" in text
    assert "Fix: two rows have one key" in text
    assert text.endswith("[migration_failed]")


@pytest.mark.parametrize("field", ["message", "detail", "hint"])
def test_password_in_the_servers_words_is_masked(field: str) -> None:
    """The server quotes statements; a password in them is not passed on, not even in the fix."""
    words = {"message": "it broke", "detail": "", "hint": "", field: "in ALTER ROLE a PASSWORD 'S3CRET'"}
    error = ServerError("XX000", words["message"], detail=words["detail"], hint=words["hint"])
    error.where = Location("", 1, 1, "alter role a password 'S3CRET'")
    assert "S3CRET" not in str(migration_error(error, NAME, untracked=False))


def test_password_cut_by_the_limit_of_a_detail_is_masked() -> None:
    """A password literal at the end of a detail that is cut stays masked."""
    detail = f"{'x' * 270} PASSWORD 'S3CRET{'S3CRET' * 20}' {'y' * 300}"
    assert "S3CRET" not in str(migration_error(ServerError("XX000", "it broke", detail=detail), NAME, untracked=False))


def test_errors_that_may_pass_are_locks_and_conflicts() -> None:
    """Another attempt is worth it for locks, deadlocks, serialization and objects in use, and for nothing else."""
    assert {"55P03", "40001", "40P01", "55006"} == TRANSIENT


def test_lost_lock_names_the_file_and_keeps_nothing() -> None:
    """A run whose lock was lost says at which file, and what must not be called."""
    error = lock_lost(NAME)
    assert isinstance(error, RunLockLost)
    assert NAME in error.what
    assert "pg_advisory_unlock_all" in error.fix


@pytest.mark.parametrize(
    ("sqlstate", "hint", "instead"),
    [
        ("2BP01", "Use DROP ... CASCADE to drop the dependent objects too.", "change what depends on it"),
        ("2BP01", "Verwenden Sie DROP ... CASCADE, um die abhängigen Objekte ebenfalls zu löschen.", "change what depends on it"),
        ("42P13", "Use DROP FUNCTION f(integer) first.", "RENAME TO"),
        ("0A000", 'Truncate table "b" at the same time, or use TRUNCATE ... CASCADE.', "have them refer to others"),
        ("42809", "Use DROP VIEW to remove a view.", "correct the file"),
        ("23505", "You must delete it.", "give each its own"),
    ],
)
def test_hint_that_destroys_is_not_passed_on(sqlstate: str, hint: str, instead: str) -> None:
    """Where the server's hint is to destroy what is there, the fix is a way that keeps it."""
    failure = migration_error(ServerError(sqlstate, "refused", hint=hint), NAME, untracked=False)
    assert (failure.what, instead in failure.fix) == (f"{NAME}: refused ({sqlstate})", True)


@pytest.mark.parametrize(
    ("before", "refused", "instead"),
    [
        ("CREATE VIEW v AS SELECT i FROM a;", "DROP TABLE a;", "CREATE OR REPLACE VIEW v AS SELECT 1 AS i;\nALTER TABLE a RENAME TO old_a;"),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';",
         "CREATE OR REPLACE FUNCTION f() RETURNS text LANGUAGE sql AS $$ SELECT 'x' $$;",
         "ALTER FUNCTION f RENAME TO f_old;\nCREATE OR REPLACE FUNCTION f() RETURNS text LANGUAGE sql AS $$ SELECT 'x' $$;"),
        ("CREATE TABLE b (i int REFERENCES a);", "TRUNCATE a;", "UPDATE b SET i = NULL;"),
        ("INSERT INTO a VALUES (1);", "INSERT INTO a VALUES (1);", "INSERT INTO a VALUES (1) ON CONFLICT DO NOTHING;"),
        ("CREATE TABLE b (i int); INSERT INTO b VALUES (1), (1);", "CREATE UNIQUE INDEX ON b (i);",
         "UPDATE b SET i = 2 WHERE ctid = (SELECT min(ctid) FROM b);\nCREATE UNIQUE INDEX ON b (i);"),
        ("CREATE TABLE b (i int); INSERT INTO b VALUES (7);", "ALTER TABLE b ADD FOREIGN KEY (i) REFERENCES a;",
         "INSERT INTO a SELECT i FROM b;\nALTER TABLE b ADD FOREIGN KEY (i) REFERENCES a;"),
        ("CREATE TABLE b (i int); INSERT INTO b VALUES (7);", "ALTER TABLE b ADD CHECK (i < 5);", "ALTER TABLE b ADD CHECK (i < 5) NOT VALID;"),
    ],
    ids=["dependent", "return-type", "truncate", "duplicate-in-the-file", "duplicate-in-the-table", "reference", "check"],
)  # fmt: skip
def test_fix_of_a_refused_statement_keeps_what_is_there(
    invoke: Invoke, folder: Folder, before: str, refused: str, instead: str
) -> None:
    """The server's refusals come without its advice to destroy, and the way that the fix names works."""
    folder.write("001_a.sql", f"CREATE TABLE a (i int PRIMARY KEY);\n{before}")
    folder.write("002_b.sql", refused)
    with pytest.raises(MigrationFailed) as caught:
        invoke()
    assert not re.search("(?i)cascade|drop|truncate|remove|delete|hint", f"{caught.value.what.partition(';')[2]} {caught.value.fix}")
    folder.write("002_b.sql", instead)
    assert invoke()["applied_migrations"] == ["002_b.sql"]
