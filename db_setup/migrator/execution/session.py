"""The session of a stepwise file: what its steps have left in it, kept so that a re-run goes on in the same one.

A step that is done is never run again, so its settings cannot be made by running it. What the session holds is read
from the server instead, in the message that records the step: settings, role, prepared statements, channels. What no
session can be given (temporary tables, cursors) is known by name, until it is made again. A prepared statement whose
tables are not there at the moment is prepared before a later step.

Inside a transaction SET LOCAL looks like SET. Where a step seems to have changed something, what there is after its
COMMIT is read as well, in the same message; a server that ends in between leaves a question.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple

from migrator.database import Connection
from migrator.errors import LostSession, ServerError
from migrator.formatting import quoted
from migrator.history import Record
from migrator.scripts import Script, place
from migrator.scripts.session_needs import Key, dropped, makes, prepared, use_of
from migrator.sql import Statement, first_code, without_comments
from migrator.sql.mentions import code_of, mentions

_ROLE, _AUTHORIZATION = "role", "session_authorization"
_KEPT_ROLE = (
    f"SELECT pg_catalog.set_config('db_setup.role', pg_catalog.current_setting('{_ROLE}'), true), "
    f"pg_catalog.set_config('db_setup.authorization', pg_catalog.current_setting('{_AUTHORIZATION}'), true); "
)
"""Keeps to the end of the transaction who the session is; sent before the role is set aside for the history."""
_SETTINGS = """SELECT name, setting FROM pg_catalog.pg_settings WHERE source OPERATOR(pg_catalog.=) 'session'
    AND name OPERATOR(pg_catalog.<>) ALL (
    '{transaction_isolation,transaction_read_only,transaction_deferrable}'::pg_catalog.text[])"""
_OWN_SETTINGS = """ UNION ALL SELECT n, pg_catalog.current_setting(n, true)
    FROM pg_catalog.unnest({names}::pg_catalog.text[]) n WHERE pg_catalog.current_setting(n, true) IS NOT NULL"""
_NOW = f"""pg_catalog.jsonb_build_object(
    'settings', (SELECT pg_catalog.jsonb_object_agg(name, setting) FROM ({{settings}}) s),
    '{_ROLE}', pg_catalog.current_setting('db_setup.role'),
    '{_AUTHORIZATION}', pg_catalog.current_setting('db_setup.authorization'),
    'prepared', (SELECT pg_catalog.jsonb_object_agg(name, statement) FROM pg_catalog.pg_prepared_statements
        WHERE from_sql),
    'channels', (SELECT pg_catalog.jsonb_agg(c ORDER BY c) FROM pg_catalog.pg_listening_channels() c),
    'temporary', CASE WHEN pg_catalog.pg_my_temp_schema() OPERATOR(pg_catalog.<>) 0::pg_catalog.oid THEN (
        SELECT pg_catalog.jsonb_agg(relname ORDER BY relname) FROM pg_catalog.pg_class
        WHERE relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()
            AND relkind OPERATOR(pg_catalog.<>) 'i') END,
    'routines', CASE WHEN pg_catalog.pg_my_temp_schema() OPERATOR(pg_catalog.<>) 0::pg_catalog.oid THEN (
        SELECT pg_catalog.jsonb_agg(DISTINCT proname ORDER BY proname) FROM pg_catalog.pg_proc
        WHERE pronamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()) END,
    'cursors', (SELECT pg_catalog.jsonb_agg(name ORDER BY name) FROM pg_catalog.pg_cursors WHERE is_holdable))"""
_FUNCTIONS = """SELECT source FROM (
    SELECT CASE WHEN prosrc OPERATOR(pg_catalog.=) '' THEN pg_catalog.pg_get_functiondef(p.oid)
        ELSE prosrc END AS source
    FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
    WHERE n.nspname OPERATOR(pg_catalog.<>) ALL ('{pg_catalog,information_schema}'::pg_catalog.name[])
    AND p.prokind OPERATOR(pg_catalog.<>) 'a') s
    WHERE pg_catalog.lower(source) OPERATOR(pg_catalog.~) '(set_config|current_setting|local|listen|commit|cursor)'"""
_NOT_THERE = ("42", "3F")  # the classes of SQLSTATEs that say that something is missing
_NAME = r'[a-z_][\w$]*(?:"?\."?[a-z_][\w$]*)+'
_OWN_NAME = re.compile(
    rf"""(?:set_config|current_setting)"?\s*\(\s*e?'{{1,2}}({_NAME})'|\bset\s+(?:session\s+|local\s+)?"?({_NAME})""",
    re.IGNORECASE,
)
_HINT = re.compile(r"\bset\b|set_config|current_setting", re.IGNORECASE)
_ENDS_WITH_TRANSACTION = re.compile(
    r"\blocal\b|set_config|\blisten\b|\bcommit\s+drop\b|\bcursor\b", re.IGNORECASE
)


class _State(NamedTuple):
    """What a session holds; of settings, those that were set in it, and parameters of the users' own."""

    settings: dict[str, str]
    role: str
    session_authorization: str
    prepared: dict[str, str]
    channels: list[str]
    lost: list[Key]

    @classmethod
    def parse(cls, state: dict[str, Any]) -> _State:
        """Read a state as the server has written it."""
        return cls(
            state["settings"] or {},
            state[_ROLE],
            state[_AUTHORIZATION],
            state["prepared"] or {},
            state["channels"] or [],
            [
                (kind, name)
                for field, kind in (("temporary", "relation"), ("cursors", "cursor"), ("routines", "routine"))
                for name in state.get(field) or []  # an earlier version has recorded no routines
            ],
        )

    def since(self, base: _State) -> Iterator[tuple[str, str | None]]:
        """Yield what is set in another way than at a beginning, the role last; None is what is not set any more."""
        for name in sorted({*self.settings, *base.settings}):
            if self.settings.get(name) != base.settings.get(name):
                yield name, self.settings.get(name)
        other = self.session_authorization != base.session_authorization
        if other:
            yield _AUTHORIZATION, self.session_authorization
        if self.role != base.role or (other and self.role != "none"):
            yield _ROLE, self.role


