"""script: the statements of one file, the mode they call for, and what is refused before any network."""

from __future__ import annotations

from pathlib import Path

import pytest
from migrator.errors import (
    DbSetupError,
    InvalidEncoding,
    NulByte,
    PsqlCommand,
    UnclosedTransaction,
    UnknownDirective,
    UnterminatedText,
)
from migrator.files.folder import checksum
from migrator.files.migration import Migration
from migrator.scripts.script import Script, read_script


def written(folder: Path, content: str | bytes, *, keep: bool = True) -> Script:
    """Write 003_x.sql and read it."""
    data = content.encode() if isinstance(content, str) else content
    path = folder / "003_x.sql"
    path.write_bytes(data)
    return read_script(Migration(path.name, str(path), checksum(data), len(data)), keep=keep)


@pytest.fixture(params=[True, False], ids=["kept", "read-again"])
def keep(request: pytest.FixtureRequest) -> bool:
    """Return whether the statements are held in memory."""
    return bool(request.param)


@pytest.mark.parametrize(
    ("content", "mode"),
    [
        ("", "transaction"),
        ("\n\n  \n", "transaction"),
        ("\ufeff", "transaction"),
        ("-- nothing yet\n/* nor here */", "transaction"),
        (";;;", "transaction"),
        ("create table t (i int)", "transaction"),
        ("create table t (i int);\ninsert into t values (1);", "transaction"),
        ("BEGIN; create table t (i int); COMMIT;", "transaction"),
        ("begin transaction;\ncreate table t (i int);\nend;", "transaction"),
        ("-- why\nSTART TRANSACTION; select 1; commit work;\n-- done", "transaction"),
        ("BEGIN; COMMIT;", "transaction"),
        ("alter type mood add value 'ok';", "transaction"),
        ("refresh materialized view concurrently v;", "transaction"),
        ("create function f() returns int language plpgsql as $$ begin return 1; end $$;", "transaction"),
        ("select 'create index concurrently i on t (i)';", "transaction"),
        ("-- create index concurrently i on t (i);\nselect 1;", "transaction"),
        ("copy t from stdin;\n1\n\\.\n", "transaction"),
        ("\\restrict abc\nselect 1;\n\\unrestrict abc\n", "transaction"),
        ("create index concurrently i on t (i);", "stepwise"),
        ("create unique index concurrently if not exists i on t (i);", "stepwise"),
        ("drop index concurrently i;", "stepwise"),
        ("reindex table concurrently t;", "stepwise"),
        ("alter table p detach partition q concurrently;", "stepwise"),
        ("select 1; vacuum t;", "stepwise"),
        ("vacuum analyze;", "stepwise"),
        ("alter system set work_mem = '8MB';", "stepwise"),
        ("create database d;", "stepwise"),
        ("drop database d;", "stepwise"),
        ("create tablespace s location '/x';", "stepwise"),
        ("discard all;", "stepwise"),
        ("BEGIN; select 1; COMMIT; BEGIN; select 2; COMMIT;", "stepwise"),
        ("select 0; BEGIN; select 1; COMMIT;", "stepwise"),
        ("BEGIN; select 1; COMMIT; select 2;", "stepwise"),
        ("BEGIN; select 1; ROLLBACK;", "stepwise"),
        ("BEGIN; select 1; COMMIT AND CHAIN; select 2; COMMIT;", "stepwise"),
        ("BEGIN; select 1; COMMIT AND NO CHAIN;", "transaction"),
        ("BEGIN; create table t (i int); COMMIT; create index concurrently i on t (i);", "stepwise"),
        ("-- db_setup: no-transaction\nselect 1;", "stepwise"),
        ("-- db_setup: no-transaction", "stepwise"),
    ],
    ids=lambda value: value.replace("\n", " ")[:60] if isinstance(value, str) else "",
)
def test_mode_is_chosen_by_itself(tmp_path: Path, content: str, mode: str, keep: bool) -> None:
    """A file runs in one transaction unless a statement, several blocks or a directive call for steps."""
    assert written(tmp_path, content, keep=keep).mode == mode


