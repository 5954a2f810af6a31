"""A file that is run step by step: each statement, or each transaction block of the file's own, is one step.

A step that can run in a transaction commits together with its record, so it is done exactly once. A step
that cannot (CREATE INDEX CONCURRENTLY, VACUUM) is announced first and recorded after. One that the server has refused
is known not to be done; where the runner has died in it, a re-run examines what has become of it, and where nothing
shows that, a person is asked.

A step that is done is never run again. What it has left in the session is recorded with it, and made again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, NoReturn

from psycopg2 import errorcodes

from migrator.database import TRANSIENT, Connection
from migrator.errors import ChangedSteps, ConnectionLost, LostSession, ServerError
from migrator.execution import indexes
from migrator.execution.outside import REPEATABLE, Evidence, evidence_of, transactions_begun, two_phase_steps
from migrator.execution.session import LostObjects, Remembered, SessionJournal, may_end_with_transaction
from migrator.execution.transaction import ROLLBACK, Transaction, run_statement
from migrator.formatting import cut, mask_passwords
from migrator.history import Assertion, Record, StepProgress
from migrator.scripts import ENDS, Script, place, terminated
from migrator.scripts.session_needs import Need, need_across
from migrator.sql import Kind, Statement, first_code, without_comments

if TYPE_CHECKING:
    from migrator.execution.fence import FileFence

NEEDS_NO_TRANSACTION = (errorcodes.ACTIVE_SQL_TRANSACTION, errorcodes.INVALID_TRANSACTION_TERMINATION)
_OF_SESSION = re.compile(r"\b(?:curr|last)val\b")  # in the message of the server, in any language
_MOST_SHOWN = 80  # bytes of a statement in a question
_COMMITS = "this statement can commit by itself, and the run that began it has not said what became of it: "
_UNPROVEN = "a run ended in this statement, and nothing shows whether it is done: "
_REFUSED = "this statement failed after it had ended a transaction of its own, so a part may be done: "
_SETTINGS = "the run ended as this step was committed, so what it has left in the session is not known ({}): "


class StepwiseRun:
    """The run of one stepwise file, from where its record says it is; ``apply`` again goes on in the same session."""

    def __init__(
        self, connection: Connection, script: Script, record: Record, progress: Callable[[Statement], None],
        warn: Callable[[str], None], pause: Callable[[float], None], assertion: Assertion | None,
        fence: FileFence | None = None,
    ) -> None:  # fmt: skip
        self._connection = connection
        self._script = script
        self._record = record
        self._progress = progress
        self._warn = warn
        self._pause = pause
        self._assertion = assertion
        self._fence = fence
        self._done = StepProgress()
        run = fence.run if fence is not None and fence.keeps(script) else None
        self._block_transaction = Transaction(connection, progress, self._was_refused, assertion, run=run)
        self._transaction = Transaction(connection, progress, self._was_refused_for_good, assertion, run=run)
        self._journal: SessionJournal | None = None
        self._is_open = False  # whether the record is
        self._restores = False  # the session of an earlier run, once its steps are passed over
        self._is_resumed = False  # whether there is such a run
        self._loads: list[Statement] = []
        self._digest = hashlib.sha256()
        self._step = 0  # the number of the step at hand, from 1
        self._at = (0, 0)  # where the step at hand begins
        self._end: Statement  # of the block at hand, once it is read
        self._two_phase = two_phase_steps(script)
        self._volatile = False  # whether the step at hand may set what ends with its transaction
        self.resumes = ""
        """What a re-run does first, for people."""
        self.in_doubt = False
        """Whether a part of the step at hand may be done."""
        self.is_closing = False
        """Whether all steps are recorded, and what may be lost is the answer to the record of the end."""

    def need_of_rest(self) -> Need | None:
        """Return what the steps that are left need of those that are done, and the session takes with it."""
        return need_across(self._script, self._at) if self.steps_done else None

    @property
    def steps_done(self) -> int:
        """How many steps are recorded as done."""
        return max(self._done.steps, self._step - 1)

    def apply(self) -> None:
        """Run what is not proven done, in a session that is new the first time.

        Raises ServerError with its place, ChangedSteps, StepUndecided or LostSession, and what the fence raises.
        """
        if self._fence is not None:
            self._fence.refuse_unprovable(self._script)
            self._fence.refuse_kept_at_once(self._script)
        self._begin()
        statements = iter(self._script.steps())
        for statement in statements:
            self._step += 1
            self._at, self.resumes = (statement.line, statement.column), f"goes on at line {statement.line}"
            self._chain(statement)
            self._progress(statement)
            if self._step <= self._done.steps:
                self._pass_over(statement, statements)
            else:
                self._run_step(statement, statements)
        if self._step < self._done.steps:
            raise self._changed()
        self._step += 1
        if self._script.check is not None:
            self.resumes = "asks the check again"
            self._ask(self._script.check)
        self.is_closing, self.resumes = True, "records its end"
        self._record.close(self._connection)

    def _begin(self) -> None:
        """Find out how far the file is, in a new session, or in that of an attempt that has failed."""
        again, self.is_closing = self._is_open, False
        self._open_session()
        self._digest, self._step, self._loads = hashlib.sha256(), 0, []
        self._done = self._record.progress(self._connection) if again else self._record.open(self._connection)
        self._is_open = True
        if self._done.has_question:
            self.in_doubt, self.resumes = True, "asks"
            raise self._done.undecided(self._record.name)
        if not again:
            self._restores = self._is_resumed = self._done.steps > 0
        elif self._journal is not None and not self._restores:
            self._journal.take_back(self._done.step_session)
            if self._done.steps:
                self._connection.run(self._journal.again(self._record, certain=True))

    def _open_session(self) -> None:
        if self._journal is None:
            self._journal = SessionJournal(self._connection, self._script)

    def _ask(self, check: Script) -> None:
        from migrator.execution.checks import check_apart  # noqa: PLC0415 - for files that have one

        check_apart(self._connection, check)

    def _chain(self, statement: Statement) -> None:
        self._digest.update(f"{len(statement.text)}:".encode())
        self._digest.update(statement.text.encode())

    # ---- steps that are done

    def _pass_over(self, statement: Statement, statements: Iterator[Statement]) -> None:
        """Skip a step that is done; at the last one compare the texts, and make the session what they have left."""
        for skipped in (statement, *self._block(statements)) if statement.kind is Kind.BEGIN else (statement,):
            if self._restores:
                self._note_session(skipped)
        if self._step < self._done.steps:
            return
        if self._digest.hexdigest() != self._done.steps_checksum:
            raise self._changed()
        if self._restores and self._journal is not None and self._done.step_session is not None:
            self._restore(self._journal, statement, Remembered.parse(self._done.step_session))
        self._restores = False

    def _note_session(self, statement: Statement) -> None:
        """Note what has to be made again; where an earlier version recorded no session, make its settings again."""
        if statement.words[:1] == ("load",):
            self._loads.append(statement)
        elif self._done.step_session is None and statement.kind is Kind.SESSION and statement.words:
            run_statement(self._connection, statement)

    def _restore(self, journal: SessionJournal, statement: Statement, remembered: Remembered) -> None:
        if remembered.unknown:
            self._ask_person(statement, _SETTINGS.format(", ".join(remembered.unknown)), step=self._done.steps)
        try:
            journal.restore(remembered, self._loads, self._record)
        except ServerError as error:
            if error.sqlstate in {*TRANSIENT, errorcodes.QUERY_CANCELED}:
                raise
            raise LostSession(
                f"{error.what}: the session that the steps which are done have left cannot be made again",
                sqlstate=error.sqlstate,
                fix="put back what it needs (a role that is set: CREATE it, or GRANT it to this user), then run again",
            ) from error

    def _changed(self) -> ChangedSteps:
        name, steps = self._script.migration.name, self._done.steps
        return ChangedSteps(
            f"{name} was edited within its first {steps} steps, which are applied already",
            fix="put these statements back as they were; what comes after them can be changed",
        )

    def _run_step(self, statement: Statement, statements: Iterator[Statement]) -> None:
        lost = self._journal.lost if self._journal else LostObjects()
        lost.begin_step()
        if self._journal and self._is_resumed:
            self._journal.prepare()
        try:
            if statement.kind is Kind.BEGIN:
                self._run_block(statement, statements)
            else:
                self._run_single(statement)
            lost.end_step(committed=statement.kind is not Kind.BEGIN or self._end.kind is not Kind.ROLLBACK)
        except ServerError as error:
            undefined = error.sqlstate == errorcodes.OBJECT_NOT_IN_PREREQUISITE_STATE
            if self._is_resumed and undefined and _OF_SESSION.search(error.message):
                raise LostSession(
                    f"{error.what}: the steps that are done called nextval() in the session of the run that failed",
                    where=error.where,
                    sqlstate=error.sqlstate,
                    fix="write the value in another way here, such as (SELECT max(id) FROM ...), then run again",
                ) from error
            raise

    # ---- steps in a transaction

    def _block(self, statements: Iterator[Statement]) -> Iterator[Statement]:
        """Yield the statements of a block; ``_end`` holds how it ends."""
        for statement in statements:
            self._chain(statement)
            self._end = statement
            if statement.kind in ENDS:
                return
            if self._is_to_run(statement):
                yield statement

    def _is_to_run(self, statement: Statement) -> bool:
        """Return whether there is something left of a statement to be done; raises LostSession where it cannot be."""
        self._volatile = self._volatile or may_end_with_transaction(statement.text)
        if self._step <= self._done.steps or self._journal is None:
            return True
        return self._journal.lost.look_at(statement, self._script.migration.name)

    def _run_block(self, begin: Statement, statements: Iterator[Statement]) -> None:
        evidence = self._two_phase.get(self._step)
        if evidence is None:
            self._send_block(begin, statements)
        else:
            self._run_two_phase(begin, statements, evidence)

    def _send_block(self, begin: Statement, statements: Iterator[Statement]) -> None:
        self._volatile = False
        inside, opening = self._block(statements), [terminated(begin.text)]
        first = next(inside, None)
        while first is not None and first.kind is Kind.SET_TRANSACTION:  # before any query, and so before ours
            opening.append(terminated(first.text))
            first = next(inside, None)
        body = chain([first] if first else [], inside)
        check = self._check_block if self._fence else None
        self._block_transaction.execute("\n".join(opening), body, self._closing, check)
        if self._end.kind is not Kind.COMMIT:
            self._end_step()

    def _run_two_phase(self, begin: Statement, statements: Iterator[Statement], evidence: Evidence) -> None:
        """Run a block that ends with PREPARE TRANSACTION, announced before and recorded after."""
        begun = self._done.step_begun == self._step
        note = self._announced(evidence.note_sql(self._connection), begun)
        was_done = evidence.was_done(self._connection, note) if begun else False
        if was_done is not False:
            self._pass_over_block(begin, statements, unproven=was_done is None)
            self._end_step()
            return
        try:
            self._send_block(begin, statements)
        except ServerError:
            if not evidence.was_done(self._connection, note):
                self._forget()
            raise

    def _pass_over_block(self, begin: Statement, statements: Iterator[Statement], *, unproven: bool) -> None:
        """Skip a block that is prepared, and was not recorded; what it has set in the session is set again.

        A person is asked where it is not proven, or what it has set is not known.
        """
        sets, unknown = [], False
        for statement in statements:
            self._chain(statement)
            self._end = statement
            if statement.kind in ENDS:
                break
            if statement.kind is Kind.SESSION and statement.words:
                sets.append(statement)
            else:
                unknown = unknown or may_end_with_transaction(statement.text)
        if unproven or unknown:
            self._ask_person(begin, _UNPROVEN if unproven else _SETTINGS.format("settings"))
        for statement in sets:
            run_statement(self._connection, statement)

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
        checksum, journal = self._digest.hexdigest(), self._journal
        if journal is None:
            return f"{self._record.step_sql(self._connection, self._step, checksum)}; COMMIT"
        recorded = self._record.step_sql(self._connection, self._step, checksum, journal.inside)
        again = journal.again(self._record, certain=self._volatile)
        return f"{journal.before}{recorded}; COMMIT{'; ' * (again != '')}{again}"

    def _end_step(self) -> None:
        checksum, journal = self._digest.hexdigest(), self._journal
        session = (journal.before, journal.exact) if journal else ()
        self._record.end_step(self._connection, self._step, checksum, *session)

    def _run_single(self, statement: Statement) -> None:
        self._volatile = False
        if not self._is_to_run(statement):
            self._end_step()
            return
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

    def _was_refused(self, error: ServerError, _seconds: float) -> bool:
        """Return whether sending a step again in pieces says more about an error; not where it was committed."""
        if error.sqlstate == errorcodes.QUERY_CANCELED:
            return False
        return not self._connection.idle or self._record.progress(self._connection).steps < self._step

    def _was_refused_for_good(self, error: ServerError, seconds: float) -> bool:
        """The same of a single statement, which may still be run without a transaction."""
        return error.sqlstate not in NEEDS_NO_TRANSACTION and self._was_refused(error, seconds)

    # ---- steps outside any transaction

    def _run_bare(self, statement: Statement) -> None:
        """Run a statement outside any transaction, announced before and recorded after."""
        if self._fence is not None:
            self._fence.check_bare(statement)
        build = indexes.IndexBuild.parse(statement.text)
        evidence = None if build else self._evidence_of(statement)
        begun = self._done.step_begun == self._step
        if build is not None:
            self._build_index(statement, build, begun)
        elif evidence is not None:
            self._run_examined(statement, evidence, begun)
        elif begun:
            self._ask_person(statement, _UNPROVEN)
        else:
            self._run_code(statement)
        self._end_step()

    def note_sql(self, statement: Statement) -> str:
        """Return the SQL, a text, for what is noted before a statement outside any transaction begins."""
        if build := indexes.IndexBuild.parse(statement.text):
            return build.note_sql(self._connection)
        if evidence := self._evidence_of(statement):
            return evidence.note_sql(self._connection)
        return self._connection.literal(self._question(statement, _COMMITS))

    def _evidence_of(self, statement: Statement) -> Evidence | None:
        return evidence_of(statement) or (REPEATABLE if self._script.idempotent else None)

    def _announced(self, note_sql: str, begun: bool) -> str:
        """Return the note of a step, and record that it may begin; of one that was begun, the note it had."""
        if begun:
            return self._done.step_note
        note = str(self._connection.rows(f"SELECT {note_sql}")[0][0])
        self._record.begin_step(self._connection, self._step, note)
        return note

    def _build_index(self, statement: Statement, build: indexes.IndexBuild, begun: bool) -> None:
        note = self._announced(self.note_sql(statement), begun)
        builder = indexes.Builder(self._connection, build, note, self._warn, self._pause)
        with self._without_lock_timeout():
            was_built = builder.was_built() if begun else False
            if was_built:
                return
            if was_built is None:
                self._ask_person(statement, _UNPROVEN)
            builder.drop_invalid()
            try:
                run_statement(self._connection, statement)
            except ServerError as error:
                try:
                    builder.drop_invalid()
                except (ServerError, ConnectionLost) as later:  # the time is over: it was the build that took it
                    raise later.replace(at_work=error.at_work) from error
                self._forget()
                raise
            builder.check()

    def _run_examined(self, statement: Statement, evidence: Evidence, begun: bool) -> None:
        note = self._announced(self.note_sql(statement), begun)
        with self._without_lock_timeout() if statement.is_concurrent else nullcontext():
            was_done = evidence.was_done(self._connection, note) if begun else False
            if was_done is None:
                self._ask_person(statement, _UNPROVEN)
            try:
                if not was_done:
                    run_statement(self._connection, statement)
            except ServerError:
                if not evidence.is_half_done(self._connection, note):
                    self._forget()
                raise
            finally:
                self._warn_of_leftovers(statement)

    def _warn_of_leftovers(self, statement: Statement) -> None:
        if statement.words[:1] == ("reindex",):
            with suppress(ConnectionLost):
                for name in indexes.leftovers(self._connection):
                    self._warn(f"the invalid index {name} is left of a REINDEX CONCURRENTLY that failed; drop it")

    def _run_code(self, statement: Statement) -> None:
        """Run what may commit by itself (DO, CALL): refused for certain only where it has ended no transaction."""
        self._announced(self.note_sql(statement), begun=False)
        before = transactions_begun(self._connection)
        self.in_doubt, self.resumes = True, "asks what became of that"
        try:
            with self._assertion_across():
                before = transactions_begun(self._connection)
                run_statement(self._connection, statement)
        except ServerError as error:
            if transactions_begun(self._connection) != before + 2:
                self._ask_person(statement, f"{_REFUSED}{mask_passwords(error.what)}: ")
            self.in_doubt, self.resumes = False, f"goes on at line {statement.line}"
            self._forget()
            raise
        self.in_doubt = False

    def _assertion_across(self) -> AbstractContextManager[None]:
        """Compare the history before and after a block of code, which commits by itself."""
        return nullcontext() if self._assertion is None else self._assertion.across()

    def _forget(self) -> None:
        """Record that the server has refused a step; where that fails, its note says what became of it."""
        with suppress(ServerError, ConnectionLost):
            self._record.forget_step(self._connection)
            self._done = self._done._replace(step_begun=0)

    def _question(self, statement: Statement, text: str) -> str:
        shown = cut(mask_passwords(" ".join(without_comments(statement.text).split())), _MOST_SHOWN)
        where = place(statement, first_code(statement.text))
        return StepProgress.question(where, self._digest.hexdigest(), text + shown)

    def _ask_person(self, statement: Statement, text: str, step: int = 0) -> NoReturn:
        """Record a question about a step, and raise it."""
        note = self._question(statement, text)
        self.in_doubt, self.resumes = True, "asks what became of that"
        self._record.begin_step(self._connection, step or self._step, note)
        raise StepProgress(step_note=note).undecided(self._record.name)

    @contextmanager
    def _without_lock_timeout(self) -> Iterator[None]:
        """Give a statement the run's whole time to wait for locks: a timeout would leave an invalid index."""
        earlier = self._connection.literal(self._connection.rows("SHOW lock_timeout")[0][0])
        self._connection.run("SET lock_timeout = 0")
        try:
            yield
        finally:
            with suppress(ConnectionLost):  # of which the error on its way up says more; or the next message meets it
                self._connection.run(f"SET lock_timeout = {earlier}")
