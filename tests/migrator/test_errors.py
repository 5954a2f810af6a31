"""errors: messages that fit into a CloudFormation reply, the cause first, the caret in place, no password."""

from __future__ import annotations

import ast
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from migrator import errors
from migrator.errors import DbSetupError, UsageError
from migrator.formatting import Location, cut, mask_passwords

LIMIT = 1024
LONG = "x" * 5000
WIDE = "ü€😀" * 2000
MANY = ", ".join(f"{number:03d}_some_migration.sql" for number in range(1, 200))
LINE = "alter table " + "a_very_long_name, " * 400


def kinds(base: type[DbSetupError] = DbSetupError) -> Iterator[type[DbSetupError]]:
    """Yield an error class of the module and all that are made from it."""
    if base.__module__ == errors.__name__:
        yield base
    for kind in base.__subclasses__():
        yield from kinds(kind)


KINDS = sorted(set(kinds()) - {errors.ServerError}, key=lambda kind: kind.__name__)


def width(text: str) -> int:
    """Return the columns a text takes on a terminal."""
    return sum(1 + (unicodedata.east_asian_width(character) in "WF") for character in text)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_has_a_docstring_and_a_stable_code(kind: type[DbSetupError]) -> None:
    """Every error says what it is, and has a code of small letters and underscores in its message."""
    assert kind.__doc__
    assert kind.code.replace("_", "").isalpha()
    assert kind.code.islower()
    assert f"[{kind.code}]" in str(kind("it went wrong"))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_exit_status_is_2_for_wrong_usage_130_for_an_interruption_and_1_for_the_rest(kind: type[DbSetupError]) -> None:
    """The command line exits with 2 when it was used wrongly, 130 when interrupted, 1 for every other failure."""
    interrupted = issubclass(kind, errors.RunInterrupted)
    assert kind.exit_status == (2 if issubclass(kind, UsageError) else 130 if interrupted else 1)


def test_message_has_every_part_in_order() -> None:
    """A message has the place and cause, the line with its caret, what was applied, the fix and the code."""
    error = errors.MigrationFailed(
        'syntax error at or near "COLUM" (42601)',
        where=Location("003_add_phone.sql", 4, 19, "ALTER TABLE users ADD COLUM phone text;"),
        applied="nothing of 003_add_phone.sql",
        fix="correct the statement",
    )
    assert str(error).splitlines() == [
        '003_add_phone.sql:4:19  syntax error at or near "COLUM" (42601)',
        "  4 | ALTER TABLE users ADD COLUM phone text;",
        "                        ^",
        "Applied: nothing of 003_add_phone.sql",
        "Fix: correct the statement",
        "[migration_failed]",
    ]


def test_parts_that_are_empty_leave_no_line() -> None:
    """A message without place, applied or fix has only the cause and the code."""
    assert str(errors.RunLockTimeout("another runner is at work")) == "another runner is at work\n[run_lock_timeout]"


@pytest.mark.parametrize("fix", ["", "do this", LONG, WIDE], ids=["none", "short", "long", "wide"])
@pytest.mark.parametrize("applied", ["", "nothing", MANY, WIDE], ids=["none", "short", "many", "wide"])
@pytest.mark.parametrize("what", ["it failed", LONG, WIDE], ids=["short", "long", "wide"])
@pytest.mark.parametrize("line", ["", LINE, WIDE], ids=["no-line", "long-line", "wide-line"])
def test_message_fits_into_a_kilobyte(line: str, what: str, applied: str, fix: str) -> None:
    """However long its parts are, a message is at most 1,024 bytes of UTF-8 and begins with place and cause."""
    where = Location("003_x.sql", 12345, 900, line) if line else None
    text = str(DbSetupError(what, where=where, applied=applied, fix=fix))
    assert len(text.encode()) <= LIMIT
    assert text.startswith(f"003_x.sql:12345:900  {what[:30]}" if line else what[:30])


@pytest.mark.parametrize(
    ("what", "applied", "line"),
    [("it failed", MANY, ""), (LONG, MANY, LINE), ("it failed", "", WIDE), (WIDE, WIDE, WIDE)],
    ids=["many-files-applied", "everything-long", "wide-line", "everything-wide"],
)
def test_long_message_keeps_the_code_and_the_fix(what: str, applied: str, line: str) -> None:
    """What is cut from a long message is neither its stable code nor its short fix."""
    where = Location("003_x.sql", 1, 1, line) if line else None
    text = str(errors.MigrationFailed(what, where=where, applied=applied, fix="correct the statement"))
    assert "Fix: correct the statement" in text
    assert text.endswith("[migration_failed]")


