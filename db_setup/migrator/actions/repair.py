"""repair: what is different between the files and the history, and how the history takes the files as they are.

What somebody has done to the history by hand is a difference too.

It never touches anything but the history.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import NamedTuple

from migrator.context import RunContext
from migrator.database import Connection
from migrator.execution import retry_on_lost_connection, supervised
from migrator.files import REPEATABLE, Folder, Migration, split_name
from migrator.formatting import counted, listed
from migrator.history import SCHEMA, AppliedMigration, History, TamperedRow
from migrator.planning import Inspection, inspect, match, states
from migrator.report import Report, ReportedMigration, describe
from migrator.scripts import down_texts
from migrator.sql import read_text

_AHEAD = "Nothing to repair: the database is ahead of these files; repair it with the newer ones."
_NOT_CONFIRMED = "Nothing was changed: confirm it (--yes) to have history and files count as they are."
_NOT_OURS = (
    "Nothing was changed. If another folder has applied these, leave them: its files would count as new. If the files "
    "here stand for them, as after a squash, confirm it (--yes) to have history and files count as they are."
)


class Change(NamedTuple):
    """One difference: what happened to a row or its file, in a sentence, and the SQL, if any, that accepts it."""

    row: AppliedMigration
    what: str
    message: str
    sql: str


def repair(context: RunContext) -> Report:
    """Report the differences, and accept them when the request confirms it."""
    run = _Repair(context, context.read_folder())
    if context.request.confirm:
        return retry_on_lost_connection(context, run.accept)
    with closing(context.connect()) as connection:
        return run.preview(connection)


class _Repair:
    """One repair, on one connection after another if need be."""

    def __init__(self, context: RunContext, folder: Folder) -> None:
        self._context = context
        self._folder = folder
        self._changes: list[Change] = []

    def preview(self, connection: Connection) -> Report:
        """Report what would be accepted; writes nothing, takes no lock."""
        inspection = self._find_changes(connection)
        what = "; ".join(change.message for change in self._changes)
        done = _NOT_OURS if inspection.plan.strangers else _NOT_CONFIRMED
        remark = f"{what}. {done}" if what else self._nothing(inspection)
        report = self._report(inspection)
        state = states.INCONSISTENT if self._changes else report.state
        return report._replace(state=state, affected=self._lines(), remark=remark)

    def accept(self, connection: Connection) -> Report:
        """Accept the files as they are, under the run lock and in one transaction."""
        context = self._context
        with supervised(context, connection) as run:
            run.lock()
            earlier = self._changes
            inspection = self._find_changes(connection)
            statements = [change.sql for change in self._changes if change.sql]
            self._changes = self._changes or earlier  # a lost connection may have done all of it, and not sealed it
            if not self._changes:
                return self._report(inspection)._replace(remark=self._nothing(inspection))
            run.message = "; ".join(change.message for change in self._changes)
            if inspection.imported:
                run.history.create()
            run.begin("repair")
            if statements:
                connection.run("BEGIN")
                downs = down_texts(self._folder.every, {row.name for row in inspection.imported}, context.warn)
                run.history.import_first_generation(inspection.imported, run.run_id, downs)
                connection.run("; ".join([*statements, "COMMIT"]))
        after = inspect(context, self._folder, connection, target="")
        remark = f"Repaired {counted(len(self._changes))}: {run.message}."
        return self._report(after)._replace(affected=self._lines(), done=True, remark=remark)

    def _find_changes(self, connection: Connection) -> Inspection:
        inspection, history = inspect(self._context, self._folder, connection, target=""), History(connection)
        rows = inspection.imported or (history.read(dates=True).applied if inspection.history.exists else ())
        self._changes = []
        if inspection.plan.state != states.AHEAD:
            tampered = history.tampered_rows() if inspection.history.exists else []
            context, folder = self._context, self._folder
            self._changes = [*_tampered(tampered, rows), *_changes(context, connection, folder, rows)]
            self._changes += _replacements(context, connection, inspection)
            if inspection.imported:
                self._changes += self._unapplied(connection, rows)
        return inspection

    def _unapplied(self, connection: Connection, rows: Sequence[AppliedMigration]) -> list[Change]:
        """Return the names of the first generation's table that are not taken over, since their files never ran."""
        from migrator.adoption import find_unapplied  # noqa: PLC0415 - once in the life of a database

        found = find_unapplied(self._context, connection, self._folder, rows)
        return [
            Change(
                row, "unapplied", f"{_was(row)} is not applied: the database has nothing of what it makes "
                f"({listed(makes)}); it is not taken over, and the next migrate runs it", _removal(connection, row),
            )
            for row, makes in found
        ]  # fmt: skip

    def _lines(self) -> tuple[ReportedMigration, ...]:
        return tuple(ReportedMigration(change.row.number, change.row.name, change.what) for change in self._changes)

    @staticmethod
    def _nothing(inspection: Inspection) -> str:
        return _AHEAD if inspection.plan.state == states.AHEAD else "Nothing to repair."

    def _report(self, inspection: Inspection) -> Report:
        report = describe(self._context, inspection, (*self._folder.warnings, *self._context.warnings), action="repair")
        shown = tuple(f"{change.row.name} " for change in self._changes)  # in the remark, with what is done about it
        others = [text for text in report.problems if not text.startswith(shown)]
        return report._replace(problems=(), fixes=(), warnings=(*report.warnings, *others))


