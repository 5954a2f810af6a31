"""How long a server is waited for."""

from __future__ import annotations

import pytest
from migrator.reachability import patience


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
    assert patience(host) == seconds
