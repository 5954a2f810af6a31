"""Faults of a server that runs out of something: connections, locks, disk."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import psycopg2
from migrator.cli.local_server import process

from tests.faults.scenarios import APP, MIGRATE, Scenario
from tests.faults.stage import SETTINGS, Stage, Target
from tests.faults.strikes import struck
from tests.faults.trial import Fault, Finding, Struck, Trials
from tests.plugins.proxy import Point

_FULL_FOR = 0.8  # seconds
DISK_SIZE = 260 << 20  # bytes
WAL_SIZE = 70 << 20
FLOOD = Scenario(
    "flood",
    {
        **APP,
        "001_a.sql": "CREATE TABLE a (i int, s text);\nINSERT INTO a SELECT g, repeat('x', 1000) FROM generate_series(1, 20000) g;",
        "002_b.sql": "CREATE INDEX CONCURRENTLY ON a (i);\nUPDATE a SET i = -i;\nVACUUM a;",
        "003_c.sql": "CREATE TABLE c AS SELECT * FROM a;",
    },
    before=(MIGRATE,),
    earlier=APP,
)
"""A run that writes more than a small disk has."""


def _fill_slots(stage: Stage, target: Target, point: Point) -> Struck:
    """Cut the connection, and take all that the server has for a while: the run has to wait for another one."""
    taken: list[psycopg2.extensions.connection] = []

    def fill() -> None:
        with suppress(psycopg2.OperationalError):
            while True:
                taken.append(psycopg2.connect(target.database.url))

    def free() -> None:
        for connection in taken:
            connection.close()

    return _for_a_while(stage, target, point, fill, free, cuts=True)


def _fill_lock_table(stage: Stage, target: Target, point: Point) -> Struck:
    """Have another session take locks until the server has no memory for one more, and keep them for a while."""
    hog = psycopg2.connect(stage.home.url)
    hog.autocommit = True

    def fill() -> None:
        with hog.cursor() as cursor, suppress(psycopg2.OperationalError):
            cursor.execute("SELECT count(pg_advisory_lock(g)) FROM generate_series(1, 1000000) g")

    with closing(hog):
        return _for_a_while(stage, target, point, fill, hog.close, cuts=False)


def _for_a_while(
    stage: Stage, target: Target, point: Point, fill: Callable[[], None], free: Callable[[], None], *, cuts: bool
) -> Struck:
    """Have something full from the point on for a while, whether the run goes on as long or not."""
    over = threading.Event()

    def end() -> None:
        free()
        over.set()

    def begin() -> None:
        fill()
        threading.Timer(_FULL_FOR, end).start()

    found = struck(stage, target, point, lambda _: begin(), cuts=cuts)
    if found.reached:
        over.wait()
    return found


SLOTS = Fault("connection slots full", _fill_slots, spares=False)
LOCK_TABLE = Fault("lock table full", _fill_lock_table, spares=False)


class SmallDisk:
    """A stage whose data, or whose WAL, lie on a disk that can be filled; in a mount namespace of this process."""

    def __init__(self, folder: Path, pgbin: str, *, wal: bool) -> None:
        self._disk = folder / ("wal" if wal else "postgres")
        self._filler = self._disk / "filler"
        self._disk.mkdir(parents=True)
        size = WAL_SIZE if wal else DISK_SIZE
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(self._disk)], check=True)
        self._disk.chmod(0o711)
        settings = {**SETTINGS, "max_wal_size": "48MB", "min_wal_size": "32MB"}
        self.stage = Stage(folder, pgbin, settings)
        if wal:
            self._move_wal()
        self.fault = Fault("WAL disk full" if wal else "data disk full", self._fill, spares=False)

    def _move_wal(self) -> None:
        server = self.stage.server
        server.stop()
        place, moved = server.data / "pg_wal", self._disk / "pg_wal"
        shutil.copytree(place, moved)
        account = process.server_account()
        for path in (moved, *moved.rglob("*")):
            if account is not None:
                os.chown(path, account.uid, account.gid)
        moved.chmod(0o700)
        shutil.rmtree(place)
        place.symlink_to(moved)
        server.start()

    def _fill(self, stage: Stage, target: Target, point: Point) -> Struck:
        """Take all that is left of the disk until the run has ended; a server that has crashed is started again."""

        def fill() -> None:
            free = os.statvfs(self._disk)
            with self._filler.open("wb") as file, suppress(OSError):
                os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize)

        try:
            return struck(stage, target, point, lambda _: fill(), timeout=15, cuts=False)
        finally:
            self._filler.unlink(missing_ok=True)
            stage.server.start()


def on_small_disk(folder: Path, pgbin: str, size: int, seed: int, *, wal: bool) -> Iterator[Finding]:
    """Fill a disk at so many points, in a process with mounts of its own."""
    words = [sys.executable, "-m", "tests.faults.resources", str(folder), pgbin, str(size), str(seed), "wal" if wal else "data"]
    unshare = ["unshare", "--mount", "--propagation", "private"]
    done = subprocess.run([*unshare, *words], capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    for values in json.loads(done.stdout):
        yield Finding(*values)


def lacks_disk() -> str:
    """Return why no small disk can be mounted, empty where one can."""
    if os.geteuid() != 0 or not shutil.which("unshare"):
        return "only root may mount a small disk"
    tried = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
    return "" if tried.returncode == 0 else "this machine allows no mount namespace"


def _main(folder: str, pgbin: str, size: str, seed: str, kind: str) -> None:
    disk = SmallDisk(Path(folder) / f"{kind}-{time.monotonic_ns()}", pgbin, wal=kind == "wal")
    with closing(disk.stage):
        trials = Trials(disk.stage)
        points = trials.points(FLOOD, int(size), seed)
        findings = [trials.take(FLOOD, disk.fault, point) for point in points]
    sys.stdout.write(json.dumps(findings))


if __name__ == "__main__":
    _main(*sys.argv[1:])
