"""A lane: one process with a stage of its own, which takes jobs one after another."""

from __future__ import annotations

import os
from functools import cached_property
from itertools import count
from pathlib import Path

from tests.faults.stage import Stage
from tests.faults.trial import Trials


class Lane:
    """What a job needs; made when it is first asked for."""

    def __init__(self, folder: Path, pgbin: str = "") -> None:
        self._folder = folder / f"lane{os.getpid()}"
        self._numbers = count(1)
        self.pgbin = pgbin

    @cached_property
    def trials(self) -> Trials:
        """The trials on the lane's stage."""
        return Trials(Stage(self.place(), self.pgbin))

    def place(self) -> Path:
        """Return a folder for a stage."""
        return self._folder / str(next(self._numbers))

    def close(self) -> None:
        """Remove the stage, if there is one."""
        if "trials" in vars(self):
            self.trials.stage.close()
