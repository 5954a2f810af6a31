"""One database from end to end, by the command line alone, as in the guide's last story."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.plugins.databases import Database, Dump, MakeDatabase
from tests.plugins.runs import PRODUCT, Done

BOOKS = """
CREATE TABLE books (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, title text NOT NULL);
INSERT INTO books (title) SELECT 'Book ' || n FROM generate_series(1, 100) AS n;
"""
LOANS = "CREATE TABLE loans (book_id bigint NOT NULL REFERENCES books (id), due date NOT NULL);\n"
RATINGS = "CREATE TABLE ratings (book_id bigint REFERENCES books (id), stars int CHECK (stars <= 5));\n"
ISBN = "ALTER TABLE books ADD COLUMN isbn text;\nCREATE INDEX books_isbn ON books (isbn);\n"
ISBN_BACK = "DROP INDEX books_isbn;\nALTER TABLE books DROP COLUMN isbn;\n"

# The history of the first generation, with both forms of its names.
FIRST_GENERATION = """
CREATE TABLE schema_migrations (
    id serial PRIMARY KEY, migration_name varchar(255) UNIQUE NOT NULL, applied_at timestamp DEFAULT current_timestamp
);
INSERT INTO schema_migrations (migration_name) VALUES ('001_books'), ('002_loans.sql');
"""

# The schema and the rows, less what db_setup and its first generation keep for themselves.
WITHOUT_HISTORIES = ("--exclude-schema=db_setup", "--exclude-table=schema_migrations*", "--inserts")


class Project:
    """A folder with a copy of db_setup, files next to it, and a shell that names a database."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        shutil.copytree(PRODUCT, folder / "db_setup", ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "migrations").mkdir()

    def write(self, name: str, text: str) -> None:
        """Write a file of migrations/."""
        (self._folder / "migrations" / name).write_text(text, encoding="utf-8")

    def rename(self, old: str, new: str) -> None:
        """Rename a file of migrations/."""
        (self._folder / "migrations" / old).rename(self._folder / "migrations" / new)

    def run(self, database: Database, words: str, **environ: str) -> Done:
        """Run ``python db_setup`` with some words."""
        done = subprocess.run(
            [sys.executable, "db_setup", *words.split()], cwd=self._folder, text=True, check=False, capture_output=True,
            stdin=subprocess.DEVNULL, env={**os.environ, "DATABASE_URL": database.url, **environ},
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)

    def says(self, database: Database, words: str, *texts: str, status: int = 0, **environ: str) -> None:
        """Run, and find the exit status and the texts, in this order; errors and warnings come first."""
        done = self.run(database, words, **environ)
        shown = done.err + done.out
        assert done.status == status, (words, shown)
        at = 0
        for text in texts:
            assert text in shown[at:], (words, text, shown)
            at = shown.index(text, at) + len(text)

    def answer(self, database: Database, words: str) -> dict[str, Any]:
        """Run with --json, and return the answer."""
        done = self.run(database, f"{words} --json")
        found: dict[str, Any] = json.loads(done.out)
        return found


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project with the files of the old database."""
    made = Project(tmp_path)
    made.write("001_books.sql", BOOKS)
    made.write("002_loans.sql", LOANS)
    return made


def history(database: Database) -> list[tuple[str, str]]:
    """Return name and mode of what is applied, in the order of application."""
    return database.query("SELECT name, mode FROM db_setup.history WHERE state = 'applied' ORDER BY position")


def test_story(
    project: Project, database: Database, make_database: MakeDatabase, pg_dump: Dump, tmp_path: Path
) -> None:
    """Adopted, rehearsed, applied, drifted and found, rolled back, a late merge repaired: as if built anew."""
    colleague = make_database()
    branch(project, tmp_path / "branch", colleague)
    adopt(project, database, pg_dump)
    rehearse_and_apply(project, database, pg_dump)
    drift(project, database)
    roll_back(project, database, pg_dump)
    merge_late(project, database)
    repair(project, database)
    repair_the_colleagues(project, colleague)

    project.says(database, "verify", "The database is what 4 migrations build.", "State: up_to_date, at 005.")
    project.says(database, "status --check", "Nothing to do")
    anew = make_database()
    project.says(anew, "migrate", "Applied 4 migrations to reach 005.")
    wanted = pg_dump(anew, *WITHOUT_HISTORIES)
    assert "CREATE UNIQUE INDEX books_isbn" in wanted
    assert pg_dump(database, *WITHOUT_HISTORIES) == wanted
    assert pg_dump(colleague, *WITHOUT_HISTORIES) == wanted
    runs = database.query("SELECT action, outcome FROM db_setup.runs ORDER BY id")
    assert runs == [(action, "succeeded") for action in ("imported", "migrate", "rollback", "migrate", "migrate", "repair")]


def branch(project: Project, folder: Path, colleague: Database) -> None:
    """A colleague works on a branch, with a file and a database of their own."""
    folder.mkdir()
    theirs = Project(folder)
    for name, text in (("001_books.sql", BOOKS), ("002_loans.sql", LOANS), ("003_ratings.sql", RATINGS)):
        theirs.write(name, text)
    theirs.says(colleague, "migrate", "Applied 3 migrations to reach 003.")


def adopt(project: Project, database: Database, pg_dump: Dump) -> None:
    """The old database is inspected, and adopted when somebody confirms it; nothing is run on it."""
    database.execute(BOOKS + LOANS + FIRST_GENERATION)
    before = pg_dump(database)
    project.says(database, "adopt", "001_books.sql  named in public.schema_migrations", "2 migrations. Nothing was written")
    assert pg_dump(database) == before
    project.says(database, "adopt --yes", "Recorded as applied: 2 migrations.", "State: up_to_date, at 002.")
    assert pg_dump(database, "--exclude-schema=db_setup") == before
    assert history(database) == [("001_books.sql", "imported"), ("002_loans.sql", "imported")]
    project.says(database, "verify", "The database is what 2 migrations build.")


def rehearse_and_apply(project: Project, database: Database, pg_dump: Dump) -> None:
    """A new file is rehearsed, its locks are reported and nothing stays; then it is applied."""
    project.write("004_isbn.sql", ISBN)
    project.write("004_isbn.down.sql", ISBN_BACK)
    before = pg_dump(database)
    project.says(
        database, "rehearse",
        "004_isbn.sql:1:1  blocks reads  ALTER TABLE books ADD COLUMN isbn text;", "public.books: AccessExclusiveLock",
        "004_isbn.sql:2:1  scans         CREATE INDEX", "Rehearsed 1 migration: 2 statements", "all of it rolled back",
        "State: pending_migrations, at 002.",
    )  # fmt: skip
    assert pg_dump(database) == before
    project.says(database, "migrate", "004  004_isbn.sql  transaction", "State: up_to_date, at 004.")


def drift(project: Project, database: Database) -> None:
    """What somebody changes by hand is found, and found to be gone."""
    project.says(database, "verify", "The database is what 3 migrations build.")
    database.execute("ALTER TABLE loans ALTER COLUMN due DROP NOT NULL")
    project.says(database, "verify", "public.loans.due", "- not null", "+ nullable", "State: drifted", status=4)
    database.execute("ALTER TABLE loans ALTER COLUMN due SET NOT NULL")
    project.says(database, "verify", "State: up_to_date, at 004.")


def roll_back(project: Project, database: Database, pg_dump: Dump) -> None:
    """The new file goes back as shown, is corrected, and is applied again."""
    before = pg_dump(database)
    project.says(database, "rollback", "1 migration would be rolled back: 004_isbn.sql. Nothing was done")
    assert pg_dump(database) == before
    project.says(database, "rollback --yes", "Rolled back 1 migration: 004_isbn.sql.", "State: pending_migrations, at 002.")
    assert "isbn" not in pg_dump(database, "--exclude-schema=db_setup")
    project.write("004_isbn.sql", ISBN.replace("CREATE INDEX", "CREATE UNIQUE INDEX"))
    project.says(database, "migrate", "Applied 1 migration to reach 004.")


def merge_late(project: Project, database: Database) -> None:
    """The branch is merged; its lower number is refused, and a new one is not."""
    project.write("003_ratings.sql", RATINGS)
    project.says(database, "migrate", "003_ratings.sql comes before", "[out_of_order]", status=1, STRICT_ORDER="true")
    assert len(history(database)) == 3
    project.rename("003_ratings.sql", "005_ratings.sql")
    project.says(database, "migrate", "Applied 1 migration to reach 005.", STRICT_ORDER="true")


def repair(project: Project, database: Database) -> None:
    """A comment comes into the applied file; the run is refused until the history takes it as it is."""
    project.write("005_ratings.sql", f"-- One row for each opinion.\n{RATINGS}")
    project.says(database, "migrate", "005_ratings.sql was edited", "[inconsistent_history]", status=1)
    project.says(database, "repair", "005_ratings.sql  edited", "Nothing was changed", "State: inconsistent")
    project.says(database, "migrate", "[inconsistent_history]", status=1)
    project.says(database, "repair --yes", "Repaired 1 migration: 005_ratings.sql", "State: up_to_date, at 005.")
    project.says(database, "migrate", "Nothing to do: the database is up to date.")


def repair_the_colleagues(project: Project, colleague: Database) -> None:
    """On the colleague's database the file was renamed and edited: repaired under its old name, then followed."""
    project.says(colleague, "migrate", "003_ratings.sql", "[inconsistent_history]", status=1)
    project.says(colleague, "repair", "003_ratings.sql", "is it 005_ratings.sql? The next migrate runs that")
    project.rename("005_ratings.sql", "003_ratings.sql")
    assert [item["mode"] for item in project.answer(colleague, "repair --yes")["migrations"]] == ["edited"]
    project.rename("003_ratings.sql", "005_ratings.sql")
    project.says(colleague, "migrate", "003_ratings.sql is now 005_ratings.sql; the history follows", "004_isbn.sql  transaction")
    assert history(colleague)[2:] == [("005_ratings.sql", "transaction"), ("004_isbn.sql", "transaction")]
