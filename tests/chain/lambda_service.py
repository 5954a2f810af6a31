"""A small Lambda: the Invoke API over HTTP, with published versions, concurrency, logs and faults on demand."""

from __future__ import annotations

import base64
import json
import re
import socket
import struct
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Condition, Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.chain.execution import LATEST, ExecutionEnvironment, FunctionVersion, Invocation, function_arn

_PATIENCE = 30.0  # seconds
_TAIL = 4096  # bytes of its log that a caller may have


class Fault(Enum):
    """What happens to a request in place of what should."""

    THROTTLED = auto()
    RESET = auto()
    ANSWER_LOST = auto()
    """The function runs, and the connection is cut before the answer."""


@dataclass
class Request:
    """One request of a client, and what became of it."""

    qualifier: str
    kind: str
    attempt: str
    payload: bytes
    fault: Fault | None
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    answer: bytes = b""
    log: bytes = b""
    failed: bool = False
    running: bool = False


class LambdaService:
    """Functions and their versions; each version runs in as many environments as there are callers at once."""

    def __init__(self, runtime: Path, logs: Path, endpoints: Mapping[str, str]) -> None:
        self.requests: list[Request] = []
        self.faults: list[Fault | None] = []
        """What happens to the next requests, one each."""
        self.environments: list[ExecutionEnvironment] = []
        self.versions: dict[str, FunctionVersion] = {}
        self._idle: dict[str, list[ExecutionEnvironment]] = {}
        self._runtime, self._logs, self._endpoints = runtime, logs, endpoints
        self._changed = Condition()
        self._server = _Server(self)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def publish(self, version: FunctionVersion) -> None:
        """Make a version known by its ARN; environments of an earlier $LATEST serve no more."""
        self.versions[version.arn] = version
        self._idle.pop(version.arn, None)

    def invoked(self) -> list[Request]:
        """Return the requests that came to a function."""
        return [request for request in self.requests if request.fault in {None, Fault.ANSWER_LOST}]

    def output(self) -> str:
        """Return what all functions have printed."""
        return "".join(path.read_text("utf-8", "replace") for path in sorted(self._logs.glob("*.log")))

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the log lines of one event, oldest environment first."""
        lines = (line for line in self.output().splitlines() if line.startswith("{"))
        return [line for line in map(json.loads, lines) if line.get("event") == name]

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until something about the requests is true."""
        with self._changed:
            assert self._changed.wait_for(condition, _PATIENCE), self.requests

    def settle(self) -> None:
        """Wait until no function runs any more."""
        self.wait_until(lambda: not any(request.running for request in self.requests))

    def close(self) -> None:
        """End every environment, and take no more requests."""
        self._server.shutdown()
        self._server.server_close()
        for environment in self.environments:
            environment.close()

    def find(self, name: str, qualifier: str) -> FunctionVersion | None:
        """Return a version by the ARN or the name of its function, and its number."""
        arn = name if name.startswith("arn:") else function_arn(name)
        return self.versions.get(arn if qualifier in {"", LATEST} else f"{arn}:{qualifier}")

    def arrive(self, request: Request) -> None:
        """Take down a request, and the fault that is meant for it."""
        with self._changed:
            request.fault = self.faults.pop(0) if self.faults else None
            request.running = request.fault in {None, Fault.ANSWER_LOST} and request.kind != "DryRun"
            self.requests.append(request)
            self._changed.notify_all()

    def run(self, version: FunctionVersion, request: Request) -> None:
        """Run the function in an environment that is free, or a new one."""
        environment = self._environment(version)
        outcome = environment.invoke(Invocation(request.request_id, request.payload or b"{}"))
        if outcome.ended:
            environment.close()
        with self._changed:
            if not outcome.ended:
                self._idle.setdefault(version.arn, []).append(environment)
            request.answer, request.failed, request.log = outcome.payload, outcome.failed, outcome.log
            request.running = False
            self._changed.notify_all()

    def _environment(self, version: FunctionVersion) -> ExecutionEnvironment:
        with self._changed:
            if idle := self._idle.get(version.arn):
                return idle.pop()
            log = self._logs / f"{len(self.environments):03}.log"
            made = ExecutionEnvironment(version, self._runtime, log, self._endpoints)
            self.environments.append(made)
            return made


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, service: LambdaService) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.service = service
        Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's name
        """Say nothing of each request."""

    def do_POST(self) -> None:
        """Answer Invoke."""
        service, url = self.server.service, urlsplit(self.path)
        found = re.fullmatch(r"/2015-03-31/functions/([^/]+)/invocations", url.path)
        assert found, self.path
        payload = self.rfile.read(int(self.headers["Content-Length"] or 0))
        qualifier = parse_qs(url.query).get("Qualifier", [""])[0]
        kind = self.headers.get("X-Amz-Invocation-Type", "RequestResponse")
        version = service.find(unquote(found[1]), qualifier)
        if version is None:
            self._refuse(404, "ResourceNotFoundException", f"Function not found: {unquote(found[1])}")
            return
        request = Request(version.number, kind, self.headers.get("amz-sdk-request", ""), payload, None)
        service.arrive(request)
        self._serve(service, version, request)

    def _serve(self, service: LambdaService, version: FunctionVersion, request: Request) -> None:
        if request.fault is Fault.THROTTLED:
            self._refuse(429, "TooManyRequestsException", "Rate Exceeded.")
        elif request.fault is Fault.RESET:
            self._cut()
        elif request.kind == "DryRun":
            self._answer(204, b"", {})
        elif request.kind == "Event":
            Thread(target=service.run, args=(version, request), daemon=True).start()
            self._answer(202, b"", {})
        else:
            service.run(version, request)
            self._notify(request)

    def _notify(self, request: Request) -> None:
        if request.fault is Fault.ANSWER_LOST:
            self._cut()
            return
        headers = {"X-Amz-Executed-Version": request.qualifier, "x-amzn-RequestId": request.request_id}
        if request.failed:
            headers["X-Amz-Function-Error"] = "Unhandled"
        if self.headers.get("X-Amz-Log-Type") == "Tail":
            headers["X-Amz-Log-Result"] = base64.b64encode(request.log[-_TAIL:]).decode()
        self._answer(200, request.answer, headers)

    def _refuse(self, status: int, kind: str, message: str) -> None:
        body = json.dumps({"Type": "User", "message": message, "Message": message}).encode()
        self._answer(status, body, {"x-amzn-ErrorType": kind})

    def _cut(self) -> None:
        """Reset the connection: closed without waiting, whatever is still to be sent."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        try:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
        except ConnectionError:
            self.close_connection = True  # the caller has given up, which Lambda does not notice either
