"""Which claims a policy holds."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volumehealth.model.cluster import Claim, Namespace
from volumehealth.model.ids import ClaimRef
from volumehealth.model.policy import LabelExpression, LabelSelector, Policy, PolicySpec, Selector
from volumehealth.model.steps import at_once
from volumehealth.policy.select import Members, Selection, matches

BORN = datetime(2026, 11, 24, tzinfo=UTC)
DRIVER = "hostpath.csi.k8s.io"


def claim(name: str, namespace: str = "shop", **fields: object) -> Claim:
    row = Claim(
        ref=ClaimRef(namespace, name),
        uid=f"uid-{name}",
        labels={},
        storage_class="fast",
        phase="Bound",
        volume=f"pv-{name}",
        driver=DRIVER,
        handle=f"vol-{name}",
    )
    return replace(row, **fields)  # type: ignore[arg-type] # the table below names fields freely


def policy(
    name: str = "storage", *, age: int = 0, priority: int = 0, selector: Selector | None = None
) -> Policy:
    spec = PolicySpec(priority=priority, selector=selector or Selector())
    return Policy(name, f"uid-{name}", 1, BORN - timedelta(days=age), spec)


def by_uid(*policies: Policy) -> dict[str, Policy]:
    return {policy.uid: policy for policy in policies}


def by_ref(*claims: Claim) -> dict[ClaimRef, Claim]:
    return {claim.ref: claim for claim in claims}


def spaces(**labels: Mapping[str, str]) -> dict[str, Namespace]:
    return {name: Namespace(name, given) for name, given in labels.items()}


def names(members: Members) -> list[str]:
    return sorted(str(ref) for refs in members.by_driver.values() for held in refs.values() for ref in held)


def selected_by(selector: Selector, *claims: Claim) -> list[str]:
    selection = Selection()
    owner = policy(selector=selector)
    namespaces = spaces(shop={"team": "sales"}, ci={"team": "build"})
    at_once(selection.update(by_uid(owner), by_ref(*claims), namespaces, None))
    return names(selection.members(owner.uid))


SELECTORS = {
    "an empty selector takes every bound CSI claim": (Selector(), ["ci/cache", "shop/orders", "shop/wal"]),
    "drivers": (Selector(drivers=("other.example.com",)), ["shop/wal"]),
    "storage classes": (Selector(storage_class_names=("slow", "none")), ["ci/cache"]),
    "claim labels": (Selector(claim_selector=LabelSelector({"app": "db"})), ["shop/orders"]),
    "namespace labels": (Selector(namespace_selector=LabelSelector({"team": "build"})), ["ci/cache"]),
    "all that is given must match": (
        Selector(drivers=(DRIVER,), namespace_selector=LabelSelector({"team": "sales"})),
        ["shop/orders"],
    ),
    "a typo selects nothing": (Selector(drivers=("hostpth.csi.k8s.io",)), []),
}


@pytest.mark.parametrize(("selector", "expected"), SELECTORS.values(), ids=SELECTORS.keys())
def test_a_selector(selector: Selector, expected: list[str]) -> None:
    claims = (
        claim("orders", labels={"app": "db"}),
        claim("wal", driver="other.example.com"),
        claim("cache", "ci", storage_class="slow"),
    )
    assert selected_by(selector, *claims) == expected


EXPRESSIONS = {
    "In needs the label": (LabelExpression("app", "In", ("db", "cache")), {"app": "db"}, True),
    "In refuses another value": (LabelExpression("app", "In", ("db",)), {"app": "web"}, False),
    "In refuses a missing label": (LabelExpression("app", "In", ("db",)), {}, False),
    "NotIn takes a missing label": (LabelExpression("app", "NotIn", ("db",)), {}, True),
    "NotIn refuses a value of the set": (LabelExpression("app", "NotIn", ("db",)), {"app": "db"}, False),
    "Exists": (LabelExpression("app", "Exists"), {"app": ""}, True),
    "DoesNotExist": (LabelExpression("app", "DoesNotExist"), {"app": ""}, False),
}


@pytest.mark.parametrize(("expression", "labels", "expected"), EXPRESSIONS.values(), ids=EXPRESSIONS.keys())
def test_a_label_expression(expression: LabelExpression, labels: dict[str, str], expected: bool) -> None:
    assert matches(LabelSelector({}, (expression,)), labels) is expected


def test_an_operator_we_do_not_know_is_an_error_and_no_match() -> None:
    with pytest.raises(ValueError, match="Near"):
        matches(LabelSelector({}, (LabelExpression("app", "Near"),)), {"app": "db"})


def test_a_claim_that_was_never_bound_is_not_selected() -> None:
    assert selected_by(Selector(), claim("orders", phase="Pending")) == []


def test_a_claim_that_lost_its_volume_stays_with_its_policy() -> None:
    assert selected_by(Selector(), claim("orders", phase="Lost")) == ["shop/orders"]


def test_a_claim_waits_until_its_volume_is_seen() -> None:
    selection = Selection()
    unseen = claim("orders", volume="", driver="", handle="")
    at_once(selection.update(by_uid(policy()), by_ref(unseen), {}, None))
    assert selection.members("uid-storage") == Members()


def test_a_namespace_that_was_not_seen_yet_is_not_taken_by_a_selector_that_excludes() -> None:
    but_secret = LabelSelector({}, (LabelExpression("secret", "DoesNotExist"),))
    assert selected_by(Selector(namespace_selector=but_secret), claim("orders", "new")) == []


def test_unsupported_claims_are_counted_apart_and_never_silently_left_out() -> None:
    selection = Selection()
    old = claim("old", driver="", handle="", unsupported="nfs")
    at_once(selection.update(by_uid(policy()), by_ref(old, claim("orders")), {}, None))
    members = selection.members("uid-storage")
    assert (members.selected, members.not_csi) == (1, 1)
    assert selection.owner(old.ref) == "uid-storage"


WINNERS = {
    "the higher priority wins": (policy("young", priority=1), policy("old", age=9)),
    "then the oldest": (policy("zebra", age=9), policy("ant")),
    "then the first by name": (policy("ant"), policy("zebra")),
}


@pytest.mark.parametrize(("winner", "loser"), WINNERS.values(), ids=WINNERS.keys())
def test_of_two_policies_that_select_one_claim(winner: Policy, loser: Policy) -> None:
    for policies in (by_uid(winner, loser), by_uid(loser, winner)):
        selection = Selection()
        at_once(selection.update(policies, by_ref(claim("orders")), {}, None))
        assert selection.owner(ClaimRef("shop", "orders")) == winner.uid
        assert names(selection.members(winner.uid)) == ["shop/orders"]
        assert selection.members(loser.uid).by_driver == {}
        assert selection.members(loser.uid).overridden == {winner.name: 1}


def test_claims_that_share_a_volume_stay_together() -> None:
    selection = Selection()
    at_once(
        selection.update(by_uid(policy()), by_ref(claim("b", handle="v"), claim("a", handle="v")), {}, None)
    )
    members = selection.members("uid-storage")
    assert members.by_driver == {DRIVER: {"v": (ClaimRef("shop", "a"), ClaimRef("shop", "b"))}}
    assert members.claims_of == {DRIVER: 2}


def test_nothing_new_gives_the_same_object() -> None:
    selection = Selection()
    claims = by_ref(claim("orders"))
    at_once(selection.update(by_uid(policy()), claims, {}, None))
    members = selection.members("uid-storage")
    claims[ClaimRef("shop", "orders")] = claim("orders", labels={"touched": "yes"})
    at_once(selection.update(by_uid(policy()), claims, {}, {ClaimRef("shop", "orders")}))
    assert selection.members("uid-storage") is members


def test_members_that_were_handed_out_never_change() -> None:
    selection = Selection()
    claims = by_ref(claim("orders"))
    at_once(selection.update(by_uid(policy()), claims, {}, None))
    before = selection.members("uid-storage")
    claims.update(by_ref(claim("wal")))
    at_once(selection.update(by_uid(policy()), claims, {}, {ClaimRef("shop", "wal")}))
    assert names(before) == ["shop/orders"]
    assert names(selection.members("uid-storage")) == ["shop/orders", "shop/wal"]


def test_members_say_from_where_a_volume_can_be_reached_unless_it_is_from_everywhere() -> None:
    selection = Selection()
    claims = by_ref(claim("a", handle="v1", topology="zone In a"), claim("b", handle="v2"))
    at_once(selection.update(by_uid(policy()), claims, {}, None))
    assert selection.members("uid-storage").topologies == {DRIVER: {"v1": "zone In a"}}
    moved = claims[ClaimRef("shop", "a")] = claim("a", handle="v1", topology="zone In b")
    at_once(selection.update(by_uid(policy()), claims, {}, {moved.ref}))
    assert selection.members("uid-storage").topologies == {DRIVER: {"v1": "zone In b"}}
    del claims[moved.ref]
    at_once(selection.update(by_uid(policy()), claims, {}, {moved.ref}))
    assert selection.members("uid-storage").topologies == {}


def test_an_unknown_policy_has_no_members() -> None:
    assert Selection().members("nobody") == Members()


PLACES = {"v1": "zone In a", "v2": "zone In b", "v3": ""}
CLAIMS = st.builds(
    claim,
    st.sampled_from("abcdef"),
    st.sampled_from(["shop", "ci"]),
    labels=st.sampled_from([{}, {"app": "db"}]),
    driver=st.sampled_from([DRIVER, "other.example.com", ""]),
    handle=st.sampled_from(["v1", "v2", "v3"]),
    phase=st.sampled_from(["Bound", "Bound", "Pending"]),
    unsupported=st.sampled_from(["", "nfs"]),
).map(
    lambda row: replace(row, unsupported="" if row.driver else row.unsupported, topology=PLACES[row.handle])
)
POLICIES = st.builds(
    policy,
    st.sampled_from(["a", "b", "c"]),
    age=st.integers(0, 1),
    priority=st.integers(0, 1),
    selector=st.builds(
        Selector,
        drivers=st.sampled_from([(), (DRIVER,)]),
        namespace_selector=st.sampled_from([LabelSelector(), LabelSelector({"team": "sales"})]),
        claim_selector=st.sampled_from([LabelSelector(), LabelSelector({"app": "db"})]),
    ),
)
SPACES = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from([{"team": "sales"}, {}]) for name in ("shop", "ci")}
).map(lambda labels: spaces(**labels))
STATES = st.tuples(
    st.lists(POLICIES, max_size=3).map(lambda found: by_uid(*found)),
    st.lists(CLAIMS, max_size=8).map(lambda found: by_ref(*found)),
    SPACES,
)


@given(st.lists(STATES, min_size=1, max_size=5))
def test_following_changes_ends_where_starting_anew_ends(
    states: list[tuple[dict[str, Policy], dict[ClaimRef, Claim], dict[str, Namespace]]],
) -> None:
    """Whatever the way, the members depend on the present cluster only."""
    followed = Selection()
    seen: dict[ClaimRef, Claim] = {}
    for policies, claims, namespaces in states:
        changed = {ref for ref in seen.keys() | claims.keys() if seen.get(ref) != claims.get(ref)}
        at_once(followed.update(policies, claims, namespaces, changed))
        seen = claims
        anew = Selection()
        at_once(anew.update(policies, claims, namespaces, None))
        for uid in policies:
            assert followed.members(uid) == anew.members(uid)
        for ref in claims:
            assert followed.owner(ref) == anew.owner(ref)


def test_an_update_that_was_given_up_is_made_good_by_the_next() -> None:
    """A turn that failed amid it left claims for ever with a policy that is gone, and others with nobody."""
    selection, claims = Selection(), by_ref(*(claim(f"c-{number}") for number in range(5)))
    old, new = policy("old"), policy("new", selector=Selector(drivers=(DRIVER,)))
    at_once(selection.update(by_uid(old), claims, {}, None))
    given_up = iter(selection.update(by_uid(new), claims, {}, ()))
    next(given_up)
    given_up.close()
    assert [selection.why(ref) for ref in claims].count("") == 4, "whoever asks meanwhile gets an answer"

    at_once(selection.update(by_uid(new), claims, {}, ()))

    assert [selection.owner(ref) for ref in claims] == [new.uid] * 5
    assert selection.members(new.uid).selected == 5


def test_a_claim_that_was_away_when_its_policy_went_is_held_by_the_policy_that_comes_next() -> None:
    """Its going and its coming back are in one update, and that begins with what the new policy selects."""
    selection, ledger = Selection(), claim("ledger")
    at_once(selection.update(by_uid(policy("old")), by_ref(ledger), {}, None))
    at_once(selection.update({}, {}, {}, ()))
    at_once(selection.update(by_uid(policy("new")), by_ref(ledger), {}, (ledger.ref,)))
    assert selection.owner(ledger.ref) == "uid-new"


def test_an_owner_says_whom_it_was_chosen_before() -> None:
    selection, orders = Selection(), claim("orders")
    old, high = policy("old", age=9), policy("high", priority=5)
    at_once(selection.update(by_uid(old, high), by_ref(orders), {}, None))
    assert "high (priority 5), old (priority 0)" in selection.why(orders.ref)
    at_once(selection.update(by_uid(old), by_ref(orders), {}, None))
    assert selection.why(orders.ref) == "the only policy that selects it is old"


@pytest.mark.parametrize(
    ("selector", "changes", "words"),
    [
        (Selector(drivers=("other",)), {}, f"selector.drivers does not name {DRIVER}"),
        (Selector(storage_class_names=("slow",)), {}, "selector.storageClassNames does not name fast"),
        (Selector(claim_selector=LabelSelector({"a": "b"})), {}, "claimSelector does not match its labels"),
        (
            Selector(namespace_selector=LabelSelector({"a": "b"})),
            {},
            "does not match the labels of shop",
        ),
        (Selector(), {"phase": "Pending"}, "it is Pending: only a claim that is bound"),
        (Selector(), {"driver": "", "handle": ""}, "its volume pv-orders is not known"),
    ],
)
def test_a_claim_that_nobody_owns_says_which_part_of_the_selector_leaves_it_out(
    selector: Selector, changes: dict[str, object], words: str
) -> None:
    selection, orders = Selection(), claim("orders", **changes)  # type: ignore[arg-type] # the table above names fields freely
    at_once(selection.update(by_uid(policy(selector=selector)), by_ref(orders), spaces(shop={}), None))
    assert selection.owner(orders.ref) is None
    assert words in selection.why_not(orders)


def test_without_a_policy_nobody_owns_anything_and_that_is_told() -> None:
    selection, orders = Selection(), claim("orders")
    at_once(selection.update({}, by_ref(orders), {}, None))
    assert "no VolumeHealthPolicy" in selection.why_not(orders)
