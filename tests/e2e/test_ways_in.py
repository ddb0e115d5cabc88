"""Ways in x namespaces: the driver's Pod always starts, and the agent is beside it wherever the Pod is accepted with it.

In: drivers that serve their socket in an emptyDir of their own Pod, as vendors ship them: a real Pod from the product's
image, with the simulated driver's source in a ConfigMap. Out: a table, on the terminal.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import volumehealth_sandbox
from support.controllers import (
    ACCOUNT,
    COMPONENTS,
    SYSTEM,
    Manifest,
    rights_of_a_provisioner,
    settings,
    workload,
    write_kustomization,
)
from support.realnode import RealNode
from support.releases import INJECTION
from volumehealth_sandbox.assets import asset
from volumehealth_sandbox.image import NAME
from volumehealth_sandbox.tools import Say

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

SOURCE = Path(volumehealth_sandbox.__file__).parent
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
QUOTA = {
    "requests.cpu": "1",
    "requests.memory": "1Gi",
    "limits.cpu": "4",
    "limits.memory": "2Gi",
    "pods": "4",
}
ROOM = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "256Mi"}}


@dataclass(frozen=True, slots=True)
class Place:
    """A namespace and what runs there.

    Attributes:
        labels: of the namespace.
        quota: of a ResourceQuota; none if empty.
        user: the driver's `runAsUser`; None if its image decides.
        beside: whether the agent is expected beside the driver.
        hint: a part of the operator's hint where it is not.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    quota: Mapping[str, str] = field(default_factory=dict)
    user: int | None = 0
    beside: bool = True
    hint: str = ""


PLACES = {
    "plain": Place(),
    "restricted": Place(RESTRICTED, user=1000),
    "quota": Place(quota=QUOTA),
    "restricted-quota": Place(RESTRICTED, QUOTA, user=1000),
}
UNKNOWN_USER = Place(RESTRICTED, user=None, beside=False, hint="the user that serves the socket is not known")


@pytest.fixture(scope="module")
def injecting(real_node: RealNode) -> Iterator[RealNode]:
    """The node, with injection switched on."""
    real_node.kubectl("apply", "-k", str(asset("deploy") / "controller-agent-injection"))
    yield real_node
    real_node.kubectl("delete", "-k", str(asset("deploy") / "controller-agent-injection"))


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_by_the_component(
    real_node: RealNode, show: Say, tmp_path: Path, kind: str, place: Place, request: pytest.FixtureRequest
) -> None:
    """The settings say who owns the socket."""
    driver = _name(request)
    user = place.user or 0
    said = {"runAsUser": str(user), "runAsNonRoot": str(user != 0).lower()}
    with_namespace(real_node, driver, place)
    resources = [
        settings(driver, _space(driver), **said),
        *rights_of_a_provisioner(_space(driver)),
        workload(kind, _space(driver), driver_pod(driver, place)),
    ]
    real_node.kubectl("apply", "-k", str(write_kustomization(tmp_path / "overlay", resources)))
    look(real_node, show, driver, kind, place, f"component, {kind}")


@pytest.mark.kubernetes(INJECTION)
@pytest.mark.parametrize("place", [*PLACES.values(), UNKNOWN_USER], ids=[*PLACES, "restricted-unknown-user"])
def test_by_the_admission_policy(
    injecting: RealNode, show: Say, tmp_path: Path, place: Place, request: pytest.FixtureRequest
) -> None:
    """Only this driver's settings switch it on; the policy finds out who owns the socket."""
    driver = _name(request)
    with_namespace(injecting, driver, place)
    plain = settings(driver, _space(driver))
    rights = [plain, *rights_of_a_provisioner(_space(driver))]
    injecting.kubectl("apply", "-k", str(write_kustomization(tmp_path / "rights", rights, COMPONENTS[1:])))
    injecting.kubectl("apply", "-f", "-", text=json.dumps(_switch(plain, driver)))
    injecting.until(lambda: _takes_effect(injecting, driver, place), "the policy is in force")
    deployment = workload("Deployment", _space(driver), driver_pod(driver, place))
    injecting.kubectl("apply", "-f", "-", text=json.dumps(deployment))
    look(injecting, show, driver, "Deployment", place, "admission policy")


@pytest.mark.kubernetes(INJECTION)
def test_a_quota_without_room_refuses_the_pod_and_a_trial_says_so_before(injecting: RealNode) -> None:
    """The check of docs/controller-agent.md: a copy of the driver's Pod, with `--dry-run=server`."""
    driver = "no-room.csi.volumehealth.test"
    tight = {"limits.memory": "300Mi"}  # the driver has 256Mi
    place = Place(quota=tight)
    with_namespace(injecting, driver, place)
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": ACCOUNT, "namespace": _space(driver)},
    }
    injecting.kubectl("apply", "-f", "-", text=json.dumps(account))
    assert _trial(injecting, driver, place) == ["csi-driver"]
    injecting.kubectl("apply", "-f", "-", text=json.dumps(_switch(settings(driver, _space(driver)), driver)))
    with pytest.raises(Exception, match="exceeded quota"):
        injecting.until(lambda: len(_trial(injecting, driver, place)) > 1, "the policy is in force")
    injecting.kubectl("delete", "configmap", f"agent-{driver}", f"--namespace={SYSTEM}")
    injecting.kubectl("delete", "namespace", _space(driver), "--wait=false")


