"""The command line: ``python db_setup ACTION``.

Running the folder puts it on sys.path exactly as Lambda does: same imports, same code.
"""

from __future__ import annotations

import os
import signal
import sys

_PROJECT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))


def _use_environment_of_the_project() -> None:
    """Run again with the project's own Python, if it has one and this is another, such as the system's."""
    environment = os.path.join(_PROJECT, ".venv")
    python = os.path.join(environment, "bin", "python")
    if os.path.exists(python) and os.path.realpath(sys.prefix) != os.path.realpath(environment):
        os.execv(python, [python, *sys.orig_argv[1:]])  # noqa: S606 - the same command line


if __name__ == "__main__":
    if hasattr(signal, "pthread_sigmask"):  # not on Windows
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))  # until main handles them
    from migrator.cli.main import main

    sys.exit(main(sys.argv[1:], _use_environment_of_the_project))
