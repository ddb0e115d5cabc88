"""One object of each kind that the operator follows, with everything in it that it reads: for tests that spoil them."""

import copy
from collections.abc import Mapping
from typing import Any

SINCE = "2026-11-24T03:02:11Z"
CONDITION = {"status": "Degraded", "reason": "Slow", "message": "slow", "since": SINCE, "origin": "Driver"}
CLAIM = {"driver": "d", "volumeHandle": "h", "namespace": "shop", "claim": "a", "claimUID": "u"}
STATE = {"running": {}, "waiting": {"reason": "ContainerCreating"}}
WELL: Mapping[str, dict[str, Any]] = {
    "persistentvolumes": {
        "spec": {
            "csi": {"driver": "d", "volumeHandle": "h", "volumeAttributes": {"a": "b"}, "readOnly": False},
            "claimRef": {"namespace": "shop", "name": "a", "uid": "u"},
            "storageClassName": "fast",
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": []}]}},
        },
        "status": {"phase": "Bound"},
    },
    "persistentvolumeclaims": {
        "spec": {
            "volumeName": "pv",
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
        "status": {
            "phase": "Bound",
            "capacity": {"storage": "1Gi"},
            "conditions": [{"type": "X", "status": "True", "message": "m", "lastTransitionTime": SINCE}],
            "allocatedResourceStatuses": {"storage": "NodeResizePending"},
            "healthStatus": {"healthConditions": [CONDITION]},
        },
    },
    "pods": {
        "spec": {"nodeName": "n", "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "a"}}]},
        "status": {
            "phase": "Running",
            "startTime": SINCE,
            "volumeHealth": [{"name": "v", "healthConditions": [CONDITION]}],
            "containerStatuses": [{"name": "c", "state": STATE}],
        },
    },
    "namespaces": {},
    "volumehealthpolicies": {
        "spec": {"interval": "1m", "rules": [{"match": {"driver": "d"}, "ignore": True}]},
        "status": {"drivers": ["d: Unreachable"], "lastCheckTime": SINCE},
    },
    "volumehealths": {
        "status": {
            "driver": "d",
            "volume": "pv",
            "volumeHandle": "h",
            "findings": [CONDITION],
            "recovered": SINCE,
        }
    },
    "nodes": {
        "status": {"conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": SINCE}]},
        "spec": {"taints": [{"key": "k"}]},
    },
    "csinodes": {
        "spec": {"drivers": [{"name": "d"}]},
        "status": {"storageHealth": [{"name": "d", "healthConditions": [CONDITION]}]},
    },
    "volumehealthdrivers": {"status": {"state": "Answering", "since": SINCE}},
    "volumeattachments": {
        "spec": {"nodeName": "n", "attacher": "d", "source": {"persistentVolumeName": "pv"}},
        "status": {"attached": False, "attachError": {"message": "no", "time": SINCE}},
    },
    "volumehealthreports": {
        "status": {
            "node": "n",
            "plane": "Node",
            "drivers": [
                {"name": "d", "state": "Answering", "since": SINCE, "healthAPI": "Legacy", "methods": ["X"]}
            ],
            "volumes": [{**CLAIM, "conditions": [CONDITION], "pods": ["p"]}],
            "silent": [{**CLAIM, "reason": "CallFailed", "message": "m", "since": SINCE}],
            "capacityWarnings": 1,
            "omitted": {"volumes": 1},
        }
    },
    "leases": {"spec": {"renewTime": "2026-11-24T03:02:11.000000Z", "leaseDurationSeconds": 40}},
}


def made(kind: str, name: str) -> dict[str, Any]:
    """Return an object of a kind with a name of its own."""
    metadata = {
        "name": name,
        "namespace": "shop",
        "uid": f"uid-{name}",
        "resourceVersion": "7",
        "generation": 1,
        "creationTimestamp": SINCE,
        "labels": {"a": "b"},
        "annotations": {"c": "d"},
        "deletionTimestamp": None,
        "ownerReferences": [{"kind": "PersistentVolumeClaim", "name": name, "uid": "u"}],
        "finalizers": ["f"],
    }
    return {"metadata": metadata, **copy.deepcopy(WELL[kind])}
