"""Texts of legacy drivers without the parts that change from poll to poll (facts, D11).

Two texts that differ only in a time, a duration, a counter or an id say the same thing. The normalised form is
for comparing and for deriving a reason; people are shown the text itself.
"""

import re

PLACEHOLDER = "#"
"""What stands for anything that may change."""

_DAY = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*"
_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*"
_CLOCK = r"\d{1,2}:\d\d(?::\d\d(?:[.,]\d+)?)?"
_ZONE = r"(?:\s?(?:Z|UTC|GMT|[+-]\d\d:?\d\d)(?![0-9A-Za-z]))*"

# Every alternative is linear: no repeated group can match the same text in two ways. The order matters: what
# contains digits of another kind comes first.
_CHANGING = re.compile(
    "|".join(
        (
            # 2026-11-24T03:02:11.5Z, Go's `2026-11-24 03:02:11.5 +0000 UTC m=+12.5`
            rf"\d{{4}}[-/]\d\d[-/]\d\d(?:[T ]{_CLOCK})?{_ZONE}(?: m=[+-]\d+(?:\.\d+)?)?",
            # Tue Nov 24 02:13:50 UTC 2026 and Tue, 24 Nov 2026 02:13:50 GMT
            rf"\b{_DAY},? {_MONTH} {{1,2}}\d{{1,2}} {_CLOCK}{_ZONE}(?: \d{{4}})?",
            rf"\b(?:{_DAY}, )?\d{{1,2}}[ -]{_MONTH}[ -]\d{{4}}(?: {_CLOCK}{_ZONE})?",
            # ids: UUIDs, and words of eight hex digits or more with at least one decimal digit in them
            r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b",
            r"\b(?:0[xX])?(?=[a-fA-F]*[0-9])[0-9a-fA-F]{8,}\b",
            r"\b0[xX][0-9a-fA-F]+\b",
            # durations as Go writes them: 1h2m3.5s, 250ms
            r"(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h|d)){1,6}\b",
            # numbers, versions, addresses, clock times
            r"\d+(?:[.,:]\d+)*",
        )
    )
)
_BLANKS = re.compile(r"\s+")


def normalise(message: str) -> str:
    """Return a driver's text with times, durations, numbers and ids replaced by `#` and blanks made single.

    Letters keep their case, so the result still reads like the text. Normalising twice changes nothing more.

    Args:
        message: cleaned text of a driver, or of an error.
    """
    return _BLANKS.sub(" ", _CHANGING.sub(PLACEHOLDER, message)).strip()


def same_text(one: str, other: str) -> bool:
    """Tell whether two texts differ at most in what changes from poll to poll."""
    return one == other or normalise(one) == normalise(other)
