"""The cluster: what a file does beyond its database, and how a scratch database is kept from doing it again. Pure.

Roles, databases and tablespaces belong to the whole server. A file that is built in a scratch database must neither
make nor change one: its statements that would are left out, and a trigger refuses what hides in blocks and functions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from migrator.kinds import without_comments
from migrator.script import STEPWISE, Script
from migrator.statements import Kind, Statement

CHANGES_THE_SERVER = "DBS01"
"""The SQLSTATE with which the guard refuses a transaction."""

_VERBS = frozenset({"create", "alter", "drop"})
_ROLES = frozenset({"role", "user", "group"})
_SHARED = _ROLES | {"database", "tablespace", "system", "subscription", "parameter"}
_BEYOND = re.compile(
    r"\b(?:dblink\w*|lo_export|pg_(?:create|drop)\w*_replication_slot|pg_reload_conf|pg_rotate_logfile|pg_promote"
    r"|pg_(?:terminate|cancel)_backend|pg_switch_wal|pg_create_restore_point|pg_file_\w+|pg_replication_origin_\w+"
    r"|(?:cron|aws_\w+)\"?\.\"?\w+)\"?\s*\(",
    re.IGNORECASE,
)
_COPIES = re.compile(r"\bcopy\b[^;]*\b(?:program\b|to\s+(?:e?'|%))", re.IGNORECASE)
_CODE = frozenset({"function", "procedure", "view", "trigger", "rule", "aggregate"})
_SPEAKS_OF_SHARED = re.compile(r"\b(?:role|user|group|database|tablespace|owned)\b", re.IGNORECASE)
_NEW_ROLE = re.compile(r'\s*create\s+(?:role|user|group)\s+("(?:[^"]|"")+"|[^\s;("]+)', re.IGNORECASE)


def beyond(statement: Statement) -> str:
    """Return what a statement reaches beyond its database for, or "" for nothing that can be read from it."""
    verb, then = (*statement.words[:2], "", "")[:2]
    if verb in _VERBS and then in _SHARED and statement.words[2:3] != ("mapping",):
        return then
    if verb in {"grant", "revoke"}:
        return _of_grant(statement.words)
    if verb in {"comment", "security"} and _after_on(statement.words) in _SHARED:
        return _after_on(statement.words)
    if then == "owned" and verb in {"drop", "reassign"}:
        return "owned"
    if verb == "copy" and statement.kind is not Kind.COPY_IN and _copies_to_the_server(statement):
        return "file"
    if verb in {"do", "call"} and statement.kind is Kind.OUTSIDE and _SPEAKS_OF_SHARED.search(statement.text):
        return "block"
    if verb == "do" and _COPIES.search(statement.text):
        return "file"
    return "function" if not defines_code(statement) and _BEYOND.search(without_comments(statement.text)) else ""


def defines_code(statement: Statement) -> bool:
    """Tell whether a statement only defines what is run later: a function, a view, a trigger or the like."""
    return statement.words[:1] == ("create",) and not (
        _CODE.isdisjoint(statement.words[:5]) or "materialized" in statement.words[:2]
    )


def _after_on(words: tuple[str, ...]) -> str:
    return words[words.index("on") + 1] if "on" in words[:-1] else ""


def _of_grant(words: tuple[str, ...]) -> str:
    if "on" not in words:
        return "role"  # a membership
    return _after_on(words) if _after_on(words) in _SHARED else ""


def _copies_to_the_server(statement: Statement) -> bool:
    return "program" in statement.words or ("to" in statement.words and "stdout" not in statement.words)


def new_role(statement: Statement) -> str:
    """Return the name of the role that a statement makes, or ""."""
    found = _NEW_ROLE.match(without_comments(statement.text))
    if found is None:
        return ""
    name = found[1]
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()


def kept_inside(script: Script, note: Callable[[Statement, str], None], *, blocks: bool = False) -> Script:
    """Return a script without the statements that reach beyond the database; ``note`` is told of each.

    ``blocks`` leaves out blocks of code that speak of roles and the like too. A stepwise file loses them anyway: the
    guard would stop it at a step, from where it could not be begun again without them. So does what stands behind
    SET CONSTRAINTS, which may ask the guard before its time.
    """
    told: set[int] = set()

    def read() -> Iterator[Statement]:
        strict = blocks or script.mode == STEPWISE
        for statement in script.read():
            found = beyond(statement)
            strict |= statement.words[:2] == ("set", "constraints")
            if not found and strict and statement.words[:1] in {("do",), ("call",)}:
                found = "block" if _SPEAKS_OF_SHARED.search(statement.text) else ""
            if not found:
                yield statement
            elif statement.line not in told:
                told.add(statement.line)
                note(statement, found)

    return script._replace(read=read)


def guard_sql() -> str:
    """Return what makes each transaction of a scratch database fail when it has changed something of the server.

    PostgreSQL keeps the locks on the catalogues of roles, memberships, databases, settings, tablespaces and comments to
    the end of a transaction that writes to them, but for GRANT and OWNER: there the row tells. Who sees a row of a
    transaction in progress is in that transaction.
    """
    return f"""
CREATE FUNCTION db_setup.stay_inside() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $guard$
BEGIN
    IF EXISTS (SELECT FROM pg_locks l WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.database = 0
            AND l.relation IN (1260, 1261, 1262, 2964, 1213, 2396)
            AND l.mode NOT IN ('AccessShareLock', 'RowShareLock'))
        OR EXISTS (SELECT FROM (SELECT age(xmin) FROM pg_database UNION ALL SELECT age(xmin) FROM pg_tablespace) r(age)
            WHERE CASE WHEN r.age <= 0 THEN txid_status(txid_current() - r.age) = 'in progress' END)
    THEN
        RAISE EXCEPTION 'this changes roles or other objects of the whole server'
            USING ERRCODE = '{CHANGES_THE_SERVER}';
    END IF;
    RETURN NULL;
END $guard$;
CREATE CONSTRAINT TRIGGER stay_inside AFTER INSERT OR UPDATE ON db_setup.history
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION db_setup.stay_inside();
ALTER TABLE db_setup.history ENABLE ALWAYS TRIGGER stay_inside"""
