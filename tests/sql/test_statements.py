"""The lexer: where statements end, what they are, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from migrator.errors import PsqlCommand, UnterminatedText
from migrator.formatting import Location
from migrator.sql.classify import Kind, first_code
from migrator.sql.statements import split, split_chunks

# text -> the statements in it; the oracle compares the same texts with what psql sends
HARD_CASES: dict[str, list[str]] = {
    "": [],
    "  \n-- nothing\n": [],
    "SELECT 1": ["SELECT 1"],
    "SELECT 1\n\n": ["SELECT 1"],
    "SELECT 1 -- end": ["SELECT 1 -- end"],
    "SELECT 1\n-- x\n": ["SELECT 1\n-- x"],
    ";;": [";", ";"],
    "/* c */": ["/* c */"],
    "/* c */;": ["/* c */;"],
    "-- a\n  /* b */ SELECT 1; -- c\nSELECT 2;": ["/* b */ SELECT 1;", "SELECT 2;"],
    "SELECT 1;\r\n\r\nSELECT\r\n2;\r\n": ["SELECT 1;", "SELECT\r\n2;"],
    "SELECT 1 -- a;\r, 2; SELECT 3;": ["SELECT 1 -- a;\r, 2;", "SELECT 3;"],
    "SELECT ';', 'it''s;', \"a;\"\"b\";": ["SELECT ';', 'it''s;', \"a;\"\"b\";"],
    "SELECT 'a\\'; SELECT 2;": ["SELECT 'a\\';", "SELECT 2;"],
    "SELECT E'a\\';b'; SELECT 2;": ["SELECT E'a\\';b';", "SELECT 2;"],
    "SELECT e'\\\\'; SELECT 2;": ["SELECT e'\\\\';", "SELECT 2;"],
    "SELECT date'x\\'; SELECT 2;": ["SELECT date'x\\';", "SELECT 2;"],
    "SELECT a$e'x\\'; SELECT 2;": ["SELECT a$e'x\\';", "SELECT 2;"],
    "x$$e'\\'; SELECT 2;": ["x$$e'\\';", "SELECT 2;"],
    "SELECT a.e'\\';'; SELECT 2;": ["SELECT a.e'\\';';", "SELECT 2;"],
    "SELECT E'a'\r'b\\';'; SELECT 2;": ["SELECT E'a'\r'b\\';';", "SELECT 2;"],
    "SELECT E'a'\n'b\\'; SELECT 2;": ["SELECT E'a'\n'b\\';", "SELECT 2;"],
    "SELECT E'a' -- x\n'b\\'; SELECT 2;": ["SELECT E'a' -- x\n'b\\';", "SELECT 2;"],
    "SELECT U&'\\0041', B'01', X'1F', N'a\\'; SELECT 2;": [
        "SELECT U&'\\0041', B'01', X'1F', N'a\\';", "SELECT 2;",
    ],
    "SELECT U&\"a;\", u&'\\';": ["SELECT U&\"a;\", u&'\\';"],
    "SELECT $$;$$, $a$;$$;$a$; SELECT 2;": ["SELECT $$;$$, $a$;$$;$a$;", "SELECT 2;"],
    "SELECT $é$;$é$, $a$ $b$a$; SELECT 2;": ["SELECT $é$;$é$, $a$ $b$a$;", "SELECT 2;"],
    "SELECT a$$; SELECT b$c$d, $1; SELECT é$$;": ["SELECT a$$;", "SELECT b$c$d, $1;", "SELECT é$$;"],
    "SELECT $1$$;$$; SELECT 1$$;$$;": ["SELECT $1$$;$$;", "SELECT 1$$;$$;"],
    "SELECT :a$$;$$, ::a$$; SELECT 2;": ["SELECT :a$$;$$, ::a$$;", "SELECT 2;"],
    "/* /* ; */ ; */ SELECT 1; SELECT /*/ ; */ 2;": ["/* /* ; */ ; */ SELECT 1;", "SELECT /*/ ; */ 2;"],
    "SELECT 1 */* ; */ 2; SELECT 1 +-- ;\n 2; SELECT 1 - -1;": [
        "SELECT 1 */* ; */ 2;", "SELECT 1 +-- ;\n 2;", "SELECT 1 - -1;",
    ],
    "CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2); SELECT ')';": [
        "CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2);", "SELECT ')';",
    ],
    "- 1; SELECT 2;": ["- 1;", "SELECT 2;"],
    "SELECT $; SELECT $a; SELECT 2;": ["SELECT $;", "SELECT $a;", "SELECT 2;"],
    "SELECT (1; SELECT 2": ["SELECT (1; SELECT 2"],
    "SELECT 1); SELECT 2;": ["SELECT 1);", "SELECT 2;"],
    "SELECT :name, :'name', :\"name\", a::int, x := 1;": [
        "SELECT :name, :'name', :\"name\", a::int, x := 1;",
    ],
    "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN a THEN 1 END; END; SELECT 2;": [
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN a THEN 1 END; END;",
        "SELECT 2;",
    ],
    "/* c */ create\n-- x\nor replace procedure p() begin atomic; end; select 2;": [
        "/* c */ create\n-- x\nor replace procedure p() begin atomic; end;", "select 2;",
    ],
    "CREATE FUNCTION f(begin int) AS 'x'; SELECT 2;": ["CREATE FUNCTION f(begin int) AS 'x';", "SELECT 2;"],
    "CREATE FUNCTION beginning() AS 'x'; SELECT 2;": ["CREATE FUNCTION beginning() AS 'x';", "SELECT 2;"],
    "CREATE TABLE function (begin int); BEGIN; END;": ["CREATE TABLE function (begin int);", "BEGIN;",
    "END;"],
    "COPY t (a) FROM STDIN;\n1;\n'\n\\.\nSELECT 2;": ["COPY t (a) FROM STDIN;", "SELECT 2;"],
    "COPY t FROM STDIN; SELECT 1;\n1\n\\.\nSELECT 2;": ["COPY t FROM STDIN;", "SELECT 1;", "SELECT 2;"],
    "COPY t FROM STDIN; SELECT\n1\n\\.\n2;": ["COPY t FROM STDIN;", "SELECT\n2;"],
    "COPY t FROM STDIN;\n\\.\nSELECT 2;": ["COPY t FROM STDIN;", "SELECT 2;"],
    "SET standard_conforming_strings = off;\nSELECT 'a\\';', B'\\', x'\\';\n"
    "SET standard_conforming_strings = on;\nSELECT '\\';": [
        "SET standard_conforming_strings = off;", "SELECT 'a\\';', B'\\', x'\\';",
        "SET standard_conforming_strings = on;", "SELECT '\\';",
    ],
    "\\restrict aBc\nSELECT 1;\n\\unrestrict aBc\n": ["SELECT 1;"],
    "\ufeffSELECT 1;": ["SELECT 1;"],
}  # fmt: skip


def collect(pieces: list[str]) -> list[object]:
    """Return the statements of a text in pieces, with their data."""
    return [(*statement[:5], statement.data and statement.data.read(3)) for statement in split_chunks(pieces)]


@pytest.mark.parametrize(("text", "wanted"), HARD_CASES.items())
def test_statements_end_where_psql_ends_them(text: str, wanted: list[str]) -> None:
    """Each hard case is cut into the expected texts."""
    assert [statement.text for statement in split(text)] == wanted


@pytest.mark.parametrize("text", HARD_CASES)
@pytest.mark.parametrize("size", range(1, 8))
def test_chunks_make_no_difference(text: str, size: int) -> None:
    """The statements, their places and their data do not depend on where the text is cut."""
    assert collect([text[at : at + size] for at in range(0, len(text), size)]) == collect([text])


@pytest.mark.parametrize("text", HARD_CASES)
def test_place_is_that_of_the_text(text: str) -> None:
    """Line and column lead to the statement's first character."""
    text = text.removeprefix("\ufeff")
    for statement in split(text):
        line = text.split("\n")[statement.line - 1]
        assert line[statement.column - 1 :].startswith(statement.text.split("\n")[0])


