"""What the reports of all actions say: the state, what is pending, what is wrong, who is provisioned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from migrator.context import RunContext
from migrator.database import Connection
from migrator.history import History
from migrator.planning import Inspection, states
from migrator.report import Report

if TYPE_CHECKING:
    from migrator.history import TamperedRow

_ADOPTION = (
    "the database has tables and no history: migrate first finds out which of these files are applied already, "
    "and runs the rest, or nothing; adopt shows it"
)
_IMPORT = (
    "what public.schema_migrations names, the history of an earlier version of this tool, is not compared with the "
    "database yet: migrate first does, and stops where a file has left nothing; adopt shows it"
)


def tampered_rows(context: RunContext, connection: Connection, inspection: Inspection) -> list[TamperedRow]:
    """Return the rows of the history that were changed by hand; adds the history's warnings to the context's."""
    if not inspection.history.exists:
        return []
    history = History(connection)
    found = history.tampered_rows()
    context.warnings += history.warnings
    return found


def with_problems(report: Report, found: Sequence[TamperedRow]) -> Report:
    """Add problems to a report; where the database is ahead of these files, they are for the newer ones to solve."""
    texts = [row.message for row in found]
    if report.state == states.AHEAD or not texts:
        return report._replace(warnings=(*report.warnings, *texts))
    return report._replace(
        state=states.INCONSISTENT, problems=(*report.problems, *texts), fixes=(*report.fixes, History.TAMPERING_FIX)
    )


def adoption_warnings(inspection: Inspection) -> tuple[str, ...]:
    """Return the warning that not all that is pending may be run, where the tables have no history of ours."""
    if inspection.imported:
        return (_IMPORT,)
    return (_ADOPTION,) if inspection.adoption_due else ()


def users_summary(context: RunContext, connection: Connection) -> tuple[str, tuple[str, ...]]:
    """Return which limited users are still to be made, and warnings of them; reads only."""
    if context.settings.create_users and (context.provisions_users or connection.has_made_users):
        from migrator.users import UserProvisioner  # noqa: PLC0415 - for those who have such users

        return UserProvisioner(context).preview(connection)
    return "", ()
