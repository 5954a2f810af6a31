"""repair: what is different between the files and the history, and how the history takes the files as they are.

What somebody has done to the history by hand is a difference too.

It never touches anything but the history.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

from migrator import history, lock, sealing
from migrator.actions.reconnect import on_connections
from migrator.actions.status import describe
from migrator.beside import text_to_store
from migrator.chain import Problem
from migrator.connection import Connection
from migrator.folder import Folder
from migrator.history_tables import SCHEMA
from migrator.job import Job, View
from migrator.light import NamedTuple
from migrator.matching import match
from migrator.migration import AppliedMigration, Migration, split_name
from migrator.plan import AHEAD, INCONSISTENT
from migrator.record import text_literal
from migrator.report import Line, Report, counted
from migrator.text import read_text

_AHEAD = "Nothing to repair: the database is ahead of these files; repair it with the newer ones."


class Change(NamedTuple):
    """One difference: what happened to a row or its file, in a sentence, and the SQL, if any, that accepts it."""

    row: AppliedMigration
    what: str
    told: str
    sql: str


def repair(job: Job) -> Report:
    """Report the differences, and accept them when the request confirms it."""
    run = _Repair(job, job.read_folder())
    if job.request.confirm:
        return on_connections(job, run.on)
    with closing(job.connect()) as connection:
        return run.preview(connection)


class _Repair:
    """One repair, on one connection after another if need be."""

    def __init__(self, job: Job, folder: Folder) -> None:
        self._job = job
        self._folder = folder
        self._changes: list[Change] = []

    def preview(self, connection: Connection) -> Report:
        """Report what would be accepted; writes nothing, takes no lock."""
        view = self._look(connection)
        told = "; ".join(change.told for change in self._changes)
        done = "Nothing was changed: confirm it (--yes) to have history and files count as they are."
        remark = f"{told}. {done}" if told else self._nothing(view)
        report = self._report(view)
        return report._replace(
            state=INCONSISTENT if self._changes else report.state, planned=self._lines(), remark=remark
        )

    def on(self, connection: Connection) -> Report:
        """Accept the files as they are, under the run lock and in one transaction."""
        job = self._job
        lock.acquire(connection, job.deadline, lambda who: job.listen("lock.waiting", {"holder": who}))
        earlier = self._changes
        view = self._look(connection)
        statements = [change.sql for change in self._changes if change.sql]
        self._changes = self._changes or earlier  # a lost connection may have done all of it, and not sealed it
        if not self._changes:
            return self._report(view)._replace(remark=self._nothing(view))
        told = "; ".join(change.told for change in self._changes)
        run_id = history.begin_run(connection, "repair", job.request_id)
        if statements:
            connection.run("; ".join(["BEGIN", *statements, "COMMIT"]))
        sealing.end_run(connection, run_id, "succeeded", told, {})
        after = View(job, self._folder, connection, target="")
        told = f"Repaired {counted(len(self._changes))}: {told}."
        return self._report(after)._replace(repaired=self._lines(), remark=told)

    def _look(self, connection: Connection) -> View:
        view = View(self._job, self._folder, connection, target="")
        rows = history.read(connection, dates=True).applied if view.facts.exists else ()
        here = tuple(row for row in rows if row.name not in view.skipped)
        self._changes = []
        if view.plan.state != AHEAD:
            by_hand = sealing.problems(connection) if view.facts.exists else []
            self._changes = [*_done_by_hand(by_hand, rows), *_changes(connection, self._folder.files, here)]
        return view

    def _lines(self) -> tuple[Line, ...]:
        return tuple(Line(change.row.number, change.row.name, change.what) for change in self._changes)

    @staticmethod
    def _nothing(view: View) -> str:
        return _AHEAD if view.plan.state == AHEAD else "Nothing to repair."

    def _report(self, view: View) -> Report:
        report = describe(self._job, view, (*self._folder.warnings, *self._job.warnings), action="repair")
        shown = tuple(f"{change.row.name} " for change in self._changes)  # in the remark, with what is done about it
        others = [text for text in report.problems if not text.startswith(shown)]
        return report._replace(problems=(), cures=(), warnings=(*report.warnings, *others))


def _done_by_hand(found: Sequence[Problem], rows: Sequence[AppliedMigration]) -> list[Change]:
    """Return what was done to the history itself; it is accepted by the seal that every run ends with."""
    known = {row.name: row for row in rows}
    nobody = AppliedMigration("", "", "", "")
    rows_of = ((item, known.get(item.name, nobody._replace(name=item.name))) for item in found)
    return [Change(row, item.kind, item.told, "") for item, row in rows_of]


def _changes(
    connection: Connection, files: Sequence[Migration], rows: Sequence[AppliedMigration]
) -> list[Change]:
    found = match(files, rows)
    literal = connection.literal
    table, same = f"{SCHEMA}.history", "name OPERATOR(pg_catalog.=)"
    changes = [
        Change(
            row, "edited",
            f"{_was(row)} was edited: checksum {row.checksum[:12]} then, {file.checksum[:12]} now{_lines(file)}",
            f"UPDATE {table} SET checksum = {literal(file.checksum)}{_way_back(file)} WHERE {same} {literal(row.name)}",
        )
        for file, row in found.edited
    ]  # fmt: skip
    changes += [
        Change(
            row, "missing", f"{_was(row)} has no file any more: checksum {row.checksum[:12] or 'unknown'}; "
            f"its row goes, what it made stays{_successor(row, found.new)}",
            f"DELETE FROM {table} WHERE {same} {literal(row.name)}",
        )
        for row in found.missing if row.state == "applied"
    ]  # fmt: skip
    by_name = {row.name: row for row in rows}
    return changes + [
        Change(
            by_name[old], "renamed", f"{_was(by_name[old])} is now {new}",
            f"UPDATE {table} SET name = {literal(new)}, number = {literal(number)} WHERE {same} {literal(old)}",
        )
        for old, new, number in found.renames
    ]  # fmt: skip


def _was(row: AppliedMigration) -> str:
    return f"{row.name} (applied on {row.applied_at})"


def _lines(file: Migration) -> str:
    return f" ({sum(piece.count(chr(10)) for piece in read_text(file))} lines)"


def _way_back(file: Migration) -> str:
    """Return what stores the way back anew, where there is one here."""
    text = text_to_store(file)
    return "" if text is None else f", down_sql = {text_literal(text)}"


def _successor(row: AppliedMigration, new: Sequence[Migration]) -> str:
    """Name a file that may be the missing one, renamed and edited: the next migrate would run it."""
    number, rest = split_name(row.name)
    alike = [file.name for file in new if (number and file.number == row.rank) or split_name(file.name)[1] == rest]
    return f" (is it {alike[0]}? The next migrate runs that)" if alike else ""
