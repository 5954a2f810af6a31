"""What a walk can do: each action chooses its words by chance, and can be done again with the same words."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

from migrator.files import parse_number

from tests.walk.files import LOG, File, file_of
from tests.walk.not_yet import Step
from tests.walk.world import BY_A_PERSON, DOWN, FORGET, RECORD, UNDO, UP, Outcome, World

Words = Step
BASE = "base"
ENVIRONMENTS = ("", "dev", "staging")
FORMS = ("strict", "lenient", "anew", "lenient", "steps", "marked", "view", "views", "asked")


class NotPossible(Exception):
    """An action that cannot be done as things are; one that is replayed is passed over."""


def need(condition: object) -> None:
    """Raise NotPossible where an action cannot be done."""
    if not condition:
        raise NotPossible


# ---- names


def number_of(name: str) -> tuple[int, ...]:
    """Return the number in a name, () for none."""
    own = name.rpartition("/")[2]
    head = own.removeprefix("V").split("_f")[0].rstrip("_")
    return parse_number(head) if head[:1].isdigit() else ()


def next_number(world: World) -> int:
    """Return a number above those of all files that ever were."""
    names = [*world.files, *world.gone, *(row.name for row in world.rows.values())]
    given = [parse_number(row.number)[:1] for row in world.rows.values() if row.number]
    return max([*(number_of(name)[:1] for name in names), *given], default=(0,))[0] + 5


def named(world: World, number: int, rest: str) -> str:
    """Return a name in the style of the folder."""
    style = "V{}__{}" if any(name.startswith("V") for name in world.files) else "{:03d}_{}"
    return style.format(number, f"{rest}.sql")


def placed(name: str, place: str) -> str:
    """Return a name in a folder of the migrations folder."""
    return f"{place}/{name}" if place else name


def movable(world: World) -> list[str]:
    """Return the names of the files that a walk may change."""
    return [name for name, file in world.files.items() if file.file != LOG]


def some(rng: Random, values: list[str]) -> list[str]:
    """Return one of some values, by chance, or none where there are none."""
    return [rng.choice(values)] if values else []


# ---- the folder


def choose_add(world: World, rng: Random) -> Words | None:
    """A new file, mostly behind all others, sometimes late, unnumbered, with a number that is taken, or broken."""
    number = next_number(world)
    file, form = max([file_of(name) for name in world.names], default=0) + 1, rng.choice(FORMS)
    if form in {"view", "views"}:
        return f"repeatable/f{file}.sql", form, rng.choice((-1, -1, -1, 0)), "", ""
    place = rng.choice(("", "", "", "", "env/dev", "env/staging"))
    kind = rng.choice(("next", "next", "next", "late", "late", "unnumbered", "taken"))
    number = {"late": rng.randrange(1, number) // 5 * 5 + rng.randrange(1, 5), "taken": max(1, number - 5)}.get(kind, number)
    name = f"f{file}.sql" if kind == "unnumbered" else named(world, number, f"f{file}")
    environment = "" if place else rng.choice(("", "", "", "", "dev"))
    broken = rng.choice((-1, -1, -1, rng.randrange(5)))
    return placed(name, place), form, broken, rng.choice(("good", "good", "good", "good", "good", "broken", "")), environment


def add(world: World, name: str, form: str, broken: int, down: str, environment: str) -> None:
    """Add a file."""
    need(file_of(name) not in {file_of(each) for each in world.names})
    world.files[name] = File(file_of(name), form, broken=broken, down=down, environment=environment)


def choose_edit(world: World, rng: Random) -> Words | None:
    """An edit of the first statement, of what comes last, of the line ends, of what fails, or of the down migration."""
    kind = rng.choice(("head", "tail", "windows", "broken", "down", "environment"))
    return next(((name, kind, rng.randrange(5)) for name in some(rng, movable(world))), None)


def edit(world: World, name: str, kind: str, value: int) -> None:
    """Edit a file."""
    need(name in world.files)
    file = world.files[name]
    if kind in {"head", "tail"}:
        file = file._replace(**{kind: getattr(file, kind) + 1})
    elif kind == "windows":
        file = file._replace(windows=not file.windows)
    elif kind == "broken":
        file = file._replace(broken=-1 if file.broken >= 0 else value)
    elif kind == "environment":
        world.is_plain = False  # it may be applied
        file = file._replace(environment="" if file.environment else "dev")
    else:
        need(not file.is_repeatable)
        file = file._replace(down=("good", "broken", "", "mended", "good")[value])
    world.files[name] = file


def choose_rename(world: World, rng: Random) -> Words | None:
    """Another word, another number, or another environment in a name; a repeatable file would be another one then."""
    for name in some(rng, [name for name in movable(world) if not name.startswith("repeatable/")]):
        file = world.files[name].file
        place, _, own = name.rpartition("/")
        kind = rng.choice(("word", "number", "number", "place"))
        if kind == "place":
            return name, placed(own, rng.choice(("", "env/dev", "env/staging")))
        number = rng.randrange(1, next_number(world) + 1)
        if kind == "word" and (kept := number_of(name)) and len(kept) == 1:
            return name, placed(named(world, kept[0], f"f{file}_{rng.randrange(9)}"), place)
        return name, placed(named(world, number, f"f{file}"), place)
    return None


def rename(world: World, name: str, new: str) -> None:
    """Rename a file, its down migration with it."""
    need(name in world.files and new not in world.files)
    if name.rpartition("/")[0] != new.rpartition("/")[0]:
        world.is_plain = False  # applied here, and it builds other databases
    world.files[new] = world.files.pop(name)


def choose_delete(world: World, rng: Random) -> Words | None:
    """Any file."""
    return next(((name,) for name in some(rng, movable(world))), None)


def delete(world: World, name: str) -> None:
    """Delete a file, its down migration with it."""
    need(name in world.files)
    world.gone[name] = world.files.pop(name)


def choose_put_back(world: World, rng: Random) -> Words | None:
    """Any file that was deleted."""
    return next(((name,) for name in some(rng, sorted(world.gone))), None)


def put_back(world: World, name: str) -> None:
    """Put a deleted file back."""
    need(name in world.gone and name not in world.files and not world.name_of(file_of(name)))
    world.files[name] = world.gone.pop(name)


def number(world: World) -> None:
    """Run ``number``: what is pending, and its order, is the same before and after."""
    before, _ = world.look({"action": "plan"})
    names = sorted(world.files)
    status = world.number()
    assert status in {0, 1}, status
    if status:
        assert sorted(world.files) == names, "number has failed, and has renamed files"
    after, _ = world.look({"action": "plan"})
    if before and after:
        orders = [[file_of(name) for name in body["pending_migrations"]] for body in (before, after)]
        assert orders[0] == orders[1], f"number has changed what is pending: {orders}"
    assert bool(before) == bool(after), "number has made a plan of a refusal, or a refusal of a plan"


# ---- looking


LOOKS = ("status", "plan", "history", "status", "plan", "history", "rehearse", "verify", "repair", "rollback", "adopt", "baseline")


def choose_look(_world: World, rng: Random) -> Words:
    """Any action that only shows something."""
    return (rng.choice(LOOKS),)


def look(world: World, action: str) -> None:
    """Ask for something that must not write; what status says is what is there."""
    event = {"action": action, **({"target_revision": "head"} if action == "baseline" else {})}
    body, _ = world.look(event)
    if body is None or action != "status":
        return
    state = body["state"]
    if state == "up_to_date":
        assert world.is_home(), f"status says up_to_date: {body['message']}"
    if world.is_home():
        assert state in {"up_to_date", "inconsistent"}, body
    assert bool(body["pending_migrations"]) == (state not in {"up_to_date", "ahead"}) or state == "inconsistent", body
    assert bool(body["problems"]) == (state == "inconsistent") != body["success"], body
    assert state != "ahead" or world.missing() or world.newer_texts(), body


# ---- runs


def migrate(world: World, target: str = "", setting: str = "") -> Outcome:
    """Migrate: what plan has said before is what happens."""
    environ = {setting: "true"} if setting else {}
    if setting == "ALLOW_MISSING":
        here = {file.file for file in world.here().values()}
        need(not any(row.file in here for row in world.missing()))
    event = {"action": "migrate", **({"target_revision": target} if target else {})}
    planned, refused = world.look({**event, "action": "plan"}, **environ)
    outcome = world.run(event, {UP, RECORD}, environ)
    if planned and planned["state"] != "tables_without_migration_history":
        names = planned["pending_migrations"]
        assert set(outcome.applied) == set(names[: len(outcome.applied)]), (names, outcome.applied)
        assert outcome.error or len(outcome.applied) == len(planned["migrations"]), (planned, outcome)
    if refused:
        assert outcome.error is not None, f"plan has refused, migrate has not: {refused}"
        assert outcome.error.code == refused.code or not outcome.applied, (refused, outcome.error)
    if outcome.body and outcome.body["state"] == "up_to_date" and not setting:
        assert world.is_home(), f"migrate says up_to_date: {outcome.body['message']}"
        assert not world.left_out(), f"edited so that they are not for here any more: {world.left_out()}"
        assert all(row.name in world.files for row in world.rows.values() if world.name_of(row.file) in world.here()), world.rows
    return outcome


def choose_migrate(world: World, rng: Random) -> Words:
    """Everything, or up to one of the files."""
    targets = [name for name in world.here() if not name.startswith("repeatable/")]
    return rng.choice(("", "", rng.choice(targets))), rng.choice(("", "", "", "STRICT_ORDER", "ALLOW_MISSING"))


def choose_rollback(world: World, rng: Random) -> Words:
    """Some steps, or to one of the files."""
    targets = [row.name for row in world.rows.values() if not row.name.startswith("repeatable/")]
    steps = rng.randrange(1, 4)
    return (steps, rng.choice(targets)) if targets and rng.randrange(3) == 0 else (steps, "")


def _expected(world: World, steps: int, target: str) -> set[int]:
    """Return the files that a rollback is to leave."""
    order = world.versioned()
    if target == BASE:
        return set()
    if target:
        (found,) = (row.file for row in world.rows.values() if row.name == target)
        return set(order[: order.index(found) + 1])
    if world.goal and world.goal[0] == steps:
        return world.goal[1] & set(order)  # without what repair has forgotten since
    return set(order[: max(0, len(order) - steps)])


def _event(steps: int, target: str) -> dict[str, object]:
    aim = {"target_revision": target} if target else {"steps": steps}
    return {"action": "rollback", "confirm": True, **aim}


def _unfinished_rollback(world: World) -> re.Match[str] | None:
    """Return what the last run says, where it is a rollback by steps that was not heard to succeed."""
    last = world.query("SELECT action, message FROM db_setup.runs WHERE action <> 'repair' ORDER BY id DESC LIMIT 1")
    back = bool(last) and last[0][0] == "rollback"
    return re.search(r"(\d+) steps? back, to position \d+$", last[0][1]) if back else None


def _forget_goal(world: World) -> None:
    """Forget where the last rollback was going, where something else was done since."""
    if _unfinished_rollback(world) is None:
        world.goal = None


def _note_goal(world: World, steps: int, left: set[int]) -> None:
    """Remember where a rollback by steps was going, as long as it is the last run and was not heard to succeed."""
    going = _unfinished_rollback(world)
    if going is None:
        world.goal = None
    elif world.goal is None or world.goal[0] != int(going[1]):
        assert int(going[1]) == steps, going[0]
        world.goal = (steps, left)


def rollback(world: World, steps: int, target: str = "") -> Outcome:
    """Roll back: what is left is what was asked for, in the order of application."""
    need(not target or target == BASE or target in {row.name for row in world.rows.values()})
    _forget_goal(world)
    left, before = _expected(world, steps, target), world.versioned()
    outcome = world.run(_event(steps, target), {DOWN})
    after = world.versioned()
    assert after == before[: len(after)], f"rolled back in another order: {before}, {after}"
    assert left <= set(after), f"rolled back too much: {after} are left of {before}, and {left} were to stay"
    if outcome.body:
        assert set(after) == left, f"rolled back too little: {after} are left of {before}, and {left} were to stay"
    _note_goal(world, steps, left)
    if outcome.error is None or outcome.error.code != "unknown_target":
        world.asked = (steps, target)
    return outcome


def choose_kill(world: World, rng: Random) -> Words:
    """A deploy, sometimes a repair, killed before or after one of the things that it asks for."""
    pending = [file for file in world.here().values() if file.file not in world.rows]
    most = 14 + sum(16 if file.is_stepwise else 3 for file in pending)
    return rng.choice(("migrate", "migrate", "migrate", "repair")), rng.randrange(1, most), rng.randrange(2)


def kill(world: World, action: str, point: int, before: int) -> None:
    """Kill a run with SIGKILL."""
    if action == "repair":
        world.turn += 1
        world.killed({"action": "repair", "confirm": True}, {FORGET, RECORD}, point, before=bool(before))
    else:
        world.killed(None, {UP, RECORD}, point, before=bool(before))


def choose_kill_rollback(world: World, rng: Random) -> Words:
    """A rollback by steps, killed before or after one of the things that it asks for."""
    steps = rng.randrange(1, 3)
    last = [world.texts.get(row.checksum) for row in world.rows.values()][-steps:]
    return steps, rng.randrange(1, 14 + sum(16 if file and file.is_stepwise else 3 for file in last)), rng.randrange(2)


def kill_rollback(world: World, steps: int, point: int, before: int) -> None:
    """Kill a rollback with SIGKILL, and ask for it again: together they go as far as was asked."""
    need(len(world.versioned()) >= steps)
    _forget_goal(world)
    left = _expected(world, steps, "")
    run = world.killed(_event(steps, ""), {DOWN}, point, before=bool(before))
    assert left <= set(world.versioned()), f"rolled back too much: {world.versioned()} are left, and {left} were to stay"
    _note_goal(world, steps, left)
    world.asked = (steps, "")
    if run.killed:
        outcome = world.run(_event(steps, ""), {DOWN})
        after = set(world.versioned())
        assert left <= after, f"rolled back too much when asked again: {after} are left, and {left} were to stay"
        assert outcome.error or after == left, f"rolled back too little: {after} are left, and {left} were to stay"
        _note_goal(world, steps, left)


def two(world: World) -> None:
    """Run two deploys at once."""
    world.at_once(2)


def choose_older(world: World, rng: Random) -> Words | None:
    """One of the packages that were deployed before."""
    return (rng.randrange(len(world.packages)),) if world.packages else None


def older(world: World, index: int) -> None:
    """Deploy an older package: where only files were added since, it succeeds and runs no migration."""
    need(index < len(world.packages))
    world.is_plain = False
    package = world.packages[index]
    path = Path(f"{world.path}_{index}")
    path.mkdir(exist_ok=True)
    world.write(package.files, path)
    outcome = world.run(None, {UP, RECORD}, world.environ(path, package.environment), package.files)
    if package.turn == world.turn:
        assert outcome.error is None, f"the older package has failed: {outcome.error}"
        assert all(name.startswith("repeatable/") for name in outcome.applied), outcome.applied


def repair(world: World) -> Outcome:
    """Have the history take the files as they are."""
    world.turn += 1
    world.is_plain = False
    outcome = world.run({"action": "repair", "confirm": True}, {FORGET, RECORD})
    if outcome.body and (found := outcome.body["repaired_migrations"]):
        again, _ = world.look({"action": "repair"})
        assert again is not None
        left = [found for found in again["migrations"] if found["mode"] != "recorded"]  # what may stand for what is gone now
        assert not left, f"repair has left {left} after {found}"
    return outcome


def choose_environment(world: World, rng: Random) -> Words:
    """Another environment."""
    return (rng.choice([name for name in ENVIRONMENTS if name != world.environment]),)


def environment(world: World, name: str) -> None:
    """Let the database be one of another environment from now on."""
    world.is_plain = False
    world.environment = name


def customers(world: World) -> None:
    """Insert a row into each table that the applied files have made."""
    for (table,) in world.query(r"SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '^t\d+$'"):
        if int(table[1:]) not in world.rows:
            continue  # nobody knows what it is
        rows = world.customers.setdefault(int(table[1:]), set())
        rows.add(who := f"customer {len(rows)}")
        world.execute(f"INSERT INTO {table} (who) VALUES ('{who}')")


def tamper(world: World) -> None:
    """Change a row of the history by hand."""
    need(world.rows)
    world.execute("UPDATE db_setup.history SET applied_by = applied_by || 'x' WHERE position = (SELECT max(position) FROM db_setup.history)")
    world.turn += 1
    world.is_plain = False


# ---- a database without a history


def lose_history(world: World) -> None:
    """Drop the history of a database whose files are all applied."""
    need(world.is_home())
    need({row.file for row in world.rows.values()} == {file.file for file in world.here().values()})
    world.execute("DROP SCHEMA db_setup CASCADE")
    world.lost_history()


def choose_baseline(world: World, rng: Random) -> Words | None:
    """Any file, or none, where nothing is recorded, or something that was not run."""
    names = [name for name in world.here() if not name.startswith("repeatable/")]
    possible = not world.rows or any(row.mode in BY_A_PERSON for row in world.rows.values())
    return (rng.choice(["none", "head", *names]),) if possible else None


def baseline(world: World, target: str) -> None:
    """Record files up to one as applied, as a person says, or none; what is not recorded is to be run."""
    outcome = world.run({"action": "baseline", "target_revision": target, "confirm": True}, {RECORD, UNDO})
    if outcome.body:
        for file in set(world.lives) - set(world.rows):
            world.gave_up(file)


def adopt(world: World) -> None:
    """Record what is proven to be applied, where nothing is recorded."""
    need(not world.rows)
    world.run({"action": "adopt", "confirm": True}, {RECORD})


def resolve(world: World) -> bool:
    """Look what the step has done that a person is asked about, and say it; return whether there was one."""
    asked, _ = world.look({"action": "resolve", "step": "done"})
    if asked is None or not asked["migrations"]:
        return False
    row = next(row for row in world.rows.values() if row.name == asked["migrations"][0]["name"])
    done = 1 in world.life(row.file).up
    outcome = world.run({"action": "resolve", "step": "done" if done else "repeat", "confirm": True}, set())
    return outcome.error is None


def choose_by_hand(world: World, rng: Random) -> Words | None:
    """Some of the files, on a database that has none yet."""
    return (rng.randrange(1, 4),) if not world.query("SELECT FROM db_setup.runs") else None


def by_hand(world: World, count: int) -> None:
    """Run the first files as psql would, before there is a history."""
    need(not world.query("SELECT FROM db_setup.runs") and not world.lives)
    body, _ = world.look({"action": "plan"})
    names = [name for name in body["pending_migrations"] if not name.startswith("repeatable/")] if body else []
    for name in names[:count]:
        file = world.files[name]
        if file.broken >= 0:
            break
        for statement in file.statements:
            world.execute(statement)
        world.life(file.file).up |= world.notes[file.file]
    world.read_notes()
    world.is_plain = False


class Action(NamedTuple):
    """How often it is chosen, how it chooses its words, and what does it."""

    weight: int
    choose: Callable[[World, Random], Words | None]
    do: Callable[..., object]


def _no_words(_world: World, _rng: Random) -> Words:
    return ()


ACTIONS = {
    "add": Action(26, choose_add, add),
    "edit": Action(8, choose_edit, edit),
    "rename": Action(5, choose_rename, rename),
    "delete": Action(4, choose_delete, delete),
    "put_back": Action(2, choose_put_back, put_back),
    "number": Action(2, _no_words, number),
    "look": Action(5, choose_look, look),
    "migrate": Action(8, choose_migrate, migrate),
    "rollback": Action(8, choose_rollback, rollback),
    "kill": Action(6, choose_kill, kill),
    "kill_rollback": Action(3, choose_kill_rollback, kill_rollback),
    "two": Action(2, _no_words, two),
    "older": Action(3, choose_older, older),
    "repair": Action(2, _no_words, repair),
    "environment": Action(2, choose_environment, environment),
    "customers": Action(4, _no_words, customers),
    "tamper": Action(1, _no_words, tamper),
    "by_hand": Action(3, choose_by_hand, by_hand),
    "baseline": Action(2, choose_baseline, baseline),
    "adopt": Action(1, _no_words, adopt),
    "resolve": Action(2, _no_words, resolve),
    "lose_history": Action(2, _no_words, lose_history),
}
