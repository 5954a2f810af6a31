"""The lock report of a real run (LOCK_REPORT=true): watched file by file, answered, and kept in the row of the run."""

from __future__ import annotations

from collections.abc import Sequence

from migrator import history
from migrator.connection import Connection
from migrator.light import TYPE_CHECKING
from migrator.report import Details

if TYPE_CHECKING:
    from migrator.trace import Trace


class LockReport:
    """What one attempt of a run learns of locks; nothing where it is not asked for."""

    def __init__(self, wanted: bool) -> None:
        self._wanted = wanted
        self.trace: Trace | None = None

    def begin(self, connection: Connection) -> None:
        """Look at the tables that are there before the run."""
        if self._wanted:
            from migrator.trace import Trace  # noqa: PLC0415 - for those who ask for it

            self.trace = Trace(connection)

    def record(self, connection: Connection, run_id: int) -> None:
        """Keep what was seen of the files that were committed."""
        if self.trace is not None:
            import json  # noqa: PLC0415 - for those who ask for it

            history.record_locks(connection, run_id, json.dumps(self.details(())))

    def details(self, earlier: Sequence[LockReport]) -> Details:
        """Return the fields of the answer, with what earlier attempts of the same run have seen."""
        if self.trace is None:
            return {}
        from migrator.lock_report import Entries  # noqa: PLC0415 - for those who ask for it

        entries = Entries()
        for trace in [*(report.trace for report in earlier), self.trace]:
            if trace is not None:
                entries.merge(trace.entries)
        return {"lock_report": entries.bodies(), "statements_left_out": entries.omitted}
