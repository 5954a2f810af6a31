"""What a stepwise file needs of the session of an earlier step, which no other session can be given. Pure.

Where a run dies between the step that makes a temporary table and the one that uses it, no later run can go on: the
table has ended with its session. What the text of a file shows of this is refused before anything is touched. Settings,
roles and prepared statements are made again by a run that goes on, so they are no such need; what a function or dynamic
SQL does is not seen here, and is left to the run.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator
from typing import NamedTuple

from migrator.errors import NotResumable
from migrator.scripts.script import ENDS, STEPWISE, Script, place
from migrator.sql import Kind, Statement, first_code
from migrator.sql.mentions import TEMPORARY_SCHEMA, Mention, code_of, is_query, mentions
from migrator.sql.relation_names import NAME, TABLE, as_stored, has_schema, last_name

DIRECTIVE = "not-resumable"

_TEMPORARY = r"(?:(?:local|global)\s+)?temp(?:orary)?\s+"
_TABLE_MADE = re.compile(
    rf"\bcreate\s+(?:or\s+replace\s+)?(?P<temporary>{_TEMPORARY})?(?:recursive\s+)?(?P<kind>table|view|sequence)\s+"
    rf"(?P<kept>if\s+not\s+exists\s+)?(?P<name>{TABLE})"
    rf"|\b(?:select|with)\b.*?\binto\s+(?P<into>{_TEMPORARY})(?:table\s+)?(?P<selected>{TABLE})",
    re.IGNORECASE | re.DOTALL,
)
_ROUTINE_MADE = re.compile(
    rf"\s*create\s+(?:or\s+replace\s+)?(?P<kind>function|procedure|aggregate|type|domain)\s+{TEMPORARY_SCHEMA}\s*\."
    rf"\s*(?P<name>{NAME})",
    re.IGNORECASE,
)
_VIEW_MADE = re.compile(rf"\s*create\s+(?:or\s+replace\s+)?(?:recursive\s+)?view\s+(?P<name>{TABLE})", re.IGNORECASE)
_ON_COMMIT_DROP = re.compile(r"\bon\s+commit\s+drop\b", re.IGNORECASE)
_CURSOR = re.compile(
    rf"\s*declare\s+(?P<name>{NAME})\s+(?:(?:binary|insensitive|asensitive|no|scroll)\s+)*cursor\s+with\s+hold\b",
    re.IGNORECASE,
)
_OF_CURSOR = re.compile(
    rf"\b(?:fetch|move)\b(?:\s+[\w+-]+)*?\s+(?:from\s+|in\s+)?(?P<name>{NAME})\s*;?\s*\Z", re.IGNORECASE
)
_CLOSES = re.compile(rf"\s*close\s+(?P<name>{NAME})\s*;?\s*\Z", re.IGNORECASE)
_PREPARES = re.compile(rf"\s*prepare\s+(?!transaction\b)(?P<name>{NAME})", re.IGNORECASE)
_EXECUTES = re.compile(rf"\bexecute\s+(?P<name>{NAME})", re.IGNORECASE)
_DEALLOCATES = re.compile(rf"\s*deallocate\s+(?:prepare\s+)?(?P<name>{NAME})\s*;?\s*\Z", re.IGNORECASE)
_DROPS = re.compile(
    rf"\s*drop\s+(?:table|view|sequence)\s+(?:if\s+exists\s+)?(?P<names>{TABLE}(?:\s*,\s*{TABLE})*)"
    r"\s*(?:cascade|restrict)?\s*;?\s*\Z",
    re.IGNORECASE,
)
_EACH = re.compile(TABLE, re.IGNORECASE)
_LAST_VALUE = re.compile(r"\b(?:currval|lastval)\s*\(", re.IGNORECASE)
_OF_SEQUENCE = re.compile(r"""\bcurrval\s*\(\s*'(?:[^'.]*\.)?"?(?P<name>[^'".]+)"?'""", re.IGNORECASE)
_MOVES = re.compile(r"\b(?:nextval|setval)\s*\(|\b(?:insert|merge)\s+into\b", re.IGNORECASE)
_MAY_MOVE = frozenset(("copy", "do", "call", "execute", "merge"))
_MOVES_ITSELF = re.compile(r"\b(?:nextval|setval)\s*\(|\breturning\b.*\b(?:curr|last)val", re.IGNORECASE | re.DOTALL)
_INSERTS = re.compile(rf"\s*insert\s+into\s+(?P<name>{TABLE})", re.IGNORECASE)
_SEQUENCE_CALL = re.compile(
    r"""\b(?:next|curr|set)val\s*\(\s*'(?P<schema>[^'.]*\.)?"?(?P<name>[^'".]+)"?'""", re.IGNORECASE
)
_CONNECTS = re.compile(r"\bdblink_connect(?:_u)?\s*\(\s*'(?P<name>[^']+)'\s*,", re.IGNORECASE)
_LAST = "the last value of a sequence"
_MAKES_HINT = re.compile(r"temp|hold|dblink_connect", re.IGNORECASE)
_FOR_ALL = frozenset({("discard", "all"), ("discard", "temp"), ("discard", "temporary")})


