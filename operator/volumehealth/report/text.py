"""Words and numbers as a person reads them: bounded, on one line, in absolute UTC time."""

import unicodedata
from datetime import timedelta

from volumehealth.model.masking import mask

_LONGEST = 4096


def clean(text: str) -> str:
    """Put untrusted text on one line, 4,096 characters at most; control characters and white space become a space.

    Credentials are masked.
    """
    text = mask(text[:_LONGEST])
    if text.isascii() and text.isprintable() and "  " not in text:
        return text.strip()
    printable = (" " if unicodedata.category(char)[0] in "CZ" else char for char in text)
    return " ".join("".join(printable).split())


def fit(text: str, size: int) -> str:
    """Cut a text to `size` bytes of UTF-8, never within a character; what was cut is shown as `...`."""
    encoded = text.encode()
    if len(encoded) <= size:
        return text
    return encoded[: max(0, size - 3)].decode(errors="ignore").rstrip() + "..."


def listed(names: list[str], total: int, shown: int) -> str:
    """Name the first few: `a, b, 7 more`."""
    head = names[:shown]
    rest = total - len(head)
    return ", ".join([*head, f"{rest} more"] if rest > 0 else head)


def span(length: timedelta) -> str:
    """Write a duration as Kubernetes does, two units at most: `45s`, `5m`, `1h30m`, `3d4h`."""
    seconds = max(0, int(length.total_seconds()))
    for unit, size, below, smaller in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if seconds >= size:
            rest = seconds % size // smaller
            return f"{seconds // size}{unit}{rest}{below}" if rest else f"{seconds // size}{unit}"
    return f"{seconds}s"
