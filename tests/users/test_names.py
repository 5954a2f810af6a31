"""names: the names of users and groups, from the database's name or set, and what is refused."""

from __future__ import annotations

import re

import pytest
from migrator.errors import InvalidRequest, InvalidSetting
from migrator.formatting import quoted
from migrator.settings import KINDS, Settings, UserSettings
from migrator.users.names import chosen, mark, users_of


def settings(**given: UserSettings) -> Settings:
    """Return settings with the given users, by kind."""
    return Settings(users=tuple(given.get(kind, UserSettings(kind)) for kind in KINDS))


USER = UserSettings("user", "secret")


def test_names_derive_from_the_database() -> None:
    """Groups are made for every kind; logins, two of them, only for a user that is declared."""
    names = [user.names for user in users_of(settings(user=USER), "shop", "admin")]
    assert names == [("shop_readwrite", "shop_user", "shop_user_b"), ("shop_table_creator",), ("shop_readonly",)]


def test_names_are_set() -> None:
    """A name that is set takes the place of the derived one."""
    user, *_ = users_of(settings(user=UserSettings("user", "s", role="r", login="l")), "shop", "admin")
    assert (user.group, user.logins) == ("r", ("l", "l_b"))


def test_iam_user_has_one_login() -> None:
    """Without a password there is nothing to rotate."""
    user, *_ = users_of(settings(user=UserSettings("user", iam=True)), "shop", "admin")
    assert user.names == ("shop_readwrite", "shop_user")


@pytest.mark.parametrize(
    ("login", "problem"),
    [
        ("public", "is reserved"), ("None", "is reserved"), ("pg_x", "is reserved"), ("PG_x", "is reserved"),
        ("rdsadmin", "is reserved"), ("rds_superuser", "is reserved"), ("x" * 62, "64 bytes"), ("é" * 31, "64 bytes"),
        ("x" * 63, "65 bytes"), ("x" * 64, "64 bytes"), ("x" * 70, "70 bytes"), ("a\x00b", "NUL"), ("\udcff", "UTF-8"),
        ("admin", "is the admin's"), ("shop_readonly", "is also that of DB_USER_LOGIN"),
    ],
)  # fmt: skip
def test_name_is_refused(login: str, problem: str) -> None:
    """A name that cannot be a role, or is one already, is refused with the variable that sets it."""
    with pytest.raises(InvalidSetting, match=re.escape(problem)) as caught:
        users_of(settings(user=UserSettings("user", "s", login=login)), "shop", "admin")
    assert re.search("set DB_(USER_LOGIN|READONLY_ROLE) to another name", caught.value.fix)
    str(caught.value).encode()


@pytest.mark.parametrize("login", ["x" * 61, "é" * 30, "a b", '"', "'; --", "Publick", "pgx", "user"])
def test_name_is_taken(login: str) -> None:
    """Any other name will do."""
    user, *_ = users_of(settings(user=UserSettings("user", "s", login=login)), "shop", "admin")
    assert user.login == login


def test_long_database_name_is_refused_not_cut() -> None:
    """A name that would not fit behind the database's is refused, and the fix says what to set."""
    with pytest.raises(InvalidSetting, match="65 bytes") as caught:
        users_of(settings(user=USER), "d" * 55, "admin")
    assert "DB_USER_ROLE" in caught.value.fix


def test_users_are_chosen_by_kind_or_login() -> None:
    """A rotation is for one kind, by its name or a login's, or for all that have passwords."""
    users = users_of(settings(user=USER, readonly=UserSettings("readonly", iam=True)), "shop", "admin")
    for named in ("", "user", "shop_user", "shop_user_b"):
        assert [user.kind for user in chosen(users, named)] == ["user"]
    for named in ("readonly", "table_creator", "shop_readwrite", "x"):
        with pytest.raises(InvalidRequest, match=named):
            chosen(users, named)


@pytest.mark.parametrize(("name", "sql"), [("a", '"a"'), ('a"b', '"a""b"'), ("", '""'), ("A'", '"A\'"')])
def test_identifiers_are_quoted(name: str, sql: str) -> None:
    """Quotes in a name are doubled, and nothing else is changed."""
    assert quoted(name) == sql


def test_marks_of_databases_are_distinguished() -> None:
    """No database's mark begins like another's, whatever their names are."""
    names = ["a", "ab", 'a"', 'a":', 'a": user', '"', '""']
    marks = [mark(name) for name in names]
    assert [one for one in marks for other in marks if one != other and other.startswith(one)] == []
