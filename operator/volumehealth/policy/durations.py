"""Durations as the API writes them: `90s`, `2m`, `1h30m`."""

import re
from datetime import timedelta

_UNITS = {
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}
_PATTERN = re.compile("".join(f"(?:([0-9]{{1,6}}){unit})?" for unit in _UNITS), re.ASCII)


def parse_duration(text: str) -> timedelta:
    """Read a duration: whole numbers of h, m, s and ms, in that order, each at most once.

    Raises:
        ValueError: with a sentence for the user.
    """
    match = _PATTERN.fullmatch(text)
    if not text or match is None:
        raise ValueError(
            "must be a duration such as 90s, 2m or 1h30m: whole numbers of h, m, s and ms, in that order"
        )
    counts = (int(digits or 0) for digits in match.groups())
    return sum((count * unit for count, unit in zip(counts, _UNITS.values(), strict=True)), timedelta())


def format_duration(duration: timedelta) -> str:
    """Write a duration in its shortest form, such as `1h30m`; what is under a millisecond is dropped.

    Raises:
        ValueError: if it is negative.
    """
    if duration < timedelta():
        raise ValueError(f"a duration cannot be negative: {duration}")
    text = ""
    for name, unit in _UNITS.items():
        count, duration = divmod(duration, unit)
        text += f"{count}{name}" if count else ""
    return text or "0s"
