"""What has ended with the session of a run that failed, and was not made again: temporary tables, cursors and such.

A statement that needs one is refused; one that only drops it has nothing left to do. What is made again is lost no
more, once its step is committed.
"""

from __future__ import annotations

from collections.abc import Iterable

from migrator.errors import LostSession
from migrator.scripts import place
from migrator.scripts.session_needs import Key, dropped, makes, prepared, use_of
from migrator.sql import Statement, first_code
from migrator.sql.mentions import code_of, mentions

_AGAIN = {
    "relation": 'make "{name}" again, with what it held,',
    "routine": "make pg_temp.{name} again",
    "cursor": 'declare the cursor "{name}" again',
    "prepared": 'PREPARE "{name}" again',
}
_ELSEWHERE = "where the file is applied already with its old text, repair then takes the new one"


class LostObjects:
    """The objects that are lost to the rest of a file; ``look_at`` is told each statement of a step before it runs."""

    def __init__(self) -> None:
        self._lost: dict[Key, None] = {}
        self._step: dict[Key, bool] = {}  # what the step at hand has made again or dropped, and whether that stays

    def add(self, keys: Iterable[Key]) -> None:
        """Take what an earlier session had."""
        self._lost |= dict.fromkeys(keys)

    def found(self, key: Key) -> None:
        """Take what is there again, outside any step."""
        self._lost.pop(key, None)

    def begin_step(self) -> None:
        """Forget what a step has made that was not committed."""
        self._step = {}

    def end_step(self, *, committed: bool) -> None:
        """Take what a step has made as made."""
        if committed:
            self._lost = dict.fromkeys(self.after)
        self._step = {}

    @property
    def after(self) -> list[Key]:
        """What is lost once the step at hand is committed."""
        return [key for key in self._lost if not self._step.get(key, False)]

    def look_at(self, statement: Statement, file_name: str) -> bool:
        """Return whether a statement is to be run: not one that only drops what is lost. Raises LostSession."""
        missing = [key for key in self._lost if key not in self._step]
        if not missing:
            return True
        code = code_of(statement)
        drops = list(dropped(code))
        if drops and all(key in missing for key in drops):
            self._step |= dict.fromkeys(drops, True)
            return False
        again = {item.key: item.stays for item in makes(statement, code) if not item.if_missing}
        again |= dict.fromkeys(prepared(code), True)
        found = list(mentions(statement, code))
        for key in missing:
            if key in again:
                self._step[key] = again[key]
            elif (offset := use_of(statement, code, found, key)) is not None:
                raise _error(key, statement, offset, file_name)
        if kept := next((item for item in makes(statement, code) if item.key in missing and item.if_missing), None):
            raise _error(kept.key, statement, first_code(statement.text), file_name)
        return True


def _error(key: Key, statement: Statement, offset: int, file_name: str) -> LostSession:
    kind, name = key
    again = _AGAIN[kind].format(name=name)
    return LostSession(
        f'"{name}", made by the steps that are done, ended with the session of the run that failed',
        where=place(statement, offset, file_name),
        fix=f"{again} in a statement right before this one, then run again; {_ELSEWHERE}",
    )