class Remembered(NamedTuple):
    """What is recorded of the session of an earlier run: what the runner had begun with, and what the steps left.

    ``unknown`` names what the last step may have set, in its transaction or for longer, ``gone`` what had ended with
    earlier sessions already.
    """

    base: _State
    state: _State
    unknown: tuple[str, ...] = ()
    gone: tuple[Key, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Remembered:
        """Read what the history has."""
        kept = json.loads(text)
        base = _State.parse(kept["base"])
        gone = tuple((kind, name) for kind, name in kept.get("gone", []))
        if "now" in kept:
            return cls(base, _State.parse(kept["now"]), gone=gone)
        before, inside = _State.parse(kept["before"]), _State.parse(kept["inside"])
        names = [name for name, _ in inside.since(before)]
        others = [name for name in ("prepared", "channels", "lost") if getattr(before, name) != getattr(inside, name)]
        return cls(base, before, (*names, *({"lost": "temporary tables"}.get(name, name) for name in others)), gone)

    @property
    def lost(self) -> list[Key]:
        """What ended with the session, or with an earlier one: temporary tables, cursors."""
        return [*self.gone, *self.state.lost]


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
        made = list(makes(statement, code))
        again = {item.key: item.stays for item in made if not item.if_missing}
        again |= dict.fromkeys(prepared(code), True)
        found = list(mentions(statement, code))
        for key in missing:
            if key in again:
                self._step[key] = again[key]
            elif (offset := use_of(statement, code, found, key)) is not None:
                raise _error(key, statement, offset, file_name)
        if kept := next((item for item in made if item.key in missing and item.if_missing), None):
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


class SessionJournal:
    """Records what the steps of a file leave in the session that this run has, beginning with a new one."""

    def __init__(self, connection: Connection, script: Script) -> None:
        self._connection = connection
        sources = [source for (source,) in connection.rows(_FUNCTIONS)]
        names: set[str] = set()
        self._reads_again = False  # what nothing in the file or a function takes back is read once
        for text in chain((statement.text for statement in script.read()), sources):
            names |= own_parameters(text)
            self._reads_again = self._reads_again or may_end_with_transaction(text)
        own = _OWN_SETTINGS.format(names=connection.literal(f"{{{','.join(sorted(names))}}}")) if names else ""
        self._now = _NOW.format(settings=_SETTINGS + own)
        found = connection.rows(f"{_KEPT_ROLE}SELECT {self._now}::pg_catalog.text")[0][0]
        self._base = f"{connection.literal(found)}::pg_catalog.jsonb"
        self._unprepared: dict[str, str] = {}  # by name, what could not be prepared again so far
        self.lost = LostObjects()
        """What the session cannot be given, to be told what each step does."""

    @property
    def before(self) -> str:
        """What is sent before the role is set aside."""
        return _KEPT_ROLE

    @property
    def exact(self) -> str:
        """SQL for what the session holds, read outside the transaction of a step."""
        return f"pg_catalog.jsonb_build_object('base', {self._base}, 'now', {self._now}{self._gone})::pg_catalog.text"

    @property
    def _gone(self) -> str:
        """SQL for what is lost behind the step at hand, as further arguments."""
        gone = self.lost.after
        return f", 'gone', {self._connection.literal(json.dumps(gone))}::pg_catalog.jsonb" if gone else ""

    @property
    def inside(self) -> str:
        """SQL for what the session holds, read in the transaction of a step.

        Where a text can set what ends with the transaction, that it has changed is a guess.
        OFFSET 0 keeps the planner from having it read more than once.
        """
        if not self._reads_again:
            return self.exact
        gone = self._gone
        return (
            "(SELECT CASE WHEN now OPERATOR(pg_catalog.=) earlier "
            f"THEN pg_catalog.jsonb_build_object('base', base, 'now', now{gone}) "
            "ELSE pg_catalog.jsonb_build_object('base', base, 'before', earlier, 'inside', now"
            f"{gone}) END::pg_catalog.text "
            "FROM (SELECT base, now, coalesce(step_session::pg_catalog.jsonb OPERATOR(pg_catalog.->) 'now', base) "
            f"AS earlier FROM (SELECT {self._base} AS base, {self._now} AS now OFFSET 0) s OFFSET 0) s)"
        )

    def again(self, record: Record, *, certain: bool) -> str:
        """Return what reads the session once more, after a COMMIT: for certain, or where it seemed to have changed.

        Nothing where no text can set what ends with its transaction.
        """
        if not certain and not self._reads_again:
            return ""
        condition = "true" if certain else "step_session::pg_catalog.jsonb OPERATOR(pg_catalog.?) 'inside'"
        return record.session_sql(self._connection, self.before, self.exact, condition)

    def restore(self, remembered: Remembered, loads: Iterable[Statement], record: Record) -> None:
        """Make the session what the steps of an earlier run have left; ``loads`` are their LOAD statements."""
        connection, state = self._connection, remembered.state
        connection.run("RESET SESSION AUTHORIZATION; RESET ROLE; DEALLOCATE ALL")  # of an attempt that failed half way
        sql = [statement.text.rstrip().rstrip(";") for statement in loads]
        changes = list(state.since(remembered.base))
        settings = [change for change in changes if change[0] not in {_ROLE, _AUTHORIZATION}]
        sql += [_set(connection, name, value) for name, value in settings]
        sql += [f"LISTEN {quoted(channel)}" for channel in state.channels]
        self.lost.add([*remembered.lost, *(("prepared", name) for name in state.prepared)])
        self._unprepared = dict(state.prepared)
        for statement in sql:
            connection.run(statement)
        self.prepare()
        for name, value in changes[len(settings) :]:
            connection.run(_set(connection, name, value))
        connection.run(self.again(record, certain=True))

    def prepare(self) -> None:
        """Prepare again, outside any transaction, what an earlier session had prepared, as far as that can be done.

        What it reads may be dropped, by a later step or with the session, and may come again.
        """
        for name, text in list(self._unprepared.items()):
            if ("prepared", name) in self.lost.after:
                try:
                    self._connection.run(text)  # by itself: a PREPARE is kept with its message
                except ServerError as error:
                    if not error.sqlstate.startswith(_NOT_THERE):
                        raise
                    continue
                self.lost.found(("prepared", name))
            del self._unprepared[name]

    def take_back(self, recorded: str | None) -> None:
        """Drop what a step that failed has prepared, which no rollback does; ``recorded`` is what is to stay."""
        kept = Remembered.parse(recorded).state.prepared if recorded else {}
        found = self._connection.rows("SELECT name FROM pg_catalog.pg_prepared_statements WHERE from_sql")
        for name in {name for (name,) in found} - set(kept):
            self._connection.run(f"DEALLOCATE {quoted(name)}")


def _set(connection: Connection, name: str, value: str | None) -> str:
    if value is None:
        return f"RESET {'.'.join(map(quoted, name.split('.')))}"
    return f"SELECT pg_catalog.set_config({connection.literals(name, value)}, false)"


def own_parameters(text: str) -> set[str]:
    """Return the names like ``app.user`` that a text sets or reads, which the server does not list."""
    if "." not in text or not _HINT.search(text):
        return set()
    found = _OWN_NAME.finditer(without_comments(text))
    return {(match[1] or match[2]).replace('"', "").lower() for match in found}


def may_end_with_transaction(text: str) -> bool:
    """Return whether a text may set what the end of its transaction takes back, or what only begins then."""
    return _ENDS_WITH_TRANSACTION.search(text) is not None