@pytest.mark.parametrize(
    ("content", "opening", "body"),
    [
        ("select 1;", ["BEGIN"], ["select 1"]),
        ("BEGIN;\nselect 1;\nCOMMIT;", ["BEGIN"], ["select 1"]),
        ("begin isolation level serializable; select 1; end;", ["begin isolation level serializable"], ["select 1"]),
        ("start transaction read write; select 1; commit;", ["start transaction read write"], ["select 1"]),
        (
            "begin; set transaction isolation level serializable; select 1; commit;",
            ["begin", "set transaction isolation level serializable"],
            ["select 1"],
        ),
        ("set client_encoding to 'UTF8'; select 1;", ["BEGIN"], ["select 1"]),
        ("begin -- of it\n; select 1; commit;", ["begin -- of it"], ["select 1"]),
        ("select 1; ; select 2", ["BEGIN"], ["select 1", "select 2"]),
    ],
    ids=["none", "plain", "isolation", "read-write", "set-transaction", "encoding", "comment", "empty-statement"],
)
def test_wrapper_of_the_file_is_absorbed(
    tmp_path: Path, content: str, opening: list[str], body: list[str], keep: bool
) -> None:
    """A file's own BEGIN and COMMIT become the run's, with their wishes; what is between them is the body."""
    script = written(tmp_path, content, keep=keep)
    assert script.mode == "transaction"
    opened = [line.strip(" ;") for line in script.opening.split("\n")]
    assert [line for line in opened if line] == opening
    for _ in range(2):
        assert [statement.text.strip(" ;\n") for statement in script.body()] == body


def test_steps_of_a_stepwise_file_keep_its_own_blocks(tmp_path: Path, keep: bool) -> None:
    """A stepwise run sees the file's own BEGIN and COMMIT, but no empty statements and no stray COMMIT."""
    script = written(tmp_path, "commit; select 1; begin; select 2; begin; commit; ; vacuum;", keep=keep)
    assert script.mode == "stepwise"
    words = [statement.text.strip(" ;") for statement in script.steps()]
    assert words == ["select 1", "begin", "select 2", "commit", "vacuum"]


def test_chained_block_begins_again(tmp_path: Path) -> None:
    """Behind COMMIT AND CHAIN the steps have the block's BEGIN once more."""
    script = written(tmp_path, "begin isolation level serializable; select 1; commit and chain; select 2; commit;")
    words = [statement.text.strip(" ;") for statement in script.steps()]
    assert words == [
        "begin isolation level serializable", "select 1", "commit and chain",
        "begin isolation level serializable", "select 2", "commit",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "kind", "place"),
    [
        (b"select 1;\nselect \x00 2;", NulByte, "003_x.sql:2:8"),
        (b"select 1;\nselect 'caf\xe9';", InvalidEncoding, "003_x.sql:2:12"),
        (b"\xff\xfes\x00e\x00l\x00", InvalidEncoding, "003_x.sql:1:1"),
        (b"\xfe\xff\x00s\x00e\x00l", InvalidEncoding, "003_x.sql:1:1"),
        (b"select 1;\nset client_encoding to 'klingon';", InvalidEncoding, "003_x.sql:2:"),
        (b"set client_encoding to 'hex';\nselect 1;", InvalidEncoding, "003_x.sql:1:"),
        (b"set client_encoding to 'unicode_escape';\nselect 1;", InvalidEncoding, "003_x.sql:1:"),
        (b"set client_encoding to 'utf_7';\nselect 1;", InvalidEncoding, "003_x.sql:1:"),
        (b"select 1;\nselect\n  'abc\nselect 2;", UnterminatedText, "003_x.sql:3:3"),
        (b'select "abc', UnterminatedText, "003_x.sql:1:8"),
        (b"select 1;\ndo $$ begin end;", UnterminatedText, "003_x.sql:2:4"),
        (b"do $a$ $$ $$", UnterminatedText, "003_x.sql:1:4"),
        (b"select 1;\n/* a /* b */\nselect 2;", UnterminatedText, "003_x.sql:2:1"),
        (b"select 1;\n\\i other.sql\n", PsqlCommand, "003_x.sql:2:1"),
        (b"\\c other", PsqlCommand, "003_x.sql:1:1"),
        (b"\\copy t from 'x'", PsqlCommand, "003_x.sql:1:1"),
        (b"\\set x 1", PsqlCommand, "003_x.sql:1:1"),
        (b"select 1 \\gexec", PsqlCommand, "003_x.sql:1:10"),
        (b"-- db_setup: no-transactoin\nselect 1;", UnknownDirective, "003_x.sql:1:14"),
        (b"select 1;\n  begin;\nselect 2;", UnclosedTransaction, "003_x.sql:2:3"),
        (b"begin; commit; begin; select 1;", UnclosedTransaction, "003_x.sql:1:16"),
        (b"begin; select 1; commit and chain; select 2;", UnclosedTransaction, "003_x.sql:1:1"),
    ],
    ids=lambda value: ascii(value)[2:40] if isinstance(value, bytes) else "",
)
def test_bad_text_is_refused_with_its_place(
    tmp_path: Path, content: bytes, kind: type[DbSetupError], place: str, keep: bool
) -> None:
    """What can be refused beforehand is, with file, line and column, and a fix."""
    with pytest.raises(kind) as caught:
        written(tmp_path, content, keep=keep)
    assert str(caught.value).startswith(place)
    assert caught.value.fix


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("select 'café';".encode(), "café"),
        (b"\xef\xbb\xbfselect 'caf\xc3\xa9';", "café"),
        (b"set client_encoding = 'latin1';\nselect 'caf\xe9';", "café"),
        (b"SET CLIENT_ENCODING TO LATIN1;\r\nselect 'caf\xe9';", "café"),
        (b"set names 'WIN1252';\nselect '\x80';", "€"),
        (b"-- from an old dump\n\nset client_encoding to 'WIN1251';\nselect '\xcf';", "П"),
        (b"set session client_encoding to sjis;\nselect '\x96\xbc';", "名"),
        (b"set client_encoding to 'UTF8';\nselect 'caf\xc3\xa9';", "café"),
        (b"set client_encoding to 'SQL_ASCII';\nselect 'caf\xc3\xa9';", "café"),
        (b"set client_encoding to 'utf-8';\nselect 'caf\xc3\xa9';", "café"),
        (b"set client_encoding to 'LATIN9';\nselect '\xa4';", "€"),
        (b"set client_encoding to 'KOI8R';\nselect '\xf0';", "П"),
        (b"set client_encoding to default;\nselect 'caf\xc3\xa9';", "café"),
        (b"set client_encoding to 'ISO88591';\nselect 'caf\xe9';", "café"),
        (b"set client_encoding to 'WIN';\nselect '\xcf';", "П"),
        (b"/*\nset client_encoding to 'latin1';\n*/\nselect 'caf\xc3\xa9';", "café"),
    ],
    ids=lambda value: ascii(value)[2:50] if isinstance(value, bytes) else "",
)
def test_text_is_decoded_from_the_encoding_it_declares(tmp_path: Path, content: bytes, text: str) -> None:
    """A file is UTF-8 unless it sets another client_encoding, by any name the server knows."""
    assert any(text in statement.text for statement in written(tmp_path, content).body())


