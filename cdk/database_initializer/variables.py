"""The function's variables, checked at synth as far as their values are known then."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import aws_cdk
from constructs import Construct
from migrator.errors import DbSetupError
from migrator.settings import Settings

from .errors import InvalidProps

_ENVIRONMENT = "MIGRATION_ENV"
_OURS = {
    "DATABASE_URL": "a password would stand in the template",
    "DB_SECRET_NAME": "the function may read the database's secret only; name another in admin_secret",
    "MIGRATIONS_DIR": "the function has the folder of the property migrations",
}


class Overrides(NamedTuple):
    """The variables that an app gives, and those that synth itself uses.

    ``environment_name`` is empty where there is none, or where only a deploy will know it.
    """

    variables: Mapping[str, str]
    environment_name: str = ""
    strict_order: bool = False


def checked(scope: Construct, environment: Mapping[str, str], environment_name: str | None) -> Overrides:
    """Return the overrides; raises InvalidProps, or adds an error to synth, when the function would refuse one."""
    for name, value in environment.items():
        if name in _OURS:
            raise InvalidProps(f"environment names {name}", fix=f"leave it out: {_OURS[name]}")
        if not isinstance(value, str):
            raise InvalidProps(f"environment: {name} is {value!r}", fix=f'write it as a text, such as {name}="true"')
    variables = _with_environment_name(environment, environment_name)
    known = {name: value for name, value in variables.items() if not aws_cdk.Token.is_unresolved(value)}
    try:
        settings = Settings.from_env(known)
    except DbSetupError as error:
        aws_cdk.Annotations.of(scope).add_error(f"environment: {error}")
        settings = Settings()
    return Overrides(variables, settings.environment, settings.strict_order)


def _with_environment_name(environment: Mapping[str, str], name: str | None) -> Mapping[str, str]:
    """Return the variables with the environment's name; raises InvalidProps for an invalid or a second name."""
    if name is None:
        return environment
    if aws_cdk.Token.is_unresolved(name) or not re.fullmatch(r"[\w-]+", str(name)):
        raise InvalidProps(
            f"environment_name is {name!r}",
            fix='give the name that files and folders are marked with, such as "dev": letters, digits, _ and -',
        )
    other = environment.get(_ENVIRONMENT, name)
    if other != name:
        raise InvalidProps(
            f'environment_name is "{name}", and environment has {_ENVIRONMENT}="{other}"', fix="set only one of them"
        )
    return {**environment, _ENVIRONMENT: name}
