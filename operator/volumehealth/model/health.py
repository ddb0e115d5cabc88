"""Statements about volumes and what is confirmed of them.

The words are those of the design: a *source* makes statements (*answers*); an adverse one that lasted becomes a
*finding*; all findings of a claim make its *verdict*.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple, Protocol

from volumehealth.model.clock import LONG_AGO
from volumehealth.model.ids import ClaimRef, VolumeId
from volumehealth.model.origin import ASKED, Observer, Origin
from volumehealth.model.origin import Source as Source
from volumehealth.model.vocabulary import Reason


class Via(StrEnum):
    """Who carried a statement here; no part of a finding's identity."""

    OPERATOR = "Operator"
    AGENT = "Agent"
    KUBELET = "Kubelet"
    MONITOR = "Monitor"


DATA_LOSS = "DataLoss"
INACCESSIBLE = "Inaccessible"
DEGRADED = "Degraded"
STORAGE_UNREACHABLE = "StorageUnreachable"
STORAGE_DEGRADED = "StorageDegraded"
"""What a driver says of the storage behind it, seen from a node: never of a single volume."""

_SEVERITIES = {DATA_LOSS: 3, INACCESSIBLE: 2, STORAGE_UNREACHABLE: 2, DEGRADED: 0, STORAGE_DEGRADED: 0}

MAY_COST_DATA = frozenset(
    {
        Reason.CLAIM_LOST,  # its volume may be reclaimed any time
        Reason.FILESYSTEM_CORRUPTED,
        Reason.FILESYSTEM_ERROR,
        Reason.IO_ERROR,  # writes may be lost
        Reason.REPLICA_LOST,  # the next fault takes the last copy
        Reason.VOLUME_DELETING,
        Reason.VOLUME_NOT_FOUND,  # arrays keep what was deleted for some hours only
        Reason.WRONG_MOUNT,  # what is written now is not on the volume
    }
)
"""Reasons of which every hour, or a wrong first step, may cost data. The others wait for their cause to be mended."""


WIDE_CLAIMS = 20
"""So many claims at least, and half of the driver's, make one incident (vocabulary: DriverWideProblem)."""


def severity(status: str) -> int:
    """Rank a status, worst highest: DataLoss 3, Inaccessible 2, a value we do not know 1, Degraded 0."""
    return _SEVERITIES.get(status, 1)


def urgency(status: str, reason: str) -> int:
    """Rank what is wrong, most urgent highest: by severity, and within one what may cost data first."""
    return 2 * severity(status) + (reason in MAY_COST_DATA)


@dataclass(frozen=True, slots=True)
class Condition:
    """One adverse statement about a volume, cleaned and bounded (reason 256 B, message 1,024 B).

    Attributes:
        status: DataLoss, Inaccessible, Degraded, or a newer value kept as it came.
        reason: CamelCase. Legacy text that no rule classified is `Degraded` / `VolumeConditionAbnormal`.
        message: what the driver said.
    """

    status: str
    reason: str
    message: str = ""


class Identity(NamedTuple):
    """What makes two statements the same finding. The message is not part of it."""

    source: Source
    node: str
    status: str
    reason: str


