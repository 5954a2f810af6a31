"""A build: files applied one after another to a scratch database, by what applies them to the live one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from migrator.context import RunContext
from migrator.database.connection import Connection
from migrator.drift.guard import CHANGES_THE_SERVER, guard_sql, kept_inside
from migrator.drift.scratch import scratch_database
from migrator.errors import DbSetupError, RunError, ScratchFailed, ServerError
from migrator.execution.blockers import Blockers
from migrator.execution.runner import Runner
from migrator.execution.watchdog import Watchdog
from migrator.history import runs
from migrator.planning.plan import Pending
from migrator.scripts import Script, read_script
from migrator.sql import Statement
from migrator.sql.effects import new_role

_KEPT_FILE = 1 << 16  # bytes; larger files are read again when they run
_MAX_NOTES = 20


class Build:
    """The scratch database that files are applied to, and what of them it could not show."""

    def __init__(self, connection: Connection, runner: Runner) -> None:
        self.connection = connection
        self.files = 0
        self._runner = runner
        self._notes: dict[str, None] = {}

    @property
    def not_verifiable(self) -> tuple[str, ...]:
        """Return what the files do beyond their database, which a scratch database must not repeat."""
        notes = tuple(self._notes)
        more = (f"and {len(notes) - _MAX_NOTES} more",) if len(notes) > _MAX_NOTES else ()
        return (*notes[:_MAX_NOTES], *more)

    def apply(self, item: Pending) -> None:
        """Apply a file; raises ScratchFailed when it cannot be, and passes on that the time is over."""
        script = read_script(item.migration, keep=item.migration.size <= _KEPT_FILE)
        try:
            self._run(item, kept_inside(script, self._note_for(script)))
        except RunError as error:
            if not _was_guarded(error):
                raise self._failed(item, error) from error
            self._without_blocks(item, script)
        self.files += 1
        self.connection.take_notices()

    def _without_blocks(self, item: Pending, script: Script) -> None:
        try:
            self._run(item, kept_inside(script, self._note_for(script), blocks=True))
        except RunError as error:
            raise self._failed(item, error) from error

    def _run(self, item: Pending, script: Script) -> None:
        self._runner.apply_all([(item._replace(resumed=False), script)])

    def _note_for(self, script: Script) -> Callable[[Statement, str], None]:
        def note(statement: Statement, what: str) -> None:
            start = " ".join(statement.words[:3]) or "select"  # bare words only: what is quoted may be a secret
            self._notes[f'{script.migration.name}:{statement.line}  "{start} ..." ({what})'] = None
            if (role := new_role(statement)) and not self._knows(role):
                raise ScratchFailed(
                    f'{script.migration.name} makes the role "{role}", which this server does not have',
                    fix="make the role again; a scratch database must not, since roles belong to the whole server",
                )

        return note

    def _knows(self, role: str) -> bool:
        name = self.connection.literal(role)
        return bool(self.connection.rows(f"SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = {name}"))

    def _failed(self, item: Pending, error: RunError) -> RunError:
        if isinstance(error, ScratchFailed) or error.code in {"deadline_reached", "interrupted"}:
            return error
        where = f"{error.where}  " if error.where else ""
        return ScratchFailed(
            f"{item.migration.name} cannot be built in a scratch database: {where}{error.what}",
            fix="a file that needs data, or a role, which it does not make itself, cannot be verified",
        )


def _was_guarded(error: DbSetupError) -> bool:
    return isinstance(error.__cause__, ServerError) and error.__cause__.sqlstate == CHANGES_THE_SERVER


@contextmanager
def building(context: RunContext, live: Connection, tell: Callable[[str], None]) -> Iterator[Build]:
    """Make a scratch database beside the live one for the files to be built in; it is dropped at the end."""
    with scratch_database(live, tell) as name, closing(context.connect(name)) as connection:
        runs.create(connection)
        connection.run(guard_sql())
        run_id = runs.begin_run(connection, "build", context.request_id)
        watchdog, blockers = Watchdog(connection, context.deadline), Blockers(lambda: context.connect(name))
        try:
            with watchdog.watching():
                yield Build(
                    connection, Runner(connection, context.deadline, watchdog, blockers, run_id, False, _silent)
                )
        finally:
            blockers.close()


def _silent(event: str, fields: dict[str, Any]) -> None:
    """Take the events of a build, which are nobody's migrations."""