def _name(request: pytest.FixtureRequest) -> str:
    """Make a driver's name of a test's: each has one of its own."""
    words = request.node.name.removeprefix("test_by_the_").lower()
    return "".join(one if one.isalnum() else "-" for one in words).strip("-") + ".csi.volumehealth.test"


def _space(driver: str) -> str:
    return driver.partition(".")[0]


def with_namespace(node: RealNode, driver: str, place: Place) -> None:
    """Make the namespace, its quota, and the driver's source."""
    metadata = {"name": _space(driver), "labels": dict(place.labels)}
    node.kubectl(
        "apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    )
    if place.quota:
        quota = {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "quota", "namespace": _space(driver)},
            "spec": {"hard": dict(place.quota)},
        }
        node.kubectl("apply", "-f", "-", text=json.dumps(quota))
    node.kubectl("create", "configmap", "source", f"--namespace={_space(driver)}", f"--from-file={SOURCE}")


def driver_pod(driver: str, place: Place) -> Manifest:
    """Write the Pod of a controller that serves its socket in an emptyDir."""
    user = {"runAsUser": place.user} if place.user is not None else {}
    nonroot = {} if place.user == 0 else {"runAsNonRoot": True}
    container: dict[str, Any] = {
        "name": "csi-driver",
        "image": NAME,
        "args": ["sandbox", "driver", "--endpoint=unix:///csi/csi.sock", f"--name={driver}", "--volumes=2"],
        "env": [{"name": "PYTHONPATH", "value": "/source"}],
        "resources": ROOM,
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [
            {"name": "socket-dir", "mountPath": "/csi"},
            {"name": "source", "mountPath": "/source/volumehealth_sandbox"},
        ],
    }
    return {
        "serviceAccountName": ACCOUNT,
        "terminationGracePeriodSeconds": 1,
        "securityContext": {**user, **nonroot, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [
            {"name": "socket-dir", "emptyDir": {}},
            {"name": "source", "configMap": {"name": "source"}},
        ],
    }


def _switch(plain: Manifest, driver: str) -> Manifest:
    """Write the settings as a real ConfigMap, which switches injection on for this driver."""
    data = {key: value for key, value in plain["data"].items() if not key.startswith("runAs")}
    metadata = {
        "name": f"agent-{driver}",
        "namespace": SYSTEM,
        "labels": {"volumehealth.dev/controller-agent": "true"},
    }
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def _trial(node: RealNode, driver: str, place: Place) -> list[str]:
    """Return the containers that a Pod of the driver would have, without making it."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "trial", "namespace": _space(driver)},
        "spec": driver_pod(driver, place),
    }
    made = json.loads(
        node.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", text=json.dumps(pod))
    )
    said = made["metadata"].get("annotations") or {}
    return [one["name"] for one in made["spec"]["containers"]] + list(said)


def _takes_effect(node: RealNode, driver: str, place: Place) -> bool:
    return len(_trial(node, driver, place)) > 1


def look(node: RealNode, show: Say, driver: str, kind: str, place: Place, way: str) -> None:
    """See the Pod start, with the agent or without; the agent's report, or the hint; then remove it all."""
    took = node.product.await_rollout(f"{kind}/{ACCOUNT}", _space(driver))
    (pod,) = node.product.pods(_space(driver))
    names = {one["name"] for one in pod["spec"]["containers"]}
    assert all(one["ready"] for one in pod["status"]["containerStatuses"])
    assert ("volumehealth" in names) is place.beside
    if place.beside:
        node.until(lambda: _answers(node, driver), "the agent has its report", within=60.0)
        told = "the agent reports: Answering"
    else:
        told = (pod["metadata"].get("annotations") or {})["volumehealth.dev/left-out-because"]
        assert place.hint in told
        told = f"left out: {told}"
    show(f"{way:24} {_space(driver):48} Pod Ready after {took:4.1f} s; {told}")
    node.kubectl("delete", "namespace", _space(driver), "--wait=false")
    node.kubectl("delete", "configmap", f"agent-{driver}", f"--namespace={SYSTEM}", "--ignore-not-found")


def _answers(node: RealNode, driver: str) -> bool:
    status = node.get("vhr", f"controller.{driver}").get("status") or {}
    return [one["state"] for one in status.get("drivers") or ()] == ["Answering"]
