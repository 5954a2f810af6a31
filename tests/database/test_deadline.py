"""deadline: the time a run has; no test of it waits."""

from __future__ import annotations

import math
import time

import pytest
from migrator.database.deadline import Deadline
from migrator.errors import DeadlineReached


class Clock:
    """A monotonic clock that is set by hand; sleeping moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """Return the time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let the time pass."""
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Put a clock of the test's own in the place of the system's."""
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock.monotonic)
    monkeypatch.setattr(time, "sleep", clock.sleep)
    return clock


@pytest.mark.parametrize(
    ("timeout", "remaining", "expected"),
    [
        (None, None, math.inf),
        (60.0, None, 60.0),
        (None, 780.0, 760.0),
        (None, 120.0, 100.0),
        (60.0, 780.0, 60.0),
        (770.0, 780.0, 760.0),
        (None, 0.0, 0.0),
        (0.5, 0.0, 0.0),
    ],
    ids=["none", "setting", "lambda", "short-lambda", "setting-first", "lambda-first", "no-time", "no-time-at-all"],
)
def test_run_ends_at_the_earlier_of_its_bounds(
    clock: Clock, timeout: float | None, remaining: float | None, expected: float
) -> None:
    """MIGRATION_TIMEOUT and the Lambda's end less twenty seconds bound the run, whichever comes first."""
    assert Deadline.of_run(timeout, remaining).remaining() == pytest.approx(expected)


@pytest.mark.parametrize("remaining", [1.0, 3.0, 10.0, 25.0, 60.0])
def test_very_short_lambda_has_time_for_work_and_to_leave(clock: Clock, remaining: float) -> None:
    """A Lambda of a few seconds still has some for its work, and some to answer."""
    assert 0 < Deadline.of_run(None, remaining).remaining() < remaining


def test_time_left_is_never_negative(clock: Clock) -> None:
    """After the end there is no time left, and no debt."""
    deadline = Deadline(5.0)
    clock.now += 4.0
    assert deadline.remaining() == pytest.approx(1.0)
    clock.now += 100.0
    assert deadline.remaining() == 0.0
    assert deadline.patience() == 0.0


@pytest.mark.parametrize(
    ("seconds", "passed", "expected"), [(None, 1e6, 0), (5.0, 0.0, 5000), (5.0, 4.5, 500), (5.0, 5.0, 1), (5.0, 99.0, 1)]
)
def test_statement_timeout_is_never_switched_off_by_the_end(
    clock: Clock, seconds: float | None, passed: float, expected: int
) -> None:
    """Zero means no limit to the server, so a run that is over has one millisecond left."""
    deadline = Deadline(seconds)
    clock.now += passed
    assert deadline.remaining_ms() == expected


def test_check_raises_at_the_end_and_not_before(clock: Clock) -> None:
    """The end of the time is an error that says a re-run carries on, and what gives more time."""
    deadline = Deadline(5.0)
    clock.now += 4.999
    deadline.check()
    clock.now += 0.001
    with pytest.raises(DeadlineReached) as caught:
        deadline.check()
    assert "run it again" in caught.value.fix
    assert "MIGRATION_TIMEOUT" in caught.value.fix


def test_run_without_a_limit_never_ends(clock: Clock) -> None:
    """Without bounds there is no end, but also no endless wait for others."""
    deadline = Deadline(None)
    clock.now += 1e9
    deadline.check()
    assert deadline.patience() == Deadline(None).patience()  # only pauses use it up


def test_run_without_a_limit_waits_for_others_for_some_minutes(clock: Clock) -> None:
    """Somebody else's lock is waited for at least a minute, and at most an hour."""
    assert 60 <= Deadline(None).patience() <= 3600


def test_pause_is_jittered_around_what_was_asked(clock: Clock) -> None:
    """Pauses spread between half and one and a half times their length."""
    deadline = Deadline(None)
    spans = []
    for _ in range(50):
        before = clock.now
        assert deadline.pause(1.0)
        spans.append(clock.now - before)
    assert 0.5 <= min(spans) < max(spans) <= 1.5
    assert max(spans) - min(spans) > 0.1


def test_pause_beyond_the_end_is_not_made(clock: Clock) -> None:
    """A pause that would end after the time is over is refused at once."""
    deadline = Deadline(1.0)
    assert not deadline.pause(10.0)
    assert clock.now == 1000.0
