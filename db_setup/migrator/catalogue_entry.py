"""An entry of a catalogue: one object of a database, in a form that can be compared. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from migrator.light import NamedTuple

Key = tuple[str, str]


class Entry(NamedTuple):
    """An object: what it is, its name, the object it goes with ("" for none), and all about it, a line a property."""

    kind: str
    identity: str
    parent: str
    definition: str

    @property
    def key(self) -> Key:
        """Return what tells the object apart in its database."""
        return self.kind, self.identity


Catalogue = Mapping[Key, Entry]
