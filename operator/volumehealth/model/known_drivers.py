"""CSI drivers that people run: which health calls they have, and what makes them tell more.

One source for hints and docs/known-drivers.md. Each row names where the fact comes from; what is not known says so.
Drivers change: what a driver advertises always decides what is called, this table only what a person is advised to do.
"""

from dataclasses import dataclass
from enum import StrEnum


class Calls(StrEnum):
    """Which health calls a plugin has."""

    NONE = "none"
    LEGACY = "VolumeCondition"
    V1_13 = "VolumeHealth"
    UNKNOWN = "not known"


@dataclass(frozen=True, slots=True)
class KnownDriver:
    """What is known of a driver.

    Attributes:
        name: as in `spec.csi.driver`; names that end in `.` and this name match as well (Rook's have a prefix).
        title: what people call it.
        controller, node: the health calls of its plugins.
        flag: what has to be turned on first; empty if nothing.
        elsewhere: where else it tells about health; empty if nowhere.
        switch: the variable of its containers that turns the flag on; empty if there is none.
        origin: where the fact comes from.
    """

    name: str
    title: str
    controller: Calls = Calls.NONE
    node: Calls = Calls.NONE
    flag: str = ""
    elsewhere: str = ""
    origin: str = "driver source, searched for its health calls, Nov 2026"
    switch: str = ""

    def matches(self, driver: str) -> bool:
        """Tell whether a driver's name is of this driver."""
        return driver == self.name or driver.endswith(f".{self.name}")

    @property
    def advice(self) -> str:
        """Say what makes it tell more while its controller is not connected, or it advertises no health call."""
        first = f"first turn on {self.flag}; then " if self.flag else ""
        if self.controller in (Calls.LEGACY, Calls.V1_13):
            return f"{first}add the controller agent to its controller Pod (docs/controller-agent.md)"
        if self.node in (Calls.LEGACY, Calls.V1_13):
            return f"{first}install the node agent (deploy/agent): its node plugin has the health call"
        return ""


_DELL_SWITCH = "X_CSI_HEALTH_MONITOR_ENABLED"
_DELL = f"the driver's health monitor ({_DELL_SWITCH} of its controller and node)"
_DELL_ORIGIN = "samples of dell-csi-operator (PowerStore 2.7), driver facts C6"

KNOWN: tuple[KnownDriver, ...] = (
    KnownDriver("ebs.csi.aws.com", "Amazon EBS"),
    KnownDriver("efs.csi.aws.com", "Amazon EFS", origin="not checked"),
    KnownDriver("disk.csi.azure.com", "Azure Disk"),
    KnownDriver("file.csi.azure.com", "Azure Files"),
    KnownDriver("pd.csi.storage.gke.io", "Google Persistent Disk"),
    KnownDriver(
        "csi.vsphere.vmware.com",
        "VMware vSphere",
        elsewhere="annotation volumehealth.storage.kubernetes.io/health on the claim (vSphere with Tanzu)",
        origin="kubernetes-sigs/vsphere-csi-driver, pull requests 852 and 944",
    ),
    KnownDriver("cinder.csi.openstack.org", "OpenStack Cinder"),
    KnownDriver("manila.csi.openstack.org", "OpenStack Manila"),
    KnownDriver(
        "rbd.csi.ceph.com", "Ceph RBD", node=Calls.LEGACY, origin="ceph/ceph-csi issue 1356, driver facts C6"
    ),
    KnownDriver(
        "cephfs.csi.ceph.com", "CephFS", node=Calls.LEGACY, origin="ceph/ceph-csi issue 1356, driver facts C6"
    ),
    KnownDriver("nfs.csi.ceph.com", "Ceph NFS", node=Calls.LEGACY, origin="driver facts C6"),
    KnownDriver(
        "csi-powerstore.dellemc.com",
        "Dell PowerStore",
        Calls.LEGACY,
        Calls.LEGACY,
        _DELL,
        origin=_DELL_ORIGIN,
        switch=_DELL_SWITCH,
    ),
    KnownDriver(
        "csi-isilon.dellemc.com",
        "Dell PowerScale",
        Calls.LEGACY,
        Calls.LEGACY,
        _DELL,
        origin=_DELL_ORIGIN,
        switch=_DELL_SWITCH,
    ),
    KnownDriver(
        "csi-vxflexos.dellemc.com",
        "Dell PowerFlex",
        Calls.LEGACY,
        Calls.LEGACY,
        _DELL,
        origin=_DELL_ORIGIN,
        switch=_DELL_SWITCH,
    ),
    KnownDriver(
        "csi-unity.dellemc.com",
        "Dell Unity XT",
        Calls.LEGACY,
        Calls.LEGACY,
        _DELL,
        origin=_DELL_ORIGIN,
        switch=_DELL_SWITCH,
    ),
    KnownDriver(
        "csi-powermax.dellemc.com",
        "Dell PowerMax",
        Calls.LEGACY,
        Calls.LEGACY,
        _DELL,
        origin=_DELL_ORIGIN,
        switch=_DELL_SWITCH,
    ),
    KnownDriver("csi.trident.netapp.io", "NetApp Trident"),
    KnownDriver(
        "driver.longhorn.io", "Longhorn", elsewhere="status.robustness of Longhorn's own Volume objects"
    ),
    KnownDriver(
        "linstor.csi.linbit.com",
        "LINSTOR",
        controller=Calls.V1_13,
        origin="LINBIT/linstor-csi pull request 481",
    ),
    KnownDriver(
        "topolvm.io", "TopoLVM", node=Calls.LEGACY, origin="topolvm/topolvm issues 874 and 1210; not run here"
    ),
    KnownDriver(
        "linodebs.csi.linode.com",
        "Linode Block Storage",
        Calls.LEGACY,
        Calls.LEGACY,
        origin="driver facts C6",
    ),
    KnownDriver(
        "hostpath.csi.k8s.io", "CSI hostpath (sample)", Calls.LEGACY, Calls.LEGACY, origin="driver facts C6"
    ),
    KnownDriver("nfs.csi.k8s.io", "NFS"),
    KnownDriver("smb.csi.k8s.io", "SMB"),
    KnownDriver("csi.juicefs.com", "JuiceFS"),
    KnownDriver(
        "directpv-min-io",
        "DirectPV",
        node=Calls.LEGACY,
        origin="driver facts C6: answers without the capability",
    ),
    KnownDriver(
        "io.openebs.csi-mayastor", "OpenEBS Mayastor", Calls.UNKNOWN, Calls.UNKNOWN, origin="not checked"
    ),
    KnownDriver("zfs.csi.openebs.io", "OpenEBS ZFS", Calls.UNKNOWN, Calls.UNKNOWN, origin="not checked"),
    KnownDriver("local.csi.openebs.io", "OpenEBS LVM", Calls.UNKNOWN, Calls.UNKNOWN, origin="not checked"),
)


def known_driver(name: str) -> KnownDriver | None:
    """Return what is known of a driver; None if nothing is."""
    return next((driver for driver in KNOWN if driver.matches(name)), None)


def table() -> str:
    """Write the table of docs/known-drivers.md."""
    lines = [
        "| Driver | Name | Controller | Node | What to do | Elsewhere | From |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in KNOWN:
        cells = (
            one.title,
            f"`{one.name}`",
            str(one.controller),
            str(one.node),
            one.advice or "install the node agent: the nodes see mounts, devices, filesystems and space",
            one.elsewhere or "-",
            one.origin,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
