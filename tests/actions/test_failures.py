"""What a developer reads when a migration fails: the place, the line, the cause, what was applied, and the fix."""

from __future__ import annotations

import pytest
from migrator.errors import (
    MAX_MESSAGE_BYTES,
    DbSetupError,
    MigrationFailed,
    MissingExtension,
    NulByte,
    PsqlCommand,
    UnclosedTransaction,
    UnknownDirective,
    UnreadableFile,
    UnterminatedText,
)

from tests.plugins.databases import Database
from tests.plugins.folders import Folder
from tests.plugins.runs import Invoke

ROWS = "".join(f"INSERT INTO t VALUES ({n});\n" for n in range(1, 80_001))

PLACES = {
    "syntax": ("CREATE TABLE u (i int);\nALTER TABLE u\n  ADD COLUMN j int,\n  ADD COLUMN k int,;", '001_x.sql:4:20  syntax error at or near ";"'),
    "unknown table": ("SELECT 1;\n\nSELECT * FROM missing;", '001_x.sql:3:15  relation "missing" does not exist (42P01)'),
    "unknown column behind a comment": ("/* a\nb */ SELECT 1,\n\tnope;", '001_x.sql:3:2  column "nope" does not exist (42703)'),
    "second statement of a line": ("SELECT 1; SELECT nope;", '001_x.sql:1:18  column "nope" does not exist'),
    "beyond the basic plane": ("SELECT '\U0001f600é', nope;", '001_x.sql:1:14  column "nope" does not exist'),
    "at run time": ("CREATE TABLE u (i int PRIMARY KEY);\nINSERT INTO u VALUES (1);\n\n-- again\nINSERT INTO u VALUES (1);", "001_x.sql:5:1  duplicate key"),
    "in row 80,000": (f"CREATE TABLE t (i int CHECK (i < 80000));\n{ROWS}", '001_x.sql:80001:1  new row for relation "t" violates'),
    "inside a function": ("DO $$ BEGIN\n  PERFORM 1 / 0;\nEND $$;", "001_x.sql:1:1  division by zero (22012)"),
    "in copied data": ("CREATE TABLE u (i int);\nCOPY u FROM stdin;\n1\n2\nthree\n\\.\n", "001_x.sql:5:1  invalid input syntax for type integer"),
    "in a wrapper": ("BEGIN;\nCREATE TABLE u (i int);\nSELECT nope;\nCOMMIT;", '001_x.sql:3:8  column "nope"'),
    "at commit": ("CREATE TABLE a (i int PRIMARY KEY);\nCREATE TABLE b (i int REFERENCES a DEFERRABLE INITIALLY DEFERRED);\nINSERT INTO b VALUES (1);", '001_x.sql: insert or update on table "b" violates foreign key'),
    "in a block of several": ("BEGIN; SELECT 1; COMMIT;\nBEGIN;\nSELECT 1;\nSELECT nope;\nCOMMIT;", '001_x.sql:4:8  column "nope"'),
    "windows line ends": ("SELECT 1;\r\n\r\nSELECT nope;\r\n", '001_x.sql:3:8  column "nope"'),
    "behind a deallocated statement": ("PREPARE p AS SELECT 1;\nEXECUTE p;\nDEALLOCATE p;\nSELECT 1 / 0;", "001_x.sql:4:1  division by zero"),
    "hidden outside statement": ("CREATE TABLE u (i int);\nDO $$ BEGIN EXECUTE 'VACUUM'; END $$;", "001_x.sql:2:1  VACUUM cannot be executed from a function"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "start"), PLACES.values(), ids=PLACES)
def test_place(invoke: Invoke, folder: Folder, text: str, start: str) -> None:
    """Every error of the server begins with file, line and column of its statement, or of its token."""
    folder.write("001_x.sql", text)
    with pytest.raises(MigrationFailed) as caught:
        invoke()
    message = str(caught.value)
    assert message.startswith(start)
    assert len(message.encode()) <= MAX_MESSAGE_BYTES
    assert "Fix: " in message


