"""Repeatable files: which of them run again, and which text is an older one that the database has had before. Pure.

A stack rollback invokes the older package, whose text the history knows: the database is ahead of it. A text that goes
back on purpose, and alone, looks the same; it takes any change, such as a comment, to tell the two apart.
"""

from __future__ import annotations

from collections.abc import Sequence

from migrator.files import Migration
from migrator.formatting import listed
from migrator.history import AppliedMigration

_DIGITS = 16  # of a checksum: enough to tell the texts of one file apart
_MOST = 20  # texts that are kept of a file; a stack is rolled back by one package or two


def is_done(file: Migration, row: AppliedMigration | None) -> bool:
    """Return whether this text is the one that was run last."""
    return row is not None and row.state == "applied" and row.checksum == file.checksum


def goes_on(file: Migration, row: AppliedMigration | None) -> bool:
    """Return whether a stepwise run of the same text has stopped half way; another text begins anew."""
    return row is not None and row.state == "running" and row.checksum == file.checksum


def had_before(file: Migration, row: AppliedMigration | None) -> bool:
    """Return whether the database has had this text before the one it has now; after a rollback it has none."""
    return row is not None and bool(row.checksum) and file.checksum[:_DIGITS] in row.earlier.split()


def earlier_texts(file: Migration, row: AppliedMigration | None) -> str:
    """Return what the history is to keep once this text is run: the texts before it, the oldest first.

    Of a text that runs for the second time, those that came after it are forgotten, so that they may come again.
    """
    if row is None:
        return ""
    texts = [*row.earlier.split(), *([row.checksum[:_DIGITS]] if row.checksum else [])]
    own = file.checksum[:_DIGITS]
    return " ".join(texts[: texts.index(own)] if own in texts else texts[-_MOST:])


def warn_of_older(names: Sequence[str], unfinished: Sequence[str]) -> tuple[str, ...]:
    """Return the warnings that the database is ahead of these files; ``unfinished`` of them are applied in part."""
    ahead = (
        f"the database is ahead of these files: it had the text of {listed(names, 20)} before the one it has now, as "
        "after a newer package; nothing was written. If the older text is meant, change it in any way, such as by a "
        "comment, and it is run"
    )
    if not unfinished:
        return (ahead,)
    return ahead, f"{', '.join(unfinished)} is applied in part; deploying the newer package again finishes it"


def warn_of_going_back(names: Sequence[str]) -> tuple[str, ...]:
    """Return the warnings that files go back to an older text, in a package that has something new as well."""
    return tuple(f"{name} goes back to a text that the database had before" for name in names)
