"""The Lambda layer with psycopg2, as a construct or as a zip file.

``make layer`` builds the zip file:

    python -m cdk.database_initializer.layer [--python 3.14] [--architecture x86_64]
"""

from __future__ import annotations

import argparse
import os
import sys
import zipfile
from pathlib import Path

import aws_cdk
from aws_cdk import aws_lambda
from constructs import Construct

from .asset import files_in, fill
from .driver_wheels import CACHE, PYTHONS, Target, drivers, new_folder
from .errors import InvalidProps

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time of a zip file; a fixed one makes two builds equal


def layer_folder(target: Target) -> Path:
    """Return a folder as Lambda wants a layer to be: psycopg2 below ``python``."""
    found = drivers(target)
    folder = CACHE / f"layer-{found.name}"
    if not folder.is_dir():
        with new_folder(folder) as unfinished:
            fill(unfinished, {f"python/{path.relative_to(found).as_posix()}": path for path in files_in(found)})
    return folder


def driver_layer(
    scope: Construct, id: str, runtime: aws_lambda.Runtime, architecture: aws_lambda.Architecture  # noqa: A002
) -> aws_lambda.LayerVersion:  # fmt: skip
    """Make a layer of the app, for functions next to the initializer.

    Raises InvalidProps for a runtime or an architecture without a wheel.
    """
    folder = layer_folder(Target(runtime.name.removeprefix("python"), architecture.name))
    return aws_lambda.LayerVersion(
        scope, id,
        description="psycopg2",
        code=aws_lambda.Code.from_asset(str(folder), asset_hash=folder.name),
        compatible_runtimes=[runtime], compatible_architectures=[architecture],
        removal_policy=aws_cdk.RemovalPolicy.RETAIN,  # the functions of a stack that is rolled back still use it
    )  # fmt: skip


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
    """Build the zip file and print where it is."""
    parser = argparse.ArgumentParser(prog="make layer", description="Build the Lambda layer with psycopg2.")
    parser.add_argument("--python", default=PYTHONS[-1], help=f"one of {', '.join(PYTHONS)}")
    parser.add_argument("--architecture", default="x86_64", help="x86_64 or arm64")
    parser.add_argument("--output", default=str(CACHE / "layer.zip"))
    arguments = parser.parse_args(words)
    goal = Path(arguments.output)
    try:
        write_zip(layer_folder(Target(arguments.python, arguments.architecture)), goal)
    except InvalidProps as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    size = goal.stat().st_size / 1e6
    print(f"{os.path.relpath(goal)}: psycopg2 for Python {arguments.python} on {arguments.architecture}, {size:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
