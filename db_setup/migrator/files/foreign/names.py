"""Names by which another tool would not run a file forward, and what to do about each. Pure.

Imported late, by folders that have a name with such a word or letter in it.

Some patterns are sure whatever else the folder has. The others are words that an honest name may have as well
(``undo_log``, ``down_payments``): these count only beside the file whose down migration they would be.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import NamedTuple

from migrator.errors import MisplacedFile, NotForward, PlanError
from migrator.files.migration import REPEATABLE, Migration, down_name

FORWARD_ONLY = '"-- db_setup: forward-only" as its first line'
"""What overrules both a name and a mark, as the text of a fix."""


class _Rule(NamedTuple):
    """A pattern of whole names without .sql, whose tool it is, and what the file is there.

    What the pattern names ``rest``, before ``after``, is the name of its migration, or ``version`` that one's version.
    """

    pattern: str
    tool: str
    meaning: str = "a down migration"


_VERSION = r"[0-9]+(?:[._][0-9]+)*"
_SEPARATOR = r"[-_. ]"
_SURE = (
    # A letter, a version and two underscores: no word begins so. Flyway wants the capital, and no name after it.
    _Rule(rf"(?:[Uu](?P<version>{_VERSION})__.*|U(?P<bare>{_VERSION}))", "Flyway", "an undo migration"),
    # The same behind a number, as the first generation of this tool has recorded it.
    _Rule(rf"[0-9]+[-_. ]U(?P<version>{_VERSION})__.*", "Flyway", "an undo migration"),
    # What Flyway runs at other commands, by their exact names.
    _Rule(
        r"(?:before|after)(?:Each)?(?:Undo|Clean|Repair|Baseline|Info|Validate|MigrateError)"
        r"(?:Statement)?(?:Error|OperationFinish)?(?:__.*)?",
        "Flyway",
        "a callback of another command than migrate",
    ),
    # What MyBatis Migrations runs where a run has failed, by its exact name.
    _Rule("onabort", "MyBatis Migrations", "a script that is run after a failure"),
    # A part of its own between dots: postgrator's 001.undo.users, yoyo's 001_users.rollback, diesel's down.
    _Rule(r"(?i)(?:(?P<rest>.+)\.)?(?:undo|rollback|down|revert|downgrade)(?:\.(?P<after>.+))?", "postgrator, yoyo"),
    # At the very beginning, where the migrations of other folders have their number.
    _Rule(rf"(?i)rollback{_SEPARATOR}?(?P<rest>(?<={_SEPARATOR}).+|[0-9].*)", "several tools"),
    _Rule(rf"(?i)(?:undo|down|downgrade|revert){_SEPARATOR}?(?P<rest>[0-9].*)", "several tools"),
    # At the very end; "down" only where it is no part of a usual word, such as drop_down.
    _Rule(r"(?i)(?P<rest>.+)[-_ ]rollback", "several tools"),
    _Rule(
        r"(?i)(?P<rest>.+)(?<!break)(?<!count)(?<!cool)(?<!cut)(?<!drill)(?<!drop)(?<!lock)(?<!mark)(?<!pull)(?<!run)"
        r"(?<!scale)(?<!shut)(?<!slow)(?<!step)(?<!top)(?<!touch)(?<!wind)(?<!write)[-_ ]down",
        "db-migrate and others",
    ),
)
_UP = ("up", "upgrade", "upwards", "do", "apply", "deploy", "forward", "migrate")
_DOWN = "(?:down|downgrade|downwards|undo|rollback|revert)"
_PLACES = (  # of such a word in a name: first, behind the number, last
    rf"(?i)(?P<before>){_DOWN}(?P<behind>{_SEPARATOR}.+)",
    rf"(?i)(?P<before>[0-9]+{_SEPARATOR}){_DOWN}(?P<behind>(?:{_SEPARATOR}.+)?)",
    rf"(?i)(?P<before>.+{_SEPARATOR}){_DOWN}(?P<behind>)",
)


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def foreign_name(file: Migration, files: Mapping[str, Migration]) -> PlanError | None:
    """Return the error for a file by its name, None for one that is fine; ``files`` are all those of the folder."""
    if file.forward_only:
        return None
    folder, slash, own = file.name.rpartition("/")
    stem = own.removesuffix(".sql")
    if misplaced := _misplaced(file.name, folder, stem):
        return misplaced
    for rule in _SURE:
        if found := _compiled(rule.pattern).fullmatch(stem):
            stems = _stems_of_migration(found.groupdict(default=""))
            return _not_forward(file, rule, _first(stems, folder + slash, files))
    if beside := list(_stems_beside(stem)):
        up = _first(beside, folder + slash, files)
        return _not_forward(file, _Rule("", "another tool"), up) if up else None
    return None


def _not_forward(file: Migration, rule: _Rule, up: Migration | None) -> NotForward:
    new = down_name(up.name.rpartition("/")[2]) if up else ""
    if not rule.meaning.endswith("migration"):
        do = "keep it outside this folder"
    elif up and up.down:
        do = f"keep it outside this folder, since {new} is here already"
    else:
        do = f"rename it to {new or 'the name of its migration with .down.sql at the end'}"
    return NotForward(
        f"{file.name} is by its name {rule.meaning} ({rule.tool}), which is not run forward",
        fix=f"{do}; if it is to be run forward all the same, write {FORWARD_ONLY}",
    )


def _first(stems: Iterable[str], folder: str, files: Mapping[str, Migration]) -> Migration | None:
    """Return the first file of a folder that has one of the names; behind a version and ``__`` any words may stand."""
    known = {name.lower(): other for name, other in files.items()}
    for stem in stems:
        start = f"{folder}{stem}".lower()
        if stem.endswith("__"):
            if found := next((file for name, file in known.items() if name.startswith(start)), None):
                return found
        elif f"{start}.sql" in known:
            return known[f"{start}.sql"]
    return None


def _stems_of_migration(found: Mapping[str, str]) -> Iterator[str]:
    """Yield the names that its migration may have, as far as the pattern has found a part of them."""
    if version := found.get("version") or found.get("bare"):
        yield from (f"V{version}__", f"V{version}")
    rest, after = found.get("rest", ""), found.get("after", "")
    if after:
        yield from (f"{rest}.{word}.{after}" for word in _UP)
        yield f"{rest}.{after}"
    elif rest:
        yield rest
        for mark in "._-":
            yield from (f"{rest}{mark}{word}" for word in _UP)
            yield from (f"{word}{mark}{rest}" for word in _UP)


def _stems_beside(stem: str) -> Iterator[str]:
    """Yield the names of the files that it may be the down migration of: another word, or none, instead of its own."""
    for place in _PLACES:
        if found := _compiled(place).fullmatch(stem):
            before, behind = found["before"], found["behind"]
            yield from (f"{before}{word}{behind}" for word in _UP)
            yield before[:-1] + behind if before else behind[1:]


def _misplaced(name: str, folder: str, stem: str) -> MisplacedFile | None:
    if folder == REPEATABLE.removesuffix("/"):
        return None
    if found := _compiled("[Rr]__(.+)").fullmatch(stem):
        environment = f' with "-- db_setup: env={folder.partition("/")[2]}" at its top' if folder else ""
        return MisplacedFile(
            f"{name} is by its name a repeatable migration (Flyway), which is run again whenever its text has changed",
            fix=f"move it to {REPEATABLE}{found[1]}.sql{environment}; if it is to be run once, write {FORWARD_ONLY}",
        )
    if found := _compiled(rf"(?:[Bb]({_VERSION})(__.*)|B({_VERSION}))").fullmatch(stem):
        version = found[1] or found[3]
        return MisplacedFile(
            f"{name} is by its name a baseline (Flyway), which in a new database stands for all up to {version}",
            fix=f"where the files up to version {version} are here, keep it outside this folder; where they are not, "
            f"rename it to V{version}{found[2] or ''}.sql; if all are to be run, write {FORWARD_ONLY}",
        )
    return None
