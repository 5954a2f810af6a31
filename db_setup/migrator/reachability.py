"""Why a database cannot be reached, and what to do about it. Pure."""

from __future__ import annotations

from migrator.credentials import Credentials
from migrator.errors import ServerUnfit


def patience(host: str) -> float:
    """Return how many seconds a server may take to answer; an Aurora Serverless that is paused takes 15 and more."""
    return 60.0 if ".rds.amazonaws.com" in host else 15.0


def unreachable(credentials: Credentials, text: str) -> ServerUnfit:
    """Return the error for a connection that could not be made, from what the driver says, without the password."""
    if credentials.password:
        text = text.replace(credentials.password, "***")
    cure = "check host, port, security groups (5432 from the function to the database) and that the server runs"
    for part, advice in _CURES:
        if part in text:
            cure = advice
            break
    return ServerUnfit(f"no connection to {credentials.place}: {text}", cure=cure)


_CURES = (
    ("password authentication failed", "check user and password, or the secret they come from"),
    ("does not exist", "create the database or the role, or correct its name"),
    ("no password supplied", "give a password: in the URL, DB_PASSWORD or the secret"),
    ("SSL", "check DB_SSL_MODE and DB_SSL_ROOT_CERT (the RDS certificate bundle)"),
    ("certificate", "check DB_SSL_ROOT_CERT (the RDS certificate bundle)"),
    ("could not translate host name", "check the host's name, and DNS in the VPC"),
    ("too many", "wait until other clients have left, or raise max_connections"),
)
