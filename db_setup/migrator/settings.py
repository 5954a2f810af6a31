"""What the environment and an event ask for, checked and named before anything is touched. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from migrator.errors import InvalidRequest, InvalidSetting
from migrator.light import NamedTuple

_TRUE, _FALSE = frozenset({"true", "1", "yes", "on"}), frozenset({"false", "0", "no", "off"})
_UNITS = (("ms", 0.001), ("min", 60.0), ("s", 1.0))
_MAX_SECONDS = 7 * 86400.0
DEFAULT_LOCK_TIMEOUT = 1.0
DEFAULT_REHEARSE_TIMEOUT = 60.0

ACTIONS = ("migrate", "plan", "status", "rehearse")
_REQUEST_KEYS = ("action", "target_revision", "dry_run", "secret_name")


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
    rehearse_timeout: float = DEFAULT_REHEARSE_TIMEOUT
    lock_report: bool = False

    def __repr__(self) -> str:
        """Return the public settings only; a URL and a password never reach a log."""
        return f"Settings(migrations_dir={self.migrations_dir!r}, secret_name={self.secret_name!r})"

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read the variables listed in db_setup/README.md; raises InvalidSetting that names the variable."""
        get = _Reader(environ)
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
            auto_migrate=get.boolean("AUTO_MIGRATE", default=True),
            migration_timeout=get.seconds("MIGRATION_TIMEOUT"),
            lock_timeout=get.seconds("LOCK_TIMEOUT") or DEFAULT_LOCK_TIMEOUT,
            strict_order=get.boolean("STRICT_ORDER", default=False),
            allow_missing=get.boolean("ALLOW_MISSING", default=False),
            rehearse_timeout=get.seconds("REHEARSE_TIMEOUT") or DEFAULT_REHEARSE_TIMEOUT,
            lock_report=get.boolean("LOCK_REPORT", default=False),
        )


class _Reader:
    """Reads typed values out of an environment; a value that is empty counts as not set."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def text(self, name: str) -> str:
        value = self._environ.get(name, "").strip()
        if "\x00" in value:
            raise InvalidSetting(f"{name} holds a NUL character", cure=f"set {name} again without it")
        return value

    def boolean(self, name: str, *, default: bool) -> bool:
        value = self.text(name).lower()
        if value in _TRUE or value in _FALSE:
            return value in _TRUE
        if value:
            raise InvalidSetting(f'{name} is "{value}"', cure=f"set {name} to true or false")
        return default

    def seconds(self, name: str) -> float | None:
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
            cure=f'set {name} to a number of seconds above 0 and up to 7 days, such as "300" or "500ms"',
        )
    return seconds


class Request(NamedTuple):
    """What one invocation is asked to do. ``target`` is empty for everything there is ("head")."""

    action: str = "migrate"
    target: str = ""
    dry_run: bool = False
    secret_name: str = ""
    by_deploy: bool = False

    @classmethod
    def parse(cls, event: object) -> Request:
        """Read an event; ``{}`` and None (what the CDK Trigger sends) mean migrate. Raises InvalidRequest."""
        if event is None or event == {}:
            return cls(by_deploy=True)
        if not isinstance(event, Mapping):
            raise InvalidRequest(
                f"the event is a {type(event).__name__}", cure='send an object, such as {"action": "status"}'
            )
        unknown = sorted(str(key) for key in event if key not in _REQUEST_KEYS)
        if unknown:
            raise InvalidRequest(
                f"unknown key in the event: {', '.join(unknown)}", cure=f"use only: {', '.join(_REQUEST_KEYS)}"
            )
        return cls(
            action=_action(event.get("action", "migrate")),
            target=_target(event.get("target_revision", "head")),
            dry_run=_boolean(event.get("dry_run", False)),
            secret_name=_secret_name(event),
        )


def _action(value: object) -> str:
    if value not in ACTIONS:
        raise InvalidRequest(f'unknown action "{value}"', cure=f"use one of: {', '.join(ACTIONS)}")
    return str(value)


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidRequest(f'dry_run is "{value}"', cure="set dry_run to true or false, without quotes")
    return value


def _target(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    text = _text("target_revision", value)
    if not text:
        raise InvalidRequest("target_revision is empty", cure='send "head", a number, or the name of a file')
    return "" if text == "head" else text


def _secret_name(event: Mapping[str, object]) -> str:
    name = _text("secret_name", event.get("secret_name", ""))
    if "secret_name" in event and not name:
        raise InvalidRequest("secret_name is empty", cure="name a secret, or leave the key out")
    return name


def _text(key: str, value: object) -> str:
    if not isinstance(value, str) or "\x00" in value:
        raise InvalidRequest(f"{key} is not a text", cure=f'send {key} as a text, such as "{key}": "..."')
    return value