Key = tuple[str, str]
"""What ends with a session: relation, routine, cursor, prepared or connection, and its name."""


class Need(NamedTuple):
    """A statement that needs what only the session of an earlier step has: what that is, and which statement made it.

    ``outside`` is what stands between the two and runs in no transaction; ``of_check`` that the check has the need.
    """

    statement: Statement
    offset: int
    what: str
    maker: Statement
    outside: Statement | None = None
    of_check: bool = False

    @property
    def way_out(self) -> str:
        """What a person can do once a run has ended between the two."""
        line = self.statement.line
        if self.what == _LAST:
            return f"write the value in line {line} in another way, such as (SELECT max(id) FROM ...)"
        return f"make {self.what.removesuffix(',')} again, with what it held, right before line {line}"


class Made(NamedTuple):
    """What a statement makes that ends with its session: what it is called for people, and how long it stays."""

    key: Key
    what: str
    maker: Statement
    stays: bool = True  # past the end of its transaction
    if_missing: bool = False  # IF NOT EXISTS: one that is there stays as it is


def find_need(script: Script) -> Need | None:
    """Return the first need of a file that is run stepwise, with its check as the last step; None for none."""
    past = _Past()
    found = next(past.needs(script.steps()), None)
    if found is not None or script.check is None:
        return found
    found = next(past.needs(script.check.body()), None)
    return None if found is None else found._replace(of_check=True)


def need_across(script: Script, at: tuple[int, int]) -> Need | None:
    """Return the first need of what stands at a place, or behind it, of what stands before it."""
    for need in _Past().needs(script.steps()):
        maker, user = ((it.line, it.column) for it in (need.maker, need.statement))
        if maker < at <= user:
            return need
    return None


def refuse_needs_of(scripts: Iterable[Script], begun: Container[str] = ()) -> list[Script]:
    """Do for scripts what ``refuse_needs`` does, where they are run stepwise; one that is begun goes on as it can."""
    return [
        refuse_needs(script)
        if script.mode == STEPWISE and (script.not_resumable or script.migration.name not in begun)
        else script
        for script in scripts
    ]


def refuse_needs(script: Script) -> Script:
    """Return a file that is to be run stepwise, with a warning where it is not resumable and says so.

    Raises NotResumable where its text does not say so.
    """
    need, name = find_need(script), script.migration.name
    if script.not_resumable:
        return script._replace(warnings=(*script.warnings, _warning(name, need)))
    if need is None:
        return script
    raise NotResumable(
        f"this needs {need.what} of line {need.maker.line}, an earlier step; if a run ended between the two, no other "
        "could go on, since it has another session",
        where=place(need.statement, need.offset, _file_of(script, need)),
        fix=_fix(need),
        applied="nothing",
    )


def _file_of(script: Script, need: Need) -> str:
    check = script.check if need.of_check else None
    return (check or script).migration.name


def _fix(need: Need) -> str:
    first, last = need.maker.line, need.statement.line
    if need.of_check:
        way = "have the check ask for what stays in the database"
    elif need.outside is not None:
        way = (
            f"move line {need.outside.line}, which runs in no transaction, into a file of its own, and put lines "
            f"{first} to {last} into one BEGIN; ... COMMIT; block"
        )
    else:
        way = f"put lines {first} to {last} into one BEGIN; ... COMMIT; block, or into a file of their own"
    return f'{way}; or write "-- db_setup: {DIRECTIVE}" as the first line, which runs it as it is'


