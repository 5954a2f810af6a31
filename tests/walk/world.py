"""The world of a walk: a folder, a database, and a model of what must be true of both after each action.

The notes in walk_log say what has run; db_setup.history says what is recorded. Between two looks a file may only do
what the action that was asked for allows, each note comes once in the life of an applied file, and what is recorded as
applied has left all of its notes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import psycopg2
import pytest
from migrator.cli.main import main
from migrator.errors import DbSetupError

from tests.plugins.crashes import Run, Runs
from tests.plugins.databases import Database
from tests.plugins.runs import Body, Invoke
from tests.plugins.waiting import wait_until
from tests.walk.files import LOG, File, file_of, names_in, runs_in, write
from tests.walk.traces import is_made, pieces_run

BY_A_PERSON = {"adopted", "baseline", "imported"}
"""The modes of rows for files that were not run by the run that recorded them."""
UP, DOWN, RECORD, FORGET, UNDO = "up", "down", "record", "forget", "undo"
"""What an action may do: run files, roll them back, record what it has not run, forget files that are gone, or what was
recorded before without being run."""
_ROWS = "SELECT name, number, checksum, state, mode, steps, run_id FROM db_setup.history ORDER BY position"
_NOTES = "SELECT id, note FROM walk_log WHERE id > %s ORDER BY id"
_OTHERS = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
_TABLES = """SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname IN ('public', 'db_setup') ORDER BY 1, 2"""


class Row(NamedTuple):
    """What the history says of one file."""

    name: str
    number: str
    checksum: str
    state: str
    mode: str
    steps: int
    run_id: int

    @property
    def file(self) -> int:
        """Which file it is about."""
        return file_of(self.name)


class Life:
    """What one file has done since it was last not applied: the notes of its pieces, up and down."""

    def __init__(self) -> None:
        self.up: set[int] = set()
        self.down: set[int] = set()
        self.text: File | None = None
        """Of a stepwise file that is applied in part: the text that was run."""


class Package(NamedTuple):
    """The folder of an earlier moment, which an older package holds; ``whole``: all of it was applied then."""

    files: Mapping[str, File]
    environment: str
    turn: int


class Outcome(NamedTuple):
    """How a run ended: with an answer or an error, and the names of the files that it was seen to apply."""

    body: Body | None
    error: DbSetupError | None
    applied: tuple[str, ...]


class World:
    """Folder, database and model of one walk."""

    def __init__(
        self, database: Database, path: Path, invoke: Invoke, runs: Runs, make_database: Callable[[], Database]
    ) -> None:  # fmt: skip
        self.database, self.path, self.make_database = database, path, make_database
        self._invoke, self._runs = invoke, runs
        self.session = database.connect()
        self.files: dict[str, File] = {}
        self.gone: dict[str, File] = {}
        self.texts: dict[str, File] = {}
        self.names: set[str] = set()
        self.notes: dict[int, set[int]] = {}
        self.environment = ""
        self.lives: dict[int, Life] = {}
        self.forgotten: dict[int, Row] = {}
        """What repair has forgotten, and no run has settled: such a file comes back under the next free number only."""
        self.customers: dict[int, set[str]] = {}
        self.rows: dict[int, Row] = {}
        self.packages: list[Package] = []
        self.turn = 0
        """Goes up when the history has changed by more than files that were added and run."""
        self.is_plain = True
        """Whether all that was ever applied was run from the files that are here, so that they build the same."""
        self.goal: tuple[int, set[int]] | None = None
        """How many steps the last rollback was asked for, and which files it was to leave, while it has not ended."""
        self.asked = (1, "")
        """Steps and target of the last rollback."""
        self._last_note = 0

    # ---- the folder

    def write(self, files: Mapping[str, File] | None = None, path: Path | None = None) -> None:
        """Write the folder, and remember every text that was ever there."""
        chosen = self.files if files is None else files
        self.texts.update((file.checksum, file) for file in chosen.values())
        self.names.update(chosen)
        self.notes.update((file.file, set(file.notes)) for file in chosen.values())
        write(path or self.path, chosen)

    def name_of(self, file: int) -> str:
        """Return the name that a file has now, "" where it is not there."""
        return next((name for name, each in self.files.items() if each.file == file), "")

    def here(self, files: Mapping[str, File] | None = None, environment: str | None = None) -> dict[str, File]:
        """Return the files that this environment runs."""
        chosen = self.files if files is None else files
        own = self.environment if environment is None else environment
        return {name: file for name, file in chosen.items() if runs_in(name, file, own)}

    # ---- what is there

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Return rows, none where the table is not there."""
        with self.session.cursor() as cursor:
            try:
                cursor.execute(sql, values or None)
            except (psycopg2.errors.UndefinedTable, psycopg2.errors.InvalidSchemaName):
                return []
            return cursor.fetchall()

    def execute(self, sql: str) -> None:
        """Run statements by hand."""
        with self.session.cursor() as cursor:
            cursor.execute(sql)

    def contents(self) -> list[object]:
        """Return every row of every table, but for the one that says who had the run lock last."""
        tables = [table for table in self.query(_TABLES) if table[1] != "run_lock"]
        return [(schema, name, self.query(f'SELECT t::text FROM {schema}."{name}" t ORDER BY 1')) for schema, name in tables]

    def read_rows(self) -> dict[int, Row]:
        """Return the history by file."""
        found: dict[int, Row] = {}
        for row in (Row(*values) for values in self.query(_ROWS)):
            assert row.file not in found, f"two rows for one file: {found[row.file].name}, {row.name}"
            found[row.file] = row
        return found

    def read_notes(self) -> dict[int, tuple[list[int], list[int]]]:
        """Return what has run since the last look, by file: the pieces up, the pieces down."""
        found: dict[int, tuple[list[int], list[int]]] = {}
        for number, note in self.query(_NOTES, self._last_note):
            self._last_note = number
            file, piece = map(int, note[1:].split("."))
            found.setdefault(file, ([], []))[note[0] == "-"].append(piece)
        return found

    def life(self, file: int) -> Life:
        """Return what a file has done."""
        return self.lives.setdefault(file, Life())

    def is_home(self) -> bool:
        """Return whether all files of this environment are applied, as they are on disk, whatever their names."""
        return all(map(self._is_applied, self.here().values())) and not self.missing()

    def _is_applied(self, file: File) -> bool:
        row = self.rows.get(file.file)
        done = row is not None and row.state == "applied" and row.checksum == file.checksum
        return done and self.life(file.file).up == set(file.notes)

    def missing(self) -> list[Row]:
        """Return the rows whose file is not here; a file for another environment is not missed."""
        here = {file.file for file in self.here().values()}
        rows = (row for row in self.rows.values() if not row.name.startswith("repeatable/"))
        return [row for row in rows if row.file not in here and row.name not in self.files]

    def newer_texts(self) -> list[str]:
        """Return the repeatable files that the history knows with another text than these have."""
        here = self.here()
        return [row.name for row in self.rows.values() if row.name in here and row.name.startswith("repeatable/") and row.checksum != here[row.name].checksum]

    def left_out(self) -> list[str]:
        """Return the numbered files that are applied, and that an edit has made files of another environment."""
        rows = ((name, self.rows[file.file]) for name, file in self.files.items() if file.file in self.rows and not file.is_repeatable)
        applied = {name: self.texts.get(row.checksum) for name, row in rows}
        here = self.here()
        return [name for name, text in applied.items() if text and name not in here and runs_in(name, text, self.environment)]

    def versioned(self) -> list[int]:
        """Return the files that can be rolled back, in the order of application."""
        return [row.file for row in self.rows.values() if not row.name.startswith("repeatable/")]

    # ---- the model

    def settle(self, allowed: AbstractSet[str], files: Mapping[str, File], environment: str | None = None) -> tuple[str, ...]:
        """Compare what is there with what an action may have done; return the names of what it has applied, in order."""
        before, after, notes = self.rows, self.read_rows(), self.read_notes()
        by_file = {file.file: file for file in files.values()}
        for file in {*before, *after, *notes}:
            ups, downs = notes.get(file, ([], []))
            step = _Step(self, file, before.get(file), after.get(file), by_file.get(file))
            step.check(ups, downs, allowed)
        if after and not before:  # a person who makes a history anew, without a file, has it run when it is back
            here = {each.file for each in self.here(files, environment).values()}
            for file in set(self.lives) - here - after.keys():
                self.gave_up(file, watched=file in by_file)
        self.rows = after
        self._check_customers()
        return tuple(row.name for row in after.values() if _was_run(before.get(row.file), row))

    def _check_customers(self) -> None:
        for file, expected in self.customers.items():
            there = {who for (who,) in self.query(f"SELECT who FROM t{file}")}
            assert expected <= there, f"rows of customers are lost from t{file}: {sorted(expected - there)}"

    def lost_history(self) -> None:
        """Note that nothing is recorded any more: what files have left is all that counts, no person's word."""
        self.rows, self.goal = {}, None
        self.turn += 1
        for file, life in self.lives.items():
            if file != LOG:  # its table stays, which is all that it leaves
                life.up = pieces_run(self.query, file)

    def gave_up(self, file: int, *, watched: bool = False) -> None:
        """Note that a person lets a file run again: nothing counts that it has done, but rows, where it is watched."""
        self.is_plain = False
        self.lives.pop(file, None)
        if not watched:
            self.customers.pop(file, None)

    # ---- runs

    def environ(self, path: Path | None = None, environment: str | None = None, **more: str) -> dict[str, str]:
        """Return the variables of a run."""
        own = self.environment if environment is None else environment
        return {"DATABASE_URL": self.database.url, "MIGRATIONS_DIR": str(path or self.path), "MIGRATION_ENV": own, **more}

    def run(
        self, event: object, allowed: AbstractSet[str], environ: Mapping[str, str] | None = None,
        files: Mapping[str, File] | None = None,
    ) -> Outcome:  # fmt: skip
        """Invoke the handler, settle, and hold its answer to what was seen."""
        body, error, given = None, None, {**self.environ(), **(environ or {})}
        try:
            body = self._invoke(event, **given)
        except DbSetupError as raised:
            error = raised
        outcome = Outcome(body, error, self.settle(allowed, self.files if files is None else files, given["MIGRATION_ENV"]))
        said = body["applied_migrations"] if body else error.progress.applied if error else ()
        if DOWN not in allowed:
            _compare(said, outcome.applied, str(error))
        return outcome

    def look(self, event: Mapping[str, object], **environ: str) -> tuple[Body | None, DbSetupError | None]:
        """Invoke the handler for something that must not write, and see that it has not."""
        before = self.contents()
        outcome = self.run(event, set(), environ)
        assert self.contents() == before, f"{event} has written"
        return outcome.body, outcome.error

    def on_a_new_database(self) -> None:
        """Fail where the folder does not build a new database."""
        new = World(self.make_database(), self.path, self._invoke, self._runs, self.make_database)
        try:
            new.files, new.environment = self.files, self.environment
            new.write()
            outcome = new.run(None, {UP})
            assert outcome.error is None, f"a new database cannot be built: {outcome.error}"
            assert new.is_home(), outcome
        finally:
            new.session.close()

    def killed(self, event: object, allowed: AbstractSet[str], point: int, *, before: bool) -> Run:
        """Run in a process of its own that is killed at a point, and settle when its session is gone."""
        run = self._runs.run(self.environ(), event, point=point, before=before)
        wait_until(lambda: not self.query(_OTHERS))
        applied = self.settle(allowed, self.files)
        if run.body is not None:
            _compare(run.body["applied_migrations"], applied, str(run.body))
        return run

    def at_once(self, number: int) -> list[Run]:
        """Run several deploys at once, and settle."""
        runs = self._runs.at_once(number, self.environ())
        applied = self.settle({UP, RECORD}, self.files)
        said = [name for run in runs if run.body for name in run.body["applied_migrations"]]
        assert len(said) == len(set(said)), f"applied by two: {said}"
        assert set(said) <= set(applied), (said, applied)
        if not any(run.error for run in runs):
            assert set(said) == set(applied), (said, applied)
        return runs

    def number(self) -> int:
        """Run ``number``, and follow the files to their names; return the exit status."""
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()):
            for name, value in self.environ().items():
                patch.setenv(name, value)
            status = main(["number", "--json"])
        self.settle(set(), self.files)
        by_file = {file.file: file for file in self.files.values()}
        self.files = {name: by_file[file_of(name)] for name in sorted(names_in(self.path))}
        return status


