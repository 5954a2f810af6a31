"""A finding of lint, and how it is shown: as text, as JSON, as an annotation of GitHub. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

from migrator.errors import DbSetupError

ERROR, WARNING, INFO = "error", "warning", "info"


class LintFinding(NamedTuple):
    """What is wrong where: a file's name, 1-based line and column (0: the file, or the folder, as a whole).

    ``refusal`` is the whole text with which a run would refuse the file, the line and a caret in it; empty if it would
    not, or not for the file alone.
    """

    file: str
    line: int
    column: int
    level: str
    rule: str
    message: str
    help: str = ""
    refusal: str = ""

    def text(self, folder: str) -> str:
        """Return the finding for people; ``folder`` comes before the file's name."""
        return f"{self._place(folder)}: {self.level}: {self._words()}"

    def without_level(self, folder: str) -> str:
        """Return the same for a reader to whom the level is shown separately."""
        return f"{self._place(folder)}: {self._words()}"

    def _place(self, folder: str) -> str:
        return ":".join([f"{folder}/{self.file}".rstrip("/"), *(str(n) for n in (self.line, self.column) if n)])

    def _words(self) -> str:
        return f"{self.message} [{self.rule}]" + (f"\n    {self.help}" if self.help else "")

    def entry(self, folder: str) -> dict[str, Any]:
        """Return the finding for JSON, null for what is not known."""
        path = f"{folder}/{self.file}".rstrip("/")
        unknown = {name: value or None for name, value in self._asdict().items()}
        del unknown["refusal"]  # which repeats the message
        return {**unknown, "file": path}

    def annotation(self, folder: str) -> str:
        """Return the finding as a workflow command of GitHub; ``folder`` is relative to the repository."""
        kind = {ERROR: "error", WARNING: "warning", INFO: "notice"}[self.level]
        file = f"{folder}/{self.file}" if self.file else ""
        places = {"file": file, "line": self.line, "col": self.column, "title": self.rule}
        properties = ",".join(f"{name}={_property(str(value))}" for name, value in places.items() if value)
        text = f"{self.message}\n{self.help}" if self.help else self.message
        return f"::{kind} {properties}::{_data(text)}"


def finding_of(error: DbSetupError, name: str = "") -> LintFinding:
    """Return the finding that an error is; ``name`` is the file where the error has no place."""
    where = error.where
    line, column = (where.line, where.column) if where else (0, 0)
    file = where.file if where else name
    return LintFinding(file, line, column, ERROR, error.code, error.what, error.fix, str(error))


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
