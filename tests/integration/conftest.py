"""Tests against a real API server, one for the whole session; what a test makes bears a name of its own.

In: programs that `volumehealth_sandbox.tools` finds or builds. Out: fixtures. The user's own kubeconfig and
caches are never touched, and everything started here dies with pytest.
"""

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.installation import Installation
from volumehealth.errors import SandboxError
from volumehealth.model.vocabulary import API_VERSION, POLICIES
from volumehealth_sandbox.assets import asset
from volumehealth_sandbox.controlplane import COLLECTORS, ControlPlane
from volumehealth_sandbox.objects import ClusterObjects
from volumehealth_sandbox.tools import find_or_build

Kubectl = Callable[..., str]

_TOOLS = ("etcd", "kube-apiserver", "kubectl", "kube-controller-manager", "helm3", "helm4")

_numbers = itertools.count(1)
_started: list[ControlPlane] = []


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build what is missing before the first test, because a cold build takes longer than a test may."""
    if session.config.option.collectonly or not any(
        item.get_closest_marker("cluster") for item in session.items
    ):
        return
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    say = print if terminal is None else terminal.write_line
    for name in _TOOLS:
        find_or_build(name, say)
    find_or_build("csi-sanity", say, module_dir=Path(__file__).parent / "csi_sanity")


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """One API server for the session, started at first use. Never restart it: see `fresh_control_plane`."""
    with ControlPlane(tmp_path_factory.mktemp("control-plane"), say=print) as running:
        _started.append(running)
        yield running
        _started.clear()


@pytest.fixture(scope="module", autouse=True)
def policies_end_with_their_module() -> Iterator[None]:
    """Delete all policies of the session's API server: they have no namespace that keeps them from other tests."""
    yield
    for running in _started:
        with suppress(SandboxError):  # no module that ran so far installed the CRDs
            running.kubectl("delete", "--raw", f"/apis/{API_VERSION}/{POLICIES}")


@pytest.fixture
def fresh_control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., ControlPlane]]:
    """Start control planes of one's own, with ControlPlane's arguments; for tests that stop or restart them."""
    with ExitStack() as stack:

        def start(**arguments: Any) -> ControlPlane:
            home = tmp_path_factory.mktemp("control-plane")
            return stack.enter_context(ControlPlane(home, say=print, **arguments))

        yield start


@pytest.fixture
def kubectl(control_plane: ControlPlane) -> Kubectl:
    """Run kubectl as admin: `kubectl("get", "pods", input=None) -> str`; SandboxError if it fails."""
    return control_plane.kubectl


@pytest.fixture(scope="session")
def crds() -> list[dict[str, Any]]:
    """The project's CustomResourceDefinitions as objects."""
    return read_crds()


def read_crds() -> list[dict[str, Any]]:
    """Read every CustomResourceDefinition of `crds/`."""
    objects = (
        one
        for file in sorted(Path(asset("crds")).glob("*.yaml"))
        for one in yaml.safe_load_all(file.read_text())
    )
    return [one for one in objects if one and one.get("kind") == "CustomResourceDefinition"]


@pytest.fixture
async def cluster_objects(
    control_plane: ControlPlane, crds: list[dict[str, Any]]
) -> AsyncIterator[ClusterObjects]:
    """Builders of claims, Pods and classes on the session's API server; the CRDs are installed."""
    async with ClusterObjects(control_plane.kubeconfig) as objects:
        await objects.install_crds(crds)
        yield objects


@pytest.fixture
async def namespace(cluster_objects: ClusterObjects) -> str:
    """A namespace that no other test uses."""
    name = f"test-{next(_numbers)}"
    await cluster_objects.make_namespace(name)
    return name


@pytest.fixture(scope="session")
def operator_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """The control plane on which operators run as processes; other tests' policies would be theirs, too."""
    home = tmp_path_factory.mktemp("operator-plane")
    with ControlPlane(home, controllers=COLLECTORS, say=print) as running:
        yield running


@pytest.fixture
async def installed(operator_plane: ControlPlane, tmp_path: Path) -> AsyncIterator[Installation]:
    """deploy/ applied; operators run as its ServiceAccount, are never refused anything, and never break."""
    async with Installation(operator_plane, tmp_path) as installation:
        try:
            yield installation
            assert installation.log_problems() == []
        finally:
            await installation.forget()
