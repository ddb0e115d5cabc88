"""Claims joined with volumes: whatever the order in which things happen, the result is that of the last state."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from volumehealth.cluster.changes import Changes
from volumehealth.cluster.joins import ClaimJoin, PodIndex, join
from volumehealth.cluster.objects import ClaimRow, VolumeRow
from volumehealth.model.cluster import Pod
from volumehealth.model.ids import LOST_VOLUMES, ClaimRef

DRIVER = "hostpath.csi.k8s.io"


def claim(name: str = "db", **fields: Any) -> ClaimRow:
    row: dict[str, Any] = {
        "ref": ClaimRef("shop", name),
        "uid": f"uid-{name}",
        "labels": {},
        "storage_class": "fast",
        "phase": "Bound",
        "volume": f"pv-{name}",
        "access_modes": ("ReadWriteOnce",),
        "block": False,
        "deleting": False,
    }
    return ClaimRow(**(row | fields))


def volume(name: str = "db", **fields: Any) -> VolumeRow:
    row: dict[str, Any] = {
        "name": f"pv-{name}",
        "driver": DRIVER,
        "handle": f"handle-{name}",
        "unsupported": "",
        "storage_class": "fast",
        "claim": ClaimRef("shop", name),
        "claim_uid": f"uid-{name}",
    }
    return VolumeRow(**(row | fields))


def pod(name: str, *claims: str, **fields: Any) -> Pod:
    row: dict[str, Any] = {
        "namespace": "shop",
        "name": name,
        "uid": f"uid-{name}",
        "node": "",
        "phase": "Running",
    }
    return Pod(**(row | {"claims": claims} | fields))


def test_a_claim_takes_driver_and_handle_from_its_volume() -> None:
    joined = join(claim(), volume())
    assert (joined.driver, joined.handle, joined.volume) == (DRIVER, "handle-db", "pv-db")


def test_a_claim_without_a_class_of_its_own_has_that_of_its_volume() -> None:
    assert join(claim(storage_class=""), volume(storage_class="slow")).storage_class == "slow"
    assert join(claim(storage_class="fast"), volume(storage_class="slow")).storage_class == "fast"


def test_a_volume_counts_only_if_it_is_bound_to_this_very_claim() -> None:
    for other in (
        None,
        volume(claim=None),
        volume(claim=ClaimRef("shop", "other")),
        volume(claim=ClaimRef("other", "db")),
        volume(claim_uid="uid-of-an-earlier-db"),
    ):
        joined = join(claim(), other)
        assert (joined.volume, joined.driver, joined.handle, joined.unsupported) == ("", "", "", "")
    assert join(claim(), volume(claim_uid="")).handle == "handle-db"


def test_a_lost_claim_of_which_nothing_tells_the_driver_is_watched_all_the_same() -> None:
    assert join(claim(phase="Lost"), None).driver == LOST_VOLUMES
    assert join(claim(phase="Lost", driver=DRIVER), None).driver == DRIVER
    assert join(claim(phase="Bound"), None).driver == ""


def test_a_volume_that_is_not_csi_is_named() -> None:
    joined = join(claim(), volume(driver="", handle="", unsupported="nfs"))
    assert (joined.driver, joined.unsupported, joined.volume) == ("", "nfs", "pv-db")


def test_a_migrated_volume_of_which_nobody_knows_the_handle_is_none_to_be_asked_about() -> None:
    """What its driver's agent covers is compared with these by their digest."""
    index = ClaimJoin(lambda _: None)
    index.put_volume(volume())
    index.put_volume(volume("share", handle=""))
    assert index.handles_of(DRIVER) == {"handle-db"}


def test_equal_rows_change_nothing() -> None:
    told: list[ClaimRef] = []
    index = ClaimJoin(told.append)
    index.put_volume(volume())
    index.put_claim(claim())
    before = index.claims[ClaimRef("shop", "db")]
    told.clear()
    index.put_claim(claim())
    index.put_volume(volume())
    assert told == []
    assert index.claims[ClaimRef("shop", "db")] is before


