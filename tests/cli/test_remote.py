"""The command line with a deployed function: boto3 against an Invoke API that runs the handler on the test's database."""

from __future__ import annotations

import base64
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest
from migrator.cli.main import main
from migrator.errors import DbSetupError

from tests.plugins.answers import check_output
from tests.plugins.databases import Database, MakeDatabase
from tests.plugins.folders import Folder
from tests.plugins.runs import PRODUCT, Cli, Done, Invoke, LambdaContext, command

NAME = "shop-initializer"
PATH = f"/2015-03-31/functions/{NAME}/invocations"
FUNCTION = ("--function", NAME)
CREDENTIALS = {
    "AWS_DEFAULT_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "canary-4321",
    "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
}  # fmt: skip


class Answer(NamedTuple):
    """What the endpoint sends: status, body, and headers in addition to the usual ones."""

    status: int
    body: object
    headers: dict[str, str] = {}  # noqa: RUF012 - nobody changes it


def refusal(status: int, kind: str, message: str = "no") -> Answer:
    """Return an answer of the Lambda service that is none of the function's."""
    return Answer(status, {"Type": "User", "Message": message}, {"x-amzn-ErrorType": kind})


def crash(kind: str, message: str) -> Answer:
    """Return the answer for a function that ended badly."""
    return Answer(200, {"errorType": kind, "errorMessage": message}, {"X-Amz-Function-Error": "Unhandled"})


class Endpoint(ThreadingHTTPServer):
    """An Invoke API on a port of this machine; ``respond`` says what it does with an event."""

    daemon_threads = True

    def __init__(self, respond: Callable[[Any], Answer | None]) -> None:
        super().__init__(("127.0.0.1", 0), Invocation)
        self.respond = respond
        self.environ: dict[str, str] = {}
        self.events: list[Any] = []

    @property
    def url(self) -> str:
        """Return the endpoint's address."""
        return f"http://127.0.0.1:{self.server_port}"