class _Step:
    """What became of one file between two looks."""

    def __init__(self, world: World, file: int, before: Row | None, after: Row | None, text: File | None) -> None:
        self._world, self._file, self._text = world, file, text
        self._before, self._after = before, after
        self._name = (after or before).name if (after or before) else f"file {file}"  # type: ignore[union-attr]

    def check(self, ups: list[int], downs: list[int], allowed: AbstractSet[str]) -> None:
        """Fail where it has done what it must not, or is recorded as what it is not."""
        life, before, after = self._world.life(self._file), self._before, self._after
        if self._begins_anew():
            life.up.clear()
        if ups and self._file in self._world.forgotten:
            self._runs_again()
            life = self._world.life(self._file)
        self._add(life.up, ups, UP, allowed)
        self._add(life.down, downs, DOWN, allowed)
        if life.down:
            self._world.customers.pop(self._file, None)
        if before is None and after is None:
            assert not ups, f"{self._name} has run, and is not recorded"
        elif after is None:
            self._has_gone(life, allowed)
        elif before is None or (before.state, before.run_id) != (after.state, after.run_id):
            self._is_there(life, after, allowed)
        if after and after.state == "running" and (ups or before is None or before.steps != after.steps):
            life.text = self._text
        if before and after and (before.name != after.name or after.state == "reverting"):
            self._world.turn += 1

    def _begins_anew(self) -> bool:
        """Return whether a repeatable file was run with another text than before, which may be run."""
        before, after = self._before, self._after
        if after is None or after.mode in BY_A_PERSON or not self._name.startswith("repeatable/"):
            return False
        return before is None or before.checksum != after.checksum

    def _runs_again(self) -> None:
        """Fail where a file that repair has forgotten is run again, unless a person has given it a higher number."""
        world = self._world
        row = world.forgotten.pop(self._file)
        if not row.name.startswith("repeatable/"):
            assert self._name != row.name, f"{self._name} was forgotten by repair, and has run again"
        world.gave_up(self._file)

    def _add(self, done: set[int], notes: list[int], what: str, allowed: AbstractSet[str]) -> None:
        assert not notes or what in allowed, f"{self._name} was run {what}, and nobody has asked for it"
        for note in notes:
            assert note not in done, f"{self._name} was run {what} twice: piece {note}"
            done.add(note)
        assert done == set(range(len(done))), f"{self._name} was run {what} in another order: {notes}"

    def _has_gone(self, life: Life, allowed: AbstractSet[str]) -> None:
        world, before = self._world, self._before
        assert before is not None
        world.turn += 1
        if DOWN in allowed:
            assert life.down == world.notes[self._file], f"{before.name} counts as rolled back, and only {life.down} of it was"
            world.lives.pop(self._file)
            return
        if UNDO in allowed and before.mode in BY_A_PERSON:
            world.gave_up(self._file)
            return
        assert FORGET in allowed, f"the row of {before.name} is lost"
        assert self._text is None or world.name_of(self._file) != before.name, f"the row of {before.name} is lost, its file is there"
        world.forgotten[self._file] = before
        world.is_plain = False

    def _is_there(self, life: Life, after: Row, allowed: AbstractSet[str]) -> None:
        world, notes = self._world, self._world.notes[self._file]
        if after.state == "applied" and after.mode in BY_A_PERSON and (self._before is None):
            assert RECORD in allowed, f"{after.name} was recorded, and nobody has asked for it"
            world.turn += 1
            if after.mode == "baseline":
                world.is_plain = False
            else:
                self._is_proven(after)
            life.up |= notes
            world.forgotten.pop(self._file, None)
        elif after.state == "applied":
            assert life.up == notes, f"{after.name} is recorded as applied, and only {sorted(life.up)} of it have run"
        elif after.state == "running" and self._text:
            assert life.up in self._text.notes_of(after.steps), f"{after.name}: {after.steps} steps recorded, {life.up} have run"


    def _is_proven(self, after: Row) -> None:
        """Fail where a file was recorded by what the database has, and has not run here, or left something else.

        A row that is lost proves nothing, neither way: repair may have forgotten the file, and what it made stays.
        """
        query = self._world.query
        if self._file != LOG:  # that its table is there is all that it leaves
            ran = pieces_run(query, self._file)
            assert ran == self._world.notes[self._file], f"{after.name} was recorded as {after.mode}, and has not run"
        made = self._text is not None and is_made(query, self._text)
        assert made, f"{after.name} was recorded as {after.mode}, and what it makes is not there"


def _compare(said: Sequence[str], applied: Sequence[str], answer: str) -> None:
    """Fail where an answer names other files than those applied; the order of rows is not that of their ends."""
    assert sorted(said) == sorted(applied), f"said to be applied: {list(said)}; was applied: {list(applied)}\n{answer}"


def _was_run(before: Row | None, after: Row) -> bool:
    """Return whether a file was run to its end between two looks."""
    done = after.state == "applied" and after.mode not in BY_A_PERSON
    return done and (before is None or (before.state, before.run_id) != (after.state, after.run_id))
