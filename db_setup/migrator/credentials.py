"""Credentials: where the database is and who asks, from a URL, variables or a secret. Pure.

Nothing in here puts a password, or a URL that may hold one, into a message.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from migrator.errors import DbSetupError, InvalidSetting, NoDatabase, SecretError
from migrator.settings import Settings

DEFAULT_PORT = 5432
_MAX_PORT = 65535
_PARAMETERS = frozenset({
    "sslmode", "sslrootcert", "sslcert", "sslkey", "sslnegotiation", "channel_binding", "gssencmode",
    "connect_timeout", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count",
    "target_session_attrs", "host", "port", "user", "dbname",
})  # fmt: skip
_URL_CURE = "write it as postgresql://USER:PASSWORD@HOST:5432/DATABASE, with special characters %-encoded"


class Credentials(NamedTuple):
    """How to reach one database; ``parameters`` are libpq's own, by libpq's names."""

    host: str
    port: int
    name: str
    user: str
    password: str
    parameters: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        """Return the place without the password."""
        return f"Credentials({self.place})"

    @property
    def place(self) -> str:
        """Return "database at host:port", for people."""
        where = self.host if self.is_socket else f"{self.host}:{self.port}"
        return f'database "{self.name}" at {where} as user "{self.user}"'

    @property
    def is_socket(self) -> bool:
        """Tell whether the host is the folder of a Unix socket."""
        return self.host.startswith("/")

    @property
    def is_local(self) -> bool:
        """Tell whether the connection cannot leave this machine."""
        return self.is_socket or self.host in {"localhost", "127.0.0.1", "::1"}


def from_url(url: str) -> Credentials:
    """Read a URL as libpq does; raises InvalidSetting, without the URL, when a part is not usable."""
    parts, port = _split(url)
    parameters = dict(parse_qsl(parts.query.replace("+", "%2B"), keep_blank_values=True))
    _check_parameters(parameters)
    if "," in parameters.get("host", ""):
        raise InvalidSetting("DATABASE_URL names several hosts", cure=_URL_CURE)
    host = parameters.pop("host", "") or unquote(parts.hostname or "")
    user = parameters.pop("user", "") or unquote(parts.username or "")
    name = parameters.pop("dbname", "") or unquote(parts.path.removeprefix("/"))
    number = port_number(parameters.pop("port", "") or port, "DATABASE_URL", InvalidSetting)
    missing = [what for what, value in (("a host", host), ("a user", user)) if not value]
    if missing:
        raise InvalidSetting(f"DATABASE_URL has no {' and no '.join(w.split()[1] for w in missing)}", cure=_URL_CURE)
    return Credentials(
        host, number, name or user, user, unquote(parts.password or ""), tuple(sorted(parameters.items()))
    )


def _split(url: str) -> tuple[SplitResult, str]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InvalidSetting("DATABASE_URL has an invalid host or port", cure=_URL_CURE) from None
    if parts.scheme.partition("+")[0] not in {"postgresql", "postgres"}:
        raise InvalidSetting("DATABASE_URL is not a postgresql:// URL", cure=_URL_CURE)
    if "@" in parts.query or "@" in parts.path:
        raise InvalidSetting("DATABASE_URL has a ? or / before its host", cure=_URL_CURE)
    if parts.fragment or "," in parts.netloc.rpartition("@")[2]:
        raise InvalidSetting("DATABASE_URL has a # in it or names several hosts", cure=_URL_CURE)
    return parts, "" if port is None else str(port)


def _check_parameters(parameters: Mapping[str, str]) -> None:
    unknown = sorted(name if name.isidentifier() else "(not a name)" for name in set(parameters) - _PARAMETERS)
    if unknown == ["options"]:
        raise InvalidSetting(
            "DATABASE_URL uses options=, which poolers drop or reject",
            cure="remove it; settings belong into a migration (ALTER DATABASE ... SET ...)",
        )
    if unknown:
        raise InvalidSetting(
            f"DATABASE_URL has an unknown parameter: {', '.join(unknown)}",
            cure=f"use only: {', '.join(sorted(_PARAMETERS))}",
        )


def port_number(text: str, source: str, error: type[DbSetupError]) -> int:
    """Return a TCP port; empty means 5432. Raises ``error`` that names where the text came from."""
    if not text:
        return DEFAULT_PORT
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and 0 < int(text) <= _MAX_PORT):
        raise error(f'the port in {source} is "{text}"', cure=f"set it to a number from 1 to {_MAX_PORT}")
    return int(text)


def from_variables(settings: Settings) -> Credentials:
    """Read DB_HOST, DB_NAME, DB_USER, DB_PASSWORD and DB_PORT; raises NoDatabase when none is there."""
    needed = {"DB_HOST": settings.host, "DB_NAME": settings.name, "DB_USER": settings.user}
    missing = [name for name, value in needed.items() if not value]
    if len(missing) == len(needed):
        raise NoDatabase(
            "no database is given",
            cure="set DATABASE_URL, or DB_SECRET_NAME, or DB_HOST, DB_NAME, DB_USER and DB_PASSWORD; "
            "on a laptop, --database-url URL, or --local for a PostgreSQL of its own",
        )
    if missing:
        raise InvalidSetting(f"{', '.join(missing)} not set", cure="set it beside the other DB_ variables")
    port = port_number(settings.port, "DB_PORT", InvalidSetting)
    return Credentials(settings.host, port, settings.name, settings.user, settings.password)


def from_secret(secret: Mapping[str, object], label: str, settings: Settings) -> Credentials:
    """Read the JSON that RDS keeps; DB_HOST, DB_PORT and DB_NAME say what a secret does not, or overrule it.

    Raises SecretError naming the fields that are missing or of the wrong type.
    """
    engine = str(secret.get("engine", "postgres"))
    if "postgres" not in engine:
        raise SecretError(
            f'the secret {label} is for engine "{engine}"', cure="name the secret of a PostgreSQL database"
        )
    found = {
        "host": settings.host or secret.get("host"),
        "dbname": settings.name or secret.get("dbname"),
        "username": secret.get("username"),
        "password": secret.get("password"),
    }
    missing = [key for key, value in found.items() if not (isinstance(value, str) and value)]
    if missing:
        raise SecretError(
            f"the secret {label} has no usable {', '.join(missing)}",
            cure="add it to the secret's JSON (as text)"
            + ("; DB_HOST and DB_NAME can say host and dbname" if {"host", "dbname"} & set(missing) else ""),
        )
    stored = secret.get("port")
    port = port_number(settings.port or ("" if stored is None else str(stored)), f"the secret {label}", SecretError)
    return Credentials(
        str(found["host"]), port, str(found["dbname"]), str(found["username"]), str(found["password"])
    )
