"""The version of this package: the newest one in CHANGELOG.md."""

from __future__ import annotations

VERSION = "3.0.0"
