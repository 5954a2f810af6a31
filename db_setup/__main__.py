"""The command line: ``python db_setup ACTION``.

Running the folder puts it on sys.path exactly as Lambda does: same imports, same code.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

_PROJECT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))


_NO_DRIVER = "lint"  # reads files only
_FUNCTION = "--function"  # a deployed function is called with boto3, and has the driver itself


def _use_environment_of_the_project(words: Sequence[str]) -> None:
    """Run again with the project's own Python when this one lacks what the command needs, as the system's does."""
    try:
        if any(word.partition("=")[0] == _FUNCTION for word in words):
            import boto3  # noqa: F401, PLC0415 - is it there?
        elif words[:1] != [_NO_DRIVER]:
            import psycopg2  # noqa: F401, PLC0415
    except ModuleNotFoundError as missing:
        environment = os.path.join(_PROJECT, ".venv")
        python = os.path.join(environment, "bin", "python")
        if not os.path.exists(python) or os.path.realpath(sys.prefix) == os.path.realpath(environment):
            fix = f"{sys.executable} -m pip install boto3"
            if missing.name == "psycopg2":
                fix = "pip install -r db_setup/requirements.txt, or make run"
            sys.exit(f"error: {missing.name} is not installed\nCure: {fix}")
        os.execv(python, [python, *sys.orig_argv[1:]])  # noqa: S606 - the same command line


if __name__ == "__main__":
    _use_environment_of_the_project(sys.argv[1:])
    from migrator.cli.main import main

    sys.exit(main(sys.argv[1:]))