def _tampered(found: Sequence[TamperedRow], rows: Sequence[AppliedMigration]) -> list[Change]:
    """Return what was done to the history itself; it is accepted by the seal that every run ends with."""
    known = {row.name: row for row in rows}
    nobody = AppliedMigration("", "", "", "")
    rows_of = ((item, known.get(item.name, nobody._replace(name=item.name))) for item in found)
    return [Change(row, item.kind, item.message, "") for item, row in rows_of]


def _changes(
    context: RunContext, connection: Connection, folder: Folder, rows: Sequence[AppliedMigration]
) -> list[Change]:  # fmt: skip
    found = match(folder.files, rows, folder.others)
    here = {file.name for file in (*folder.repeatable, *folder.others)}
    gone = [row for row in rows if row.name.startswith(REPEATABLE) and row.name not in here]
    literal = connection.literal
    table, same = f"{SCHEMA}.history", "name OPERATOR(pg_catalog.=)"
    changes = [
        Change(
            row, "edited",
            f"{_was(row)} was edited: checksum {row.checksum[:12]} then, {file.checksum[:12]} now{_lines(file)}",
            f"UPDATE {table} SET checksum = {literal(file.checksum)}{_down_sql(context, connection, file)}, "
            f"earlier_checksums = {literal(row.earlier_than(file.checksum) or None)} "
            f"WHERE {same} {literal(row.name)}",
        )
        for file, row in found.edited
    ]  # fmt: skip
    changes += [
        Change(
            row, "missing", f"{_was(row)} has no file any more: checksum {row.checksum[:12] or 'unknown'}; its row "
            f"goes, what it made stays, and a file of that name would be run again{_successor(row, found.new)}",
            _forgetting(connection, row),
        )
        for row in (*found.missing, *gone) if row.state != "reverting"
    ]  # fmt: skip
    by_name = {row.name: row for row in rows}
    return changes + [
        Change(
            by_name[old], "renamed", f"{_was(by_name[old])} is now {new}",
            f"UPDATE {table} SET name = {literal(new)}, number = {literal(number)} WHERE {same} {literal(old)}",
        )
        for old, new, number in found.renames
    ]  # fmt: skip


def _replacements(context: RunContext, connection: Connection, inspection: Inspection) -> list[Change]:
    """Return what records new files as applied that may stand for what an earlier repair has forgotten."""
    history, settled = History(connection), dict[str, str | None]()
    if inspection.plan.replacements:
        settled = {name: None for action, names in history.removals() if action == "repair" for name in names}
    evidence = "recorded by repair in place of files that it has forgotten, not verified"
    return [
        Change(
            item.row, "recorded",
            f"{item.migration.name} is new, and may stand for what repair has forgotten: it counts as applied, and is "
            "not run",
            f"{history.record_sql(item.row, evidence, _down_text(context, item.migration))}; "
            f"{history.removal_sql(settled)}",
        )
        for item in inspection.plan.replacements
    ]  # fmt: skip


def _removal(connection: Connection, row: AppliedMigration) -> str:
    return f"DELETE FROM {SCHEMA}.history WHERE name OPERATOR(pg_catalog.=) {connection.literal(row.name)}"


def _forgetting(connection: Connection, row: AppliedMigration) -> str:
    """Return what removes a row, and remembers that: what the file has made is still there."""
    return f"{_removal(connection, row)}; {History(connection).removal_sql({row.name: row.number})}"


def _was(row: AppliedMigration) -> str:
    if not row.applied_at:
        return f"{row.name} ({History.FIRST_GENERATION})"
    return f"{row.name} (applied{' in part' if row.state == 'running' else ''} on {row.applied_at})"


def _lines(file: Migration) -> str:
    return f" ({sum(piece.count(chr(10)) for piece in read_text(file.name, file.path, file.size))} lines)"


def _down_sql(context: RunContext, connection: Connection, file: Migration) -> str:
    """Return what stores the down migration anew, where there is one here."""
    text = _down_text(context, file)
    return "" if text is None else f", down_sql = {connection.literal(text)}"


def _down_text(context: RunContext, file: Migration) -> str | None:
    return down_texts((file,), (file.name,), context.warn).get(file.name)


def _successor(row: AppliedMigration, new: Sequence[Migration]) -> str:
    """Name a file that may be the missing one, renamed and edited: the next migrate would run it."""
    number, rest = split_name(row.name)
    alike = [file.name for file in new if (number and file.number == row.rank) or split_name(file.name)[1] == rest]
    return f" (is it {alike[0]}? The next migrate runs that)" if alike else ""
