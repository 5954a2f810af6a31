"""The lock report of a real run (LOCK_REPORT=true): of each file, in the answer and in the row of the run."""

from __future__ import annotations

import json

from migrator.database import Connection
from migrator.events import Details
from migrator.history import History
from migrator.rehearsal.lock_report import LockEntries
from migrator.rehearsal.lock_trace import LockTrace


class LockReport:
    """The lock report of a run that is asked for one: a trace for each connection that the run has had."""

    def __init__(self) -> None:
        self._traces: list[LockTrace] = []

    def trace(self, connection: Connection) -> LockTrace:
        """Return the trace for what follows on a connection; it reads the tables that are there now."""
        self._traces.append(LockTrace(connection))
        return self._traces[-1]

    def record(self, connection: Connection, run_id: int) -> None:
        """Record the entries of the last connection in the row of the run."""
        History(connection).record_locks(run_id, json.dumps(_fields(self._traces[-1:])))

    def details(self) -> Details:
        """Return the fields of the answer: the entries of all connections."""
        return _fields(self._traces)


def _fields(traces: list[LockTrace]) -> Details:
    entries = LockEntries()
    for trace in traces:
        entries.merge(trace.entries)
    return {"lock_report": entries.bodies(), "statements_left_out": entries.omitted}
