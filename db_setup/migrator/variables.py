"""Variables of the environment as typed values, each refused by name when it cannot be read. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from migrator.errors import InvalidSetting

_TRUE, _FALSE = frozenset({"true", "1", "yes", "on"}), frozenset({"false", "0", "no", "off"})
_UNITS = (("ms", 0.001), ("min", 60.0), ("s", 1.0))
_MAX_SECONDS = 7 * 86400.0


class Variables:
    """Reads typed values out of an environment; a value that is empty counts as not set."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def text(self, name: str) -> str:
        """Return the value without blanks around it; raises InvalidSetting for a NUL."""
        value = self._environ.get(name, "").strip()
        if "\x00" in value:
            raise InvalidSetting(f"{name} holds a NUL character", cure=f"set {name} again without it")
        return value

    def boolean(self, name: str, *, default: bool) -> bool:
        """Return the value of a switch; raises InvalidSetting."""
        value = self.text(name).lower()
        if value in _TRUE or value in _FALSE:
            return value in _TRUE
        if value:
            raise InvalidSetting(f'{name} is "{value}"', cure=f"set {name} to true or false")
        return default

    def choice(self, name: str, words: tuple[str, ...]) -> str:
        """Return one of the words; the first is the default."""
        value = self.text(name).lower() or words[0]
        if value not in words:
            raise InvalidSetting(f'{name} is "{value}"', cure=f"set {name} to {' or '.join(words)}")
        return value

    def names(self, name: str) -> tuple[str, ...]:
        """Return the names of a list with commas, each once."""
        value = self.text(name)
        return tuple(dict.fromkeys(filter(None, map(str.strip, value.split(","))))) if value else ()

    def seconds(self, name: str) -> float | None:
        """Return a length of time in seconds, or None; raises InvalidSetting."""
        value = self.text(name)
        return parse_seconds(value, name) if value else None


def parse_seconds(value: str, name: str) -> float:
    """Return a length of time in seconds; "300", "1.5", "500ms", "30s" and "5min" are understood."""
    number, scale = value.lower(), 1.0
    for unit, factor in _UNITS:
        if number.endswith(unit):
            number, scale = number.removesuffix(unit).strip(), factor
            break
    try:
        seconds = float(number) * scale
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= _MAX_SECONDS:
        raise InvalidSetting(
            f'{name} is "{value}"',
            cure=f'set {name} to a number of seconds above 0 and up to 7 days, such as "300" or "500ms"',
        )
    return seconds
