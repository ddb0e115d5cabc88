"""Claims joined with their volumes, and the Pods that use them; kept right by whichever side changes."""

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Generic, NamedTuple, TypeVar, cast

import msgspec

from volumehealth.cluster.objects import ClaimRow, RawRecord, VolumeRow
from volumehealth.errors import ApiError
from volumehealth.kube.bodies import read_body
from volumehealth.model.cluster import ApiConditions, Claim, Pod, SilenceAsked
from volumehealth.model.health import DEGRADED, INACCESSIBLE, Condition
from volumehealth.model.ids import LOCAL_VOLUMES, LOST_VOLUMES, ClaimRef, VolumeId, is_driver_name
from volumehealth.model.vocabulary import Reason

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


_FAILED = Condition(INACCESSIBLE, Reason.VOLUME_FAILED.value, "the phase of the PersistentVolume is Failed")
_NOTHING = ApiConditions()


def _deleting(volume: VolumeRow) -> Condition:
    """Say what happens when the claim goes: a volume that is deleted while it is bound waits for that."""
    then = {
        "Delete": "then the reclaim policy Delete deletes the data",
        "Recycle": "then the reclaim policy Recycle wipes the data",
    }.get(volume.deleting, "the reclaim policy Retain keeps the data")
    text = f"the PersistentVolume {volume.name} is being deleted and goes once the claim does; {then}"
    return Condition(DEGRADED, Reason.VOLUME_DELETING.value, text)


class Known(NamedTuple):
    """What a claim was bound to when that was last known, for a claim whose PersistentVolume is gone."""

    uid: str
    """Of the claim."""
    volume: str
    id: VolumeId


def join(row: ClaimRow, volume: VolumeRow | None, known: Known | None = None) -> Claim:
    """Make a claim of its two halves; a volume that is not bound to this very claim counts as none.

    A claim whose PersistentVolume was deleted (it is Lost, or about to be) keeps what is `known` of it: its driver
    and handle still say which volume it was. If nothing is known, the claim itself names the driver at best; a Lost
    claim that does not is watched all the same.
    """
    if (
        volume is None
        and row.volume
        and known is not None
        and (known.uid, known.volume) == (row.uid, row.volume)
    ):
        return replace(join(row, None), volume=known.volume, driver=known.id.driver, handle=known.id.handle)
    if volume is not None and not _bound(volume, row):
        volume = None
    lost = LOST_VOLUMES if row.phase == "Lost" else ""
    return Claim(
        ref=row.ref,
        uid=row.uid,
        labels=row.labels,
        storage_class=row.storage_class or (volume.storage_class if volume else ""),
        phase=row.phase,
        volume=volume.name if volume else "",
        driver=volume.driver if volume else row.driver or lost,
        handle=volume.handle if volume else "",
        unsupported=volume.unsupported if volume else "",
        access_modes=row.access_modes,
        block=row.block,
        deleting=row.deleting,
        topology=volume.topology if volume else "",
    )


def _share(row: ClaimRow, volume: VolumeRow) -> None:
    """Let the two halves of a claim hold one object of what is equal: at 100,000 claims copies cost 25 MB."""
    set_field = msgspec.structs.force_setattr
    set_field(volume, "claim", row.ref)
    set_field(row, "volume", volume.name)
    if volume.claim_uid == row.uid:
        set_field(volume, "claim_uid", row.uid)


def _bound(volume: VolumeRow, claim: ClaimRow) -> bool:
    return volume.claim == claim.ref and volume.claim_uid in ("", claim.uid)


class _RecordStatus(msgspec.Struct, rename="camel"):
    driver: str = ""
    volume: str = ""
    volume_handle: str = ""


def known_from(record: RawRecord) -> Known | None:
    """Read from a claim's record what the claim is bound to; None if it does not tell."""
    try:
        status = read_body(record.status or b"{}", _RecordStatus, what="the record")
    except ApiError:
        return None
    if not (status.driver and status.volume and status.volume_handle):
        return None
    if status.driver != LOCAL_VOLUMES and not is_driver_name(status.driver):
        return None  # somebody changed it by hand
    return Known(record.owner_uid, status.volume, VolumeId(status.driver, status.volume_handle))


