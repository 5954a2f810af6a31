"""plan: what migrate would do, with every refusal it would make. Writes nothing, takes no lock."""

from __future__ import annotations

from contextlib import closing

from migrator.actions.summary import adoption_warnings, tampered_rows, users_summary
from migrator.context import RunContext
from migrator.database import Connection
from migrator.history import History
from migrator.planning import Inspection, inspect
from migrator.report import Report, ReportedMigration, describe
from migrator.scripts import read_scripts
from migrator.scripts.session_needs import refuse_needs_of


def plan(context: RunContext) -> Report:
    """Report what would be applied and how; raises what migrate would raise before it touches anything."""
    folder = context.read_folder()
    with closing(context.connect()) as connection:
        inspection = inspect(context, folder, connection)
        inspection.plan.refuse_problems()
        by_hand = _tampered(context, connection, inspection)
        files = (item.migration for item in inspection.plan.pending)
        scripts = read_scripts(files, standard_strings=connection.standard_strings)
        scripts = refuse_needs_of(scripts, inspection.plan.begun)
        remark, about = users_summary(context, connection)
        if context.provisions_users:
            from migrator.users import UserProvisioner  # noqa: PLC0415 - for those who have such users

            UserProvisioner(context).check(connection, scripts)
    modes = {script.migration.name: script.mode for script in scripts}
    lines = tuple(
        ReportedMigration(item.number, item.migration.name, modes[item.migration.name])
        for item in inspection.plan.pending
    )
    marks = (text for script in scripts for text in script.warnings)
    warnings = (*folder.warnings, *context.warnings, *adoption_warnings(inspection), *by_hand, *about, *marks)
    return describe(context, inspection, warnings, action="plan")._replace(pending=lines, remark=remark)


def _tampered(context: RunContext, connection: Connection, inspection: Inspection) -> list[str]:
    """Return what was done to the history by hand, as warnings; raises InconsistentHistory where migrate would."""
    found = tampered_rows(context, connection, inspection)
    if not inspection.nothing_to_do:
        History(connection).refuse(found)
    return [row.message for row in found]
