"""The cluster: what a file does beyond its database, and how a scratch database is kept from doing it again. Pure.

Roles, databases and tablespaces belong to the whole server. A file that is built in a scratch database must neither
make nor change one: its statements that would are left out, and a trigger refuses what hides in blocks and functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from migrator.scripts import STEPWISE, Script
from migrator.sql import Statement
from migrator.sql.effects import effect_outside, mentions_shared_objects

CHANGES_THE_SERVER = "DBS01"
"""The SQLSTATE with which the guard refuses a transaction."""


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
            found = effect_outside(statement)
            strict |= statement.words[:2] == ("set", "constraints")
            if not found and strict and statement.words[:1] in {("do",), ("call",)}:
                found = "block" if mentions_shared_objects(statement) else ""
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
