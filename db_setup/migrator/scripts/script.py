"""A script: the statements of one migration, and how they are to be run.

Reading the statements of every pending file before the first one runs finds what can be refused beforehand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from migrator.errors import DbSetupError, UnclosedTransaction
from migrator.files import Migration
from migrator.formatting import Location, mask_passwords
from migrator.sql import Kind, Statement, contains_any, read_text, sets_reading, split, split_chunks

if TYPE_CHECKING:
    from migrator.files.directives import Directives

TRANSACTION = "transaction"
STEPWISE = "stepwise"
PLAIN_OPENING = "BEGIN;"

MAX_KEPT = 1 << 16
"""Bytes of a file that is kept in memory; a larger one is read again when it runs."""
_KEPT_IN_ALL = 1 << 24  # bytes
ENDS = frozenset({Kind.COMMIT, Kind.ROLLBACK, Kind.PREPARE_TRANSACTION})
_WRAPPER = ENDS | {Kind.EMPTY, Kind.ENCODING, Kind.BEGIN}


class Script(NamedTuple):
    """The statements of a file, from memory or read again from disk, and the mode they call for.

    ``opening`` begins its transaction, with the file's own options for it (isolation level and the like). ``text`` is
    that of a file small enough to be kept, so that nobody opens it again; ``down`` the text of its down migration, as
    the history stores it; ``check`` what is checked before its transaction is committed. ``idempotent`` says that what
    commits by itself may be run again, ``not_resumable`` that the file is run although no other run may be able to go
    on with it, and ``is_two_phase`` that a block of it ends with PREPARE TRANSACTION. ``unfit`` is why its down
    migration cannot be run.
    """

    migration: Migration
    mode: str
    opening: str
    read: Callable[[], Iterable[Statement]]
    warnings: tuple[str, ...] = ()
    sets_session: bool = False
    sets_defaults: bool = False
    down: str | None = None
    check: Script | None = None
    text: str | None = None
    idempotent: bool = False
    not_resumable: bool = False
    is_two_phase: bool = False
    unfit: DbSetupError | None = None

    def body(self) -> Iterable[Statement]:
        """Return what runs inside one transaction: all but the wrapper, and what the opening has taken over."""
        statements = self.read()
        inside = _inside(statements)
        return list(inside) if isinstance(statements, list) else inside

    def mentions(self, name: str) -> bool:
        """Return whether the file has a name in it, in any case; a large file is read again piece by piece."""
        wanted, before = name.lower(), ""
        migration = self.migration
        for piece in read_text(migration.name, migration.path, migration.size) if self.text is None else (self.text,):
            here = before + piece.lower()
            if wanted in here:
                return True
            before = here[-len(wanted) :]
        return False

    def steps(self) -> Iterator[Statement]:
        """Yield what a stepwise run needs: code, and transaction statements that do something.

        Where a block ends AND CHAIN, its BEGIN comes again after the end.
        """
        begin: Statement | None = None
        for statement in self.read():
            if statement.kind is Kind.BEGIN and begin is None:
                begin = statement
                yield statement
            elif statement.kind in ENDS and begin is not None:
                yield statement
                begin = begin if chains(statement) else None
                if begin is not None:
                    yield begin
            elif statement.kind not in _WRAPPER:
                yield statement


def _inside(statements: Iterable[Statement]) -> Iterator[Statement]:
    leading = True
    for statement in statements:
        if statement.kind in _WRAPPER or (leading and statement.kind is Kind.SET_TRANSACTION):
            continue
        leading = False
        yield statement


def read_scripts(migrations: Iterable[Migration], *, standard_strings: bool = True) -> list[Script]:
    """Read pending files, so that what can be refused is refused before anything is touched.

    ``standard_strings`` is the session's standard_conforming_strings, by which the server is going to read them.
    """
    scripts = []
    for migration, keep in kept(migrations):
        script = read_script(migration, keep=keep, standard_strings=standard_strings)
        if migration.down or migration.check:
            from migrator.scripts.companions import with_companions  # noqa: PLC0415 - for files that have some

            script = with_companions(script, standard_strings=standard_strings)
        scripts.append(script)
    return scripts


def kept(migrations: Iterable[Migration]) -> Iterator[tuple[Migration, bool]]:
    """Yield each file and whether it is kept in memory: small ones, until all that are kept reach a limit."""
    left = _KEPT_IN_ALL
    for migration in migrations:
        keep = migration.size <= min(MAX_KEPT, left)
        left -= migration.size if keep else 0
        yield migration, keep


def read_script(
    migration: Migration, *, keep: bool, text: str | None = None, standard_strings: bool = True
) -> Script:  # fmt: skip
    """Read a file, or the ``text`` given for it, and decide how it is run; ``keep`` holds both in memory.

    Raises TextError and its kinds, each with file, line and column, and UnreadableFile.
    """
    name = migration.name
    if keep and text is None:
        text = "".join(read_text(name, migration.path, migration.size))
    cut = partial(split, text or "", name, standard_conforming_strings=standard_strings)
    whole = None if text is None else (text, cut(), cut)
    head, first_pass, read = whole or _from_disk(migration, standard_strings)
    directives = _directives(head, name) if "db_setup:" in head else None
    if keep:
        kept = list(first_pass)
        first_pass = iter(kept)
        if all(statement.data is None for statement in kept):  # COPY data can be read only once
            read = lambda: kept  # noqa: E731
    outline = _Outline(first_pass, name)
    return Script(
        migration,
        STEPWISE if directives and directives.no_transaction else outline.mode,
        outline.opening,
        read,
        sets_session=outline.sets_session,
        sets_defaults=outline.sets_defaults,
        text=text if keep else None,
        idempotent=directives is not None and directives.idempotent,
        not_resumable=directives is not None and directives.not_resumable,
        is_two_phase=outline.is_two_phase,
    )


def _from_disk(
    migration: Migration, standard_strings: bool
) -> tuple[str, Iterator[Statement], Callable[[], Iterable[Statement]]]:  # fmt: skip
    """Return the beginning of a file, its statements, and what reads these again; only a piece of it is in memory."""
    name = migration.name
    pieces = read_text(name, migration.path, migration.size)
    head = next(pieces, "")
    cut = partial(split_chunks, file_name=name, standard_conforming_strings=standard_strings)

    def read() -> Iterator[Statement]:
        return cut(read_text(name, migration.path, migration.size))

    return head, cut(chain([head], pieces)), read


def _directives(head: str, name: str) -> Directives:
    from migrator.files.directives import parse_directives  # noqa: PLC0415 - for files that have some

    return parse_directives(head, name)


class _Outline:
    """What the order of a file's transaction statements says: its mode, and how its transaction opens."""

    def __init__(self, statements: Iterable[Statement], file_name: str) -> None:
        self.blocks = self.loose = 0
        self.outside = self.plain_end = self.is_two_phase = False
        self.begin: Statement | None = None  # of the block that is open
        self.first_begin = ""
        self.characteristics: list[str] = []
        self.sets_session = self.sets_defaults = False
        seen_code = False
        for statement in statements:
            if statement.kind is Kind.SET_TRANSACTION and not seen_code:
                self.characteristics.append(statement.text)
            elif statement.kind not in _WRAPPER:
                seen_code = True
            self._add(statement)
        if self.begin is not None:
            raise UnclosedTransaction(
                "this transaction is never ended",
                where=place(self.begin, 0, file_name),
                fix="add COMMIT; at its end",
            )

    def _add(self, statement: Statement) -> None:
        if statement.kind is Kind.BEGIN and self.begin is None:
            self._open(statement)
        elif statement.kind in ENDS and self.begin is not None:
            self._close(statement)
        elif statement.kind not in _WRAPPER:
            self.loose += self.begin is None
            self.outside |= statement.kind is Kind.OUTSIDE
            self.sets_session |= statement.kind is Kind.SESSION or _sets_at_once(statement)
            self.sets_defaults |= _sets_defaults(statement)

    def _open(self, statement: Statement) -> None:
        self.begin = statement
        self.blocks += 1
        self.first_begin = self.first_begin or statement.text

    def _close(self, statement: Statement) -> None:
        if chains(statement):
            self.blocks += 1
        else:
            self.begin = None
        self.plain_end = statement.kind is Kind.COMMIT
        self.is_two_phase |= statement.kind is Kind.PREPARE_TRANSACTION

    @property
    def mode(self) -> str:
        absorbed = self.blocks == 0 or (self.blocks == 1 and not self.loose and self.plain_end)
        return TRANSACTION if absorbed and not self.outside else STEPWISE

    @property
    def opening(self) -> str:
        return "\n".join([terminated(self.first_begin or PLAIN_OPENING), *map(terminated, self.characteristics)])


