"""The door for people: ``python db_setup ACTION``.

Running the folder puts it on sys.path exactly as Lambda does: same imports, same code.
"""

from __future__ import annotations

import os
import sys

_PROJECT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))


def _use_environment_of_the_project() -> None:
    """Run again with the project's own Python when this one lacks the driver, as the system's does."""
    try:
        import psycopg2  # noqa: F401, PLC0415 - is it there?
    except ModuleNotFoundError:
        environment = os.path.join(_PROJECT, ".venv")
        python = os.path.join(environment, "bin", "python")
        if not os.path.exists(python) or os.path.realpath(sys.prefix) == environment:
            sys.exit("error: psycopg2 is not installed\nCure: pip install -r db_setup/requirements.txt, or make run")
        os.execv(python, [python, *sys.orig_argv[1:]])  # noqa: S606 - the same command line


if __name__ == "__main__":
    _use_environment_of_the_project()
    from migrator.command_line.main import main

    sys.exit(main(sys.argv[1:]))
