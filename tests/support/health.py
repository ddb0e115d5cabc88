"""Builders of claims, findings and judgements, short enough that a test shows only what it is about."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from volumehealth.judge.groups import DriverWide
from volumehealth.judge.policy import Counts, DriverCounts, PolicyJudgement
from volumehealth.judge.result import CheckResult
from volumehealth.model.cluster import Claim, Pod, ViewState
from volumehealth.model.health import (
    INACCESSIBLE,
    ClaimHealth,
    DriverState,
    Finding,
    HealthAPI,
    Source,
    SourceState,
    Transition,
    TransitionKind,
    Verdict,
)
from volumehealth.model.ids import ClaimRef
from volumehealth.model.policy import Policy, PolicySpec

START = datetime(2026, 11, 23, 3, 2, 11, tzinfo=UTC)
DRIVER = "csi-powerstore.dellemc.com"


class SteppedClock:
    """A clock that stands still until it is told to go on."""

    def __init__(self, start: datetime = START) -> None:
        self.moment = start
        self._set = timedelta(0)

    def now(self) -> datetime:
        """Return the wall clock."""
        return self.moment

    def monotonic(self) -> float:
        """Return seconds since it was made."""
        return (self.moment - self._set - START).total_seconds()

    def set_wall(self, by: timedelta) -> None:
        """Set the wall clock ahead, or back; no time passes."""
        self.moment += by
        self._set += by

    def advance(self, **by: float) -> datetime:
        """Go on by `seconds=`, `minutes=`, ...; return the new moment."""
        self.moment += timedelta(**by)
        return self.moment


def make_claim(name: str = "orders-db", *, namespace: str = "shop", driver: str = DRIVER) -> Claim:
    """Build a bound claim; its uid follows from its name."""
    return Claim(
        ref=ClaimRef(namespace, name),
        uid=f"uid-{namespace}-{name}",
        labels={},
        storage_class="fast",
        phase="Bound",
        volume=f"pv-{name}",
        driver=driver,
        handle=f"handle-{name}",
    )


def make_pod(name: str = "orders-db-0", *, node: str = "worker-2", claim: str = "orders-db") -> Pod:
    """Build a running Pod of namespace `shop`."""
    return Pod("shop", name, f"uid-{name}", node, "Running", (claim,))


def make_finding(**changes: Any) -> Finding:
    """Build a controller's finding that was heard at START and confirmed two minutes later."""
    plain: dict[str, Any] = {
        "source": Source.CONTROLLER,
        "status": INACCESSIBLE,
        "reason": "VolumeNotFound",
        "message": "the volume is not found on the array",
        "since": START,
        "confirmed": START + timedelta(minutes=2),
    }
    return Finding(**plain | changes)


def make_health(claim: Claim, *findings: Finding, **changes: Any) -> ClaimHealth:
    """Build what is remembered of a claim."""
    plain: dict[str, Any] = {
        "uid": claim.uid,
        "findings": findings,
        "verdict": Verdict.UNHEALTHY if findings else Verdict.HEALTHY,
        "episodes": {finding.identity: finding.episode for finding in findings},
    }
    return ClaimHealth(**plain | changes)


def make_policy(name: str = "storage", **spec: Any) -> Policy:
    """Build a policy from what differs from the defaults."""
    return Policy(name, f"uid-{name}", 3, START - timedelta(days=90), PolicySpec(**spec))


def make_driver(
    name: str = DRIVER, state: SourceState = SourceState.ANSWERING, **changes: Any
) -> DriverState:
    """Build the state of a legacy driver that lists."""
    able = state is not SourceState.UNSUPPORTED
    plain: dict[str, Any] = {
        "health_api": HealthAPI.VOLUME_CONDITION if able else HealthAPI.NONE,
        "methods": ("ListVolumes",) if able else (),
    }
    return DriverState(name, state, START - timedelta(days=2), **plain | changes)


def found(claim: Claim, finding: Finding, *, at: datetime = START) -> Transition:
    """Say that a finding was confirmed."""
    return Transition(TransitionKind.FOUND, claim.ref, claim.uid, finding, at)


def cleared(claim: Claim, finding: Finding, *, at: datetime = START) -> Transition:
    """Say that a finding is over."""
    return Transition(TransitionKind.RECOVERED, claim.ref, claim.uid, finding, at)


def make_result(
    healths: Iterable[tuple[Claim, ClaimHealth]] = (),
    *,
    others: Iterable[Claim] = (),
    turns: Sequence[Transition] = (),
    now: datetime = START + timedelta(minutes=10),
    policy: Policy | None = None,
    drivers: Iterable[DriverState] = (),
    healthy: int = 0,
    unmonitored: Mapping[str, int] | None = None,
    wide: Sequence[DriverWide] = (),
    judgement: Mapping[str, Any] | None = None,
    **changes: Any,
) -> CheckResult:
    """Build a check's result; counts follow from `healths`, and from how many more are healthy or unmonitored.

    `others` are claims that have no health to remember; `judgement` and `changes` replace single fields.
    """
    remembered = {claim.ref: (claim, health) for claim, health in healths}
    unhealthy = Counter(claim.driver for claim, health in remembered.values() if health.findings)
    bad, aside = sum(unhealthy.values()), unmonitored or {}
    counts = Counts(
        selected=bad + healthy + sum(aside.values()),
        healthy=healthy,
        unhealthy=bad,
        unmonitored=sum(aside.values()),
    )
    per_driver = {name: DriverCounts(claims=number, unhealthy=number) for name, number in unhealthy.items()}
    per_driver |= {name: DriverCounts(claims=number, unmonitored=number) for name, number in aside.items()}
    plain: dict[str, Any] = {
        "healths": {ref: health for ref, (_, health) in remembered.items()},
        "counts": counts,
        "transitions": tuple(turns),
        "unmonitored": aside,
        "drivers": per_driver,
        "driver_wide": tuple(wide),
    }
    states = {driver.name: driver for driver in drivers}
    whole: dict[str, Any] = {
        "policy": policy or make_policy(),
        "now": now,
        "judgement": PolicyJudgement(**plain | dict(judgement or {})),
        "claims": {claim.ref: claim for claim in (*others, *(claim for claim, _ in remembered.values()))},
        "drivers": states,
        "view": ViewState(complete=True, age=0.5),
    }
    return CheckResult(**whole | changes)
