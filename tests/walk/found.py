"""Walks that have failed once, each cut down to what it takes, with what was wrong; all of them are taken by every run."""

from __future__ import annotations

from tests.walk.not_yet import Step

_BEGIN: Step = ("begin", "{:03d}_f0_log.sql")

FOUND: dict[str, list[Step]] = {
    # The walk took a rollback by other steps for the one that was killed before it.
    "a killed rollback, then one by other steps": [
        _BEGIN, ("add", "005_f1.sql", "strict", -1, "broken", ""), ("add", "010_f2.sql", "marked", -1, "good", ""),
        ("add", "015_f3.sql", "anew", -1, "good", ""), ("add", "020_f5.sql", "lenient", 0, "broken", ""),
        ("add", "025_f6.sql", "marked", -1, "broken", ""), ("home", "restore"), ("kill_rollback", 1, 18, 1),
        ("rollback", 2, ""), ("home", "back"), ("end",),
    ],
    # The walk waited for a file that repair had forgotten on the way.
    "repair in the middle of a rollback": [
        _BEGIN, ("add", "015_f3.sql", "lenient", -1, "", ""), ("add", "016_f4.sql", "lenient", -1, "good", ""),
        ("add", "025_f6.sql", "steps", -1, "broken", ""), ("add", "035_f8.sql", "anew", -1, "good", ""),
        ("home", "back"), ("delete", "016_f4.sql"), ("rollback", 2, ""), ("home", "repair"), ("end",),
    ],
    # The walk put back the text that had been refused, not the one whose steps are done.
    "a half-applied file, edited in what is done": [
        _BEGIN, ("add", "f1.sql", "steps", 4, "broken", ""), ("migrate", "", "ALLOW_MISSING"),
        ("edit", "f1.sql", "head", 1), ("home", "restore"), ("edit", "f1.sql", "windows", 0), ("home", "back"), ("end",),
    ],
    # A row that was changed by hand, where the database is ahead: repair sends to the newer files.
    "a row changed by hand, and a file that left for another environment": [
        _BEGIN, ("add", "001_f3.sql", "lenient", 4, "", ""), ("home", "restore"),
        ("rename", "001_f3.sql", "env/dev/001_f3.sql"), ("tamper",), ("home", "back"), ("end",),
    ],
    # The text that is rolled back stood in the history only, and was to be corrected in a file that was not there.
    "a down migration that fails, of a file that left for another environment": [
        _BEGIN, ("add", "010_f4.sql", "anew", -1, "good", ""), ("add", "010_f5.sql", "strict", 3, "broken", ""),
        ("home", "restore"), ("rename", "015_f5.sql", "env/staging/015_f5.sql"), ("home", "back"), ("end",),
    ],
    # The history of an adoption has no down migrations.
    "an adopted file that is gone, and is to be rolled back": [
        ("begin", "V{}__f0_log.sql"), ("environment", "dev"), ("add", "V34__f7.sql", "lenient", -1, "broken", "dev"),
        ("migrate", "", ""), ("lose_history",), ("migrate", "", "STRICT_ORDER"), ("delete", "V34__f7.sql"), ("home", "back"),
        ("end",),
    ],
    # The walk took a file for one that had never run, since repair had forgotten its row: what it made stays.
    "a repeatable file that repair has forgotten, and an older folder adopts": [
        _BEGIN, ("add", "repeatable/f1.sql", "views", -1, "", ""), ("home", "restore"), ("delete", "repeatable/f1.sql"),
        ("repair",), ("lose_history",), ("older", 0), ("end",),
    ],
    # The walk believed a baseline whose row was lost, and took the file's first run for the second.
    "a file that was recorded by a person, whose word is lost with the history": [
        ("begin", "V{}__f0_log.sql"), ("add", "f1.sql", "lenient", -1, "", ""), ("baseline", "f1.sql"), ("lose_history",),
        ("home", "restore"), ("end",),
    ],
    # The walk held a history that was made anew in one environment against the files of another one.
    "a history that an older folder makes anew, for another environment": [
        _BEGIN, ("add", "env/dev/001_f1.sql", "lenient", -1, "", ""), ("home", "restore"), ("environment", "dev"),
        ("home", "restore"), ("lose_history",), ("older", 0), ("home", "restore"), ("end",),
    ],
    # A file that the adoption had left to another environment dropped the table that it had made there.
    "a file for another environment than that of the adoption": [
        _BEGIN, ("add", "env/dev/001_f1.sql", "anew", -1, "", ""), ("home", "restore"), ("environment", "dev"),
        ("home", "restore"), ("customers",), ("lose_history",), ("older", 0), ("home", "restore"), ("end",),
    ],
    "the same, before files that were adopted, and step by step": [
        _BEGIN, ("add", "env/dev/001_f1.sql", "steps", -1, "", ""), ("add", "env/dev/002_f2.sql", "anew", -1, "", ""),
        ("add", "005_f3.sql", "strict", -1, "", ""), ("home", "restore"), ("environment", "dev"),
        ("home", "restore"), ("customers",), ("lose_history",), ("older", 0), ("home", "restore"), ("end",),
    ],
}  # fmt: skip
