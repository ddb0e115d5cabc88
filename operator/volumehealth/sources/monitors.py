"""What other health monitors write into annotations of claims and volumes: words of the driver's controller.

The vSphere CSI driver's syncer (kubernetes-sigs/vsphere-csi-driver, pkg/syncer and pkg/csi/service/common) writes
`accessible` or `inaccessible` for every bound claim every five minutes, and passes on `unknown` as it comes; its first
releases documented the key that ends in `messages`. csi-addons writes Events only, and Longhorn keeps the robustness in
objects of its own, so neither has an annotation that could be read.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from volumehealth.model.health import INACCESSIBLE, Answer, Condition, Outcome, Source, Via
from volumehealth.model.ids import ClaimRef
from volumehealth.model.origin import Observer, Origin
from volumehealth.model.steps import Steps
from volumehealth.model.text import clean_message
from volumehealth.model.vocabulary import Reason, SilenceReason
from volumehealth.sources import origins
from volumehealth.sources.context import ContextSource
from volumehealth.sources.kubernetes import accusation
from volumehealth.sources.source import Asked, Observed, Statements

_VSPHERE = "volumehealth.storage.kubernetes.io"


@dataclass(frozen=True, slots=True)
class _Annotation:
    """How a monitor's annotation is read. A value that stands in neither says nothing that is known here.

    Attributes:
        clean: values that have nothing against the volume.
        adverse: status and reason of the others.
    """

    clean: frozenset[str]
    adverse: Mapping[str, tuple[str, Reason]]


_OF_VSPHERE = _Annotation(
    clean=frozenset(("accessible",)), adverse={"inaccessible": (INACCESSIBLE, Reason.BACKEND_ERROR)}
)
_READ: Mapping[str, _Annotation] = {f"{_VSPHERE}/health": _OF_VSPHERE, f"{_VSPHERE}/messages": _OF_VSPHERE}


class MonitorAnnotations(ContextSource):
    """What other health monitors write into annotations."""

    name = "MonitorAnnotations"
    observers = frozenset(((Source.CONTROLLER, Observer.MONITOR),))
    annotations = frozenset(_READ)

    def observe(self, asked: Asked) -> Steps[Observed]:
        """Return what is written now; a policy that wants nothing of controllers wants nothing of this."""
        yield
        now, kept = self._context.moment.wall, self._context.view.annotations
        if not asked.policy.spec.checks.controller.enabled:
            return Observed(origins=origins.Clean(now, "controller"))
        return Observed(statements=_statements(kept, now), origins=_Monitors(kept.get, now))


def _statements(kept: Mapping[ClaimRef, Mapping[str, str]], now: datetime) -> Statements:
    """Yield what is not clean. Equal annotations are one object, and each is read once."""
    read: dict[int, tuple[Answer, ...]] = {}
    for ref, annotations in kept.items():
        answers = read.get(id(annotations))
        if answers is None:
            answers = read[id(annotations)] = tuple(_answers(annotations, now))
        for answer in answers:
            yield ref, answer


def _answers(annotations: Mapping[str, str], now: datetime) -> Iterator[Answer]:
    for key, value in sorted(annotations.items()):
        known, word = _READ.get(key), value.strip().lower()
        if known is None or word in known.clean:
            continue
        message = clean_message(f"the annotation {key} is {value!r}")
        if word in known.adverse:
            status, reason = known.adverse[word]
            conditions = (Condition(status, reason.value, message),)
            yield accusation(Source.CONTROLLER, conditions, now, via=Via.MONITOR, observer=Observer.MONITOR)
        else:
            yield _unknown(message, now)


def _unknown(message: str, now: datetime) -> Answer:
    """Answer for a monitor whose word is not known: it is shown, makes no verdict and clears nothing."""
    return Answer(
        Source.CONTROLLER,
        Outcome.SILENT,
        now,
        via=Via.MONITOR,
        reason=SilenceReason.UNKNOWN_VALUE.value,
        message=message,
        observer=Observer.MONITOR,
    )


@dataclass(frozen=True, slots=True)
class _Monitors:
    """What monitors are that say nothing against a claim.

    Attributes:
        annotations_of: those of a claim and its volume; None if there are none.
        now: the moment.
    """

    annotations_of: Callable[[ClaimRef], Mapping[str, str] | None]
    now: datetime

    def state_of(self, claim: ClaimRef, origin: Origin, _reason: str) -> Answer:
        """Say what an origin is that gave no answer; see `model.health.Origins`."""
        if _READ.keys().isdisjoint(self.annotations_of(claim) or ()):
            return origins.ended(origin, self.now, f"{origins.NO_LONGER}: its annotation is gone")
        return origins.speaks(origin, self.now)
