"""The nest: a process that has imported the product once, from which each run is forked; a kill of one is the real signal.

A client connects to its socket and sends one line, the order. It is sent the number of the process, and at its end how
that ended. The program's input is its life line: it ends when that does.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import sys
import tempfile
import time
from typing import Any


def serve(place: str) -> None:
    """Take orders until the input ends."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(place)
        listener.listen(128)
        print("ready", flush=True)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no zombies
        while True:
            ready, _, _ = select.select([listener, sys.stdin], [], [])
            if sys.stdin in ready:
                return
            client, _ = listener.accept()
            if not os.fork():
                listener.close()
                _keep(client)
                os._exit(0)
            client.close()


def _keep(client: socket.socket) -> None:
    """Carry out an order in a child, and say how that ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with client.makefile("rw", encoding="utf-8") as stream:
        order = json.loads(stream.readline())
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            started = time.monotonic()
            child = os.fork()
            if not child:
                _run(order, out.fileno(), err.fileno())
            stream.write(f"{child}\n")
            stream.flush()
            end = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)  # its number stays its own while it is a zombie
            assert end is not None
            status = end.si_status if end.si_code == os.CLD_EXITED else -end.si_status
            ended = {"status": status, "seconds": time.monotonic() - started}
            stream.write(json.dumps({**ended, "out": _content(out), "err": _content(err)}) + "\n")
            stream.flush()
            stream.read()  # until the client knows
            os.waitpid(child, 0)


def _content(file: Any) -> str:
    file.seek(0)
    return str(file.read().decode(errors="replace"))


def _run(order: dict[str, Any], out: int, err: int) -> None:
    """Be the command line; never returns."""
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.environ.update(order["environ"])
    status = 70
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))  # as db_setup/__main__.py does
        from migrator.cli.main import main

        status = main(order["words"])
    except BaseException:  # noqa: BLE001 - shown, and an exit status of its own
        import traceback

        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _warm_up() -> None:
    """Import all that a run may import, some of it late, once for all of them."""
    import boto3
    import botocore.session
    import migrator

    for module in pkgutil.walk_packages(migrator.__path__, "migrator."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    session = boto3.Session("test", "test", region_name="eu-central-1", botocore_session=botocore.session.Session())
    session.client("secretsmanager")  # loads what every run would load again


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    _warm_up()
    serve(sys.argv[2])
