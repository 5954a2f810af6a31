"""Credentials: where the database is and who connects, from a URL, variables or a secret, and how TLS protects that.

No message holds a password, or a URL that may hold one. A remote database is verified where there is a certificate to
verify it with, encrypted otherwise, and never silently plain.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from migrator.errors import DbSetupError, InvalidSetting, NoDatabase, SecretError
from migrator.settings import Settings

DEFAULT_PORT = 5432
_MAX_PORT = 65535
_REFUSED = frozenset({
    "options", "service", "servicefile", "passfile", "replication",
    "client_encoding",  # always UTF8
    "hostaddr",  # would lead a connection to "localhost" elsewhere, unencrypted
})  # fmt: skip
# libpq would take what follows such a character in a password for a host, a port or a database, which messages show.
_NOT_ENCODED = re.compile(r"[#\0]|[@/?].*@", re.DOTALL)
_BROKEN_ENCODING = re.compile("%(?![0-9a-fA-F]{2})|%00")
_URL_FIX = "write it as postgresql://USER:PASSWORD@HOST:5432/DATABASE, with special characters %-encoded"


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
        """Whether the host is the folder of a Unix socket."""
        return self.host.startswith("/")

    @property
    def is_local(self) -> bool:
        """Whether the connection cannot leave this machine."""
        return self.is_socket or self.host in {"localhost", "127.0.0.1", "::1"}


def from_url(url: str) -> Credentials:
    """Read a URL as libpq does; raises InvalidSetting, without the URL, when a part is not usable."""
    found = {key: value for key, value in _parse(url).items() if value}
    _check_parameters(_REFUSED & found.keys())
    host, user, port, password = (found.pop(key, "") for key in ("host", "user", "port", "password"))
    if "," in host + port:
        raise InvalidSetting("DATABASE_URL names several hosts", fix=_URL_FIX)
    missing = [what for what, value in (("host", host), ("user", user)) if not value]
    if missing:
        raise InvalidSetting(f"DATABASE_URL has no {' and no '.join(missing)}", fix=_URL_FIX)
    number = port_number(port, "DATABASE_URL", InvalidSetting)
    return Credentials(host, number, found.pop("dbname", user), user, password, tuple(sorted(found.items())))


def _parse(url: str) -> dict[str, str]:
    scheme, _, rest = url.partition("://")
    if scheme.lower().partition("+")[0] not in {"postgresql", "postgres"}:
        raise InvalidSetting("DATABASE_URL is not a postgresql:// URL", fix=_URL_FIX)
    what = "DATABASE_URL has a user, password, host, port or parameter that cannot be read"
    if not _NOT_ENCODED.search(rest):
        found = _read_by_libpq(rest)
        if found is not None:
            return found
        if _BROKEN_ENCODING.search(rest):
            what = "DATABASE_URL has a broken %-encoding"
        else:
            query, password, _ = rest.partition("?")[2].partition("password=")  # what follows may be of the password
            pairs = filter(None, [*query.split("&"), *(["password"] if password else [])])
            names = {pair.partition("=")[0] if "=" in pair else "" for pair in pairs}
            _check_parameters(name for name in names if _read_by_libpq(f"/?{name}=") is None)
    raise InvalidSetting(what, fix=_URL_FIX)


def _read_by_libpq(rest: str) -> dict[str, str] | None:
    """Return the parts of a URL by libpq's names, None when libpq refuses it: its own message may quote a password."""
    from psycopg2 import Error  # noqa: PLC0415 - the driver is not needed to lint, or to call a deployed function
    from psycopg2.extensions import parse_dsn  # noqa: PLC0415

    try:
        return parse_dsn(f"postgresql://{rest}")
    except (Error, UnicodeError):
        return None


def _check_parameters(refused: Iterable[str]) -> None:
    names = sorted(name if name.isidentifier() else "(not a name)" for name in refused)
    if names == ["options"]:
        raise InvalidSetting(
            "DATABASE_URL uses options=, which poolers drop or reject",
            fix="leave it out; settings belong into a migration (ALTER DATABASE ... SET ...)",
        )
    if names:
        raise InvalidSetting(
            f"DATABASE_URL has an unknown parameter: {', '.join(names)}",
            fix=f"use libpq's connection parameters, without {', '.join(sorted(_REFUSED))}",
        )


def port_number(text: str, source: str, error: type[DbSetupError]) -> int:
    """Return a TCP port; empty means 5432. Raises ``error`` that names where the text came from."""
    if not text:
        return DEFAULT_PORT
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and 0 < int(text) <= _MAX_PORT):
        shown = f'"{text}"' if text.isdigit() else "not a number"  # it may be the password, with an @ that is missing
        raise error(f"the port in {source} is {shown}", fix=f"set it to a number from 1 to {_MAX_PORT}")
    return int(text)


