"""The files of a walk: their texts note in the table walk_log, piece by piece, that they have run."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

LOG = 0
"""The number of the first file, which makes walk_log; a walk leaves it alone."""
_FAILS = "SELECT 1 / 0;"
_NUMBER = re.compile(r"f(\d+)")


class File(NamedTuple):
    """One migration as it is on disk: ``file`` stays the same however it is renamed, its number stands in its name.

    ``head`` and ``tail`` change the text of its first statement, and what comes after all of them. ``broken`` is the
    piece before which a statement fails, ``down`` the kind of its down migration; -1 and "" where it has none.
    """

    file: int
    form: str
    head: int = 0
    tail: int = 0
    broken: int = -1
    down: str = "good"
    environment: str = ""
    windows: bool = False

    @property
    def is_repeatable(self) -> bool:
        """Whether it is run again whenever its text has changed."""
        return self.form in {"view", "views"}

    @property
    def is_stepwise(self) -> bool:
        """Whether it is run step by step."""
        return self.form in {"steps", "marked", "views", "asked"}

    @property
    def notes(self) -> tuple[int, ...]:
        """The pieces that leave a note."""
        return (0, 1, 2) if self.is_stepwise else (0,)

    @property
    def text(self) -> str:
        """The text, with LF line ends."""
        pieces = self._pieces()
        if self.broken >= 0:
            pieces.insert(min(self.broken, len(pieces)), _FAILS)
        directives = ["-- db_setup: no-transaction"] if self.form in {"marked", "views", "asked"} else []
        directives += [f"-- db_setup: env={self.environment}"] if self.environment else []
        return "\n".join([*directives, *pieces, f"-- tail {self.tail}", ""])

    @property
    def statements(self) -> list[str]:
        """The pieces, for somebody who runs them one by one."""
        return self._pieces()

    @property
    def content(self) -> bytes:
        """What is on disk."""
        return self.text.replace("\n", "\r\n" if self.windows else "\n").encode()

    @property
    def checksum(self) -> str:
        """What the history has of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def notes_of(self, steps: int) -> list[set[int]]:
        """Return the notes that the first steps of a stepwise file leave, also with a next one that commits by itself."""
        pieces = self._pieces()
        if self.broken >= 0:
            pieces.insert(min(self.broken, len(pieces)), _FAILS)
        lengths = [steps, *([steps + 1] if pieces[steps : steps + 1] and pieces[steps].startswith("DO") else [])]
        return [
            {note for note in self.notes if any(f"'+{self.file}.{note}'" in piece for piece in pieces[:length])}
            for length in lengths
        ]

    def _pieces(self) -> list[str]:
        table, head = f"t{self.file}", f"/* head {self.head} */"
        if self.form == "log":
            return ["CREATE TABLE IF NOT EXISTS walk_log (id bigint GENERATED ALWAYS AS IDENTITY, note text);", _note(f"+{self.file}.0")]
        if self.form == "view":
            return [f"CREATE OR REPLACE {head} VIEW v{self.file} AS SELECT {self.head} AS head;", _note(f"+{self.file}.0")]
        create = {
            "strict": f"CREATE {head} TABLE {table} (who text);",
            "anew": f"DROP {head} TABLE IF EXISTS {table}; CREATE TABLE {table} (who text);",
            "views": f"CREATE OR REPLACE {head} VIEW v{self.file} AS SELECT {self.head} AS head;",
        }.get(self.form, f"CREATE {head} TABLE IF NOT EXISTS {table} (who text);")
        if not self.is_stepwise:
            return [create, _note(f"+{self.file}.0")]
        middle = {
            "steps": f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {table}_who ON {table} (who);",
            "marked": f"ANALYZE {table};",
            "views": "VACUUM walk_log;",
            "asked": f"ANALYZE {table};",
        }[self.form]
        block = f"BEGIN; {_note(f'+{self.file}.2')} ANALYZE walk_log; COMMIT;"
        second = _note(f"+{self.file}.1")
        if self.form == "asked":  # nothing but the note shows a person whether it has committed
            second = f"DO $$ BEGIN {second} COMMIT; END $$;"
        return [create, _note(f"+{self.file}.0"), middle, second, block, "VACUUM walk_log;"]

    @property
    def down_text(self) -> str:
        """The text of its down migration."""
        table = f"t{self.file}"
        fails = [_FAILS] if self.down == "broken" else []
        drop = f"DROP TABLE {'' if self.form == 'strict' and self.down != 'mended' else 'IF EXISTS '}{table};"
        if self.form == "log":
            return _note(f"-{self.file}.0")
        if not self.is_stepwise:
            return "\n".join([_note(f"-{self.file}.0"), *fails, drop])
        index = f"DROP INDEX CONCURRENTLY IF EXISTS {table}_who;"
        notes = [_note(f"-{self.file}.{note}") for note in self.notes]
        return "\n".join(["-- db_setup: no-transaction", notes[0], index, notes[1], *fails, drop, notes[2]])


def _note(text: str) -> str:
    return f"INSERT INTO walk_log (note) VALUES ('{text}');"


def file_of(name: str) -> int:
    """Return which file a name is one of."""
    found = _NUMBER.search(name)
    assert found, name
    return int(found[1])


def down_of(name: str) -> str:
    """Return the name of a file's down migration."""
    return name.removesuffix(".sql") + ".down.sql"


def runs_in(name: str, file: File, environment: str) -> bool:
    """Return whether a file is run in an environment: in that of its folder, and in that of its directive."""
    folder = name.split("/")[1] if name.startswith("env/") else ""
    return {folder, file.environment} <= {"", environment}


def write(path: Path, files: Mapping[str, File]) -> None:
    """Make a folder hold these files, and nothing else."""
    wanted = {name: file.content for name, file in files.items()}
    wanted |= {down_of(name): file.down_text.encode() for name, file in files.items() if file.down}
    for name, content in wanted.items():
        place = path / name
        if not place.exists() or place.read_bytes() != content:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
    for place in path.rglob("*.sql"):
        if str(place.relative_to(path)) not in wanted:
            place.unlink()


def names_in(path: Path) -> Iterable[str]:
    """Return the names of the migrations in a folder."""
    found = (str(place.relative_to(path)) for place in path.rglob("*.sql"))
    return [name for name in found if not name.endswith(".down.sql")]
