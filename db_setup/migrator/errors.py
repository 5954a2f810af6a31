"""Everything that can go wrong, as one tree of errors.

    DbSetupError
    ├── UsageError            settings, requests and command lines that make no sense (exit status 2)
    ├── FolderError           the migrations folder or a file's name
    ├── TextError             the text of one file, refused before any network
    ├── PlanError             files and history that do not fit together
    ├── SecretError           Secrets Manager and what it holds
    ├── UserRefused           a limited user that cannot be made or trusted
    ├── ServerUnfit           reaching, or keeping, a fit server
    ├── ServerError           what the server said of one message
    ├── RunError              applying migrations
    ├── FunctionUnreachable, OutcomeUnknown, FunctionFailed   calling a deployed function
    ├── MissingPackage        the driver or boto3 is not installed
    └── LocalServerError      the PostgreSQL of a developer's machine

The class is the noun, ``code`` its stable name in logs, answers and documents. Imports formatting only.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Self

from migrator.formatting import AtWork, Location, cut, listed, printable

MAX_MESSAGE_BYTES = 1024  # a CloudFormation reply is limited to 4,096 bytes in all
_MAX_APPLIED, _MAX_FIX = 220, 320  # bytes


class Progress(NamedTuple):
    """How far a run had come when it failed.

    ``applied`` are the files it applied before, ``failed`` the one at work, ``steps`` how many of its steps are
    recorded as done, ``resumes`` what a re-run of it does then, and ``left`` the files that are not applied, where the
    run ended because its time was over or it was interrupted. ``in_doubt``: a part of one more step may be done.
    ``unknown``: the answer to the COMMIT of ``failed`` may be what was lost, and nobody could be asked any more.

    Of a rollback ``applied`` are the migrations that it has rolled back, and ``back`` are those that it has left, the
    one at work first; ``failed`` is the down migration. None for ``back`` is any other run.
    """

    applied: tuple[str, ...] = ()
    failed: str = ""
    steps: int = 0
    resumes: str = ""
    left: tuple[str, ...] = ()
    in_doubt: bool = False
    unknown: bool = False
    back: tuple[str, ...] | None = None

    @property
    def verb(self) -> str:
        """What the run does to a migration, as a participle."""
        return "applied" if self.back is None else "rolled back"

    def __str__(self) -> str:
        before, unknown = listed(self.applied), f"whether {self.failed} was committed is not known"
        steps = [self._of_steps] * (self.steps > 0 or self.in_doubt)
        if self.left:
            parts = [f"{before or 'nothing'} ({self.verb} in this run)", *[unknown] * self.unknown, *steps]
            left = [name for name in self.left if not (self.unknown and name == self.failed)]
            return "; ".join([*parts, *([f"left: {listed(left)}"] if left else [])])
        head = f"{before} ({self.verb} before in this run); " if before else ""
        if self.unknown:
            return f"{head}{unknown}"
        return f"{head}{self._of_steps}"

    @property
    def _of_steps(self) -> str:
        if not self.steps:
            return f"{'perhaps a part' if self.in_doubt else 'nothing'} of {self.failed}"
        more = ", and perhaps a part of the next" * self.in_doubt
        return f"{self.steps} step{'s' * (self.steps > 1)} of {self.failed}, recorded{more}; a re-run {self.resumes}"

    @property
    def failed_migration(self) -> str:
        """The migration at work, empty where there was none."""
        return self.back[0] if self.failed and self.back else self.failed

    def body(self) -> dict[str, Any]:
        """Return what JSON has of it; the names are those of an answer's body."""
        if self.back is None:
            return {"applied_migrations": list(self.applied), "pending_migrations": list(self.left)}
        return {
            "applied_migrations": [],
            "pending_migrations": [],
            "rolled_back_migrations": list(self.applied),
            "left_migrations": list(self.back),
        }


