"""What lives in the sandbox: a shop whose claims are on three kinds of drivers, and the policy that watches it."""

from dataclasses import dataclass
from pathlib import Path

from volumehealth.model.ids import VolumeId
from volumehealth_sandbox.objects import ClaimSpec, ClusterObjects

NAMESPACE = "shop"
POLICY = "shop"
NODES = ("worker-1", "worker-2", "worker-3")


@dataclass(frozen=True, slots=True)
class Driver:
    """A simulated driver: its process's name in the sandbox, and how it is started."""

    key: str
    name: str
    storage_class: str
    volumes: int
    flags: tuple[str, ...]
    tells: str
    """What it can tell, for the person who reads."""

    def volume(self, number: int) -> VolumeId:
        """Name one of its volumes; the first is 1."""
        return VolumeId(self.name, f"{self.key}-{number}")


NVME = Driver(
    "nvme", "nvme.csi.example.com", "fast", 3, ("--generation=1.13",), "the health calls of CSI 1.13"
)
FILES = Driver(
    "files",
    "files.csi.example.com",
    "shared",
    3,
    ("--generation=legacy",),
    "VolumeCondition, as most drivers",
)
TAPE = Driver("tape", "tape.csi.example.com", "archive", 1, ("--no-health",), "nothing about health")
DRIVERS = (NVME, FILES, TAPE)

MEDIA = ClaimSpec(NAMESPACE, "media", FILES.volume(1), storage_class="shared", access_mode="ReadWriteMany")
ORDERS_DB = ClaimSpec(NAMESPACE, "orders-db", NVME.volume(1))
INVOICES = ClaimSpec(NAMESPACE, "invoices", TAPE.volume(1), storage_class="archive")
CLAIMS = (
    ORDERS_DB,
    ClaimSpec(NAMESPACE, "orders-wal", NVME.volume(2)),
    ClaimSpec(NAMESPACE, "search-index", NVME.volume(3)),
    MEDIA,
    ClaimSpec(NAMESPACE, "sessions", FILES.volume(2), storage_class="shared"),
    ClaimSpec(NAMESPACE, "exports", FILES.volume(3), storage_class="shared"),
    INVOICES,
)


@dataclass(frozen=True, slots=True)
class PodSpec:
    """A Pod of the shop."""

    name: str
    claims: tuple[str, ...]
    node: str


PODS = (
    PodSpec("orders-db-0", ("orders-db", "orders-wal"), "worker-1"),
    PodSpec("search-0", ("search-index",), "worker-2"),
    PodSpec("web-0", ("media", "sessions"), "worker-1"),
    PodSpec("web-1", ("media",), "worker-2"),
    PodSpec("exporter-0", ("exports",), "worker-2"),
    PodSpec("invoices-0", ("invoices",), "worker-3"),
)

POLICY_TEXT = f"""\
apiVersion: volumehealth.dev/v1alpha1
kind: VolumeHealthPolicy
metadata:
  name: {POLICY}
spec:
  selector:
    namespaceSelector:
      matchLabels: {{kubernetes.io/metadata.name: {NAMESPACE}}}
  interval: 5s              # all of these are far shorter than in production,
  unhealthyAfter: 5s        # so that you need not wait
  healthyAfter: 5s
  checks:
    node: {{ioStalledAfter: 10s}}
"""


async def open_shop(kubeconfig: Path) -> None:
    """Make the namespace with its nodes, classes, bound claims and running Pods.

    Raises:
        ApiError: if the API server refuses something.
    """
    async with ClusterObjects(kubeconfig) as objects:
        await objects.make_namespace(NAMESPACE)
        for node in NODES:
            await objects.make_node(node)
        for driver in DRIVERS:
            await objects.make_storage_class(driver.storage_class, driver=driver.name)
        await objects.make_claims(CLAIMS)
        await objects.all_of(
            objects.make_pod(NAMESPACE, pod.name, pod.claims, node=pod.node, labels={"app": pod.name[:-2]})
            for pod in PODS
        )