def test_whole_message(invoke: Invoke, folder: Folder, database: Database) -> None:
    """The message: place and cause, the line with a caret, what was applied, the fix, the code."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("002_b.sql", "CREATE TABLE b (i int);\nALTER TABLE b\n  ADD COLUM phone text;")
    with pytest.raises(MigrationFailed) as caught:
        invoke()
    assert str(caught.value) == (
        '002_b.sql:3:19  syntax error at or near "text" (42601)\n'
        "  3 |   ADD COLUM phone text;\n"
        "                        ^\n"
        "Applied: 001_a.sql (applied before in this run); nothing of 002_b.sql\n"
        "Fix: correct the statement and run again\n"
        "[migration_failed]"
    )
    assert database.query("SELECT to_regclass('a') IS NOT NULL, to_regclass('b')") == [(True, None)]
    assert database.query("SELECT outcome, message FROM db_setup.runs") == [("failed", str(caught.value))]


REFUSED: dict[str, tuple[str | bytes, type[DbSetupError], str]] = {
    "nul": (b"SELECT 1;\nSELECT '\x00';", NulByte, "002_x.sql:2:9"),
    "not utf-8": (b"SELECT 1;\n-- caf\xe9\n", DbSetupError, "002_x.sql:2:7  byte 0xe9 is not utf-8"),
    "not what is declared": (b"SET client_encoding = 'EUC_JP';\nSELECT '\xff';", DbSetupError, "002_x.sql:2:9  byte 0xff is not euc_jp"),
    "two encodings": (b"SET client_encoding = 'LATIN1';\nSET client_encoding = 'UTF8';", DbSetupError, "002_x.sql:2:24  the file declares two"),
    "unknown encoding": ("SET client_encoding = 'KLINGON';", DbSetupError, '002_x.sql:1:24  unknown client_encoding "klingon"'),
    "utf-16": ("SELECT 1;".encode("utf-16"), DbSetupError, "002_x.sql:1:1  the file is UTF-16"),
    "quote": ("SELECT 1;\n  SELECT 'it;\n\n", UnterminatedText, "002_x.sql:2:10"),
    "name": ('SELECT "it;', UnterminatedText, "002_x.sql:1:8"),
    "dollar quote": ("\nDO $x$ BEGIN; $$ END;", UnterminatedText, "002_x.sql:2:4"),
    "comment": ("SELECT 1; /* a /* b */ ", UnterminatedText, "002_x.sql:1:11"),
    "psql command": ("SELECT 1;\n\\i other.sql\n", PsqlCommand, "002_x.sql:2:1"),
    "psql copy": ("\\copy t from 'x.csv'\n", PsqlCommand, "002_x.sql:1:1"),
    "directive": ("-- db_setup: no-transactoin\nSELECT 1;", UnknownDirective, '002_x.sql:1:14  unknown directive "no-transactoin"'),
    "open transaction": ("SELECT 1;\nBEGIN;\nSELECT 2;", UnclosedTransaction, "002_x.sql:2:1"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "kind", "start"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("event", [{}, {"action": "plan"}], ids=["migrate", "plan"])
def test_refused_before_anything_is_touched(
    invoke: Invoke, folder: Folder, database: Database, content: str | bytes, kind: type[DbSetupError], start: str,
    event: object,
) -> None:  # fmt: skip
    """A text that cannot be run is refused with its place before the first file runs, by plan as by migrate."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    folder.write("002_x.sql", content)
    with pytest.raises(kind) as caught:
        invoke(event)
    assert str(caught.value).startswith(start)
    assert database.query("SELECT to_regclass('a'), to_regclass('db_setup.history')") == [(None, None)]


def test_missing_extension(invoke: Invoke, folder: Folder) -> None:
    """An extension that the server does not have is refused with the way to a server that has it."""
    folder.write("001_x.sql", 'SELECT 1;\nCREATE EXTENSION "no-such-thing";')
    with pytest.raises(MissingExtension, match="no-such-thing") as caught:
        invoke()
    assert "PGBIN" in caught.value.fix
    assert "DATABASE_URL" in caught.value.fix


def test_not_a_file(invoke: Invoke, folder: Folder, tmp_path: object) -> None:
    """A pipe with the name of a migration is refused; reading it would never end."""
    import os

    os.mkfifo(folder.path / "001_x.sql")
    with pytest.raises(UnreadableFile, match="not a regular file"):
        invoke()


def test_password_in_a_failing_statement(
    invoke: Invoke, folder: Folder, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    """A password that somebody wrote into a file is neither in the error, nor in the log, nor in the history."""
    folder.write("001_x.sql", "CREATE ROLE errors_r PASSWORD 'canary-1234' NOSUCHOPTION;")
    with pytest.raises(MigrationFailed) as caught:
        invoke()
    shown = str(caught.value) + repr(caught.value) + capsys.readouterr().out
    assert "001_x.sql:1:45" in shown
    assert "canary-1234" not in shown
    assert "canary" not in str(database.query("SELECT * FROM db_setup.runs"))


def test_user_without_privileges(invoke: Invoke, folder: Folder, database: Database) -> None:
    """A user who may not make our schema learns what to grant; one who may not read it, who owns it."""
    database.execute(
        "DO $$ BEGIN CREATE ROLE errors_guest LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
    )
    folder.write("001_x.sql", "SELECT 1;")
    guest = database.url.replace("postgres@", "errors_guest@")
    with pytest.raises(DbSetupError, match=f'GRANT CREATE ON DATABASE "{database.name}" TO "errors_guest"'):
        invoke(DATABASE_URL=guest)
    invoke()
    with pytest.raises(DbSetupError, match='run with the credentials of "postgres"'):
        invoke(DATABASE_URL=guest)
