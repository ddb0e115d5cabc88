"""Builders of what a node agent decides about: a claim, its Pods on the node, a policy, and what becomes of them."""

from datetime import UTC, datetime
from typing import Any

from volumehealth.agent.pods import NodePod, PodVolume
from volumehealth.agent.targets import KnownClaim, Target, find_targets, used_claims
from volumehealth.model.cluster import Claim
from volumehealth.model.ids import ClaimRef
from volumehealth.model.policy import Policy
from volumehealth.model.steps import at_once
from volumehealth.policy.parse import parse_policy
from volumehealth.policy.select import Selection

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
KUBELET = "/var/lib/kubelet"


def make_claim(name: str = "data", **changes: Any) -> Claim:
    """Make a bound claim of the namespace shop; `changes` are fields."""
    values: dict[str, Any] = {
        "ref": ClaimRef("shop", name),
        "uid": f"uid-{name}",
        "labels": {},
        "storage_class": "fast",
        "phase": "Bound",
        "volume": f"pv-{name}",
        "driver": "d.example.com",
        "handle": f"vol-{name}",
        "access_modes": ("ReadWriteOnce",),
    }
    return Claim(**values | changes)


def make_pod(name: str = "app-0", *claims: str, **changes: Any) -> NodePod:
    """Make a running Pod that uses claims, by default the one of `make_claim`; `changes` are fields."""
    values: dict[str, Any] = {
        "namespace": "shop",
        "name": name,
        "uid": f"uid-{name}",
        "phase": "Running",
        "started": True,
        "since": NOW,
        "volumes": tuple(PodVolume(claim) for claim in claims or ("data",)),
    }
    return NodePod(**values | changes)


def make_policy(name: str = "all", **spec: Any) -> Policy:
    """Make a policy of a spec as it is in YAML."""
    return parse_policy({"metadata": {"name": name, "uid": f"uid-{name}"}, "spec": spec})


def make_targets(
    *pods: NodePod, known: KnownClaim | None = None, policy: Policy | None = None, now: datetime = NOW
) -> dict[ClaimRef, Target]:
    """Return what one policy makes of one claim and the Pods of a node."""
    found = known or KnownClaim(make_claim())
    policies = {"p": policy or make_policy()}
    selection = Selection()
    at_once(selection.update(policies, {found.claim.ref: found.claim}, {}, None))
    return find_targets(
        used_claims(pods, now),
        {found.claim.ref: found},
        selection=selection,
        policies=policies,
        kubelet=KUBELET,
    )


def make_target(*pods: NodePod, known: KnownClaim | None = None, policy: Policy | None = None) -> Target:
    """Return the one target that Pods make of one claim; a running Pod if none is given."""
    name = known.claim.ref.name if known else "data"
    (one,) = make_targets(*(pods or (make_pod("app-0", name),)), known=known, policy=policy).values()
    return one
