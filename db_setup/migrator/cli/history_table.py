"""A history for people: a line for each row, the newest last, and one below it for how it is known. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def lines(body: dict[str, Any]) -> Iterator[str]:
    """Yield the history in an answer's body as lines."""
    if left_out := body["history_left_out"]:
        yield f"  ... {left_out:,} older ones"
    table = [(entry, _cells(entry)) for entry in body["history"]]
    widths = [max(map(len, column)) for column in zip(*(cells for _, cells in table), strict=True)]
    for entry, (number, *others) in table:
        columns = "  ".join(f"{text:<{width}}" for text, width in zip(others, widths[1:], strict=True))
        yield f"  {number:>{widths[0]}}  {columns}  {_time_taken(entry):>9}".rstrip()
        if entry["evidence"]:
            yield f"      {entry['evidence']}"


def _cells(entry: dict[str, Any]) -> tuple[str, ...]:
    day, _, time = entry["applied_at"].partition("T")
    run = "" if entry["run_id"] is None else f"run {entry['run_id']}"
    when, version = f"{day} {time[:5]} UTC", f"version {entry['package_version']}"
    return entry["number"], entry["name"], entry["mode"], entry["state"], when, entry["applied_by"], run, version


def _time_taken(entry: dict[str, Any]) -> str:
    return "" if entry["duration_ms"] is None else f"{entry['duration_ms']:,} ms"
