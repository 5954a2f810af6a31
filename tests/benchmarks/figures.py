"""Figures: what was measured, what it is held against, and the table of them all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

_UNITS = {
    "ms": (1000.0, "{:,.0f} ms"),
    "s": (1.0, "{:,.2f} s"),
    "MB": (2.0**-20, "{:,.1f} MB"),
    "": (1.0, "{:,.0f}"),
}


class Figure(NamedTuple):
    """One measurement; the limit is for the ratio to the floor, or for the measured value itself."""

    case: str
    entry_point: str
    what: str
    unit: str
    measured: float
    limit: float
    floor: float | None = None
    ratio: float | None = None

    @property
    def met(self) -> bool:
        """Return whether the target is met."""
        return (self.measured if self.ratio is None else self.ratio) <= self.limit

    def cells(self) -> tuple[str, ...]:
        """Return the figure as a row of the table."""
        return (
            self.case,
            self.entry_point,
            self.what,
            "" if self.floor is None else self._spelled(self.floor),
            self._spelled(self.measured),
            "" if self.ratio is None else f"{self.ratio:.2f}",
            f"<= {self._spelled(self.limit)}" if self.ratio is None else f"<= {self.limit:.1f} x",
            "yes" if self.met else "NO",
        )

    def _spelled(self, value: float) -> str:
        scale, pattern = _UNITS[self.unit]
        return pattern.format(value * scale)


_HEAD = ("case", "entry point", "figure", "floor", "measured", "ratio", "target", "met")
_WORDS = 3  # columns of words; the others are numbers, aligned to the right


def table(figures: Sequence[Figure]) -> str:
    """Return all figures as an aligned table."""
    rows = [_HEAD, *(figure.cells() for figure in figures)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(_line(row, widths) for row in rows)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        f"{cell:<{width}}" if index < _WORDS else f"{cell:>{width}}"
        for index, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()
