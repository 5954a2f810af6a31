"""settings: environment variables, read and refused by name before anything is touched."""

from __future__ import annotations

import re

import pytest
from migrator.errors import InvalidSetting
from migrator.settings import Settings, UserSettings, parse_seconds


def test_empty_environment_has_the_documented_defaults() -> None:
    """Nothing set means: deploys migrate, one second for locks, no time limit, no strictness."""
    settings = Settings.from_env({})
    assert settings == Settings()
    assert (settings.auto_migrate, settings.strict_order, settings.allow_missing) == (True, False, False)
    assert settings.lock_timeout == 1.0
    assert settings.migration_timeout is None


def test_every_variable_is_read() -> None:
    """Each documented variable ends up in its field."""
    settings = Settings.from_env(
        {
            "DATABASE_URL": "postgresql://u@h/d", "DB_HOST": "h", "DB_PORT": "5433", "DB_NAME": "d", "DB_USER": "u",
            "DB_PASSWORD": "p", "DB_SECRET_NAME": "s", "DB_SSL_MODE": "require", "DB_SSL_ROOT_CERT": "/c",
            "MIGRATIONS_DIR": "/m", "AUTO_MIGRATE": "false", "MIGRATION_TIMEOUT": "60", "LOCK_TIMEOUT": "200ms",
            "STRICT_ORDER": "true", "ALLOW_MISSING": "1", "DB_IAM_AUTH": "yes", "CREATE_USERS": "false",
            "DB_USER_SECRET_NAME": "su", "DB_PROXY": "sc", "DB_IAM_USERS": "readonly", "DB_USER_ROLE": "ru",
            "DB_USER_LOGIN": "lu", "DB_TABLE_CREATOR_ROLE": "rc", "DB_TABLE_CREATOR_LOGIN": "lc", "DB_READONLY_ROLE": "rr",
            "DB_READONLY_LOGIN": "lr", "DB_SCHEMAS": "a, b,,a", "REVOKE_PUBLIC_CONNECT": "on",
        }
    )  # fmt: skip
    assert settings == Settings(
        "postgresql://u@h/d", "h", "5433", "d", "u", "p", "s", "require", "/c", "/m", False, 60.0, 0.2, True, True,
        iam_auth=True, create_users=False, schemas=("a", "b"), revoke_public_connect=True,
        users=(
            UserSettings("user", "su", iam=False, role="ru", login="lu"),
            UserSettings("table_creator", "sc", iam=False, role="rc", login="lc"),
            UserSettings("readonly", "", iam=True, role="rr", login="lr"),
        ),
    )  # fmt: skip


def test_other_variables_are_nobody_elses_business() -> None:
    """A variable that is not ours is not read."""
    assert Settings.from_env({"PATH": "/bin", "DB_UNKNOWN": "x"}) == Settings()


@pytest.mark.parametrize("password", [" leading", "trailing ", "a\tb", "p@:/#?'\"; --", "pässwörd", " "])
def test_password_is_taken_as_it_stands(password: str) -> None:
    """No character of a password is stripped or changed."""
    assert Settings.from_env({"DB_PASSWORD": password}).password == password


def test_spaces_around_other_values_are_dropped() -> None:
    """A host copied with a space or a line end behind it is the host."""
    assert Settings.from_env({"DB_HOST": " db.example.com\n"}).host == "db.example.com"


@pytest.mark.parametrize(
    ("value", "expected"),
    [("true", True), ("TRUE", True), ("1", True), ("yes", True), ("On", True), (" true ", True), ("false", False),
     ("False", False), ("0", False), ("no", False), ("OFF", False), ("", True), ("  ", True)],
)  # fmt: skip
def test_boolean_is_understood(value: str, expected: bool) -> None:
    """The usual words are true and false in any case; an empty variable is one that is not set."""
    assert Settings.from_env({"AUTO_MIGRATE": value}).auto_migrate is expected


@pytest.mark.parametrize("name", ["AUTO_MIGRATE", "STRICT_ORDER", "ALLOW_MISSING"])
@pytest.mark.parametrize("value", ["maybe", "2", "-1", "truefalse", "t", "nein", "null"])
def test_other_words_are_no_booleans(name: str, value: str) -> None:
    """A word that is neither true nor false is refused with the variable's name and value."""
    with pytest.raises(InvalidSetting, match=f'{name} is "{value}"'):
        Settings.from_env({name: value})


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("300", 300.0), ("1.5", 1.5), ("500ms", 0.5), ("30s", 30.0), ("5min", 300.0), ("5 min", 300.0), ("1.5S", 1.5),
     ("250 MS", 0.25), (".5", 0.5), ("604800", 604800.0), ("1e2", 100.0)],
)  # fmt: skip
def test_length_of_time_is_understood(value: str, seconds: float) -> None:
    """Plain figures are seconds; ms, s and min are units."""
    assert parse_seconds(value, "MIGRATION_TIMEOUT") == pytest.approx(seconds)
    assert Settings.from_env({"MIGRATION_TIMEOUT": value}).migration_timeout == pytest.approx(seconds)


