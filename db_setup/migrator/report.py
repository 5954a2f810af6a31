"""The report of a run: one value, from which the answer, the log's last line and the screen are made. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from migrator.formatting import counted, listed
from migrator.planning import states

if TYPE_CHECKING:
    from migrator.context import RunContext
    from migrator.planning import Inspection, Pending

_AFFECTED = {"rollback": "rolled_back_migrations", "repair": "repaired_migrations", "resolve": "resolved_migrations"}
"""Actions that are about some migrations, and the key that they answer with."""
_REMARK_SAYS_IT = frozenset({"history", "verify", "adopt", "baseline"})
_MOST_NAMED = 20  # in a sentence; an answer, which Lambda limits to 6 MB, has lists of all of them


class ReportedMigration(NamedTuple):
    """One migration of a report: its number, file name, how it runs or ran, and its time if it ran here."""

    number: str
    name: str
    mode: str
    duration_ms: int | None = None

    def entry(self) -> dict[str, Any]:
        """Return the migration as the answer has it, null for what is not known."""
        return {"number": self.number, "name": self.name, "mode": self.mode or None, "duration_ms": self.duration_ms}

    @classmethod
    def of_pending(cls, item: Pending) -> ReportedMigration:
        """Return a pending migration."""
        return cls(item.number, item.migration.name, "resumed" if item.resumed else "")

    @classmethod
    def of_entry(cls, entry: dict[str, Any]) -> ReportedMigration:
        """Return the migration of an answer's entry."""
        return cls(entry["number"], entry["name"], entry["mode"] or "", entry["duration_ms"])


class Report(NamedTuple):
    """What a run found and did. Revisions are numbers as they are spelled; an empty one is none.

    ``affected`` are the migrations that a rollback or a repair is about; ``done`` says that it was carried out.
    ``unknown``: of the pending migrations it is not known whether they are applied.
    """

    action: str
    state: str
    applied: tuple[ReportedMigration, ...] = ()
    pending: tuple[ReportedMigration, ...] = ()
    previous_revision: str = ""
    final_revision: str = ""
    target: str = ""
    warnings: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    fixes: tuple[str, ...] = ()
    duration_ms: int = 0
    remark: str = ""
    details: Mapping[str, Any] = {}
    affected: tuple[ReportedMigration, ...] = ()
    done: bool = False
    skipped: tuple[str, ...] = ()
    unknown: bool = False

    @property
    def message(self) -> str:
        """Return the report in a sentence or two."""
        parts = [self._done(), self._left(), self.remark]
        if self.action in _AFFECTED:
            parts.reverse()  # what was done comes first, then what is pending
        if self.skipped:
            parts.append(f"For other environments: {listed(self.skipped, _MOST_NAMED)}.")
        return " ".join(filter(None, parts))

    def _done(self) -> str:
        if self.action in {"rotate", *_AFFECTED}:
            return ""
        if self.problems:
            return "; ".join(self.problems)
        if self.action in _REMARK_SAYS_IT:
            return ""
        if self.applied:
            reached = f" to reach {self.final_revision}" if self.final_revision else ""
            return f"Applied {counted(len(self.applied))}{reached}."
        return "" if self.pending else _NOTHING.get(self.state, "")

    def _left(self) -> str:
        if not self.pending or self.problems:
            return ""
        names = listed([line.name for line in self.pending], _MOST_NAMED)
        if self.unknown:
            return f"{counted(len(self.pending))}, unknown until adopt which of them are applied: {names}."
        verb = "would be applied" if self.action == "plan" else "pending"
        return f"{counted(len(self.pending))} {verb}: {names}."

    def body(self) -> dict[str, Any]:
        """Return the answer's body, ready for JSON."""
        shown = self.applied or self.affected
        if not shown and self.action not in _AFFECTED:  # pending ones would be taken for what is rolled back
            shown = self.pending
        body = {
            "success": not self.problems,  # a failed run raises and has no report
            "action": self.action,
            "message": self.message,
            "state": self.state,
            "applied_migrations": [line.name for line in self.applied],
            "pending_migrations": [line.name for line in self.pending],
            "migrations": [line.entry() for line in shown],
            "previous_revision": self.previous_revision or None,
            "final_revision": self.final_revision or None,
            "target_revision": self.target or "head",
            "warnings": list(self.warnings),
            "problems": list(self.problems),
            "duration_ms": self.duration_ms,
            **self.details,
        }
        if self.action in _AFFECTED:
            body[_AFFECTED[self.action]] = [line.name for line in self.affected] if self.done else []
        if self.fixes:
            body["fixes"] = list(self.fixes)
        if self.skipped:
            body["skipped_migrations"] = list(self.skipped)
        return body


def describe(context: RunContext, inspection: Inspection, warnings: tuple[str, ...], *, action: str) -> Report:
    """Return the report of an inspection."""
    plan = inspection.plan
    return Report(
        action=action,
        state=plan.state,
        pending=tuple(ReportedMigration.of_pending(item) for item in (*plan.pending, *plan.held_back)),
        previous_revision=plan.revision,
        final_revision=plan.revision,
        target=context.request.target,
        warnings=(*warnings, *plan.warnings),
        problems=tuple(problem.cause for problem in plan.problems),
        fixes=tuple(dict.fromkeys(problem.fix for problem in plan.problems)),
        duration_ms=context.elapsed_ms(),
        skipped=inspection.skipped,
        unknown=inspection.adoption_due and not inspection.imported and action not in {"adopt", "baseline"},
    )


_NOTHING = {
    states.EMPTY: "The database is empty, and there is nothing to apply.",
    states.UNTRACKED: "The database has tables, and there is nothing to apply.",
    states.UP_TO_DATE: "Nothing to do: the database is up to date.",
    states.DRIFTED: "Nothing to do: all files are applied. But the database is not what they build.",
    states.AHEAD: "Nothing to do: the database is ahead of these files.",
}
