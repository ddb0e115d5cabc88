"""The agent beside a driver's controller: both ways in, its rights, and the operator's verdict from its report."""

import asyncio
import functools
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.installation import Installation, until
from support.releases import INJECTION
from volumehealth.errors import Forbidden
from volumehealth.kube.api import Api
from volumehealth.model.ids import ClaimRef, VolumeId
from volumehealth_sandbox.driver import SimulatedDriver
from volumehealth_sandbox.driver_faults import Fault
from volumehealth_sandbox.driver_state import Generation
from volumehealth_sandbox.objects import ClaimSpec
from volumehealth_sandbox.processes import Program

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

DEPLOY = Path(__file__).parents[2] / "deploy"
SYSTEM = "volumehealth-system"
Inject = Callable[[str, str], Awaitable[None]]
"""Installs the admission policy of a driver, given its name and namespace."""
REPORTS = "/apis/volumehealth.dev/v1alpha1/volumehealthreports"
LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases"
APPLY: dict[str, Any] = {
    "query": {"fieldManager": "volumehealth-agent", "force": "true"},
    "content_type": "application/apply-patch+yaml",
}
_numbers = count(1)


@pytest.fixture(autouse=True)
async def rights_end_with_their_test(installed: Installation) -> AsyncIterator[None]:
    """Delete the cluster-wide rights of drivers' agents: no namespace takes them with it."""
    yield
    names = (await installed.kubectl("get", "clusterroles,clusterrolebindings", "-o", "name")).split()
    ours = [name for name in names if "/volumehealth-controller." in name]
    if ours:
        await installed.kubectl("delete", *ours)


def settings_of(driver: str, namespace: str, *, user: str = "0") -> dict[str, Any]:
    """Describe a driver as docs/controller-agent.md says."""
    metadata = {
        "name": "volumehealth-controller-agent",
        "namespace": SYSTEM,
        "annotations": {"config.kubernetes.io/local-config": "true"},
    }
    data = {
        "driver": driver,
        "namespace": namespace,
        "serviceAccount": "csi-controller",
        "socketVolume": "socket-dir",
        "socketFile": "csi.sock",
        "runAsUser": user,
        "runAsNonRoot": "false",
        "image": "volumehealth:0.1.0",
    }
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def pod_spec() -> dict[str, Any]:
    """Describe the Pods of a controller as drivers' manifests do."""
    mount = {"name": "socket-dir", "mountPath": "/csi"}
    return {
        "serviceAccountName": "csi-controller",
        "containers": [{"name": "csi-driver", "image": "example.invalid/driver", "volumeMounts": [mount]}],
        "volumes": [{"name": "socket-dir", "emptyDir": {}}],
    }


def deployment(namespace: str) -> dict[str, Any]:
    """Describe the controller of a driver."""
    labels = {"app": "csi-controller"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "csi-controller", "namespace": namespace},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod_spec()},
        },
    }


def write_overlay(home: Path, *, components: list[str], resources: list[dict[str, Any]]) -> Path:
    """Write a user's kustomization; kustomize takes relative paths only."""
    home.mkdir()
    (home / "resources.yaml").write_text(yaml.safe_dump_all(resources))
    for name in components:
        _copy(name, home)
    overlay = {"resources": ["resources.yaml"], "components": components}
    (home / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    return home


def _copy(name: str, home: Path) -> None:
    (home / name).mkdir()
    for file in (DEPLOY / "components" / name).iterdir():
        (home / name / file.name).write_text(file.read_text())


async def install_rights(installed: Installation, home: Path, driver: str, *, pv_reader: bool = True) -> str:
    """Apply the rights of a driver's agent; return the namespace of the driver."""
    namespace = f"csi-{next(_numbers)}"
    await installed.objects.make_namespace(namespace)
    account = {"name": "csi-controller", "namespace": namespace}
    resources: list[dict[str, Any]] = [
        settings_of(driver, namespace),
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account},
    ]
    if pv_reader:  # as the external-provisioner and the external-attacher have it
        rbac = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": f"{namespace}-pv"}}
        rule = {"apiGroups": [""], "resources": ["persistentvolumes"], "verbs": ["get", "list", "watch"]}
        ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": f"{namespace}-pv"}
        subject = {"kind": "ServiceAccount", **account}
        resources += [
            {**rbac, "kind": "ClusterRole", "rules": [rule]},
            {**rbac, "kind": "ClusterRoleBinding", "roleRef": ref, "subjects": [subject]},
        ]
    overlay = write_overlay(home / "rights", components=["controller-agent-rights"], resources=resources)
    await installed.kubectl("apply", "-k", str(overlay))
    return namespace


