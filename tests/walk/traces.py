"""The traces of a file: what the database itself says of it, whatever became of its row in the history."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.walk.files import File

Query = Callable[..., list[tuple[Any, ...]]]
_NOTES = "SELECT note FROM walk_log WHERE note ~ ('^[+-]' || %s || '[.]') ORDER BY id"
_INDEX = "SELECT i.indisvalid FROM pg_index i WHERE i.indexrelid = to_regclass(%s)"


def pieces_run(query: Query, file: int) -> set[int]:
    """Return the pieces of a file that have run since it began last, and since it was rolled back."""
    done: set[int] = set()
    for (note,) in query(_NOTES, file):
        piece = int(note.partition(".")[2])
        if note[0] == "-" or piece == 0:
            done.clear()
        if note[0] == "+":
            done.add(piece)
    return done


def is_made(query: Query, file: File) -> bool:
    """Return whether the database has what a file makes, as its text makes it."""
    if file.form == "log":
        return query("SELECT to_regclass('walk_log')") != [(None,)]
    if file.is_repeatable:
        return query(f"SELECT head FROM v{file.file}") == [(file.head,)]
    if query("SELECT to_regclass(%s)", f"t{file.file}") == [(None,)]:
        return False
    return file.form != "steps" or query(_INDEX, f"t{file.file}_who") == [(True,)]