KINDS = {
    Kind.EMPTY: (";", "/* a */", "/* a */ ;", "/* a */ -- b"),
    Kind.PLAIN: (
        "SELECT 1", 'CREATE INDEX "concurrently" ON t(a)', "REFRESH MATERIALIZED VIEW CONCURRENTLY v",
        "CLUSTER t",
        "ALTER TYPE e ADD VALUE 'x'", "CLUSTER VERBOSE t", 'CLUSTER "t"', "REINDEX TABLE t",
        "SET LOCAL a = 1",
        "REINDEX (CONCURRENTLY false) TABLE t", 'REINDEX (VERBOSE) TABLE "concurrently".x',
        "COPY t TO STDOUT",
        "COPY t FROM '/from stdin'", "SET CONSTRAINTS ALL DEFERRED", "CREATE TABLE database (a int)",
        "E'x' copy t from stdin", "ALTER DATABASE d SET a = 'b'", "(SELECT 1)", "DROP INDEX i",
        'ALTER TABLE t DETACH PARTITION "concurrently"', "ALTER TABLE t DETACH PARTITION p",
        "LOCK TABLE t", "1",
        "COPY (SELECT a FROM stdin) TO STDOUT", "SET LOCAL ROLE x", "$1",
    ),
    Kind.BEGIN: ("BEGIN", "/* a */ begin work", "START TRANSACTION READ ONLY"),
    Kind.COMMIT: ("COMMIT", "END", "commit and chain", "END TRANSACTION"),
    Kind.ROLLBACK: ("ROLLBACK", "ABORT", "ROLLBACK WORK"),
    Kind.PREPARE_TRANSACTION: ("PREPARE TRANSACTION 'x'",),
    Kind.SAVEPOINT: ("SAVEPOINT a", "RELEASE a", "ROLLBACK TO a", "ROLLBACK WORK TO SAVEPOINT a"),
    Kind.SET_TRANSACTION: ("SET TRANSACTION READ ONLY", "SET LOCAL TRANSACTION ISOLATION LEVEL SERIALIZABLE"),
    Kind.ENCODING: ("SET client_encoding = 'LATIN1'", "SET NAMES 'x'", "SET LOCAL client_encoding TO x",
                    "SET SESSION client_encoding TO x", "SET \"client_encoding\" = 'x'"),
    Kind.SESSION: (
        "SET a = 1", "SET SESSION a = 1", "RESET ALL", "SET ROLE x", "SET SESSION AUTHORIZATION x",
        "LISTEN a",
        "SELECT pg_catalog.set_config('search_path', '', false)", "PREPARE a AS SELECT 1", "DEALLOCATE a",
        "UNLISTEN *",
        "LOAD 'x'", "DISCARD PLANS", "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "WITH a AS (SELECT 1) SELECT SET_CONFIG('a', 'b', false)",
    ),
    Kind.COPY_IN: ("COPY t FROM STDIN", 'copy /* a */ s."t" (a, "from") from -- x\n stdin with (format csv)'),
    Kind.OUTSIDE: (
        "CREATE INDEX CONCURRENTLY ON t(a)", "create unique index /* a */ concurrently i on t(a)",
        "VACUUM", "CLUSTER",
        "DROP INDEX CONCURRENTLY i", "REINDEX TABLE CONCURRENTLY t",
        "REINDEX (VERBOSE, CONCURRENTLY) TABLE t",
        "REINDEX (CONCURRENTLY true) INDEX i", "REINDEX SCHEMA s", "REINDEX (VERBOSE) DATABASE d",
        "REINDEX SYSTEM d",
        "ALTER TABLE IF EXISTS ONLY s.t DETACH PARTITION s.p CONCURRENTLY", "VACUUM (ANALYZE) t",
        "CLUSTER VERBOSE",
        "CLUSTER (VERBOSE)", "CREATE DATABASE d", "DROP DATABASE d", "CREATE TABLESPACE t LOCATION 'x'",
        "DISCARD ALL",
        "DROP TABLESPACE t", "ALTER DATABASE d SET TABLESPACE t", "ALTER SYSTEM SET a = 1",
        "COMMIT PREPARED 'x'",
        "ROLLBACK PREPARED 'x'",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in KINDS.items() for text in texts])
