"""Everything that is known of one claim now: what the operator serves, and what `volumehealth explain` shows."""

from dataclasses import dataclass
from datetime import datetime

from volumehealth.model.cluster import Claim, Pod
from volumehealth.model.origin import Observer, Source
from volumehealth.model.runbooks import PAGE


@dataclass(frozen=True, slots=True)
class Heard:
    """One adverse statement, after the rules.

    Attributes:
        status, reason, message: after the rules.
        rule: which rule matched (`spec.rules[0]`); empty if none did.
        belief: `Confirmed`, `Pending`, `Ignored`, or `NotTakenUp` beside too many others.
        since: when it was first heard; None if nobody remembers.
        confirmed: when it became a finding; None if it is none.
        after_seconds: how long it must be said before it is confirmed.
        left_seconds: how long it must still be said; None if it does not wait.
    """

    status: str
    reason: str
    message: str
    rule: str
    belief: str
    since: datetime | None
    confirmed: datetime | None
    after_seconds: float
    left_seconds: float | None


@dataclass(frozen=True, slots=True)
class Said:
    """The last word of one origin.

    Attributes:
        source, origin, node: whose word it is.
        via: who carried it.
        says: `Healthy`, `Adverse`, `Silent` or `Ended`.
        at: when it was heard.
        reason, message: why it is silent, or has ended.
        conditions: what it says against the claim.
    """

    source: Source
    origin: Observer
    node: str
    via: str
    says: str
    at: datetime
    reason: str = ""
    message: str = ""
    conditions: tuple[Heard, ...] = ()


@dataclass(frozen=True, slots=True)
class Known:
    """A confirmed finding.

    Attributes:
        source, origins, node, status, reason, message: what it is.
        since, confirmed: when it was first heard, and when it was confirmed.
        stale: its source is silent.
        clearing_since: since when its source no longer says it; None while it does.
        clears_in_seconds: how long it must still not be said; None while it is.
        told: when people were last told; None if not yet.
    """

    source: Source
    origins: tuple[Observer, ...]
    node: str
    status: str
    reason: str
    message: str
    since: datetime
    confirmed: datetime | None
    stale: bool = False
    clearing_since: datetime | None = None
    clears_in_seconds: float | None = None
    told: datetime | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """A line of the history."""

    time: datetime
    what: str


@dataclass(frozen=True, slots=True)
class DriverWord:
    """How the claim's driver answers.

    Attributes:
        name, state, since, health_api, methods, message, hint: as in its VolumeHealthDriver.
    """

    name: str
    state: str
    since: datetime | None
    health_api: str = ""
    methods: tuple[str, ...] = ()
    message: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that is known of one claim.

    Attributes:
        claim, uid: which claim.
        at: the moment that it describes.
        told_by: `Operator`: its own state; `Objects`: what stands on the API server, judged once; `Record`: the
            record alone; `Check`: the drivers, asked once.
        phase, volume, handle: of the claim.
        policy: the policy that owns it; empty if none does.
        why: a sentence that says why this policy owns it, or why none does.
        suspended: whether that policy makes no checks.
        verdict, basis, unknown_reason, unknown_message: what is confirmed; the verdict is empty where nobody can tell.
        unhealthy_after_seconds, healthy_after_seconds: of the policy.
        driver: how its driver answers; None if nobody can tell.
        pods: `NAME on NODE` of each that uses it.
        statements: each origin's last word.
        waiting: what waits to be confirmed, and is not said at this moment: its clock stands.
        findings: what is confirmed.
        history: the last turns, oldest first.
        silenced: a sentence while it is silenced; else empty.
        not_known: sentences: what could not be looked at, and why.
        runbooks: the address of the page of runbooks.
    """

    claim: str
    uid: str
    at: datetime
    told_by: str
    phase: str = ""
    volume: str = ""
    handle: str = ""
    policy: str = ""
    why: str = ""
    suspended: bool = False
    verdict: str = ""
    basis: str = ""
    unknown_reason: str = ""
    unknown_message: str = ""
    unhealthy_after_seconds: float = 0.0
    healthy_after_seconds: float = 0.0
    driver: DriverWord | None = None
    pods: tuple[str, ...] = ()
    statements: tuple[Said, ...] = ()
    waiting: tuple[Heard, ...] = ()
    findings: tuple[Known, ...] = ()
    history: tuple[Turn, ...] = ()
    silenced: str = ""
    not_known: tuple[str, ...] = ()
    runbooks: str = PAGE

    @classmethod
    def of(cls, claim: Claim, at: datetime) -> "Explanation":
        """Begin with what the claim itself says."""
        return cls(
            str(claim.ref),
            claim.uid,
            at,
            told_by="Operator",
            phase=claim.phase,
            volume=claim.volume,
            handle=claim.handle,
        )


def on_node(pod: Pod) -> str:
    """Name a Pod and where it is, for `Explanation.pods`."""
    return f"{pod.name} on {pod.node or 'no node yet'}"