async def kubeconfig_of(installed: Installation, namespace: str, home: Path) -> Path:
    """Return credentials of the driver's ServiceAccount."""
    token = await asyncio.to_thread(installed.plane.create_token, namespace, "csi-controller")
    return installed.plane.write_kubeconfig(home / f"{namespace}.kubeconfig", token, user=namespace)


def sidecar(name: str, kubeconfig: Path, driver: SimulatedDriver, home: Path) -> Program:
    """Describe the sidecar's process."""
    command = (
        sys.executable,
        "-P",
        "-m",
        "volumehealth",
        "agent",
        "controller",
        f"--kubeconfig={kubeconfig}",
        f"--csi-endpoint={driver.name}={driver.endpoint}",
        "--health-address=",
    )
    return Program(name, lambda: command, home=home, environment={"POD_NAME": name})


async def test_its_report_makes_the_verdict_and_its_silence_makes_nobody_healthy(
    installed: Installation, tmp_path: Path
) -> None:
    """Section 2: a real process under the driver's token; fault, verdict, recovery; one of two replicas works."""
    driver = SimulatedDriver(
        name="beside.example.com", generation=Generation.LEGACY, volumes=[f"beside-{n}" for n in range(5)]
    )
    async with driver:
        namespace = await install_rights(installed, tmp_path, driver.name)
        await installed.objects.make_claims(
            ClaimSpec(namespace, f"claim-{handle}", VolumeId(driver.name, handle))
            for handle in driver.volumes
        )
        await installed.policy(
            "beside",
            selector={"drivers": [driver.name]},
            interval="5s",
            unhealthyAfter="0s",
            healthyAfter="0s",
        )
        kubeconfig = await kubeconfig_of(installed, namespace, tmp_path)
        replicas = [sidecar(f"replica-{n}", kubeconfig, driver, tmp_path) for n in (1, 2)]
        await installed.operator()

        async def counts(**expected: int) -> bool:
            claims = (await installed.status("beside")).get("claims", {})
            return all(claims.get(kind, 0) == number for kind, number in expected.items())

        try:
            await until(lambda: counts(unknown=5, healthy=0), "without an agent nothing is known")
            for replica in replicas:
                await asyncio.to_thread(replica.start)
            await until(lambda: counts(healthy=5), "all are healthy", within=60)
            told = await installed.driver_is(driver.name, "Answering")
            assert (told["healthAPI"], told["methods"]) == ("VolumeCondition", ["ListVolumes"])
            assert told["plugins"]["controller"] == "Agent"
            driver.fault("beside-3", Fault.IO_ERRORS)
            await until(lambda: counts(healthy=4, unhealthy=1), "the fault is told", within=60)
            sick = ClaimRef(namespace, "claim-beside-3")
            await until(lambda: installed.record(sick), "the fault is recorded")  # written after the status
            driver.clear("beside-3")
            await until(lambda: counts(healthy=5), "the recovery is told", within=60)
            working = [one for one in replicas if "report written" in one.log.read_text()]
            assert len(working) == 1
            # The Lease as it will be when it was not renewed for 180 s.
            for replica in replicas:
                await asyncio.to_thread(replica.kill)
            lease = f"{LEASES}/volumehealth-agent-controller.{driver.name}"
            await installed.objects.patch(
                lease, {"spec": {"leaseDurationSeconds": 1, "renewTime": "2026-01-01T00:00:00.000000Z"}}
            )
            await until(lambda: counts(unknown=5), "its silence is told")
            told = await installed.driver_is(driver.name, "Unreachable")
            assert "has not reported since" in told["message"]
        finally:
            for replica in replicas:
                await asyncio.to_thread(replica.kill)


