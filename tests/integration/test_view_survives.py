"""What the cluster view survives: connections that are cut or go silent, restarts, versions that are too old."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import pytest

from support.proxy import TcpProxy
from volumehealth import errors
from volumehealth.cluster.view import ClusterView, Part
from volumehealth.kube.api import Api
from volumehealth.kube.reflector import Pace
from volumehealth.model.clock import SystemClock
from volumehealth.model.ids import ClaimRef
from volumehealth_sandbox.controlplane import ControlPlane
from volumehealth_sandbox.objects import ClusterObjects

pytestmark = pytest.mark.cluster

DRIVER = "hostpath.csi.k8s.io"
QUICK = Pace(first_backoff=0.1, last_backoff=0.5, absent=0.5, idle=4.0)
"""As the real one, but quick."""


@asynccontextmanager
async def a_view(kubeconfig: Path, *, pace: Pace = QUICK, **options: Any) -> AsyncIterator[ClusterView]:
    async with await Api.connect(str(kubeconfig)) as api, asyncio.TaskGroup() as group:
        view = ClusterView(api, clock=SystemClock(), random=Random(), pace=pace, **options)
        task = group.create_task(view.run())
        try:
            async with asyncio.timeout(20):
                await view.complete()
        except TimeoutError:
            pytest.fail(f"the view is not complete: {view.state().stale}")
        yield view
        task.cancel()


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the view is what is looked at
            await asyncio.sleep(0.02)


@pytest.fixture
async def proxy(control_plane: ControlPlane) -> AsyncIterator[TcpProxy]:
    """A way to the session's API server that can be cut."""
    async with TcpProxy(control_plane.port) as proxy:
        yield proxy


@pytest.fixture
def through(control_plane: ControlPlane, proxy: TcpProxy, tmp_path: Path) -> Path:
    """A kubeconfig whose server is reached through the proxy."""
    return redirected(control_plane.kubeconfig, proxy, tmp_path / "kubeconfig")


