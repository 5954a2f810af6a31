"""Deadline: the time a run has, and the pauses it may make within it."""

from __future__ import annotations

import time
from collections.abc import Callable

from migrator.errors import ConnectionLost, DbSetupError, DeadlineReached, RunError, RunInterrupted, ServerError

_LAMBDA_MARGIN = 20.0  # seconds: time to cancel, record, log and answer before Lambda ends the process
_LONGEST_FUNCTION = 780  # seconds that the construct lets a function run
_SLACK = 0.25  # seconds: statement_timeout, set to the time left, may be a little early
_QUERY_CANCELED = "57014"  # the driver, which has a name for it, is not needed here
_INTERRUPTIBLE = 0.2  # seconds that a pause may go on after an interruption
_PATIENCE = 300.0  # seconds that a run without a time limit pauses in all, waiting for others


class Interruption:
    """Whether a person or the system has asked for the end of a run, and who waits for that."""

    def __init__(self) -> None:
        self.happened = False
        self.waiting: list[Callable[[], None]] = []


class Deadline:
    """A moment on the monotonic clock, or none; all figures are seconds."""

    def __init__(
        self, seconds: float | None, interruption: Interruption | None = None, *, of_function: bool = False
    ) -> None:  # fmt: skip
        self.limit = seconds
        """The whole time, None for no end."""
        self.of_function = of_function
        """Whether it is the end of a Lambda function that bounds it."""
        self._ends = None if seconds is None else time.monotonic() + seconds
        self._patience = _PATIENCE if seconds is None else seconds
        self._interruption = interruption or Interruption()

    @classmethod
    def of_run(cls, migration_timeout: float | None, lambda_remaining: float | None) -> Deadline:
        """Return the earlier of MIGRATION_TIMEOUT and the Lambda's own end less a margin to leave cleanly."""
        bounds = [] if migration_timeout is None else [migration_timeout]
        if lambda_remaining is not None:
            bounds.append(lambda_remaining - min(_LAMBDA_MARGIN, lambda_remaining / 5))
        least = min(bounds) if bounds else None
        return cls(least, of_function=lambda_remaining is not None and least != migration_timeout)

    def within(self, seconds: float) -> Deadline:
        """Return a deadline that comes as soon as this one, after so many seconds at the latest."""
        return Deadline(min(seconds, self.remaining()), self._interruption, of_function=self.of_function)

    @property
    def more_time(self) -> str:
        """What gives a run more time than it has had, for people."""
        if not self.of_function:
            return "MIGRATION_TIMEOUT gives a run more time"
        return (
            f"give the function a longer timeout (at most {_LONGEST_FUNCTION} s), or run from a machine that reaches "
            "the database and may take longer (python db_setup migrate)"
        )

    @property
    def interrupted(self) -> bool:
        """Whether the time was ended by ``interrupt``."""
        return self._interruption.happened

    def remaining(self) -> float:
        """Return the seconds left, never below zero; infinite when there is no end."""
        if self.interrupted:
            return 0.0
        return float("inf") if self._ends is None else max(0.0, self._ends - time.monotonic())

    def interrupt(self) -> None:
        """End the time now, because a person or the system has asked for it; called from any thread."""
        self._interruption.happened = True
        for wake in list(self._interruption.waiting):
            wake()

    def when_interrupted(self, wake: Callable[[], None]) -> None:
        """Have ``wake`` called by each ``interrupt``, until ``forget``."""
        self._interruption.waiting.append(wake)

    def forget(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` no more."""
        self._interruption.waiting.remove(wake)

    def remaining_ms(self) -> int:
        """Return the milliseconds left as a value for statement_timeout: at least 1, and 0 for no limit."""
        left = self.remaining()
        return 0 if left == float("inf") else max(1, int(left * 1000))

    def patience(self) -> float:
        """Return the seconds the run may still spend in pauses."""
        return min(self._patience, self.remaining())

    def check(self) -> None:
        """Raise DeadlineReached when the time is over, RunInterrupted when it was ended."""
        if self.remaining() == 0.0:
            raise self.why_over()

    def pause(self, seconds: float, reserve: float = 0.0) -> bool:
        """Sleep for about ``seconds``, jittered so that waiters spread.

        False, at once, when patience would end before that or leave no time for a statement of ``reserve`` seconds.
        """
        import random  # noqa: PLC0415 - only a run that waits needs it

        span = seconds * random.uniform(0.5, 1.5)  # noqa: S311 - spreads waiters, keeps no secret
        if span + (reserve and reserve + _SLACK) > self.patience():
            return False
        self._patience -= span
        ends = time.monotonic() + span
        while not self.interrupted and (left := ends - time.monotonic()) > 0:
            time.sleep(min(left, _INTERRUPTIBLE))
        return not self.interrupted

    def has_led_to(self, error: DbSetupError) -> bool:
        """Return whether an error says no more than that the time is over: a message was cancelled, or cut."""
        if isinstance(error, ServerError) and error.sqlstate == _QUERY_CANCELED:
            return self.remaining() < _SLACK
        return isinstance(error, ConnectionLost) and self.remaining() == 0.0

    def why_over(self) -> RunError:
        """Return the error for a run that has used up its time, or was interrupted."""
        if self.interrupted:
            return RunInterrupted("the run was interrupted", fix="run it again: it carries on where this run stopped")
        return DeadlineReached(
            "the time for this run is over",
            fix="run it again: it carries on where this run stopped; "
            "MIGRATION_TIMEOUT or the function's timeout give it longer",
        )
