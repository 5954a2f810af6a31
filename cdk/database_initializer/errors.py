"""What the construct raises before anything is synthesised."""

from __future__ import annotations


class InvalidProps(ValueError):
    """A property that cannot work: one sentence names it, and one says what to write instead."""

    def __init__(self, what: str, *, fix: str) -> None:
        super().__init__(f"{what}. {fix[:1].upper()}{fix[1:]}.")
