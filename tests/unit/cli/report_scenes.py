"""What a report is made of: three bad claims of a shop, a thousand of an array that is gone, and a cluster with nothing wrong."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from volumehealth.model.clock import rfc3339
from volumehealth.oneshot.evidence import Evidence
from volumehealth.oneshot.overview import Overview, not_watched

NOW = datetime(2026, 11, 23, 3, 43, tzinfo=UTC)
POWERSTORE, EBS, CEPH = "csi-powerstore.dellemc.com", "ebs.csi.aws.com", "rook-ceph.rbd.csi.ceph.com"


def ago(**length: float) -> str:
    return rfc3339(NOW - timedelta(**length))


def record(
    namespace: str,
    name: str,
    driver: str,
    *,
    status: str = "Inaccessible",
    reason: str = "VolumeNotFound",
    source: str = "Controller",
    node: str = "",
    since: str = "",
    message: str = "volume is not found on the array",
    health: str = "Unhealthy",
    workloads: Sequence[str] = (),
    history: Iterable[tuple[str, str]] = (),
) -> dict[str, Any]:
    """Make a record as the operator writes it."""
    since = since or ago(minutes=41)
    where = f"{source} {node}".strip()
    finding = {
        "source": source,
        "status": status,
        "reason": reason,
        "message": message,
        "since": since,
    } | ({"node": node} if node else {})
    turns = [{"time": at, "what": what} for at, what in history]
    if health != "Recovered":
        turns.append({"time": since, "what": f"{status}/{reason} ({where}): {message}"})
    return {
        "metadata": {"namespace": namespace, "name": name},
        "status": {
            "health": health,
            "since": since,
            "driver": driver,
            "findings": [] if health == "Recovered" else [finding],
            "history": turns,
            "workloads": list(workloads),
        },
    }


def claim(namespace: str, name: str, storage_class: str) -> dict[str, Any]:
    return {"metadata": {"namespace": namespace, "name": name}, "spec": {"storageClassName": storage_class}}


def driver(
    name: str, *, state: str = "Answering", hint: str = "", message: str = "", **claims: int
) -> dict[str, Any]:
    status = {"state": state, "claims": claims, "hint": hint, "message": message}
    return {"metadata": {"name": name}, "status": {key: value for key, value in status.items() if value}}


def policy(
    problems: Sequence[dict[str, Any]], *, silent: Sequence[str] = (), **claims: int
) -> dict[str, Any]:
    status: dict[str, Any] = {
        "lastCheckTime": ago(seconds=48),
        "claims": claims,
        "problems": list(problems),
        "agents": {"expected": 14, "reporting": 14 - len(silent), "silentNames": list(silent)},
    }
    if silent:
        text = f"the agent on {', '.join(silent)} has not reported since 23 Nov 02:58Z"
        status["conditions"] = [{"type": "SourcesAvailable", "status": "False", "message": text}]
    return {"metadata": {"name": "storage"}, "spec": {}, "status": status}


def evidence(
    policies: Sequence[dict[str, Any]] | None,
    drivers: Sequence[dict[str, Any]] | None,
    records: Sequence[dict[str, Any]],
    claims: Sequence[dict[str, Any]] | None,
) -> Evidence:
    loud = tuple(not_watched(policies, NOW)) if policies is not None else ()
    nodes = [
        {"metadata": {"name": f"worker-{n}"}, "status": {"plane": "Node", "node": f"worker-{n}"}}
        for n in range(1, 14)
    ]
    return Evidence(Overview(policies, drivers, records, loud=loud), claims, nodes)


def three_bad() -> Evidence:
    records = [
        record("shop", "orders-db", POWERSTORE, workloads=["StatefulSet/orders: 1 Pod on worker-2"]),
        record("shop", "orders-wal", POWERSTORE, workloads=["StatefulSet/orders: 1 Pod on worker-2"]),
        record(
            "ci",
            "cache-3",
            EBS,
            status="Degraded",
            reason="FilesystemReadOnly",
            source="Node",
            node="worker-2",
            since=ago(minutes=63),
            message='ext4 on /dev/nvme1n1 was remounted read-only: "EXT4-fs error (device nvme1n1): ext4_find_entry"',
            workloads=["Deployment/cache: 1 Pod on worker-2"],
        ),
        record(
            "ci",
            "cache-1",
            EBS,
            health="Recovered",
            reason="IOStalled",
            history=[
                (ago(hours=9), "Inaccessible/IOStalled (Node worker-7): no request ended for 40 s"),
                (ago(hours=8.4), "Inaccessible/IOStalled (Node worker-7) recovered"),
                (ago(hours=6), "Inaccessible/IOStalled (Node worker-7): no request ended for 33 s"),
                (ago(hours=5), "Inaccessible/IOStalled (Node worker-7) recovered"),
            ],
        ),
    ]
    problems = [
        {
            "driver": POWERSTORE,
            "source": "Controller",
            "status": "Inaccessible",
            "reason": "VolumeNotFound",
            "claims": 2,
            "since": ago(minutes=41),
            "example": "shop/orders-db",
            "workloads": ["StatefulSet/orders"],
            "message": "volume is not found on the array (asked 3 times; 178 other volumes of this driver answer)",
        },
        {
            "driver": EBS,
            "source": "Node",
            "status": "Degraded",
            "reason": "FilesystemReadOnly",
            "claims": 1,
            "since": ago(minutes=63),
            "example": "ci/cache-3",
            "nodes": ["worker-2"],
            "workloads": ["Deployment/cache"],
            "message": "the kernel made the filesystem read-only after an error",
        },
    ]
    policies = [
        policy(
            problems,
            silent=["worker-7"],
            selected=3412,
            healthy=3367,
            unhealthy=3,
            unknown=21,
            unmonitored=21,
        )
    ]
    hint = "it has no health API; mounts, devices, filesystems and space are watched by the nodes"
    drivers = [
        driver(POWERSTORE, selected=178, healthy=176, unhealthy=2),
        driver(
            EBS,
            state="Unsupported",
            hint=hint,
            selected=3115,
            healthy=3072,
            unhealthy=1,
            unknown=21,
            unmonitored=21,
        ),
        driver(CEPH, selected=119, healthy=119),
    ]
    claims = [claim("shop", name, "powerstore") for name in ("orders-db", "orders-wal")]
    claims += [claim("ci", f"cache-{n}", "gp3") for n in range(40)]
    claims += [
        claim(f"team-{n % 12}", f"data-{n}", ("gp3", "ceph-block", "powerstore")[n % 3]) for n in range(400)
    ]
    return evidence(policies, drivers, records, claims)


def thousand_bad() -> Evidence:
    """The array is gone, a node is gone, one filesystem is corrupt, all at once."""
    records = [
        record(
            f"team-{n % 60}",
            f"data-{n}",
            POWERSTORE,
            reason="VolumeOffline",
            message="the appliance is offline",
            since=ago(minutes=38 - n / 100),
            workloads=[f"StatefulSet/db-{n}: 1 Pod on worker-{n % 13 + 1}"],
        )
        for n in range(985)
    ]
    records += [
        record(
            f"team-{n}",
            f"queue-{n}",
            EBS,
            reason="NodeFailed",
            source="Kubernetes",
            node="worker-7",
            message="Node worker-7 is not Ready since 23 Nov 03:20Z; Pod queue-0 holds the volume",
            since=ago(minutes=23),
        )
        for n in range(14)
    ]
    records.append(
        record(
            "billing",
            "ledger",
            CEPH,
            status="DataLoss",
            reason="FilesystemCorrupted",
            source="Node",
            node="worker-3",
            message='XFS (rbd4): Corruption of in-memory data detected. <script>alert("a driver\'s text")</script>',
            since=ago(minutes=5),
        )
    )
    problems = [
        {"driver": POWERSTORE, "source": "Controller", "status": "Inaccessible", "reason": "VolumeOffline", "claims": 985,
         "since": ago(minutes=38), "example": "team-0/data-0", "message": "the appliance is offline"},
        {"driver": EBS, "source": "Kubernetes", "status": "Inaccessible", "reason": "NodeFailed", "claims": 14,
         "since": ago(minutes=23), "example": "team-0/queue-0", "nodes": ["worker-7"], "message": "Node worker-7 is not Ready"},
        {"driver": CEPH, "source": "Node", "status": "DataLoss", "reason": "FilesystemCorrupted", "claims": 1,
         "since": ago(minutes=5), "example": "billing/ledger", "nodes": ["worker-3"], "message": "XFS (rbd4): Corruption of in-memory data detected"},
    ]  # fmt: skip
    policies = [policy(problems, selected=1400, healthy=400, unhealthy=1000, unknown=0, unmonitored=0)]
    drivers = [
        driver(POWERSTORE, selected=985, unhealthy=985),
        driver(EBS, state="Unsupported", selected=300, healthy=286, unhealthy=14),
        driver(CEPH, selected=115, healthy=114, unhealthy=1),
    ]
    classes = {POWERSTORE: "powerstore", EBS: "gp3", CEPH: "ceph-block"}
    claims = [
        claim(one["metadata"]["namespace"], one["metadata"]["name"], classes[one["status"]["driver"]])
        for one in records
    ]
    return evidence(policies, drivers, records, claims)


def nothing_bad() -> Evidence:
    policies = [policy([], selected=12, healthy=12, unhealthy=0, unknown=0, unmonitored=0)]
    return evidence(
        policies, [driver(CEPH, selected=12, healthy=12)], [], [claim("shop", "data", "ceph-block")]
    )


def tenant() -> Evidence:
    """What someone with the role `view` of one namespace may read."""
    return Evidence(
        Overview(None, None, [record("shop", "orders-db", POWERSTORE)], namespace="shop"), None, None
    )
