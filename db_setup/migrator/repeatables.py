"""Repeatables: files that are run again whenever their text has changed, after all numbered ones. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from migrator.migration import AppliedMigration, Migration
from migrator.plan import AHEAD, PENDING, UP_TO_DATE, Pending, Plan


def with_repeatables(plan: Plan, files: Sequence[Migration], applied: Sequence[AppliedMigration]) -> Plan:
    """Return a plan with the repeatable files that have changed behind its own.

    They wait where the target holds a numbered file back, and are left alone where the database is ahead.
    """
    if plan.state == AHEAD:
        return plan
    rows = {row.name: row for row in applied}
    due = tuple(
        Pending(file, "", resumed=_goes_on(file, rows.get(file.name)))
        for file in files
        if not _is_done(file, rows.get(file.name))
    )
    if not due:
        return plan
    state = PENDING if plan.state == UP_TO_DATE else plan.state
    if plan.held_back:
        return plan._replace(held_back=(*plan.held_back, *due), state=state)
    return plan._replace(pending=(*plan.pending, *due), state=state)


def _is_done(file: Migration, row: AppliedMigration | None) -> bool:
    return row is not None and row.state == "applied" and row.checksum == file.checksum


def _goes_on(file: Migration, row: AppliedMigration | None) -> bool:
    """Tell whether a stepwise run of the same text has stopped half way; another text begins anew."""
    return row is not None and row.state == "running" and row.checksum == file.checksum
