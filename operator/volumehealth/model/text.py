"""What others say is untrusted text: cleaned, masked and bounded before anything else sees it (facts C3, D12)."""

import re
import unicodedata

from volumehealth.model.masking import mask
from volumehealth.model.vocabulary import Reason

MESSAGE_BYTES = 1024
"""Kubernetes' bound of a health condition's message, in UTF-8."""
REASON_BYTES = 256
"""Kubernetes' bound of a health condition's reason."""

STATUS_BYTES = 64
"""Our bound of a health condition's status: one of three words, or one of a newer version."""

_PLAIN_LENGTH = MESSAGE_BYTES // 4  # so many characters fit, whatever they are
_CUT = "…"
_UNSEEN = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
_DIGITS = 18
_REASON = re.compile(r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?")
_WORD = re.compile(r"[A-Za-z0-9_]+")


def clean_message(text: str) -> str:
    """Return a message on one line, printable and at most 1,024 bytes long; `…` marks a cut.

    Control characters, line ends and invisible ones (such as those that reverse the direction of a line) become
    spaces; credentials are masked.
    """
    if len(text) <= _PLAIN_LENGTH and text.isprintable():
        masked = mask(text).strip()
        return masked if len(masked) <= _PLAIN_LENGTH else _cut(masked)
    # A character has a byte at least: more can never fit, and the rest costs time. What is masked becomes shorter, and
    # the end of a secret that begins within bounds must be seen.
    head = mask(text[: 4 * MESSAGE_BYTES])
    whole = len(text) <= 4 * MESSAGE_BYTES and len(head.encode(errors="replace")) <= MESSAGE_BYTES
    head = head[:MESSAGE_BYTES]
    if not head.isprintable():
        head = " ".join("".join(char if char.isprintable() else " " for char in head).split())
    return head.strip() if whole else _cut(head)


def clean_reason(text: str, *, default: str = Reason.VOLUME_CONDITION_ABNORMAL) -> str:
    """Return a reason that Kubernetes takes: `^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$`, 256 bytes at most.

    A text that does not fit is made CamelCase of its words: `disk is full` becomes `DiskIsFull`. One without any
    letter becomes `default`.
    """
    text = mask(text[: 4 * REASON_BYTES])
    if len(text) <= REASON_BYTES and _REASON.fullmatch(text):
        return text
    words = _WORD.findall(text)
    camel = "".join(word[0].upper() + word[1:] for word in words).lstrip("0123456789_")
    return camel[:REASON_BYTES] or str(default)


def clean_status(text: str) -> str:
    """Return a status that a record can hold as it is: a cut one would be another finding after a restart.

    It is empty if the text says nothing: blank, or characters that are not to be seen.
    """
    return clean_message(text).encode()[:STATUS_BYTES].decode(errors="ignore").strip()


def whole_number(text: str) -> int | None:
    """Read a number of 18 ASCII digits at most; None if it is none. `str.isdigit` takes `²`, which `int` refuses."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS else None


def visible(text: str) -> str:
    """Return a text for a screen, at its full length: what steers a terminal, turns the direction of a line or ends it is a space."""
    if text.isprintable():
        return text
    return "".join(" " if unicodedata.category(one) in _UNSEEN else one for one in text)


def _cut(text: str) -> str:
    room = MESSAGE_BYTES - len(_CUT.encode())
    return text.encode()[:room].decode(errors="ignore").rstrip() + _CUT


def count(number: int, noun: str) -> str:
    """Write a number and its noun: `1 claim`, `3 claims`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
