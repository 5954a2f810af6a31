"""The history of this tool's first generation, ``public.schema_migrations(id, migration_name, applied_at)``.

It named a file by its stem, with or without ``.sql``, and put a number of its own before every name that was not
``NNN_...``, also before ``0001_init``, ``20240131120000_x``, ``001-x`` and ``V1__x``; that number depended on the other
files, so the table may have one file twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from migrator.files import Migration, split_name
from migrator.history.rows import AppliedMigration

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
