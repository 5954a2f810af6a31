"""plan: what migrate would do, with every refusal it would make. Writes nothing, takes no lock."""

from __future__ import annotations

from contextlib import closing

from migrator.actions.summary import adoption_warnings, describe, users_summary
from migrator.context import RunContext
from migrator.database.connection import Connection
from migrator.history import integrity
from migrator.planning.inspection import Inspection
from migrator.report import Report, ReportedMigration
from migrator.scripts import read_scripts


def plan(context: RunContext) -> Report:
    """Report what would be applied and how; raises what migrate would raise before it touches anything."""
    folder = context.read_folder()
    with closing(context.connect()) as connection:
        inspection = Inspection(context, folder, connection)
        inspection.plan.refuse_problems()
        by_hand = _tampered(connection, inspection)
        scripts = read_scripts(item.migration for item in inspection.plan.pending)
        remark, about = users_summary(context, connection)
        if context.settings.declares_users:
            from migrator.users.provision import UserProvisioner  # noqa: PLC0415 - for those who have such users

            UserProvisioner(context).check(connection, scripts)
    modes = {script.migration.name: script.mode for script in scripts}
    lines = tuple(
        ReportedMigration(item.number, item.migration.name, modes[item.migration.name])
        for item in inspection.plan.pending
    )
    marks = (text for script in scripts for text in script.warnings)
    warnings = (*folder.warnings, *context.warnings, *adoption_warnings(inspection), *by_hand, *about, *marks)
    return describe(context, inspection, warnings, action="plan")._replace(pending=lines, remark=remark)


def _tampered(connection: Connection, inspection: Inspection) -> list[str]:
    """Return what was done to the history by hand, as warnings; raises InconsistentHistory where migrate would."""
    if not inspection.history.exists:
        return []
    found = integrity.problems(connection)
    if not inspection.nothing_to_do:
        integrity.refuse(found)
    return [problem.told for problem in found]
