"""The guard: what keeps files that are built in a scratch database from changing global objects again. Pure.

Global objects (roles, databases, tablespaces, as pg_dumpall calls them) belong to the whole server. The statements that
would make or change one are left out, and a trigger refuses the transactions in which a block or a function does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from migrator.scripts import STEPWISE, Script
from migrator.sql import Statement
from migrator.sql.effects import effect_outside, mentions_shared_objects, rebuilds_a_database

CHANGES_GLOBAL_OBJECTS = "DBS01"
"""The SQLSTATE with which the guard refuses a transaction."""
_NEAR = 10**7
"""How far ahead a transaction is asked about: savepoints follow theirs, and a row frozen long ago seems to be ahead."""
_GLOBAL_CATALOGS = ", ".join(
    f"'pg_catalog.{name}'::regclass"
    for name in (
        "pg_authid",
        "pg_auth_members",
        "pg_database",
        "pg_db_role_setting",
        "pg_tablespace",
        "pg_shdescription",
    )
)


def without_outside_effects(
    script: Script, note: Callable[[Statement, str], None], *, blocks: bool = False,
    but: Collection[tuple[int, int]] = (),
) -> Script:  # fmt: skip
    """Return a script without the statements whose effects reach beyond the database; ``note`` is called for each.

    Nor does it have those at the places (line and column) ``but``, which need a role that the server does not have.
    Nor does it have those that rebuild the indexes of a database by its name, which is not the scratch database's.
    ``blocks`` leaves out the blocks of code, too, that name roles and the like. A stepwise file loses them anyway: the
    guard would stop it at a step, from where it could not be begun again without them. So does what stands behind
    SET CONSTRAINTS, which may fire the guard before its time.
    """
    noted: set[tuple[int, int]] = set()

    def read() -> Iterator[Statement]:
        strict = blocks or script.mode == STEPWISE
        for statement in script.read():
            if rebuilds_a_database(statement):
                continue
            found = effect_outside(statement)
            strict |= statement.words[:2] == ("set", "constraints")
            if not found and strict and statement.words[:1] in {("do",), ("call",)}:
                found = "block" if mentions_shared_objects(statement) else ""
            place = (statement.line, statement.column)
            if place in but:
                found = "missing role"
            if not found:
                yield statement
            elif place not in noted:
                noted.add(place)
                note(statement, found)

    return script._replace(read=read)


def guard_sql() -> str:
    """Return what makes each transaction of a scratch database fail that has changed a global object.

    PostgreSQL keeps the locks on the catalogs of roles, memberships, databases, settings, tablespaces and comments to
    the end of a transaction that writes to them, but not for GRANT and OWNER TO: these show in the row's xmin. A
    transaction that sees a row of a transaction in progress is that transaction. A superuser's ANALYZE of all tables
    locks these catalogs, too, in a mode that no change of theirs gets by with.
    """
    return f"""
CREATE FUNCTION db_setup.refuse_global_changes() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $guard$
BEGIN
    IF EXISTS (SELECT FROM pg_locks l WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.database = 0
            AND l.relation IN ({_GLOBAL_CATALOGS})
            AND l.mode NOT IN ('AccessShareLock', 'RowShareLock', 'ShareUpdateExclusiveLock'))
        OR EXISTS (SELECT FROM (SELECT age(xmin) FROM pg_database UNION ALL SELECT age(xmin) FROM pg_tablespace) r(age)
            WHERE CASE WHEN r.age BETWEEN -{_NEAR} AND 0 THEN txid_status(txid_current() - r.age) = 'in progress' END)
    THEN
        RAISE EXCEPTION 'this changes global objects: roles, databases or tablespaces'
            USING ERRCODE = '{CHANGES_GLOBAL_OBJECTS}';
    END IF;
    RETURN NULL;
END $guard$;
CREATE CONSTRAINT TRIGGER refuse_global_changes AFTER INSERT OR UPDATE ON db_setup.history
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION db_setup.refuse_global_changes();
ALTER TABLE db_setup.history ENABLE ALWAYS TRIGGER refuse_global_changes"""
