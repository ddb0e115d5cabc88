"""Pages of the simulated driver's lists: the proper ones, and one test for each bad habit (facts D1, D2)."""

import pytest

from volumehealth_sandbox.driver_pages import BadToken, page
from volumehealth_sandbox.driver_quirks import Params, Quirk
from volumehealth_sandbox.driver_state import DriverState, Generation

HANDLES = ["a", "b", "c", "d", "e"]


@pytest.fixture
def state() -> DriverState:
    """A driver that behaves."""
    return DriverState(
        name="sim.volumehealth.dev",
        generation=Generation.LEGACY,
        node_id="node-1",
        volumes=HANDLES,
        capabilities=None,
        node_capabilities=None,
    )


def read(state: DriverState, max_entries: int, *, most: int = 10) -> list[str]:
    """Follow the tokens, as a client would; return one text for each page."""
    pages: list[str] = []
    token = ""
    while len(pages) < most:
        part = page(state, HANDLES, max_entries=max_entries, token=token)
        pages.append("".join(part.handles))
        token = part.next_token
        if not token:
            break
    return pages


def test_no_limit_gives_everything(state: DriverState) -> None:
    assert read(state, 0) == ["abcde"]


def test_a_limit_gives_pages(state: DriverState) -> None:
    assert read(state, 2) == ["ab", "cd", "e"]


def test_a_token_survives_the_deletion_of_the_entry_it_stands_on(state: DriverState) -> None:
    first = page(state, HANDLES, max_entries=2, token="")
    assert page(state, ["a", "c", "d"], max_entries=2, token=first.next_token).handles == ["c", "d"]


def test_a_foreign_token_is_refused(state: DriverState) -> None:
    with pytest.raises(BadToken):
        page(state, HANDLES, max_entries=2, token="bogus")


HABITS: dict[str, tuple[dict[Quirk, Params], int, list[str]]] = {
    "a limit and never a token": ({Quirk.NO_TOKEN: Params()}, 2, ["ab"]),
    "the limit is ignored": ({Quirk.IGNORES_LIMIT: Params()}, 2, ["abcde"]),
    "no limit is capped, with tokens": ({Quirk.CAPS_PAGES: Params(count=3)}, 0, ["abc", "de"]),
    "a high limit is capped": ({Quirk.CAPS_PAGES: Params(count=3)}, 4, ["abc", "de"]),
    "no limit is capped, without tokens": (
        {Quirk.CAPS_PAGES: Params(count=3), Quirk.NO_TOKEN: Params()},
        0,
        ["abc"],
    ),
    "the same token for ever": ({Quirk.REPEATS_TOKEN: Params()}, 2, ["ab"] * 10),
    "new tokens for ever": ({Quirk.ENDLESS_PAGES: Params()}, 2, ["ab"] * 10),
    "drifting back makes duplicates": ({Quirk.DRIFTS: Params()}, 3, ["abc", "cde"]),
    "drifting on makes gaps": ({Quirk.DRIFTS: Params(count=1)}, 2, ["ab", "de"]),
}


@pytest.mark.parametrize(("habits", "limit", "pages"), HABITS.values(), ids=HABITS.keys())
def test_habit(habits: dict[Quirk, Params], limit: int, pages: list[str], state: DriverState) -> None:
    for habit, params in habits.items():
        state.misbehave(habit, params)
    assert read(state, limit) == pages


def test_tokens_are_aborted_for_good(state: DriverState) -> None:
    token = page(state, HANDLES, max_entries=2, token="").next_token
    state.misbehave(Quirk.ABORTS_TOKENS)
    for _ in range(3):
        with pytest.raises(BadToken):
            page(state, HANDLES, max_entries=2, token=token)


def test_tokens_are_aborted_as_often_as_asked(state: DriverState) -> None:
    token = page(state, HANDLES, max_entries=2, token="").next_token
    state.misbehave(Quirk.ABORTS_TOKENS, Params(count=1))
    with pytest.raises(BadToken):
        page(state, HANDLES, max_entries=2, token=token)
    assert page(state, HANDLES, max_entries=2, token=token).handles == ["c", "d"]
