"""The fence around one file: what is in the database and no file makes stays as it is, or the file is rolled back.

A change is seen in three ways, each of which tells this transaction's from those of other sessions:

- A row of a catalog that this transaction has written has its number in xmin. A transaction that sees a row of a
  transaction in progress is that transaction.
- A transaction keeps the locks on what it drops, and on the tables whose rows it may change, to its end.
- Of a row of a shared catalog that is gone, or cannot be read: what was there before the file, and the server's counts.

What is rolled back to a savepoint leaves neither row nor lock, and is no change. What runs outside any transaction is
seen too late, so it is run only where its text says which tables it is about.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from itertools import takewhile
from typing import NoReturn

from migrator.database import SAFE_PATH_SQL, Connection
from migrator.errors import ChangesForeignObject
from migrator.execution.fence_queries import BEFORE_SQL, ROLES_UPDATED_SQL, SOME_ROLE, changes_sql, relations_sql
from migrator.execution.foreign import located
from migrator.execution.transaction import RunStatement, run_statement
from migrator.formatting import listed, quoted
from migrator.history import Fence
from migrator.planning import Pending
from migrator.scripts import Script, place
from migrator.sql import Kind, Statement, first_code, relation_names, without_comments

_SAVEPOINT = "db_setup_fence"
_SAFELY = f"{SAFE_PATH_SQL.replace('SET', 'SET LOCAL')}; SET LOCAL jit = off"
_MOST_NAMED = 12
_NO_FILE_MAKES = "which no file makes"
_FIX = (
    "change {file}, so that it leaves alone what is not its own; or, if that is what it is for, {word}; "
    "{file} may then change {what}"
)
_FIX_OF_KEPT = (
    "look whether {file} is applied: if it is, {applied}; if it is not, give what it makes another name, or {word}; "
    "{file} may then change {what}"
)
_APPLIED, _APPLIED_LATE = "baseline --target {file}", "give it a number above {last}, and baseline --target it"
_WORD_OF_LATE = "give it a number above {last}, and if it is refused still, baseline --target {after}"
_WORD = "record that the files are to run: baseline --target {after}"

_TABLES = (
    rf"(?P<tables>{relation_names.TABLE}\s*(?:,\s*{relation_names.TABLE}\s*)*?)(?:\b(?:cascade|restrict)\s*)?;?\s*\Z"
)
_BUILD = r"create\s+(?:unique\s+)?index\s+concurrently\s+"
_TABLES_OF = tuple(
    re.compile(rf"\s*{head}", re.IGNORECASE)
    for head in (
        rf"{_BUILD}(?:(?:if\s+not\s+exists\s+)?(?!on\s){relation_names.NAME}\s*)?\bon\s+(?:only\s+)?(?P<tables>{relation_names.TABLE})",
        rf"drop\s+index\s+concurrently\s+(?:if\s+exists\s+)?{_TABLES}",
        rf"reindex\s*(?:\([^)]*\)\s*)?(?:table|index)\s+(?:concurrently\s+)?{_TABLES}",
        rf"vacuum\s*(?:\([^)]*\)\s*)?(?:\b(?:full|freeze|verbose|analyze|analyse|only)\s+)*{_TABLES}",
        rf"alter\s+table\s+(?:if\s+exists\s+)?(?:only\s+)?(?P<tables>{relation_names.TABLE})\s+detach\s+partition\s",
    )
)
_AND = "OPERATOR(pg_catalog.||)"
_HERE = f"pg_catalog.quote_ident(pg_catalog.current_schema()) {_AND} '.' {_AND} "
_VACUUM = re.compile(r"\s*vacuum\b", re.IGNORECASE)
_COLUMNS = re.compile(rf"(?<=[\w\"])\s*\(\s*{relation_names.NAME}(?:\s*,\s*{relation_names.NAME})*\s*\)", re.IGNORECASE)
_EACH = re.compile(rf"({relation_names.TABLE})\s*(?:,|\Z)", re.IGNORECASE)

_ALTER_ROLE = re.compile(
    r'\s*alter\s+(?:role|user|group)\s+("(?:[^"]|"")+"|(?!mapping\b)[^\s;("]+)\s+(?!set\b|reset\b|in\s|add\b|drop\b)',
    re.IGNORECASE,
)
_KEYWORDS = frozenset(f"role {word}" for word in ("current_user", "current_role", "session_user", "user", "all"))


class FileFence:
    """The fence around one file, made before the first statement of that.

    Its objects are found by their names where the database is not the one in which the fence was made.
    """

    before = BEFORE_SQL
    """The statement that is sent at the beginning of the file's transaction."""

    def __init__(self, connection: Connection, fence: Fence, file: str) -> None:
        self._connection = connection
        self._file = file
        late = fence.comes_late(file)
        self._word = (_WORD_OF_LATE if late else _WORD).format(after=fence.after, last=fence.highest)
        self._applied = (_APPLIED_LATE if late else _APPLIED).format(file=file, last=fence.highest)
        self._objects = located(connection, fence)

    @classmethod
    def holds(cls, connection: Connection, fence: Fence, pending: Pending, script: Script) -> bool:
        """Return whether a fence covers a pending file, by what it is called, or by what it makes.

        A file that was written after the adoption, and makes what has the name of something that was there, in whatever
        schema, may have made that before its history was lost.
        """
        migration = pending.migration
        if fence.covers(migration.name, pending.number, migration.checksum):
            return True
        made = relation_names.relations_made(script.read()) if fence.foreign else ()
        return bool(made) and cls(connection, fence, migration.name).has_any(made)

    def has_any(self, names: Collection[str]) -> bool:
        """Return whether any of these names, without schemas, is that of a relation which no file makes."""
        among = ", ".join(map(self._connection.literal, names))
        return bool(self._relations(f"c.relname IN ({among}) AND c.relkind <> 'i'"))

    def check_end(self, statements: Iterable[Statement] = ()) -> None:
        """Raise ChangesForeignObject for what the transaction of the statements has changed; its end is sent next.

        What is deferred to the end is done before: a trigger may change anything.
        """
        self._connection.run("SET CONSTRAINTS ALL IMMEDIATE")
        self.check(statements)

    def check(self, statements: Iterable[Statement] = (), but: Collection[str] = ()) -> None:
        """Raise ChangesForeignObject for what the open transaction has changed, but for what is named."""
        found = [what for what in self.changes() if what not in but]
        if SOME_ROLE in found and self._alter_own_roles(statements):
            found.remove(SOME_ROLE)
        if found:
            self._refuse(f"{self._file} changes {listed(found, _MOST_NAMED)}, {_NO_FILE_MAKES}; rolled back", found[0])

    def _alter_own_roles(self, statements: Iterable[Statement]) -> bool:
        """Return whether no row of pg_authid was updated but by statements that name a role which is not foreign."""
        foreign = {item.identity for item in self._objects if item.catalog == "pg_authid"} | _KEYWORDS
        altered = filter(None, map(_altered, statements))
        own = sum(foreign.isdisjoint((f"role {role}", f"role {quoted(role)}")) for role in altered)
        return self._connection.rows(ROLES_UPDATED_SQL) == [(own,)]

    def changes(self) -> list[str]:
        """Return what the open transaction has changed, or may have, of what no file makes."""
        query = changes_sql(self._objects, self._connection.literal)
        rows = self._connection.rows(f"SAVEPOINT {_SAVEPOINT}; {_SAFELY}; {query}")
        self._connection.run(f"ROLLBACK TO {_SAVEPOINT}")
        return [text for (text,) in rows]

    def refuse_unprovable(self, script: Script) -> None:
        """Raise ChangesForeignObject for what runs outside any transaction, and does not say which tables it is about.

        Asked before the first step, so that the file is not left half applied.
        """
        for statement in script.steps():
            if statement.kind is Kind.OUTSIDE and tables_of(statement) is None:
                self._refuse_unseen(statement)

    def keeps(self, script: Script) -> bool:
        """Return whether a file makes, only IF NOT EXISTS, anything with the name of what was there, in any schema.

        Only then are its statements to be run by ``run``, one at a time.
        """
        names = {
            relation_names.last_name(name) for statement in script.read() for name in relation_names.kept(statement)
        }
        return bool(names) and self.has_any(names)

    def refuse_kept_at_once(self, script: Script) -> None:
        """The same as refuse_kept, of each statement of a file for which a session that is new has the right names.

        Asked before the first step, so that the file is not left half applied.
        """
        for statement in takewhile(lambda statement: not relation_names.may_move_names(statement), script.read()):
            self.refuse_kept(statement)

    def refuse_kept(self, statement: Statement) -> None:
        """Raise ChangesForeignObject for what is made if it is not there, and is: its file may be applied already.

        A name without a schema is that of what would be made, not of what another schema of the search_path has.
        """
        literal, foreign = self._connection.literal, []
        for name in relation_names.kept(statement):
            foreign += self._named([literal(name) if relation_names.has_schema(name) else f"{_HERE}{literal(name)}"])
        if foreign:
            text = f"{foreign[0]} was there when the database was adopted, so {self._file} may be applied already"
            self._refuse(f"{text}; this was not run", foreign[0], statement, _FIX_OF_KEPT)

    def run(self, connection: Connection, statement: Statement, run: RunStatement = run_statement) -> None:
        """Run a statement of the file, unless it would pass over what was there."""
        self.refuse_kept(statement)
        run(connection, statement)

    def check_bare(self, statement: Statement) -> None:
        """Raise ChangesForeignObject for what is to run outside any transaction, unless it is about other tables."""
        tables = tables_of(statement)
        if tables is None:
            self._refuse_unseen(statement)
        if foreign := self._foreign(tables):
            self._refuse(f"this changes {listed(foreign)}, {_NO_FILE_MAKES}; it was not run", foreign[0], statement)

    def _foreign(self, tables: Collection[str]) -> list[str]:
        """Return what no file makes of the tables of some names, as the session finds them."""
        return self._named(list(map(self._connection.literal, tables)))

    def _named(self, names: Sequence[str]) -> list[str]:
        """Return what no file makes of the relations whose names some expressions have."""
        oids = [f"pg_catalog.to_regclass({name})::pg_catalog.oid" for name in names]
        if not oids:
            return []
        ((found,),) = self._connection.rows(f"SELECT pg_catalog.concat_ws(', ', {', '.join(oids)})")
        return self._relations(f"c.oid IN ({found})") if found else []

    def _relations(self, condition: str) -> list[str]:
        """Return what no file makes of the relations for which a condition on their rows of pg_class, c, holds."""
        relations = relations_sql(self._objects, self._connection.literal)
        query = f"{relations} SELECT DISTINCT identity FROM relations JOIN pg_class c USING (oid) WHERE {condition}"
        begin, end = "BEGIN", "ROLLBACK"
        if self._connection.in_transaction:
            begin, end = f"SAVEPOINT {_SAVEPOINT}", f"ROLLBACK TO {_SAVEPOINT}; RELEASE {_SAVEPOINT}"
        rows = self._connection.rows(f"{begin}; {_SAFELY}; {query} ORDER BY 1")
        self._connection.run(end)
        return [text for (text,) in rows]

    def _refuse_unseen(self, statement: Statement) -> NoReturn:
        text = "this runs outside any transaction, where what no file makes cannot be watched; it was not run"
        self._refuse(text, "what no file makes", statement)

    def _refuse(self, text: str, example: str, statement: Statement | None = None, fix: str = _FIX) -> NoReturn:
        raise ChangesForeignObject(
            text,
            fix=fix.format(file=self._file, what=example, word=self._word, applied=self._applied),
            where=place(statement, first_code(statement.text), self._file) if statement else None,
        )


def _altered(statement: Statement) -> str:
    """Return the role whose attributes a statement alters, or ""."""
    if statement.words[:1] != ("alter",) or (found := _ALTER_ROLE.match(without_comments(statement.text))) is None:
        return ""
    return relation_names.as_stored(found[1])


def tables_of(statement: Statement) -> list[str] | None:
    """Return the tables and indexes that a statement outside any transaction is about; None where it may be any."""
    if statement.words[:1] == ("discard",):
        return []
    text = without_comments(statement.text)
    if _VACUUM.match(text):
        text = _COLUMNS.sub("", text)
    for pattern in _TABLES_OF:
        if found := pattern.match(text):
            return [relation_names.plain(name.strip()) for name in _EACH.findall(found["tables"].strip())]
    return None
