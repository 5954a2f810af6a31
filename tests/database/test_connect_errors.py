"""How long a server is waited for, and what is said of one that does not let a user in."""

from __future__ import annotations

import pytest
from migrator.database.connect_errors import unreachable
from migrator.database.connection import connect_timeout
from migrator.database.credentials import Credentials
from migrator.errors import LoginRefused


@pytest.mark.parametrize(
    ("host", "seconds"),
    [
        ("shop.cluster-x.eu-west-1.rds.amazonaws.com", 60),
        ("shop.x.cn-north-1.rds.amazonaws.com.cn", 60),
        ("localhost", 15),
        ("/run/postgresql", 15),
        ("db.example", 15),
    ],
)
def test_a_server_that_may_sleep_is_given_time(host: str, seconds: int) -> None:
    """Aurora Serverless v2 that is paused takes 15 seconds and more to answer; others do not sleep."""
    assert connect_timeout(host) == seconds


START = 'connection to server at "db.example" (10.0.0.1), port 5432 failed: '
REFUSED = f'{START}FATAL: password authentication failed for user "app"'


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        (REFUSED, True),
        (f'{START}FATAL: PAM authentication failed for user "app"', True),
        (f"{START}FATAL: Passwort-Authentifizierung f\u00fcr Benutzer \u00bbapp\u00ab fehlgeschlagen", True),
        (f'{START}FATAL: role "timeout" does not exist', True),
        (f'{START}FATAL: role "app" is not permitted to log in', True),
        (f'{REFUSED} {START}FATAL: no pg_hba.conf entry for host "10.0.0.2", user "app", database "shop", no encryption', True),
        (f'{START}FATAL: no pg_hba.conf entry for host "10.0.0.2", user "app", database "shop", no encryption', False),
        (f"{START}FATAL: sorry, too many clients already", False),
        (f'{START}FATAL: too many connections for role "app"', False),
        (f"{START}FATAL: remaining connection slots are reserved for roles with the SUPERUSER attribute", False),
        (f"{START}FATAL: the database system is starting up", False),
        (f'{START}FATAL: database "shop" does not exist', False),
        (f"{START}Connection refused Is the server running on that host?", False),
        (f"{START}server closed the connection unexpectedly", False),
        ('could not translate host name "FATAL.example" to address: Name or service not known', False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("password", ["password", "failed", "a", "FATAL:", "unrelated-4711", ""])
def test_refused_login_is_distinguished(text: str, refused: bool, password: str) -> None:
    """What a password happens to be has no say in whether the server refused the login, and it is not shown."""
    error = unreachable(Credentials("db.example", 5432, "shop", "app", password), text)
    assert isinstance(error, LoginRefused) == refused
    said = error.what.partition('as user "app": ')[2]
    assert not password or password not in text or len(password) == 1 or said != text


def test_short_password_in_the_reason() -> None:
    """A short password is not cut out of words, which would show it by what is missing."""
    error = unreachable(Credentials("h", 5432, "shop", "app", "fail"), REFUSED)
    assert "***" not in error.what
    assert "failed" not in error.what
    assert "*** authentication" in unreachable(Credentials("h", 5432, "shop", "app", "password"), REFUSED).what
