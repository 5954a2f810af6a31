"""Prerequisites: extensions and schemas that a database has and that no file makes, although the files need them.

A scratch database gets them before the first file is built in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import NamedTuple

from psycopg2 import errorcodes

from migrator.database import Connection
from migrator.drift import query_catalog
from migrator.drift.catalog_expressions import is_member
from migrator.errors import DbSetupError, ServerError
from migrator.formatting import quoted

_ACTS_OUTSIDE = re.compile(r"dblink|.*_fdw|aws_.*|http|pg_cron|pg_net|plpython.*|plperlu|pltclu|adminpack")
"""Extensions that reach beyond their database: a scratch build does without them."""
_IN_EVERY_DATABASE = frozenset({"public", "pg_catalog", "information_schema"})
_EXISTS_ALREADY = {errorcodes.DUPLICATE_OBJECT, errorcodes.DUPLICATE_SCHEMA}
_FIND_EXTENSIONS = """SELECT e.extname::text, n.nspname::text, e.extversion FROM pg_extension e
JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname <> 'plpgsql' ORDER BY e.oid"""
_FIND_SCHEMAS = f"""SELECT n.nspname::text FROM pg_namespace n WHERE n.nspname !~ '^pg_'
AND n.nspname NOT IN ('information_schema', 'public', 'db_setup') AND NOT {is_member("pg_namespace", "n.oid")}
ORDER BY n.oid"""

# What a session begins with: ours has set another path.
_FIND_PATH = """SELECT n.nspname::text FROM pg_settings s
CROSS JOIN LATERAL unnest(string_to_array(s.reset_val, ',')) WITH ORDINALITY p (name, place)
JOIN pg_namespace n ON n.nspname = replace(btrim(p.name, ' "'), '$user', CURRENT_USER)
WHERE s.name = 'search_path' AND has_schema_privilege(n.oid, 'USAGE') ORDER BY p.place"""


class Extension(NamedTuple):
    """An extension, its schema and its version."""

    name: str
    schema: str
    version: str


class Prerequisites(NamedTuple):
    """Extensions and schemas, in the order of their creation."""

    extensions: tuple[Extension, ...] = ()
    schemas: tuple[str, ...] = ()

    @classmethod
    def read(cls, live: Connection) -> Prerequisites:
        """Return what a database has, without what acts outside its database."""
        found = map(Extension._make, query_catalog(live, _FIND_EXTENSIONS))
        extensions = tuple(item for item in found if not _ACTS_OUTSIDE.fullmatch(item.name))
        return cls(extensions, tuple(name for (name,) in query_catalog(live, _FIND_SCHEMAS)))

    @classmethod
    def of_path(cls, live: Connection) -> Prerequisites:
        """Return the schema in which names without one are made, by the settings of the database or the role."""
        return cls((), tuple(name for name in schemas_of_path(live)[:1] if name not in _IN_EVERY_DATABASE))

    @property
    def statements(self) -> list[str]:
        """The statements of a first file that makes them."""
        return [
            *(f"CREATE SCHEMA IF NOT EXISTS {quoted(name)};" for name in self.schemas),
            *(f"CREATE EXTENSION IF NOT EXISTS {quoted(item.name)};" for item in self.extensions),
        ]

    def without(self, extensions: Collection[str], schemas: Collection[str]) -> Prerequisites:
        """Return them without some of these names."""
        return Prerequisites(
            tuple(item for item in self.extensions if item.name not in extensions),
            tuple(name for name in self.schemas if name not in schemas),
        )

    def after(self, error: DbSetupError) -> Prerequisites:
        """Return them without what a file, it turns out, makes itself, and does not expect to be there."""
        if error.sqlstate not in _EXISTS_ALREADY:
            return self
        named = set(re.findall(r'"((?:[^"]|"")+)"', error.what))
        return self.without(named, named)

    def create(self, scratch: Connection, warn: Callable[[str], None]) -> None:
        """Create them in a scratch database; ``warn`` is called with what the server does not allow."""
        for name in self.schemas:
            scratch.run(f"CREATE SCHEMA IF NOT EXISTS {quoted(name)}")
        for item in self.extensions:
            if refused := _create_extension(scratch, item):
                warn(f'the database has the extension "{item.name}", and no scratch database gets it: {refused}')


def schemas_of_path(live: Connection) -> list[str]:
    """Return the schemas in which a session looks for names; in the first one it makes what is given no schema."""
    return [name for (name,) in query_catalog(live, _FIND_PATH)]


def _create_extension(scratch: Connection, item: Extension) -> str:
    """Create an extension, in its version where the server still has that; return why not, if it was refused."""
    create = f"CREATE EXTENSION IF NOT EXISTS {quoted(item.name)} SCHEMA {quoted(item.schema)}"
    refused = ""
    for version in (f" VERSION {scratch.literal(item.version)}", ""):
        try:
            scratch.run(f"{create}{version} CASCADE")
        except ServerError as error:
            refused = error.what
        else:
            return ""
    return refused
