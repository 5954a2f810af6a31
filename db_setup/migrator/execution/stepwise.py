"""A file that is run step by step: each statement, or each transaction block of the file's own, is one step.

A step that can run in a transaction commits together with its record, so it is done exactly once. A step
that cannot (CREATE INDEX CONCURRENTLY, VACUUM) is announced first and recorded after; a re-run examines what has become
of the announced step.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from psycopg2 import errorcodes

from migrator.database import Connection
from migrator.errors import ChangedSteps, ServerError
from migrator.execution import indexes
from migrator.execution.transaction import ROLLBACK, Transaction, run_statement
from migrator.history import Assertion, Record, StepProgress
from migrator.scripts import ENDS, Script, terminated
from migrator.sql import Kind, Statement

if TYPE_CHECKING:
    from migrator.execution.fence import FileFence

_BLOCKS_OF_CODE = {("do",), ("call",)}
NEEDS_NO_TRANSACTION = (errorcodes.ACTIVE_SQL_TRANSACTION, errorcodes.INVALID_TRANSACTION_TERMINATION)
_ALREADY_DONE = {
    "create": (errorcodes.DUPLICATE_DATABASE, errorcodes.DUPLICATE_OBJECT, errorcodes.DUPLICATE_TABLE),
    "drop": (errorcodes.INVALID_CATALOG_NAME, errorcodes.UNDEFINED_OBJECT, errorcodes.UNDEFINED_TABLE),
}
_CONCURRENTLY = re.compile(r"\bCONCURRENTLY\b", re.IGNORECASE)
_PENDING_DETACH, _NOT_A_PARTITION = errorcodes.OBJECT_NOT_IN_PREREQUISITE_STATE, errorcodes.UNDEFINED_TABLE


class StepwiseRun:
    """The run of one stepwise file, from where its record says it is."""

    def __init__(
        self, connection: Connection, script: Script, record: Record, progress: Callable[[Statement], None],
        warn: Callable[[str], None], assertion: Assertion | None, fence: FileFence | None = None,
    ) -> None:  # fmt: skip
        self._connection = connection
        self._script = script
        self._record = record
        self._assertion = assertion
        self._progress = progress
        self._warn = warn
        self._fence = fence
        self._done = StepProgress()
        self._block_transaction = Transaction(connection, progress, _was_refused, assertion)
        self._transaction = Transaction(connection, progress, _was_refused_for_good, assertion)
        self._digest = hashlib.sha256()
        self._step = 0  # the number of the step at hand, from 1
        self._end: Statement  # of the block at hand, once it is read
        self.resumes = ""
        """What a re-run does first, for people."""

    @property
    def steps_done(self) -> int:
        """How many steps are recorded as done."""
        return max(self._done.steps, self._step - 1)

    def apply(self) -> None:
        """Run what is not proven done; raises ServerError with its place, or ChangedSteps."""
        if self._fence is not None:
            self._fence.refuse_unprovable(self._script)
        self._done = self._record.open(self._connection)
        statements = iter(self._script.steps())
        for statement in statements:
            self._step += 1
            self.resumes = f"goes on at line {statement.line}"
            self._chain(statement)
            self._progress(statement)
            if self._step <= self._done.steps:
                self._pass_over(statement, statements)
            elif statement.kind is Kind.BEGIN:
                self._run_block(statement, statements)
            else:
                self._run_single(statement)
        if self._step < self._done.steps:
            raise self._changed()
        self._step += 1
        if self._script.check is not None:
            self.resumes = "asks the check again"
            self._ask(self._script.check)
        self._record.close(self._connection)

    def _ask(self, check: Script) -> None:
        from migrator.execution.checks import check_apart  # noqa: PLC0415 - for files that have one

        check_apart(self._connection, check)

    def _chain(self, statement: Statement) -> None:
        self._digest.update(f"{len(statement.text)}:{statement.text}".encode())

    def _pass_over(self, statement: Statement, statements: Iterator[Statement]) -> None:
        """Skip a step that is done, but make its session settings again; compare the texts at the last one."""
        for skipped in (statement, *self._block(statements)) if statement.kind is Kind.BEGIN else (statement,):
            if skipped.kind is Kind.SESSION:
                run_statement(self._connection, skipped)
        if self._step == self._done.steps and self._digest.hexdigest() != self._done.steps_checksum:
            raise self._changed()

    def _changed(self) -> ChangedSteps:
        name, steps = self._script.migration.name, self._done.steps
        return ChangedSteps(
            f"{name} was edited within its first {steps} steps, which are applied already",
            fix="put these statements back as they were; what comes after them can be changed",
        )

    def _block(self, statements: Iterator[Statement]) -> Iterator[Statement]:
        """Yield the statements of a block; ``_end`` holds how it ends."""
        for statement in statements:
            self._chain(statement)
            self._end = statement
            if statement.kind in ENDS:
                return
            yield statement

    def _run_block(self, begin: Statement, statements: Iterator[Statement]) -> None:
        inside, opening = self._block(statements), [terminated(begin.text)]
        first = next(inside, None)
        while first is not None and first.kind is Kind.SET_TRANSACTION:  # before any query, and so before ours
            opening.append(terminated(first.text))
            first = next(inside, None)
        body = chain([first] if first else [], inside)
        check = self._check_block if self._fence else None
        self._block_transaction.execute("\n".join(opening), body, self._closing, check)
        if self._end.kind is not Kind.COMMIT:
            self._record.end_step(self._connection, self._step, self._digest.hexdigest())

    def _check_block(self) -> None:
        if self._fence is not None and self._end.kind is not Kind.ROLLBACK:
            self._fence.check_end()

    def _closing(self) -> str:
        """Return what ends a block: with its record where it commits, as it stands elsewhere."""
        if self._end.kind is Kind.ROLLBACK:
            return ROLLBACK
        if self._end.kind is Kind.PREPARE_TRANSACTION:
            return self._end.text
        return self._commit()

    def _commit(self) -> str:
        return f"{self._record.step_sql(self._connection, self._step, self._digest.hexdigest())}; COMMIT"

    def _run_single(self, statement: Statement) -> None:
        if statement.kind is Kind.OUTSIDE:
            self._run_bare(statement)
            return
        opening = "BEGIN;" if self._fence is None else f"BEGIN; {self._fence.before};"
        check = None if self._fence is None else partial(self._fence.check_end, [statement])
        try:
            self._transaction.execute(opening, [statement], self._commit, check)
        except ServerError as error:
            if error.sqlstate not in NEEDS_NO_TRANSACTION:
                raise
            self._run_bare(statement)

    def _run_bare(self, statement: Statement) -> None:
        """Run a statement outside any transaction, announced before and recorded after."""
        if self._fence is not None:
            self._fence.check_bare(statement)
        begun = self._done.step_begun == self._step
        build = indexes.IndexBuild.parse(statement.text)
        note = self._done.step_note if begun else indexes.note(self._connection, build) if build else ""
        self._record.begin_step(self._connection, self._step, note)
        if build is not None:
            self._build_index(statement, build, note, begun)
        else:
            with self._assertion_across(statement):
                self._run_idempotent(statement, begun)
        self._record.end_step(self._connection, self._step, self._digest.hexdigest())

    def _build_index(self, statement: Statement, build: indexes.IndexBuild, note: str, begun: bool) -> None:
        with self._without_lock_timeout():
            indexes.drop_invalid(self._connection, build, note, self._warn)
            if begun and indexes.was_built(self._connection, build, note):
                return
            try:
                run_statement(self._connection, statement)
            except ServerError:
                indexes.drop_invalid(self._connection, build, note, self._warn)
                raise
            indexes.check(self._connection, build, note)

    def _assertion_across(self, statement: Statement) -> AbstractContextManager[None]:
        """Compare the history before and after a block of code, which commits by itself."""
        if self._assertion is None or statement.words[:1] not in _BLOCKS_OF_CODE:
            return nullcontext()
        return self._assertion.across()

    def _run_idempotent(self, statement: Statement, begun: bool) -> None:
        """Run a statement that an earlier run may have brought to its end, or half way."""
        try:
            patient = self._without_lock_timeout() if statement.words[:1] not in _BLOCKS_OF_CODE else nullcontext()
            with patient:
                run_statement(self._connection, statement)
        except ServerError as error:
            if not (begun and self._was_done(statement, error)):
                raise
        if statement.words[:1] == ("reindex",):
            for name in indexes.leftovers(self._connection):
                self._warn(f"the invalid index {name} is left of a REINDEX CONCURRENTLY that failed; drop it")

    def _was_done(self, statement: Statement, error: ServerError) -> bool:
        """Return whether an error says that an earlier run has done the step; finishes a detach that hangs."""
        if "detach" in statement.words and error.sqlstate == _PENDING_DETACH:
            self._connection.run(_CONCURRENTLY.sub("FINALIZE", statement.text))
            return True
        if "detach" in statement.words:
            return error.sqlstate == _NOT_A_PARTITION
        return error.sqlstate in _ALREADY_DONE.get(statement.words[0], ())

    @contextmanager
    def _without_lock_timeout(self) -> Iterator[None]:
        """Give a statement the run's whole time to wait for locks: a timeout would leave an invalid index."""
        earlier = self._connection.literal(self._connection.rows("SHOW lock_timeout")[0][0])
        self._connection.run("SET lock_timeout = 0")
        try:
            yield
        finally:
            self._connection.run(f"SET lock_timeout = {earlier}")


def _was_refused(error: ServerError, _seconds: float) -> bool:
    """Return whether sending a block again in pieces says more about an error."""
    return error.sqlstate != errorcodes.QUERY_CANCELED


def _was_refused_for_good(error: ServerError, _seconds: float) -> bool:
    """The same of a single statement, which may still be run without a transaction."""
    return error.sqlstate not in {errorcodes.QUERY_CANCELED, *NEEDS_NO_TRANSACTION}
