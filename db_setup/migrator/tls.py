"""TLS: how the way to a remote database is secured.

Verified when there is a certificate to verify with, encrypted otherwise, and never silently plain (contract 19).
"""

from __future__ import annotations

from pathlib import Path

from migrator.credentials import Credentials
from migrator.errors import InvalidSetting
from migrator.settings import Settings

BUNDLE_NAME = "global-bundle.pem"  # the name AWS publishes the RDS certificates under
_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


def secured(credentials: Credentials, settings: Settings, base: Path) -> tuple[Credentials, str]:
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
    parameters.setdefault("sslmode", _mode(settings, certificate))
    chosen = credentials._replace(parameters=tuple(sorted(parameters.items())))
    return chosen, _warning(parameters["sslmode"])


def _mode(settings: Settings, certificate: str) -> str:
    if settings.ssl_mode and settings.ssl_mode not in _MODES:
        raise InvalidSetting(f'DB_SSL_MODE is "{settings.ssl_mode}"', cure=f"use one of: {', '.join(_MODES)}")
    return settings.ssl_mode or ("verify-full" if certificate else "require")


def _bundle(base: Path) -> str:
    found = base / BUNDLE_NAME
    return str(found) if found.is_file() else ""


def _check_readable(certificate: str) -> None:
    if certificate != "system" and not Path(certificate).is_file():
        raise InvalidSetting(
            f"DB_SSL_ROOT_CERT names no file: {certificate}", cure="give the path of the RDS certificate bundle"
        )


def _warning(mode: str) -> str:
    if mode == "verify-full":
        return ""
    return (
        f"TLS mode {mode}: the server's certificate is not verified; "
        f"put the RDS bundle ({BUNDLE_NAME}) beside initializer.py, or set DB_SSL_ROOT_CERT"
    )
