"""One transaction, sent in few messages: a small file in one, a large one in batches behind savepoints.

When a message fails without saying where, its statements are sent again one at a time, so that every error has
its line.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from migrator.database import Connection
from migrator.errors import RunError, ServerError
from migrator.formatting import Location
from migrator.scripts import place, terminated
from migrator.sql import Kind, Statement, first_code

BATCH_CHARACTERS = 1 << 18  # the server needs about 14 bytes of memory for each character of a message
_SAVEPOINT = "SAVEPOINT db_setup_batch"
_NEXT = f"RELEASE {_SAVEPOINT}; {_SAVEPOINT}"
_BACK = f"ROLLBACK TO {_SAVEPOINT}"
_COPY_LINE = re.compile(r"^COPY .*?, line (\d+)", re.MULTILINE)
_PARSING = ("standard_conforming_strings", "backslash_quote")

Batch = list[Statement]
OnStatement = Callable[[Statement], None]
MayReplay = Callable[[ServerError, float], bool]
RunStatement = Callable[[Connection, Statement], None]


def _commit() -> str:
    return "COMMIT"


class Transaction:
    """Sends transactions; ``may_replay`` is asked with an error and the seconds its message took.

    ``careful`` sends every statement by itself from the beginning; so does ``run``, which does it in another way.
    """

    def __init__(
        self, connection: Connection, progress: OnStatement, may_replay: MayReplay, *, careful: bool = False,
        run: RunStatement | None = None,
    ) -> None:  # fmt: skip
        self._connection = connection
        self._progress = progress
        self._may_replay = may_replay
        self._careful = careful or run is not None
        self._run = run or run_statement
        self._in_pieces = run is None

    def execute(
        self, opening: str, statements: Iterable[Statement], closing: Callable[[], str] = _commit,
        before_end: Callable[[], None] | None = None,
    ) -> None:  # fmt: skip
        """Send ``opening`` (up to BEGIN), the statements, and ``closing`` (ends with COMMIT), as one transaction.

        ``before_end`` may examine what the statements have done, and raise.
        Raises ServerError, with the place where it is known; whatever is raised, the transaction is rolled back.
        """
        batches = _batches(statements)
        try:
            first = next(batches, [])
            second = None if _travels_alone(first) else next(batches, None)
            if second is None and not _travels_alone(first) and before_end is None:
                self._in_one_message(opening, first, closing())
            else:
                self._in_batches(opening, chain([first], [second] if second else [], batches))
                if before_end is not None:
                    before_end()
                self._connection.run(closing())
            if not self._connection.idle:
                raise RunError("the transaction did not end where it had to; it was rolled back")
        finally:
            self._connection.rollback()

    def _in_one_message(self, opening: str, batch: Batch, closing: str) -> None:
        if not self._careful:
            if self._accepted(f"{opening}\n", batch, f"\n{closing}"):
                return
            self._connection.rollback()
        self._connection.run(opening)
        self._one_by_one(batch)
        if closing:
            self._connection.run(closing)

    def _accepted(self, head: str, batch: Batch, tail: str) -> bool:
        """Send a message; return False where one statement at a time says more about the error. Raises the others."""
        started = time.monotonic()
        try:
            self._connection.run(f"{head}{_joined(batch)}{tail}")
        except ServerError as error:
            if where := _place_in_message(error.position - 1 - len(head), batch) if error.position else None:
                raise error.replace(where=where) from error.__cause__
            if not self._may_replay(error, time.monotonic() - started):
                raise
            return False
        return True

    def _in_batches(self, opening: str, batches: Iterator[Batch]) -> None:
        savepoints = False
        for position, batch in enumerate(batches):
            if batch:
                self._progress(batch[0])
            own = any(statement.kind is Kind.SAVEPOINT for statement in batch)  # ours would swallow the file's own
            if position == 0:
                savepoints = self._in_pieces and not own
                joint = [] if _travels_alone(batch) else batch
                self._in_one_message(opening, joint, _SAVEPOINT if savepoints else "")
                if joint:
                    continue
            savepoints = savepoints and not own
            if savepoints and not _travels_alone(batch):
                self._behind_savepoint(batch)
            else:
                self._one_by_one(batch)
            if not self._connection.in_transaction:
                raise RunError("a statement ended the transaction of its file", fix="remove its COMMIT or ROLLBACK")

    def _behind_savepoint(self, batch: Batch) -> None:
        if self._accepted("", batch, f"\n{_NEXT}"):
            return
        self._connection.run(_BACK)
        self._one_by_one(batch)
        self._connection.run(_NEXT)

    def _one_by_one(self, batch: Batch) -> None:
        for statement in batch:
            self._run(self._connection, statement)


def run_statement(connection: Connection, statement: Statement) -> None:
    """Send one statement, with its COPY data if any; raises ServerError that knows the place."""
    try:
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
    return statement.data is not None or _copies_out(statement) or _sets_parsing(statement) or _is_prepare(statement)


def _copies_out(statement: Statement) -> bool:
    """Return whether a statement sends data to the client, which the driver takes only where it is asked to."""
    return statement.words[:1] == ("copy",) and "stdout" in statement.words and statement.data is None


def _sets_parsing(statement: Statement) -> bool:
    """Return whether later statements are to be read by other rules; the server reads a whole message first."""
    return statement.kind is Kind.SESSION and any(name in statement.text.lower() for name in _PARSING)


def _is_prepare(statement: Statement) -> bool:
    """Return whether a statement leaves something behind that no rollback takes away, so cannot be sent twice."""
    return statement.kind is Kind.SESSION and statement.words[:1] in {("prepare",), ("deallocate",)}


def _batches(statements: Iterable[Statement]) -> Iterator[Batch]:
    batch: Batch = []
    size = 0
    for statement in statements:
        alone = _travels_alone([statement])
        if batch and (alone or size + len(statement.text) > BATCH_CHARACTERS):
            yield batch
            batch, size = [], 0
        if alone:
            yield [statement]
        else:
            batch.append(statement)
            size += len(statement.text)
    if batch:
        yield batch