class _Groups(Generic[Key, Value]):
    """Values by key, in the order in which they came.

    Nearly every key has one value. That is kept as it is: at 100,000 claims a tuple around each costs 6 MB.
    """

    def __init__(self) -> None:
        self._values: dict[Key, Value | tuple[Value, ...]] = {}

    def of(self, key: Key) -> tuple[Value, ...]:
        """Return the values of a key; none if it is not known."""
        found = self._values.get(key)
        if found is None:
            return ()
        # A ClaimRef is a tuple, too, of a class of its own.
        return found if type(found) is tuple else (cast("Value", found),)

    def set(self, key: Key, values: tuple[Value, ...]) -> None:
        """Take the values of a key."""
        if values:
            self._values[key] = values[0] if len(values) == 1 else values
        else:
            self._values.pop(key, None)

    def add(self, key: Key, value: Value) -> None:
        """Add a value to a key's."""
        self.set(key, (*self.of(key), value))

    def remove(self, key: Key, value: object) -> None:
        """Take a value from a key's."""
        self.set(key, tuple(one for one in self.of(key) if one != value))


class ClaimJoin:
    """The claims of the cluster.

    Args:
        on_change: told every claim that came, changed or went.
    """

    def __init__(self, on_change: Callable[[ClaimRef], None]) -> None:
        self._on_change = on_change
        self._rows: dict[ClaimRef, ClaimRow] = {}
        self._volumes: dict[str, VolumeRow] = {}
        self._joined: dict[ClaimRef, Claim] = {}
        # Claims by the volume that they name, but for those that the volume names, too: nearly all.
        self._naming = _Groups[str, ClaimRef]()
        self._recalled: dict[ClaimRef, Known] = {}
        self._handles: dict[str, frozenset[str]] = {}
        self._complaints: dict[ClaimRef, ApiConditions] = {}
        self._silences: dict[ClaimRef, SilenceAsked] = {}
        self.claims: Mapping[ClaimRef, Claim] = MappingProxyType(self._joined)
        self._annotations: dict[ClaimRef, Mapping[str, str]] = {}
        self.api_conditions: Mapping[ClaimRef, ApiConditions] = MappingProxyType(self._complaints)
        self.annotations: Mapping[ClaimRef, Mapping[str, str]] = MappingProxyType(self._annotations)
        self.silences: Mapping[ClaimRef, SilenceAsked] = MappingProxyType(self._silences)

    def claims_of(self, volume: str) -> tuple[ClaimRef, ...]:
        """Return the claims that name a PersistentVolume."""
        others, row = self._naming.of(volume), self._volumes.get(volume)
        bound = row.claim if row is not None else None
        return (bound, *others) if bound is not None and self._names(bound, volume) else others

    def shared(self, ref: ClaimRef) -> ClaimRef:
        """Return a claim's own reference for an equal one: at 100,000 claims another equal tuple costs 7 MB."""
        row = self._rows.get(ref)
        return row.ref if row is not None else ref

    def handles_of(self, driver: str) -> frozenset[str]:
        """Return the handles of a driver's volumes that belong to a claim; the same object while no volume changes.

        A migrated volume may have none that is known.
        """
        known = self._handles.get(driver)
        if known is None:
            known = self._handles[driver] = frozenset(
                row.handle
                for row in self._volumes.values()
                if row.driver == driver and row.handle and row.claim is not None
            )
        return known

    def recall(self, ref: ClaimRef, known: Known | None) -> None:
        """Take from a claim's record what it was bound to, in case that its PersistentVolume is gone."""
        if known is not None and self._recalled.get(ref) != known:
            self._recalled[ref] = known
            self._rejoin(ref)
        elif known is None:
            self._recalled.pop(ref, None)

    def put_claim(self, row: ClaimRow) -> None:
        """Take a claim as it is now."""
        before = self._rows.get(row.ref)
        if before != row:
            if before is not None and before.volume != row.volume:
                self._naming.remove(before.volume, row.ref)
            if row.volume and (before is None or before.volume != row.volume):
                volume = self._volumes.get(row.volume)
                if volume is None or volume.claim != row.ref:
                    self._naming.add(row.volume, row.ref)
            self._rows[row.ref] = row
            if row.silence is not None:
                self._silences[row.ref] = row.silence
            else:
                self._silences.pop(row.ref, None)
            self._rejoin(row.ref)

    def drop_claim(self, ref: ClaimRef) -> None:
        """A claim is gone."""
        row = self._rows.pop(ref, None)
        self._silences.pop(ref, None)
        if row is not None:
            self._naming.remove(row.volume, ref)
            self._rejoin(ref)

    def claim_keys(self) -> Collection[ClaimRef]:
        """Return what is known."""
        return self._rows.keys()

    def put_volume(self, row: VolumeRow) -> None:
        """Take a volume as it is now."""
        before = self._volumes.get(row.name)
        if before != row:
            self._volumes[row.name] = row
            if before is not None and before.claim != row.claim:
                self._leave(before)
            if row.claim is not None:
                self._naming.remove(row.name, row.claim)
            self._handles.clear()
            self._rejoin_all(row.name)

    def drop_volume(self, name: str) -> None:
        """A volume is gone."""
        before = self._volumes.pop(name, None)
        if before is not None:
            self._leave(before)
            self._handles.clear()
            self._rejoin_all(name)

    def volume_keys(self) -> Collection[str]:
        """Return what is known."""
        return self._volumes.keys()

    def _names(self, ref: ClaimRef, volume: str) -> bool:
        row = self._rows.get(ref)
        return row is not None and row.volume == volume

    def _leave(self, volume: VolumeRow) -> None:
        """A volume names a claim no more, which may go on naming the volume."""
        if volume.claim is not None and self._names(volume.claim, volume.name):
            self._naming.add(volume.name, volume.claim)

    def _rejoin_all(self, volume: str) -> None:
        for ref in self.claims_of(volume):
            self._rejoin(ref)

    def _rejoin(self, ref: ClaimRef) -> None:
        row, before = self._rows.get(ref), self._joined.get(ref)
        volume = self._volumes.get(row.volume) if row is not None else None
        if row is not None and volume is not None and volume.claim == ref:
            _share(row, volume)
        after = join(row, volume, self._known(before, ref)) if row is not None else None
        self._note(ref, row, volume)
        self._annotate(ref, row, volume)
        if after == before:
            return
        if after is None:
            del self._joined[ref]
        else:
            self._joined[ref] = after
        self._on_change(ref)

    def _known(self, before: Claim | None, ref: ClaimRef) -> Known | None:
        if before is not None and before.handle:
            return Known(before.uid, before.volume, VolumeId(before.driver, before.handle))
        return self._recalled.get(ref)

    def _annotate(self, ref: ClaimRef, row: ClaimRow | None, volume: VolumeRow | None) -> None:
        """Keep the annotations that sources read of a claim and of the volume that is bound to it; the claim's win."""
        of_claim = row.annotations if row is not None else {}
        of_volume = (
            volume.annotations if row is not None and volume is not None and _bound(volume, row) else {}
        )
        if of_claim or of_volume:
            self._annotations[ref] = {**of_volume, **of_claim} if of_volume else of_claim
        else:
            self._annotations.pop(ref, None)

    def _note(self, ref: ClaimRef, row: ClaimRow | None, volume: VolumeRow | None) -> None:
        """Keep what the API says against the claim and its volume; nearly always nothing."""
        said = row.api_conditions if row is not None else None
        if row is not None and volume is not None and volume.failed and _bound(volume, row):
            said = replace(said or _NOTHING, own=(*(said or _NOTHING).own, _FAILED))
        if row is not None and volume is not None and volume.deleting and _bound(volume, row):
            said = replace(said or _NOTHING, own=(*(said or _NOTHING).own, _deleting(volume)))
        if said is None:
            self._complaints.pop(ref, None)
        else:
            self._complaints[ref] = said


