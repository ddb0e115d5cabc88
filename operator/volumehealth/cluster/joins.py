"""Claims joined with their volumes, and the Pods that use them; kept right by whichever side changes."""

from collections.abc import Callable, Hashable, Mapping
from types import MappingProxyType
from typing import TypeVar

from volumehealth.cluster.objects import ClaimRow, VolumeRow
from volumehealth.model.cluster import Claim, Pod
from volumehealth.model.ids import ClaimRef, VolumeId

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


def join(row: ClaimRow, volume: VolumeRow | None) -> Claim:
    """Make a claim of its two halves; a volume that is not bound to this very claim counts as none."""
    if volume is not None and not _bound(volume, row):
        volume = None
    return Claim(
        ref=row.ref,
        uid=row.uid,
        labels=row.labels,
        storage_class=row.storage_class or (volume.storage_class if volume else ""),
        phase=row.phase,
        volume=volume.name if volume else "",
        driver=volume.id.driver if volume and volume.id else "",
        handle=volume.id.handle if volume and volume.id else "",
        unsupported=volume.unsupported if volume else "",
        access_modes=row.access_modes,
        block=row.block,
        deleting=row.deleting,
    )


def _bound(volume: VolumeRow, claim: ClaimRow) -> bool:
    return volume.claim == claim.ref and volume.claim_uid in ("", claim.uid)


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
        self._naming: dict[str, tuple[ClaimRef, ...]] = {}
        self._on_volume: dict[VolumeId, tuple[ClaimRef, ...]] = {}
        self.claims: Mapping[ClaimRef, Claim] = MappingProxyType(self._joined)

    def claims_on(self, volume: VolumeId) -> tuple[ClaimRef, ...]:
        """Return the claims that one CSI volume backs."""
        return self._on_volume.get(volume, ())

    def put_claim(self, row: ClaimRow) -> None:
        """Take a claim as it is now."""
        before = self._rows.get(row.ref)
        if before != row:
            if before is not None and before.volume != row.volume:
                _remove(self._naming, before.volume, row.ref)
            if row.volume and (before is None or before.volume != row.volume):
                _add(self._naming, row.volume, row.ref)
            self._rows[row.ref] = row
            self._rejoin(row.ref)

    def drop_claim(self, ref: ClaimRef) -> None:
        """A claim is gone."""
        row = self._rows.pop(ref, None)
        if row is not None:
            _remove(self._naming, row.volume, ref)
            self._rejoin(ref)

    def claim_keys(self) -> set[ClaimRef]:
        """Return what is known."""
        return set(self._rows)

    def put_volume(self, row: VolumeRow) -> None:
        """Take a volume as it is now."""
        if self._volumes.get(row.name) != row:
            self._volumes[row.name] = row
            self._rejoin_all(row.name)

    def drop_volume(self, name: str) -> None:
        """A volume is gone."""
        if self._volumes.pop(name, None) is not None:
            self._rejoin_all(name)

    def volume_keys(self) -> set[str]:
        """Return what is known."""
        return set(self._volumes)

    def _rejoin_all(self, volume: str) -> None:
        for ref in self._naming.get(volume, ()):
            self._rejoin(ref)

    def _rejoin(self, ref: ClaimRef) -> None:
        row, before = self._rows.get(ref), self._joined.get(ref)
        volume = self._volumes.get(row.volume) if row is not None else None
        after = join(row, volume) if row is not None else None
        if after == before:
            return
        if before is not None and before.driver:
            _remove(self._on_volume, VolumeId(before.driver, before.handle), ref)
        if after is None:
            del self._joined[ref]
        else:
            self._joined[ref] = after
            if after.driver and volume is not None and volume.id is not None:
                _add(self._on_volume, volume.id, ref)
        self._on_change(ref)


class PodIndex:
    """The Pods that use claims."""

    def __init__(self) -> None:
        self._pods: dict[ClaimRef, Pod] = {}
        self._users: dict[ClaimRef, tuple[Pod, ...]] = {}

    def users_of(self, ref: ClaimRef) -> tuple[Pod, ...]:
        """Return the Pods that use a claim."""
        return self._users.get(ref, ())

    def put(self, pod: Pod) -> None:
        """Take a Pod as it is now."""
        key = ClaimRef(pod.namespace, pod.name)
        before = self._pods.get(key)
        if before == pod:
            return
        if before is not None and before.claims != pod.claims:  # another Pod of that name
            self.drop(key)
            before = None
        self._pods[key] = pod
        for name in pod.claims:
            ref = ClaimRef(pod.namespace, name)
            if before is None:
                _add(self._users, ref, pod)
            else:
                self._users[ref] = tuple(pod if one is before else one for one in self._users[ref])

    def drop(self, key: ClaimRef) -> None:
        """A Pod is gone."""
        pod = self._pods.pop(key, None)
        for name in pod.claims if pod else ():
            _remove(self._users, ClaimRef(key.namespace, name), pod)

    def known(self) -> set[ClaimRef]:
        """Return what is known, by namespace and name."""
        return set(self._pods)


def _add(index: dict[Key, tuple[Value, ...]], key: Key, value: Value) -> None:
    index[key] = (*index.get(key, ()), value)


def _remove(index: dict[Key, tuple[Value, ...]], key: Key, value: object) -> None:
    rest = tuple(one for one in index.get(key, ()) if one != value)
    if rest:
        index[key] = rest
    else:
        index.pop(key, None)
