"""The tables of a history and of a lock report, as lines for people. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_UNITS = ("B", "kB", "MB", "GB", "TB")
_MOST_QUIET = 20  # statements without any risk that are shown; the answer has more
_WIDTH = 60


def history_lines(body: dict[str, Any]) -> Iterator[str]:
    """Yield the history of an answer: a line for each row, the newest last, and one below it for its evidence."""
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


def lock_lines(body: dict[str, Any]) -> Iterator[str]:
    """Yield the lock report of an answer: a line for each statement, and one below it for each table it touched."""
    entries = body.get("rehearsal", body.get("lock_report", []))
    shown = _worth_showing(entries)
    place = max((len(_place(entry)) for entry in shown), default=0)
    risk = max((len(entry["risk"] or "") for entry in shown), default=0)
    text = max((len(_text(entry)) for entry in shown), default=0)
    for entry in shown:
        columns = (f"{_place(entry):<{place}}", f"{entry['risk'] or '':<{risk}}", f"{_text(entry):<{text}}")
        took = f"{entry['duration_ms']:,} ms"
        yield f"  {'  '.join(columns)}  {took:>9}"
        yield from (f"      {line}" for line in _below(entry))
    if left := len(entries) - len(shown) + body.get("statements_left_out", 0):
        yield f"  ... and {left:,} more without a risk"
    for limit in body.get("not_rehearsed", ()):
        yield f"Not rehearsed: {limit}."


def _worth_showing(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    quiet = [entry for entry in entries if not entry["risk"] and entry["outcome"] == "done"]
    hidden = {id(entry) for entry in quiet[_MOST_QUIET:]}
    return [entry for entry in entries if id(entry) not in hidden]


def _place(entry: dict[str, Any]) -> str:
    return f"{entry['migration']}:{entry['line']}:{entry['column']}"


def _text(entry: dict[str, Any]) -> str:
    text = str(entry["statement"])
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 3]}..."


def _below(entry: dict[str, Any]) -> Iterator[str]:
    for table in entry["tables"]:
        parts = [table["lock"] or "", "rewritten" * table["rewritten"], "scanned" * table["scanned"], _size(table)]
        yield f"{table['table']}: {', '.join(part for part in parts if part)}"
    if entry["already_locked"]:
        yield f"locked already: {', '.join(entry['already_locked'])}"
    for session in entry["sessions"]:
        verb = "waits with" if session["waiting"] else "held"
        yield f'pid {session["pid"]} (application "{session["application"]}") {verb} {session["lock"]}'
    if entry["outcome"] != "done":
        yield {"lock": "blocked by another session", "time": "the time was over"}[entry["outcome"]]


def _size(table: dict[str, Any]) -> str:
    size, unit = float(table["size_bytes"]), 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    rows = "" if table["rows"] is None else f", about {table['rows']:,} rows"
    return f"{size:.0f} {_UNITS[unit]}{rows}" if table["size_bytes"] else ""
