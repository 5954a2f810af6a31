"""Connection: one session on a fit primary server; the only module that uses psycopg2's connections.

The driver's errors become ours here: ServerError for what the server says, ConnectionLost for the rest.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol

import psycopg2
from psycopg2 import errorcodes
from psycopg2.extensions import (
    TRANSACTION_STATUS_IDLE,
    TRANSACTION_STATUS_INERROR,
    TRANSACTION_STATUS_INTRANS,
    adapt,
    encrypt_password,
)

from migrator.database.credentials import Credentials
from migrator.database.deadline import Deadline
from migrator.database.watchdog import Watchdog
from migrator.errors import ConnectionLost, ReadOnlyServer, ServerAway, ServerError, UnsupportedServer

if TYPE_CHECKING:
    import socket

OLDEST_SERVER = 120000
_SAFE_PATH = "pg_catalog, pg_temp"
SAFE_PATH_SQL = f"SET search_path = {_SAFE_PATH}"
"""Until a file's own session begins: else an operator that somebody has made in public could be found first, and its
function would run with the rights of the user who applies the migrations."""
_GUARD = {
    0: {
        "tcp_keepalives_idle": 5, "tcp_keepalives_interval": 5, "tcp_keepalives_count": 5,
        "tcp_user_timeout": 30_000, "idle_in_transaction_session_timeout": 0,
    },
    140000: {"client_connection_check_interval": 500, "idle_session_timeout": 0},
    170000: {"transaction_timeout": 0},
}  # fmt: skip
"""Settings by the first version that has them. The session of a killed runner ends at once, and that of one that is
gone without a word, such as a Lambda whose network was taken away, within a minute: all of these are needed, since
unacknowledged data keep the keepalives off, and an idle session has none. The time limits that role or database may
have would end the session of a runner at work."""
_OWN_GUARD = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 30_000}
"""The same for the runner, whose server may be gone without a word, in the driver's words."""
_COPY_CHUNK = 65536
_LONGEST_TEXT = 10_000  # characters of an error: a value of a statement in it may be as large as that
_SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"  # a question that every server answers with one byte
_TO_ANSWER = 1.0  # seconds
_TO_SHARE = 2.0  # seconds, for a pooler to give a second session
_LEAST_TO_CONNECT = 2  # seconds, which the driver takes for its least, too
_INTERRUPTIBLE = 0.2  # seconds that are waited on after an interruption
_READY = frozenset({TRANSACTION_STATUS_IDLE, TRANSACTION_STATUS_INTRANS, TRANSACTION_STATUS_INERROR})
_LOST_STATES = (  # the server ends or has ended the session
    errorcodes.ADMIN_SHUTDOWN,
    errorcodes.CRASH_SHUTDOWN,
    errorcodes.CANNOT_CONNECT_NOW,
    errorcodes.CLASS_CONNECTION_EXCEPTION,
)

Row = tuple[Any, ...]


class Readable(Protocol):
    """What COPY reads from."""

    def read(self, size: int = -1, /) -> str:
        """Return up to ``size`` characters, none at the end."""


class _Sink:
    """Takes data and keeps none."""

    def write(self, data: str) -> int:
        """Say that all of it was written."""
        return len(data)