def test_kind(kind: Kind, text: str) -> None:
    """Each statement is recognised for what running it needs to know."""
    assert [statement.kind for statement in split(text)] == [kind]


def test_words_are_bare_and_outside_parentheses() -> None:
    """Quoted names, values and what is in parentheses are no words."""
    (statement,) = split("/* a */ Create Table \"x\" /* b */ public.T (a int) -- c\n WITH (f = 'x')")
    assert statement.words == ("create", "table", "public", "t", "with")


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("SELECT 1;\n SELECT 'a''b", 2, 9), ("SELECT E'a\\'", 1, 9), ('SELECT "a""b', 1, 8),
        ("é /* /* */", 1, 3),
        ("DO $$ ; $a$", 1, 4), ("COPY t FROM STDIN;\na\n\\.\n\n'", 5, 1), ("SELECT $a$ $b$", 1, 8),
    ],
)  # fmt: skip
@pytest.mark.parametrize("size", [1, 3, 100])
def test_unterminated_text_is_shown_where_it_begins(text: str, line: int, column: int, size: int) -> None:
    """The error carries the place of the opening quote or comment, and its line."""
    with pytest.raises(UnterminatedText) as caught:
        list(split_chunks(text[at : at + size] for at in range(0, len(text), size)))
    assert caught.value.where == Location("", line, column, text.split("\n")[line - 1])
    assert caught.value.fix


