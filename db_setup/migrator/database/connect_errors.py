"""Why a database cannot be reached, and what to do about it. Pure."""

from __future__ import annotations

import re

from migrator.database.credentials import Credentials
from migrator.errors import LoginRefused, ServerAway, ServerUnfit

_LEAST_MASKED = 8  # characters; a shorter password may be part of any word
_SEVERITY = "FATAL:"


def unreachable(credentials: Credentials, text: str) -> ServerUnfit:
    """Return the error for a connection that could not be made, from the driver's text, without the password.

    It is a LoginRefused when the server refused the user, whatever words its text holds, and a ServerAway when the
    server may be there in a moment.
    """
    kind = LoginRefused if _refuses_login(text) else ServerAway if _passes(text) else ServerUnfit
    fix = ServerAway.FIX
    for part, advice in _FIXES:
        if part in text:
            fix = advice
            break
    return kind(f"no connection to {credentials.place}: {_masked(text, credentials.password)}", fix=fix)


def _refuses_login(text: str) -> bool:
    """Return whether any of the attempts (with TLS, without, at each address) ended at the user or the password."""
    answers = re.sub('"[^"]*"', '""', text).split(_SEVERITY)[1:]  # names may be words, too
    return any(not any(reason in answer for reason in _OTHER_REASONS) for answer in answers)


def _passes(text: str) -> bool:
    """Return whether what keeps the server from answering may be over soon, at one of its addresses at least."""
    said = re.sub('"[^"]*"', '""', text)  # names may be words, too
    return any(reason in said for reason in _PASSING)


def _masked(text: str, password: str) -> str:
    if not password or password not in text:
        return text
    if len(password) < _LEAST_MASKED:
        return "the reason is not shown, as it holds the characters of the password"
    return text.replace(password, "***")


# The driver has no SQLSTATE for a connection that was not made.
_OTHER_REASONS = (
    "too many", "connection slots", "the database system is", "pg_hba.conf", 'database "" does not exist',
    'database "" is not', "timeout", "terminating", "out of memory", "could not", "parameter", "protocol",
)  # fmt: skip

_PASSING = (
    "Connection refused", "Connection reset", "Connection timed out", "timeout expired", "closed the connection",
    "connection has been closed", "EOF detected", "could not receive data", "Is the server running", "is starting up",
    "is shutting down", "not yet accepting connections", "in recovery mode", "too many", "connection slots",
    "terminating connection",
)  # fmt: skip

_FIXES = (
    ("password authentication failed", "check user and password, or the secret they come from"),
    ("PAM authentication failed", "check user and password; in rds_iam a user needs a token (DB_IAM_AUTH)"),
    ("does not exist", "create the database or the role, or correct its name"),
    ("no password supplied", "give a password: in the URL, DB_PASSWORD or the secret"),
    ("SSL", "check DB_SSL_MODE and DB_SSL_ROOT_CERT (the RDS certificate bundle)"),
    ("certificate", "check DB_SSL_ROOT_CERT (the RDS certificate bundle)"),
    ("could not translate host name", "check the host's name, and DNS in the VPC"),
    ("too many", "wait until other clients have disconnected, or raise max_connections"),
)