class Connection:
    """A session in autocommit mode, with the settings every message of ours relies on.

    Until it is closed, a watchdog bounds each of its messages by the deadline.
    """

    DEFAULTS_SQL = """SELECT pg_catalog.set_config(pg_catalog.split_part(setting, '=', 1),
        pg_catalog.substr(setting, pg_catalog.strpos(setting, '=') OPERATOR(pg_catalog.+) 1), false)
    FROM (SELECT pg_catalog.unnest(s.setconfig) AS setting FROM pg_catalog.pg_db_role_setting s
        LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) s.setdatabase
        LEFT JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) s.setrole
        WHERE coalesce(d.datname, pg_catalog.current_database()) OPERATOR(pg_catalog.=) pg_catalog.current_database()
        AND coalesce(r.rolname, SESSION_USER) OPERATOR(pg_catalog.=) SESSION_USER
        ORDER BY s.setrole OPERATOR(pg_catalog.<>) 0, s.setdatabase OPERATOR(pg_catalog.<>) 0) defaults"""
    """Gives the session what a new one would begin with, after a file has changed that (ALTER DATABASE ... SET)."""

    def __init__(self, raw: Any, lock_timeout: float, deadline: Deadline) -> None:
        self._raw = raw
        self.lock_timeout = lock_timeout
        self._deadline = deadline
        self.pid: int = raw.info.backend_pid
        self.server_version: int = raw.server_version
        self.has_made_users = False
        self.is_pooled = False
        """Whether a pooler stands between, so that the server's session may outlive this one."""
        self.shares_sessions = False
        """Whether that gives the session to others after each transaction: then nothing may stay in it."""
        self.token = os.urandom(8).hex()
        """What the run lock knows this session by."""
        self.holds_run_lock = "false"
        """The SQL that is true while this session holds the run lock; of one that has not taken it, it never is."""
        self.message_at_work = 0
        self._messages = 0
        self._lead = 0  # characters of a message that go before what was to be sent
        self._watchdog = Watchdog(self, deadline).start()

    def rows(self, sql: str) -> list[Row]:
        """Send one message and return the rows of its last statement; ``%`` has no meaning in it."""
        with self._translated(), self._raw.cursor() as cursor:
            cursor.execute(self._led(sql))
            return cursor.fetchall() if cursor.description else []

    def run(self, sql: str) -> None:
        """Send one message, and let its rows go."""
        with self._translated(), self._raw.cursor() as cursor:
            cursor.execute(self._led(sql))

    def _led(self, sql: str) -> str:
        """Return a message with the settings that it relies on, where none can be made in an earlier one."""
        lead = f"{self.safe_path_sql}; {self.settings_sql()}; " if self.shares_sessions and self.idle else ""
        self._lead = len(lead)
        return lead + sql

    def copy(self, sql: str, data: Readable) -> None:
        """Stream the data of a COPY ... FROM STDIN statement."""
        with self._translated(), self._raw.cursor() as cursor:
            cursor.copy_expert(sql, data, _COPY_CHUNK)

    def copy_out(self, sql: str) -> None:
        """Run a COPY ... TO STDOUT statement and let its data go, as the rows of a SELECT go."""
        with self._translated(), self._raw.cursor() as cursor:
            cursor.copy_expert(sql, _Sink(), _COPY_CHUNK)

    def literal(self, value: object) -> str:
        """Return ``value`` as an SQL literal, NULL for None.

        It means the same whatever a file has set standard_conforming_strings to, or will have set it to.
        """
        if isinstance(value, str) and "\0" not in value:
            doubled = value.replace("'", "''")
            return f"'{doubled}'" if "\\" not in doubled else "E'" + doubled.replace("\\", "\\\\") + "'"
        adapted = adapt(value)
        if hasattr(adapted, "prepare"):
            adapted.prepare(self._raw)
        return str(adapted.getquoted().decode())

    def literals(self, *values: object) -> str:
        """Return values as SQL literals with commas between them."""
        return ", ".join(map(self.literal, values))

    def verifier(self, password: str, user: str) -> str:
        """Return what the server keeps of a password, computed here: the password itself is never sent."""
        return str(encrypt_password(password, user, self._raw, "scram-sha-256"))

    @property
    def idle(self) -> bool:
        """Return whether the session is outside any transaction."""
        return bool(self._raw.info.transaction_status == TRANSACTION_STATUS_IDLE)

    @property
    def in_transaction(self) -> bool:
        """Return whether the session is in a transaction that has not failed."""
        return bool(self._raw.info.transaction_status == TRANSACTION_STATUS_INTRANS)

    @property
    def standard_strings(self) -> bool:
        """Return standard_conforming_strings as it is now: whether a backslash means nothing in a plain string."""
        return bool(self._raw.get_parameter_status("standard_conforming_strings") != "off")

    @property
    def encoding(self) -> str:
        """Return the client_encoding as it is now, in which the server reads what it is sent."""
        return str(self._raw.get_parameter_status("client_encoding"))

    def rollback(self) -> None:
        """End whatever transaction there is, sending nothing when there is none."""
        if not self._raw.closed and not self.idle:
            self.run(f"ROLLBACK; {self.reset_sql()}" if self.shares_sessions else "ROLLBACK")
            self.take_notices()  # of what did not happen

    def take_notices(self) -> list[str]:
        """Return the server's notices since the last call (at most the driver's last 50)."""
        notices = [str(notice).strip() for notice in self._raw.notices]
        del self._raw.notices[:]
        return notices

    def settings_sql(self) -> str:
        """Return the statements that make the session's settings; the time left goes into statement_timeout.

        What strings mean is left as the database has it, since psql reads files so, too. SET after connecting, never
        ``options=``: poolers drop or reject that.
        """
        return "; ".join(f"{self.setting} {name} = {value}" for name, value in self._settings())

    def _settings(self) -> list[tuple[str, int]]:
        wait, left = max(1, int(self.lock_timeout * 1000)), self._deadline.remaining_ms()
        guard = (pair for since, pairs in _GUARD.items() if self.server_version >= since for pair in pairs.items())
        return [("lock_timeout", wait), ("statement_timeout", left), *guard]

    def first_settings_sql(self) -> str:
        """Return what makes the settings in the first message, while it is not known who else will get the session.

        Behind a pooler, which tells another process number than the server, they end with the message.
        """
        pooled = f"pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.<>) {self.pid}"
        pairs = (("search_path", _SAFE_PATH), *self._settings())
        return "SELECT " + ", ".join(
            f"pg_catalog.set_config('{name}', '{value}', {pooled})" for name, value in pairs
        )

    @property
    def setting(self) -> str:
        """The word that makes a setting of ours: for the session, or for a transaction where no session is ours."""
        return "SET LOCAL" if self.shares_sessions else "SET"

    @property
    def safe_path_sql(self) -> str:
        """The statement that makes the search_path one in which nobody else has made anything."""
        return SAFE_PATH_SQL.replace("SET", self.setting, 1)

    def require_session(self, what: str) -> None:
        """Raise UnsuitablePooler where no session is ours, for what needs one."""
        if self.shares_sessions:
            from migrator.database.pooler import needs_session  # noqa: PLC0415 - for failures

            raise needs_session(what)

    def reset_sql(self, *, keep_prepared: bool = False) -> str:
        """Return what makes the session new: DISCARD ALL but for the advisory locks, and prepared statements if asked.

        A server before 12.21, 13.17, 14.14, 15.9, 16.5 and 17.1 needs RESET ROLE by itself: else a later rollback
        brings the role back, and the role that ALTER ROLE ... SET role gives to a login is lost.
        """
        return (
            "CLOSE ALL; RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; UNLISTEN *; DISCARD TEMP; "
            f"DISCARD SEQUENCES; {'' if keep_prepared else 'DEALLOCATE ALL; '}{self.settings_sql()}"
        )

    def cancel(self, message: int) -> None:
        """Ask the server to stop a message, if it is at work with that; called from another thread.

        The driver asks without a time limit, and no other thread runs meanwhile: only a server that answers is asked.
        """
        try:
            if self._server_answers() and self.message_at_work == message:
                self._raw.cancel()
        except psycopg2.Error as error:
            raise ConnectionLost(f"the statement could not be cancelled: {_text(error)}") from error

    def abort(self) -> None:
        """Cut the connection under a statement that ignores a cancel; called from another thread."""
        with self._socket() as duplicate, suppress(OSError):  # it may be cut already
            duplicate.shutdown(2)  # SHUT_RDWR

    def _socket(self) -> socket.socket:
        import socket  # noqa: PLC0415 - takes 2 ms to load

        try:
            return socket.socket(fileno=os.dup(self._raw.fileno()))
        except psycopg2.Error as error:
            raise ConnectionLost(f"the connection is closed: {_text(error)}") from error

    def _server_answers(self) -> bool:
        """Return whether the server answers a new connection, before any login; whatever it says."""
        import socket  # noqa: PLC0415 - takes 2 ms to load

        with self._socket() as mine, socket.socket(mine.family) as other:
            other.settimeout(_TO_ANSWER)
            try:
                other.connect(mine.getpeername())
                other.sendall(_SSL_REQUEST)
                return bool(other.recv(1))
            except OSError:
                return False

    def close(self) -> None:
        """Close the session; what is not committed is rolled back by the server."""
        self._watchdog.stop()
        self._raw.close()

    def _survives(self, error: psycopg2.Error) -> bool:
        """Return whether an error with the state of a lost connection is about another one, such as that of dblink.

        The server has gone on with the session then, and says where in its own code the error was raised; an error that
        a pooler has made for a server that it has lost does not say that.
        """
        return bool(error.diag.source_function) and self._raw.info.transaction_status in _READY

    @contextmanager
    def watched(self, deadline: Deadline) -> Iterator[None]:
        """Bound the messages of the block by another deadline, too."""
        watchdog = Watchdog(self, deadline).start()
        try:
            yield
        finally:
            watchdog.stop()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        self._messages += 1
        self.message_at_work = self._messages
        try:
            yield
        except psycopg2.Error as error:
            raise self._translate(error) from error
        finally:
            self.message_at_work = 0

    def _translate(self, error: psycopg2.Error) -> ServerError | ConnectionLost:
        state = error.pgcode or ""
        if self._raw.closed or (state.startswith(_LOST_STATES) and not self._survives(error)):
            return ConnectionLost(
                f"the connection to the database was lost: {_text(error)}",
                fix="run it again: what was committed is recorded, and the run carries on from there",
            )
        diag = error.diag
        position = max(0, int(diag.statement_position or 0) - self._lead)
        said = (diag.message_primary or _text(error), diag.message_detail, diag.message_hint, diag.context)
        what, detail, hint, context = ((text or "")[:_LONGEST_TEXT] for text in said)
        return ServerError(
            state, what, position=position, detail=detail, hint=hint, context=context,
            schema=diag.schema_name or "", table=diag.table_name or "",
        )  # fmt: skip