@pytest.mark.parametrize("field", ["what", "fix", "applied", "line"])
def test_message_can_always_be_encoded(field: str) -> None:
    """A lone surrogate, as undecodable names and JSON bring it, does not make a message fail."""
    parts = {"what": "it failed", "fix": "", "applied": "", "line": "x", field: "bad \udcff name"}
    where = Location("003_x.sql", 1, 1, parts["line"])
    assert "[error]" in str(DbSetupError(parts["what"], fix=parts["fix"], applied=parts["applied"], where=where))


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("alter table t ad column c int;", "ad"),
        ("\talter\ttable t\tad column c int;", "ad"),
        ("select " + "a, " * 100 + "zzz from t", "zzz"),
        ("zzz" + ", a" * 100, "zzz"),
        ("create role a password 'swordfish-swordfish' zzz", "zzz"),
        ("create role a password '' zzz", "zzz"),
        ("create role a password 'x', b password 'a rather long one' zzz", "zzz"),
        ("select '名前', zzz", "zzz"),
        ("select 'é', zzz\r\n", "zzz"),
    ],
    ids=["plain", "tabs", "far-right", "far-left", "behind-password", "behind-empty-password",
         "behind-two-passwords", "behind-wide-characters", "carriage-return"],
)  # fmt: skip
@pytest.mark.parametrize("number", [1, 1234567], ids=["line-1", "line-1234567"])
def test_caret_is_exactly_under_the_column(line: str, word: str, number: int) -> None:
    """The caret is under the first character of the place, whatever is shown before it."""
    shown, caret = Location("f.sql", number, line.index(word) + 1, line).excerpt().split("\n")
    assert caret.strip() == "^"
    assert len(caret) - 1 == width(shown[: shown.rindex(word)])


def test_excerpt_is_a_window_of_a_long_line() -> None:
    """Of a line of 100,000 characters only a window around the column is shown."""
    excerpt = Location("f.sql", 1, 50_000, "y" * 100_000).excerpt()
    assert len(excerpt) < 300


@pytest.mark.parametrize("gap", range(0, 130, 10))
def test_password_cut_by_the_window_is_masked_too(gap: int) -> None:
    """A password literal of which the window shows only a part is not shown in clear."""
    line = f"create role a password '{'S3CRET' * 8}' {' ' * gap}zzz login"
    excerpt = Location("f.sql", 1, line.index("zzz") + 1, line).excerpt()
    assert "S3CRET" not in excerpt


@pytest.mark.parametrize(
    "text",
    [
        "create role a password 'S3CRET'",
        "CREATE ROLE a ENCRYPTED PASSWORD'S3CRET'",
        "alter role a password\t'S3CRET' login",
        "alter role a password 'S3CRET''S3CRET'",
        "alter role a password 'S3CRET",
        "alter role a password E'x\\'S3CRET'",
        "alter role a password U&'S3CRET'",
        "alter role a password $$S3CRET$$",
        "alter role a password $tag$S3CRET$tag$",
        "alter role a password /* new */ 'S3CRET'",
        "create user mapping for a server s options (user 'b', password 'S3CRET')",
        "create subscription s connection 'host=h password=S3CRET dbname=d' publication p",
        "select dblink_connect('host=h password=S3CRET')",
        "select dblink_connect('postgresql://u:S3CRET@h/d')",
        "execute 'alter role a password ''S3CRET'''",
        """select '{"db_password": "S3CRET\\"S3CRET"}'::int""",
    ],
    ids=["plain", "no-space", "tab", "doubled-quote", "unterminated", "escape-string", "unicode-string", "dollar",
         "tagged-dollar", "comment-between", "user-mapping", "subscription", "dblink", "url", "in-a-string", "json"],
)  # fmt: skip
def test_password_literal_is_masked(text: str) -> None:
    """The password in a statement is replaced, however SQL lets it be written."""
    assert "S3CRET" not in mask_passwords(text)
    assert "S3CRET" not in Location("f.sql", 1, 1, text).excerpt()


@pytest.mark.parametrize(
    "text",
    ["select 'a', 'b'", "comment on column t.c is 'x'", "create table password (a text default 'x')", ""],
    ids=["strings", "comment", "a-table-of-that-name", "empty"],
)
def test_other_literals_are_not_masked(text: str) -> None:
    """Text without a password is shown as it is."""
    assert mask_passwords(text) == text


@pytest.mark.parametrize(
    ("text", "size", "expected"),
    [("abc", 3, "abc"), ("abcd", 3, "..."), ("abcdefgh", 6, "abc..."), ("üüüü", 8, "üüüü"), ("üüüü", 6, "ü..."), ("", 0, "")],
)
def test_cut_counts_bytes_and_leaves_whole_characters(text: str, size: int, expected: str) -> None:
    """A text is cut to bytes of UTF-8, never inside a character, and shows that it was cut."""
    assert cut(text, size) == expected



def test_server_error_says_sqlstate_and_message() -> None:
    """What the server said stands with its SQLSTATE, and its fields stay."""
    error = errors.ServerError("23505", "duplicate key", position=4, detail="Key (a)=(1)", table="t")
    assert error.what == "duplicate key (23505)"
    assert (error.sqlstate, error.position, error.table) == ("23505", 4, "t")


def test_the_tree_of_errors_is_written_down_where_it_is_made() -> None:
    """Each class directly below DbSetupError stands in the tree at the head of the module."""
    tree = ast.get_docstring(ast.parse(Path(errors.__file__).read_text("utf-8"))) or ""
    branches = {kind.__name__ for kind in DbSetupError.__subclasses__() if kind.__module__ == errors.__name__}
    assert {name for name in branches if name not in tree} == set()
