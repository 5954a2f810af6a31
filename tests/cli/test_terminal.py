"""terminal: what a person sees, and what a log gets where nobody looks."""

from __future__ import annotations

import io
import threading
from typing import Any

import pytest
from migrator.cli import terminal
from migrator.cli.terminal import Terminal, styled, table
from migrator.report import Report, ReportedMigration


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say that it is one."""
        return True


def shown(report: Report, *, screen: bool = False, quiet: bool = False) -> tuple[str, str]:
    """Return what a report looks like on standard output and standard error."""
    out, err = (Screen(), Screen()) if screen else (io.StringIO(), io.StringIO())
    Terminal(out, err, quiet=quiet).show(report.body())
    return out.getvalue(), err.getvalue()


def test_table_is_aligned() -> None:
    """Numbers stand to the right, names and modes to the left, durations to the right, nothing at line ends."""
    lines = [
        ReportedMigration("9", "9_a.sql", "transaction", 5),
        ReportedMigration("100", "100_longer.sql", "stepwise", 12345),
        ReportedMigration("101", "101_c.sql", ""),
    ]
    assert table(lines).split("\n") == [
        "    9  9_a.sql         transaction       5 ms",
        "  100  100_longer.sql  stepwise     12,345 ms",
        "  101  101_c.sql",
    ]


def test_report_is_a_table_a_message_and_the_state() -> None:
    """A run is shown as its table, a sentence, and the state with the revision, without colours in a file."""
    lines = (ReportedMigration("001", "001_a.sql", "transaction", 7),)
    out, err = shown(Report("migrate", "up_to_date", lines, final_revision="001"))
    assert out.split("\n") == [
        "  001  001_a.sql  transaction       7 ms",
        "Applied 1 migration to reach 001.",
        "State: up_to_date, at 001.",
        "",
    ]
    assert err == ""


def test_nothing_to_do_is_said() -> None:
    """A second run says that there is nothing to do."""
    out, _ = shown(Report("migrate", "up_to_date", final_revision="001"))
    assert out == "Nothing to do: the database is up to date.\nState: up_to_date, at 001.\n"


def test_warnings_and_problems_go_to_standard_error() -> None:
    """Results can be piped: warnings and problems stand apart from them, each on a line."""
    out, err = shown(Report("status", "inconsistent", warnings=("careful",), problems=("001_a.sql was edited",)))
    assert err == "warning: careful\nproblem: 001_a.sql was edited\n"
    assert out == "State: inconsistent.\n"


@pytest.mark.parametrize(
    ("no_color", "screen", "coloured"),
    [(None, True, True), ("", True, True), ("1", True, False), ("0", True, False), (None, False, False)],
    ids=["terminal", "empty", "set", "set-to-0", "file"],
)
def test_colours_are_for_terminals_that_want_them(
    monkeypatch: pytest.MonkeyPatch, no_color: str | None, screen: bool, coloured: bool
) -> None:
    """NO_COLOR, when set to anything, and streams that are no terminal, get plain text."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color is not None:
        monkeypatch.setenv("NO_COLOR", no_color)
    stream = Screen() if screen else io.StringIO()
    assert ("\x1b[" in styled("text", "green", stream)) is coloured
    assert "text" in styled("text", "green", stream)
    out, err = shown(Report("status", "up_to_date", warnings=("careful",)), screen=screen)
    assert ("\x1b[3" in out) is coloured
    assert ("\x1b[3" in err) is coloured


@pytest.mark.parametrize(
    ("event", "fields", "text"),
    [
        ("lock.waiting", {"holder": "run 7"}, "waiting: another runner is at work: run 7\n"),
        ("migration.blocked", {"migration": "003_x.sql", "attempt": 2},
         "waiting: 003_x.sql is blocked by another session (attempt 2)\n"),
        ("migration.notice", {"migration": "003_x.sql", "notice": "{careful} %s"}, "  003_x.sql: {careful} %s\n"),
        ("run.unrecorded", {"run": 7, "reason": "lost"}, "warning: the end of the run could not be recorded: lost\n"),
        ("something.else", {"x": 1}, ""),
    ],
    ids=["waiting", "blocked", "notice", "unrecorded", "unknown"],
)  # fmt: skip
@pytest.mark.parametrize("quiet", [False, True], ids=["loud", "quiet"])
def test_remark_is_a_line_unless_quiet(event: str, fields: dict[str, Any], text: str, quiet: bool) -> None:
    """What the run meets is shown on standard error as it happens, and not at all with --json."""
    out, err = io.StringIO(), io.StringIO()
    Terminal(out, err, quiet=quiet).listen(event, fields)
    assert (out.getvalue(), err.getvalue()) == ("", "" if quiet else text)


@pytest.mark.parametrize("screen", [True, False], ids=["terminal", "file"])
def test_long_migration_shows_progress(monkeypatch: pytest.MonkeyPatch, screen: bool) -> None:
    """A migration that takes long is named again and again: in place on a terminal, in lines elsewhere."""
    monkeypatch.setattr(terminal, "_REDRAW", 0.001)
    monkeypatch.setattr(terminal, "_REMIND", 0.001)
    shown = threading.Event()

    class Stream(io.StringIO):
        def isatty(self) -> bool:
            return screen

        def write(self, text: str, /) -> int:
            if "line 1,234" in text:
                shown.set()
            return super().write(text)

    err = Stream()
    view = Terminal(io.StringIO(), err, quiet=False)
    view.listen("migration.started", {"migration": "003_x.sql"})
    view.listen("migration.progress", {"line": 1234})
    assert shown.wait(10)
    view.close()
    assert "003_x.sql: 0 s" in err.getvalue()
    assert ("\r" in err.getvalue()) is screen


def test_quiet_terminal_starts_no_thread() -> None:
    """With --json nothing shows progress."""
    before = threading.active_count()
    view = Terminal(io.StringIO(), Screen(), quiet=True)
    view.listen("migration.started", {"migration": "003_x.sql"})
    assert threading.active_count() == before
    view.close()


def test_error_goes_to_standard_error() -> None:
    """An error is marked as one, and keeps its lines."""
    out, err = io.StringIO(), io.StringIO()
    Terminal(out, err, quiet=False).error("003_x.sql:1:1  no\nCure: correct it")
    assert (out.getvalue(), err.getvalue()) == ("", "error: 003_x.sql:1:1  no\nCure: correct it\n")


def test_adopted_comes_before_what_is_left() -> None:
    """What is recorded as applied stands before what is run, or still to be run, and is shown once."""
    adopted = {"adopted_migrations": [{"number": "001", "name": "001_a.sql", "evidence": "baselined, not verified"}]}
    pending = (ReportedMigration("001", "001_a.sql", ""), ReportedMigration("002", "002_b.sql", ""))
    out, _ = shown(Report("baseline", "pending_migrations", pending=pending, details=adopted))
    assert out.splitlines()[:2] == ["  001  001_a.sql  baselined, not verified", "  002  002_b.sql"]
