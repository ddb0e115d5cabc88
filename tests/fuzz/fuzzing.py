"""Inputs for everything that reads what others write: recorded ones, edited; and how many of them are tried.

In: `VOLUMEHEALTH_FUZZ=n`, the number of inputs for each test, 120 without it. Out: decorators and strategies.
"""

import functools
import os
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("VOLUMEHEALTH_FUZZ", "120"))
TRIED: Counter[str] = Counter()
"""How many inputs each test was given."""

F = TypeVar("F", bound=Callable[..., None])
Json = Any

ODD_TEXT = (
    "",
    " ",
    "\n",
    "\0",
    "\x1b[31m",
    "\u202e",
    "\ufffd",
    "²",
    "٣",
    "-1",
    "0",
    "1e999",
    "NaN",
    "9" * 25,
    "9" * 5000,
    "0x10",
    "%s",
    "{0}",
    "../../etc/passwd",
    "a" * 10_000,
    "password=hunter2",
)
ODD_BYTES = (
    b"",
    b"\0",
    b"\xff",
    b"\xed\xa0\x80",
    b"\r\n",
    b"\r\n\r\n",
    b"null",
    b"[]",
    b"{}",
    b'"',
    b"\\ud800",
    b"<html>",
    b"9" * 30,
    b"[" * 2000,
    b"1e999",
    b": ",
    b"-1",
    b"\x7f" * 40,
)
TIMES = (
    "0001-01-01T00:00:00+05:00",
    "9999-12-31T23:59:59Z",
    "9999-12-31T23:59:59-14:00",
    "2026-13-40",
    "2016-12-31T23:59:60Z",
    "2026-11-24T03:02:11.999999999999999999Z",
    "2026-11-24T03:02:11Z",
)
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | ANY_TEXT
    | st.sampled_from(TIMES + ODD_TEXT)
)
ANY_JSON: st.SearchStrategy[Json] = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=5,
)


def fuzz(*strategies: st.SearchStrategy[Any], share: float = 1.0) -> Callable[[F], F]:
    """Give a test as many inputs as are asked for, times its share, and count them."""

    def decorate(test: F) -> F:
        @functools.wraps(test)
        def counted(**values: Any) -> None:
            TRIED[test.__name__] += 1
            test(**values)

        return settings(  # type: ignore[return-value]  # `given` takes the arguments away
            max_examples=max(1, int(EXAMPLES * share)),
            deadline=None,
            derandomize="VOLUMEHEALTH_FUZZ" not in os.environ,  # every change is tried with the same inputs
            suppress_health_check=list(HealthCheck),
        )(given(*strategies)(counted))

    return decorate


@st.composite
def edited(draw: st.DrawFn, samples: Sequence[bytes]) -> bytes:
    """Return one of some inputs, cut, repeated, or with something odd in it; now and then any bytes."""
    value = draw(st.sampled_from(samples))
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(value)))
        dropped = draw(st.sampled_from((0, 0, 1, 2, 7, len(value))))
        new = draw(
            st.sampled_from(ODD_BYTES) | st.binary(max_size=4) | st.just(value[max(0, place - 20) : place])
        )
        value = value[:place] + new + value[place + dropped :]
    return value


@st.composite
def edited_text(draw: st.DrawFn, samples: Sequence[str]) -> str:
    """Return one of some texts, cut, repeated, or with something odd in it: whole words, or at any place."""
    value = draw(st.sampled_from(samples))
    for _ in range(draw(st.integers(0, 4))):
        new = draw(st.sampled_from(ODD_TEXT) | ANY_TEXT)
        words = value.split(" ")
        if draw(st.booleans()):
            words[draw(st.integers(0, len(words) - 1))] = new
            value = " ".join(words)
        else:
            place = draw(st.integers(0, len(value)))
            value = value[:place] + new + value[place + draw(st.sampled_from((0, 1, 3, len(value)))) :]
    return value


@st.composite
def edited_json(draw: st.DrawFn, samples: Sequence[Json]) -> Json:
    """Return one of some JSON values with anything at up to three places."""
    value = draw(st.sampled_from(samples))
    for _ in range(draw(st.integers(1, 3))):
        places = paths(value)
        if places:
            value = replaced(value, draw(st.sampled_from(places)), draw(ANY_JSON))
    return value


def paths(value: Json, *, to: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """Return where something stands in a value, at every depth."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [*([to] if to else []), *(one for key, below in inside for one in paths(below, to=(*to, key)))]


def replaced(value: Json, path: tuple[object, ...], new: Json) -> Json:
    """Return a value with another one at a place."""
    if not path:
        return new
    first, *rest = path
    if isinstance(value, dict):
        return {**value, first: replaced(value[first], tuple(rest), new)}
    return [replaced(one, tuple(rest), new) if at == first else one for at, one in enumerate(value)]
