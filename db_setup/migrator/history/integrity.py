"""Sealing: the end of a run that writes the history gives each row its place in the chain; before, they are examined.

Rows and head are written in one transaction with the end of the run. A run that was killed, one that is at work, one of
an earlier version and a script for psql leave their row in ``runs`` without a head: then the rows are not sealed,
nothing can be said of them, and the next run that ends seals them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from migrator.database.connection import SAFE_PATH_SQL, Connection
from migrator.errors import InconsistentHistory
from migrator.history import runs
from migrator.history.hash_chain import ChainRow, TamperedRow, examine, seal
from migrator.history.schema import SCHEMA

# A column that tables of an earlier version do not have is found in what stands before LATERAL.
_MISSING = """(SELECT NULL::text AS history_head, NULL::text AS evidence, NULL::text AS down_sql,
    NULL::text AS chain, NULL::text AS previous) missing"""
_ROWS = f"""
SELECT h.position, h.name, h.state, pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(h.facts, 'UTF8')), 'hex'),
    h.duration_ms, h.chain, h.previous
FROM {_MISSING}, LATERAL (
    SELECT position, name, state, duration_ms, chain, previous, pg_catalog.json_build_array(
        position, name, number, checksum, state, mode, steps, steps_checksum, step_begun, step_note,
        pg_catalog.to_char(applied_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US'), run_id, applied_by,
        package_version, evidence,
        pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(down_sql, 'UTF8')), 'hex'))::text AS facts
    FROM {SCHEMA}.history) h"""
_HEAD = f"""
SELECT NULL::bigint, '', '', '', NULL::integer, r.history_head, NULL::text
FROM {_MISSING}, LATERAL (
    SELECT history_head FROM {SCHEMA}.runs WHERE action <> 'rotate' AND id <> {{but}} ORDER BY id DESC LIMIT 1) r"""
_PATIENCE = "SET statement_timeout = '10s'"  # the time of the run may be over, and this is to be recorded

FIX = (
    "put the row back as it was; or repair, which shows what it finds, and with --yes "
    '("confirm": true) takes the history as it is'
)


def problems(connection: Connection) -> list[TamperedRow]:
    """Return what was done by hand to a history that is there; one query, which reads only."""
    return check(connection)[0]


def check(connection: Connection) -> tuple[list[TamperedRow], bool]:
    """Return what was done by hand, and whether the rows are sealed, so that it would show."""
    found = connection.rows(f"{_HEAD.format(but=0)} UNION ALL {_ROWS} ORDER BY 1 NULLS FIRST")
    if not found or found[0][0] is not None:
        return [], False  # without any run
    head = found[0][5]
    return examine(list(map(ChainRow._make, found[1:])), head), head is not None


def refuse_changes(connection: Connection) -> None:
    """Raise InconsistentHistory where something was done to the history by hand; asked before a run writes."""
    refuse(problems(connection))


def refuse(found: Sequence[TamperedRow]) -> None:
    """Raise InconsistentHistory that names what was found, if anything was."""
    if found:
        raise InconsistentHistory("; ".join(problem.told for problem in found), fix=FIX, applied="nothing was run")


def end_run(connection: Connection, run_id: int, outcome: str, message: str, durations: Mapping[str, int]) -> None:
    """Record how a run ended, and how many milliseconds each of its migrations took, and seal the rows."""
    rows = list(map(ChainRow._make, connection.rows(f"{SAFE_PATH_SQL}; {_PATIENCE}; {_ROWS} ORDER BY 1")))
    seals, head = seal(rows, durations)
    changed = {
        row.name: runs.End(durations.get(row.name, row.duration_ms), item.chain, item.previous)
        for row, item in zip(rows, seals, strict=True)
        if (row.chain, row.previous) != (item.chain, item.previous)
    }
    runs.end_run(connection, run_id, outcome, message, changed, head)


def end_run_beside(connection: Connection, run_id: int) -> None:
    """Record the end of a run that was not about the history: its rows are sealed, or not, as they were before."""
    found = connection.rows(_HEAD.format(but=run_id))
    runs.end_run(connection, run_id, "succeeded", "", {}, found[0][5] if found else None)
