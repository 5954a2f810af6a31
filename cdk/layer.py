"""The Lambda layer with psycopg2.

``make layer`` builds it as a zip file: ``python -m cdk.layer [--python 3.14] [--architecture x86_64]``.
"""

from __future__ import annotations

import argparse
import os
import sys
import zipfile
from pathlib import Path

from cdk.asset import files_in, fill
from cdk.drivers import CACHE, PYTHONS, Target, drivers, new_folder
from cdk.refusals import Refused

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first time a zip file knows; a fixed one keeps two builds equal


def layer_folder(target: Target) -> Path:
    """Return a folder as Lambda wants a layer to be: psycopg2 below ``python``."""
    found = drivers(target)
    folder = CACHE / f"layer-{found.name}"
    if not folder.is_dir():
        with new_folder(folder) as unfinished:
            fill(unfinished, {f"python/{path.relative_to(found).as_posix()}": path for path in files_in(found)})
    return folder


def write_zip(folder: Path, goal: Path) -> None:
    """Write a folder as a zip file; the same content gives the same file."""
    goal.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(goal, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files_in(folder):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _EPOCH)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())


def main(words: list[str]) -> int:
    """Build the zip file and print how it is published."""
    parser = argparse.ArgumentParser(prog="make layer", description="Build the Lambda layer with psycopg2.")
    parser.add_argument("--python", default=PYTHONS[-1], help=f"one of {', '.join(PYTHONS)}")
    parser.add_argument("--architecture", default="x86_64", help="x86_64 or arm64")
    parser.add_argument("--output", default=str(CACHE / "layer.zip"))
    arguments = parser.parse_args(words)
    goal = Path(arguments.output)
    try:
        write_zip(layer_folder(Target(arguments.python, arguments.architecture)), goal)
    except Refused as refused:
        print(f"error: {refused}", file=sys.stderr)
        return 2
    size = goal.stat().st_size / 1e6
    print(f"{os.path.relpath(goal)}: psycopg2 for Python {arguments.python} on {arguments.architecture}, {size:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