@pytest.mark.parametrize(
    ("command", "fix"),
    [
        ("\\i other.sql", "migration of its own"), ("\\copy t from 'x'", "COPY ... FROM stdin"),
        ("\\c other", "one database"),
        ("\\connect other", "one database"), ("\\set a 1", "write the value"), ("\\encoding LATIN1",
        "TO 'LATIN1'"),
        ("\\echo hi", "RAISE NOTICE"), ("\\.", "on a line of its own"), ("\\;", "write ; instead"),
        ("\\x", "leave it out"),
        ("\\gexec", "DO block"), ("\\restricted", "leave it out"), ("\\", "leave it out"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("before", ["", "SELECT 1 ", "SELECT (1 "])
def test_psql_command_is_refused_with_a_fix(command: str, fix: str, before: str) -> None:
    """A backslash command is refused at its place, with what to write instead."""
    with pytest.raises(PsqlCommand) as caught:
        list(split(f"SELECT 1;\n{before}{command}\nSELECT 2;"))
    assert caught.value.where == Location("", 2, len(before) + 1, before + command)
    assert fix in caught.value.fix


def test_statements_before_an_error_are_yielded() -> None:
    """The lexer is lazy: what comes before a mistake is there before it is met."""
    statements = split("SELECT 1; '")
    assert next(statements).text == "SELECT 1;"


@pytest.mark.parametrize("end", ["\\.\n", "\\.\r\n", "\\.", ""])
@pytest.mark.parametrize("size", [1, 4, 1000])
def test_copy_data_is_read_up_to_its_end(end: str, size: int) -> None:
    """The data ends before the line with a backslash and a dot, or with the text."""
    data = "1\ta\n\\.x\n;'\n"
    text = f"COPY t FROM STDIN; -- x\n{data}{end}"
    statement = next(split_chunks(text[at : at + size] for at in range(0, len(text), size)))
    source = statement.data
    assert source is not None
    assert "".join(iter(lambda: source.read(4), "")) == data
    assert source.read() == ""


def test_places_after_copy_with_a_rest_of_line() -> None:
    """A statement behind COPY on its line, and those after the data, have their true places."""
    places = [(s.text, s.line, s.column) for s in split("COPY t FROM STDIN; A;\n1\n2\n\\.\nB; C;\nD;")]
    assert places[1:] == [("A;", 1, 20), ("B;", 5, 1), ("C;", 5, 4), ("D;", 6, 1)]


def test_memory_is_bounded_by_a_window() -> None:
    """A long text is never held as a whole, neither its statements nor its data."""
    chunk = "INSERT INTO t VALUES (1);\n" * 100
    data = "1\t2\n" * 1000
    taken = 0

    def chunks() -> Iterator[str]:
        nonlocal taken
        for piece in [*[chunk] * 50, "COPY t FROM STDIN;\n", *[data] * 50, "\\.\n"]:
            taken += 1
            yield piece

    for number, statement in enumerate(split_chunks(chunks())):
        assert taken <= number // 100 + 4
        if statement.data:
            assert len(statement.data.read(10)) == 10
            assert taken < 60


@pytest.mark.parametrize(
    ("text", "offset"), [("SELECT 1", 0), ("/* a */ -- b\n /* /* */ */SELECT", 25), ("/* a */", 7),
    ("", 0), ("/* /* a */ SELECT", 17), ("- 1", 0)]
)
def test_first_code(text: str, offset: int) -> None:
    """The first token lies behind comments and white space."""
    assert first_code(text) == offset