class Outcome(StrEnum):
    """The kinds of answer a source can give about one volume."""

    HEALTHY = "Healthy"
    """Explicitly healthy, or absent where absence was confirmed to mean healthy."""
    ADVERSE = "Adverse"
    """At least one condition."""
    SILENT = "Silent"
    """The source should speak and does not: no answer, a nil condition, an error, a stale agent."""
    ENDED = "Ended"
    """The source will not speak any more, on purpose: it is switched off, uninstalled, or has nothing to look at."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one origin says of one volume, as of `at`.

    HEALTHY means that the origin looked at this volume and has nothing against it. It clears what this origin said
    before, and nothing of another origin.

    Attributes:
        source: whose statement.
        outcome: healthy, adverse, or silent.
        at: when it was heard, by our clock.
        node: the node's name for Node statements, else empty.
        via: who carried it.
        conditions: the adverse conditions; not empty exactly if `outcome` is ADVERSE.
        reason: CamelCase reason of a silence (`DriverUnreachable`, `NoCondition`, `DeadlineExceeded`).
        message: a person's sentence for that silence, or for the end.
        observer: which observer of the source. Only the driver itself can say that a volume is healthy.
        since: since when the source has said the same without a break; None if no earlier than `at`.
        delay: how long it must last before it is confirmed; None if as long as the policy says.
    """

    source: Source
    outcome: Outcome
    at: datetime
    node: str = ""
    via: Via = Via.OPERATOR
    conditions: tuple[Condition, ...] = ()
    reason: str = ""
    message: str = ""
    observer: Observer = Observer.DRIVER
    since: datetime | None = None
    delay: timedelta | None = None

    @property
    def origin(self) -> Origin:
        """Whose word it is."""
        return Origin(self.source, self.observer, self.node)


class SourceState(StrEnum):
    """How a driver answers (`status.state` of its VolumeHealthDriver)."""

    ANSWERING = "Answering"
    UNREACHABLE = "Unreachable"
    CIRCUIT_OPEN = "CircuitOpen"
    UNSUPPORTED = "Unsupported"
    """It has no health call."""
    NOT_CONNECTED = "NotConnected"
    """Neither the operator nor an agent is connected to it."""

    @property
    def is_down(self) -> bool:
        """Whether a driver that is there does not answer: what it can tell may not be known either."""
        return self in (SourceState.UNREACHABLE, SourceState.CIRCUIT_OPEN)


class HealthAPI(StrEnum):
    """Which generation of health calls a driver speaks (`status.healthAPI` of its VolumeHealthDriver)."""

    VOLUME_HEALTH = "VolumeHealth"
    """CSI 1.13: ControllerListVolumeHealth, ControllerGetVolumeHealth."""
    VOLUME_CONDITION = "VolumeCondition"
    """CSI 1.3 to 1.12: VolumeCondition in ListVolumes and ControllerGetVolume."""
    NONE = "None"


class ControllerConnection(StrEnum):
    """How a driver's controller plugin is reached (`status.plugins.controller` of its VolumeHealthDriver)."""

    ENDPOINT = "Endpoint"
    """The operator calls it."""
    AGENT = "Agent"
    """A controller agent beside it does."""
    NOT_CONNECTED = "NotConnected"


@dataclass(frozen=True, slots=True)
class DriverState:
    """What a driver can tell and how it answers (`status` of its VolumeHealthDriver).

    Attributes:
        name: the driver's name, as in `spec.csi.driver`.
        state: how it answers now.
        since: since when it is in that state.
        health_api: the generation it speaks.
        methods: the CSI methods a check calls, such as `ListVolumes`.
        message: why it is not Answering, or a mismatch between its capabilities and its behaviour; may be empty.
        hint: what would make it tell more; may be empty.
        next_try: when an open circuit is tried again.
        round_seconds: how long one round over all of its volumes takes by get; 0 for lists.
        controller: how its controller plugin is reached.
        unseen: why nodes cannot judge claims, and how many of them; empty if there are none.
        limits: what nodes do not see of the claims that they can judge; may be empty.
    """

    name: str
    state: SourceState
    since: datetime
    health_api: HealthAPI = HealthAPI.NONE
    methods: tuple[str, ...] = ()
    message: str = ""
    hint: str = ""
    next_try: datetime | None = None
    round_seconds: float = 0.0
    controller: ControllerConnection = ControllerConnection.ENDPOINT
    unseen: tuple[tuple[str, int], ...] = ()
    limits: str = ""


