"""Numbers of migrations: which are duplicate, which come late, and which are free. Pure.

The rules are in db_setup/README.md, "Files and numbers". A free number follows the highest one in its spelling: 003
after 002, V1_3 after V1_2, 2026-02-01 after 2026-01-31 (the day after; with a time, the second or minute after).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from migrator.errors import DuplicateNumber
from migrator.files import Migration, Number, number_of, parse_number, split_name
from migrator.formatting import listed

if TYPE_CHECKING:
    from datetime import datetime

TAKE_NEXT = "give it the next free number"
_FIRST = "001"
_DATE = r"([0-9]{4})([-_])([0-9]{2})([-_])([0-9]{2})(?:([-_])([0-9]{4,6}))?"
_DEEPEST = 9  # levels below a number that are tried to find one between two


def duplicates(files: Iterable[Migration]) -> list[list[str]]:
    """Return the names of the files that share a number, for each number that several have."""
    groups: dict[Number, list[str]] = {}
    for file in files:
        if (number := file.number) is not None:
            groups.setdefault(number, []).append(file.name)
    return [names for names in groups.values() if len(names) > 1]


def describe_duplicate(names: Sequence[str]) -> str:
    """Return in words that files share a number."""
    return f"duplicate number {split_name(names[0])[0].lstrip('0') or '0'}: {listed(names)}"


def highest(names: Iterable[str]) -> Number:
    """Return the highest number in file names, () for none."""
    return max(filter(None, map(number_of, names)), default=())


def is_late(name: str, last: Number) -> bool:
    """Return whether a file comes before the last one that is applied; a file without a number never does."""
    number = number_of(name)
    return number is not None and number < last


def free_numbers(names: Sequence[str], given: Sequence[str], count: int) -> list[str]:
    """Return the next ``count`` numbers after those in file names and those given, spelled like the highest."""
    if not count:
        return []
    spelled = [text for text in (*(split_name(name)[0] for name in names), *given) if text]
    return list(islice(_following(max(spelled, key=parse_number, default="")), count))


def on_date(number: str, now: datetime) -> str:
    """Return a moment in the spelling of a number that is a date, "" for another number."""
    found = re.fullmatch(_DATE, number)
    return now.strftime(_date_format(found)) if found else ""


def numbered_name(number: str, rest: str, names: Iterable[str]) -> str:
    """Return a file name with a number, in the form of the highest of ``names``: V1_3__rest or 003_rest."""
    last = max(names, key=lambda name: number_of(name) or (), default="").rpartition("/")[2]
    letter = last[:1] if last[:1] in "vV" and split_name(last)[0] else ""
    name = f"{letter}{number}__{rest}" if letter else f"{number}_{rest}"
    return name if number_of(name) == parse_number(number) else f"V{number}__{rest}"


def numbers_in_order(order: Sequence[tuple[str, str]], others: Iterable[str] = ()) -> dict[str, str]:
    """Return a number for each file without one, so that a new database applies all files in the same order.

    ``order`` has the names in the order of application, each with the number that the history has given, or "";
    ``others`` are names whose numbers are taken; a file at the end comes after all of them. A given number stays where
    it fits: it is above the numbers of all files before, and below those of the files after. Raises DuplicateNumber
    where there is none between two files.
    """
    names = [name for name, _ in order]
    numbered = [(index, own) for index, name in enumerate(names) if (own := number_of(name)) is not None]
    taken = {own for name in (*names, *others) if (own := number_of(name)) is not None}
    found: dict[str, str] = {}
    last, beyond = "", max((split_name(name)[0] for name in others), key=parse_number, default="")
    for index, (name, given) in enumerate(order):
        number = split_name(name)[0]
        if not number:
            lower = parse_number(last)
            later = [(own, names[at]) for at, own in numbered if at > index and own > lower]
            limit, limiting = min(later, default=(None, ""))
            end = max(last, beyond, key=parse_number)
            candidates = _candidates(given, last, end=None if limit is not None else end)
            number = next((text for text in candidates if _fits(text, lower, limit, taken)), "")
            if not number:
                raise DuplicateNumber(
                    f"no number is free for {name}, which comes before {limiting} in the order of application",
                    fix=f"rename {name} by hand: to a number below that of {limiting}",
                )
            taken.add(parse_number(number))
            found[name] = number
        if parse_number(number) > parse_number(last):
            last = number
    return found


def _fits(text: str, lower: Number, limit: Number | None, taken: set[Number]) -> bool:
    number = parse_number(text)
    return lower < number and (limit is None or number < limit) and number not in taken


def _candidates(given: str, last: str, *, end: str | None) -> Iterator[str]:
    """Yield the numbers that may be taken after ``last``: a given one, the next ones, and those in between.

    With an ``end``, no file comes later, and the next ones are those after that.
    """
    if given:
        yield given
    if end is not None:
        yield from _following(end)
    yield from islice(_following(last), _DEEPEST) if last else ("000",)
    yield from _below(last or "000")


def _below(number: str) -> Iterator[str]:
    """Yield numbers that come after one and before every other, such as 003.1, 003.0.1."""
    if found := re.fullmatch(_DATE, number):
        if not found[7]:
            yield f"{number}{found[2]}0001"
        return
    dot = "_" if "_" in number and "." not in number else "."
    for zeros in range(_DEEPEST):
        yield dot.join([number if dot == "_" else number.replace("_", "."), *["0"] * zeros, "1"])


def _following(number: str) -> Iterator[str]:
    """Yield the numbers after one, in its spelling."""
    following = _after(number) if number else _FIRST
    while True:
        yield following
        following = _after(following)


def _after(number: str) -> str:
    if found := re.fullmatch(_DATE, number):
        return _after_date(number, found)
    start, last = re.fullmatch(r"(.*?)([0-9]+)", number).groups()  # type: ignore[union-attr]  # a number ends in digits
    return f"{start}{int(last) + 1:0{len(last)}d}"


def _after_date(number: str, found: re.Match[str]) -> str:
    """Return the next day, minute or second; of what is no date, the number that follows."""
    from datetime import datetime, timedelta  # noqa: PLC0415 - for folders that are numbered by dates

    step = timedelta(days=1) if not found[7] else timedelta(minutes=1) if len(found[7]) == 4 else timedelta(seconds=1)
    try:
        following = (datetime.strptime(number, _date_format(found)) + step).strftime(_date_format(found))  # noqa: DTZ007
    except (ValueError, OverflowError):
        following = ""
    if re.fullmatch(_DATE, following) and len(following) == len(number):
        return following
    year, first, month, second, day, third, time = (part or "" for part in found.groups())
    digits = f"{int(year + month + day + time) + 1:0{8 + len(time)}d}"
    return f"{digits[:4]}{first}{digits[4:6]}{second}{digits[6:8]}{third}{digits[8:]}"


def _date_format(found: re.Match[str]) -> str:
    """Return the format of a date in the spelling that was found."""
    time = "" if not found[7] else found[6] + ("%H%M" if len(found[7]) == 4 else "%H%M%S")
    return f"%Y{found[2]}%m{found[4]}%d{time}"
