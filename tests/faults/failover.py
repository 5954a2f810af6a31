"""A failover: the primary is lost in the middle of a run, and a standby that has all of its commits takes over."""

from __future__ import annotations

import os
import signal
from itertools import count
from pathlib import Path

from migrator.cli.local_server import LocalServer, process

from tests.faults.scenarios import Scenario
from tests.faults.stage import SETTINGS, Stage, Target, send_all
from tests.faults.strikes import struck
from tests.faults.trial import Fault, Finding, Struck, Trials
from tests.plugins.environment import PGBIN
from tests.plugins.postgres import Database, client_program
from tests.plugins.proxy import Point

_PRIMARY = {**SETTINGS, "wal_level": "replica", "max_wal_senders": "5", "hot_standby": "on"}
_NUMBERS = count(1)
_SOCKET = ".s.PGSQL.5432"


def fail_over(folder: Path, pgbin: str, scenario: Scenario, size: int, seed: int) -> list[Finding]:
    """Fail over at so many points of a scenario."""
    with Stage(folder / f"failover{os.getpid()}", pgbin, _PRIMARY) as stage:
        trials = Trials(stage)
        points = trials.points(scenario, size, f"failover {seed}")
        return [trials.take(scenario, Fault("failover", _fail_over, spares=False), point) for point in points]


def lacks() -> str:
    """Return why no standby can be made, empty where one can."""
    server = LocalServer(Path("unused"), {}, {"PGBIN": PGBIN})
    return "" if client_program(server, "pg_basebackup").exists() else "there is no pg_basebackup"


def _fail_over(stage: Stage, target: Target, point: Point) -> Struck:
    """Lose the primary at the point; the standby has waited for each of its commits, as that of Aurora and Multi-AZ does.

    What led to the primary leads to the standby afterwards, as the name of an endpoint does.
    """
    primary, standby = stage.server, _standby_of(stage)
    stage.home.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
    stage.home.execute("SELECT pg_reload_conf()")
    process.wait_until(lambda: stage.home.query("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'") != [])

    def lose() -> None:
        postmaster = process.server_process(primary.data)
        if postmaster is not None:
            send_all([postmaster], signal.SIGQUIT)
        process.wait_until(lambda: process.server_process(primary.data) is None)
        Database(standby, "postgres").execute("SELECT pg_promote()")
        name = primary.socket_folder / _SOCKET
        name.unlink(missing_ok=True)
        name.symlink_to(standby.socket_folder / _SOCKET)

    found = struck(stage, target, point, lambda _: lose(), cuts=False)
    if found.reached:
        stage.use(standby)
    else:
        stage.home.execute("ALTER SYSTEM RESET synchronous_standby_names")
        stage.home.execute("SELECT pg_reload_conf()")
        standby.remove()
    return found


def _standby_of(stage: Stage) -> LocalServer:
    """Return a standby of the stage's server, which streams from it."""
    folder = stage.folder / f"standby{next(_NUMBERS)}"
    made = LocalServer(folder, _PRIMARY, {"PGBIN": str(stage.server.binaries.folder)})
    account = process.server_account()
    folder.mkdir(mode=0o711)
    (folder / "data").mkdir(mode=0o700)
    if account is not None:
        os.chown(folder / "data", account.uid, account.gid)
    base = [str(client_program(stage.server, "pg_basebackup")), "-h", str(stage.server.socket_folder), "-U", "postgres"]
    process.run_as(account, [*base, "-D", str(folder / "data"), "-R", "-c", "fast"])
    return made.start()
