"""The changelog: its newest version is that of the folder, and its form is that of Keep a Changelog."""

from __future__ import annotations

import re
from datetime import date

from migrator.version import VERSION

from tests.docs.documents import CHANGELOG, REFERENCE

_RELEASE = re.compile(r"^## (\S+) \((\d{4}-\d\d-\d\d)\)$", re.MULTILINE)
KINDS = ("Added", "Changed", "Removed", "Fixed", "Security")


def test_newest_version() -> None:
    """The version rises when the changelog does."""
    assert _RELEASE.findall(CHANGELOG.read_text(encoding="utf-8"))[0][0] == VERSION


def test_releases_are_in_order() -> None:
    """Newer releases come first, and no heading escapes the form."""
    text = CHANGELOG.read_text(encoding="utf-8")
    found = _RELEASE.findall(text)
    assert len(found) == len(re.findall(r"^## ", text, re.MULTILINE)) > 1
    versions = [tuple(map(int, version.split("."))) for version, _ in found]
    assert versions == sorted(versions, reverse=True)
    days = [date.fromisoformat(day) for _, day in found]
    assert days == sorted(days, reverse=True)
    assert set(re.findall(r"^### (.+)$", text, re.MULTILINE)) <= set(KINDS)


def test_outputs_show_this_version() -> None:
    """A version that an output of the reference shows is this one."""
    shown = re.findall(r'(?:\bversion |"version": ")(\d+\.\d+\.\d+)', REFERENCE.read_text(encoding="utf-8"))
    assert set(shown) == {VERSION}