class DbSetupError(Exception):
    """A failure as a value: what happened, where, what was applied, and what to do about it.

    ``applied`` is a sentence for people. All fields are set when the error is made; ``replace`` makes another one.
    """

    code = "error"
    exit_status = 1

    def __init__(
        self, what: str, *, fix: str = "", where: Location | None = None, applied: str = "", sqlstate: str = "",
    ) -> None:  # fmt: skip
        super().__init__(what)
        self.what = what
        self.fix = fix
        self.where = where
        self.applied = applied
        self.sqlstate = sqlstate
        self.progress = Progress()
        self.at_work: AtWork | None = None

    def replace(self, **fields: Any) -> Self:
        """Return an error of the same class with some fields replaced, as a named tuple's ``_replace`` does."""
        other = type(self).__new__(type(self), *self.args)
        vars(other).update(vars(self) | fields)
        return other

    def after(self, progress: Progress) -> Self:
        """Return the same error of a run that had come so far."""
        return self.replace(progress=progress, applied=str(progress))

    @property
    def cause(self) -> str:
        """What happened, with the place in front where there is one."""
        return f"{self.where}  {self.what}" if self.where else self.what

    def __str__(self) -> str:
        """Return the whole message, the cause first, at most ``MAX_MESSAGE_BYTES`` long in UTF-8."""
        head = self.cause
        excerpt = self.where.excerpt() if self.where and self.where.text.strip() else ""
        applied = cut(f"{self.progress.verb.capitalize()}: {self.applied}", _MAX_APPLIED) if self.applied else ""
        fix = cut(f"Fix: {self.fix}", _MAX_FIX) if self.fix else ""
        tail = printable("\n".join(filter(None, (excerpt, applied, fix, f"[{self.code}]"))))
        return f"{cut(head, MAX_MESSAGE_BYTES - len(tail.encode()) - 1)}\n{tail}"

    def body(self) -> dict[str, Any]:
        """Return the failure for JSON, null for what is not known; the names are those of an answer's body."""
        where, at_work = self.where, self.at_work if self.code in {"deadline_reached", "interrupted"} else None
        return {
            "success": False,
            "code": self.code,
            "message": str(self),
            "fix": self.fix or None,
            "failed_migration": self.progress.failed_migration or None,
            "file": where.file or None if where else None,
            "line": where.line if where else None,
            "column": where.column if where else None,
            "sqlstate": self.sqlstate or None,
            **({"at_work": at_work.body()} if at_work else {}),
            **self.progress.body(),
        }


class UsageError(DbSetupError):
    """A setting, a request or a command line that cannot be understood."""

    code = "invalid_usage"
    exit_status = 2


class InvalidSetting(UsageError):
    """An environment variable or option with a value that cannot be used."""

    code = "invalid_setting"


class InvalidRequest(UsageError):
    """An event with an unknown key or an unusable value."""

    code = "invalid_request"


class NoDatabase(UsageError):
    """Nothing says which database to work on."""

    code = "no_database"


class FolderError(DbSetupError):
    """The migrations folder cannot be used as it is."""

    code = "folder_error"


class FolderNotFound(FolderError):
    """There is no folder at the given path."""

    code = "folder_not_found"


class UnreadableFile(FolderError):
    """A migration file cannot be opened, or is not a regular file."""

    code = "unreadable_file"


class InvalidFileName(FolderError):
    """A file's name cannot be recorded or understood."""

    code = "invalid_file_name"


class ForeignLayout(FolderError):
    """The folder has no migration at its top, and is laid out as another tool wants it."""

    code = "foreign_layout"


class TextError(DbSetupError):
    """The text of a file is refused before anything is touched."""

    code = "invalid_text"


class NulByte(TextError):
    """The file holds a NUL byte, at which the driver would silently cut the text."""

    code = "nul_byte"


class InvalidEncoding(TextError):
    """The bytes of the file are not in the encoding it declares (UTF-8 when it declares none)."""

    code = "invalid_encoding"


class UnterminatedText(TextError):
    """A quote, dollar quote or comment is opened and never closed."""

    code = "unterminated_text"


class PsqlCommand(TextError):
    """A backslash command that only psql understands."""

    code = "psql_command"


class UnknownDirective(TextError):
    """A ``-- db_setup:`` line with a word that means nothing."""

    code = "unknown_directive"


