"""An output that is slow or broken delays no other, and an error costs the one result that it happened in."""

import asyncio
from collections.abc import Iterator

import pytest

from support.health import cleared, make_claim, make_finding, make_health, make_policy, make_result
from volumehealth.judge.result import CheckResult
from volumehealth.report.reporter import Lane

pytestmark = pytest.mark.looptime

CLAIM = make_claim()


class Slow:
    """Takes a thousand steps for each result."""

    def __init__(self) -> None:
        self.told: list[CheckResult] = []

    def publish(self, result: CheckResult) -> Iterator[None]:
        for _ in range(1000):
            yield
        self.told.append(result)


class Broken:
    """Fails in every result of one policy."""

    def __init__(self) -> None:
        self.told: list[CheckResult] = []

    def publish(self, result: CheckResult) -> Iterator[None]:
        yield
        if result.policy.name == "broken":
            raise OverflowError("date value out of range")
        self.told.append(result)


async def told(*lanes: Lane) -> None:
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(lane.run()) for lane in lanes]
        for lane in lanes:
            await lane.idle()
        for task in running:
            task.cancel()


async def test_an_error_costs_one_result_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    output, errors = Broken(), list[str]()
    lane = Lane(output.publish, name="Broken", on_error=errors.append)
    for _ in range(3):
        lane.put(make_result(policy=make_policy("broken")))
        lane.put(make_result(policy=make_policy("fine")))
        await told(lane)
    assert len(output.told) == 3
    assert errors == ["Broken"] * 3
    assert [record.message for record in caplog.records] == ["a check cannot be told"]


async def test_a_slow_output_delays_no_other() -> None:
    slow, quick = Slow(), Broken()
    lanes = [Lane(one.publish, name="x", on_error=lambda _: None) for one in (slow, quick)]
    for number in range(50):
        for lane in lanes:
            lane.put(make_result(policy=make_policy(f"policy-{number}")))
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(lane.run()) for lane in lanes]
        await lanes[1].idle()
        assert len(quick.told) == 50
        await lanes[0].idle()
        for task in running:
            task.cancel()
    assert len(slow.told) == 50


async def test_of_one_policys_results_the_newest_is_told_and_none_with_a_turn_is_passed_over() -> None:
    output = Broken()
    lane = Lane(output.publish, name="x", on_error=lambda _: None)
    turn = cleared(CLAIM, make_finding())
    with_turn = make_result([(CLAIM, make_health(CLAIM))], turns=[turn])
    lane.put(make_result(healthy=1))
    lane.put(with_turn)
    lane.put(make_result(healthy=2))
    lane.put(make_result(healthy=3))
    await told(lane)
    assert with_turn in output.told
    assert [result.judgement.counts.healthy for result in output.told if result.judgement] == [0, 3]


async def test_a_policy_that_is_back_is_told_of_though_what_waited_was_dropped() -> None:
    """The view may lose a policy for a moment; it comes back with the same uid."""
    output = Broken()
    lane = Lane(output.publish, name="x", on_error=lambda _: None)
    lane.put(make_result())
    lane.drop(make_result().policy.uid)
    with_turn = make_result([(CLAIM, make_health(CLAIM))], turns=[cleared(CLAIM, make_finding())])
    lane.put(with_turn)
    await told(lane)
    assert output.told == [with_turn]


async def test_of_a_policy_that_is_gone_nothing_more_is_told() -> None:
    output = Broken()
    lane = Lane(output.publish, name="x", on_error=lambda _: None)
    lane.put(make_result())
    lane.drop(make_result().policy.uid)
    await told(lane)
    assert output.told == []