async def test_a_drivers_token_writes_its_own_report_and_no_other(
    installed: Installation, tmp_path: Path
) -> None:
    """Nor another Lease, a policy, a claim; and it makes and deletes nothing."""
    namespace = await install_rights(installed, tmp_path, "mine.example.com", pv_reader=False)
    kubeconfig = await kubeconfig_of(installed, namespace, tmp_path)

    def report(name: str) -> dict[str, Any]:
        kind = {"apiVersion": "volumehealth.dev/v1alpha1", "kind": "VolumeHealthReport"}
        return {**kind, "metadata": {"name": name}, "status": {"plane": "Controller"}}

    merge: dict[str, Any] = {"body": {}, "content_type": "application/merge-patch+json"}
    async with await Api.connect(str(kubeconfig)) as api:
        mine = "controller.mine.example.com"
        await api.request("PATCH", f"{REPORTS}/{mine}", body=report(mine), **APPLY)
        await installed.kubectl("apply", "-k", str(tmp_path / "rights"))  # again: what was reported stays
        assert (await installed.objects.get(f"{REPORTS}/{mine}"))["status"] == {"plane": "Controller"}
        for name in ("controller.other.example.com", "node-1"):
            with pytest.raises(Forbidden):
                await api.request("PATCH", f"{REPORTS}/{name}", body=report(name), **APPLY)
        for path in (
            f"{LEASES}/volumehealth-operator",
            f"{LEASES}/volumehealth-agent-node-1",
            "/apis/volumehealth.dev/v1alpha1/volumehealthpolicies/any",
            f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/any",
        ):
            with pytest.raises(Forbidden):
                await api.request("PATCH", path, **merge)
        for path in (f"{REPORTS}/{mine}", f"{LEASES}/volumehealth-agent-{mine}"):
            with pytest.raises(Forbidden):
                await api.request("DELETE", path)
        with pytest.raises(Forbidden):
            await api.request("POST", REPORTS, body=report("new"))


async def test_the_component_adds_the_sidecar_to_a_controllers_deployment(
    installed: Installation, tmp_path: Path
) -> None:
    """First way in: `kubectl apply -k`."""
    namespace = f"csi-{next(_numbers)}"
    await installed.objects.make_namespace(namespace)
    overlay = write_overlay(
        tmp_path / "overlay",
        components=["controller-agent", "controller-agent-rights"],
        resources=[settings_of("component.example.com", namespace), deployment(namespace)],
    )
    await installed.kubectl("apply", "-k", str(overlay))
    found = await installed.objects.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/csi-controller")
    assert_sidecar(found["spec"]["template"]["spec"], "component.example.com")


@pytest.fixture
async def injecting(installed: Installation, tmp_path: Path) -> AsyncIterator[Inject]:
    """Install admission policies by the component of docs/controller-agent.md, and remove them."""
    homes: list[Path] = []

    async def inject(driver: str, namespace: str) -> None:
        settings = settings_of(driver, namespace, user="auto")
        home = tmp_path / f"injection-{len(homes)}"
        homes.append(write_overlay(home, components=["controller-agent-injection"], resources=[settings]))
        await installed.kubectl("apply", "-k", str(home))

    yield inject
    for home in homes:
        await installed.kubectl("delete", "-k", str(home), "--ignore-not-found")


async def namespace_with_accounts(installed: Installation, *names: str) -> str:
    """Make a namespace with these ServiceAccounts."""
    namespace = f"csi-{next(_numbers)}"
    await installed.objects.make_namespace(namespace)
    for name in names:
        await installed.objects.post(
            f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": name}}
        )
    return namespace