@dataclass(frozen=True, slots=True)
class DriverAnswers:
    """The newest controller-plane answers of one driver, for all volumes that were asked about.

    Healthy volumes are a plain set of handles, all else is in `others`: nearly every volume is healthy, and a set
    comparison is what keeps a steady check cheap.

    Attributes:
        driver: its state; with `UNSUPPORTED` or `NOT_CONNECTED` there are no answers and claims are Unmonitored.
        at: when those of these answers were heard that have no time of their own: with the newest list, or by the newest
            get of a driver without one.
        healthy: handles with a fresh HEALTHY answer.
        others: handles with an ADVERSE or SILENT answer, or a HEALTHY one with a time of its own.
        silence: what to assume for a handle in neither (not asked yet, or the driver is down); its `outcome`
            is SILENT. A driver that is down has empty `healthy`, its SILENT here, and only explicit adverse
            answers in `others`.
    """

    driver: DriverState
    at: datetime
    healthy: frozenset[str]
    others: Mapping[str, Answer]
    silence: Answer

    def about(self, handle: str) -> Answer:
        """Return the answer about one volume."""
        other = self.others.get(handle)
        if other is not None:
            return other
        if handle in self.healthy:
            return Answer(Source.CONTROLLER, Outcome.HEALTHY, self.at)
        return self.silence


Covered = Mapping[ClaimRef, tuple[Origin, ...]]
"""Origins that looked at a claim and have nothing against it, of claims that are in use; nearly all are."""


class Origins(Protocol):
    """Knows of every origin whether it speaks, is silent, or has ended."""

    def state_of(self, claim: ClaimRef, origin: Origin, reason: str) -> "Answer":
        """Return what an origin that gave no answer of its own is to a statement that it made before.

        Args:
            claim: the claim.
            origin: whose statement.
            reason: of the statement.

        Returns:
            HEALTHY: it speaks and would say it again; SILENT: it should speak and does not; ENDED: it will not any more.
        """


@dataclass(frozen=True, slots=True)
class HealthyOnNodes:
    """Claims that nodes say are healthy. Nearly all are, so nobody is made an Answer.

    Attributes:
        at: when that was known last.
        claims: by driver, those of the policy that is judged of which the driver's node plugin says so.
        complete: by driver, those at which a node completed every look that is required, and found nothing.
        covered: by claim, the origins that have nothing against it; may hold claims of other policies too.
        asked: by node, when its drivers were asked last.
    """

    at: datetime = LONG_AGO
    claims: Mapping[str, frozenset[ClaimRef]] = field(default_factory=lambda: MappingProxyType({}))
    complete: Mapping[str, frozenset[ClaimRef]] = field(default_factory=lambda: MappingProxyType({}))
    covered: Covered = field(default_factory=lambda: MappingProxyType({}))
    asked: Mapping[str, datetime] = field(default_factory=lambda: MappingProxyType({}))

    def about(self, ref: ClaimRef) -> tuple[Answer, ...]:
        """Return what origins on nodes that have nothing against a claim say of it."""
        return tuple(
            Answer(
                origin.source,
                Outcome.HEALTHY,
                self._when(origin),
                origin.node,
                Via.AGENT,
                observer=origin.observer,
            )
            for origin in self.covered.get(ref, ())
        )

    def _when(self, origin: Origin) -> datetime:
        return self.asked.get(origin.node, self.at) if origin.observer in ASKED else self.at


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything all sources say now, as the judge takes it.

    Attributes:
        drivers: controller-plane answers by driver name. A driver that is missing here is NotConnected.
        claims: further answers by claim (node plane, Kubernetes source); sparse.
        volumes: further answers by volume, for every claim on it; sparse.
        healthy_on_nodes: claims that are healthy on their nodes; what else is said of such a claim stands in `claims`.
        origins: tells of an origin that gave no answer why; without it such an origin is silent.
        stale_reason: not empty if the cluster view is stale: then every verdict that would be Healthy is Unknown
            and nothing recovers.
    """

    drivers: Mapping[str, DriverAnswers]
    claims: Mapping[ClaimRef, tuple[Answer, ...]] = field(default_factory=lambda: MappingProxyType({}))
    volumes: Mapping[VolumeId, tuple[Answer, ...]] = field(default_factory=lambda: MappingProxyType({}))
    stale_reason: str = ""
    healthy_on_nodes: HealthyOnNodes = field(default_factory=HealthyOnNodes)
    origins: Origins | None = None


class Basis(StrEnum):
    """Whose word makes a claim Healthy."""

    DRIVER = "Driver"
    """The driver says so."""
    NODE = "Node"
    """A node's agent completed every required look and found nothing."""


