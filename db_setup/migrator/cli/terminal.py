"""The terminal: what a person sees of a run. Results go to standard output, progress to standard error."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TextIO

from migrator.report import ReportedMigration

_REDRAW = 1.0  # seconds on a terminal
_REMIND = 30.0  # seconds elsewhere, such as in the log of a CI run
_CLEAR = "\r\x1b[K"
_STYLES = {"bold": "1", "green": "32", "yellow": "33", "red": "31"}


class Terminal:
    """Prints reports, warnings and errors; shows while a migration runs that it does."""

    def __init__(self, out: TextIO, err: TextIO, *, quiet: bool) -> None:
        self._out = out
        self._err = err
        self._quiet = quiet
        self._live = err.isatty() and not quiet
        self._running = ""
        self._line = ""
        self._since = 0.0
        self._stop: threading.Event | None = None
        self._ticker: threading.Thread | None = None

    def listen(self, event: str, fields: dict[str, Any]) -> None:
        """Take an event of the run."""
        if event == "migration.started":
            self._running, self._line, self._since = str(fields["migration"]), "", time.monotonic()
            self._start_ticker()
        elif event == "migration.progress":
            self._line = f", line {fields['line']:,}"
        elif event == "migration.applied":
            self._running = ""
        else:
            self.remark(event, fields)

    def remark(self, event: str, fields: dict[str, Any]) -> None:
        """Show an event that is worth a line, also one of a run that is over."""
        if event == "run.refused" and not self._quiet:
            self._say("\n".join(detailed(fields)))
        elif event in _REMARKS and not self._quiet:
            self._say(_REMARKS[event].format_map(fields))

    def close(self) -> None:
        """Stop showing progress."""
        if self._ticker is not None and self._stop is not None:
            self._stop.set()
            self._ticker.join()
            self._ticker = None

    def _start_ticker(self) -> None:
        if self._ticker is None and not self._quiet:
            self._stop = threading.Event()
            self._ticker = threading.Thread(target=self._tick, args=(self._stop,), daemon=True)
            self._ticker.start()

    def _tick(self, stop: threading.Event) -> None:
        while not stop.wait(_REDRAW if self._live else _REMIND):
            if self._running:
                text = f"  {self._running}: {time.monotonic() - self._since:,.0f} s{self._line}"
                self._write(f"{_CLEAR}{text}" if self._live else f"{text}\n")
        if self._live:
            self._write(_CLEAR)

    def _say(self, text: str) -> None:
        self._write(f"{_CLEAR if self._live else ''}{text}\n")

    def _write(self, text: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # a run does not end because nobody reads its progress
            self._err.write(text)
            self._err.flush()

    def show(self, body: dict[str, Any]) -> None:
        """Print the body of an answer for people."""
        for warning in body["warnings"]:
            self._say(styled(f"warning: {warning}", "yellow", self._err))
        for problem in body["problems"]:
            self._say(styled(f"problem: {problem}", "red", self._err))
        for fix in body.get("fixes", ()):
            self._say(f"Fix: {fix}")
        for line in (*_migrations(body), *detailed(body)):
            self._print(line)
        if "rehearsal" in body or "lock_report" in body:
            from migrator.cli.tables import lock_lines  # noqa: PLC0415 - for these only

            for text in lock_lines(body):
                self._print(text)
        if "history" in body:
            from migrator.cli.tables import history_lines  # noqa: PLC0415 - for this only

            for text in history_lines(body):
                self._print(text)
        if body["success"]:
            self._print(body["message"])
        state = styled(body["state"], "green" if body["state"] == "up_to_date" else "bold", self._out)
        at = f", at {body['final_revision']}" if body["final_revision"] else ""
        self._print(f"State: {state}{at}.")

    def _print(self, text: str) -> None:
        self._out.write(f"{text}\n")

    def error(self, text: str) -> None:
        """Print an error for people."""
        self._write(f"{styled('error:', 'red', self._err)} {text}\n")


_REMARKS = {
    "connection.waiting": "waiting for the server: {reason}",
    "lock.waiting": "waiting: another runner is at work: {holder}",
    "migration.blocked": "waiting: {migration} is blocked by another session (attempt {attempt})",
    "migration.notice": "  {migration}: {notice}",
    "run.unrecorded": "warning: the end of the run could not be recorded: {reason}",
}


def table(lines: Sequence[ReportedMigration]) -> str:
    """Return migrations as an aligned table: number, name, how it ran, duration."""
    number = max(len(line.number) for line in lines)
    name = max(len(line.name) for line in lines)
    rows = []
    for line in lines:
        time_taken = "" if line.duration_ms is None else f"{line.duration_ms:,} ms"
        rows.append(f"  {line.number:>{number}}  {line.name:<{name}}  {line.mode:<11}  {time_taken:>9}".rstrip())
    return "\n".join(rows)


def _migrations(body: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines for what is adopted, and then for what is run, or still to be run."""
    adopted = body.get("adopted_migrations", ())
    width = max((len(item["number"]) for item in adopted), default=0)
    for item in adopted:
        yield f"  {item['number']:>{width}}  {item['name']}  {item['evidence']}"
    shown = {item["name"] for item in adopted}
    if entries := [entry for entry in body["migrations"] if entry["name"] not in shown]:
        yield table([ReportedMigration.of_entry(entry) for entry in entries])


def detailed(details: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines for what differs, and what could not be compared."""
    differences = details.get("differences", ())
    if differences:
        yield "- as the files build it, + as it is in the database"
    for item in differences:
        along = f" (with {item['along']})" if item["along"] else ""
        yield f"{item['kind']} {item['identity']}: {item['difference']}{along}"
        yield from (f"  {line}" for line in item["lines"])
    if (more := details.get("difference_count", 0) - len(differences)) > 0:
        yield f"... {more} more"
    yield from (f"made outside the files: {text}" for text in details.get("made_outside", ()))
    for key in ("not_compared", "not_verifiable"):
        yield from (f"not compared: {text}" for text in details.get(key, ()))


def styled(text: str, style: str, stream: TextIO) -> str:
    """Return ``text`` in a style where the stream is a terminal that wants it (https://no-color.org)."""
    if os.environ.get("NO_COLOR") or not stream.isatty():
        return text
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m"


def standard_terminal(*, quiet: bool) -> Terminal:
    """Return the terminal on the process's own streams."""
    return Terminal(sys.stdout, sys.stderr, quiet=quiet)
