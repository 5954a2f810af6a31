"""report: the answer of a run, in one shape for Lambda, logs and people."""

from __future__ import annotations

import json

import pytest
from migrator.formatting import counted
from migrator.report import Report, ReportedMigration

A = ReportedMigration("001", "001_a.sql", "transaction", 12)
B = ReportedMigration("002", "002_b.sql", "stepwise", 34)
C = ReportedMigration("003", "003_c.sql", "")


def test_body_has_the_documented_shape() -> None:
    """The body of an answer has thirteen documented fields, ready for JSON."""
    report = Report(
        "migrate", "pending_migrations", (A, B), (C,), "", "002", "002", ("careful",), duration_ms=56
    )
    body = report.body()
    assert body == {
            "success": True,
            "action": "migrate",
            "message": "Applied 2 migrations to reach 002. 1 migration pending: 003_c.sql.",
            "state": "pending_migrations",
            "applied_migrations": ["001_a.sql", "002_b.sql"],
            "pending_migrations": ["003_c.sql"],
            "migrations": [
                {"number": "001", "name": "001_a.sql", "mode": "transaction", "duration_ms": 12},
                {"number": "002", "name": "002_b.sql", "mode": "stepwise", "duration_ms": 34},
            ],
            "previous_revision": None,
            "final_revision": "002",
            "target_revision": "002",
            "warnings": ["careful"],
            "problems": [],
            "duration_ms": 56,
    }  # fmt: skip
    assert json.loads(json.dumps(body)) == body


def test_no_target_is_head() -> None:
    """A run that was given no target answers that its target was "head"."""
    assert Report("migrate", "up_to_date").body()["target_revision"] == "head"


@pytest.mark.parametrize(
    ("report", "message"),
    [
        (Report("migrate", "up_to_date", (A,), final_revision="001"), "Applied 1 migration to reach 001."),
        (Report("migrate", "up_to_date"), "Nothing to do: the database is up to date."),
        (Report("status", "up_to_date"), "Nothing to do: the database is up to date."),
        (Report("migrate", "empty"), "The database is empty, and there is nothing to apply."),
        (Report("migrate", "tables_without_migration_history"), "The database has tables, and there is nothing to apply."),
        (Report("migrate", "ahead"), "Nothing to do: the database is ahead of these files."),
        (Report("status", "pending_migrations", (), (C,)), "1 migration pending: 003_c.sql."),
        (Report("plan", "empty", (), (A, C)), "2 migrations would be applied: 001_a.sql, 003_c.sql."),
        (
            Report("migrate", "pending_migrations", (), (C,), remark="AUTO_MIGRATE=false: nothing was applied."),
            "1 migration pending: 003_c.sql. AUTO_MIGRATE=false: nothing was applied.",
        ),
        (
            Report("migrate", "up_to_date", remark="Done meanwhile by run 7."),
            "Nothing to do: the database is up to date. Done meanwhile by run 7.",
        ),
        (
            Report("status", "inconsistent", (), (C,), problems=("001_a.sql was edited", "002_b.sql is missing")),
            "001_a.sql was edited; 002_b.sql is missing",
        ),
    ],
    ids=["applied", "nothing", "status", "empty", "untracked", "ahead", "pending", "plan", "switched-off",
         "somebody-else", "problems"],
)  # fmt: skip
def test_message_says_what_was_done_and_what_is_left(report: Report, message: str) -> None:
    """The message of a report is a sentence or two that a person understands."""
    assert report.message == message


def test_report_with_problems_is_no_success() -> None:
    """A status that found something wrong says so in its answer."""
    report = Report("status", "inconsistent", problems=("001_a.sql was edited",))
    assert report.body()["success"] is False


@pytest.mark.parametrize(("count", "text"), [(0, "0 migrations"), (1, "1 migration"), (2, "2 migrations")])
def test_migrations_are_counted_in_words(count: int, text: str) -> None:
    """One migration is not "1 migrations"."""
    assert counted(count) == text


@pytest.mark.parametrize(("action", "shown"), [("status", [C.entry()]), ("rollback", []), ("repair", []), ("resolve", [])])
def test_what_is_pending_is_not_shown_as_rolled_back(action: str, shown: list[object]) -> None:
    """Where nothing is rolled back or repaired, what is pending does not stand in that place."""
    body = Report(action, "pending_migrations", pending=(C,)).body()
    assert (body["migrations"], body["pending_migrations"]) == (shown, [C.name])