class Verdict(StrEnum):
    """What is confirmed of one claim. Exactly one of four."""

    HEALTHY = "Healthy"
    UNHEALTHY = "Unhealthy"
    UNKNOWN = "Unknown"
    UNMONITORED = "Unmonitored"


_TWO_CLOCKS = 0.001
"""Seconds by which two clocks that are read one after the other may differ."""


@dataclass(frozen=True, slots=True)
class Answered:
    """How long a source was heard to go on with something: time between its answers, and no other.

    Silence stops this clock and does not reset it. It runs on the monotonic clock, so a wall clock that is set
    changes nothing, and it is kept in memory only: what was counted before a restart is counted anew.

    Attributes:
        seconds: counted so far.
        mark: monotonic seconds when the newest answer was taken up; None while the clock stands.
        stamp: when that answer was given, as it says itself: an old answer that is looked at again is no new one.
    """

    seconds: float = 0.0
    mark: float | None = None
    stamp: datetime | None = None

    def go_on(
        self, stamp: datetime, *, wall: datetime, monotonic: float, longest_gap: timedelta
    ) -> "Answered":
        """Take up an answer.

        A check may see an answer long after it was given: the time since then is not answered yet. How long ago it was
        given is told by the wall clock, which may have been set; so no answer counts as given before the last one.

        Args:
            stamp: when it was given.
            wall: the moment, by the wall clock.
            monotonic: the moment, in monotonic seconds.
            longest_gap: two answers that are further apart leave open what was in between.
        """
        if self.mark is None:
            return Answered(self.seconds, monotonic, stamp)
        if stamp == self.stamp:
            return self
        given = max(self.mark, monotonic - max(0.0, (wall - stamp).total_seconds()))
        step = given - self.mark
        counts = step <= longest_gap.total_seconds()
        return Answered(self.seconds + step if counts else self.seconds, given, stamp)

    def stopped(self) -> "Answered":
        """Return this clock while its source is silent."""
        return self if self.mark is None else Answered(self.seconds)

    def reaches(self, delay: timedelta) -> bool:
        """Tell whether so much time was answered."""
        return self.seconds >= delay.total_seconds() - _TWO_CLOCKS

    def complete_at(self, delay: timedelta) -> float | None:
        """Return from when on an answer would make so much time complete, in monotonic seconds.

        None while the clock stands, and once it is complete.
        """
        if self.mark is None or self.reaches(delay):
            return None
        return self.mark + delay.total_seconds() - self.seconds


NOTHING_ANSWERED = Answered()


@dataclass(frozen=True, slots=True)
class Finding:
    """An adverse statement that lasted long enough to be confirmed.

    Attributes:
        source, node, status, reason: its identity.
        message: what the source said last (a normalised-equal text does not replace it).
        observers: who of the source says it, or said it: it is cleared when each of them is clear of it.
        via: who carried it first.
        since: when the statement was first heard, by our clock.
        confirmed: when it became a finding.
        episode: 1 for the first time this identity is seen on this claim, then counting; an Event is one episode.
        stale: True while its source is silent: frozen.
        clear_since: since when its source no longer says it; None while it does.
        clear: for how long the source answered without it.
        ending: whether that is because it cannot be asked any more.
        named: what `since` was before the wall clock was set back; the episode keeps its name. None if it never was.
        last_notified_at: when people were last notified (event or reminder); None if not yet.
    """

    source: Source
    status: str
    reason: str
    message: str
    since: datetime
    confirmed: datetime
    node: str = ""
    via: Via = Via.OPERATOR
    episode: int = 1
    stale: bool = False
    clear_since: datetime | None = None
    clear: Answered = NOTHING_ANSWERED
    ending: bool = False
    named: datetime | None = None
    last_notified_at: datetime | None = None
    observers: tuple[Observer, ...] = (Observer.DRIVER,)

    @property
    def origins(self) -> tuple[Origin, ...]:
        """Whose word it is."""
        return tuple(Origin(self.source, observer, self.node) for observer in self.observers)

    @property
    def identity(self) -> Identity:
        """What makes another statement the same finding."""
        return Identity(self.source, self.node, self.status, self.reason)

    @property
    def headline(self) -> str:
        """`Inaccessible/VolumeNotFound (Controller)`; a node's finding names the node."""
        where = f"{self.source} {self.node}" if self.node else str(self.source)
        return f"{self.status}/{self.reason} ({where})"


