"""What the files may have made in another schema than the one in which a session makes it now.

The search_path of a database, or of a role, can have been changed since the files ran. Then nothing of what they make
is where they would make it, and they would all run again, beside the tables that have the rows.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from migrator.adoption.fingerprint import FUNCTION, RELATION, TYPE, Contents, Name, read_contents
from migrator.adoption.prerequisites import schemas_of_path
from migrator.adoption.search import Search, build_once
from migrator.context import RunContext
from migrator.database import Connection, Row
from migrator.drift import query_catalog
from migrator.planning import Pending

_PUBLIC = "public"
_FIND_COLUMNS = """SELECT c.relname::text, array_agg(concat(a.attname, ' ', t.typname) ORDER BY a.attname)
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
WHERE c.relnamespace = to_regnamespace(quote_ident({})) AND c.relkind IN ('r', 'p', 'v', 'm', 'f') GROUP BY c.oid"""


class Elsewhere(NamedTuple):
    """The schema in which a session makes what is given no schema, another one, and the objects there, for people."""

    database: str
    place: str
    other: str
    objects: tuple[str, ...]


def find_elsewhere(
    context: RunContext, live: Connection, items: Sequence[Pending], made: Collection[Name]
) -> Elsewhere | None:  # fmt: skip
    """Return where the live database has what the files make, if not in the schema in which they would make it.

    In a schema that sessions see, or in public, a name counts. Any other one may be another application's that happens
    to have the names: all its tables have to be such as the files make them.
    """
    path, contents = schemas_of_path(live), read_contents(live)
    here = {name for name in made if path and name.schema == path[0] and name.kind in {RELATION, FUNCTION, TYPE}}
    if not here or here & contents.names:
        return None
    labels = _by_schema(contents, here, made)
    found = [schema for schema in dict.fromkeys((*path[1:], _PUBLIC)) if schema in labels]
    if not found and labels:
        built = _columns_built(context, live, contents, items, path[0])
        found = [schema for schema in labels if _has_only(live, schema, built)]
    if not found:
        return None
    ((database,),) = query_catalog(live, "SELECT current_database()::text")
    return Elsewhere(database, path[0], found[0], tuple(labels[found[0]]))


def _by_schema(contents: Contents, here: Collection[Name], made: Collection[Name]) -> dict[str, list[str]]:
    """Return, by schema, the objects that no file makes there, and that have the names of others that files make."""
    wanted = {(name.kind, name.name) for name in here}
    labels: dict[str, list[str]] = {}
    for name, _, label in sorted(contents.objects):
        if (name.kind, name.name) in wanted and name not in made:
            labels.setdefault(name.schema, []).append(label)
    return labels


def _columns_built(
    context: RunContext, live: Connection, contents: Contents, items: Sequence[Pending], schema: str
) -> list[Row]:  # fmt: skip
    """Return the names and columns of the relations that the files make in a schema, as each file leaves them."""
    rows: list[Row] = []

    def build(search: Search) -> None:
        rows[:] = search.read_each(items, _FIND_COLUMNS.format(live.literal(schema)))

    build_once(context, live, contents, build)
    return rows


def _has_only(live: Connection, schema: str, built: Collection[Row]) -> bool:
    """Return whether a schema has relations, and none but such as were built."""
    rows = query_catalog(live, _FIND_COLUMNS.format(live.literal(schema)))
    return bool(rows) and all(row in built for row in rows)
