"""Bodies that others write: read in one way, with one error for all that can be wrong with them."""

import re
from typing import Any, TypeVar

import msgspec

from volumehealth import errors

T = TypeVar("T")

UNREADABLE = (msgspec.MsgspecError, UnicodeError, RecursionError, OverflowError)
"""What decoding raises: no JSON or another shape, bytes that are no UTF-8, depth without an end, numbers without one."""


def read_body(body: bytes, kind: type[T], *, what: str) -> T:
    """Decode JSON.

    Args:
        body: as it came.
        kind: the type that it should have. A null where the type has no room for one counts as left out.
        what: it is, for the message: `the Lease`.

    Raises:
        ApiError: if it is nothing of that kind.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except UNREADABLE as error:
        try:
            return msgspec.json.decode(
                msgspec.json.encode(without_nulls(msgspec.json.decode(body))), type=kind
            )
        except UNREADABLE:
            raise errors.ApiError(f"{what} cannot be read: {reason_of(error)}") from error


def version_number(version: str) -> int:
    """Read a resourceVersion: those of one resource are numbers that grow (KEP-5504). 0 if it is none."""
    return int(version) if version.isascii() and version.isdigit() and len(version) < 20 else 0


def without_nulls(value: Any) -> Any:
    """Return a value of JSON without the fields and items that are null."""
    if isinstance(value, dict):
        return {name: without_nulls(one) for name, one in value.items() if one is not None}
    if isinstance(value, list):
        return [without_nulls(one) for one in value if one is not None]
    return value


_HEX = "[0-9a-fA-F]"
_ESCAPES = re.compile(
    rf"\\u[dD][89abAB]{_HEX}{{2}}\\u[dD][c-fC-F]{_HEX}{{2}}|(\\u[dD][89a-fA-F]{_HEX}{{2}})|\\."
)
"""Escapes of JSON, pairs of surrogates first; the group is half a pair, which stands for no character."""


def repaired(body: bytes) -> bytes:
    """Return JSON with the replacement character for what is no text: bytes that are no UTF-8, half surrogates."""
    text = body.decode("utf-8", errors="replace")
    return _ESCAPES.sub(lambda found: "\\ufffd" if found[1] else found[0], text).encode()


def reason_of(error: BaseException) -> str:
    """Say in one bounded line what is wrong with a body."""
    return " ".join(f"{error}"[:300].split()) or type(error).__name__