@dataclass(frozen=True, slots=True)
class Pending:
    """An adverse statement that did not last long enough yet; kept in memory only.

    Attributes:
        source, node, status, reason: its identity.
        message: what the source said last.
        observer: who of the source says it.
        since: when it was first heard.
        via: who carried it first.
        after: how long it must last, as its rule said last.
        waited: for how long the source went on saying something adverse since then, in whatever words.
    """

    source: Source
    status: str
    reason: str
    message: str
    since: datetime
    node: str = ""
    via: Via = Via.OPERATOR
    after: timedelta = timedelta(0)
    waited: Answered = NOTHING_ANSWERED
    observer: Observer = Observer.DRIVER

    @property
    def origin(self) -> Origin:
        """Whose word it is."""
        return Origin(self.source, self.observer, self.node)

    @property
    def origins(self) -> tuple[Origin, ...]:
        """Whose word it is, as of a finding."""
        return (self.origin,)

    @property
    def identity(self) -> Identity:
        """What makes another statement the same."""
        return Identity(self.source, self.node, self.status, self.reason)


@dataclass(frozen=True, slots=True)
class Change:
    """A line of a record's history: a finding came or went, a policy took over."""

    time: datetime
    what: str


@dataclass(frozen=True, slots=True)
class ClaimHealth:
    """All that is remembered of one claim between checks; absent if nothing is said against it and it has no past.

    Attributes:
        uid: of the claim; a claim that was created anew starts with a clean slate.
        findings: confirmed, worst first.
        pending: not yet confirmed.
        confirmed_origins: origins that went on saying something adverse for their delay and have not been clean since:
            what they say next in other words need not last once more.
        verdict: the last verdict.
        episodes: how often each identity was a finding so far.
        history: the last ten turns, newest last.
        recovered: when the last finding was cleared or closed; None while there is one. Its record stays for
            `recordRetention` after this.
        closed: the last finding was closed without a recovery: nothing says so any more, and nothing denies it.
        unknown_reason, unknown_message: why the verdict is Unknown.
        ignored: True if a rule ignored a statement in the last check.
    """

    uid: str
    findings: tuple[Finding, ...] = ()
    pending: tuple[Pending, ...] = ()
    confirmed_origins: frozenset[Origin] = frozenset()
    verdict: Verdict = Verdict.UNKNOWN
    episodes: Mapping[Identity, int] = field(default_factory=lambda: MappingProxyType({}))
    history: tuple[Change, ...] = ()
    recovered: datetime | None = None
    closed: bool = False
    unknown_reason: str = ""
    unknown_message: str = ""
    ignored: bool = False

    @property
    def frozen(self) -> bool:
        """True if it has findings and every one is stale."""
        return bool(self.findings) and all(finding.stale for finding in self.findings)


class TransitionKind(StrEnum):
    """What the judge can announce."""

    FOUND = "Found"
    """A statement became a finding: VolumeConditionAbnormal."""
    RECOVERED = "Recovered"
    """A finding was cleared: VolumeConditionNormal."""
    CLOSED = "Closed"
    """A finding's source ended; nobody is told that anything recovered."""


@dataclass(frozen=True, slots=True)
class Transition:
    """A turn that people are told about."""

    kind: TransitionKind
    claim: ClaimRef
    uid: str
    finding: Finding
    time: datetime
