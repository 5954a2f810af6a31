"""One transaction, sent in few messages: a small file in one, a large one in batches behind savepoints.

When a message fails without saying where, its statements are sent again one at a time, so that every error has
its line.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain

from migrator.database import Connection
from migrator.errors import RunError, ServerError, TextMisread
from migrator.execution.supervision import timed
from migrator.formatting import Location
from migrator.history import Assertion
from migrator.scripts import place, terminated
from migrator.sql import Kind, Statement, first_code, sets_reading

BATCH_CHARACTERS = 1 << 18  # the server needs about 14 bytes of memory for each character of a message
ROLLBACK = "ROLLBACK"
"""How a block ends that leaves nothing, so that nothing is asked of it."""
_DEFERRED = "SET CONSTRAINTS ALL IMMEDIATE"
_SAVEPOINT = "SAVEPOINT db_setup_batch"
_NEXT = f"RELEASE {_SAVEPOINT}; {_SAVEPOINT}"
_BACK = f"ROLLBACK TO {_SAVEPOINT}"
_COPY_LINE = re.compile(r"^COPY .*?, line (\d+)", re.MULTILINE)

Batch = list[Statement]
OnStatement = Callable[[Statement], None]
MayReplay = Callable[[ServerError, float], bool]
RunStatement = Callable[[Connection, Statement], None]


def _commit() -> str:
    return "COMMIT"


class Transaction:
    """Sends transactions; ``may_replay`` is asked with an error and the seconds its message took.

    ``careful`` sends every statement by itself from the beginning; so does ``run``, which does it in another way.
    ``assertion`` has to hold before each COMMIT, in a script for psql there is none.
    """

    def __init__(
        self, connection: Connection, progress: OnStatement, may_replay: MayReplay, assertion: Assertion | None, *,
        careful: bool = False, run: RunStatement | None = None,
    ) -> None:  # fmt: skip
        self._connection = connection
        self._progress = progress
        self._may_replay = may_replay
        self._assertion = assertion
        self._careful = careful or run is not None or (assertion is not None and not assertion.counts)
        self._run = run or run_statement
        self._in_pieces = run is None
        self._closely = False  # whether the assertion is asked after each statement
        self.prepared = False
        """Whether the session has prepared the assertion, and the last transaction has left that as it was."""

    def execute(
        self, opening: str, statements: Iterable[Statement], closing: Callable[[], str] = _commit,
        before_end: Callable[[], None] | None = None,
    ) -> None:  # fmt: skip
        """Send ``opening`` (up to BEGIN), the statements, and ``closing`` (ends with COMMIT), as one transaction.

        ``before_end`` may examine what the statements have done, and raise.
        Raises ServerError, with the place where it is known, HistoryChanged and TextMisread; whatever is raised, the
        transaction is rolled back.
        """
        batches = _batches(statements)
        self._closely = self._careful
        try:
            first = next(batches, [])
            second = None if _travels_alone(first) else next(batches, None)
            if second is None and not _travels_alone(first) and before_end is None:
                self._in_one_message(opening, first, closing)
            else:
                self._in_batches(opening, chain([first], [second] if second else [], batches))
                if before_end is not None:
                    before_end()
                self._close(closing)
            if not self._connection.idle:  # pragma: no cover - no text is known that gets here, and none may go on
                raise RunError("the transaction did not end where it had to; it was rolled back")
        except ServerError as error:
            if self._assertion is None or not self._assertion.fails(error):
                raise
            raise self._assertion.error() from error
        finally:
            self._connection.rollback()

    def _in_one_message(self, opening: str, batch: Batch, closing: Callable[[], str]) -> None:
        if not self._careful:
            begin, check = self._asserted(batch)
            end = closing()
            tail = end if end == ROLLBACK else f"{check}{end}"
            if self._accepted(f"{opening}\n{begin}\n", batch, f"\n{tail}"):
                return
            self._connection.rollback()
            if self.prepared and self._assertion is not None:
                self._connection.run(self._assertion.prepare)  # alone: no rollback takes away what a file has prepared
        self._open(opening)
        self._one_by_one(batch)
        self._close(closing)

    def _asserted(self, batch: Batch) -> tuple[str, str]:
        """Return what goes before the statements, and what goes before the COMMIT."""
        if self._assertion is None:
            return "", ""
        if self.prepared:
            return f"{Assertion.EXECUTE_BEGIN};", f"{_DEFERRED}; {Assertion.execute_check(_joined(batch))}; "
        return f"{self._assertion.begin};", f"{_DEFERRED}; {self._assertion.check}; "

    def _accepted(self, head: str, batch: Batch, tail: str) -> bool:
        """Send a message; return False where one statement at a time says more about the error. Raises the others."""
        refuse_misread(self._connection, batch)
        started = time.monotonic()
        try:
            with timed(batch):
                self._connection.run(f"{head}{_joined(batch)}{tail}")
        except ServerError as error:
            if where := _place_in_message(error.position - 1 - len(head), batch) if error.position else None:
                raise error.replace(where=where) from error.__cause__
            if not self._may_replay(error, time.monotonic() - started):
                raise
            self._closely = self._assertion is not None and self._assertion.fails(error)
            return False
        return True

    def _open(self, opening: str) -> None:
        self.prepared = False  # a file in pieces is not asked for other prepared statements
        self._connection.run(opening)
        if self._assertion is not None:
            self._assertion.open()

    def _close(self, closing: Callable[[], str]) -> None:
        """End the transaction; deferred triggers fire first, since they could do what no file may."""
        end = closing()
        if self._assertion is not None and end != ROLLBACK:
            self._connection.run(_DEFERRED)
            self._assertion.examine()
        self._connection.run(end)

    def _in_batches(self, opening: str, batches: Iterator[Batch]) -> None:
        self._open(opening)
        savepoints = False
        for position, batch in enumerate(batches):
            if batch:
                self._progress(batch[0])
            own = any(statement.kind is Kind.SAVEPOINT for statement in batch)  # ours would swallow the file's own
            if position == 0 and self._in_pieces and not own:
                self._connection.run(_SAVEPOINT)
                savepoints = True
            savepoints = savepoints and not own
            if savepoints and not _travels_alone(batch):
                self._behind_savepoint(batch)
            else:
                self._one_by_one(batch)
                if savepoints:
                    self._connection.run(_NEXT)

    def _behind_savepoint(self, batch: Batch) -> None:
        check = "" if self._assertion is None else f"{self._assertion.check}; "
        if self._accepted("", batch, f"\n{check}{_NEXT}"):
            return
        self._connection.run(_BACK)
        self._one_by_one(batch)
        self._connection.run(_NEXT)

    def _one_by_one(self, batch: Batch) -> None:
        for statement in batch:
            self._run(self._connection, statement)
            if self._closely or statement is batch[-1]:
                self._examine(statement if self._closely or len(batch) == 1 else None)

    def _examine(self, statement: Statement | None) -> None:
        """Ask what a statement has done, None for several of them."""
        if not self._connection.in_transaction:  # pragma: no cover - as above
            raise RunError("a statement ended the transaction of its file", fix="remove its COMMIT or ROLLBACK")
        if self._assertion is None:
            return
        try:
            self._assertion.examine()
        except RunError as error:
            where = place(statement, first_code(statement.text)) if statement is not None else None
            raise error.replace(where=where) from None


def refuse_misread(connection: Connection, statements: Sequence[Statement]) -> None:
    """Raise TextMisread where the server would now read one of the statements by another rule than it was read by.

    A function, a block of code or set_config() has changed the setting: what the server takes for a string may be a
    COMMIT. Statements that are sent together were read by one rule.
    """
    standard = connection.standard_strings
    if statements and statements[0].standard_strings != standard:
        found = next((statement for statement in statements if "\\" in statement.text), None)
        setting, value = "standard_conforming_strings", "on" if standard else "off"
        rule = "a backslash in a string another meaning"
        fix = f"write SET {setting} = {value}; as a statement of its own before this one: then it is read so"
    elif connection.encoding != "UTF8":
        found = next((statement for statement in statements if not statement.text.isascii()), None)
        setting, value, rule = "client_encoding", connection.encoding, "these characters another meaning"
        fix = "take what sets it out of the file, whose text is sent as UTF8 whatever it was written in"
    else:
        return
    if found is not None:
        raise TextMisread(
            f"{setting} is {value} here, without a SET in this file, and gives {rule}",
            where=place(found, first_code(found.text)),
            fix=fix,
        )


def run_statement(connection: Connection, statement: Statement) -> None:
    """Send one statement, with its COPY data if any; raises ServerError that knows the place, and TextMisread."""
    refuse_misread(connection, (statement,))
    try:
        with timed((statement,)):
            if statement.data is not None:
                connection.copy(statement.text, statement.data)
            elif _copies_out(statement):
                connection.copy_out(statement.text)
            else:
                connection.run(statement.text)
    except ServerError as error:
        raise error.replace(where=error.where or _place_of(error, statement)) from error.__cause__


def _place_of(error: ServerError, statement: Statement) -> Location:
    copied = _COPY_LINE.search(error.context)
    where = place(statement, error.position - 1 if error.position else first_code(statement.text))
    if statement.data is None or copied is None:
        return where
    line = statement.line + statement.text.count("\n") + int(copied[1])
    return where._replace(line=line, column=1, text="")


def _place_in_message(offset: int, batch: Batch) -> Location | None:
    """Return the place of a 0-based offset into the joined texts of a batch, None for one of ours around it."""
    for statement in batch:
        if 0 <= offset < len(statement.text):
            return place(statement, offset)
        offset -= len(terminated(statement.text)) + 1
    return None


def _joined(batch: Batch) -> str:
    return "\n".join(map(terminated, [statement.text for statement in batch]))


def _travels_alone(batch: Batch) -> bool:
    if len(batch) != 1:
        return False
    statement = batch[0]
    if len(statement.text) > BATCH_CHARACTERS:  # which a message of several would have a copy of
        return True
    return statement.data is not None or _copies_out(statement) or sets_reading(statement) or _is_prepare(statement)


def _copies_out(statement: Statement) -> bool:
    """Return whether a statement sends data to the client, which the driver takes only where it is asked to."""
    return statement.words[:1] == ("copy",) and "stdout" in statement.words and statement.data is None


def _is_prepare(statement: Statement) -> bool:
    """Return whether a statement leaves something behind that no rollback takes away, so cannot be sent twice."""
    return statement.kind is Kind.SESSION and statement.words[:1] in {("prepare",), ("deallocate",)}


def _batches(statements: Iterable[Statement]) -> Iterator[Batch]:
    batch: Batch = []
    size = 0
    for statement in statements:
        alone = _travels_alone([statement])
        other = bool(batch) and statement.standard_strings != batch[0].standard_strings  # as RESET ALL makes it
        if batch and (alone or other or size + len(statement.text) > BATCH_CHARACTERS):
            yield batch
            batch, size = [], 0
        if alone:
            yield [statement]
        else:
            batch.append(statement)
            size += len(statement.text)
    if batch:
        yield batch
