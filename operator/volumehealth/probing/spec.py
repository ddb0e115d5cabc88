"""What is wanted of a driver, and how much it may be burdened."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType

Topology = Mapping[str, str]
"""From which nodes volumes can be reached, by handle; those that can be reached from all are not in it."""
FROM_ANYWHERE: Topology = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ProbeSpec:
    """Which volumes of one driver somebody wants to know about, and how often.

    Attributes:
        volumes: handles; a volume that several claims share is asked about once.
        interval: the shortest that any policy asks for.
        timeout: of one CSI call; the longest that any policy asks for.
        adverse: handles with live findings. A prober that was restarted learns from them which volumes were bad,
            because an absence from a CSI 1.13 list means something else for those (facts C2).
        topology: from which nodes each volume can be reached. A
            controller that runs on every node knows the volumes of its own node only, and says NOT_FOUND of others.
    """

    volumes: frozenset[str]
    interval: timedelta
    timeout: timedelta
    adverse: frozenset[str] = frozenset()
    topology: Topology = field(default_factory=lambda: FROM_ANYWHERE)


@dataclass(frozen=True, slots=True)
class ProbeLimits:
    """How much a driver may be burdened, and when it is confirmed. Durations are seconds.

    Attributes:
        gets_in_flight: gets at once (facts D3).
        duty: which share of the time our calls may keep the driver busy (facts D3).
        page_size: entries of a page, once a list was too large to be sent whole.
        max_pages, list_seconds: where one list is given up (facts D2).
        jitter: by which share an interval varies.
        confirm_asks, confirm_backoff: how often NOT_FOUND must be heard, and the first pause; it doubles (C2, D6).
        outage_least, outage_share: how many volumes, and which share of those asked, must fail at once for the
            source to count as down (facts D17).
        failed_passes, failing_calls: lists, or gets with no success between them, that open the circuit.
        max_backoff: the longest pause of an open circuit, unless the interval is longer.
        first_retry, max_retry: pauses while there is no connection.
        reidentify: how often capabilities are read anew while nothing else calls for it.
        identify_timeout: of one call while nobody demands anything.
    """

    gets_in_flight: int = 4
    duty: float = 0.1
    page_size: int = 500
    max_pages: int = 10_000
    list_seconds: float = 300.0
    jitter: float = 0.05
    confirm_asks: int = 3
    confirm_backoff: float = 1.0
    outage_least: int = 10
    outage_share: float = 0.5
    failed_passes: int = 3
    failing_calls: int = 10
    max_backoff: float = 300.0
    first_retry: float = 1.0
    max_retry: float = 30.0
    reidentify: float = 300.0
    identify_timeout: float = 15.0

    def is_outage(self, failing: int, asked: int) -> bool:
        """Tell whether so many failures at once speak against the source rather than against the volumes."""
        return failing >= self.outage_least and failing >= self.outage_share * asked
