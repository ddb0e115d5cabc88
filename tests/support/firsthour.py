"""Who goes through docs/first-hour.md alone: types its commands in their order, from `helm install` to an alert that pages and clears.

Debian's Prometheus and Alertmanager, with the rules that the chart installed, see what the operator serves. The transcript is
kept where VOLUMEHEALTH_TRANSCRIPTS says.
"""

import asyncio
import json
import os
import re
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from support.installation import NAMESPACE as SYSTEM
from support.installation import until
from support.monitoring import RULES, Monitoring
from volumehealth_sandbox.controlplane import ControlPlane
from volumehealth_sandbox.tools import find_or_build

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/first-hour.md").read_text()
STANDINS = ROOT / "tests/integration/standins.yaml"
DRILL = "volumehealth-drill"
_PROMETHEUS = "monitoring.coreos.com"
_TAKES_A_NODE = "rollout status"
_SAYS_SOMETHING = re.compile(r"kubectl volumehealth (status|preflight)")
"""Commands whose exit status 1 or 3 is a finding, not an error."""

Kubectl = Callable[..., Awaitable[str]]


def prometheus_kinds() -> str:
    """Return the stand-ins for the Prometheus Operator's kinds, to be applied."""
    kinds = [one for one in yaml.safe_load_all(STANDINS.read_text()) if _PROMETHEUS in one["spec"]["group"]]
    return yaml.safe_dump_all(kinds)


def blocks(page: str) -> Iterator[list[str]]:
    """Yield the command lines of each console block of a page."""
    for block in re.findall(r"```console\n(.*?)```", page, re.DOTALL):
        yield [line[2:] for line in block.replace("\\\n", " ").splitlines() if line.startswith("$ ")]


class Newcomer:
    """Somebody with a checkout, a kubeconfig and the programs that the page names, who types what the page says.

    Args:
        plane: the cluster.
        home: the directory to work in.
        flags: what this cluster needs beside what the page says to `helm install`.
        nodes: whether Pods run; if not, what waits for them is not typed.
    """

    def __init__(
        self, plane: ControlPlane, home: Path, *, flags: Sequence[str] = (), nodes: bool = False
    ) -> None:
        self._home = home
        self._flags = flags
        self._nodes = nodes
        self._blocks = blocks(PAGE)
        kept = os.environ.get("VOLUMEHEALTH_TRANSCRIPTS")
        self._transcript = Path(kept) if kept else home / "transcript.txt"
        programs = home / "bin"
        programs.mkdir()
        (programs / "helm").symlink_to(find_or_build("helm3", print))
        (programs / "kubectl").symlink_to(plane.kubectl_path)
        for name in ("charts", "examples"):
            (home / name).symlink_to(ROOT / name)
        self._environment = os.environ | plane.kubectl_environment()
        self._environment["PATH"] = f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        self._environment |= {f"HELM_{name}_HOME": str(home / name) for name in ("CACHE", "CONFIG", "DATA")}

    def save(self, name: str) -> None:
        """Save the one YAML of the page as a file."""
        (manifest,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
        (self._home / name).write_text(manifest)

    async def go_on(self) -> str:
        """Type the next block of the page; return what was seen."""
        return "\n".join([await self._type(line) for line in next(self._blocks)])

    def is_through(self) -> bool:
        """Tell whether the page has no further block."""
        return next(self._blocks, None) is None

    def note(self, what: str) -> None:
        """Write down what was typed and seen."""
        with self._transcript.open("a") as pages:
            pages.write(f"{what}\n")

    async def _type(self, line: str) -> str:
        if _TAKES_A_NODE in line and not self._nodes:
            return ""
        if line.startswith("helm install "):
            line = " ".join((line, *self._flags))
        process = await asyncio.create_subprocess_shell(
            line,
            cwd=self._home,
            env=self._environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await process.communicate()
        seen = out.decode()
        self.note(f"$ {line}\n{seen}")
        wanted = (0, 1, 3) if _SAYS_SOMETHING.search(line) else (0,)
        assert process.returncode in wanted, f"{line}\nexit status {process.returncode}\n{seen}"
        return seen


async def go_through(
    newcomer: Newcomer,
    kubectl: Kubectl,
    home: Path,
    *,
    operator: Callable[[], Awaitable[str]],
    watched: str,
) -> None:
    """Do all that the page says, and see that each step does what it says.

    Args:
        newcomer: who types it.
        kubectl: runs kubectl and returns what it prints.
        home: directory for Prometheus and Alertmanager.
        operator: returns `host:port` of the operator's /metrics once the chart is installed.
        watched: what is said of the cluster's own claims once the policy is there.
    """
    before = await newcomer.go_on()
    assert "volumehealth is not installed" in before

    await newcomer.go_on()
    rule = await kubectl("get", "prometheusrule", "-n", SYSTEM, "-o", "yaml")
    (shipped,) = yaml.safe_load(rule)["items"]
    assert shipped["spec"]["groups"] == yaml.safe_load(RULES.read_text())["groups"]
    async with Monitoring(home / "monitoring", [await operator()]) as monitoring:
        claim = {"namespace": "default", "persistentvolumeclaim": DRILL, "reason": "ClaimLost"}

        async def delivered(state: str) -> None:
            took = await monitoring.paged("VolumeHealthInaccessible", state, **claim)
            newcomer.note(f"# {took:.1f} s later Alertmanager delivers: {state}\n")
            monitoring.pages.clear()

        async def known() -> bool:
            policy: dict[str, Any] = json.loads(await kubectl("get", "vhp", "storage", "-o", "json"))
            return watched in "\n".join((policy.get("status") or {}).get("summary") or ())

        await until(known, "the cluster's own claims are judged", within=120)
        seen = await newcomer.go_on()
        assert watched in seen

        await newcomer.go_on()
        newcomer.save("drill.yaml")
        await newcomer.go_on()
        await delivered("firing")
        seen = await newcomer.go_on()
        assert "ClaimLost" in seen
        assert "What to do first" in seen
        assert "VolumeConditionAbnormal" in seen
        assert "POLICY     storage" in seen

        await newcomer.go_on()
        await delivered("resolved")
        await newcomer.go_on()
        await delivered("firing")

        await newcomer.go_on()
        await delivered("resolved")

        async def told() -> bool:
            return "VolumeConditionNormal" in await kubectl("describe", "pvc", DRILL, "-n", "default")

        await until(told, "the recovery is told")
        seen = await newcomer.go_on()
        assert "Recovered" in seen

        await newcomer.go_on()
        assert newcomer.is_through()

        async def gone() -> bool:
            return DRILL not in await kubectl("get", "vh", "-n", "default", "-o", "name")

        await until(gone, "nothing is left of the drill", within=60)
        spec = await kubectl("get", "vhp", "storage", "-o", "jsonpath={.spec}")
        assert json.loads(spec) == {}
