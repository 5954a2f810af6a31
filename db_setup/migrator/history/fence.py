"""The fence of an adoption: what the files that it has not shown to be applied must leave as it is. Pure.

An adoption shows which files are applied to a database. Of those that are still to be run it knows what they make, and
not what they destroy; and it knows nothing of files for another environment, or that were not in the folder. So until
such a file is applied, it may change nothing that was there and that no file makes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Self

from migrator.files import number_of, parse_number, split_name
from migrator.history.rows import NONE, AppliedMigration


class FencedFile(NamedTuple):
    """A file that was pending at the adoption, as it was then."""

    name: str
    number: str
    checksum: str


class ForeignObject(NamedTuple):
    """What is in a database and no file makes: its catalog ("pg_class"), OID, and what people call it.

    ``identity`` is the kind and the quoted name, which identify the object where OIDs differ: in a database that was
    dumped and restored, or upgraded.
    """

    catalog: str
    oid: int
    identity: str


class Fence(NamedTuple):
    """The files that are fenced, and what they may not change.

    ``others`` are the names of the files for other environments, ``last`` is the number of the last one for this.
    ``oids_hold`` is false where the database is not, or no longer, the one in which the OIDs were read. ``after`` is
    the last file that was recorded and not run, by which a person can say that the fenced ones are to run; "none" where
    there is none; ``passed`` is its number.
    """

    files: tuple[FencedFile, ...] = ()
    foreign: tuple[ForeignObject, ...] = ()
    others: tuple[str, ...] = ()
    last: str = ""
    oids_hold: bool = True
    after: str = NONE
    passed: str = ""

    @classmethod
    def around(cls, pending: Iterable[AppliedMigration], foreign: Iterable[ForeignObject]) -> Self:
        """Return the fence around files that are pending, given as the rows that they would have in the history."""
        return cls(tuple(FencedFile(row.name, row.number, row.checksum) for row in pending), tuple(foreign))

    def covers(self, name: str, number: str, checksum: str) -> bool:
        """Return whether a pending file is one of the fenced ones, or may be.

        A file can be edited, renamed and renumbered between two runs. So all are fenced that have the name, the text
        or, but for its number, the name of a fenced one, or a number that is not above those of all that were there. A
        file with a higher number, a new name and a new text was written after the adoption. Those for other
        environments go by their name alone.
        """
        rank = parse_number(number)
        last = max(map(parse_number, (self.last, *(file.number for file in self.files))))
        stem = split_name(name)[1]
        if name in self.others or (rank and rank <= last):
            return True
        return any(
            name == file.name or checksum == file.checksum or (stem and stem == split_name(file.name)[1])
            for file in self.files
        )

    def comes_late(self, name: str) -> bool:
        """Return whether a file has a number that the adoption has passed: of a new one, any up to the last.

        A baseline that names the last file that was recorded would record it as applied, too.
        """
        number, is_pending = number_of(name), any(name == file.name for file in self.files)
        return number is not None and number <= parse_number(self.passed if is_pending else self.highest)

    @property
    def highest(self) -> str:
        """The number above which a file is behind all that the adoption, and baselines since, have known."""
        return max(self.last, self.passed, key=parse_number)

    def as_json(self) -> str:
        """Return the fence in the form in which it is stored."""
        objects: dict[str, list[tuple[int, str]]] = {}
        for item in self.foreign:
            objects.setdefault(item.catalog, []).append((item.oid, item.identity))
        named = {"files": self.files, "others": self.others, "last": self.last}
        return json.dumps({**named, "foreign": objects}, ensure_ascii=False)

    @classmethod
    def of_json(cls, stored: Mapping[str, Any], not_run_here: Iterable[tuple[str, str]], *, oids_hold: bool) -> Self:
        """Return a fence that was stored; ``not_run_here`` are names and numbers of what was recorded and not run."""
        foreign = [ForeignObject(catalog, *item) for catalog, items in stored["foreign"].items() for item in items]
        files = tuple(FencedFile(*file) for file in stored["files"])
        after, passed = max(not_run_here, key=lambda row: parse_number(row[1]), default=(NONE, ""))
        others, last = tuple(stored.get("others", ())), stored.get("last", "")
        return cls(files, tuple(foreign), others, last, oids_hold, after, passed)