def redirected(kubeconfig: Path, proxy: TcpProxy, path: Path) -> Path:
    config = json.loads(kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{proxy.port}"
    path.write_text(json.dumps(config))
    return path


async def test_reset_connections_lose_nothing(
    proxy: TcpProxy, through: Path, cluster_objects: ClusterObjects, namespace: str
) -> None:
    async with a_view(through) as view:
        for number in range(5):
            await proxy.reset()
            await cluster_objects.make_claim(
                namespace, f"c{number}", driver=DRIVER, handle=f"{namespace}-{number}"
            )
        refs = [ClaimRef(namespace, f"c{number}") for number in range(5)]
        await until(lambda: all(ref in view.claims and view.claims[ref].phase == "Bound" for ref in refs))
        assert view.state().stale == ""


async def test_an_outage_makes_the_view_stale_keeps_its_rows_and_ends_by_itself(
    proxy: TcpProxy, through: Path, cluster_objects: ClusterObjects, namespace: str
) -> None:
    before, during = ClaimRef(namespace, "before"), ClaimRef(namespace, "during")
    await cluster_objects.make_claim(namespace, "before", driver=DRIVER, handle=f"{namespace}-before")
    told: list[Part] = []
    async with a_view(through, stale_after=2.0, pace=Pace(first_backoff=0.1, last_backoff=0.5)) as view:
        view.listen(told.append)
        # Watches are quiet for up to a minute; with so short a delay only what was read just now is trusted.
        await proxy.cut()
        await until(lambda: view.state().stale)
        state = view.state()
        assert state.complete
        assert state.age > 2
        assert "not confirmed since" in state.stale
        assert "Connect" in state.stale or "onnection" in state.stale
        assert state.stale_since is not None
        assert before in view.claims, "what was known stays"
        await until(lambda: Part.STATE in told)
        await cluster_objects.make_claim(namespace, "during", driver=DRIVER, handle=f"{namespace}-during")
        await asyncio.sleep(1)
        assert during not in view.claims
        told.clear()
        await proxy.open()
        await until(lambda: during in view.claims and not view.state().stale)
        await until(lambda: Part.STATE in told)


async def test_a_silent_network_is_noticed_and_left(
    proxy: TcpProxy, through: Path, cluster_objects: ClusterObjects, namespace: str
) -> None:
    async with a_view(through, stale_after=6.0) as view:
        proxy.freeze()
        await cluster_objects.make_claim(namespace, "unheard", driver=DRIVER, handle=f"{namespace}-unheard")
        await until(lambda: view.state().stale)
        await proxy.reset()  # the old connections never come back
        proxy.thaw()
        await until(lambda: ClaimRef(namespace, "unheard") in view.claims, seconds=60)
        await until(lambda: not view.state().stale)


async def test_a_slow_watcher_gets_everything_in_the_end(
    proxy: TcpProxy, through: Path, cluster_objects: ClusterObjects, namespace: str
) -> None:
    """The server drops a watch whose buffer is full; what was in it must come by another way."""
    await cluster_objects.make_claim(namespace, "busy", driver=DRIVER, handle=f"{namespace}-busy")
    ref, path = ClaimRef(namespace, "busy"), f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/busy"
    filler = "x" * 100_000
    async with a_view(through, pace=Pace(first_backoff=0.1, idle=60)) as view:
        proxy.freeze()
        for number in range(300):
            metadata = {"annotations": {"filler": filler}, "labels": {"turn": str(number)}}
            await cluster_objects.patch(path, {"metadata": metadata})
        proxy.thaw()
        await until(lambda: view.claims[ref].labels.get("turn") == "299", seconds=60)


async def test_the_api_server_is_restarted_under_it(fresh_control_plane: Callable[..., ControlPlane]) -> None:
    plane = await asyncio.to_thread(fresh_control_plane)
    async with ClusterObjects(plane.kubeconfig) as objects:
        await objects.make_namespace("shop")
        await objects.make_claim("shop", "before", driver=DRIVER, handle="before")
        async with a_view(plane.kubeconfig) as view:
            assert not view.policies
            await asyncio.to_thread(plane.kill_apiserver)
            await asyncio.sleep(1)
            assert ClaimRef("shop", "before") in view.claims
            await asyncio.to_thread(plane.start_apiserver)
            await objects.make_claim("shop", "after", driver=DRIVER, handle="after")
            await until(lambda: ClaimRef("shop", "after") in view.claims, seconds=20)
            assert ClaimRef("shop", "before") in view.claims
            assert view.state().stale == ""


async def test_etcd_is_compacted_while_nobody_could_watch(
    fresh_control_plane: Callable[..., ControlPlane], tmp_path: Path
) -> None:
    """The server was away, changed, and has forgotten the versions in between: 410 Gone, and a list is due."""
    plane = await asyncio.to_thread(fresh_control_plane)
    async with (
        ClusterObjects(plane.kubeconfig) as objects,
        TcpProxy(plane.port) as proxy,
    ):
        await objects.make_namespace("shop")
        await objects.make_claim("shop", "stays", driver=DRIVER, handle="stays")
        await objects.make_claim("shop", "goes", driver=DRIVER, handle="goes")
        async with a_view(redirected(plane.kubeconfig, proxy, tmp_path / "kubeconfig")) as view:
            await proxy.cut()
            path = "/api/v1/namespaces/shop/persistentvolumeclaims/goes"
            await objects.patch(path, {"metadata": {"finalizers": None}})
            await objects.delete(path)
            await objects.make_claim("shop", "comes", driver=DRIVER, handle="comes")
            await asyncio.to_thread(plane.stop_apiserver)
            await compact(plane)
            await asyncio.to_thread(plane.start_apiserver)
            told: list[str] = []
            original = view._reflectors[1]._list

            async def listed() -> None:
                told.append("listed")
                await original()

            view._reflectors[1]._list = listed  # type: ignore[method-assign]  # counts, and does what it did
            await proxy.open()
            await until(lambda: ClaimRef("shop", "comes") in view.claims, seconds=20)
            await until(lambda: ClaimRef("shop", "goes") not in view.claims)
            assert ClaimRef("shop", "stays") in view.claims
            assert told, "the watch could not go on: a new list was needed"


async def compact(plane: ControlPlane) -> None:
    """Make etcd forget all old versions, through its JSON gateway."""
    async with aiohttp.ClientSession(f"http://127.0.0.1:{plane.layout.etcd_port}") as session:
        async with session.post("/v3/kv/range", json={"key": "Lw=="}) as answer:
            revision = (await answer.json())["header"]["revision"]
        async with session.post("/v3/kv/compaction", json={"revision": revision, "physical": True}) as answer:
            assert answer.status == 200, await answer.text()


async def test_crds_that_come_later_and_go_again(
    fresh_control_plane: Callable[..., ControlPlane], crds: list[dict[str, Any]]
) -> None:
    plane = await asyncio.to_thread(fresh_control_plane)
    policies = "/apis/volumehealth.dev/v1alpha1/volumehealthpolicies"
    async with ClusterObjects(plane.kubeconfig) as objects, a_view(plane.kubeconfig) as view:
        assert view.state().complete
        assert view.state().stale == ""
        await objects.install_crds(crds)
        policy = {
            "apiVersion": "volumehealth.dev/v1alpha1",
            "kind": "VolumeHealthPolicy",
            "metadata": {"name": "storage"},
            "spec": {},
        }
        await objects.post(policies, policy)
        await until(lambda: "storage" in view.policies)
        await objects.delete(
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/volumehealthpolicies.volumehealth.dev"
        )
        await until(lambda: not view.policies)
        assert view.state().stale == ""


async def test_a_missing_right_is_told_and_ends_when_it_is_given(
    control_plane: ControlPlane, tmp_path: Path, kubectl: Callable[..., str]
) -> None:
    kubectl("create", "serviceaccount", "reader", "-n", "default")
    token = control_plane.create_token("default", "reader")
    config = control_plane.write_kubeconfig(tmp_path / "reader", token, user="reader")
    async with await Api.connect(str(config)) as api, asyncio.TaskGroup() as group:
        view = ClusterView(api, clock=SystemClock(), random=Random(), pace=QUICK)
        task = group.create_task(view.run())
        await until(lambda: "forbidden" in view.state().stale)
        assert not view.state().complete
        kubectl(
            "create",
            "clusterrolebinding",
            "reader",
            "--clusterrole=cluster-admin",
            "--serviceaccount=default:reader",
        )
        await until(lambda: view.state().complete)
        task.cancel()


@pytest.fixture
def bound_account(control_plane: ControlPlane) -> Callable[[], str]:
    """Makes tokens of an account, each bound to a Secret of its own: deleting the Secret ends the token."""
    numbers = iter(range(100))

    def make() -> str:
        name = f"bound-{next(numbers)}"
        control_plane.kubectl("create", "secret", "generic", name, "-n", "default")
        return control_plane.kubectl(
            "create",
            "token",
            "token-user",
            "-n",
            "default",
            "--bound-object-kind=Secret",
            f"--bound-object-name={name}",
        ).strip()

    control_plane.kubectl("create", "serviceaccount", "token-user", "-n", "default")
    control_plane.kubectl(
        "create",
        "clusterrolebinding",
        "token-user",
        "--clusterrole=cluster-admin",
        "--serviceaccount=default:token-user",
    )
    return make


async def test_a_replaced_token_is_picked_up_when_the_old_one_is_refused(
    control_plane: ControlPlane, bound_account: Callable[[], str], tmp_path: Path
) -> None:
    token_file = tmp_path / "token"
    token_file.write_text(bound_account() + "\n")
    config = json.loads(control_plane.kubeconfig.read_text())
    config["users"][0]["user"] = {"tokenFile": str(token_file)}
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config))
    async with a_view(path) as view, await Api.connect(str(path)) as api:
        await api.request("GET", "/api/v1/namespaces/default")
        control_plane.kubectl("delete", "secret", "bound-0", "-n", "default")
        await asyncio.sleep(11)  # the server remembers good tokens for 10 seconds
        with pytest.raises(errors.Forbidden, match="does not accept our credentials"):
            await api.request("GET", "/api/v1/namespaces/default")
        token_file.write_text(bound_account() + "\n")
        await asyncio.sleep(2.1)
        await api.request("GET", "/api/v1/namespaces/default")
        control_plane.kubectl("create", "namespace", "after-the-token")
        await until(lambda: "after-the-token" in view.namespaces)