def _warning(name: str, need: Need | None) -> str:
    if need is None:
        return f"{name} is {DIRECTIVE}: if a run ends in the middle of it, the next one may not be able to go on"
    return (
        f"{name} is {DIRECTIVE}: {'the check' if need.of_check else f'line {need.statement.line}'} needs {need.what} "
        f"of line {need.maker.line}; if a run ends between the two, the next one cannot go on until the file "
        "makes that again"
    )


class _Past:
    """What the steps before the one at hand have left in their session, and what the one at hand has made itself."""

    def __init__(self) -> None:
        self._made: dict[Key, Made] = {}
        self._here: dict[Key, Made] = {}
        self._mover: Statement | None = None  # what has called nextval() last, in an earlier step
        self._mover_here: Statement | None = None
        self._may_have_moved = False  # whether the step at hand may have
        self._outside: Statement | None = None  # the last step that ran in no transaction

    def needs(self, statements: Iterable[Statement]) -> Iterator[Need]:
        """Yield what the steps need."""
        before: dict[Key, Made] | None = None  # what there was when a block began
        for statement in statements:
            if statement.kind is Kind.BEGIN and before is None:
                before = dict(self._made)
            elif before is not None and statement.kind in ENDS:
                self._end_step(before if statement.kind is Kind.ROLLBACK else None)
                before = None
            else:
                yield from self._look_at(statement)
                if before is None:
                    self._end_step(None)
                    self._outside = statement if statement.kind is Kind.OUTSIDE else self._outside

    def _end_step(self, rolled_back_to: dict[Key, Made] | None) -> None:
        if rolled_back_to is not None:  # which takes back everything but prepared statements
            self._made = rolled_back_to
            self._here = {key: made for key, made in self._here.items() if key[0] == "prepared"}
        self._made |= {key: made for key, made in self._here.items() if made.stays}
        self._here = {}
        self._mover, self._mover_here = self._mover_here or self._mover, None
        self._may_have_moved = False

    def _look_at(self, statement: Statement) -> Iterator[Need]:
        if statement.words[:2] in _FOR_ALL:
            self._made, self._here = {}, {}
        elif self._made or self._here or _MAKES_HINT.search(statement.text):
            code = code_of(statement)
            found = list(mentions(statement, code))
            made = list(makes(statement, code))
            if not self._takes_back(code):
                yield from self._uses(statement, code, found, made)
            self._here |= {item.key: item for item in made}
            self._note_dependent(statement, code, found)
        yield from self._asks_for_last_value(statement)

    def _takes_back(self, code: str) -> bool:
        """Return whether a statement only drops or closes what was made, as the end of a session does anyway."""
        keys = list(dropped(code))
        if not keys or any(key not in self._made and key not in self._here for key in keys):
            return False
        for key in keys:
            self._made.pop(key, None)
            self._here.pop(key, None)
        return True

    def _uses(self, statement: Statement, code: str, found: list[Mention], made: list[Made]) -> Iterator[Need]:
        remade = {item.key: item for item in made}
        for key, earlier in self._made.items():
            if key in self._here:
                continue
            if key in remade:
                offset = first_code(statement.text) if remade[key].if_missing else None
            else:
                offset = use_of(statement, code, found, key)
            if offset is not None:
                yield Need(statement, offset, earlier.what, earlier.maker, self._since(earlier.maker))

    def _since(self, maker: Statement) -> Statement | None:
        """Return what ran in no transaction after a statement."""
        return self._outside if self._outside is not None and self._outside.line >= maker.line else None

    def _note_dependent(self, statement: Statement, code: str, found: list[Mention]) -> None:
        """Note a prepared statement, or a view, that reads something temporary, and so ends with it."""
        names = [name for kind, name in (*self._made, *self._here) if kind == "relation"]
        if not any(mention.may_be(name) for name in names for mention in found):
            return
        key: Key
        if keys := prepared(code):
            (key,) = keys
            what = f'the prepared statement "{key[1]}"'
        elif statement.words[:1] == ("create",) and (view := _VIEW_MADE.match(code)):
            key = "relation", last_name(view["name"])
            what = f'the view "{key[1]}", which reads a temporary table,'
        else:
            return
        self._here[key] = Made(key, what, statement)

    def _asks_for_last_value(self, statement: Statement) -> Iterator[Need]:
        text, verb = statement.text, statement.words[:1]
        if is_query(statement) and self._mover is not None and not self._may_have_moved and "val" in text.lower():
            code = code_of(statement)
            asked = _LAST_VALUE.search(code)
            if asked and not _moves_itself(statement, code, asked.start()):
                yield Need(statement, asked.start(), _LAST, self._mover, self._since(self._mover))
        if not verb and _MOVES.search(text):
            self._mover_here = statement
        self._may_have_moved |= (is_query(statement) and "(" in text) or not _MAY_MOVE.isdisjoint(verb)
        self._may_have_moved |= self._mover_here is not None


