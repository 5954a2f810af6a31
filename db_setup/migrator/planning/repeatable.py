"""Repeatable files: which of them run again, and which text is an older one that the database has had before. Pure.

A stack rollback invokes the older package, whose texts the history knows: the database is ahead of it. A text that goes
back on purpose, and alone, looks the same; it takes any change, such as a comment, to tell the two apart.

So does a file that comes back while another one goes: a newer package may have renamed it, or moved its text. One that
comes back while nothing else changes is run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from migrator.files import Migration
from migrator.formatting import listed
from migrator.history import AppliedMigration
from migrator.planning.unfinished import gone_repeatables


class GoingBack(NamedTuple):
    """The files with an older text, and those of them whose newer text is applied in part."""

    names: list[str]
    unfinished: list[str]

    def when_ahead(self) -> tuple[str, ...]:
        """Return the warnings where nothing else is in the package that the database does not know."""
        ahead = (
            f"the database is ahead of these files: it had the text of {listed(self.names, 20)} before the one it has "
            "now, as after a newer package; nothing was written. If the older text is meant, change it in any way, "
            "such as by a comment, and it is run"
        )
        if not self.unfinished:
            return (ahead,)
        return ahead, f"{', '.join(self.unfinished)} is applied in part; deploying the newer package again finishes it"

    def when_run(self) -> tuple[str, ...]:
        """Return the warnings where something in the package is new, so that it is no older one."""
        return tuple(f"{name} goes back to a text that the database had before" for name in self.names)


def again(
    files: Sequence[Migration], applied: Sequence[AppliedMigration], others: Sequence[Migration]
) -> tuple[list[tuple[Migration, bool, str]], GoingBack | None]:  # fmt: skip
    """Return the files that are to be run, and which of them go back, None for none.

    Each comes with whether a stepwise run of its text goes on, and what the history is to keep of earlier texts.
    """
    rows = {row.name: row for row in applied}
    found = [(file, row) for file in files if not _is_done(file, row := rows.get(file.name))]
    back = [row for file, row in found if row is not None and row.had_before(file.checksum)]
    if back or gone_repeatables(applied, (*files, *others)):
        back += [row for file, row in found if row is not None and row.had_when_removed(file.checksum)]
    unfinished = [row.name for row in back if row.state == "running"]
    going_back = GoingBack([row.name for row in back], unfinished) if back else None
    return [
        (file, _goes_on(file, row), row.earlier_than(file.checksum) if row else "") for file, row in found
    ], going_back


def _is_done(file: Migration, row: AppliedMigration | None) -> bool:
    return row is not None and row.state == "applied" and row.checksum == file.checksum


def _goes_on(file: Migration, row: AppliedMigration | None) -> bool:
    """Return whether a stepwise run of the same text has stopped half way; another text begins anew."""
    return row is not None and row.state == "running" and row.checksum == file.checksum
