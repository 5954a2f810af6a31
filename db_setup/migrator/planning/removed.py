"""Rows that the history has lost: rolled back, or forgotten by a repair, which leaves what the file has made. Pure.

A file that was rolled back gets its old number, where it has none of its own. A new file that may stand for forgotten
ones, such as one that a squash has made of ten, is not run: what it makes may be there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from migrator.errors import InconsistentHistory
from migrator.files import Migration, parse_number
from migrator.formatting import listed
from migrator.history import AppliedMigration

Removals = Iterable[tuple[str, Mapping[str, str | None]]]
"""Of each run that took rows from the history, in order: its action, and the numbers by name; none: it is settled."""


class Removed(NamedTuple):
    """The numbers, by name, of what was rolled back last, and of what is forgotten; none of it is applied again.

    ``replaced`` are the names of all that a repair has forgotten, also of what another file has taken the place of.
    """

    rolled_back: Mapping[str, str] = {}
    forgotten: Mapping[str, str] = {}
    replaced: frozenset[str] = frozenset()

    def knows(self, files: Iterable[Migration]) -> bool:
        """Return whether new files are those of an older package: a repair has forgotten them for a newer one."""
        names = {file.name for file in files}
        return bool(names) and names <= self.replaced

    def given(self, names: Iterable[str], rows: Iterable[AppliedMigration]) -> dict[str, str]:
        """Return the numbers that unnumbered files had before they were rolled back, but for those taken meanwhile."""
        taken = {row.number for row in rows}
        numbers = ((name, self.rolled_back.get(name, "")) for name in names)
        return {name: number for name, number in numbers if number and number not in taken}

    def may_replace(self, file: Migration) -> bool:
        """Return whether a new file may stand for what is forgotten: it is that, or has no higher number.

        It is that also where another file has taken the place of all that is forgotten: what it made is still there.
        """
        if file.name in self.rolled_back:
            return False
        highest = max(map(parse_number, self.forgotten.values()), default=())
        return file.name in self.replaced or (file.number is not None and file.number <= highest)

    def problems(self, names: list[str]) -> list[InconsistentHistory]:
        """Return an error for each new file that may stand for what is forgotten."""
        again = [name for name in names if name in self.replaced and name not in self.forgotten]
        forgotten = sorted(self.forgotten, key=lambda name: parse_number(self.forgotten[name])) + again
        fix = (
            "if it is to be run, give it the next free number; if it stands for what was forgotten, as after a "
            "squash, repair records it as applied"
        )
        what = f"is new, and repair has forgotten {listed(forgotten)}: what it makes may be there"
        return [InconsistentHistory(f"{name} {what}", fix=fix) for name in names]


def read_removals(runs: Removals, applied: Iterable[AppliedMigration]) -> Removed:
    """Return what is removed, and not applied again."""
    rolled_back: dict[str, str] = {}
    forgotten: dict[str, str] = {}
    replaced: set[str] = set()
    for action, rows in runs:
        for name, number in rows.items():
            rolled_back.pop(name, None)
            forgotten.pop(name, None)
            if number is not None:
                (rolled_back if action == "rollback" else forgotten)[name] = number
            if action == "repair":
                replaced.add(name)
    here = {row.name for row in applied}
    return Removed(
        {name: number for name, number in rolled_back.items() if name not in here},
        {name: number for name, number in forgotten.items() if name not in here},
        frozenset(replaced - here - rolled_back.keys()),
    )
