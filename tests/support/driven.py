"""Claims that a pipeline judges by what their driver says, and whose records a view shows: thousands of them, in memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from support.fakeapi import FakeApi
from volumehealth.cluster.changes import Changes
from volumehealth.cluster.objects import RawRecord
from volumehealth.model.cluster import Claim, Namespace, Pod, ViewState
from volumehealth.model.health import DriverAnswers
from volumehealth.model.ids import ClaimRef
from volumehealth.probing.spec import ProbeSpec


@dataclass
class DrivenCluster:
    """Claims, each with a Pod, and what their driver says of them: a view, and drivers for a pipeline.

    Attributes:
        claims, namespaces, unresolved, records: as the view has them.
        said: what drivers say, by name.
        looked_at: the claims whose Pods were asked for, in order.
        changes: the claims whose records changed.
    """

    claims: dict[ClaimRef, Claim]
    namespaces: dict[str, Namespace] = field(default_factory=dict)
    unresolved: tuple[str, ...] = ()
    said: dict[str, DriverAnswers] = field(default_factory=dict)
    looked_at: list[ClaimRef] = field(default_factory=list)
    records: dict[ClaimRef, RawRecord] = field(default_factory=dict)
    changes: Changes = field(default_factory=Changes)

    def state(self) -> ViewState:
        """Be complete and current."""
        return ViewState(complete=True, age=0.0)

    def demand(self, wanted: Mapping[str, ProbeSpec]) -> None:
        """Ask nobody: what is said is set by hand."""

    def answers(self) -> dict[str, DriverAnswers]:
        """Return what drivers say."""
        return self.said

    def pods_of(self, ref: ClaimRef) -> tuple[Pod, ...]:
        """Return the Pod that uses a claim."""
        self.looked_at.append(ref)
        return (Pod(ref.namespace, f"pod-{ref.name}", f"uid-pod-{ref.name}", "n1", "Running", (ref.name,)),)

    def show_records(self, api: FakeApi) -> None:
        """Let the view show the records that are on the server, and say which have changed."""
        before = dict(self.records)
        self.records.clear()
        for one in api.of_kind("VolumeHealth"):
            about, status = one["metadata"], msgspec.json.encode(one["status"])
            ref, owner = ClaimRef(about["namespace"], about["name"]), about["ownerReferences"][0]["uid"]
            version = int(about["resourceVersion"])
            row = RawRecord(ref, "", owner, about["labels"], status, version=version)
            self.records[ref] = before[ref] if before.get(ref) == row else row
        for ref in before.keys() | self.records.keys():
            if before.get(ref) is not self.records.get(ref):
                self.changes.add(ref)