def makes(statement: Statement, code: str) -> Iterator[Made]:
    """Yield what a statement makes that ends with its session."""
    if found := _ROUTINE_MADE.match(code):
        name = as_stored(found["name"])
        yield Made(("routine", name), f"the temporary {found['kind'].lower()} {TEMPORARY_SCHEMA}.{name}", statement)
    if statement.words[:1] in {("create",), ("do",)} or is_query(statement):
        yield from _relations_made(statement, code)
    if found := _CURSOR.match(code):
        name = as_stored(found["name"])
        yield Made(("cursor", name), f'the cursor "{name}"', statement)
    if found := _CONNECTS.search(statement.text):
        yield Made(("connection", found["name"]), "the connection that dblink_connect() opens", statement)


def _relations_made(statement: Statement, code: str) -> Iterator[Made]:
    for found in _TABLE_MADE.finditer(code):
        text = found["name"] or found["selected"]
        if found["temporary"] or found["into"] or _is_temporary(text):
            kind, name = (found["kind"] or "table").lower(), last_name(text)
            stays = _ON_COMMIT_DROP.search(code, found.end()) is None
            yield Made(("relation", name), f'the temporary {kind} "{name}"', statement, stays, bool(found["kept"]))


def _is_temporary(name: str) -> bool:
    return has_schema(name) and as_stored(name.partition(".")[0].strip()) == TEMPORARY_SCHEMA


def use_of(statement: Statement, code: str, found: Iterable[Mention], key: Key) -> int | None:
    """Return where a statement, which mentions what was ``found``, uses an object; None where it does not."""
    kind, name = key
    if kind == "relation":
        by_name = (mention.offset for mention in found if mention.may_be(name))
        return next(by_name, _in_sequence_call(statement, name))
    if kind == "routine":
        pattern = rf'\b{TEMPORARY_SCHEMA}\s*\.\s*"?{re.escape(name)}\b'
        return next((match.start() for match in re.finditer(pattern, code, re.IGNORECASE)), None)
    if kind == "connection":
        at = statement.text.find(f"'{name}'") if "dblink" in statement.text.lower() else -1
        return at if at >= 0 else None
    pattern_of = {"cursor": _OF_CURSOR, "prepared": _EXECUTES}[kind]
    match = pattern_of.search(code)
    return match.start("name") if match and as_stored(match["name"]) == name else None


def _in_sequence_call(statement: Statement, name: str) -> int | None:
    for match in _SEQUENCE_CALL.finditer(statement.text):
        if as_stored(match["name"]) == name and (match["schema"] or f"{TEMPORARY_SCHEMA}.") == f"{TEMPORARY_SCHEMA}.":
            return match.start("name")
    return None


def prepared(code: str) -> list[Key]:
    """Return the prepared statement that a PREPARE makes, in a list; empty for another statement."""
    found = _PREPARES.match(code)
    return [("prepared", as_stored(found["name"]))] if found else []


def dropped(code: str) -> Iterator[Key]:
    """Yield what a statement drops or closes, and does nothing else: temporary tables, cursors, prepared statements."""
    if found := _DROPS.match(code):
        for name in _EACH.findall(found["names"]):
            yield ("relation" if _is_temporary(name) or not has_schema(name) else "other"), last_name(name)
    elif found := _CLOSES.match(code):
        yield "cursor", as_stored(found["name"])
    elif found := _DEALLOCATES.match(code):
        yield "prepared", as_stored(found["name"])


def _moves_itself(statement: Statement, code: str, at: int) -> bool:
    """Return whether a statement that asks for the last value of a sequence may have moved that before, itself."""
    if _MOVES_ITSELF.search(code):
        return True
    inserts, named = _INSERTS.match(code), _OF_SEQUENCE.search(statement.text)
    if inserts is None:
        return _MOVES.search(code, 0, at) is not None
    return named is not None and as_stored(named["name"]).startswith(last_name(inserts["name"]))
