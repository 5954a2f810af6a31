"""A build: files applied one after another to a scratch database, by what applies them to the live one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from migrator.context import RunContext
from migrator.database import Connection
from migrator.drift.guard import CHANGES_GLOBAL_OBJECTS, guard_sql, without_outside_effects
from migrator.drift.scratch import scratch_database
from migrator.errors import DbSetupError, Progress, RunError, ScratchFailed, ServerError
from migrator.execution import Runner, supervised, work_of
from migrator.history import History
from migrator.planning import Pending
from migrator.scripts import Script, kept, read_script
from migrator.sql import Statement
from migrator.sql.effects import new_role

_MAX_NOTES = 20
_NOTHING_APPLIED = "nothing: the files were being built in a scratch database"


class Build:
    """The scratch database that files are applied to, and what of them it does not show."""

    def __init__(self, connection: Connection, runner: Runner, run_id: int) -> None:
        self.connection = connection
        self._run_id = run_id
        self.files = 0
        self._runner = runner
        self._notes: dict[str, None] = {}

    @property
    def not_verifiable(self) -> tuple[str, ...]:
        """Return what the files do outside their database, which a scratch build must not repeat."""
        notes = tuple(self._notes)
        more = (f"and {len(notes) - _MAX_NOTES} more",) if len(notes) > _MAX_NOTES else ()
        return (*notes[:_MAX_NOTES], *more)

    def apply(self, item: Pending) -> None:
        """Apply a file; raises ScratchFailed when it cannot be built, DeadlineReached when the time is over."""
        ((migration, keep),) = kept([item.migration])
        script = read_script(migration, keep=keep, standard_strings=self.connection.standard_strings)
        try:
            self._run(item, without_outside_effects(script, self._note_for(script)))
        except RunError as error:
            if not _refused_by_guard(error):
                raise self._failed(item, error) from error
            self._apply_without_blocks(item, script)
        self.files += 1
        self.connection.take_notices()

    def _apply_without_blocks(self, item: Pending, script: Script) -> None:
        try:
            self._run(item, without_outside_effects(script, self._note_for(script), blocks=True))
        except RunError as error:
            raise self._failed(item, error) from error

    def _run(self, item: Pending, script: Script) -> None:
        try:
            self._runner.apply_all([work_of(item._replace(resumed=False), script, self._run_id)])
        except DbSetupError as error:  # what is built in a scratch database is applied nowhere
            progress = Progress(failed=item.migration.name)
            raise error.replace(applied=_NOTHING_APPLIED, progress=progress) from error.__cause__

    def _note_for(self, script: Script) -> Callable[[Statement, str], None]:
        def note(statement: Statement, effect: str) -> None:
            start = " ".join(statement.words[:3]) or "select"  # bare words only: what is quoted may be a secret
            self._notes[f'{script.migration.name}:{statement.line}  "{start} ..." ({effect})'] = None
            if (role := new_role(statement)) and not self._has_role(role):
                raise ScratchFailed(
                    f'{script.migration.name} makes the role "{role}", which this server does not have',
                    fix="create the role; a scratch build must not, since roles are global objects of the server",
                )

        return note

    def _has_role(self, role: str) -> bool:
        name = self.connection.literal(role)
        return bool(self.connection.rows(f"SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = {name}"))

    def _failed(self, item: Pending, error: RunError) -> RunError:
        if isinstance(error, ScratchFailed) or error.code in {"deadline_reached", "interrupted"}:
            return error
        return ScratchFailed(
            f"{item.migration.name} cannot be built in a scratch database: {error.what}",
            fix="a file that needs data, or a role, which it does not make itself, cannot be verified",
            where=error.where,
            sqlstate=error.sqlstate,
        ).replace(progress=error.progress)


def _refused_by_guard(error: DbSetupError) -> bool:
    return isinstance(error.__cause__, ServerError) and error.__cause__.sqlstate == CHANGES_GLOBAL_OBJECTS


@contextmanager
def building(context: RunContext, live: Connection, warn: Callable[[str], None]) -> Iterator[Build]:
    """Make a scratch database on the server of the live one for the files to be built in; it is dropped at the end."""
    with scratch_database(live, warn) as name, closing(context.connect(name)) as connection:
        history = History(connection)
        history.create()
        run_id = history.begin_run("build", context.request_id)  # which refuses tables with a trigger
        connection.run(guard_sql())
        with supervised(context, connection) as run:
            yield Build(connection, Runner(run, _ignore_event), run_id)


def _ignore_event(event: str, fields: dict[str, Any]) -> None:
    """Ignore the events of a build, which is no run of the live database."""
