"""The oracle: what has to be the same after a fault as without it, and what a run may say of itself."""

from __future__ import annotations

import difflib
import re
import subprocess
from collections.abc import Sequence
from typing import NamedTuple

from tests.faults.runner import Ended
from tests.faults.stage import Stage, Target
from tests.plugins.postgres import client_program

_VOLATILE = ("\\restrict", "\\unrestrict", "SET transaction_timeout", "-- Dumped ", "SELECT pg_catalog.setval(")
"""Lines of a dump that differ for no fault's sake: a sequence keeps what an attempt that was rolled back has drawn."""
_HISTORY = """SELECT name, number, checksum, state, mode, steps, steps_checksum, coalesce(evidence, '') <> '', coalesce(down_sql, ''),
    coalesce(step_session, ''), step_note LIKE '?%', coalesce(earlier_checksums, '') FROM db_setup.history ORDER BY position"""
_ROLES = """SELECT r.rolname, r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin, r.rolconfig::text, r.rolconnlimit,
    shobj_description(r.oid, 'pg_authid'), ARRAY(SELECT g.rolname::text FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
        WHERE m.member = r.oid ORDER BY 1), (SELECT rolpassword FROM pg_authid a WHERE a.oid = r.oid) LIKE 'SCRAM%'
    FROM pg_roles r WHERE r.rolname !~ '^pg_' ORDER BY 1"""
_DATABASES = r"SELECT datname, datacl::text, pg_get_userbyid(datdba) FROM pg_database WHERE datname !~ '^((target|ready)\d+$|db_setup_scratch_)' OR datname = current_database()"
_LEFT_BEHIND = """SELECT 'invalid index ' || indexrelid::regclass FROM pg_index WHERE NOT indisvalid
    UNION ALL SELECT 'prepared transaction ' || gid FROM pg_prepared_xacts WHERE database = current_database()
    UNION ALL SELECT 'advisory lock of ' || pid FROM pg_locks WHERE locktype = 'advisory' AND database =
        (SELECT oid FROM pg_database WHERE datname = current_database())
    UNION ALL SELECT 'subscription ' || subname FROM pg_subscription ORDER BY 1"""


class State(NamedTuple):
    """All of a database that a fault must not change."""

    dump: str
    history: tuple[str, ...]
    roles: tuple[str, ...]
    databases: tuple[str, ...]
    left_behind: tuple[str, ...]
    secrets: tuple[str, ...]
    status: str

    def differences(self, wanted: State) -> list[str]:
        """Return what is not as it is wanted, the first lines of it."""
        return [
            f"{name}: {'; '.join(_changed(there, here))[:400]}"
            for name, here, there in zip(self._fields, self, wanted, strict=True)
            if here != there
        ]


def _changed(wanted: Sequence[str], found: Sequence[str]) -> list[str]:
    before, after = (text.splitlines() if isinstance(text, str) else list(text) for text in (wanted, found))
    return [line for line in difflib.unified_diff(before, after, lineterm="", n=0) if not line.startswith(("---", "+++", "@@"))]


def state_of(stage: Stage, target: Target) -> State:
    """Return the state of a target, whose name and numbers are taken from it."""
    database = target.database
    has_history = database.query("SELECT to_regclass('db_setup.history')") != [(None,)]

    def rows(sql: str) -> tuple[str, ...]:
        return tuple(_unnamed(target, str(row)) for row in database.query(sql))

    return State(
        _dump(stage, target),
        rows(_HISTORY) if has_history else ("none",),
        tuple(sorted(rows(_ROLES))),
        tuple(sorted(rows(_DATABASES))),
        rows(_LEFT_BEHIND),
        () if target.secrets is None else (*target.secrets.versions(), *target.secrets.strangers()),
        _status(stage, target),
    )


def _unnamed(target: Target, text: str) -> str:
    """Return a text without the name that the target has by chance."""
    return re.sub(rf"(?<![A-Za-z0-9]){target.database.name}(?![A-Za-z0-9])", "TARGET", text)


def _dump(stage: Stage, target: Target) -> str:
    """Return what pg_dump says, rows in an order of their own; the rows of history and bystander are looked at elsewhere."""
    left_out = ("--exclude-table-data=db_setup.*", "--exclude-table-data=public.app")
    command = [str(client_program(stage.server, "pg_dump")), "--inserts", *left_out, f"--dbname={target.database.url}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    kept = [line for line in done.stdout.splitlines() if not line.startswith(_VOLATILE)]
    texts = [_unnamed(target, line) for line in kept]
    rows = sorted(line for line in texts if line.startswith("INSERT INTO"))
    return "\n".join([*(line for line in texts if not line.startswith("INSERT INTO")), *rows])


def _status(stage: Stage, target: Target) -> str:
    """Return what a reader of the history is told: whether it is whole, and what is pending."""
    ended = stage.run(target, words=("status", "--check"))
    body = ended.body
    return f"{ended.status} {body.get('state')} {body.get('pending_migrations')} {body.get('problems')} {body.get('warnings')}"


def lies(ended: Ended, target: Target, *, reachable: bool) -> list[str]:
    """Return what a run has said that is not so; ``reachable``: its server could be asked to the end.

    Asked once all of its sessions are gone.
    """
    if ended.killed:
        return []
    if malformed := ended.malformed():
        return [f"answered badly: {malformed}"]
    body, message = ended.body, str(ended.body["message"])
    now = target.applied()
    found = []
    if ended.status == 0 and not body["success"]:
        found.append("exit status 0 of a failure")
    back = target.scenario.words[0] == "rollback"
    done = {name for name, _ in (target.before - now if back else now - target.before)}
    told = set(body.get("rolled_back_migrations" if back else "applied_migrations") or ())
    interrupted = body["applied_migrations"] is None  # between the run and its answer: it says that this is not known
    if target.scenario.words[0] in {"migrate", "rollback"} and not interrupted:
        if told - done:
            found.append(f"told, and not so: {sorted(told - done)}")
        found += [f"so, and not told: {name}: {message}" for name in sorted(done - told) if not _doubted(message, name)]
    if reachable and "is not known" in message:
        found.append(f"unknown, where the server could be asked: {message}")
    return found


def lies_of_many(ended: list[Ended], target: Target) -> list[str]:
    """Return what runs that went on side by side have said that is not so: together they tell all, each thing once."""
    answers = [each for each in ended if not each.killed]
    if malformed := [wrong for each in answers if (wrong := each.malformed())]:
        return [f"answered badly: {malformed[0]}"]
    told = sorted(name for each in answers for name in each.body["applied_migrations"])
    done = sorted(name for name, _ in target.applied() - target.before)
    found = [f"told twice: {told}"] if len(told) > len({*told}) else []
    if {*told} - {*done} or (len(answers) == len(ended) and told != done):
        found.append(f"told: {told}; done: {done}")
    return found


def _doubted(message: str, name: str) -> bool:
    """Return whether a failure says of a file that is applied that this is not known, or that its last step may be done."""
    down = f"{name.removesuffix('.sql')}.down.sql"
    return any(
        f"whether {each} was committed is not known" in message or f"of {each}, recorded, and perhaps a part of the next" in message
        for each in (name, down)
    )