class Invocation(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    server: Endpoint

    def do_POST(self) -> None:
        """Answer an event, or close the connection where there is no answer."""
        event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.path == PATH, self.path
        self.server.events.append(event)
        answer = self.server.respond(event)
        self.close_connection = answer is None
        if answer is not None:
            text = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            self.send_response(answer.status)
            for name, value in {"Content-Length": str(len(text)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Keep quiet."""


@pytest.fixture
def endpoint(invoke: Invoke) -> Iterator[Endpoint]:
    """Serve the real handler as Lambda does: its answer, its exception, the last 4 KB of its log."""

    def respond(event: Any) -> Answer:
        log = io.StringIO()
        headers = {}
        try:
            with redirect_stdout(log):
                body: object = {"statusCode": 200, "body": invoke(event, context=LambdaContext(), **server.environ)}
        except DbSetupError as error:
            body = {"errorMessage": str(error), "errorType": type(error).__name__, "stackTrace": ["  File ..."]}
            headers = {"X-Amz-Function-Error": "Unhandled"}
        tail = f"START RequestId: 1\n{log.getvalue()}END RequestId: 1\n".encode()[-4096:]
        return Answer(200, body, {**headers, "X-Amz-Log-Result": base64.b64encode(tail).decode()})

    with Endpoint(respond) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def remote(cli: Cli, endpoint: Endpoint) -> Cli:
    """Run the command line with the function; the database that its own variables name does not exist."""

    def run(*words: str, **environ: str) -> Done:
        given = {**CREDENTIALS, "AWS_ENDPOINT_URL_LAMBDA": endpoint.url, "DATABASE_URL": "postgresql://u@127.0.0.1:1/d"}
        return cli(*words, *FUNCTION, **{**given, **environ})

    return run


@pytest.fixture
def remote_here(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Do what ``remote`` does within this process, which has boto3 already; None unsets a variable."""

    def run(*words: str, **environ: str | None) -> Done:
        for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL_LAMBDA": endpoint.url, **environ}.items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)
        capsys.readouterr()
        done = Done(main([*words, *FUNCTION]), *capsys.readouterr())
        check_output(words, done.out)
        return done

    return run


def timeless(text: str) -> str:
    """Return an output without its durations."""
    return re.sub(r'( +[\d,]+ ms|"duration_ms": \d+)', " N ms", text)


def test_output_is_that_of_a_local_run(
    cli: Cli, remote: Cli, remote_here: Cli, folder: Folder, make_database: MakeDatabase
) -> None:
    """Every action prints with the function what it prints here, for people and as JSON, and ends the same way."""
    folder.write("001_a.sql", "CREATE TABLE a (i int); DO $$ BEGIN RAISE NOTICE 'look'; END $$;")
    folder.write("b.sql", "CREATE INDEX CONCURRENTLY ON a (i);")
    folder.write("003_c.sql", "SELECT 1;")
    here = {"DATABASE_URL": make_database().url}
    for words in (
        ["status", "--check"], ["plan", "--json"], ["migrate", "--dry-run"], ["rehearse"], ["rehearse", "--json"],
        ["migrate", "--target", "001"],
        ["status", "--json"], ["migrate"], ["migrate", "--json"],
    ):  # fmt: skip
        local, there = cli(*words, **here), (remote if words == ["migrate"] else remote_here)(*words)
        assert [local.status, timeless(local.out), local.err] == [there.status, timeless(there.out), there.err], words
    folder.write("001_a.sql", "CREATE TABLE edited (i int);")
    for words in (["status", "--check"], ["status"]):
        local, there = (normal_dates(run) for run in (cli(*words, **here), remote_here(*words)))
        assert [local.status, timeless(local.out), local.err] == [there.status, timeless(there.out), there.err], words
        assert "edited" in local.out + local.err


def normal_dates(done: Done) -> Done:
    """Return what was printed, without the time of an application."""
    return Done(done.status, *(re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "THEN", text) for text in done[1:]))


def test_event_is_the_documented_one(remote_here: Cli, endpoint: Endpoint, folder: Folder) -> None:
    """The function gets the event that the reference documents, and nothing of this machine."""
    for words in (["status"], ["plan", "--target", "head"], ["migrate", "--dry-run"], ["migrate"]):
        assert remote_here(*words).status == 0
    assert endpoint.events == [
        {"action": "status", "target_revision": "head"},
        {"action": "plan", "target_revision": "head"},
        {"action": "migrate", "target_revision": "head", "dry_run": True},
        {"action": "migrate", "target_revision": "head"},
    ]


@pytest.mark.parametrize("json_wanted", [[], ["--json"]], ids=["text", "json"])
def test_failure_is_that_of_a_local_run(cli: Cli, remote_here: Cli, folder: Folder, json_wanted: list[str]) -> None:
    """A refused statement is reported with the same text, code and exit status as in a local run."""
    folder.write("001_a.sql", "SELECT 1;\nSELECT nope;")
    there, local = remote_here("migrate", *json_wanted), cli("migrate", *json_wanted)
    assert [timeless(text) for text in there[1:]] == [timeless(text) for text in local[1:]]
    assert there.status == local.status == 1
    assert "001_a.sql:2:8" in there.out + there.err


@pytest.mark.parametrize(
    ("environ", "words", "status", "code"),
    [
        ({"LOCK_TIMEOUT": "soon"}, ["status"], 2, "invalid_setting"),
        ({"DATABASE_URL": ""}, ["status"], 2, "no_database"),
        ({}, ["migrate", "--target", "9"], 1, "unknown_target"),
    ],
)
def test_exit_status_follows_the_code(
    remote_here: Cli, endpoint: Endpoint, environ: dict[str, str], words: list[str], status: int, code: str
) -> None:
    """What counts as wrong usage here does so when it is the function's."""
    endpoint.environ = environ
    done = remote_here(*words, "--json")
    assert (done.status, json.loads(done.out)["code"], done.err) == (status, code, "")


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (refusal(404, "ResourceNotFoundException"), "function_unreachable", ["ResourceNotFound", "--region"]),
        (refusal(403, "AccessDeniedException"), "function_unreachable", ["AccessDenied", "lambda:InvokeFunction"]),
        (refusal(403, "ExpiredTokenException"), "function_unreachable", ["ExpiredToken", "log in again"]),
        (refusal(403, "UnrecognizedClientException"), "function_unreachable", ["UnrecognizedClient", "log in again"]),
        (refusal(403, "InvalidSignatureException"), "function_unreachable", ["InvalidSignature", "clock"]),
        (refusal(429, "TooManyRequestsException"), "function_unreachable", ["TooManyRequests", "try again"]),
        (refusal(409, "ResourceConflictException"), "function_unreachable", ["being deployed"]),
        (refusal(400, "ValidationException"), "function_unreachable", ["check the function's name"]),
        (refusal(400, "SomethingNewException", "new!"), "function_unreachable", ["SomethingNewException: new!"]),
        (refusal(500, "ServiceException"), "outcome_unknown", ["ServiceException", f"status --function {NAME}"]),
        (Answer(502, b"<html>"), "outcome_unknown", ["502"]),
        (None, "outcome_unknown", ["the connection ended", "may still be at work"]),
        (Answer(200, {"hello": 1}), "function_failed", ["not as this db_setup does"]),
        (Answer(200, b"hello"), "function_failed", ["not as this db_setup does"]),
        (crash("Sandbox.Timedout", "RequestId: 1 Error: Task timed out after 3.00 seconds"), "function_failed",
         ["Task timed out after 3.00", "more time", "re-run carries on"]),
        (crash("", "2026-01-01T00:00:00Z 1 Task timed out after 3.00 seconds"), "function_failed", ["more time"]),
        (crash("Runtime.ImportModuleError", "Unable to import module 'initializer': No module named 'psycopg2'"),
         "function_failed", ["put psycopg2"]),
        (crash("KeyError", "'x'"), "function_failed", ["KeyError: 'x'", "log"]),
        (Answer(200, b"", {"X-Amz-Function-Error": "Unhandled"}), "function_failed", ["no reason"]),
    ],
    ids=lambda value: str(value)[:60] if isinstance(value, Answer) else None,
)  # fmt: skip
def test_what_is_not_the_runs_own_failure(
    remote_here: Cli, endpoint: Endpoint, answer: Answer | None, code: str, said: list[str]
) -> None:
    """What a service, a runtime or a network says is one error with cause, fix and code, after a single call."""
    endpoint.respond = lambda _event: answer
    done = remote_here("migrate")
    assert (done.status, done.out, done.err.splitlines()[-1]) == (1, "", f"[{code}]")
    assert [text for text in [NAME, "Fix: ", *said] if text not in done.err] == []
    assert "Traceback" not in done.err
    assert "canary" not in done.err
    assert len(endpoint.events) == 1


