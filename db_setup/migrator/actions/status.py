"""status: what is applied, what is pending, what is wrong. Writes nothing, creates nothing, takes no lock."""

from __future__ import annotations

from contextlib import closing

from migrator.actions.summary import adoption_warnings, tampered_rows, users_summary, with_problems
from migrator.context import RunContext
from migrator.planning import inspect
from migrator.report import Report, describe


def status(context: RunContext) -> Report:
    """Report the state of the database; what is inconsistent is reported, not raised."""
    folder = context.read_folder()
    with closing(context.connect()) as connection:
        inspection = inspect(context, folder, connection)
        remark, warnings = users_summary(context, connection)
        by_hand = tampered_rows(context, connection, inspection)
    warnings = (*folder.warnings, *context.warnings, *adoption_warnings(inspection), *warnings)
    report = with_problems(describe(context, inspection, warnings, action="status"), by_hand)
    suspects = {file.name for file in folder.suspects}
    suggestion = _suggestion([file.name for file in folder.files if file.number is None and file.name not in suspects])
    return report._replace(remark=" ".join(filter(None, (remark, suggestion))))


def _suggestion(unnumbered: list[str]) -> str:
    """Suggest to write given numbers into the names, so that all databases of a team agree on them."""
    if not unnumbered:
        return ""
    return f'Without a number in its name: {", ".join(unnumbered)}; "python db_setup number" gives it one on disk.'
