"""The product on a real node, installed, upgraded and removed by helm."""

from pathlib import Path
from typing import Any

from support.helm import CHART, NAMESPACE, RELEASE, Helm, previous_chart
from support.product import AGENT, AGENT_SPACE, OPERATOR, OPERATOR_SPACE, Product
from volumehealth import __version__
from volumehealth_sandbox.controlplane import ControlPlane
from volumehealth_sandbox.node import NodeSandbox

_WHERE = f"--namespace={NAMESPACE}"


class HelmProduct(Product):
    """A release of the chart; at first of its previous revision.

    The kubelet's directory is the only value that differs from the chart's own because this is a test; the previous
    revision is told which image there is, and its Pods carry an annotation, so that each upgrade makes new Pods.
    """

    def __init__(self, plane: ControlPlane, node: NodeSandbox, home: Path) -> None:
        super().__init__(plane, node, home)
        self._values = {"kubeletDir": str(node.layout.kubelet_dir)}
        self.helm = Helm("helm3", home / "helm", plane)
        """The helm that made the release."""

    def install(self) -> None:
        """Install the previous revision, with no other step."""
        past: dict[str, Any] = {"podAnnotations": {"example.com/revision": "previous"}}
        values = {**self._values, "image": {"tag": __version__}, "operator": past, "agent": past}
        chart = previous_chart(self.home)
        self.helm.run("install", RELEASE, chart, _WHERE, "--create-namespace", values=values)
        self.await_rollouts()

    def upgrade(self) -> None:
        """Upgrade to the chart of today."""
        self.helm.run("upgrade", RELEASE, CHART, _WHERE, values=self._values)
        self.await_rollouts()

    def rollback(self) -> None:
        """Go back to the first revision."""
        self.helm.run("rollback", RELEASE, "1", _WHERE)
        self.await_rollouts()

    def test(self) -> str:
        """Run `helm test` and return what its Pod logged.

        Raises:
            HelmError: if it fails.
        """
        # Not by --logs: the API server would look for the node by its name.
        self.helm.run("test", RELEASE, _WHERE, "--timeout=90s")
        logs = self._node.layout.pod_logs.glob(f"{NAMESPACE}_volumehealth-test_*/test/0.log")
        return max(logs, key=lambda log: log.stat().st_mtime).read_text()

    def uninstall(self) -> None:
        """Remove the release."""
        self.helm.run("uninstall", RELEASE, _WHERE)

    def await_rollouts(self) -> None:
        """Wait until operator and agents run as the release wants them."""
        self.await_rollout(OPERATOR, OPERATOR_SPACE)
        self.await_rollout(AGENT, AGENT_SPACE)
