"""What the function consists of: code, runtime and architecture, and what synth reports about the migrations."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import aws_cdk
from aws_cdk import aws_lambda
from constructs import Construct
from migrator.files import default_path

from . import asset, synth_checks
from .driver_wheels import PYTHONS, Target
from .errors import InvalidProps
from .location import DB_SETUP
from .variables import Overrides

_STAND_IN = aws_lambda.Code.from_inline("raise RuntimeError('cdk synth has failed, and its output was deployed')")
"""Stands in for a folder with errors; the CDK's command line never deploys it."""
_LISTED = 200  # names; CloudFormation limits the size of a template and of an event


class Package:
    """The code of the function, built or found again; raises InvalidProps for what cannot be built."""

    def __init__(
        self,
        scope: Construct,
        migrations: str | Path | None,
        runtime: aws_lambda.Runtime | None,
        architecture: aws_lambda.Architecture | None,
        layers: Sequence[aws_lambda.ILayerVersion],
        ca_bundle: str | Path | None,
        overrides: Overrides,
    ) -> None:
        self.runtime = runtime or latest_runtime()
        self.architecture = architecture or aws_lambda.Architecture.X86_64
        self.layers = list(layers)
        folder = Path(migrations or default_path(DB_SETUP))
        self._findings = synth_checks.inspect(folder, overrides.environment_name, strict_order=overrides.strict_order)
        target = Target(_python(self.runtime), self.architecture.name)
        annotations = aws_cdk.Annotations.of(scope)
        for text in self._findings.errors:
            annotations.add_error(text)
        for warned in self._findings.warnings:
            annotations.add_warning_v2(warned.id, warned.text)
        if self._findings.errors:
            self.code: aws_lambda.Code = _STAND_IN
        else:
            built = asset.build(folder, None if layers else target, Path(ca_bundle) if ca_bundle else None)
            self.code = aws_lambda.Code.from_asset(str(built.path), asset_hash=built.digest)
            self._refuse_size(annotations, built)

    def _refuse_size(self, annotations: aws_cdk.Annotations, built: asset.Asset) -> None:
        if built.size > asset.MAX_BYTES:
            annotations.add_error(
                f"the function would be {built.size >> 20} MB unzipped, and Lambda takes {asset.MAX_BYTES >> 20} MB. "
                f"The largest file is {built.largest}; load such data in another way, as by COPY from S3 (aws_s3)"
            )

    @property
    def migrations(self) -> list[str]:
        """Return the environment's with the beginning of their checksums, the oldest of many folded into one line."""
        lines = [f"{file.name} {file.checksum[:8]}" for file in self._findings.files]
        folded = max(0, len(lines) // _LISTED - 1) * _LISTED  # moves rarely, so that a diff shows what is new
        return [f"{folded} earlier ones {_digest(lines[:folded])[:8]}", *lines[folded:]] if folded else lines

    @property
    def digest(self) -> str:
        """Return a digest of the environment's migrations, of their names and their texts."""
        return _digest([f"{file.name} {file.checksum}" for file in self._findings.files])


def latest_runtime() -> aws_lambda.Runtime:
    """Return the newest Python that Lambda has and psycopg2 is built for, also where the CDK is older than that."""
    known: aws_lambda.Runtime | None = getattr(aws_lambda.Runtime, f"PYTHON_{PYTHONS[-1].replace('.', '_')}", None)
    return known or aws_lambda.Runtime(
        f"python{PYTHONS[-1]}", aws_lambda.RuntimeFamily.PYTHON, supports_inline_code=True
    )


def _python(runtime: aws_lambda.Runtime) -> str:
    version = runtime.name.removeprefix("python")
    if version not in PYTHONS:
        raise InvalidProps(f"runtime is {runtime.name}", fix=f"use a runtime of Python {', '.join(PYTHONS)}")
    return version


def _digest(lines: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
