"""Matching: which file is which row of the history, by name, then by text. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from migrator.files import REPEATABLE, Migration, split_name
from migrator.history import AppliedMigration


class Rename(NamedTuple):
    """A file that is in the history under another name."""

    old: str
    new: str
    number: str


class Match(NamedTuple):
    """Files and rows, put together: ``rows`` by the name of the file here, and what is left over on both sides.

    ``elsewhere`` are the rows of files for other environments, by the name of the file; what was edited or renamed of
    these counts as of all others.
    """

    rows: dict[str, AppliedMigration]  # by the name of the file here
    new: list[Migration]
    edited: list[tuple[Migration, AppliedMigration]]
    missing: list[AppliedMigration]
    renames: tuple[Rename, ...]
    elsewhere: dict[str, AppliedMigration]

    @property
    def known(self) -> dict[str, AppliedMigration]:
        """The rows that have a file, of whichever environment."""
        return {**self.rows, **self.elsewhere}


def match(
    files: Sequence[Migration], applied: Sequence[AppliedMigration], others: Sequence[Migration] = ()
) -> Match:
    """Match files to rows by name, and what is left over by text; edited are applied files whose text differs.

    ``others`` are files for other environments: applied, perhaps, when this database was of one of these.
    """
    others = [file for file in others if not file.name.startswith(REPEATABLE)]
    by_name = {row.name: row for row in applied}
    rows = {file.name: by_name[file.name] for file in (*files, *others) if file.name in by_name}
    new = [file for file in files if file.name not in rows]
    missing = [row for row in applied if row.name not in rows and not row.name.startswith(REPEATABLE)]
    edited = [
        (file, row) for file in (*files, *others) if (row := rows.get(file.name))
        and row.checksum != file.checksum and row.checksum and row.state == "applied"
    ]  # fmt: skip
    renamed: dict[str, AppliedMigration] = {}
    for group in (new, [file for file in others if file.name not in rows]):  # a file for this environment goes first
        if group and missing:
            renamed |= _renamed(group, missing)
            gone = {row.name for row in renamed.values()}
            missing = [row for row in missing if row.name not in gone]
    renames = tuple(Rename(row.name, name, split_name(name)[0] or row.number) for name, row in renamed.items())
    found, elsewhere = {**rows, **renamed}, {file.name for file in others}
    return Match(
        {name: row for name, row in found.items() if name not in elsewhere},
        [file for file in new if file.name not in renamed],
        edited,
        missing,
        renames,
        {name: row for name, row in found.items() if name in elsewhere},
    )


def _renamed(files: Sequence[Migration], rows: Sequence[AppliedMigration]) -> dict[str, AppliedMigration]:
    """Match what is left over by name and text (renumbered), then by text alone (renamed), where unambiguous."""
    found: dict[str, AppliedMigration] = {}
    for with_name in (True, False):
        file_keys = Counter(_key(f.name, f.checksum, with_name) for f in files if f.name not in found)
        taken = {row.name for row in found.values()}
        candidates = [r for r in rows if r.name not in taken and r.checksum]
        row_keys = Counter(_key(r.name, r.checksum, with_name) for r in candidates)
        by_key = {_key(r.name, r.checksum, with_name): r for r in candidates}
        for file in files:
            key = _key(file.name, file.checksum, with_name)
            if file.name not in found and file_keys[key] == 1 and row_keys[key] == 1:
                found[file.name] = by_key[key]
    return found


def _key(name: str, checksum: str, with_name: bool) -> tuple[str, str]:
    return (split_name(name)[1] if with_name else "", checksum)


def come_after(
    missing: list[AppliedMigration], applied: Sequence[AppliedMigration], here: dict[str, AppliedMigration]
) -> bool:
    """Return whether all rows without a file come after every file here, by number or by time of application."""
    if not here:
        return True
    present = {row.name for row in here.values()}
    position = {row.name: index for index, row in enumerate(applied)}
    by_time = min(position[row.name] for row in missing) > max(position[name] for name in present)
    by_number = min(row.rank for row in missing) > max(row.rank for row in here.values())
    return by_time or by_number
