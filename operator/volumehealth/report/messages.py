"""The sentences of Events: `Status/Reason (Source): ` first, the next command to type last, 1,024 bytes at most."""

from collections.abc import Sequence
from datetime import datetime

from volumehealth.model.clock import date_and_time
from volumehealth.model.cluster import Pod
from volumehealth.model.health import Finding, Source, TransitionKind
from volumehealth.model.ids import ClaimRef
from volumehealth.model.origin import Observer
from volumehealth.model.text import count
from volumehealth.model.vocabulary import EventReason
from volumehealth.report.text import clean, fit, span
from volumehealth.report.workloads import workloads

LONGEST = 1024
"""Bytes of an Event's message that the API server takes."""
_PODS_NAMED = 3


def event_reason(kind: TransitionKind, finding: Finding) -> EventReason:
    """Choose the Event's reason for a finding that came or went."""
    came = kind is TransitionKind.FOUND
    if finding.source is Source.KUBERNETES and finding.reason == EventReason.NODE_FAILED:
        return EventReason.NODE_FAILED if came else EventReason.NODE_RECOVERED
    return EventReason.VOLUME_CONDITION_ABNORMAL if came else EventReason.VOLUME_CONDITION_NORMAL


def found_on_claim(finding: Finding, driver: str, claim: ClaimRef, pods: Sequence[Pod]) -> str:
    """Tell a PVC's reader that its volume has a finding, since when, and who uses it."""
    since = f"since {date_and_time(finding.since)}"
    return _compose(finding, _words(finding, driver), f"{since}; {_users(pods)}; {_next(claim)}")


def found_on_pod(finding: Finding, driver: str, claim: ClaimRef) -> str:
    """Tell a Pod's reader that a volume it uses has a finding."""
    return _compose(finding, f"PVC {claim.name}: {_words(finding, driver)}", _next(claim))


def cleared(finding: Finding, claim: ClaimRef, *, at: datetime, remaining: int) -> str:
    """Tell that a finding is over, how long it lasted, and how many others the claim still has."""
    lasted = f"lasted {span(at - finding.since)}, {date_and_time(finding.since)} to {date_and_time(at)}"
    rest = f"{count(remaining, 'other finding')} left" if remaining else "no other finding"
    over = "not reported any more"
    if event_reason(TransitionKind.RECOVERED, finding) is EventReason.NODE_RECOVERED:
        over = f"the node {finding.node} is Ready again, or none of its Pods is bound there any more"
    return _compose(finding, f"PVC {claim.name}: {over}; {lasted}; {rest}", _next(claim))


def _compose(finding: Finding, words: str, end: str) -> str:
    head, tail = f"{fit(clean(finding.headline), 400)}: ", f"; {fit(end, 500)}"
    return head + fit(words, LONGEST - len(head.encode()) - len(tail.encode())) + tail


def _words(finding: Finding, driver: str) -> str:
    said = clean(finding.message) or "no further words"
    words = f"{driver} says: {said}" if _is_drivers_word(finding) else said
    return f"{words} (not confirmed now: this source does not respond)" if finding.stale else words


def _is_drivers_word(finding: Finding) -> bool:
    """Tell whether the driver said it, not what the node itself sees, nor Kubernetes."""
    return finding.source is not Source.KUBERNETES and Observer.DRIVER in finding.observers


def _users(pods: Sequence[Pod]) -> str:
    if not pods:
        return "no Pod uses it"
    if any(pod.owner for pod in pods):
        by = workloads(pods)
        return f"used by {fit('; '.join(by[:_PODS_NAMED]), 250)}" + (
            f"; {len(by) - 3} more" if len(by) > 3 else ""
        )
    named = [f"{pod.name} on {pod.node}" if pod.node else pod.name for pod in pods[:_PODS_NAMED]]
    if len(pods) == 1:
        return f"Pod {fit(named[0], 300)} uses it"
    more = len(pods) - len(named)
    return fit(f"Pods {', '.join([*named, f'{more} more'] if more else named)}", 300) + " use it"


def _next(claim: ClaimRef) -> str:
    return f"see: kubectl describe vh {claim.name} -n {claim.namespace}"
