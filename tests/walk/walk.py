"""A walk: the steps of a seed, how they are taken, and what is said when one fails."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.plugins.crashes import Runs
from tests.plugins.databases import MakeDatabase
from tests.plugins.runs import Invoke
from tests.walk.actions import ACTIONS, NotPossible, need, number_of
from tests.walk.files import LOG, File, names_in
from tests.walk.home import WAYS, home
from tests.walk.not_yet import Step, avoided
from tests.walk.world import Package, World

ROUNDS, MOST_ACTIONS = 4, 18


class Walk:
    """A walk on a new database: what it has done, and how to do it."""

    def __init__(self, path: Path, invoke: Invoke, runs: Runs, make_database: MakeDatabase) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.world = World(make_database(), path, invoke, runs, make_database)
        self.steps: list[Step] = []

    def take(self, step: Step) -> None:
        """Take one step; what cannot be done is passed over."""
        name, *words = step
        self.steps.append(step)
        try:
            if name == "end":
                end(self.world)
            elif name == "home":
                home(self.world, str(words[0]))
                self.world.packages.append(Package(dict(self.world.files), self.world.environment, self.world.turn))
            else:
                ACTIONS[str(name)].do(self.world, *words)
        except NotPossible:
            self.steps.pop()
        self.world.write()

    def begin(self, style: str) -> None:
        """Write the first file, in the style of the numbers of this folder."""
        self.world.files[style.format(0)] = File(LOG, "log")
        self.world.write()

    def explained(self, seed: object, error: BaseException) -> str:
        """Return what is to be known about a failure."""
        listing = "\n".join(f"  {name}  {self.world.files.get(name)}" for name in sorted(names_in(self.world.path)))
        rows = "\n".join(f"  {row}" for row in self.world.query("SELECT position, name, number, state, mode, steps FROM db_setup.history ORDER BY position"))
        return f"seed {seed}: {type(error).__name__}: {error}\nSTEPS = {self.steps!r}\nfiles:\n{listing}\nhistory:\n{rows}"


STYLES = ("{:03d}_f0_log.sql", "{:03d}_f0_log.sql", "V{}__f0_log.sql")


def steps_of(seed: int, world: World) -> Iterator[Step]:
    """Yield the steps of a seed, each chosen by what is there when it is its turn."""
    rng = random.Random(seed)  # noqa: S311
    yield "begin", rng.choice(STYLES)
    names, weights = list(ACTIONS), [action.weight for action in ACTIONS.values()]
    for _ in range(ROUNDS):
        for name in rng.choices(names, weights, k=rng.randrange(2, MOST_ACTIONS)):
            words = ACTIONS[name].choose(world, rng)
            if words is not None and not avoided(world, (name, *words)):
                yield name, *words
        step = "home", rng.choice(WAYS)
        if avoided(world, step):
            return
        yield step
    yield ("end",)


def end(world: World) -> None:
    """At home, the folder builds a new database, and this one is what its files build."""
    need(world.is_home())
    numbers = [number for name in world.here() if not name.startswith("repeatable/") and (number := number_of(name))]
    broken = any(file.broken >= 0 for file in world.here().values())  # recorded by a person
    if not broken and len(set(numbers)) == len(numbers):  # two applied files may have one number
        world.on_a_new_database()
    gone = [row for row in world.rows.values() if row.name.startswith("repeatable/") and row.name not in world.files]
    if world.is_plain and not gone:  # what no file makes any more is a difference
        body, error = world.look({"action": "verify"})
        assert body, error
        assert body["success"], body


def take_all(walk: Walk, steps: Iterable[Step], seed: object) -> None:
    """Take the steps; a failure says what has led to it."""
    try:
        for step in steps:
            if step[0] == "begin":
                walk.steps.append(step)
                walk.begin(str(step[1]))
            else:
                walk.take(step)
    except BaseException as error:
        raise AssertionError(walk.explained(seed, error)) from error
