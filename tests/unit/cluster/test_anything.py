"""Whatever an object holds, reading it ends nothing: it is read or skipped, and its neighbours are read."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.anything import SINCE, WELL, made
from support.clock import ManualClock
from volumehealth import errors
from volumehealth.cluster import resources
from volumehealth.cluster.view import ClusterView
from volumehealth.kube.reading import ObjectReader

TIMES = ("0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59Z", "2026-13-40", "2016-12-31T23:59:60z", SINCE)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    | st.sampled_from(TIMES),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def paths(value: object, *, to: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """Return where something stands in a value, at every depth."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [*([to] if to else []), *(one for key, below in inside for one in paths(below, to=(*to, key)))]


KEPT = {("metadata",), ("metadata", "name"), ("metadata", "namespace")}


@st.composite
def odd_objects(draw: st.DrawFn, kind: str) -> dict[str, Any]:
    """Return an object like others, with anything at up to three places but in its name."""
    odd: Any = made(kind, "odd")
    places = [path for path in paths(odd) if path not in KEPT]
    for path in draw(st.lists(st.sampled_from(places), min_size=1, max_size=3)):
        odd = replaced(odd, path, draw(JSON))
    found: dict[str, Any] = odd
    return found


def replaced(value: Any, path: tuple[object, ...], new: object) -> Any:
    """Return a value with another one at a place, if the place is still there."""
    if not path:
        return new
    first, *rest = path
    if isinstance(value, dict) and first in value:
        return {**value, first: replaced(value[first], tuple(rest), new)}
    if isinstance(value, list):
        return [replaced(one, tuple(rest), new) if at == first else one for at, one in enumerate(value)]
    return value


class Pages:
    """Answers each list with one page, and watches with silence."""

    def __init__(self, odd: Mapping[str, dict[str, Any]]) -> None:
        self._odd = odd

    async def request(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, timeout: float = 30.0
    ) -> bytes:
        kind = path.rpartition("/")[2]
        items = [made(kind, "a"), self._odd[kind], made(kind, "z")]
        return msgspec.json.encode({"metadata": {"resourceVersion": "7"}, "items": items})

    async def stream(
        self, path: str, *, query: Mapping[str, str], idle_timeout: float
    ) -> AsyncGenerator[bytes, None]:
        yield b""
        await asyncio.Event().wait()


async def followed(odd: Mapping[str, dict[str, Any]]) -> ClusterView:
    clock = ManualClock()
    view = ClusterView(Pages(odd), clock=clock, random=Random(1), with_nodes=True, agents_in="system")
    task = asyncio.ensure_future(view.run())
    try:
        async with asyncio.timeout(20):
            await view.complete()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return view


@settings(max_examples=80, deadline=None)
@given(st.fixed_dictionaries({kind: odd_objects(kind) for kind in WELL}))
def test_whatever_one_object_holds_its_neighbours_are_read(odd: dict[str, dict[str, Any]]) -> None:
    view = asyncio.run(followed(odd))
    assert not view.state().stale
    assert {"a", "z"} <= {ref.name for ref in view.claims}
    assert {"a", "z"} <= {pod.name for ref in view.claims for pod in view.pods_of(ref)}
    for table in (view.namespaces, view.policies, view.nodes, view.csinodes, view.reports, view.leases):
        assert {"a", "z"} <= set(table)
    assert {"a", "z"} <= {ref.name for ref in view.records}
    assert {"a", "z"} <= set(view.attachments)


BODIES = {
    "nothing": b"",
    "cut": b'{"metadata":{"resourceVersion":"7"},"items":[{"metadata"',
    "HTML": b"<html><body>Sign in</body></html>",
    "a list": b"[]",
    "null": b"null",
    "no items": b'{"metadata":{"resourceVersion":"7"}}',
    "no version": b'{"metadata":{},"items":[]}',
    "a depth without an end": b'{"x":' + b"[" * 100_000,
    "a Status": b'{"kind":"Status","status":"Failure","code":500}',
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_a_body_that_is_no_list_is_an_answer_of_somebody_else(body: bytes) -> None:
    reader = reader_of_nodes()
    with pytest.raises(errors.ApiUnreachable):
        reader.page(body)


def test_null_is_an_empty_list() -> None:
    assert not reader_of_nodes().page(b'{"metadata":{"resourceVersion":"7"},"items":null}').items


ITEMS = (
    b'{"x":"\xff"}',
    b'{"metadata":{"name":"\xff","uid":"\\\\ud800"}}',
    b"null",
    b"7",
    b'"x"',
    b"[]",
    b"{}",
    b'{"metadata":null}',
    b'{"metadata":{"name":"\\ud800"}}',
)


@pytest.mark.parametrize("item", ITEMS)
def test_an_item_that_is_no_object_leaves_the_others(item: bytes) -> None:
    well = msgspec.json.encode(made("nodes", "a"))
    reader = reader_of_nodes()
    page = reader.page(b'{"metadata":{"resourceVersion":"7"},"items":[' + item + b"," + well + b"]}")
    assert getattr(reader.row(page.items[1]), "name", "") == "a"


@given(st.binary(max_size=200))
def test_no_bytes_end_the_reading_of_a_page(body: bytes) -> None:
    try:
        reader_of_nodes().page(body)
    except errors.ApiUnreachable:
        return


def reader_of_nodes() -> ObjectReader[Any, Any]:
    nodes = resources.nodes()
    return ObjectReader(nodes.name, nodes.item, nodes.read)