def connect(credentials: Credentials, lock_timeout: float, deadline: Deadline, label: str = "") -> Connection:
    """Open a session on the primary, ready for messages of ours; ``label`` says in application_name who asks.

    Raises ServerUnfit and its kinds: unreachable, too old, a standby, read-only, behind a pooler without transactions.
    """
    connection = Connection(_open(credentials, deadline, label), lock_timeout, deadline)
    try:
        _check(connection)
        if connection.is_pooled:
            _look_behind_pooler(connection, credentials, label)
    except BaseException as error:
        connection.close()
        if isinstance(error, ConnectionLost):  # before it was of any use
            raise ServerAway(f"no connection to {credentials.place}: {error.what}", fix=ServerAway.FIX) from error
        raise
    return connection


def connect_timeout(host: str) -> float:
    """Return how many seconds a server may take to answer; an Aurora Serverless that is paused takes 15 and more."""
    return 60.0 if ".rds.amazonaws.com" in host else 15.0


def _open(credentials: Credentials, deadline: Deadline, label: str) -> Any:
    named = {"application_name": f"db_setup {label}".strip()[:63], **_OWN_GUARD}
    arguments: dict[str, Any] = {**named, **dict(credentials.parameters)}
    seconds = min(connect_timeout(credentials.host), deadline.remaining())
    arguments.setdefault("connect_timeout", max(_LEAST_TO_CONNECT, int(seconds)))
    opening = _Opening(
        host=credentials.host,
        port=credentials.port,
        dbname=credentials.name,
        user=credentials.user,
        password=credentials.password or None,
        client_encoding="UTF8",
        **arguments,
    )
    try:
        raw = opening.result(deadline)
    except (psycopg2.Error, UnicodeError, ValueError) as error:
        from migrator.database.connect_errors import unreachable  # noqa: PLC0415 - for failures

        raise unreachable(credentials, _text(error)) from None  # the driver's error may quote its arguments
    raw.autocommit = True
    return raw


