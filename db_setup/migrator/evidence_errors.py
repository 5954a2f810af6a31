"""What can go wrong when a database is compared with what its files build."""

from __future__ import annotations

from migrator.errors import PlanError, RunError


class ScratchRefused(RunError):
    """The server does not let this user make a scratch database."""

    code = "scratch_refused"


class ScratchFailed(RunError):
    """A file could not be applied to the scratch database, so there is nothing to compare with."""

    code = "scratch_failed"


class NothingProven(PlanError):
    """A database has tables and no history, and nothing shows which files were applied to it."""

    code = "nothing_proven"


class ContradictoryEvidence(PlanError):
    """The history of another tool does not fit the files, or says that a file failed."""

    code = "contradictory_evidence"


class AdoptionNeeded(PlanError):
    """A database has tables and no history, and ADOPT=manual leaves it to a person to say so."""

    code = "adoption_needed"
