"""Lists are read to their end, or known to be incomplete, whatever becomes of pages and tokens (facts D1, D2)."""

import asyncio
from collections.abc import Iterator

import pytest

from volumehealth.csi.types import Listed, VolumePage
from volumehealth.errors import CsiError, DriverUnreachable, TokenRejected
from volumehealth.model.health import Condition
from volumehealth.probing.lists import ListReader, ListResult
from volumehealth.probing.spec import ProbeLimits

WANTED = frozenset({"a", "b", "z"})


class Script:
    """A driver that plays its answers in order; an exception is raised."""

    def __init__(self, *answers: VolumePage | CsiError, seconds: float = 0.0) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[int, str]] = []
        self.time = 0.0
        self.seconds = seconds

    async def __call__(self, max_entries: int, token: str) -> VolumePage:
        self.asked.append((max_entries, token))
        self.time += self.seconds
        answer = self.answers.pop(0)
        if isinstance(answer, CsiError):
            raise answer
        return answer

    async def read(self, limits: ProbeLimits | None = None, *, legacy: bool = True) -> ListResult:
        reader = ListReader(limits or ProbeLimits(), lambda: self.time)
        return await reader.read(self, wanted=WANTED, legacy=legacy)


def sheet(*handles: str, token: str = "") -> VolumePage:
    return VolumePage(tuple((handle, ()) for handle in handles), token)


async def test_the_first_call_has_no_limit_and_the_end_is_an_empty_token() -> None:
    script = Script(sheet("a", token="1"), sheet("b", token="2"), sheet("z"))
    reading = await script.read()
    assert reading.whole
    assert reading.healthy == WANTED
    assert script.asked == [(0, ""), (0, "1"), (0, "2")]


async def test_a_page_of_a_hundred_thousand_entries_keeps_nobody_waiting_for_long() -> None:
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    others = asyncio.create_task(take_turns())
    reading = await Script(sheet("a", "b", "z", *(f"x{number}" for number in range(100_000)))).read()
    others.cancel()
    assert reading.named == 100_003
    assert turns > 40


async def test_each_entry_of_a_page_is_decoded_once() -> None:
    decoded = 0

    class Counted(tuple[Listed, ...]):
        def __iter__(self) -> Iterator[Listed]:
            nonlocal decoded
            for entry in super().__iter__():
                decoded += 1
                yield entry

    bad = (Condition("Degraded", "Slow", ""),)
    page = VolumePage(Counted((f"x{number}", bad) for number in range(10_000)))
    assert (await Script(page).read(legacy=False)).whole
    assert decoded == 10_000


async def test_an_empty_page_with_a_token_is_no_end() -> None:
    reading = await Script(sheet(token="1"), sheet("a", "b", "z")).read()
    assert reading.whole
    assert reading.healthy == WANTED


async def test_d1_a_full_page_without_a_token_is_no_end_unless_the_driver_knows_tokens() -> None:
    exhausted = CsiError("too large", code="RESOURCE_EXHAUSTED")
    limits = ProbeLimits(page_size=2)
    cut = await Script(exhausted, sheet("a", "b")).read(limits)
    assert not cut.whole
    assert "limit of 2" in cut.why
    proper = await Script(exhausted, sheet("a", "b", token="1"), sheet("c", "z")).read(limits)
    assert proper.whole


async def test_c2_a_list_that_is_too_large_is_read_in_pages_from_then_on() -> None:
    script = Script(CsiError("too large", code="RESOURCE_EXHAUSTED"), sheet("a"), sheet("a"))
    reader = ListReader(ProbeLimits(page_size=500), lambda: 0.0)
    await reader.read(script, wanted=WANTED, legacy=True)
    await reader.read(script, wanted=WANTED, legacy=True)
    assert script.asked == [(0, ""), (500, ""), (500, "")]


async def test_d2_a_round_number_of_entries_without_a_token_may_be_a_cap_if_somebody_is_missing() -> None:
    hundred = [f"x{number}" for number in range(97)]
    assert not (await Script(sheet("a", "b", "y", *hundred)).read()).whole
    assert (await Script(sheet("a", "b", "z", *hundred)).read()).whole
    assert (await Script(VolumePage(tuple((f"x{n}", None) for n in range(99)))).read()).whole


async def test_d2_a_cap_counts_for_a_1_13_list_that_names_healthy_volumes_too() -> None:
    """Who is cut off would be healthy; a list of bad volumes only may well be as long by chance."""
    bad = (Condition("Degraded", "Slow", ""),)
    others = tuple((f"x{number}", bad) for number in range(99))
    cut = await Script(VolumePage((*others, ("y", ())))).read(legacy=False)
    assert not cut.whole
    assert "100 entries" in cut.why
    assert (await Script(VolumePage((*others, ("y", bad)))).read(legacy=False)).whole


async def test_d2_a_cap_below_our_own_limit_is_a_cap_as_well() -> None:
    """Who stops at 100 of 500 without a token makes no volume missing that comes after these."""
    exhausted = CsiError("too large", code="RESOURCE_EXHAUSTED")
    hundred = [f"x{number}" for number in range(98)]
    cut = await Script(exhausted, sheet("a", "b", *hundred)).read(ProbeLimits(page_size=500))
    assert not cut.whole
    assert "100 entries" in cut.why
    short = await Script(exhausted, sheet("a", "b", *hundred[:-1])).read(ProbeLimits(page_size=500))
    assert short.whole


async def test_d2_the_same_token_twice_ends_the_list() -> None:
    reading = await Script(sheet("a", token="1"), sheet("b", token="1"), sheet("z")).read()
    assert not reading.whole
    assert "same page token" in reading.why


async def test_d2_pages_without_end_are_given_up() -> None:
    pages = [sheet("a", token=str(number)) for number in range(100)]
    script = Script(*pages)
    assert "3 pages" in (await script.read(ProbeLimits(max_pages=3))).why
    assert len(script.asked) == 3


async def test_d2_a_list_that_takes_too_long_is_given_up() -> None:
    script = Script(*(sheet("a", token=str(number)) for number in range(100)), seconds=100.0)
    assert "within 300 s" in (await script.read()).why
    assert len(script.asked) == 3


async def test_c2_an_aborted_token_starts_the_list_again_with_none_and_only_once() -> None:
    aborted = TokenRejected("aborted", code="ABORTED")
    script = Script(sheet("a", token="1"), aborted, sheet("a", token="2"), sheet("b", "z"))
    assert (await script.read()).healthy == WANTED
    assert script.asked == [(0, ""), (0, "1"), (0, ""), (0, "2")]
    twice = await Script(sheet("a", token="1"), aborted, sheet("b", token="2"), aborted).read()
    assert not twice.whole
    assert twice.healthy == {"b"}


async def test_a_failure_of_a_later_page_leaves_what_was_read_and_an_incomplete_list() -> None:
    gone = DriverUnreachable("gone", code="UNAVAILABLE")
    reading = await Script(sheet("a", token="1"), gone).read()
    assert reading.healthy == {"a"}
    assert (reading.whole, reading.code) == (False, "UNAVAILABLE")


async def test_a_failure_of_the_first_page_is_a_failed_list() -> None:
    with pytest.raises(DriverUnreachable):
        await Script(DriverUnreachable("gone", code="UNAVAILABLE")).read()
