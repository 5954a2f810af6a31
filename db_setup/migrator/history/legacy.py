"""What this tool's first generation has left: its history, and the logins that it made, two at each deploy.

The history is ``public.schema_migrations(id, migration_name, applied_at)``.

It named a file by its stem, with or without ``.sql``, and put a number of its own before every name that was not
``NNN_...``, also before ``0001_init``, ``20240131120000_x``, ``001-x`` and ``V1__x``; that number depended on the other
files, so the table may have one file twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from migrator.files import Migration, split_name
from migrator.formatting import listed, quoted
from migrator.history.rows import AppliedMigration

if TYPE_CHECKING:
    from migrator.database import Connection

_MOST_LOGINS = 10  # that are named
_LOGINS = """
WITH here AS (SELECT oid, datdba FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
SELECT r.rolname::text, (
    SELECT pg_catalog.count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
        AND pg_catalog.has_schema_privilege(r.oid, n.oid, 'USAGE')
        AND pg_catalog.has_table_privilege(r.oid, c.oid, 'SELECT'))
FROM pg_catalog.pg_roles r, here
WHERE r.rolcanlogin AND NOT r.rolsuper AND NOT r.rolcreaterole AND r.oid <> here.datdba AND r.rolname !~ '^(pg_|rds)'
    AND r.rolname NOT IN (SESSION_USER, CURRENT_USER) AND NOT pg_catalog.starts_with(
        coalesce(pg_catalog.shobj_description(r.oid, 'pg_authid'), ''), 'made by db_setup ')
    AND EXISTS (
        SELECT FROM pg_catalog.pg_shdepend d JOIN pg_catalog.pg_roles g ON g.oid = d.refobjid
        WHERE d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND d.dbid = here.oid AND NOT g.rolsuper
            AND g.oid <> here.datdba AND g.rolname <> SESSION_USER AND pg_catalog.pg_has_role(r.oid, g.oid, 'USAGE'))
ORDER BY 1"""
"""Logins with privileges here that this tool has not marked as its own, and how many tables each can read."""

_PUT_BEFORE = re.compile("[0-9]{3,}_((?![0-9]{3}_).+)", re.DOTALL)  # NNN_ and a name that had none of its own


def translate(old_names: Iterable[str], files: Sequence[Migration]) -> tuple[AppliedMigration, ...]:
    """Return the rows of our history for the old names; the files' texts are taken as applied. Pure.

    A name that fits no file becomes a row of its own, with an unknown checksum.
    """
    by_stem = {file.name.removesuffix(".sql"): file for file in files}
    rows: dict[str, AppliedMigration] = {}
    for old_name in old_names:
        stem = old_name.removesuffix(".sql")
        number, rest = split_name(stem)
        put_before = _PUT_BEFORE.fullmatch(stem)
        file = by_stem.get(stem) or (by_stem.get(put_before[1]) if put_before else None)
        file = file or _by_rest(number, rest, files)
        row = _row(stem, number, file)
        rows.setdefault(row.name, row)
    return tuple(rows.values())


def _by_rest(number: str, rest: str, files: Sequence[Migration]) -> Migration | None:
    """Return the only file of that name where one of the two, the old name or the file, has a number."""
    named = [(file, split_name(file.name)) for file in files]
    found = [file for file, (own, name) in named if name == rest and bool(own) != bool(number)]
    return found[0] if len(found) == 1 else None


def _row(stem: str, number: str, file: Migration | None) -> AppliedMigration:
    if file is None:
        return AppliedMigration(f"{stem}.sql", number or "0", "", "applied")
    return AppliedMigration(file.name, split_name(file.name)[0] or number, file.checksum, "applied")


def warn_of_logins(connection: Connection) -> tuple[str, ...]:
    """Return a warning of the logins that the first generation may have made, under names of its own; reads only."""
    found = [f"{quoted(str(name))} (reads {count})" for name, count in connection.rows(_LOGINS)]
    if not found:
        return ()
    text = (
        "an earlier version of this tool made two logins at each deploy, and left them; logins with privileges here "
        f"that this one did not make, and how many tables each reads: {listed(found, _MOST_LOGINS)}; "
        'README.md, "Users", has how to see which, and how to drop one that nothing uses'
    )
    return (text,)
