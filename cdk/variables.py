"""The function's variables, checked at synth as far as their values are known then."""

from __future__ import annotations

from collections.abc import Mapping

import aws_cdk
from constructs import Construct
from migrator.errors import DbSetupError
from migrator.settings import Settings

from cdk.refusals import Refused

_OURS = {
    "DATABASE_URL": "a password would stand in the template",
    "DB_SECRET_NAME": "the function may read the database's secret only; name another in admin_secret",
    "MIGRATIONS_DIR": "the function has the folder of the property migrations",
}


def checked(scope: Construct, environment: Mapping[str, str]) -> Mapping[str, str]:
    """Return the overrides; raises Refused, or tells synth, when the function would refuse one of them."""
    for name, value in environment.items():
        if name in _OURS:
            raise Refused(f"environment names {name}", cure=f"leave it out: {_OURS[name]}")
        if not isinstance(value, str):
            raise Refused(f"environment: {name} is {value!r}", cure=f'write it as a text, such as {name}="true"')
    known = {name: value for name, value in environment.items() if not aws_cdk.Token.is_unresolved(value)}
    try:
        Settings.from_env(known)
    except DbSetupError as error:
        aws_cdk.Annotations.of(scope).add_error(f"environment: {error}")
    return environment
