"""Everything that the documents show is done, in their order, and prints what they say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from shutil import copytree

import pytest
from migrator.cli.local_server import LocalServer

from tests.docs.conftest import MakeReader
from tests.docs.documents import DOCUMENTS, GUIDE, PAGES, README, REFERENCE, blocks
from tests.plugins.databases import Database, MakeDatabase

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def test_readme(make_reader: MakeReader, server: LocalServer) -> None:
    """From a clone: make run, again, a new file, again, its failure and fix, copies, another server, make help."""
    reader = make_reader(
        "db_setup", "cdk", "migrations", "Makefile", ".locks", PGBIN=server._environ.get("PGBIN", "")
    )
    (reader.folder.parent / "shop").mkdir()
    reader.follow(README)


def test_guide(make_reader: MakeReader, database: Database, make_database: MakeDatabase) -> None:
    """Every example of the guide runs, the ones that fail fail as shown, and the database ends up to date."""
    other = make_database()
    other.execute("CREATE TABLE exchange_rates (currency text, rate numeric); INSERT INTO exchange_rates VALUES ('EUR', 1)")
    reader = make_reader("db_setup", others=(other, make_database()))
    (reader.folder / "migrations").mkdir()
    reader.follow(GUIDE)
    left = json.loads(reader.run("python db_setup status --json"))
    assert (left["state"], left["pending_migrations"]) == ("up_to_date", [])
    assert database.query("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == [(0,)]
    assert database.query("SELECT * FROM exchange_rates") == [("EUR", 1)]


def test_reference(make_reader: MakeReader) -> None:
    """The commands, events, answers and log lines of the page that travels with the folder."""
    reader = make_reader("db_setup")
    (reader.folder / "migrations").mkdir()
    copytree(reader.folder / "db_setup", reader.folder.parent / "newer" / "db_setup")
    reader.follow(REFERENCE)


@pytest.mark.parametrize("document", PAGES, ids=lambda path: path.parent.name + "/" + path.name)
def test_links(document: Path) -> None:
    """Links lead to files that are there, and to headings that are in them."""
    for target in _LINK.findall(document.read_text(encoding="utf-8")):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        file = (document.parent / name) if name else document
        assert file.exists(), target
        if anchor:
            titles = _HEADING.findall(file.read_text(encoding="utf-8"))
            assert anchor in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}, target


@pytest.mark.parametrize("document", PAGES, ids=lambda path: path.parent.name + "/" + path.name)
def test_blocks_are_closed(document: Path) -> None:
    """Every fence has its other end, so that no block escapes its test."""
    fences = re.findall(r"^```", document.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(fences) == 2 * len(blocks(document))
    assert fences or document not in DOCUMENTS


@pytest.mark.parametrize("document", PAGES, ids=lambda path: path.parent.name + "/" + path.name)
def test_words(document: Path) -> None:
    """The documents use the standard terms of the field."""
    words = r"\b(?:rooms?|houses?|doors?|ways? back|told|tells?|besides?|of others|cures?|kept:|taken? back|takes? back|catalogues?|journals?|ledgers?|caretakers?|cares for)\b"
    text = re.sub(r"`[^`\n]*`", "", document.read_text(encoding="utf-8"))  # code is as it is
    assert re.findall(words, text, re.IGNORECASE) == []