async def created(installed: Installation, namespace: str, **changes: Any) -> dict[str, Any]:
    """Return the spec that a controller's Pod would have, without making it."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "controller", "namespace": namespace},
        "spec": {**pod_spec(), **changes},
    }
    made = await installed.kubectl(
        "create", "--dry-run=server", "-o", "json", "-f", "-", text=json.dumps(pod)
    )
    spec: dict[str, Any] = json.loads(made)["spec"]
    return spec


@pytest.mark.kubernetes(INJECTION)
async def test_the_admission_policy_adds_the_sidecar_to_a_controllers_pods(
    installed: Installation, injecting: Inject
) -> None:
    """Second way in: Pods of that ServiceAccount, with that socket, when they are created; no other."""
    namespace = await namespace_with_accounts(installed, "csi-controller", "another")
    elsewhere = await namespace_with_accounts(installed, "csi-controller")
    await injecting("injected.example.com", namespace)

    async def injected() -> bool:
        return len((await created(installed, namespace))["containers"]) == 2

    await until(injected, "the policy is in force")
    assert_sidecar(await created(installed, namespace), "injected.example.com")
    assert len((await created(installed, elsewhere))["containers"]) == 1
    assert len((await created(installed, namespace, serviceAccountName="another"))["containers"]) == 1
    renamed = {"volumes": [{"name": "socket-dir-2", "emptyDir": {}}]}
    plain = [{"name": "csi-driver", "image": "example.invalid/driver"}]
    assert len((await created(installed, namespace, containers=plain, **renamed))["containers"]) == 1
    already = [*pod_spec()["containers"], {"name": "volumehealth", "image": "mine"}]
    kept = (await created(installed, namespace, containers=already))["containers"]
    assert [one["image"] for one in kept] == ["example.invalid/driver", "mine"]


@pytest.mark.kubernetes(INJECTION)
async def test_an_admission_policy_that_was_deleted_and_made_again_takes_effect_with_what_it_says_now(
    installed: Installation, injecting: Inject
) -> None:
    """As after `helm uninstall` and `helm install`: nothing is remembered of the one that is gone."""
    namespace = await namespace_with_accounts(installed, "csi-controller")

    async def drivers() -> list[str]:
        containers = (await created(installed, namespace))["containers"]
        found = [one for container in containers for one in container.get("env") or ()]
        return [one["value"].partition("=")[0] for one in found if one["name"] == "VOLUMEHEALTH_CSI_ENDPOINT"]

    async def are(*expected: str) -> bool:
        return await drivers() == list(expected)

    for driver in ("first.example.com", "second.example.com", "third.example.com"):
        await injecting(driver, namespace)
        await until(functools.partial(are, driver), f"the policy of {driver} is in force")
        policy = f"volumehealth-controller-agent.{driver}"
        kinds = "mutatingadmissionpolicy,mutatingadmissionpolicybinding"
        await installed.kubectl("delete", kinds, policy)
        await until(are, "no policy is in force")


def assert_sidecar(spec: dict[str, Any], driver: str) -> None:
    """The sidecar is beside the driver, and sees its socket."""
    containers = {one["name"]: one for one in spec["containers"]}
    assert set(containers) == {"csi-driver", "volumehealth"}
    found = containers["volumehealth"]
    assert found["image"] == "volumehealth:0.1.0"
    assert found["args"][:2] == ["agent", "controller"]
    environment = {one["name"]: one.get("value") for one in found["env"]}
    assert environment["VOLUMEHEALTH_CSI_ENDPOINT"] == f"{driver}=unix:///volumehealth/csi.sock"
    mounts = {one["name"]: one["mountPath"] for one in found["volumeMounts"]}
    assert mounts["socket-dir"] == "/volumehealth"
    assert found["securityContext"]["capabilities"] == {"drop": ["ALL"]}
