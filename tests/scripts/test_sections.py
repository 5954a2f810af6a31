"""sections: the down migration that another tool keeps in the same file, and comments that are none of its marks."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
from migrator.errors import DownSection
from migrator.files import Migration
from migrator.files.folder import read_folder
from migrator.scripts import down_section

MARKS = [  # in the spellings that the tools accept
    "-- Down Migration", "-- down migration", "--Down  Migration", "---- DOWN\tMIGRATION", "  -- - Down Migration: users",
    "-- +goose Down", "-- +goose down", "--+goose DOWN", "--   +goose   Down  ", "-- -- +goose Down --", "-- Down +goose",
    "-- +migrate Down", "-- +migrate Down notransaction", "-- +micrate Down", "-- +migration down", "-- +down",
    "-- migrate:down", "--migrate:down", "--  migrate:down transaction:false", "-- migrate: down", "-- MIGRATE:DOWN",
    "-- migration:down", "---- create above / drop below ----", "---- create above/drop below ----", "-- //@UNDO",
    "--//@UNDO", "-- // @UNDO", "-- // the way back @UNDO", "-- @UNDO", "-- @undo", "-- !Downs", "# --- !Downs", "--- !Downs",
    "-- 1 down", "--2 DOWN", "-- rambler down", "-- DOWN", "--down", "-- Down:", "-- [down]", "-- @down", "-- @DOWN",
    "-- @down {", "-- @Down()", "-- #DOWN", "--;; down", "-- :down", "-- ==== DOWN ====", "-- DOWN ==", "-- __down__",
    "-- Down: drop it", "-- DOWN (by hand)", "-- Down - drop it", "-- down script", "-- Down section of this",
    "-- migrate down", "-- downgrade --", "-- Rollback", "-- ROLLBACK:", "-- Undo", "-- revert", "-- rollback script",
    "-- undo migration:",
]  # fmt: skip
PROSE = [
    "-- going down the list", "-- down the drain", "-- Downtime: none", "-- down-sampled values", "-- markdown",
    "-- drops what is below", "-- this cannot be undone", "-- undo log of the shop", "-- rollback is not needed",
    "-- roll back with 004.down.sql", "-- see the down migration", "-- revert the change of last week",
    "-- no down migration", "-- 2 downloads", "-- +1 for downloads", "-- migrate:downloads", "-- scale up and down",
    "-- goose Down", "-- run migrate down after it", "-- // goes down", "-- Rollback: DROP TABLE t;", "-- up", "-- @download",
]  # fmt: skip
UPS = {
    "-- Down Migration": "-- Up Migration", "-- +goose Down": "-- +goose Up", "-- migrate:down": "-- migrate:up transaction:false",
    "-- !Downs": "-- !Ups", "-- 1 down": "-- 2 up", "-- DOWN": "-- UP", "-- @down": "-- @up",
}  # fmt: skip


def written(folder: Path, content: str | bytes) -> Migration:
    """Return the migration of a file as a run reads it."""
    (folder / "003_x.sql").write_bytes(content.encode() if isinstance(content, str) else content)
    (file,) = read_folder(folder).files
    return file


def place(folder: Path, content: str | bytes) -> tuple[int, int] | None:
    """Return line and column of the mark of a file with a down section, None for a file without one."""
    error = down_section(written(folder, content))
    if error is None:
        return None
    assert isinstance(error, DownSection)
    assert error.where is not None
    return error.where.line, error.where.column


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("mark", MARKS)
def test_marks(tmp_path: Path, mark: str, ends: str) -> None:
    """A statement below a mark is refused, with the place of the mark, whatever ends the lines."""
    column = mark.index("--") + 1
    text = f"create table t (i int);\n{mark}\ndrop table t;\n".replace("\n", ends)
    wanted = (1, len("create table t (i int);\r") + column) if ends == "\r" else (2, column)
    assert place(tmp_path, text) == wanted


@pytest.mark.parametrize("prose", PROSE)
def test_prose(tmp_path: Path, prose: str) -> None:
    """A comment that only speaks of it is no mark."""
    assert place(tmp_path, f"create table t (i int);\n{prose}\ndrop table t;\n") is None


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("-- +goose Down\ndrop table t;", (1, 1)),
        ("\ufeff-- +goose Down\ndrop table t;", (1, 1)),
        ("-- Rollback:\n-- drop table t;\n\ncreate table t ();", None),
        ("-- Add t\n-- Down migration: drop table t;\ncreate table t ();\n", None),
        ("-- Rollback:\n-- drop table t;\n\ncreate table t ();\n-- DOWN\ndrop table t;", (5, 1)),
        ("-- Rollback:\n-- drop table t;\n\ncreate table t ();\n-- +goose Down\ndrop table t;", (5, 1)),
        ("-- Rollback:\n-- up:\ncreate table t ();\n-- down:\ndrop table t;", (4, 1)),
        ("-- up\n-- down\ndrop table t;", (2, 1)),
        ("-- DOWN\nbegin;\ndrop table t;\ncommit;\n-- UP\ncreate table t ();", (1, 1)),
        ("select 1;\n-- DOWN\n", None),
        ("select 1;\n-- DOWN\n-- drop table t;\n/* drop table t; */\n", None),
        ("select 1;\n-- DOWN", None),
        ("begin;\nselect 1;\n-- DOWN\ncommit;\n", None),
        ("begin;\nselect 1;\ncommit;\n-- DOWN\nbegin;\ndrop table t;\ncommit;", (4, 1)),
        ("select 1; -- DOWN\nselect 2;", None),
        ("select '\n-- DOWN\n'; select 2;", None),
        ('select 1 as "\n-- DOWN\n"; select 2;', None),
        ("select $$\n-- DOWN\n$$; select 2;", None),
        ("select $a$\n-- DOWN\n$$\n$a$; select 2;", None),
        ("select e'\\'\n-- DOWN\n'; select 2;", None),
        ("/*\n-- DOWN\n*/ select 2;", None),
        ("/* a /* b */\n-- DOWN\n*/ select 2;", None),
        ("/* DOWN */\nselect 2;", None),
        ("/* made by hand */\n-- +goose Down\nselect 2;", (2, 1)),
        ("create table t (\n-- up\na int,\n-- down\nb int\n);", None),
        ("create function f() returns int language sql begin atomic\n-- down\nselect 1;\nend;\nselect 2;", None),
        ("copy t from stdin;\n-- DOWN\n\\.\nselect 2;", None),
        ("copy t from stdin;\n1\n\\.\n-- DOWN\nselect 2;", (4, 1)),
        ("create table t ()\n-- DOWN\n;\n", None),
        ("create table t ()\n  -- DOWN\ndrop table t", (2, 3)),
        ("# --- !Ups\ncreate table t ();\n# --- !Downs\ndrop table t;", (3, 3)),
        ("select 1;\n-- DOWN\n\\restrict abc\nselect 2;", (2, 1)),
        ("select 1;\n-- DOWN\nselect 'never closed", None),
        ("select 1;\n-- DOWN\nselect 2;\nselect 'never closed", (2, 1)),
    ],
)
def test_what_is_a_mark_and_what_follows(tmp_path: Path, text: str, wanted: tuple[int, int] | None) -> None:
    """A mark counts as a comment on a line of its own, as psql sees it, and when a statement follows."""
    assert place(tmp_path, text) == wanted


@pytest.mark.parametrize(("down", "up"), UPS.items(), ids=list(UPS))
def test_the_down_migration_may_come_first(tmp_path: Path, down: str, up: str) -> None:
    """It goes on to the next mark of the same tool for up; what is only announced is nothing."""
    assert place(tmp_path, f"{down}\ndrop table t;\n{up}\ncreate table t (i int);") == (1, 1)
    assert place(tmp_path, f"{down}\n{up}\ncreate table t (i int);\n") is None
    assert place(tmp_path, f"{up}\ncreate table t (i int);\n{down}\n-- nothing\n") is None
    assert place(tmp_path, f"{up}\n{down}\n-- rambler up\ncreate table t (i int);\n") == (2, 1)


@pytest.mark.parametrize("size", [1 << 15, 1 << 18, (1 << 18) + (1 << 15), 2 << 20])
def test_mark_of_a_large_file(tmp_path: Path, size: int) -> None:
    """A mark counts wherever it is, across the border of two pieces too."""
    for before in range(size - 17, size + 3):
        text = f"select '{'x' * (before - 11)}';\n-- +goose Down\ndrop table t;\n"
        assert text.index("--") == before
        assert place(tmp_path, text) == (2, 1)


def test_large_file_is_read_in_pieces(tmp_path: Path) -> None:
    """The search holds a window of the file, not the file."""
    file = written(tmp_path, f"insert into t values ('{'x' * 5000}');\n" * 2000 + "-- DOWN\ndrop table t;\n")
    tracemalloc.start()
    assert down_section(file) is not None
    assert tracemalloc.get_traced_memory()[1] < file.size / 3
    tracemalloc.stop()


@pytest.mark.parametrize(
    "line",
    ["-- +" + "-" * 300_000, "-- " + " " * 300_000 + "x", "--" + "/" * 300_000, "-- " + "1" * 300_000, "-- +" + "a" * 300_000,
     "-- down" + " " * 300_000 + "x", "-- " + "=-" * 150_000 + "x", " " * 300_000, "-- +goose" + "- " * 150_000, "#" * 300_000],
    ids=lambda line: line[:8],
)  # fmt: skip
def test_long_line(tmp_path: Path, line: str) -> None:
    """A line costs no more than its length, which a quadratic expression would turn into hours."""
    assert place(tmp_path, f"select 1\n{line}\n;\n-- +goose Down\nselect 2;") == (4, 1)


def test_liquibase(tmp_path: Path) -> None:
    """An empty rollback of Liquibase ends where the next change begins."""
    text = "--liquibase formatted sql\n--changeset a:1\nselect 1;\n--rollback\n--changeset a:2\nselect 2;\n--rollback drop table t;\n"
    assert place(tmp_path, text) is None


def test_message(tmp_path: Path) -> None:
    """The error names tool, mark and first line, and says how the file is split."""
    error = down_section(written(tmp_path, "create table t ();\n\n-- +goose Down\n\ndrop table t;\n"))
    assert str(error) == (
        '003_x.sql:3:1  003_x.sql has a down migration below "-- +goose Down" (goose, sql-migrate), from line 5 on, which '
        "is not run forward\n"
        "  3 | -- +goose Down\n"
        "      ^\n"
        "Fix: split the file: move that part to 003_x.down.sql, which rollback runs; if it is to be run forward all the "
        'same, write "-- db_setup: forward-only" as its first line\n'
        "[down_section]"
    )