def from_variables(settings: Settings) -> Credentials:
    """Read DB_HOST, DB_NAME, DB_USER, DB_PASSWORD and DB_PORT; raises NoDatabase when none is there."""
    needed = {"DB_HOST": settings.host, "DB_NAME": settings.name, "DB_USER": settings.user}
    missing = [name for name, value in needed.items() if not value]
    if len(missing) == len(needed):
        raise NoDatabase(
            "no database is given",
            fix="set DATABASE_URL, or DB_SECRET_NAME, or DB_HOST, DB_NAME, DB_USER and DB_PASSWORD; "
            "on a laptop, --database-url URL, or --local for a PostgreSQL of its own",
        )
    if missing:
        raise InvalidSetting(f"{', '.join(missing)} not set", fix="set it with the other DB_ variables")
    port = port_number(settings.port, "DB_PORT", InvalidSetting)
    return Credentials(settings.host, port, settings.name, settings.user, settings.password)


def from_secret(secret: Mapping[str, object], label: str, settings: Settings) -> Credentials:
    """Read the JSON that RDS keeps; DB_HOST, DB_PORT and DB_NAME say what a secret does not, or overrule it.

    Raises SecretError naming the fields that are missing or of the wrong type.
    """
    engine = str(secret.get("engine", "postgres"))
    if "postgres" not in engine:
        raise SecretError(
            f'the secret {label} is for engine "{engine}"', fix="name the secret of a PostgreSQL database"
        )
    found = {
        "host": settings.host or secret.get("host"),
        "dbname": settings.name or secret.get("dbname"),
        "username": secret.get("username"),
        "password": secret.get("password"),
    }
    if settings.iam_auth:
        found["password"] = "-"  # a token takes its place
    missing = [key for key, value in found.items() if not (isinstance(value, str) and value)]
    if missing:
        raise SecretError(
            f"the secret {label} has no usable {', '.join(missing)}",
            fix="add it to the secret's JSON (as text)"
            + ("; DB_HOST and DB_NAME can say host and dbname" if {"host", "dbname"} & set(missing) else ""),
        )
    stored = secret.get("port")
    port = port_number(settings.port or ("" if stored is None else str(stored)), f"the secret {label}", SecretError)
    return Credentials(str(found["host"]), port, str(found["dbname"]), str(found["username"]), str(found["password"]))


BUNDLE_NAME = "global-bundle.pem"  # the name AWS publishes the RDS certificates under
_LACKS = {
    "disable": "the connection is not encrypted",
    "allow": "the connection may be unencrypted",
    "prefer": "the connection may be unencrypted",
    "verify-ca": "the server's host name is not verified",
}
_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


def secured(credentials: Credentials, settings: Settings, base: str | os.PathLike[str]) -> tuple[Credentials, str]:
    """Return the credentials with their TLS parameters, and a warning when less than verify-full was chosen.

    ``base`` is the folder in which a certificate bundle is looked for. Raises InvalidSetting.
    """
    parameters = dict(credentials.parameters)
    if credentials.is_local and not settings.ssl_mode:
        return credentials, ""
    certificate = parameters.get("sslrootcert") or settings.ssl_root_cert or _bundle(base)
    if certificate:
        _check_readable(certificate)
        parameters["sslrootcert"] = certificate
    for source, mode in (("DB_SSL_MODE", settings.ssl_mode), ("sslmode in the URL", parameters.get("sslmode", ""))):
        _check_mode(source, mode)
    by_default = "verify-full" if certificate else "require"
    parameters["sslmode"] = parameters.get("sslmode") or settings.ssl_mode or by_default
    chosen = credentials._replace(parameters=tuple(sorted(parameters.items())))
    return chosen, _warning(parameters["sslmode"])


def _check_mode(source: str, mode: str) -> None:
    if mode and mode not in _MODES:
        raise InvalidSetting(f'{source} is "{mode}"', fix=f"use one of: {', '.join(_MODES)}")


def _bundle(base: str | os.PathLike[str]) -> str:
    found = os.path.join(base, BUNDLE_NAME)
    return found if os.path.isfile(found) else ""


def _check_readable(certificate: str) -> None:
    if certificate != "system" and not os.path.isfile(certificate):
        raise InvalidSetting(
            f"the root certificate is no file: {certificate}",
            fix="give DB_SSL_ROOT_CERT (or sslrootcert in the URL) the path of the RDS certificate bundle",
        )


def _warning(mode: str) -> str:
    if mode == "verify-full":
        return ""
    lacks = _LACKS.get(mode, "the server's certificate is not verified")
    return (
        f"TLS mode {mode}: {lacks}; put the RDS bundle ({BUNDLE_NAME}) next to initializer.py, or set DB_SSL_ROOT_CERT"
    )
