"""What is left out of a build: whether it would have changed the catalog, and what of it.

A block of code that names roles may make tables as well, and REASSIGN OWNED changes owners. It is tried: run after its
file in a transaction of its own, which is read and rolled back, so that it changes nothing, global objects included.
What it has changed there is not compared, and all else is. Of what cannot be tried (code that commits, or acts outside
the server) nothing is known.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from migrator.database import Connection
from migrator.drift.snapshot import Key, read_catalog, read_uncommitted_catalog
from migrator.errors import ServerError
from migrator.scripts import Script
from migrator.sql import Kind, Statement, without_comments

_AS_LOGIN = "SET LOCAL SESSION AUTHORIZATION DEFAULT; SET LOCAL ROLE NONE"
_CODE = frozenset({("do",), ("call",)})
_SELECTS_INTO = re.compile(r"\binto\b", re.IGNORECASE)
_LITERALS = re.compile(r"'(?:[^']|'')*'|\$(\w*)\$.*?\$\1\$", re.DOTALL)


def may_change_catalog(statement: Statement, effect: str) -> bool:
    """Return whether a statement that is left out for its effect may change what is compared, too."""
    if effect in {"block", "owned"} or statement.words[:1] in _CODE:
        return True
    if effect != "function":
        return False
    text = _LITERALS.sub("", without_comments(statement.text))
    return statement.words[:1] == ("create",) or _SELECTS_INTO.search(text) is not None


def can_be_tried(statement: Statement, effect: str) -> bool:
    """Return whether all that a statement does is undone by a rollback."""
    return effect in {"block", "owned"} and statement.kind is not Kind.OUTSIDE


def try_out(connection: Connection, script: Script, left_out: Collection[Statement]) -> dict[Key, bool] | None:
    """Return what statements of a script would have changed, true for what they make or drop; None if they fail.

    They run with the settings that the script makes for its session.
    """
    places = {(statement.line, statement.column) for statement in left_out}
    wanted = [
        statement.text
        for statement in script.read()
        if (statement.line, statement.column) in places or _makes_a_setting(statement)
    ]
    before = read_catalog(connection)
    try:
        connection.run("BEGIN")
        for text in wanted:
            connection.run(text)
        connection.run(_AS_LOGIN)
        after = read_uncommitted_catalog(connection)
    except ServerError:
        connection.rollback()
        connection.run(connection.reset_sql())
        return None
    connection.rollback()
    connection.run(connection.reset_sql())
    changed = (key for key in {**before, **after} if before.get(key) != after.get(key))
    return {key: (key in before) != (key in after) for key in changed}


def _makes_a_setting(statement: Statement) -> bool:
    return statement.kind is Kind.SESSION or statement.words[:2] == ("set", "local")