@pytest.mark.parametrize(
    ("words", "environ", "said"),
    [
        ([], {"AWS_ENDPOINT_URL_LAMBDA": "http://127.0.0.1:1"}, "check the network"),
        ([], {"AWS_ENDPOINT_URL_LAMBDA": "nowhere"}, "AWS_ENDPOINT_URL"),
        ([], {"AWS_DEFAULT_REGION": ""}, "give --region"),
        ([], {"AWS_DEFAULT_REGION": None}, "give --region"),
        (["--region", "no region"], {}, "give --region"),
        ([], {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, "log in again"),
        ([], {"AWS_SECRET_ACCESS_KEY": ""}, "log in again"),
        (["--profile", "nobody"], {}, "list-profiles"),
    ],
)
def test_no_way_to_the_function(
    remote_here: Cli, endpoint: Endpoint, words: list[str], environ: dict[str, str | None], said: str
) -> None:
    """Without network, region, credentials or profile nothing is called, and the fix says what to give."""
    done = remote_here("migrate", *words, HOME="/nonexistent", **environ)
    assert (done.status, done.out, done.err.splitlines()[-1]) == (1, "", "[function_unreachable]")
    assert said in done.err.partition("Fix: ")[2]
    assert "Traceback" not in done.err
    assert endpoint.events == []


def test_failure_outside_the_run_in_a_process(remote: Cli, endpoint: Endpoint) -> None:
    """The same of the whole program: one call, one error, no traceback."""
    endpoint.respond = lambda _event: refusal(429, "TooManyRequestsException", "Rate Exceeded.")
    done = remote("migrate", "--json")
    assert (done.status, json.loads(done.out)["code"], done.err) == (1, "function_unreachable", "")
    endpoint.respond = lambda _event: None
    done = remote("migrate")
    assert (done.status, done.out, done.err.splitlines()[-1]) == (1, "", "[outcome_unknown]")
    assert len(endpoint.events) == 2


@pytest.mark.parametrize(
    "words",
    [
        ["new", "orders", *FUNCTION], ["number", *FUNCTION], ["status", "--function", ""],
        ["status", *FUNCTION, "--database-url", "postgresql://u@h/d"], ["status", *FUNCTION, "--migrations", "m"],
        ["status", *FUNCTION, "--local"], ["status", "--profile", "p"], ["status", "--region", "r"], ["migrate", "--yes"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_options_that_do_not_go_together(cli: Cli, folder: Folder, words: list[str]) -> None:
    """Options of a local run and of a function's are not mixed, and a function makes no files."""
    done = cli(*words, "--json")
    assert (done.status, json.loads(done.out)["code"]) == (2, "invalid_usage")
    assert list(folder.path.iterdir()) == []


def on_terminal(endpoint: Endpoint, typed: bytes, *words: str) -> Done:
    """Run the command line with a terminal as its input, on which something is typed."""
    master, slave = pty.openpty()
    environ = {**os.environ, **CREDENTIALS, "AWS_ENDPOINT_URL_LAMBDA": endpoint.url}
    with os.fdopen(master, "wb", buffering=0) as keyboard, os.fdopen(slave, "rb") as screen:
        keyboard.write(typed)
        done = subprocess.run(
            command("migrate", *FUNCTION, *words), stdin=screen, capture_output=True, text=True, check=False,
            env=environ, timeout=60,
        )  # fmt: skip
    return Done(done.returncode, done.stdout, done.stderr)


def actions(endpoint: Endpoint) -> list[str]:
    """Return what the function was asked for."""
    return [event["action"] for event in endpoint.events]


def test_question_on_a_terminal(endpoint: Endpoint, folder: Folder) -> None:
    """Before migrate the plan is shown and a yes wanted; the result alone goes to standard output."""
    folder.write("001_a.sql", "SELECT 1;")
    done = on_terminal(endpoint, b"yes\n")
    assert (done.status, actions(endpoint)) == (0, ["plan", "migrate"])
    assert done.err.splitlines() == [
        "  001  001_a.sql  transaction",
        "1 migration would be applied: 001_a.sql.",
        "State: empty.",
        f"Function {NAME} in eu-central-1 will apply 1 migration.",
        "Type yes to continue: ",
    ]
    assert done.out.splitlines()[1:] == ["Applied 1 migration to reach 001.", "State: up_to_date, at 001."]


@pytest.mark.parametrize("typed", [b"no\n", b"\n", b"\x04", b"Yes!\n", b"\xff\xfe\n"])
def test_anything_but_yes_applies_nothing(
    endpoint: Endpoint, folder: Folder, database: Database, typed: bytes
) -> None:
    """Another reply, or the end of the input, ends with 1, and the function is not asked to migrate."""
    folder.write("001_a.sql", "CREATE TABLE a (i int);")
    done = on_terminal(endpoint, typed, "--json")
    assert (done.status, json.loads(done.out)["code"], actions(endpoint)) == (1, "interrupted", ["plan"])
    assert database.query("SELECT to_regclass('a')") == [(None,)]


def test_no_question_where_it_is_not_needed(endpoint: Endpoint, folder: Folder) -> None:
    """--yes, --dry-run, and a database with nothing to apply are no reason to ask."""
    assert on_terminal(endpoint, b"no\n").out.startswith("The database is empty")
    folder.write("001_a.sql", "SELECT 1;")
    assert on_terminal(endpoint, b"no\n", "--dry-run").status == 0
    assert on_terminal(endpoint, b"no\n", "--yes").status == 0
    assert actions(endpoint) == ["plan", "migrate", "migrate", "migrate"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])
def test_interruption_says_that_the_function_goes_on(endpoint: Endpoint, number: int, options: list[str]) -> None:
    """Ctrl-C and SIGTERM end the waiting, not the function, and say so."""
    called, released = threading.Event(), threading.Event()

    def respond(_event: Any) -> Answer | None:
        called.set()
        released.wait(30)
        return None

    endpoint.respond = respond
    environ = {**os.environ, **CREDENTIALS, "AWS_ENDPOINT_URL_LAMBDA": endpoint.url}
    words = command("migrate", *FUNCTION, *options)
    with subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ
    ) as process:
        assert called.wait(30)
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    released.set()
    said = f"interrupted; the function goes on: python db_setup status --function {NAME}"
    assert (process.returncode, err) == (130, "" if options else f"error: {said}\n")
    if options:
        check_output(options, out)
        assert (json.loads(out)["code"], said in json.loads(out)["message"]) == ("interrupted", True)


def without(package: str, *words: str, **environ: str) -> Done:
    """Run the command line where a package is not installed."""
    program = f"import runpy, sys; sys.modules[{package!r}] = None; runpy.run_path({str(PRODUCT)!r}, run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, check=False,
        env={**os.environ, **CREDENTIALS, **environ},
    )  # fmt: skip
    return Done(done.returncode, done.stdout, done.stderr)


def test_driver_is_not_needed(endpoint: Endpoint) -> None:
    """A machine without psycopg2 can call the function."""
    done = without("psycopg2", "status", *FUNCTION, AWS_ENDPOINT_URL_LAMBDA=endpoint.url)
    assert (done.status, done.err) == (0, "")


def test_boto3_is_not_installed(endpoint: Endpoint) -> None:
    """Where boto3 is missing the error says how to install it; a local run does not miss it."""
    done = without("boto3", "status", f"--function={NAME}", AWS_ENDPOINT_URL_LAMBDA=endpoint.url)
    assert done.status == 1
    assert re.fullmatch(r"error: boto3 is not installed\nFix: \S*python\S* -m pip install boto3\n\[missing_package\]\n", done.err)
    assert "boto3" not in without("boto3", "status", DATABASE_URL="").err


def test_answer_of_many_files_fits(remote: Cli, endpoint: Endpoint, folder: Folder) -> None:
    """The answer about 10,000 pending files stays far below Lambda's 6 MB."""
    sizes = []
    real = endpoint.respond
    for number in range(10_000):
        folder.write(f"{number:05}_{'a_rather_long_description' * 2}.sql")

    def respond(event: Any) -> Answer | None:
        answer = real(event)
        assert answer is not None
        sizes.append(len(json.dumps(answer.body)))
        return answer

    endpoint.respond = respond
    assert remote("status").out.count("\n") == 10_002
    assert sizes[0] < 2_300_000  # two names and the fields of each; a third name would be over


@pytest.fixture
def two_files(folder: Folder, remote_here: Cli) -> Folder:
    """Write two files with their down migrations, and apply them by the function."""
    for number, name in enumerate("ab", 1):
        folder.write(f"00{number}_{name}.sql", f"CREATE TABLE {name} (i int);")
        folder.write(f"00{number}_{name}.down.sql", f"DROP TABLE {name};")
    assert remote_here("migrate").status == 0
    return folder


def test_rollback_whose_answer_was_lost(remote_here: Cli, endpoint: Endpoint, two_files: Folder, database: Database) -> None:
    """Where a function has done a step, and its answer was lost, the same command does no other step until it was answered."""
    words, real = ("rollback", "--steps", "1", "--yes"), endpoint.respond
    endpoint.respond = lambda event: real(event) and None
    assert remote_here(*words).err.splitlines()[-1] == "[outcome_unknown]"
    endpoint.respond = real
    for said, left in (("run 2 has rolled back 002_b.sql", 1), ("Rolled back 1 migration: 001_a.sql", 0)):
        assert said in remote_here(*words).out
        assert database.query("SELECT count(*) FROM db_setup.history") == [(left,)]
    asked, told = {"action": "rollback", "target_revision": "head", "confirm": True, "heard": False, "steps": 1}, {"action": "rollback"}
    assert endpoint.events[1:] == [asked, asked, {**told, "heard": 3}, asked, {**told, "heard": 4}]


def test_function_that_cannot_be_told(remote_here: Cli, endpoint: Endpoint, two_files: Folder, database: Database) -> None:
    """Where the function cannot be told that its answer was heard, the answer stands, and a warning says so."""
    real = endpoint.respond
    endpoint.respond = lambda event: refusal(429, "TooManyRequestsException") if event.get("heard") else real(event)
    done = remote_here("rollback", "--yes")
    assert (done.status, "Rolled back 1 migration: 002_b.sql" in done.out) == (0, True)
    assert "warning: the end of the run could not be recorded: the function shop-initializer was not called" in done.err


def test_failed_rollback_is_that_of_a_local_run(remote_here: Cli, two_files: Folder) -> None:
    """A rollback that the function could not do says in JSON what went back and what is left."""
    two_files.write("001_a.down.sql", "DROP TABLE nowhere;")
    body = json.loads(remote_here("rollback", "--target", "base", "--yes", "--json").out)
    assert (body["rolled_back_migrations"], body["left_migrations"]) == (["002_b.sql"], ["001_a.sql"])
    assert (body["code"], body["failed_migration"], body["applied_migrations"]) == ("migration_failed", "001_a.sql", [])
