"""Mixtures: a seed chooses files, and runs with several faults in each; one that fails is shrunk."""

from __future__ import annotations

import json
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.faults.bystander import Bystander
from tests.faults.oracle import lies, state_of
from tests.faults.runner import Ended, Runner
from tests.faults.scenarios import APP, MIGRATE, Scenario
from tests.faults.stage import BOUND, Stage, Target, send_all
from tests.faults.strikes import BRIEF, crash, restart_by
from tests.faults.trial import Finding, Trials, harmed
from tests.plugins.proxy import BACKEND, FRONTEND

NAME = "mixture"
KEPT = Path(__file__).with_name("failed.jsonl")
"""The mixtures that have failed once, one a line, with what was wrong."""
_TIMEOUT = 8.0  # seconds that a run has
_GRACE = 10.0
_MOST_TRIES = 40  # to shrink one
_PAUSE = 0.4  # seconds for which a server stands still

# Each is a file; {n} is its number, by which it stays out of the way of the others.
PIECES = (
    "CREATE TABLE t{n} (i int PRIMARY KEY, s text);\nINSERT INTO t{n} SELECT g, g FROM generate_series(1, 30) g;",
    "CREATE TABLE t{n} (i int);\nCOPY t{n} FROM stdin;\n1\n2\n\\.\nUPDATE t{n} SET i = i + 1;",
    "CREATE TYPE e{n} AS ENUM ('a');\nCREATE TABLE t{n} (e e{n});\nINSERT INTO t{n} VALUES ('a');",
    "CREATE TABLE t{n} (s text);\n" + "INSERT INTO t{n} VALUES (repeat('x', 9)); -- a long line ........................\n" * 6000,
    "CREATE TABLE t{n} (i int);\nINSERT INTO t{n} VALUES (1);\nCREATE INDEX CONCURRENTLY ON t{n} (i);\nINSERT INTO t{n} VALUES (2);",
    ("CREATE TABLE t{n} (i int);\nVACUUM t{n};\nSET work_mem = '7MB';\nINSERT INTO t{n} VALUES (1);\nVACUUM t{n};\n"
    "INSERT INTO t{n} SELECT 2 WHERE current_setting('work_mem') = '7MB';"),
    "BEGIN;\nCREATE TABLE t{n} (i int);\nCOMMIT;\nBEGIN;\nINSERT INTO t{n} VALUES (1);\nCOMMIT;\nINSERT INTO t{n} VALUES (2);",
    "ALTER TABLE app ADD COLUMN c{n} int;\nCREATE TABLE t{n} (i int);",
    "CREATE INDEX CONCURRENTLY app_{n} ON app (id);\nALTER TABLE app ADD COLUMN c{n} int;",
    ("CREATE TABLE t{n} (i int);\nCREATE FUNCTION f{n}(i int) RETURNS int LANGUAGE sql AS 'INSERT INTO t{n} VALUES (i) RETURNING i';\n"
    "SELECT f{n}(1);\nVACUUM t{n};\nSELECT f{n}(2);"),
    ("CREATE TABLE t{n} (i int) PARTITION BY RANGE (i);\nCREATE TABLE p{n} PARTITION OF t{n} FOR VALUES FROM (0) TO (9);\n"
    "INSERT INTO t{n} VALUES (1);\nDO $$ BEGIN PERFORM 1; END $$;"),
    "-- db_setup: no-transaction\nCREATE TABLE t{n} (i int);\nINSERT INTO t{n} VALUES (1);\nUPDATE t{n} SET i = i + 1;",
)
KINDS = ("kill", "cut", "silence", "freeze", "pause", "crash", "restart", "terminate")


class Blow(NamedTuple):
    """A fault of a run: at which message after the one before it, counted on one side."""

    kind: str
    side: str
    message: int
    before: bool


class Mixture(NamedTuple):
    """The pieces of which the files are made, the blows of each run, and how long an application holds its row."""

    pieces: tuple[int, ...]
    runs: tuple[tuple[Blow, ...], ...]
    holds: float

    @classmethod
    def of(cls, seed: int) -> Mixture:
        """Return what a seed chooses."""
        chance = random.Random(seed)  # noqa: S311
        pieces = tuple(chance.randrange(len(PIECES)) for _ in range(chance.randint(1, 5)))
        runs = tuple(tuple(_blow(chance) for _ in range(chance.randint(1, 3))) for _ in range(chance.randint(1, 2)))
        return cls(pieces, runs, chance.choice((0.03, 0.03, 0.2)))

    @classmethod
    def read(cls, line: str) -> Mixture:
        """Return a mixture from the line of a file."""
        value = json.loads(line)
        return cls(tuple(value["pieces"]), tuple(tuple(Blow(*blow) for blow in run) for run in value["runs"]), value["holds"])

    def line(self, **more: object) -> str:
        """Return the line of a file."""
        return json.dumps({**self._asdict(), **more})

    def scenario(self) -> Scenario:
        """Return the files as a scenario."""
        files = {f"{n:03d}_x.sql": PIECES[piece].replace("{n}", str(n)) for n, piece in enumerate(self.pieces, 1)}
        name = f"{NAME} {'-'.join(map(str, self.pieces))}"
        return Scenario(name, {**APP, **files}, before=(MIGRATE,), earlier=APP, holds=self.holds, environ={"LOCK_TIMEOUT": "100ms"})

    def smaller(self) -> Iterator[Mixture]:
        """Yield the mixtures with one file, one run or one blow less."""
        for at in range(len(self.pieces)):
            if len(self.pieces) > 1:
                yield self._replace(pieces=_without(self.pieces, at))
        for at, run in enumerate(self.runs):
            if len(self.runs) > 1:
                yield self._replace(runs=_without(self.runs, at))
            for blow in range(len(run)):
                if len(run) > 1:
                    yield self._replace(runs=(*self.runs[:at], _without(run, blow), *self.runs[at + 1 :]))


