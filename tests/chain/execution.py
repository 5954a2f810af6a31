"""An execution environment of Lambda: AWS's own runtime client in a process of its own, and its Runtime API."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import NamedTuple

from tests.chain.template import ACCOUNT, REGION

_INIT_LIMIT = 30.0  # seconds; Lambda's own is 10, on a machine that does nothing else


LATEST = "$LATEST"


def function_arn(name: str) -> str:
    """Return the ARN of a function, or of one of its versions (NAME:1)."""
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"


class FunctionVersion(NamedTuple):
    """A published version (or $LATEST): its package and settings. ``timeout`` is in seconds, ``memory`` in MB."""

    name: str
    number: str
    arn: str
    code: Path
    handler: str
    timeout: float
    memory: int
    environment: Mapping[str, str]


class Invocation(NamedTuple):
    """What the Runtime API hands to the runtime client."""

    request_id: str
    payload: bytes


class Outcome(NamedTuple):
    """How an invocation ended: the payload, and whether it is an error's; ``ended``: the environment is gone."""

    payload: bytes
    failed: bool = False
    ended: bool = False
    log: bytes = b""


class _Begun(NamedTuple):
    """The runtime client has taken the invocation, so its time runs."""


def _error(kind: str, request_id: str, message: str) -> Outcome:
    body = {"errorType": kind, "errorMessage": f"RequestId: {request_id} Error: {message}"}
    return Outcome(json.dumps(body).encode(), failed=True, ended=True)


class ExecutionEnvironment:
    """One environment of a version: one invocation at a time, until it crashes, runs out of time or is closed."""

    def __init__(self, version: FunctionVersion, runtime: Path, log: Path, endpoints: Mapping[str, str]) -> None:
        self._version = version
        self._log = log
        self._next: SimpleQueue[Invocation | None] = SimpleQueue()
        self._heard: SimpleQueue[_Begun | Outcome] = SimpleQueue()
        self._request_id = ""
        self._api = _RuntimeApi(self)
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                _command(version.handler, runtime), cwd=version.code, stdout=output, stderr=output,
                env=_variables(version, runtime, self._api.server_port, endpoints),
            )  # fmt: skip
        Thread(target=self._watch, daemon=True).start()

    def invoke(self, invocation: Invocation) -> Outcome:
        """Run one invocation to its end, whatever that is; its log has the lines that Lambda adds."""
        request_id = self._request_id = invocation.request_id
        start = self._log.stat().st_size
        self._note(f"START RequestId: {request_id} Version: {self._version.number}")
        self._next.put(invocation)
        outcome = self._outcome(request_id)
        self._note(f"END RequestId: {request_id}")
        return outcome._replace(log=self._log.read_bytes()[start:])

    def _note(self, line: str) -> None:
        with self._log.open("a") as log:
            log.write(f"{line}\n")

    def _outcome(self, request_id: str) -> Outcome:
        heard = self._heard.get(timeout=_INIT_LIMIT)
        if isinstance(heard, Outcome):
            return heard  # the handler could not be loaded
        limit = self._version.timeout
        try:
            heard = self._heard.get(timeout=limit)
        except Empty:
            return _error("Sandbox.Timedout", request_id, f"Task timed out after {limit:.2f} seconds")
        assert isinstance(heard, Outcome)
        return heard

    def close(self) -> None:
        """End the process as Lambda does: at once."""
        self.process.kill()
        self.process.wait()
        self._next.put(None)
        self._api.shutdown()
        self._api.server_close()

    def take(self) -> tuple[Invocation, FunctionVersion] | None:
        """Wait for the next invocation and start its clock; none when the environment is closed."""
        taken = self._next.get()
        if taken is None:
            return None
        self._heard.put(_Begun())
        return taken, self._version

    def hear(self, path: str, body: bytes) -> None:
        """Take what the runtime client has to say: an answer, an error, or that the handler cannot be loaded."""
        kind = path.rpartition("/")[2]
        self._heard.put(Outcome(body, failed=kind == "error", ended="/init/" in path))

    def _watch(self) -> None:
        status = self.process.wait()
        message = "Runtime exited without providing a reason"
        if status:
            signalled = (signal.strsignal(-status) or "").lower() if status < 0 else ""
            how = f"signal: {signalled}" if signalled else f"exit status {status}"
            message = f"Runtime exited with error: {how}"
        self._heard.put(_error("Runtime.ExitError", self._request_id, message))


class _RuntimeApi(ThreadingHTTPServer):
    """The Runtime API of one environment."""

    daemon_threads = True

    def __init__(self, environment: ExecutionEnvironment) -> None:
        super().__init__(("127.0.0.1", 0), _RuntimeApiHandler)
        self.environment = environment
        Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


class _RuntimeApiHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _RuntimeApi

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's name
        """Say nothing of each request."""

    def do_GET(self) -> None:
        """Hand out the next invocation."""
        taken = self.server.environment.take()
        if taken is None:
            self.close_connection = True
            return
        invocation, version = taken
        headers = {
            "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
            "Lambda-Runtime-Deadline-Ms": str(int((time.time() + version.timeout) * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": version.arn,
            "Content-Type": "application/json",
        }
        self._answer(200, invocation.payload, headers)

    def do_POST(self) -> None:
        """Take an answer or an error."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.environment.hear(self.path, body)
        self._answer(202, b"", {})

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _command(handler: str, runtime: Path) -> list[str]:
    """Return the runtime client's command line: without site-packages, and without writing into the package."""
    bytecode = runtime.with_name("bytecode")  # compiled once for all tests: a fifth of a second for each environment
    return [sys.executable, "-S", "-X", f"pycache_prefix={bytecode}", "-m", "awslambdaric", handler]


def _variables(version: FunctionVersion, runtime: Path, port: int, endpoints: Mapping[str, str]) -> dict[str, str]:
    """Return the function's variables with those that Lambda adds; nothing of the test's own environment."""
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "TZ": ":UTC",
        **version.environment,
        **endpoints,
        "PYTHONPATH": f"{version.code}{os.pathsep}{runtime}",  # /var/task, then /var/runtime
        "LAMBDA_TASK_ROOT": str(version.code),
        "_HANDLER": version.handler,
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}",
        "AWS_LAMBDA_FUNCTION_NAME": version.name,
        "AWS_LAMBDA_FUNCTION_VERSION": version.number,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(version.memory),
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{version.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": f"[{version.number}]",
        "AWS_EXECUTION_ENV": f"AWS_Lambda_python{sys.version_info.major}.{sys.version_info.minor}",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_SESSION_TOKEN": "testing",
    }
