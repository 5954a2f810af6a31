"""What the files may have made in another schema than the one in which a session makes it now.

The search_path of a database, or of a role, can have been changed since the files ran. Then nothing of what they make
is where they would make it, and they would all run again, beside the tables that have the rows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from migrator.adoption.fingerprint import FUNCTION, RELATION, TYPE, Contents, Name, Object
from migrator.adoption.prerequisites import schemas_of_path
from migrator.database import Connection
from migrator.drift import query_catalog

_PUBLIC = "public"


class Elsewhere(NamedTuple):
    """The schema in which a session makes what is given no schema, another one, and the objects there, for people."""

    database: str
    place: str
    other: str
    objects: tuple[str, ...]


def find_elsewhere(live: Connection, contents: Contents, made: Collection[Name]) -> Elsewhere | None:
    """Return where the live database has what the files make, if not in the schema in which they would make it.

    Another schema counts where a session sees it, where it is public, or where all its tables have names of the files'.
    """
    path = schemas_of_path(live)
    here = {name for name in made if path and name.schema == path[0] and name.kind in {RELATION, FUNCTION, TYPE}}
    if not here or here & contents.names:
        return None
    wanted = {(name.kind, name.name) for name in here}
    for schema in dict.fromkeys((*path[1:], _PUBLIC, *sorted(item.name.schema for item in contents.objects))):
        objects = [item for item in contents.objects if item.name.schema == schema and item.name not in made]
        found = [item for item in objects if (item.name.kind, item.name.name) in wanted]
        if found and (schema in {*path, _PUBLIC} or set(_relations(objects)) <= set(found)):
            (database,) = query_catalog(live, "SELECT current_database()::text")[0]
            return Elsewhere(database, path[0], schema, tuple(sorted(item.label for item in found)))
    return None


def _relations(objects: Collection[Object]) -> Iterator[Object]:
    return (item for item in objects if item.name.kind == RELATION)