def test_line_of_every_statement_is_that_of_the_file(tmp_path: Path, keep: bool) -> None:
    """Line and column count from the file's first character, behind a BOM and with CRLF."""
    script = written(tmp_path, "\ufeff-- a\r\nselect 1;\r\n\r\n  select 2; select 3", keep=keep)
    assert [(item.line, item.column) for item in script.body()] == [(2, 1), (4, 3), (4, 13)]


@pytest.mark.parametrize("size", [(1 << 18) - 1, 1 << 18, (1 << 18) + 1, (1 << 19) + 7])
def test_large_file_reads_as_the_same_statements(tmp_path: Path, size: int, keep: bool) -> None:
    """A statement, a character of two bytes and a line end may lie across the border of two windows."""
    head = "select '" + "é" * ((size - 9) // 2) + "x" * ((size - 9) % 2)
    script = written(tmp_path, f"{head}é\r\n';\r\nselect 2;", keep=keep)
    found = list(script.body())
    assert found[0].text.strip(" ;") == f"{head}é\r\n'"
    assert (found[1].text.strip(" ;"), found[1].line) == ("select 2", 3)


@pytest.mark.parametrize(("bad", "kind"), [(b"\x00", NulByte), (b"\xff", InvalidEncoding)], ids=["nul", "encoding"])
@pytest.mark.parametrize("before", [10, (1 << 18) - 20, (1 << 18) + 20, (1 << 19) + 5])
def test_bad_byte_of_a_large_file_has_its_true_place(
    tmp_path: Path, before: int, bad: bytes, kind: type[DbSetupError]
) -> None:
    """Line and column of a bad byte are the file's, also when its line began in an earlier window."""
    with pytest.raises(kind) as caught:
        written(tmp_path, b"select 1;\n" + b"x" * before + bad)
    where = caught.value.where
    assert where is not None
    assert (where.line, where.column) == (2, before + 1)


def test_column_of_a_bad_byte_counts_characters(tmp_path: Path) -> None:
    """A column counts characters, as for every other error, not the bytes of UTF-8 before it."""
    with pytest.raises(NulByte) as caught:
        written(tmp_path, "select 'ééé".encode() + b"\x00';")
    assert caught.value.where is not None
    assert caught.value.where.column == 12
