"""Faults in regular expressions: one of their alternatives left out."""

from __future__ import annotations

import re
from collections.abc import Iterator

_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?P?[<:=!>]*(?:\w+>)?|[()|]", re.DOTALL)


def faults(pattern: str) -> Iterator[str]:
    """Yield the pattern without one alternative each, of those in groups too."""
    groups: list[list[int]] = [[0]]  # where the alternatives of each group that is open begin
    for token in _TOKEN.finditer(pattern):
        if token[0].startswith("("):
            groups.append([token.end()])
        elif token[0] == "|":
            groups[-1].append(token.end())
        elif token[0] == ")" and len(groups) > 1:
            yield from _without_one(pattern, groups.pop(), token.start())
    if len(groups) == 1:
        yield from _without_one(pattern, groups[0], len(pattern))


def _without_one(pattern: str, begins: list[int], end: int) -> Iterator[str]:
    if len(begins) > 1:
        for begin, following in zip(begins, [*begins[1:], end + 1], strict=True):
            last = following == end + 1  # then the bar before it goes, too
            yield pattern[: begin - 1] + pattern[end:] if last else pattern[:begin] + pattern[following:]
