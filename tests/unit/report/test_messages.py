"""The sentences of Events: the fact first, the next command last, 1,024 bytes at most."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.health import DRIVER, START, make_claim, make_finding, make_pod
from volumehealth.model.clock import date_and_time
from volumehealth.model.health import Source, TransitionKind
from volumehealth.model.ids import ClaimRef
from volumehealth.model.origin import Observer
from volumehealth.model.vocabulary import EventReason
from volumehealth.report.eventobjects import (
    About,
    EventDraft,
    event_reason,
    found_on_claim,
    found_on_pod,
    recovered,
)

CLAIM = ClaimRef("shop", "orders-db")
END = "; see: kubectl describe vh orders-db -n shop"
USERS = {
    "no Pod uses it": [],
    "Pod orders-db-0 on worker-2 uses it": [make_pod()],
    "Pod waiting uses it": [make_pod("waiting", node="")],
    "used by StatefulSet/db: 2 Pods on n1, n2; Pod/debug: on n3": [
        replace(make_pod("db-0", node="n1"), owner="StatefulSet/db"),
        replace(make_pod("db-1", node="n2"), owner="StatefulSet/db"),
        make_pod("debug", node="n3"),
    ],
    "Pods a on n1, b on n2 use it": [make_pod("a", node="n1"), make_pod("b", node="n2")],
    "Pods p0 on n, p1 on n, p2 on n, 7 more use it": [
        make_pod(f"p{number}", node="n") for number in range(10)
    ],
}


@pytest.mark.parametrize("words", USERS)
def test_a_claims_event_says_what_who_says_so_who_uses_it_and_what_to_type(words: str) -> None:
    assert found_on_claim(make_finding(), DRIVER, CLAIM, USERS[words]) == (
        "Inaccessible/VolumeNotFound (Controller): csi-powerstore.dellemc.com says: the volume is not found on the "
        f"array; since {date_and_time(START)}; {words}{END}"
    )


def test_a_claims_event_about_a_node_says_only_of_that_node_that_no_pod_uses_it() -> None:
    """Faults H26: a volume that could not be detached from one node is used on another one."""
    finding = make_finding(source=Source.KUBERNETES, node="worker-1", reason="DetachFailed")
    assert "; no Pod on worker-1 uses it; " in found_on_claim(finding, DRIVER, CLAIM, [])


def test_a_pods_event_names_the_claim() -> None:
    assert found_on_pod(make_finding(message=""), DRIVER, CLAIM) == (
        "Inaccessible/VolumeNotFound (Controller): PVC orders-db: csi-powerstore.dellemc.com says: no further words"
        + END
    )


def test_what_the_node_sees_is_not_said_by_the_driver() -> None:
    seen = make_finding(
        source=Source.NODE,
        node="n1",
        reason="IOStalled",
        message="I/O of the device sdb waits and does not end",
        observers=(Observer.BLOCK_DEVICE, Observer.KERNEL_LOG),
    )
    assert found_on_pod(seen, DRIVER, CLAIM) == (
        "Inaccessible/IOStalled (Node n1): PVC orders-db: I/O of the device sdb waits and does not end" + END
    )
    both = replace(seen, observers=(Observer.DRIVER, Observer.BLOCK_DEVICE))
    assert "csi-powerstore.dellemc.com says: I/O" in found_on_pod(both, DRIVER, CLAIM)


def test_a_failed_node_does_not_sound_as_if_the_claim_were_a_node() -> None:
    finding = make_finding(
        source=Source.KUBERNETES, node="worker-2", reason="NodeFailed", message="node worker-2 is not Ready"
    )
    assert found_on_claim(finding, DRIVER, CLAIM, [make_pod()]) == (
        "Inaccessible/NodeFailed (Kubernetes worker-2): node worker-2 is not Ready; "
        f"since {date_and_time(START)}; Pod orders-db-0 on worker-2 uses it" + END
    )
    assert event_reason(TransitionKind.FOUND, finding) is EventReason.NODE_FAILED
    assert event_reason(TransitionKind.RECOVERED, finding) is EventReason.NODE_RECOVERED


texts = st.text(max_size=3000)


@given(texts, texts, texts, st.integers(0, 9))
def test_whatever_a_driver_says_the_message_fits_and_keeps_its_beginning_and_end(
    status: str, reason: str, message: str, remaining: int
) -> None:
    finding = make_finding(status=f"Odd{status}", reason=f"Odd{reason}", message=message)
    pods = [make_pod("p" * 253, node="n" * 253)] * 5
    said = (
        found_on_claim(finding, DRIVER, CLAIM, pods),
        found_on_pod(finding, DRIVER, CLAIM),
        recovered(finding, CLAIM, at=START, remaining=remaining),
    )
    for sentence in said:
        assert len(sentence.encode()) <= 1024
        assert sentence.isprintable()
        assert sentence.startswith("Odd")
        assert sentence.endswith(END)


@given(st.integers(1, 253), st.text(max_size=5))
def test_an_events_name_is_one_that_kubernetes_takes(length: int, identity: str) -> None:
    about = About("Pod", "shop", ("a.b-" * 64)[: length - 1] + "c", "uid")
    name = EventDraft(about, EventReason.NODE_FAILED, identity, str, "Found").name
    assert len(name) <= 253
    assert all(part and part[0].isalnum() and part[-1].isalnum() for part in name.split("."))


def test_an_events_name_follows_from_what_it_tells() -> None:
    claim = make_claim()
    about = About("PersistentVolumeClaim", *claim.ref, claim.uid)

    def name(**changes: str) -> str:
        told = {"reason": EventReason.VOLUME_CONDITION_ABNORMAL, "identity": "a"} | changes
        return EventDraft(about, message=str, action="Found", **told).name  # type: ignore[arg-type]

    assert name() == name()
    assert len({name(), name(identity="b"), name(reason=EventReason.VOLUME_CONDITION_NORMAL)}) == 3
