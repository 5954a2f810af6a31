"""A tape: a connection that writes down, for psql, what it is asked to send."""

from __future__ import annotations

from collections.abc import Callable

from migrator.connection import Connection, Row
from migrator.deadline import Deadline
from migrator.light import Any

_PREFIX = "db_setup_"
_ANSWER: Row = (0, "", 0, "")


class Verbatim(str):
    """A value that is written into SQL as it stands."""

    __slots__ = ()


class _RunId(int):
    """The number of a run, which only psql will know: SQL gets the name of its variable."""

    def __format__(self, _: str) -> str:
        return f":{_PREFIX}id"


RUN_ID = _RunId(0)


class Tape(Connection):
    """Stands in for a connection of the same server; nothing is sent, and every answer is the same."""

    def __init__(self, real: Connection, write: Callable[[str], Any]) -> None:
        vars(self).update(vars(real))  # what literals and settings depend on
        self._deadline = Deadline(None)  # a script has all the time it needs
        self._write = write

    def run(self, sql: str) -> None:
        """Write the statements down."""
        self._write(f"{sql.strip().removesuffix(';')};\n")

    def rows(self, sql: str) -> list[Row]:
        """Write down a statement with one row, which psql keeps in variables."""
        self._write(f"{sql.strip()} \\gset {_PREFIX}\n")
        return [_ANSWER]

    def literal(self, value: object) -> str:
        """Return a value as an SQL literal."""
        return str(value) if isinstance(value, Verbatim) else super().literal(value)
