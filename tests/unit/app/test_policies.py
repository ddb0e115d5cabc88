"""Policies as the operator uses them: parsed once for each generation, the last good spec in force."""

from dataclasses import replace
from typing import Any

from volumehealth.app.policies import GONE_AFTER, PolicyBook
from volumehealth.cluster.objects import RawPolicy


def raw_policy(
    name: str = "storage", *, generation: int = 1, spec: dict[str, Any] | None = None
) -> RawPolicy:
    metadata = {
        "name": name,
        "uid": f"uid-{name}",
        "generation": generation,
        "creationTimestamp": "2026-11-24T03:00:00Z",
    }
    return RawPolicy(name, f"uid-{name}", generation, {"metadata": metadata, "spec": spec or {}}, {})


def test_a_new_policy_has_changed() -> None:
    changed, gone = PolicyBook().refresh([raw_policy()], now=0.0)

    assert changed == {"uid-storage"}
    assert gone == ()


def test_the_same_generation_has_not_changed() -> None:
    book = PolicyBook()
    book.refresh([raw_policy()], now=0.0)

    assert book.refresh([raw_policy()], now=0.0) == (frozenset(), ())


def test_another_spec_under_a_generation_that_was_seen_is_read() -> None:
    book = PolicyBook()
    book.refresh([raw_policy(generation=5, spec={"priority": 1})], now=0.0)

    # An etcd that was restored is at an older generation, and the next edit has the number of one that is lost.
    changed, _ = book.refresh([raw_policy(generation=5, spec={"priority": 2})], now=1.0)

    assert changed == {"uid-storage"}
    policy = book["uid-storage"].policy
    assert policy is not None
    assert policy.spec.priority == 2


def test_a_policy_that_is_missing_for_a_moment_stays() -> None:
    book = PolicyBook()
    book.refresh([raw_policy("a"), raw_policy("b")], now=0.0)

    assert book.refresh([raw_policy("b")], now=1.0) == (frozenset(), ())
    assert list(book.missing) == ["uid-a"]
    assert book.refresh([raw_policy("a"), raw_policy("b")], now=2.0) == (frozenset(), ())
    assert not book.missing


def test_a_policy_that_is_missing_for_longer_is_gone() -> None:
    book = PolicyBook()
    book.refresh([raw_policy("a"), raw_policy("b")], now=0.0)
    book.refresh([raw_policy("b")], now=1.0)

    changed, gone = book.refresh([raw_policy("b")], now=1.0 + GONE_AFTER)

    assert not changed
    assert [entry.raw.name for entry in gone] == ["a"]
    assert "uid-a" not in book


def test_nothing_is_gone_while_the_view_cannot_be_trusted() -> None:
    book = PolicyBook()
    book.refresh([raw_policy("a")], now=0.0)

    for now in range(1, 10_000, 100):
        assert book.refresh([], now=float(now), trusted=False) == (frozenset(), ())

    assert "uid-a" in book
    assert book.refresh([], now=10_000.0) == (frozenset(), ()), (
        "it counts from when the view is trusted again"
    )


def test_a_policy_whose_name_another_one_has_is_gone_at_once() -> None:
    book = PolicyBook()
    book.refresh([raw_policy("a")], now=0.0)

    changed, gone = book.refresh([replace(raw_policy("a"), uid="new")], now=0.1)

    assert changed == {"new"}
    assert [entry.raw.uid for entry in gone] == ["uid-a"]


def test_a_bad_spec_leaves_the_last_good_one_in_force() -> None:
    book = PolicyBook()
    book.refresh([raw_policy(spec={"interval": "30s"})], now=0.0)

    book.refresh([raw_policy(generation=2, spec={"interval": "never"})], now=0.0)

    entry = book["uid-storage"]
    assert entry.policy is not None
    assert entry.policy.spec.interval.total_seconds() == 30
    assert entry.policy.generation == 2
    assert [fault.path for fault in entry.faults] == ["spec.interval"]
    assert entry.checks


def test_a_spec_that_never_was_good_checks_nothing() -> None:
    book = PolicyBook()

    book.refresh([raw_policy(spec={"interval": "never"})], now=0.0)

    entry = book["uid-storage"]
    assert not entry.checks
    assert entry.shown.name == "storage"
    assert book.usable() == {}


def test_a_suspended_policy_keeps_its_claims_and_checks_nothing() -> None:
    book = PolicyBook()

    book.refresh([raw_policy(spec={"suspend": True})], now=0.0)

    assert not book["uid-storage"].checks
    assert list(book.usable()) == ["uid-storage"]


def test_a_repaired_spec_has_no_faults() -> None:
    book = PolicyBook()
    book.refresh([raw_policy(spec={"interval": "never"})], now=0.0)

    changed, _ = book.refresh([raw_policy(generation=2)], now=0.0)

    assert changed == {"uid-storage"}
    assert book["uid-storage"].faults == ()
