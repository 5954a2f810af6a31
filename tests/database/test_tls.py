"""tls: verified where there is something to verify with, encrypted otherwise, never silently plain."""

from __future__ import annotations

from pathlib import Path

import pytest
from migrator.database import credentials
from migrator.database.credentials import Credentials
from migrator.errors import InvalidSetting
from migrator.settings import Settings

REMOTE = Credentials("db.example.com", 5432, "d", "u", "S3CRET")
NOTHING_SET = Settings()


def secured(base: Path, settings: Settings = NOTHING_SET, **parameters: str) -> tuple[dict[str, str], str]:
    """Return the parameters a remote database is connected with, and the warning."""
    found, warning = credentials.secured(REMOTE._replace(parameters=tuple(parameters.items())), settings, base)
    assert found._replace(parameters=()) == REMOTE
    return dict(found.parameters), warning


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Return a certificate bundle that lies next to the code."""
    path = tmp_path / "global-bundle.pem"
    path.write_text("a certificate")
    return path


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "/var/run/postgresql"])
def test_local_connection_needs_no_tls(tmp_path: Path, bundle: Path, host: str) -> None:
    """A connection that does not leave the machine is left as it is."""
    local = REMOTE._replace(host=host)
    assert credentials.secured(local, Settings(), tmp_path) == (local, "")


def test_local_connection_is_secured_when_that_is_asked_for(tmp_path: Path) -> None:
    """DB_SSL_MODE counts for a local server too."""
    found, _ = credentials.secured(REMOTE._replace(host="localhost"), Settings(ssl_mode="require"), tmp_path)
    assert dict(found.parameters) == {"sslmode": "require"}


def test_bundle_next_to_the_code_is_verified_with(tmp_path: Path, bundle: Path) -> None:
    """With the RDS bundle next to the code a remote server is verified in full, and nothing is warned of."""
    assert secured(tmp_path) == ({"sslmode": "verify-full", "sslrootcert": str(bundle)}, "")


def test_certificate_that_is_given_comes_before_the_bundle(tmp_path: Path, bundle: Path) -> None:
    """DB_SSL_ROOT_CERT names the certificate to verify with."""
    own = tmp_path / "own.pem"
    own.write_text("a certificate")
    parameters, warning = secured(tmp_path, Settings(ssl_root_cert=str(own)))
    assert (parameters, warning) == ({"sslmode": "verify-full", "sslrootcert": str(own)}, "")


def test_certificates_of_the_system_can_be_used(tmp_path: Path) -> None:
    """The word "system" is libpq's own, and no file."""
    assert secured(tmp_path, Settings(ssl_root_cert="system"))[0]["sslrootcert"] == "system"


def test_without_a_certificate_the_connection_is_encrypted_and_said_to_be_unverified(tmp_path: Path) -> None:
    """Without a certificate TLS is required, and a warning says that nobody verifies the server."""
    parameters, warning = secured(tmp_path)
    assert parameters == {"sslmode": "require"}
    assert "not verified" in warning
    assert "global-bundle.pem" in warning


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer", "require", "verify-ca"])
def test_weaker_mode_is_explicit_and_warned_of(tmp_path: Path, bundle: Path, mode: str) -> None:
    """A weaker mode is used only when it was asked for, and is then named in a warning."""
    by_variable, warning = secured(tmp_path, Settings(ssl_mode=mode))
    assert by_variable["sslmode"] == mode
    assert mode in warning
    by_url, warning = secured(tmp_path, sslmode=mode)
    assert by_url["sslmode"] == mode
    assert mode in warning


def test_mode_without_tls_is_called_plain(tmp_path: Path) -> None:
    """The warning of a connection that is not encrypted says so, not only that nobody verifies the server."""
    _, warning = secured(tmp_path, Settings(ssl_mode="disable"))
    assert any(word in warning for word in ("not encrypted", "unencrypted", "plain", "clear"))


def test_url_has_the_last_word_on_the_mode(tmp_path: Path) -> None:
    """The sslmode of a URL comes before DB_SSL_MODE."""
    assert secured(tmp_path, Settings(ssl_mode="require"), sslmode="disable")[0]["sslmode"] == "disable"


def test_empty_mode_of_a_url_is_none(tmp_path: Path) -> None:
    """A URL that ends in "sslmode=" says nothing about TLS, and the connection is encrypted all the same."""
    assert secured(tmp_path, sslmode="")[0]["sslmode"] == "require"


@pytest.mark.parametrize("mode", ["on", "verify_full", "VERIFY", "true"])
def test_unknown_mode_is_refused(tmp_path: Path, mode: str) -> None:
    """A mode that libpq does not know is refused by name, also where a URL has one of its own."""
    with pytest.raises(InvalidSetting, match="DB_SSL_MODE"):
        secured(tmp_path, Settings(ssl_mode=mode))
    with pytest.raises(InvalidSetting, match="DB_SSL_MODE"):
        secured(tmp_path, Settings(ssl_mode=mode), sslmode="require")


@pytest.mark.parametrize("path", ["missing.pem", "."], ids=["missing", "folder"])
def test_certificate_that_is_no_file_is_refused(tmp_path: Path, path: str) -> None:
    """A certificate that is not there is refused at once, instead of an unclear error of the driver."""
    with pytest.raises(InvalidSetting, match="DB_SSL_ROOT_CERT"):
        secured(tmp_path, Settings(ssl_root_cert=str(tmp_path / path)))


def test_missing_certificate_of_a_url_is_refused_as_the_urls(tmp_path: Path) -> None:
    """The refusal of a certificate names the setting it came from."""
    with pytest.raises(InvalidSetting, match="sslrootcert"):
        secured(tmp_path, sslrootcert=str(tmp_path / "missing.pem"))