class _ByName(Collection[ClaimRef], Generic[Value]):
    """Values by namespace and name, with no key kept for each: at 100,000 Pods a ClaimRef for each costs 6 MB."""

    def __init__(self) -> None:
        self._spaces: dict[str, dict[str, Value]] = {}

    def get(self, ref: ClaimRef) -> Value | None:
        """Return a value; None if there is none."""
        return self._spaces.get(ref.namespace, {}).get(ref.name)

    def put(self, namespace: str, name: str, value: Value) -> None:
        """Take a value."""
        self._spaces.setdefault(namespace, {})[name] = value

    def pop(self, ref: ClaimRef) -> Value | None:
        """Remove a value and return it; None if there is none."""
        space = self._spaces.get(ref.namespace, {})
        found = space.pop(ref.name, None)
        if not space:
            self._spaces.pop(ref.namespace, None)
        return found

    def __contains__(self, key: object) -> bool:
        return isinstance(key, tuple) and len(key) == 2 and key[1] in self._spaces.get(key[0], {})

    def __iter__(self) -> Iterator[ClaimRef]:
        return (ClaimRef(namespace, name) for namespace, space in self._spaces.items() for name in space)

    def __len__(self) -> int:
        return sum(map(len, self._spaces.values()))


class PodIndex:
    """The Pods that use claims.

    Args:
        on_change: told every claim whose Pods changed.
        shared: returns the reference to keep for an equal one.

    Attributes:
        unwell: Pods of which the kubelet says something adverse, by namespace and name.
        waiting: Pods that are bound to a node and do not run, likewise.
    """

    def __init__(
        self,
        on_change: Callable[[ClaimRef], None] = lambda _: None,
        *,
        shared: Callable[[ClaimRef], ClaimRef] = lambda ref: ref,
    ) -> None:
        self._on_change = on_change
        self._shared = shared
        self._pods = _ByName[Pod]()
        self._users = _Groups[ClaimRef, Pod]()
        self._unwell: dict[ClaimRef, Pod] = {}
        self._waiting: dict[ClaimRef, Pod] = {}
        self.unwell: Mapping[ClaimRef, Pod] = MappingProxyType(self._unwell)
        self.waiting: Mapping[ClaimRef, Pod] = MappingProxyType(self._waiting)

    def users_of(self, ref: ClaimRef) -> tuple[Pod, ...]:
        """Return the Pods that use a claim."""
        return self._users.of(ref)

    def put(self, pod: Pod) -> None:
        """Take a Pod as it is now."""
        key = ClaimRef(pod.namespace, pod.name)
        before = self._pods.get(key)
        if before == pod:
            return
        if before is not None and before.claims != pod.claims:  # another Pod of that name
            self.drop(key)
            before = None
        self._pods.put(pod.namespace, pod.name, pod)
        if pod.health:
            self._unwell[key] = pod
        else:
            self._unwell.pop(key, None)
        if pod.waits is not None:
            self._waiting[key] = pod
        else:
            self._waiting.pop(key, None)
        for name in pod.claims:
            ref = self._shared(ClaimRef(pod.namespace, name))
            if before is None:
                self._users.add(ref, pod)
            else:
                self._users.set(ref, tuple(pod if one is before else one for one in self._users.of(ref)))
            self._on_change(ref)

    def drop(self, key: ClaimRef) -> None:
        """A Pod is gone."""
        pod = self._pods.pop(key)
        self._unwell.pop(key, None)
        self._waiting.pop(key, None)
        for name in pod.claims if pod else ():
            self._users.remove(ClaimRef(key.namespace, name), pod)
            self._on_change(ClaimRef(key.namespace, name))

    def known(self) -> Collection[ClaimRef]:
        """Return what is known, by namespace and name."""
        return self._pods
