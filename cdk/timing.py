"""How long things may take, so that the CDK Trigger hears of every end of a run. All times in seconds.

    handler's own deadline  <  function's timeout  <  provider's socket timeout  <  end of the provider

- The handler leaves by itself (migrator/deadline.py) and says what is applied and what is left.
- If the provider's socket gave up before the function ends, the SDK in it would invoke the function again.
- When the provider is ended at 15 minutes, CloudFormation hears nothing and waits for an hour. Before the call it may
  have waited for a minute until IAM knows its role (12 times 5 seconds, in its own code).
"""

from __future__ import annotations

from cdk.refusals import Refused

PROVIDER_END = 900
PROVIDER_MAY_WAIT = 60
SOCKET_MARGIN = 40
"""What an invocation takes beside the function's own time: an environment is made, a network interface attached."""
MAX_TIMEOUT = 780
MIN_TIMEOUT = 10


def socket_timeout(function_timeout: float) -> float:
    """Return how long the provider listens to a function that may run for ``function_timeout``; raises Refused."""
    if function_timeout > MAX_TIMEOUT:
        raise Refused(
            f"timeout is {function_timeout:g} s, but the CDK's trigger hears of no function that runs longer than "
            f"{MAX_TIMEOUT} s: its own function ends at {PROVIDER_END} s",
            cure="use at most Duration.minutes(13); a longer migration belongs in several files, since a deploy that "
            "runs out of time goes on at the next one, or is run from a machine: python db_setup migrate",
        )
    if function_timeout < MIN_TIMEOUT:
        raise Refused(
            f"timeout is {function_timeout:g} s, too short to connect to a database",
            cure=f"use at least Duration.seconds({MIN_TIMEOUT}), or leave it out",
        )
    return function_timeout + SOCKET_MARGIN
