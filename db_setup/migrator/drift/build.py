"""A build: files applied one after another to a scratch database, by what applies them to the live one."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from typing import Any

from psycopg2 import errorcodes

from migrator.context import RunContext
from migrator.database import Connection, Deadline
from migrator.drift.guard import CHANGES_GLOBAL_OBJECTS, guard_sql, without_outside_effects
from migrator.drift.left_out import can_be_tried, may_change_catalog, try_out
from migrator.drift.scratch import scratch_database
from migrator.drift.snapshot import Key
from migrator.errors import DbSetupError, DeadlineReached, Progress, RunError, ScratchFailed, ServerError
from migrator.execution import Runner, supervised, work_of
from migrator.formatting import listed
from migrator.history import History, RunLock
from migrator.planning import Pending
from migrator.scripts import Script, kept, read_script
from migrator.sql import Statement
from migrator.sql.effects import new_role

_MAX_NOTES = 20
_MAX_NAMED = 10
_MISSING_ROLE = re.compile(r'\brole "([^"]+)" does not exist')
_NOTHING_APPLIED = "nothing: the files were being built in a scratch database"


class Build:
    """The scratch database that files are applied to, and what of them it does not show.

    ``unknown`` are the objects that statements which were left out would have changed, true for those that they would
    have made or dropped. ``unknown_since`` is where the first one stands of which nobody can say what it changes.
    """

    def __init__(
        self, connection: Connection, runner: Runner, history: History, run_id: int, deadline: Deadline
    ) -> None:  # fmt: skip
        self.connection = connection
        self._deadline = deadline
        self.unknown: dict[Key, bool] = {}
        self.unknown_since = ""
        self._left_out: list[tuple[Statement, str]] = []  # of the file at hand
        self._suspect = ""  # where the first one stands that may change what is compared
        self._history, self._run_id = history, run_id
        self.files = 0
        self.needs_missing_role = False
        """Whether the file built last makes a role, or grants to one, that this server does not have."""
        self._made_roles = ""  # what is left out since it may make roles
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
        script = script._replace(not_resumable=True)  # nobody goes on with a build
        blocks, but, self.needs_missing_role = False, set[tuple[int, int]](), False
        while True:
            try:
                self._run_without_outside_effects(item, script, blocks, but)
                break
            except RunError as error:
                if statement := self._about_missing_role(script, error):
                    but.add((statement.line, statement.column))
                elif blocks or not _may_be_a_block(error):
                    raise self._failed(item, error) from error
                else:
                    blocks = True
        self.files += 1
        self.connection.take_notices()
        self._try_left_out(script)

    def _run_without_outside_effects(
        self, item: Pending, script: Script, blocks: bool, but: Collection[tuple[int, int]]
    ) -> None:  # fmt: skip
        self._left_out = []
        self._run(item, without_outside_effects(script, self._note_for(script), blocks=blocks, but=but))

    def _about_missing_role(self, script: Script, error: RunError) -> Statement | None:
        """Return the statement that fails for a role which this server does not have, and which files may make.

        A scratch build must not make it, since roles are global objects.
        """
        found = _MISSING_ROLE.search(error.what) if error.sqlstate == errorcodes.UNDEFINED_OBJECT else None
        if found is None or error.where is None or found[1] not in self._made_roles:
            return None
        self.needs_missing_role = True
        place = (error.where.line, error.where.column)
        return max(
            (item for item in script.read() if (item.line, item.column) <= place),
            key=lambda item: (item.line, item.column),
        )

    def _try_left_out(self, script: Script) -> None:
        """Find out which objects are not comparable, since what is left out of a file would have changed them."""
        found = [pair for pair in self._left_out if may_change_catalog(*pair)]
        if not found or self.unknown_since:
            return
        first = _place(script, found[0][0])
        changed = None
        if all(can_be_tried(*pair) for pair in found):
            changed = try_out(self.connection, script, [statement for statement, _ in found])
        if changed is None:
            self.unknown_since = first
        elif changed:
            names = sorted({f"{kind} {identity}" for kind, identity in changed})
            self._notes[f"what {first} changes: {listed(names, _MAX_NAMED)}"] = None
            self.unknown.update(changed)

    def _run(self, item: Pending, script: Script) -> None:
        work = work_of(self.connection, item._replace(resumed=False), script, self._run_id, self._history)
        try:
            self._runner.apply_all([work])
        except DbSetupError as error:  # what is built in a scratch database is applied nowhere
            progress = Progress(failed=item.migration.name)
            if isinstance(error, DeadlineReached):
                error = error.replace(fix=f"a build begins anew with the first file: {self._deadline.more_time}")
            raise error.replace(applied=_NOTHING_APPLIED, progress=progress) from error.__cause__

    def _note_for(self, script: Script) -> Callable[[Statement, str], None]:
        def note(statement: Statement, effect: str) -> None:
            start = " ".join(statement.words[:3]) or "select"  # bare words only: what is quoted may be a secret
            self._notes[f'{_place(script, statement)}  "{start} ..." ({effect})'] = None
            self._left_out.append((statement, effect))
            if not self._suspect and may_change_catalog(statement, effect):
                self._suspect = _place(script, statement)
            if effect in {"role", "user", "group", "block"}:
                self._made_roles += f"\n{statement.text}"
            role = new_role(statement)
            if role and not self._has_role(role):
                self.needs_missing_role = True
                place = _place(script, statement)
                self._notes[f'{place} makes the role "{role}", which this server does not have'] = None

        return note

    def _has_role(self, role: str) -> bool:
        name = self.connection.literal(role)
        return bool(self.connection.rows(f"SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = {name}"))

    def _failed(self, item: Pending, error: RunError) -> RunError:
        if isinstance(error, ScratchFailed) or error.code in {"deadline_reached", "interrupted"}:
            return error
        left_out = f"; {self._suspect}, which is left out there, may make what it needs" if self._suspect else ""
        return ScratchFailed(
            f"{item.migration.name} cannot be built in a scratch database: {error.what}{left_out}",
            fix="a file that needs data, or a role, which it does not make itself, cannot be verified; an extension or "
            "a schema is made by a first file, such as 000_extensions.sql",
            where=error.where,
            sqlstate=error.sqlstate,
        ).replace(progress=error.progress)


def _place(script: Script, statement: Statement) -> str:
    return f"{script.migration.name}:{statement.line}"


def _may_be_a_block(error: DbSetupError) -> bool:
    """Return whether a block of code may be what fails: it changes a global object, or makes one that is there."""
    states = {CHANGES_GLOBAL_OBJECTS, errorcodes.DUPLICATE_OBJECT}
    return isinstance(error.__cause__, ServerError) and error.__cause__.sqlstate in states


@contextmanager
def building(context: RunContext, live: Connection, warn: Callable[[str], None]) -> Iterator[Build]:
    """Make a scratch database on the server of the live one for the files to be built in; it is dropped at the end."""
    with scratch_database(live, warn) as name, closing(context.connect(name)) as connection:
        history = History(connection)
        history.create()
        RunLock(connection).acquire(context.deadline, _ignore_holder)  # its own: nobody else is here
        run_id = history.begin_run("build", context.request_id)  # which refuses tables with a trigger
        connection.run(guard_sql())
        with supervised(context, connection) as run:
            yield Build(connection, Runner(run, _ignore_event), history, run_id, run.deadline)


def _ignore_holder(holder: str) -> None:
    """Ignore who has the run lock of a database that nobody else knows."""


def _ignore_event(event: str, fields: dict[str, Any]) -> None:
    """Ignore the events of a build, which is no run of the live database."""
