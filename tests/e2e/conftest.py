"""Scenes on a real node: kubelet, drivers that really mount, the operator and the agents in the Pods that are shipped.

In: root, Debian's packages (docs/e2e.md), and programs and an image that the sandbox finds or builds. Out: one node for the session, with everything in its place and healthy. Every scene heals what it
broke, so that they may be played in any order. Where a node cannot run, all of them are skipped, and say why.
"""

import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from support.realnode import NodeDriver, RealNode, obstacles
from volumehealth_sandbox.assets import checkout
from volumehealth_sandbox.driver_state import Generation
from volumehealth_sandbox.image import build_image, product
from volumehealth_sandbox.tools import Say, find_or_build

NEW = NodeDriver(
    "new.csi.volumehealth.test",
    Generation.V1_13,
    (
        "mounted",
        "unmounted",
        "readonly",
        "full",
        "deleted",
        "disk",
        "slow",
        "ioerror",
        "corrupt",
        "heard-twice",
    ),
)
OLD = NodeDriver(
    "old.csi.volumehealth.test", Generation.LEGACY, ("old-ioerror", "old-unmounted"), controller="StatefulSet"
)
POLICY = {
    "interval": "5s",
    "timeout": "5s",
    "unhealthyAfter": "0s",
    "healthyAfter": "0s",
    "checks": {"nodeFailure": {"after": "2s"}},
}
PODS = ("first", "second")
_TOOLS = (
    "etcd",
    "kube-apiserver",
    "kubectl",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "helm3",
)


def _terminal(config: pytest.Config) -> Say:
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    return print if terminal is None else terminal.write_line


@pytest.fixture
def show(request: pytest.FixtureRequest) -> Say:
    """Write to the terminal, whether the test fails or not."""
    capture = request.config.pluginmanager.get_plugin("capturemanager")

    def write(line: str) -> None:
        with nullcontext() if capture is None else capture.global_and_fixture_disabled():
            _terminal(request.config)(f"\n{line}")

    return write


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Play what is marked `before_faults` first in its file, in whatever order the rest is played."""
    for item in [item for item in items if item.get_closest_marker("before_faults")]:
        items.remove(item)
        place = next((number for number, one in enumerate(items) if one.path == item.path), len(items))
        items.insert(place, item)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build what is missing before the first test, because a cold build takes longer than a test may."""
    wanted = any(item.get_closest_marker("e2e") for item in session.items)
    if session.config.option.collectonly or not wanted or obstacles():
        return
    say = _terminal(session.config)
    for name in _TOOLS:
        find_or_build(name, say)
    build_image(product(checkout()), say)


@pytest.fixture(scope="session")
def real_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealNode]:
    """The node with the gate on, and a driver of each generation."""
    if reasons := obstacles():
        pytest.skip(f"no real node: {'; '.join(reasons)}")
    with RealNode(
        tmp_path_factory.mktemp("real"),
        Path(tempfile.gettempdir(), "vh-node"),
        drivers=(NEW, OLD),
        pods=PODS,
        policy=POLICY,
        gate=True,
    ) as node:
        yield node
