"""TODO."""

from __future__ import annotations

PACKAGE_VERSION = "2.0.0"
