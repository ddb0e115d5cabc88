"""From nothing to a sick volume told, in the two commands of the README: `helm install`, `kubectl apply`.

In: a real node with a driver, claims and a Pod, and no volumehealth; one volume is sick already. Out: a transcript of what an
admin types and sees, on the terminal, and how long it took.
"""

import os
import shlex
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from e2e.scenes import driver_says
from support.helm import CHART, NAMESPACE, RELEASE, Helm
from support.product import AGENT, AGENT_SPACE, OPERATOR, OPERATOR_SPACE, NotInstalled
from support.realnode import SPACE, NodeDriver, RealNode, obstacles
from volumehealth_sandbox.assets import asset
from volumehealth_sandbox.driver_faults import Fault, Plane
from volumehealth_sandbox.driver_state import Generation
from volumehealth_sandbox.tools import Say, kubernetes_version

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

DRIVER = NodeDriver("first.csi.volumehealth.test", Generation.LEGACY, ("well", "sick"), controller="")
EACH = "VOLUMEHEALTH_EACH_USER"
"""Environment variable: play it as each user."""
TOLD_WITHIN = 240.0
"""Seconds from `helm install`: Pods, and `unhealthyAfter` as it is if nothing is set."""


class Transcript:
    """What an admin types and sees, with the seconds since the first command."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._lines: list[str] = []

    @property
    def seconds(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._began

    def note(self, what: str) -> None:
        """Write down when something was so."""
        self._lines.append(f"# {self.seconds:5.1f} s: {what}")

    def command(self, command: str, output: str, *, keep: int = 40) -> None:
        """Write down a command and the end of what it printed."""
        self._lines += [f"$ {command}", *(line.rstrip() for line in output.splitlines()[-keep:])]

    def __str__(self) -> str:
        return "\n".join(self._lines)


@pytest.fixture
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealNode]:
    """A node with a driver and a Pod on its volumes, the image in its containerd, and nothing else."""
    if reasons := obstacles():
        pytest.skip(f"no real node: {'; '.join(reasons)}")
    with RealNode(
        tmp_path_factory.mktemp("bare"),
        Path(tempfile.gettempdir(), "vh-node-bare"),
        drivers=(DRIVER,),
        pods=("app",),
        policy=None,
        gate=False,
        network=5,
        product=NotInstalled,
    ) as node:
        yield node


USERS = [
    # As OpenShift picks one for a namespace: no passwd entry anywhere, group 0.
    pytest.param({"runAsUser": 1000660000, "runAsGroup": 0}, id="a-user-without-passwd-entry"),
    pytest.param(
        {},
        id="the-user-of-the-image",
        marks=pytest.mark.skipif(
            EACH not in os.environ, reason="every other scene has it: see `make first-verdict`"
        ),
    ),
]


@pytest.mark.parametrize("user", USERS)
def test_helm_install_and_one_policy_tell_a_sick_volume(
    bare: RealNode, show: Say, user: Mapping[str, int]
) -> None:
    """The claim and its Pod have the Event; what is well is counted as healthy; `helm test` passes."""
    spoil, _ = driver_says(Fault.IO_ERRORS, Plane.NODE)
    spoil(bare, "sick")
    helm = Helm("helm3", bare.home / "helm", bare.plane)
    transcript = Transcript()
    values = {"kubeletDir": str(bare.node.layout.kubelet_dir)} | _as_user(user)
    flags = [f"--set={key}={value}" for key, value in values.items()]
    install = ["install", RELEASE, "charts/volumehealth", f"--namespace={NAMESPACE}", "--create-namespace"]
    said = helm.run(*(CHART if one == "charts/volumehealth" else one for one in install), *flags)
    transcript.command(f"helm {shlex.join([*install, *flags])}", said.partition("NOTES:")[0])
    _kubectl(bare, transcript, "apply", "-f", "examples/smallest.yaml")

    bare.product.await_rollout(OPERATOR, OPERATOR_SPACE)
    bare.product.await_rollout(AGENT, AGENT_SPACE)
    transcript.note("both rollouts are complete")
    _until(bare, transcript, lambda: _policy(bare).get("claims", {}).get("healthy"), "the first verdict")
    _kubectl(bare, transcript, "get", "vhp")
    both = {"PersistentVolumeClaim/sick", "Pod/app"}
    _until(
        bare,
        transcript,
        lambda: bare.told("VolumeConditionAbnormal", "sick") == both,
        "claim and Pod are told",
    )
    _kubectl(bare, transcript, "get", "vhp")
    _kubectl(bare, transcript, "get", "vh", "--all-namespaces")
    _kubectl(bare, transcript, "describe", "pvc", "sick", f"--namespace={SPACE}", keep=4)
    _kubectl(bare, transcript, "describe", "pod", "app", f"--namespace={SPACE}", keep=4)
    _kubectl(bare, transcript, "get", "pods", "--all-namespaces", "-o", "wide")
    helm.run("test", RELEASE, f"--namespace={NAMESPACE}", "--timeout=90s")
    transcript.note("helm test passed")
    show(f"Kubernetes {kubernetes_version()}\n{transcript}")

    assert [one["reason"] for one in bare.findings("sick")] == ["VolumeConditionAbnormal"]
    assert bare.findings("well") == []
    wanted = user.get("runAsUser", 65532)
    assert {
        _user_of(bare, pod)
        for pod in bare.product.pods(OPERATOR_SPACE)
        if "operator" in pod["metadata"]["name"]
    } == {wanted}


def _as_user(user: Mapping[str, int]) -> dict[str, object]:
    return {f"operator.podSecurityContext.{key}": value for key, value in user.items()}


def _kubectl(node: RealNode, transcript: Transcript, *arguments: str, keep: int = 40) -> None:
    command = f"kubectl {shlex.join(arguments)}"
    real = [str(asset("examples") / "smallest.yaml") if "smallest" in one else one for one in arguments]
    transcript.command(command, node.kubectl(*real), keep=keep)


def _until(node: RealNode, transcript: Transcript, condition: Any, what: str) -> None:
    node.until(condition, what, within=TOLD_WITHIN)
    transcript.note(what)
    assert transcript.seconds < TOLD_WITHIN


def _policy(node: RealNode) -> dict[str, Any]:
    status: dict[str, Any] = node.get("vhp", "storage").get("status") or {}
    return status


def _user_of(node: RealNode, pod: Mapping[str, Any]) -> int:
    """Return the uid that a Pod's process has."""
    rows = Path(f"/proc/{node.product.process(pod)}/status").read_text().splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith("Uid:"))