class _Opening(threading.Thread):
    """Opens a connection in a thread of its own.

    The driver's time limit is one for each address of a host, and none for the look-up of its name or for what it sends
    after the login.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(name="db_setup connect", daemon=True)
        self._arguments = arguments
        self._raw: Any = None
        self._error: Exception | None = None
        self._given_up = False
        self._settling = threading.Lock()

    def run(self) -> None:
        """Open it; close it if nobody waits any more."""
        raw = error = None
        try:
            raw = psycopg2.connect(**self._arguments)
        except (psycopg2.Error, UnicodeError, ValueError) as caught:
            error = caught
        with self._settling:
            self._raw, self._error = raw, error
            if self._given_up and raw is not None:
                raw.close()

    def result(self, deadline: Deadline) -> Any:
        """Return the connection; raises the driver's error, or why the time is over."""
        self.start()
        ends = time.monotonic() + max(_LEAST_TO_CONNECT, deadline.remaining())
        while self.is_alive() and not deadline.interrupted and (left := ends - time.monotonic()) > 0:
            self.join(min(left, _INTERRUPTIBLE))
        with self._settling:
            self._given_up = self._raw is None
        if self._error is not None:
            raise self._error
        if self._raw is None:
            raise deadline.why_over()
        return self._raw


def _check(connection: Connection) -> None:
    if connection.server_version < OLDEST_SERVER:
        version = connection.server_version // 10000
        raise UnsupportedServer(f"the server is PostgreSQL {version}", fix="upgrade it to PostgreSQL 12 or newer")
    standby, read_only, pid, connection.has_made_users = connection.rows(
        f"{connection.first_settings_sql()}; SELECT pg_catalog.pg_is_in_recovery(), "
        "pg_catalog.current_setting('transaction_read_only') = 'on', pg_catalog.pg_backend_pid(), "
        "EXISTS (SELECT FROM pg_catalog.pg_shdescription WHERE pg_catalog.starts_with(description, pg_catalog.concat("
        "'made by db_setup for database \"', pg_catalog.replace(pg_catalog.current_database(), '\"', '\"\"'), '\":')))"
    )[0]
    if standby or read_only:
        raise ReadOnlyServer(
            "the server is a standby (a reader endpoint)" if standby else "the session is read-only",
            fix="use the writer endpoint" if standby else "turn default_transaction_read_only off for this user",
        )
    connection.pid, connection.is_pooled = pid, pid != connection.pid


def _look_behind_pooler(connection: Connection, credentials: Credentials, label: str) -> None:
    """Find out whose sessions these are, and make the settings where they are ours."""
    from migrator.database.pooler import shares_sessions  # noqa: PLC0415 - for those who have one

    patience = Deadline(_TO_SHARE)

    def open_another() -> Connection:
        return Connection(_open(credentials, patience, label), connection.lock_timeout, patience)

    connection.shares_sessions = shares_sessions(connection, open_another, patience)
    if not connection.shares_sessions:
        connection.run(f"{SAFE_PATH_SQL}; {connection.settings_sql()}")


def _text(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
