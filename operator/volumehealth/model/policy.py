"""A VolumeHealthPolicy as the code sees it: every default filled in, every value checked.

Field names are those of the CRD in snake_case; `tests/unit/cluster` compares the two, both ways.
Durations are `timedelta`; in the API they are strings such as `90s`, `2m`, `1h30m`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import MappingProxyType

HAND_OVER_SECONDS = 15.0
"""Seconds that a claim may belong to no policy before what was found of it is over: another policy may take it over, or the
same one again."""
_EMPTY: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class LabelExpression:
    """One of a label selector's matchExpressions; `operator` is In, NotIn, Exists or DoesNotExist."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """Kubernetes' label selector; the empty one matches everything."""

    match_labels: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    match_expressions: tuple[LabelExpression, ...] = ()


@dataclass(frozen=True, slots=True)
class Selector:
    """Which claims a policy holds. All that is given must match; an empty tuple means any."""

    drivers: tuple[str, ...] = ()
    storage_class_names: tuple[str, ...] = ()
    namespace_selector: LabelSelector = LabelSelector()
    claim_selector: LabelSelector = LabelSelector()


@dataclass(frozen=True, slots=True)
class PlaneCheck:
    """Whether a plane is asked at all."""

    enabled: bool = True


@dataclass(frozen=True, slots=True)
class NodeCheck:
    """Ask drivers' node plugins, and look at what the node itself sees of its volumes.

    I/O that stands for `io_stalled_after` is stalled; requests that take longer than `max_latency` on average (None: off)
    are slow.
    """

    enabled: bool = True
    io_stalled_after: timedelta = timedelta(seconds=60)
    max_latency: timedelta | None = None


@dataclass(frozen=True, slots=True)
class NodeFailureCheck:
    """Tell when a node with claims in use is not Ready, or gone, for longer than `after`."""

    enabled: bool = True
    after: timedelta = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class CapacityCheck:
    """Free bytes and inodes, in percent.

    Below `critical_percent_free` is a finding; below `warning_percent_free` (None: off) only counts and exports.
    """

    enabled: bool = True
    critical_percent_free: int = 3
    warning_percent_free: int | None = None


@dataclass(frozen=True, slots=True)
class Checks:
    """What a policy checks."""

    controller: PlaneCheck = PlaneCheck()
    node: NodeCheck = NodeCheck()
    mount: PlaneCheck = PlaneCheck()
    node_failure: NodeFailureCheck = NodeFailureCheck()
    capacity: CapacityCheck = CapacityCheck()


@dataclass(frozen=True, slots=True)
class RuleMatch:
    """What a statement must be for a rule to apply; an empty field matches anything. `message` is RE2, unanchored."""

    driver: str = ""
    source: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class RuleSet:
    """What a rule makes of a statement; an empty field leaves it as it is."""

    status: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """The first rule that matches a statement decides; a policy's own come before the built-in ones."""

    match: RuleMatch = RuleMatch()
    ignore: bool = False
    """Never confirmed, always counted."""
    unhealthy_after: timedelta | None = None
    """Instead of the policy's own."""
    set: RuleSet | None = None


@dataclass(frozen=True, slots=True)
class Events:
    """How people are reminded."""

    remind_every: timedelta = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class PolicySpec:
    """`spec` of a VolumeHealthPolicy."""

    priority: int = 0
    suspend: bool = False
    suspend_until: datetime | None = None
    """Suspended until then, by itself; see `in_force`."""
    selector: Selector = Selector()
    interval: timedelta = timedelta(minutes=1)
    timeout: timedelta = timedelta(seconds=15)
    unhealthy_after: timedelta = timedelta(minutes=2)
    healthy_after: timedelta = timedelta(minutes=5)
    checks: Checks = Checks()
    rules: tuple[Rule, ...] = ()
    events: Events = Events()
    record_retention: timedelta = timedelta(hours=168)


@dataclass(frozen=True, slots=True)
class Policy:
    """One VolumeHealthPolicy.

    Attributes:
        name, uid: of the object.
        generation: `metadata.generation` that `spec` was read from.
        created: `metadata.creationTimestamp`.
        spec: the last good spec.
    """

    name: str
    uid: str
    generation: int
    created: datetime
    spec: PolicySpec


def in_force(policy: Policy, now: datetime) -> Policy:
    """Return a policy as it acts at a moment: suspended while its `suspendUntil` has not come.

    `suspend` is true then, and `suspend_until` says why; with `suspend: true` of its own there is no end.
    """
    spec = policy.spec
    if spec.suspend_until is None or (not spec.suspend and spec.suspend_until <= now):
        return policy
    if spec.suspend:
        return replace(policy, spec=replace(spec, suspend_until=None))
    return replace(policy, spec=replace(spec, suspend=True))


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with a spec, where: `spec.rules[2].match.message`, `invalid RE2: missing )`."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"
