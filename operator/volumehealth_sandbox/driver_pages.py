"""Pages of the simulated driver's lists, the proper ones and the others (facts D1, D2)."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

from volumehealth_sandbox.driver_quirks import Quirk
from volumehealth_sandbox.driver_state import DriverState

_AFTER = "after:"
_AGAIN = "again"
_ENDLESS = "endless:"


class BadToken(ValueError):  # noqa: N818 - what it is, not that it is one
    """The token is none of ours, or refused on purpose."""


@dataclass(frozen=True, slots=True)
class Page:
    """What one call of a list returns."""

    handles: Sequence[str]
    next_token: str


def page(state: DriverState, handles: Sequence[str], *, max_entries: int, token: str) -> Page:
    """Cut a page out of a list.

    Args:
        state: the driver, with its habits.
        handles: all there is to list, sorted.
        max_entries: 0 means no limit.
        token: where to go on; empty means from the start.

    Raises:
        BadToken: if the token cannot be used.
    """
    start = _start(state, handles, token)
    limit = _limit(state, max_entries) or len(handles)
    end = min(start + limit, len(handles))
    return Page(handles[start:end], _next_token(state, handles[:end], token=token, more=end < len(handles)))


def _start(state: DriverState, handles: Sequence[str], token: str) -> int:
    if not token:
        return 0
    if refusal := state.habit(Quirk.ABORTS_TOKENS):
        left = refusal.count
        if left is None:
            raise BadToken(token)
        if left > 0:
            state.misbehave(Quirk.ABORTS_TOKENS, replace(refusal, count=left - 1))
            raise BadToken(token)
    if token == _AGAIN or token.startswith(_ENDLESS):
        return 0
    if not token.startswith(_AFTER):
        raise BadToken(token)
    start = bisect_right(handles, token.removeprefix(_AFTER))
    if drift := state.habit(Quirk.DRIFTS):
        start += -1 if drift.count is None else drift.count
    return max(start, 0)


def _limit(state: DriverState, max_entries: int) -> int:
    if state.habit(Quirk.IGNORES_LIMIT):
        return 0
    if cap := state.habit(Quirk.CAPS_PAGES):
        longest = cap.count or 100
        return min(max_entries or longest, longest)
    return max_entries


def _next_token(state: DriverState, sent: Sequence[str], *, token: str, more: bool) -> str:
    if state.habit(Quirk.NO_TOKEN):
        return ""
    if state.habit(Quirk.REPEATS_TOKEN):
        return _AGAIN
    if state.habit(Quirk.ENDLESS_PAGES):
        return f"{_ENDLESS}{int(token.removeprefix(_ENDLESS) or 0) + 1}"
    return f"{_AFTER}{sent[-1]}" if more else ""