def _without(items: tuple[Any, ...], at: int) -> tuple[Any, ...]:
    return (*items[:at], *items[at + 1 :])


def _blow(chance: random.Random) -> Blow:
    side = chance.choice((FRONTEND, BACKEND))
    return Blow(chance.choice(KINDS), side, chance.randint(1, 25 if side == FRONTEND else 250), chance.random() < 0.5)


def kept() -> list[Mixture]:
    """Return the mixtures that have failed once."""
    return [Mixture.read(line) for line in KEPT.read_text(encoding="utf-8").splitlines()]


def take(trials: Trials, mixture: Mixture, at: str) -> Finding:
    """Run with the faults, once more without one if need be, and judge."""
    scenario = mixture.scenario()
    clean, stage = trials.clean(scenario), trials.stage
    target = stage.target(scenario)
    wrong: list[str] = []
    stuck, longest, ended, orphans_end = False, 0.0, Ended(1, 0), True
    with Bystander(target.database, holds=mixture.holds) as bystander:
        for blows in mixture.runs:
            ended, timeout, asked = _strike(stage, target, blows)
            orphans_end = orphans_end and stage.orphans_end(target)
            wrong += lies(ended, target, reachable=asked)
            stuck, longest = stuck or ended.seconds > timeout + BOUND, max(longest, ended.seconds)
            target = target._replace(before=target.applied())
        if reruns := int(ended.status != clean.status):
            wrong += trials.run_again(target, clean)
    calm = not {blow.kind for run in mixture.runs for blow in run} & {"freeze", "pause", "crash", "restart"}
    wrong += harmed(bystander, spares=calm) + state_of(stage, target).differences(clean.state)
    stage.drop(target)
    return Finding(NAME, scenario.name, at, tuple(wrong), stuck or not orphans_end, reruns, longest)


def shrink(trials: Trials, mixture: Mixture) -> Mixture:
    """Return a smaller mixture that fails, too."""
    tries = 0
    while True:
        for smaller in mixture.smaller():
            if (tries := tries + 1) > _MOST_TRIES:
                return mixture
            finding = take(trials, smaller, "shrinking")
            if finding.wrong or finding.stuck:
                mixture = smaller
                break
        else:
            return mixture


def _strike(stage: Stage, target: Target, blows: tuple[Blow, ...]) -> tuple[Ended, float, bool]:
    """Run under blows that come one after another; return how that ended, its time, and whether the server was to be asked."""
    waits = {"silence", "freeze", "terminate"} & {blow.kind for blow in blows}
    timeout = BRIEF if waits else _TIMEOUT
    strikes = _Blows(stage, target, blows)
    ended = strikes.start(timeout).result(timeout + BOUND + _GRACE)
    strikes.end()
    stage.proxy.disarm()
    stage.answers()
    return ended, timeout, not waits


class _Blows:
    """The blows of one run, of which each one arms the next."""

    def __init__(self, stage: Stage, target: Target, blows: tuple[Blow, ...]) -> None:
        self._stage, self._target = stage, target
        self._left = list(blows)
        self._stopped: list[int] = []
        self._runner: Runner | None = None
        self._started = threading.Event()
        self._acts: dict[str, Callable[[], object]] = {
            "kill": lambda: self._send(signal.SIGKILL),
            "terminate": lambda: self._send(signal.SIGTERM),
            "cut": lambda: None,
            "silence": stage.proxy.fall_silent,
            "freeze": lambda: self._freeze(0),
            "pause": lambda: self._freeze(_PAUSE),
            "crash": lambda: crash(stage, target),
            "restart": lambda: restart_by(signal.SIGQUIT, stage, target),
        }

    def start(self, timeout: float) -> Runner:
        """Start the run."""
        self._arm()
        self._runner = self._stage.start(self._target, proxied=True, timeout=timeout)
        self._started.set()
        return self._runner

    def end(self) -> None:
        """Have what stands still go on."""
        self._left.clear()
        send_all(self._stopped, signal.SIGCONT)

    def _arm(self) -> None:
        if self._left:
            blow = self._left.pop(0)
            cuts = blow.kind in {"kill", "cut", "silence"}
            self._stage.proxy.arm(*blow[1:3], before=blow.before, strike=lambda: self._hit(blow.kind), cuts=cuts)

    def _hit(self, kind: str) -> None:
        self._started.wait()
        if kind != "silence":
            self._arm()
        self._acts[kind]()

    def _send(self, number: signal.Signals) -> None:
        assert self._runner is not None
        self._runner.send(number)

    def _freeze(self, seconds: float) -> None:
        pids = self._target.sessions()
        self._stopped += pids
        send_all(pids, signal.SIGSTOP)
        if seconds:
            time.sleep(seconds)
            send_all(pids, signal.SIGCONT)