@pytest.mark.parametrize("name", ["MIGRATION_TIMEOUT", "LOCK_TIMEOUT"])
@pytest.mark.parametrize(
    "value",
    ["-1", "0", "0ms", "-0.0", "inf", "-inf", "nan", "1e9", "1e400", "abc", "5 minutes", "5h", "s", "ms", "1,5", "1 5",
     "0x10", "--5", "5smin", "9" * 5000],
    ids=lambda value: value[:12],
)  # fmt: skip
def test_other_lengths_of_time_are_refused(name: str, value: str) -> None:
    """A length of time that is not above zero, finite and sensible is refused with the variable's name."""
    with pytest.raises(InvalidSetting, match=f"^{name} is "):
        Settings.from_env({name: value})


@pytest.mark.parametrize("value", ["1e9", "8000000", "10081min"])
def test_too_long_a_time_is_refused_with_the_limit(value: str) -> None:
    """The fix for a time beyond the longest one says what the longest is; "above 0" would be no help."""
    with pytest.raises(InvalidSetting) as caught:
        parse_seconds(value, "MIGRATION_TIMEOUT")
    assert re.search("604,?800|7 days|at most|up to|below", caught.value.fix)


@pytest.mark.parametrize("name", ["DB_HOST", "DB_NAME", "DB_USER", "DATABASE_URL", "MIGRATIONS_DIR", "DB_SECRET_NAME"])
def test_nul_in_a_variable_is_refused(name: str) -> None:
    """A NUL, at which the driver would cut a text, is refused with the variable's name."""
    with pytest.raises(InvalidSetting, match=name):
        Settings.from_env({name: "a\x00b"})


def test_nul_in_a_url_is_refused_without_the_url() -> None:
    """The refusal of a URL does not show its password."""
    with pytest.raises(InvalidSetting) as caught:
        Settings.from_env({"DATABASE_URL": "postgresql://u:S3CRET@h/d\x00"})
    assert "S3CRET" not in str(caught.value)


@pytest.mark.parametrize("show", [repr, str, "{}".format, "{!r}".format, lambda value: f"{value}"])
def test_settings_show_no_secret(show: object) -> None:
    """Neither repr nor str of settings holds a URL or a password."""
    settings = Settings(database_url="postgresql://u:S3CRET@h/d", password="S3CRET", secret_name="prod/db")
    assert callable(show)
    assert "S3CRET" not in show(settings)
    assert "prod/db" in show(settings)


@pytest.mark.parametrize(
    ("environ", "declared"),
    [
        ({}, False),
        ({"DB_USER_SECRET_NAME": "s"}, True),
        ({"DB_PROXY": "s"}, True),
        ({"DB_PROXY": "s", "DB_TABLE_CREATOR_SECRET_NAME": "s"}, True),
        ({"DB_READONLY_SECRET_NAME": "s"}, True),
        ({"DB_IAM_USERS": "user"}, True),
        ({"DB_USER_SECRET_NAME": "s", "CREATE_USERS": "false"}, False),
        ({"DB_USER_ROLE": "r", "DB_SCHEMAS": "s"}, False),
    ],
    ids=repr,
)
def test_users_are_declared(environ: dict[str, str], declared: bool) -> None:
    """A secret or IAM declares a user, unless CREATE_USERS says no; names alone do not."""
    assert Settings.from_env(environ).declares_users is declared


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"DB_IAM_USERS": "user, admin"}, 'DB_IAM_USERS names "admin"'),
        ({"DB_PROXY": "a", "DB_TABLE_CREATOR_SECRET_NAME": "b"}, "DB_PROXY and DB_TABLE_CREATOR_SECRET_NAME"),
        ({"CREATE_USERS": "maybe"}, 'CREATE_USERS is "maybe"'),
        ({"DB_USER_LOGIN": "a\x00b"}, "DB_USER_LOGIN holds a NUL"),
    ],
    ids=repr,
)
def test_settings_of_users_are_refused_by_name(environ: dict[str, str], named: str) -> None:
    """A setting of users that cannot be used is refused by its name."""
    with pytest.raises(InvalidSetting, match=re.escape(named)):
        Settings.from_env(environ)
