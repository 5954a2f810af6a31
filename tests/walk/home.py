"""The way home: from wherever a walk has come, what each error says to do leads to a database that is up to date.

This follows the errors by code: a person who reads nothing else gets home, within a bounded number of runs. An error
whose fix was carried out and that comes again, or that has no cause in the folder or the database, is a dead end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from migrator.errors import DbSetupError

from tests.walk.actions import BASE, baseline, migrate, named, next_number, number_of, repair, resolve, rollback
from tests.walk.files import down_of, file_of
from tests.walk.world import Row, World

MOST_RUNS = 30
WAYS = ("restore", "repair", "back")
"""What is done about files that were edited or are gone: put back as they were, accepted, or rolled back."""


class DeadEnd(AssertionError):
    """No fix leads on from here."""


@dataclass
class _Home:
    """One way home: by which fixes, and what was said so far."""

    world: World
    way: str
    said: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        """Note what was said; raises DeadEnd where its fix was carried out before, and where it is the last of many."""
        self.said.append(text)
        if self.said.count(text) > 1:
            raise DeadEnd(f"the fix was carried out ({self.way}), and does not help:\n{text}")
        if len(self.said) > MOST_RUNS:
            raise DeadEnd(f"not home after {MOST_RUNS} runs ({self.way}):\n" + "\n".join(self.said))

    def fix(self, error: DbSetupError) -> None:
        """Do what an error says."""
        self.say(str(error))
        if error.code not in _FIXES:
            raise DeadEnd(f"an error that nothing in the walk explains:\n{error}")
        _FIXES[error.code](self, error)
        self.world.write()

    def roll_back(self, steps: int, target: str = "") -> None:
        """Roll back, as far as it goes."""
        while error := rollback(self.world, steps, target).error:
            self.fix(error)
            if target not in {"", BASE, *(row.name for row in self.world.rows.values())}:
                return  # forgotten meanwhile


def home(world: World, way: str) -> None:
    """Go home; raises DeadEnd."""
    going = _Home(world, way)
    while True:
        outcome = migrate(world)
        if outcome.error:
            going.fix(outcome.error)
            continue
        assert outcome.body is not None
        if outcome.body["state"] == "up_to_date":
            return
        assert outcome.body["state"] == "ahead", outcome.body
        going.say(f"{outcome.body['message']} {outcome.body['warnings']}")
        _not_ahead(going)
        world.write()


def _not_ahead(going: _Home) -> None:
    """Take the newer files, or roll back what is newer."""
    rows = going.world.missing()
    if not rows:  # a text that the history has had before
        names = going.world.newer_texts()
        assert names, "the database is said to be ahead of the files, and no file is missing, no text an earlier one"
        for name in names:
            file = going.world.files[name]
            going.world.files[name] = file._replace(tail=file.tail + 1 + max(_tails(going.world, file.file)))
        return
    if going.way == "back":
        _back_below(going, rows[0])
    else:
        for row in rows:
            put_back(going.world, row)


def _tails(world: World, file: int) -> list[int]:
    return [text.tail for text in world.texts.values() if text.file == file]


def _back_below(going: _Home, row: Row) -> None:
    """Roll back what was applied with and after a file."""
    order = going.world.versioned()
    below = order[: order.index(row.file)]
    going.roll_back(1, going.world.rows[below[-1]].name if below else BASE)


def put_back(world: World, row: Row) -> None:
    """Give a file back the name and the text that the history knows."""
    now = world.name_of(row.file)
    text = world.life(row.file).text if row.state == "running" else world.texts.get(row.checksum)
    file = text or world.files.get(now) or world.gone[row.name]
    world.files.pop(now, None)
    world.gone.pop(row.name, None)
    world.files[row.name] = file


def _history(going: _Home, error: DbSetupError) -> None:
    """Do what is said of files that repair has forgotten, of those of another environment, or of all others."""
    world, what = going.world, error.what
    if new := [name for name in world.here() if f"{name} is new, and repair has forgotten" in what]:
        _forgotten(going, new)
        return
    half = [row for row in world.rows.values() if f"{row.name} is applied in part, and is for another environment" in what]
    if half:
        _for_another_environment(going, half[0])
        return
    _edited_or_missing(going, error)


def _edited_or_missing(going: _Home, error: DbSetupError) -> None:
    world, what = going.world, error.what
    rows = [row for row in world.rows.values() if f"{row.name} is applied" in what or f"{row.name} was edited" in what]
    by_hand = "by hand" in what
    if not rows and not by_hand:
        raise DeadEnd(f"names no file:\n{error}")
    for row in rows:
        file = world.here().get(row.name)
        if file and file.checksum == row.checksum:
            raise DeadEnd(f"{row.name} is there, as it was applied:\n{error}")
    if by_hand or going.way == "repair":
        outcome = repair(world)
        if outcome.body and "ahead of these files; repair it with the newer ones" in outcome.body["message"]:
            for row in world.missing():
                put_back(world, row)
            world.write()
            repair(world)
    elif going.way == "back" and (lost := [row for row in rows if row.name not in world.here()]):
        _back_below(going, lost[0])
    else:
        for row in rows:
            put_back(world, row)


def _for_another_environment(going: _Home, row: Row) -> None:
    """Have a file brought to its end in its own environment, or roll it back."""
    world, file = going.world, going.world.files[row.name]
    if going.way == "back":
        _back_below(going, row)
        return
    own = world.environment
    world.environment = file.environment or row.name.split("/")[1]
    home(world, going.way)
    world.environment = own


def _forgotten(going: _Home, new: list[str]) -> None:
    """Record what may be there as applied, or have it run as a new file."""
    if going.way == "repair":
        repair(going.world)
        return
    for name in new:
        to_the_end(going.world, name)


def to_the_end(world: World, name: str) -> None:
    """Give a file the next free number."""
    place, slash, _ = name.rpartition("/")
    new = f"{place}{slash}{named(world, next_number(world), f'f{file_of(name)}')}"
    world.files[new] = world.files.pop(name)


def _duplicate(going: _Home, error: DbSetupError) -> None:
    """Give the pending files whose number is taken the next free ones."""
    world = going.world
    here = [name for name in world.here() if not name.startswith("repeatable/")]
    taken = {number_of(name) for name in here if file_of(name) in world.rows}
    moved = False
    for name in sorted(here):
        if not number_of(name) or file_of(name) in world.rows:
            continue
        if number_of(name) in taken:
            to_the_end(world, name)
            moved = True
        taken.add(number_of(name))
    if not moved:
        raise DeadEnd(f"no number is taken twice:\n{error}")


def _failed(going: _Home, error: DbSetupError) -> None:
    """Correct the file that has failed."""
    world, name = going.world, error.progress.failed or (error.where.file if error.where else "")
    if name.endswith(".down.sql"):
        _mend_down(world, file_of(name), error)
        return
    file = world.files[name]
    exists = error.sqlstate == "42P07"
    if exists and file.form == "strict" and (file.file in world.forgotten or not world.life(file.file).up):
        world.files[name] = file._replace(form="lenient")
    elif file.broken >= 0 and not exists:
        world.files[name] = file._replace(broken=-1)
    else:
        raise DeadEnd(f"nothing is wrong with {name}:\n{error}")


def _mend_down(world: World, file: int, error: DbSetupError) -> None:
    row = world.rows[file]
    if row.name not in world.here():
        put_back(world, row)
    name = world.name_of(file)
    if world.files[name].down == "mended":
        raise DeadEnd(f"nothing is wrong with the down migration of {name}:\n{error}")
    world.files[name] = world.files[name]._replace(down="mended")


def _no_down(going: _Home, error: DbSetupError) -> None:
    """Write the down migrations that are missing."""
    world, moved = going.world, False
    for row in list(world.rows.values()):
        if row.name in error.what:
            name = world.name_of(row.file)
            if not name or down_of(name) not in error.fix:
                put_back(world, row)
                name, moved = row.name, True
            moved = moved or not world.files[name].down
            world.files[name] = world.files[name]._replace(down="mended")
    if not moved:
        raise DeadEnd(f"no down migration is missing:\n{error}")


def _unfinished(going: _Home, _: DbSetupError) -> None:
    """Run the rollback again that has stopped in the middle."""
    going.roll_back(*going.world.asked)


def _cannot_stay(going: _Home, error: DbSetupError) -> None:
    """Roll back with a target below what is rolled back in part; or by fewer steps where there are no more."""
    half = [row for row in going.world.rows.values() if row.state == "reverting"]
    if not half:
        raise DeadEnd(f"nothing in the walk explains:\n{error}")
    _back_below(going, half[0])


def _changed_steps(going: _Home, error: DbSetupError) -> None:
    """Put the steps back that are done."""
    world = going.world
    for name, file in world.here().items():
        text = world.life(file.file).text
        if error.what.startswith(f"{name} ") and text and (file.head, file.broken) != (text.head, -1):
            world.files[name] = file._replace(head=text.head, broken=-1)
            return
    raise DeadEnd(f"no step that is done was changed:\n{error}")


def _not_buildable(going: _Home, error: DbSetupError) -> None:
    """Correct the statement that fails; what cannot be known is said."""
    name = error.where.file if error.where else ""
    file = going.world.files.get(name)
    if file and file.broken >= 0:
        going.world.files[name] = file._replace(broken=-1)
    else:
        _say_what_is_applied(going, error)


def _not_its_own(going: _Home, error: DbSetupError) -> None:
    """Change the statement that nothing can watch; or say that the file may change what an adoption has not seen it make."""
    world, name = going.world, error.progress.failed or (error.where.file if error.where else "")
    file = world.files.get(name)
    if file is None or world.life(file.file).up == set(file.notes):
        raise DeadEnd(f"changes nothing that is not its own:\n{error}")
    if file.form == "asked":
        world.files[name] = file._replace(form="marked")
        return
    world.customers.pop(file.file, None)
    if "give it a number above" in error.fix:
        to_the_end(world, name)
    else:
        baseline(world, error.fix.partition("baseline --target ")[2].partition(";")[0])


def _undecided(going: _Home, error: DbSetupError) -> None:
    """Say what the step has done."""
    if not resolve(going.world):
        raise DeadEnd(f"no step can be answered for:\n{error}")


def _say_what_is_applied(going: _Home, error: DbSetupError) -> None:
    """Record what a person knows to be applied; what is not goes behind it."""
    world = going.world
    body, _ = world.look({"action": "plan"})
    if body is None:
        raise DeadEnd(f"no plan, and no way to say what is applied:\n{error}")
    names = [name for name in body["pending_migrations"] if not name.startswith("repeatable/")]
    done = [name for name in names if world.life(file_of(name)).up]
    for name in names[: names.index(done[-1])] if done else ():
        if name not in done:
            to_the_end(world, name)
    world.write()
    baseline(world, done[-1] if done else "none")


_FIXES: dict[str, Callable[[_Home, DbSetupError], None]] = {
    "inconsistent_history": _history,
    "duplicate_number": _duplicate,
    "migration_failed": _failed,
    "already_exists": _failed,
    "missing_down_file": _no_down,
    "unfinished_rollback": _unfinished,
    "unknown_target": _cannot_stay,
    "changed_steps": _changed_steps,
    "nothing_proven": _say_what_is_applied,
    "not_buildable": _not_buildable,
    "step_undecided": _undecided,
    "changes_foreign_object": _not_its_own,
}
