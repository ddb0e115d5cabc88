"""Who watches a claim, and how: an account of its own of policies and selectors, against which the product is held."""

from collections.abc import Mapping
from dataclasses import dataclass

from simulation.objects import Json
from simulation.telling import Patience
from volumehealth.policy.durations import parse_duration


@dataclass(frozen=True, slots=True)
class Regime:
    """How a claim is watched from a moment on.

    Attributes:
        policy: uid of the policy that owns it; empty if none does.
        name: of the policy.
        patience: its delays; None if no policy owns it.
        paused: the policy is suspended: everything stays as it is.
        unsure: its spec cannot be used, so that the last good one is in force, if anybody knows it.
    """

    policy: str = ""
    name: str = ""
    patience: Patience | None = None
    paused: bool = False
    unsure: bool = False


UNOWNED = Regime()


def regime_of(
    claim: Json, driver: str, policies: list[Json], last_good: Mapping[str, Json], *, by_two_lists: bool
) -> Regime:
    """Return how a claim is watched.

    Args:
        claim: the object.
        driver: of its volume.
        policies: all objects.
        last_good: the last spec of each policy that could be used, by uid.
        by_two_lists: this driver's word that a volume is well again needs two whole lists.
    """
    labels = claim["metadata"].get("labels") or {}
    found = []
    for policy in policies:
        uid = policy["metadata"]["uid"]
        spec = last_good.get(uid)
        if spec is not None and _selects(spec.get("selector") or {}, labels, driver):
            age = policy["metadata"]["creationTimestamp"]
            found.append((-spec.get("priority", 0), age, policy["metadata"]["name"], policy, spec))
    if not found:
        return UNOWNED
    *_, policy, spec = min(found, key=lambda one: one[:3])
    uid = policy["metadata"]["uid"]
    return Regime(
        uid,
        policy["metadata"]["name"],
        patience_of(spec, by_two_lists=by_two_lists),
        paused=bool(spec.get("suspend")),
        unsure=policy["spec"] != spec,
    )


def _selects(selector: Json, labels: Mapping[str, str], driver: str) -> bool:
    wanted = (selector.get("claimSelector") or {}).get("matchLabels") or {}
    drivers = selector.get("drivers")
    return (drivers is None or driver in drivers) and all(
        labels.get(name) == value for name, value in wanted.items()
    )


def patience_of(spec: Json, *, by_two_lists: bool) -> Patience:
    """Read a policy's delays."""
    defaults = {"unhealthyAfter": "2m", "healthyAfter": "5m", "interval": "1m", "timeout": "15s"}
    ill, well, interval, timeout = (
        parse_duration(str(spec.get(name, default))).total_seconds() for name, default in defaults.items()
    )
    longest = interval * 1.05
    return Patience(ill, well, longest, timeout, confirming=longest if by_two_lists else 0.0)
