"""What the environment and an event ask for, checked and named before anything is touched. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from migrator.errors import InvalidRequest, InvalidSetting
from migrator.light import NamedTuple
from migrator.variables import Variables

DEFAULT_LOCK_TIMEOUT = 1.0
DEFAULT_REHEARSE_TIMEOUT = 60.0

ACTIONS = (
    "migrate", "plan", "rehearse", "status", "history", "verify", "adopt", "baseline", "rotate", "rollback", "repair",
)  # fmt: skip
_REQUEST_KEYS = ("action", "target_revision", "dry_run", "secret_name", "user", "steps", "confirm")
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
        """Tell whether a run has limited users to care for."""
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
        raise InvalidSetting(f'DB_IAM_USERS names "{unknown[0]}"', cure=f"use only: {', '.join(KINDS)}")
    clear, old = get.text("DB_TABLE_CREATOR_SECRET_NAME"), get.text("DB_PROXY")
    if clear and old and clear != old:
        raise InvalidSetting("DB_PROXY and DB_TABLE_CREATOR_SECRET_NAME name two secrets", cure="set only one of them")
    secrets = (get.text("DB_USER_SECRET_NAME"), clear or old, get.text("DB_READONLY_SECRET_NAME"))
    return tuple(
        UserSettings(
            kind, secret, kind in by_iam, get.text(f"DB_{kind.upper()}_ROLE"), get.text(f"DB_{kind.upper()}_LOGIN")
        )
        for kind, secret in zip(KINDS, secrets, strict=True)
    )


class Request(NamedTuple):
    """What one invocation is asked to do. ``target`` is empty for everything there is ("head")."""

    action: str = "migrate"
    target: str = ""
    dry_run: bool = False
    secret_name: str = ""
    by_deploy: bool = False
    user: str = ""
    steps: int = 0
    confirm: bool = False

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
        action = _action(event.get("action", "migrate"))
        if action == "baseline" and "target_revision" not in event:
            raise InvalidRequest(
                "baseline without a target",
                cure='say up to which migration everything is applied: a number, the name of a file, "head" or "none"',
            )
        request = cls(
            action=action,
            target=_target(event.get("target_revision", "head")),
            dry_run=_boolean("dry_run", event),
            secret_name=_filled("secret_name", event, cure="name a secret, or leave the key out"),
            user=_filled("user", event, cure=f"send one of: {', '.join(KINDS)}; or leave the key out for all of them"),
            steps=_steps(event),
            confirm=_boolean("confirm", event),
        )
        from migrator.request_rules import check_keys_of_action  # noqa: PLC0415 - a deploy's event has no keys

        check_keys_of_action(request)
        return request


def _action(value: object) -> str:
    if value not in ACTIONS:
        raise InvalidRequest(f'unknown action "{value}"', cure=f"use one of: {', '.join(ACTIONS)}")
    return str(value)


def _boolean(key: str, event: Mapping[str, object]) -> bool:
    value = event.get(key, False)
    if not isinstance(value, bool):
        raise InvalidRequest(f'{key} is "{value}"', cure=f"set {key} to true or false, without quotes")
    return value


def _steps(event: Mapping[str, object]) -> int:
    value = event.get("steps", 1)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InvalidRequest(f'steps is "{value}"', cure="send a whole number from 1 on, without quotes")
    return value if "steps" in event else 0


def _target(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    text = _text("target_revision", value)
    if not text:
        raise InvalidRequest("target_revision is empty", cure='send "head", a number, or the name of a file')
    return "" if text == "head" else text


def _filled(key: str, event: Mapping[str, object], *, cure: str) -> str:
    text = _text(key, event.get(key, ""))
    if key in event and not text:
        raise InvalidRequest(f"{key} is empty", cure=cure)
    return text


def _text(key: str, value: object) -> str:
    if not isinstance(value, str) or "\x00" in value:
        raise InvalidRequest(f"{key} is not a text", cure=f'send {key} as a text, such as "{key}": "..."')
    return value