class UnclosedTransaction(TextError):
    """A BEGIN of the file's own without COMMIT or ROLLBACK."""

    code = "unclosed_transaction"


class NotResumable(TextError):
    """A step of a file needs what only the session of an earlier step has, so that no other run could go on."""

    code = "not_resumable"


class PlanError(DbSetupError):
    """The files and the history do not fit together."""

    code = "plan_error"


class DuplicateNumber(PlanError):
    """Two files carry one number, and one of them is pending."""

    code = "duplicate_number"


class UnknownTarget(PlanError):
    """The target is neither a file, a number, nor an applied migration."""

    code = "unknown_target"


class InconsistentHistory(PlanError):
    """An applied file was edited or is missing, or a row of the history was changed by hand."""

    code = "inconsistent_history"


class OutOfOrder(PlanError):
    """A pending file comes before an applied one, and the order is strict."""

    code = "out_of_order"


class ChangedSteps(PlanError):
    """A half-applied file was edited above the step that is next."""

    code = "changed_steps"


class NotForward(PlanError):
    """A pending file has a name by which another tool would not run it forward, such as Flyway's U1__users.sql."""

    code = "not_forward"


class DownSection(NotForward):
    """A pending file has statements below the mark with which another tool begins its down migration."""

    code = "down_section"


class MisplacedFile(PlanError):
    """A pending file is repeatable, or a baseline, for another tool, and would be run once here, after all others."""

    code = "misplaced_file"


class StepUndecided(PlanError):
    """Nobody can know what became of a step of a file; a person has to say."""

    code = "step_undecided"
    FIX = (
        "look what it has done, then say it: python db_setup resolve --step done --yes (the next run goes on behind "
        "it), or --step repeat --yes (it is run again); add --function NAME where a function in AWS does it"
    )


class LostSession(PlanError):
    """A half-applied file needs what ended with the session of the run that failed."""

    code = "lost_session"


class SecretError(DbSetupError):
    """A secret cannot be read, or does not hold what is needed."""

    code = "invalid_secret"


class ServerUnfit(DbSetupError):
    """The server cannot be reached, or is not one that migrations can be applied to."""

    code = "connection_failed"


class ServerAway(ServerUnfit):
    """The server does not answer, or takes no session, now; it may in a moment."""

    code = "connection_failed"
    FIX = "check host, port, security groups (5432 from the function to the database) and that the server runs"


class UnsupportedServer(ServerUnfit):
    """The server is older than the oldest supported version."""

    code = "unsupported_server"


class ReadOnlyServer(ServerUnfit):
    """A standby, a reader endpoint or a read-only session."""

    code = "read_only_server"


class UnsuitablePooler(ServerUnfit):
    """A transaction pooler stands between, and a statement needs a session."""

    code = "transaction_pooler"


class ConnectionLost(ServerUnfit):
    """The connection ended while it was in use; the history records what was committed."""

    code = "connection_lost"


class RunError(DbSetupError):
    """A migration could not be applied."""

    code = "migration_failed"


class MigrationFailed(RunError):
    """The server refused a statement of a migration."""

    code = "migration_failed"


class ObjectExists(MigrationFailed):
    """A migration makes what is already there, in a database without history."""

    code = "already_exists"


class MissingExtension(MigrationFailed):
    """A migration asks for an extension the server does not have."""

    code = "missing_extension"


class HistoryChanged(RunError):
    """A file touches the tables of db_setup, which record what is applied; it was rolled back."""

    code = "history_changed"


class HistoryLocked(RunError):
    """The tables of db_setup have row security, a trigger or a rule, with which no run can keep the history."""

    code = "history_locked"


class TextMisread(RunError):
    """The server has come to read text by another rule than the file was read by; the file was rolled back."""

    code = "text_misread"


class LockTimeout(MigrationFailed):
    """A table stayed locked by others for as long as the run may wait."""

    code = "lock_timeout"


class InvalidIndex(MigrationFailed):
    """An index built concurrently was left invalid."""

    code = "invalid_index"


