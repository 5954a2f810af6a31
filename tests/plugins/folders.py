"""Folders of migrations that a test writes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


class Folder(os.PathLike[str]):
    """A folder of migrations; usable where a path is."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)

    def write(self, name: str, content: str | bytes = "") -> Path:
        """Write a file, text in UTF-8 with its line ends as they are, and return its path."""
        file = self.path / name
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Return an empty folder named migrations."""
    path = tmp_path / "migrations"
    path.mkdir()
    return Folder(path)
