"""The settings of a run: variables of the environment as typed values. Pure.

A value that cannot be understood is refused with the name of its variable, before anything is touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from migrator.errors import InvalidSetting

DEFAULT_LOCK_TIMEOUT = 1.0
DEFAULT_REHEARSE_TIMEOUT = 60.0
KINDS = ("user", "table_creator", "readonly")


class UserSettings(NamedTuple):
    """One kind of limited user: its secret or IAM, if it is declared; its names, where they are set."""

    kind: str
    secret: str = ""
    iam: bool = False
    role: str = ""
    login: str = ""


class Settings(NamedTuple):
    """The settings of a run: times in seconds, empty text where a variable is not set."""

    database_url: str = ""
    host: str = ""
    port: str = ""
    name: str = ""
    user: str = ""
    password: str = ""
    secret_name: str = ""
    ssl_mode: str = ""
    ssl_root_cert: str = ""
    migrations_dir: str = ""
    auto_migrate: bool = True
    migration_timeout: float | None = None
    lock_timeout: float = DEFAULT_LOCK_TIMEOUT
    strict_order: bool = False
    allow_missing: bool = False
    adopt: str = "auto"
    verify: bool = False
    iam_auth: bool = False
    create_users: bool = True
    users: tuple[UserSettings, ...] = tuple(map(UserSettings, KINDS))
    schemas: tuple[str, ...] = ()
    revoke_public_connect: bool = False
    environment: str = ""
    rehearse_timeout: float = DEFAULT_REHEARSE_TIMEOUT
    lock_report: bool = False

    @property
    def declares_users(self) -> bool:
        """Whether a run has limited users to provision."""
        return self.create_users and any(user.secret or user.iam for user in self.users)

    def __repr__(self) -> str:
        """Return the public settings only; a URL and a password never reach a log."""
        return f"Settings(migrations_dir={self.migrations_dir!r}, secret_name={self.secret_name!r})"

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read the variables listed in db_setup/README.md; raises InvalidSetting that names the variable."""
        get = Variables(environ)
        return cls(
            database_url=get.text("DATABASE_URL"),
            host=get.text("DB_HOST"),
            port=get.text("DB_PORT"),
            name=get.text("DB_NAME"),
            user=get.text("DB_USER"),
            password=environ.get("DB_PASSWORD", ""),
            secret_name=get.text("DB_SECRET_NAME"),
            ssl_mode=get.text("DB_SSL_MODE"),
            ssl_root_cert=get.text("DB_SSL_ROOT_CERT"),
            migrations_dir=get.text("MIGRATIONS_DIR"),
            environment=get.text("MIGRATION_ENV"),
            auto_migrate=get.boolean("AUTO_MIGRATE", default=True),
            migration_timeout=get.seconds("MIGRATION_TIMEOUT"),
            lock_timeout=get.seconds("LOCK_TIMEOUT") or DEFAULT_LOCK_TIMEOUT,
            strict_order=get.boolean("STRICT_ORDER", default=False),
            allow_missing=get.boolean("ALLOW_MISSING", default=False),
            adopt=get.choice("ADOPT", ("auto", "manual")),
            verify=get.boolean("VERIFY", default=False),
            iam_auth=get.boolean("DB_IAM_AUTH", default=False),
            create_users=get.boolean("CREATE_USERS", default=True),
            users=_users(get),
            schemas=get.names("DB_SCHEMAS"),
            revoke_public_connect=get.boolean("REVOKE_PUBLIC_CONNECT", default=False),
            rehearse_timeout=get.seconds("REHEARSE_TIMEOUT") or DEFAULT_REHEARSE_TIMEOUT,
            lock_report=get.boolean("LOCK_REPORT", default=False),
        )


def _users(get: Variables) -> tuple[UserSettings, ...]:
    by_iam = get.names("DB_IAM_USERS")
    if unknown := [kind for kind in by_iam if kind not in KINDS]:
        raise InvalidSetting(f'DB_IAM_USERS names "{unknown[0]}"', fix=f"use only: {', '.join(KINDS)}")
    clear, old = get.text("DB_TABLE_CREATOR_SECRET_NAME"), get.text("DB_PROXY")
    if clear and old and clear != old:
        raise InvalidSetting("DB_PROXY and DB_TABLE_CREATOR_SECRET_NAME name two secrets", fix="set only one of them")
    secrets = (get.text("DB_USER_SECRET_NAME"), clear or old, get.text("DB_READONLY_SECRET_NAME"))
    return tuple(
        UserSettings(
            kind, secret, kind in by_iam, get.text(f"DB_{kind.upper()}_ROLE"), get.text(f"DB_{kind.upper()}_LOGIN")
        )
        for kind, secret in zip(KINDS, secrets, strict=True)
    )


_TRUE, _FALSE = frozenset({"true", "1", "yes", "on"}), frozenset({"false", "0", "no", "off"})
_UNITS = (("ms", 0.001), ("min", 60.0), ("s", 1.0))
_MAX_SECONDS = 7 * 86400.0


class Variables:
    """Reads typed values out of an environment; a value that is empty counts as not set."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def text(self, name: str) -> str:
        """Return the value without blanks around it; raises InvalidSetting for a NUL."""
        value = self._environ.get(name, "").strip()
        if "\x00" in value:
            raise InvalidSetting(f"{name} holds a NUL character", fix=f"set {name} again without it")
        return value

    def boolean(self, name: str, *, default: bool) -> bool:
        """Return the value of a switch; raises InvalidSetting."""
        value = self.text(name).lower()
        if value in _TRUE or value in _FALSE:
            return value in _TRUE
        if value:
            raise InvalidSetting(f'{name} is "{value}"', fix=f"set {name} to true or false")
        return default

    def choice(self, name: str, words: tuple[str, ...]) -> str:
        """Return one of the words; the first is the default."""
        value = self.text(name).lower() or words[0]
        if value not in words:
            raise InvalidSetting(f'{name} is "{value}"', fix=f"set {name} to {' or '.join(words)}")
        return value

    def names(self, name: str) -> tuple[str, ...]:
        """Return the names of a list with commas, each once."""
        value = self.text(name)
        return tuple(dict.fromkeys(filter(None, map(str.strip, value.split(","))))) if value else ()

    def seconds(self, name: str) -> float | None:
        """Return a length of time in seconds, or None; raises InvalidSetting."""
        value = self.text(name)
        return parse_seconds(value, name) if value else None


def parse_seconds(value: str, name: str) -> float:
    """Return a length of time in seconds; "300", "1.5", "500ms", "30s" and "5min" are understood."""
    number, scale = value.lower(), 1.0
    for unit, factor in _UNITS:
        if number.endswith(unit):
            number, scale = number.removesuffix(unit).strip(), factor
            break
    try:
        seconds = float(number) * scale
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= _MAX_SECONDS:
        raise InvalidSetting(
            f'{name} is "{value}"',
            fix=f'set {name} to a number of seconds above 0 and up to 7 days, such as "300" or "500ms"',
        )
    return seconds