class RunLockTimeout(RunError):
    """Another runner held the run lock for as long as this one may wait."""

    code = "run_lock_timeout"


class RunLockLost(RunError):
    """The run lock was lost to another runner; what was in progress was rolled back."""

    code = "run_lock_lost"


class DeadlineReached(RunError):
    """The run's time is over; what was committed is recorded, and a re-run carries on."""

    code = "deadline_reached"


class RunInterrupted(RunError):
    """A person or the system asked the run to stop; what was committed is recorded."""

    code = "interrupted"
    exit_status = 130


class ServerError(DbSetupError):
    """What the server said of one message: SQLSTATE, text, and the 1-based character position if any.

    The runner turns it into a ``MigrationFailed`` that knows file, line and column.
    """

    code = "server_error"

    def __init__(
        self,
        sqlstate: str,
        message: str,
        *,
        position: int = 0,
        detail: str = "",
        hint: str = "",
        schema: str = "",
        table: str = "",
        context: str = "",
        fix: str = "",
    ) -> None:
        super().__init__(f"{message} ({sqlstate})", fix=fix, sqlstate=sqlstate)
        self.message = message
        self.position = position
        self.detail = detail
        self.hint = hint
        self.schema = schema
        self.table = table
        self.context = context


class ScratchRefused(RunError):
    """The server does not let this user make a scratch database."""

    code = "scratch_refused"


class ScratchFailed(RunError):
    """A file could not be applied to the scratch database, so there is nothing to compare with."""

    code = "scratch_failed"


class NothingProven(PlanError):
    """A database has tables and no history, and nothing shows which files were applied to it."""

    code = "nothing_proven"


class NotBuildable(PlanError):
    """A file that may be applied already cannot be built in a scratch database, so nothing shows whether it is."""

    code = "not_buildable"


class ContradictoryEvidence(PlanError):
    """The history of another tool does not fit the files, or says that a file failed."""

    code = "contradictory_evidence"


class AdoptionNeeded(PlanError):
    """A database has tables and no history, and ADOPT=manual leaves it to a person to say so."""

    code = "adoption_needed"


class UnusableCheck(TextError):
    """A check with a statement that is no question, such as COMMIT."""

    code = "unusable_check"


class CheckFailed(RunError):
    """A check found what must not be; the file is rolled back."""

    code = "check_failed"


class ChangesForeignObject(RunError):
    """A file that was pending at the adoption changes what no file makes; it is rolled back."""

    code = "changes_foreign_object"


class NotExportable(PlanError):
    """What is pending cannot be written as a script."""

    code = "not_exportable"


class FileInTheWay(FolderError):
    """A file of the name that is to be given exists."""

    code = "file_in_the_way"


class FunctionUnreachable(DbSetupError):
    """The function was not called: no such function, no permission, no credentials, no network."""

    code = "function_unreachable"


class OutcomeUnknown(DbSetupError):
    """The function was called, and its answer did not arrive."""

    code = "outcome_unknown"

    def body(self) -> dict[str, Any]:
        """Return the failure for JSON; what the function has applied is not known."""
        return super().body() | {"applied_migrations": None, "pending_migrations": None}


class FunctionFailed(OutcomeUnknown):
    """The function ended outside db_setup: a crash, its time, its memory, a wrong package."""

    code = "function_failed"


class MissingPackage(DbSetupError):
    """A package that the command needs is not installed on this machine."""

    code = "missing_package"


class LocalServerError(DbSetupError):
    """The PostgreSQL of this machine cannot be found, started or stopped."""

    code = "local_server"


class UnfinishedRollback(PlanError):
    """A stepwise rollback was begun and has not reached its end."""

    code = "unfinished_rollback"


class LoginRefused(ServerUnfit):
    """The server is there, and does not let this user in with this password."""


class MissingDownFile(PlanError):
    """A migration that is to be rolled back has no down migration, neither here nor in the history."""

    code = "missing_down_file"


class UserRefused(DbSetupError):
    """A limited user cannot be made, or not be trusted, as things stand; nothing was changed."""

    code = "invalid_user"
