"""What comes and goes leaves nothing behind: objects that the pipeline holds return to their number after churn.

In: policies, drivers, claims, Pods, nodes and agents that come, are checked, and go again, in clusters of memory.
Out: how many objects can be reached from the pipeline.
"""

import gc
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from types import FunctionType, ModuleType

from support.health import DRIVER, START, SteppedClock, make_claim, make_driver, make_pod
from support.pipeline import PlainPipeline
from support.planes import PlainCluster, make_entry, make_reported_driver
from volumehealth.model.health import Answer, Condition, DriverAnswers, Outcome, Source
from volumehealth.model.policy import Policy, PolicySpec, Selector
from volumehealth.probing.spec import ProbeSpec

AT_ONCE = PolicySpec(unhealthy_after=timedelta(0), healthy_after=timedelta(0), record_retention=timedelta(0))
HOME = Policy("home", "uid-home", 1, START, replace(AT_ONCE, selector=Selector(drivers=(DRIVER,))))
BAD = Condition("Inaccessible", "VolumeNotFound", "it is gone")


class Drivers:
    """What controllers say."""

    unresolved = ()

    def __init__(self) -> None:
        self.said: dict[str, DriverAnswers] = {}

    def demand(self, wanted: Mapping[str, ProbeSpec], /) -> None:
        pass

    def answers(self) -> Mapping[str, DriverAnswers]:
        return self.said


class World:
    """A cluster with one policy and one claim that stay."""

    def __init__(self) -> None:
        self.clock, self.drivers = SteppedClock(), Drivers()
        self.cluster = PlainCluster(self.clock)
        self.checks = PlainPipeline.of_everything(self.cluster, self.drivers, self.clock)
        self.cluster.set_node("n0")
        self.come("home-db", DRIVER, "n0")
        self.policies = {HOME.uid: HOME}

    def come(self, name: str, driver: str, node: str) -> None:
        """Let a claim and its Pod come, and an agent and a controller that say that the volume is bad."""
        claim = replace(make_claim(name), driver=driver)
        self.cluster.add(claim)
        self.cluster.run(make_pod(f"{name}-0", node=node, claim=name))
        self.cluster.report(node, make_entry(claim), drivers=[make_reported_driver(driver)])
        answer = Answer(Source.CONTROLLER, Outcome.ADVERSE, self.clock.now(), conditions=(BAD,))
        silence = Answer(Source.CONTROLLER, Outcome.SILENT, self.clock.now(), reason="NotYetAsked")
        self.drivers.said[driver] = DriverAnswers(
            make_driver(driver), self.clock.now(), frozenset(), {claim.handle: answer}, silence
        )

    def check(self, times: int = 1) -> None:
        """Check every policy, again and again."""
        for _ in range(times):
            self.clock.advance(seconds=60)
            self.cluster.renew(*self.cluster.reports)
            self.checks.follow(dict(self.policies), None)
            for policy in self.policies.values():
                self.checks.check(policy)

    def churn(self, number: int) -> None:
        """Let one policy, driver, claim, Pod, node and agent come, be checked, and go."""
        driver, node, name = f"d{number}.example.com", f"n{number}", f"db-{number}"
        selector = Selector(drivers=(driver,))
        policy = Policy(name, f"uid-{name}", 1, START, replace(AT_ONCE, selector=selector))
        self.cluster.set_node(node)
        self.come(name, driver, node)
        self.policies[policy.uid] = policy
        self.check(3)
        claim = make_claim(name)
        self.cluster.end(make_pod(f"{name}-0", node=node, claim=name))
        del self.cluster.claims[claim.ref], self.cluster.reports[node], self.cluster.nodes[node]
        self.cluster.leases.pop(f"volumehealth-agent-{node}", None)
        del self.drivers.said[driver], self.policies[policy.uid]
        self.check()

    def objects(self) -> int:
        """Count what can be reached from the pipeline; classes, modules and functions are not its own."""
        gc.collect()
        seen: set[int] = set()
        waiting: deque[object] = deque([self.checks])
        outside = {id(self.cluster), id(self.drivers), id(self.clock)}
        while waiting:
            one = waiting.popleft()
            if id(one) in seen or id(one) in outside or isinstance(one, type | ModuleType | FunctionType):
                continue
            seen.add(id(one))
            waiting.extend(gc.get_referents(one))
        return len(seen)


def test_what_came_and_went_is_not_held_by_the_pipeline() -> None:
    world = World()
    world.check(5)
    for number in range(1, 4):
        world.churn(number)
    world.check(5)
    before = world.objects()
    for number in range(10, 40):
        world.churn(number)
    world.check(5)
    assert abs(world.objects() - before) <= 3, "but for a number that grew"
