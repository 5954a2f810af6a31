"""TLS: how the way to a remote database is secured.

Verified when there is a certificate to verify with, encrypted otherwise, and never silently plain (contract 19).
"""

from __future__ import annotations

import os

from migrator.credentials import Credentials
from migrator.errors import InvalidSetting
from migrator.settings import Settings

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
        raise InvalidSetting(f'{source} is "{mode}"', cure=f"use one of: {', '.join(_MODES)}")


def _bundle(base: str | os.PathLike[str]) -> str:
    found = os.path.join(base, BUNDLE_NAME)
    return found if os.path.isfile(found) else ""


def _check_readable(certificate: str) -> None:
    if certificate != "system" and not os.path.isfile(certificate):
        raise InvalidSetting(
            f"the root certificate is no file: {certificate}",
            cure="give DB_SSL_ROOT_CERT (or sslrootcert in the URL) the path of the RDS certificate bundle",
        )


def _warning(mode: str) -> str:
    if mode == "verify-full":
        return ""
    lacks = _LACKS.get(mode, "the server's certificate is not verified")
    return (
        f"TLS mode {mode}: {lacks}; "
        f"put the RDS bundle ({BUNDLE_NAME}) beside initializer.py, or set DB_SSL_ROOT_CERT"
    )