def _sets_defaults(statement: Statement) -> bool:
    """Return whether a statement may change what new sessions begin with (ALTER DATABASE or ROLE ... SET)."""
    if statement.words[:2] in {("alter", "database"), ("alter", "role"), ("alter", "user")}:
        return True
    if statement.words[:1] != ("do",):
        return False
    return re.search(r"\balter\s+(?:database|role|user)\b", statement.text, re.IGNORECASE) is not None


def _sets_at_once(statement: Statement) -> bool:
    """Return whether a statement may change what holds for a message from its first moment, a timeout included."""
    return sets_reading(statement) or contains_any(statement.text, "_timeout")


def chains(statement: Statement) -> bool:
    """Return whether a COMMIT or ROLLBACK begins the next transaction at once (AND CHAIN)."""
    return "chain" in statement.words and "no" not in statement.words


def terminated(text: str) -> str:
    """Return a statement's text with an end that no comment in it can hide."""
    return text if text.endswith(";") and text.find("--", text.rfind("\n") + 1) < 0 else f"{text}\n;"


def place(statement: Statement, offset: int, file_name: str = "") -> Location:
    """Return where a 0-based offset into a statement's text is in its file.

    Passwords are masked while the whole statement is at hand: one line of it may not show that it holds one.
    """
    before = statement.text[:offset]
    line_start = before.rfind("\n") + 1
    line_end = statement.text.find("\n", offset)
    text = mask_passwords(statement.text)[line_start : line_end if line_end >= 0 else len(statement.text)]
    indent = 0 if line_start else statement.column - 1
    line = statement.line + before.count("\n")
    return Location(file_name, line, offset - line_start + 1 + indent, " " * indent + text)
