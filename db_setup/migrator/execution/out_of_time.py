"""What a run that is out of time says: which statement was at work, what begins anew, and what gives it more time.

Values are not shown: neither those that stand in the statement, nor rows.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from migrator.database import Deadline
from migrator.errors import AtWork, ConnectionLost, DbSetupError, DeadlineReached, RunError, ServerError
from migrator.formatting import mask_values
from migrator.scripts import place
from migrator.sql import Statement, first_code

_MOST_OF_IT = 0.8  # of a run's time: with so much a file had all that another run would give it
_LONGEST_FUNCTION = 780  # seconds that the construct lets a function run
_MACHINE = "from a machine that reaches the database and may take longer (python db_setup migrate)"


@contextmanager
def timed(statements: Sequence[Statement]) -> Iterator[None]:
    """Note in the error of a message which statements it was at work with, and how long."""
    started = time.monotonic()
    try:
        yield
    except (ServerError, ConnectionLost) as error:
        if error.at_work is not None or not statements:
            raise
        first, last = statements[0], statements[-1]
        where = place(first, first_code(first.text))
        where = where._replace(text=mask_values(where.text))
        last_line = last.line + last.text.rstrip().count("\n")
        at_work = AtWork(where, len(statements), last_line, time.monotonic() - started)
        raise error.replace(at_work=at_work) from error.__cause__


class Attempt(NamedTuple):
    """What a run has tried when its time is over: the file, the seconds since it began it, and whether it has steps.

    ``earlier`` are the messages of the runs before that ended for want of time, the last one first.
    """

    file: str
    seconds: float
    stepwise: bool
    in_doubt: bool
    earlier: Sequence[str] = ()


def out_of_time(over: RunError, error: DbSetupError, deadline: Deadline, attempt: Attempt) -> RunError:
    """Return the error of a run that is over, with the statement that ``error`` says was at work, if it does."""
    if at_work := error.at_work:
        where = at_work.where._replace(file=at_work.where.file or attempt.file)
        runs = 1 + _runs_in_a_row(where.excerpt(), f"{where}  {over.what}", attempt.earlier)
        at_work = at_work._replace(where=where, runs=runs)
        over = over.replace(what=f"{over.what}; {_said(at_work)}", where=where, at_work=at_work)
    if attempt.in_doubt or not isinstance(over, DeadlineReached):
        return over
    begins = "the step at work" if attempt.stepwise else attempt.file
    return over.replace(fix=_fix(begins, deadline, attempt))


def _said(at_work: AtWork) -> str:
    took = f"{at_work.seconds:.1f} s"
    if at_work.statements == 1:
        said = f"this statement was at work for {took}"
    else:
        many, last = at_work.statements, at_work.last_line
        said = f"one of these {many} statements, to line {last}, was at work ({took} for all)"
    return said if at_work.runs == 1 else f"{said}; the last {at_work.runs} runs have all ended here"


def _runs_in_a_row(excerpt: str, beginning: str, earlier: Sequence[str]) -> int:
    count = 0
    for message in earlier:
        if not (message.startswith(beginning) and excerpt in message):
            break
        count += 1
    return count


def _fix(begins: str, deadline: Deadline, attempt: Attempt) -> str:
    had = attempt.seconds
    if deadline.limit is None or had < _MOST_OF_IT * deadline.limit:
        return (
            f"run it again: {begins} begins anew, and has more time then than the {had:.0f} s that were left for it; "
            f"{more_time(deadline)}"
        )
    split = "" if attempt.stepwise else "; or split the file: what is applied stays applied"
    return f"{begins} begins anew in each run, and {had:.0f} s were not enough: {more_time(deadline)}{split}"


def more_time(deadline: Deadline) -> str:
    """Return what gives a run more time than it has had."""
    if not deadline.of_function:
        return "MIGRATION_TIMEOUT gives a run more time"
    return f"give the function a longer timeout (at most {_LONGEST_FUNCTION} s), or run {_MACHINE}"
