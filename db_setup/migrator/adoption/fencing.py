"""The fence of an adoption: what the files that it has not shown to be applied must leave as it is."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence

from migrator.adoption.fingerprint import Name
from migrator.database import Connection
from migrator.execution import read_foreign
from migrator.files import Migration, parse_number
from migrator.history import SCHEMA, Fence, ForeignObject
from migrator.planning import Pending
from migrator.sql import read_text, without_comments

_NEW_ROLE = re.compile(r'\bcreate\s+(?:role|user|group)\s+("(?:[^"]|"")+"|[^\s;("%]+)', re.IGNORECASE)
_NOBODY_S = frozenset({"pg_authid", "pg_default_acl", "pg_extension", "pg_namespace"})
"""Catalogs of what every server has, and of schemas, which are nothing without something in them."""
_PUBLIC = "schema public"
_OURS = re.compile(rf"[a-z ]+ {SCHEMA}\.")  # its schema, not a name in quotes that has these words


def fence_around(
    connection: Connection, items: Sequence[Pending], left: Sequence[Pending], others: Sequence[str],
    made: Collection[Name],
) -> Fence | None:  # fmt: skip
    """Return the fence around the files that are left; None where the database has nothing that the files do not make.

    ``items`` are all files, ``made`` the names that they give. ``others`` are the files for other environments: they
    were not built, so what they make counts as somebody else's.
    """
    names = {name.as_foreign() for name in made} | {("role", "", role) for role in roles_made(items)}
    foreign = read_foreign(connection, names)
    if not any(map(_is_somebody_s, foreign)):
        return None
    if not any(" public." in item.identity for item in foreign):
        foreign = [item for item in foreign if item.identity != _PUBLIC]  # nobody else is in it
    fence = Fence.around((item.row for item in left), foreign)
    last = max((item.number for item in items if item.number), key=parse_number, default="0")
    return fence._replace(others=tuple(others), last=last)


def _is_somebody_s(found: ForeignObject) -> bool:
    """Return whether an object is another application's: not db_setup's own, nor something that every server has."""
    return found.catalog not in _NOBODY_S and _OURS.match(found.identity) is None


def roles_made(items: Iterable[Pending]) -> Iterator[str]:
    """Yield the roles that files create, in blocks of code, too: a scratch database does not show them."""
    for item in items:
        for name in _NEW_ROLE.findall(without_comments(_text(item.migration))):
            yield name[1:-1].replace('""', '"') if name.startswith('"') else name.strip("'").lower()


def _text(migration: Migration) -> str:
    return "".join(read_text(migration.name, migration.path, migration.size))
