"""What the construct refuses before anything is synthesised."""

from __future__ import annotations


class Refused(ValueError):
    """A property that cannot work: one sentence that names it, and one that says what to do instead."""

    def __init__(self, what: str, *, cure: str) -> None:
        super().__init__(f"{what}. {cure[:1].upper()}{cure[1:]}.")
