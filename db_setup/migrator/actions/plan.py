"""plan: what migrate would do, with every refusal it would make. Writes nothing, takes no lock."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing

from migrator import sealing
from migrator.actions.status import about_adoption, about_users, describe
from migrator.connection import Connection
from migrator.job import Job, View
from migrator.plan import Pending
from migrator.report import Line, Report
from migrator.script import Script, read_script

_KEPT_FILE = 1 << 16  # bytes; larger files are read again when they run
_KEPT_ALL = 1 << 24


def plan(job: Job) -> Report:
    """Report what would be applied and how; raises what migrate would raise before it touches anything."""
    folder = job.read_folder()
    with closing(job.connect()) as connection:
        view = View(job, folder, connection)
        view.plan.refuse_problems()
        by_hand = _done_by_hand(connection, view)
        scripts = read_scripts(view.plan.pending)
        remark, about = about_users(job, connection)
        if job.settings.declares_users:
            from migrator.caretaker import Caretaker  # noqa: PLC0415 - for those who have such users

            Caretaker(job).check(connection, view.plan.pending)
    modes = {script.migration.name: script.mode for script in scripts}
    lines = tuple(Line(item.number, item.migration.name, modes[item.migration.name]) for item in view.plan.pending)
    marks = (text for script in scripts for text in script.warnings)
    warnings = (*folder.warnings, *job.warnings, *about_adoption(view), *by_hand, *about, *marks)
    return describe(job, view, warnings, action="plan")._replace(pending=lines, remark=remark)


def _done_by_hand(connection: Connection, view: View) -> list[str]:
    """Return what was done to the history by hand, as warnings; raises InconsistentHistory where migrate would."""
    if not view.facts.exists:
        return []
    found = sealing.problems(connection)
    if not view.nothing_to_do:
        sealing.refuse(found)
    return [problem.told for problem in found]


def read_scripts(items: Iterable[Pending]) -> list[Script]:
    """Read the pending files, so that what can be refused is refused before anything is touched."""
    room = _KEPT_ALL
    scripts = []
    for item in items:
        keep = item.migration.size <= min(_KEPT_FILE, room)
        room -= item.migration.size if keep else 0
        script = read_script(item.migration, keep=keep)
        if item.migration.down or item.migration.check:
            from migrator.beside import with_what_is_beside  # noqa: PLC0415 - for files that have something

            script = with_what_is_beside(script)
        scripts.append(script)
    return scripts
