"""What policies together want of drivers' controllers."""

from dataclasses import replace
from types import MappingProxyType

from support.health import DRIVER, START
from volumehealth.model.ids import ClaimRef
from volumehealth.model.policy import Policy, PolicySpec
from volumehealth.policy.select import Members
from volumehealth.sources.wanted import WantedVolumes

POLICY = Policy("storage", "uid-storage", 1, START, PolicySpec())
OTHER = replace(POLICY, name="other", uid="uid-other")


def members(*handles: str) -> Members:
    claims = {handle: (ClaimRef("default", f"claim-{handle}"),) for handle in handles}
    return Members(
        MappingProxyType({DRIVER: MappingProxyType(claims)}), MappingProxyType({DRIVER: len(claims)})
    )


def test_others_have_a_turn_between_the_volumes_of_two_policies_and_before_the_sum_is_used() -> None:
    of = {POLICY.uid: members("v1", "v2"), OTHER.uid: members("v2", "v3")}
    steps = WantedVolumes(of.__getitem__).add_up({POLICY.uid: POLICY, OTHER.uid: OTHER}, lambda _: {})
    taken = 0
    while True:
        try:
            next(steps)
            taken += 1
        except StopIteration as end:
            wanted = end.value
            break
    assert taken == 3
    assert wanted.volumes[DRIVER].volumes == {"v1", "v2", "v3"}
