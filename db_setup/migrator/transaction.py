"""One transaction, sent in few messages: a small file in one, a large one in batches behind savepoints.

When a message fails, its statements are sent again one at a time, so that every error has its line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from migrator.connection import Connection
from migrator.errors import Location, RunError, ServerError
from migrator.script import place, terminated
from migrator.statements import Kind, Statement, first_code

BATCH_CHARACTERS = 1 << 18  # the server needs about 14 bytes of memory for each character of a message
_SAVEPOINT = "SAVEPOINT db_setup_batch"
_NEXT = f"RELEASE {_SAVEPOINT}; {_SAVEPOINT}"
_BACK = f"ROLLBACK TO {_SAVEPOINT}"
_COPY_LINE = re.compile(r"^COPY .*?, line (\d+)", re.MULTILINE)
_PARSING = ("standard_conforming_strings", "backslash_quote")

Batch = list[Statement]


def execute(
    connection: Connection, opening: str, statements: Iterable[Statement], closing: Callable[[], str],
    progress: Callable[[Statement], None],
) -> None:
    """Send ``opening`` (up to BEGIN), the statements, and ``closing`` (ends with COMMIT), as one transaction.

    Raises ServerError with the place of the statement that failed; the transaction is rolled back then.
    """  # fmt: skip
    batches = _batches(statements)
    try:
        first = next(batches, [])
        second = None if _travels_alone(first) else next(batches, None)
        if second is None and not _travels_alone(first):
            _in_one_message(connection, opening, first, closing())
        else:
            _in_batches(connection, opening, chain([first], [second] if second else [], batches), progress)
            connection.run(closing())
    except ServerError:
        connection.rollback()
        raise
    if not connection.idle:
        raise RunError("the transaction did not end where it had to; nothing of it is kept")


def _in_one_message(connection: Connection, opening: str, batch: Batch, closing: str) -> None:
    try:
        connection.run(f"{opening}\n{_joined(batch)}\n{closing}")
    except ServerError:
        connection.rollback()
        connection.run(opening)
        _one_by_one(connection, batch)
        if closing:
            connection.run(closing)


def _in_batches(
    connection: Connection, opening: str, batches: Iterator[Batch], progress: Callable[[Statement], None]
) -> None:
    savepoints = False
    for position, batch in enumerate(batches):
        if batch:
            progress(batch[0])
        own = any(statement.kind is Kind.SAVEPOINT for statement in batch)  # ours would swallow the file's own
        if position == 0:
            savepoints = not own
            joint = [] if _travels_alone(batch) else batch
            _in_one_message(connection, opening, joint, _SAVEPOINT if savepoints else "")
            if joint:
                continue
        savepoints = savepoints and not own
        if savepoints and not _travels_alone(batch):
            _behind_savepoint(connection, batch)
        else:
            _one_by_one(connection, batch)
        if not connection.in_transaction:
            raise RunError("a statement ended the transaction of its file", cure="remove its COMMIT or ROLLBACK")


def _behind_savepoint(connection: Connection, batch: Batch) -> None:
    try:
        connection.run(f"{_joined(batch)}\n{_NEXT}")
    except ServerError:
        connection.run(_BACK)
        _one_by_one(connection, batch)
        connection.run(_NEXT)


def _one_by_one(connection: Connection, batch: Batch) -> None:
    for statement in batch:
        run_statement(connection, statement)


def run_statement(connection: Connection, statement: Statement) -> None:
    """Send one statement, with its COPY data if any; raises ServerError that knows the place."""
    try:
        if statement.data is not None:
            connection.copy(statement.text, statement.data)
        else:
            connection.run(statement.text)
    except ServerError as error:
        error.where = error.where or _place_of(error, statement)
        raise


def _place_of(error: ServerError, statement: Statement) -> Location:
    copied = _COPY_LINE.search(error.context)
    where = place(statement, error.position - 1 if error.position else first_code(statement.text))
    if statement.data is None or copied is None:
        return where
    line = statement.line + statement.text.count("\n") + int(copied[1])
    return where._replace(line=line, column=1, text="")


def _joined(batch: Batch) -> str:
    return "\n".join(terminated(statement.text) for statement in batch)


def _travels_alone(batch: Batch) -> bool:
    return len(batch) == 1 and (batch[0].data is not None or _sets_parsing(batch[0]) or _is_prepare(batch[0]))


def _sets_parsing(statement: Statement) -> bool:
    """Tell whether later statements are to be read by other rules; the server reads a whole message first."""
    return statement.kind is Kind.SESSION and any(name in statement.text.lower() for name in _PARSING)


def _is_prepare(statement: Statement) -> bool:
    """Tell whether a statement leaves something behind that no rollback takes away, so cannot be sent twice."""
    return statement.kind is Kind.SESSION and statement.words[:1] == ("prepare",)


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
