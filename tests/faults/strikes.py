"""Faults that strike at a message of a run: its process, its connection, its network, its server."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial

from migrator.cli.local_server import process

from tests.faults.runner import Runner
from tests.faults.stage import BOUND, TIMEOUT, Stage, Target, processes_of, send_all
from tests.faults.trial import Fault, Struck
from tests.plugins.proxy import Point

BRIEF = 1.5  # seconds that a run has whose server falls silent
_BRIEFLY = 0.7  # seconds for which a server stands still and goes on
_GRACE = 10.0  # seconds after which a run that does not end is killed


def struck(
    stage: Stage, target: Target, point: Point, strike: Callable[[Runner], None], *, timeout: float = TIMEOUT, cuts: bool = True
) -> Struck:
    """Run by way of the proxy, and strike at the point."""
    started: Future[Runner] = Future()
    reached = []

    def at_point() -> None:
        reached.append(point)
        strike(started.result())

    stage.proxy.arm(*point[:2], before=point.before, strike=at_point, cuts=cuts)
    started.set_result(stage.start(target, proxied=True, timeout=timeout))
    ended = started.result().result(timeout + BOUND + _GRACE)
    return Struck(ended, bool(reached))


def _kill(stage: Stage, target: Target, point: Point) -> Struck:
    return struck(stage, target, point, Runner.kill)


def _cut(stage: Stage, target: Target, point: Point) -> Struck:
    return struck(stage, target, point, lambda _: None)


def _fall_silent(stage: Stage, target: Target, point: Point) -> Struck:
    return struck(stage, target, point, lambda _: stage.proxy.fall_silent(), timeout=BRIEF)


def _freeze(stage: Stage, target: Target, point: Point) -> Struck:
    """Have the server stand still: the processes of the run, or all of it; for a while, or until the run is out."""
    whole, briefly = point.message % 2 == 0, point.message % 3 == 0
    stopped: list[int] = []

    def freeze(_: Runner) -> None:
        pids = processes_of(process.server_process(stage.server.data) or 0) if whole else target.sessions()
        stopped.extend(pids)
        send_all(pids, signal.SIGSTOP)
        if briefly:
            time.sleep(_BRIEFLY)
            send_all(pids, signal.SIGCONT)

    try:
        return struck(stage, target, point, freeze, timeout=BRIEF, cuts=False)
    finally:
        send_all(stopped, signal.SIGCONT)


def _restart(stage: Stage, target: Target, point: Point) -> Struck:
    """Restart the server: at once, in order, or because one of its processes was killed, as for want of memory."""
    return struck(stage, target, point, lambda _: _RESTARTS[point.message % len(_RESTARTS)](stage, target), cuts=False)


def restart_by(number: signal.Signals, stage: Stage, _: Target) -> None:
    """Shut the server down by a signal, and start it again."""
    postmaster = process.server_process(stage.server.data)
    if postmaster is not None:
        send_all([postmaster], number)
        process.wait_until(lambda: process.server_process(stage.server.data) is None)
    stage.server.start()


def crash(_: Stage, target: Target) -> None:
    """Kill a process of the server that works for the run: all others are ended, too."""
    send_all(target.sessions()[:1], signal.SIGKILL)


_RESTARTS: tuple[Callable[[Stage, Target], None], ...] = (
    partial(restart_by, signal.SIGQUIT), partial(restart_by, signal.SIGINT), crash,
)  # fmt: skip

KILL = Fault("kill -9 of the runner", _kill)
CUT = Fault("connection cut", _cut)
BLACK_HOLE = Fault("black hole", _fall_silent, BRIEF, reachable=False, spares=False)  # a lock is kept until it is out
FREEZE = Fault("server frozen", _freeze, BRIEF, reachable=False, spares=False)
RESTART = Fault("server restarted", _restart, spares=False)