def test_several_claims_may_name_one_volume() -> None:
    index = ClaimJoin(lambda _: None)
    bound, other = ClaimRef("shop", "db"), ClaimRef("shop", "copy")
    for name in ("copy", "db"):
        index.put_claim(claim(name, volume="pv-db"))
    index.put_volume(volume())
    assert set(index.claims_of("pv-db")) == {bound, other}
    index.drop_claim(bound)
    assert index.claims_of("pv-db") == (other,)


NAMES = ("a", "b")
STEPS = st.lists(
    st.one_of(
        st.builds(
            lambda name, names, uid: ("claim", claim(name, volume=f"pv-{names}", uid=uid)),
            st.sampled_from(NAMES),
            st.sampled_from(NAMES),
            st.sampled_from(("u1", "u2")),
        ),
        st.builds(
            lambda name, of, uid, handle: (
                "volume",
                volume(name, claim=ClaimRef("shop", of), claim_uid=uid, handle=handle),
            ),
            st.sampled_from(NAMES),
            st.sampled_from(NAMES),
            st.sampled_from(("", "u1", "u2")),
            st.sampled_from(("h1", "h2")),
        ),
        st.builds(lambda name: ("no claim", ClaimRef("shop", name)), st.sampled_from(NAMES)),
        st.builds(lambda name: ("no volume", f"pv-{name}"), st.sampled_from(NAMES)),
    ),
    max_size=30,
)


@given(STEPS)
def test_any_history_ends_as_if_only_the_last_state_had_been_told(steps: list[tuple[str, Any]]) -> None:
    told: set[ClaimRef] = set()
    index = ClaimJoin(told.add)
    claims: dict[ClaimRef, ClaimRow] = {}
    volumes: dict[str, VolumeRow] = {}
    for kind, what in steps:
        before = dict(index.claims)
        told.clear()
        if kind == "claim":
            claims[what.ref] = what
            index.put_claim(what)
        elif kind == "volume":
            volumes[what.name] = what
            index.put_volume(what)
        elif kind == "no claim":
            claims.pop(what, None)
            index.drop_claim(what)
        else:
            volumes.pop(what, None)
            index.drop_volume(what)
        assert index.claims.keys() == claims.keys()
        for ref, row in claims.items():
            if row.volume in volumes:  # one that is gone may be remembered
                assert index.claims[ref] == join(row, volumes[row.volume])
        assert told == {ref for ref in {*before, *index.claims} if before.get(ref) != index.claims.get(ref)}
        for name in NAMES:
            expected = sorted(ref for ref, row in claims.items() if row.volume == f"pv-{name}")
            assert sorted(index.claims_of(f"pv-{name}")) == expected


def test_pods_are_found_by_the_claims_they_use() -> None:
    index = PodIndex()
    db = ClaimRef("shop", "db")
    index.put(pod("one", "db", "wal"))
    index.put(pod("two", "db"))
    assert [one.name for one in index.users_of(db)] == ["one", "two"]
    index.put(pod("one", "db", "wal", phase="Failed"))
    assert [(one.name, one.phase) for one in index.users_of(db)] == [("one", "Failed"), ("two", "Running")]
    index.put(pod("two", "other", uid="uid-of-a-new-two"))
    assert [one.name for one in index.users_of(db)] == ["one"]
    assert [one.name for one in index.users_of(ClaimRef("shop", "other"))] == ["two"]
    index.drop(ClaimRef("shop", "one"))
    index.drop(ClaimRef("shop", "never seen"))
    assert index.users_of(db) == ()
    assert index.users_of(ClaimRef("shop", "wal")) == ()
    assert set(index.known()) == {ClaimRef("shop", "two")}


def test_each_consumer_takes_changes_at_its_own_pace() -> None:
    changes = Changes()
    changes.add(ClaimRef("shop", "a"))
    assert changes.take() is None, "at first it may be any"
    assert changes.take() == frozenset()
    changes.add(ClaimRef("shop", "a"))
    changes.add(ClaimRef("shop", "a"))
    assert changes.take() == frozenset({ClaimRef("shop", "a")})
    for number in range(Changes._MOST + 1):
        changes.add(ClaimRef("shop", str(number)))
    assert changes.take() is None, "more names than it keeps: it may be any"
