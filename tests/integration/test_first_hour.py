"""The first hour, by docs/first-hour.md alone: its commands in their order, from `helm install` to an alert that pages and clears.

In: a whole control plane without a node, the stand-ins for the Prometheus Operator's kinds. The operator runs as a process with
the ServiceAccount that the chart made; Prometheus and Alertmanager are Debian's. Out: a transcript, kept where
VOLUMEHEALTH_TRANSCRIPTS says.
"""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import yaml

from support.installation import ACCOUNT, Installation, until
from support.installation import NAMESPACE as SYSTEM
from support.monitoring import MISSING, RULES, WHY_NOT, Monitoring
from volumehealth.model.ids import ClaimRef
from volumehealth_sandbox.controlplane import ControlPlane
from volumehealth_sandbox.tools import find_or_build

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(MISSING), reason=WHY_NOT),
]

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/first-hour.md").read_text()
STANDINS = Path(__file__).with_name("standins.yaml")
PROMETHEUS = "monitoring.coreos.com"
TAKES_A_NODE = "rollout status"
SAYS_SOMETHING = re.compile(r"kubectl volumehealth (status|preflight)")
"""Commands whose exit status 1 or 3 is a finding, not an error."""
DRILL = ClaimRef("default", "volumehealth-drill")


def blocks(page: str) -> Iterator[list[str]]:
    """Yield the command lines of each console block of a page."""
    for block in re.findall(r"```console\n(.*?)```", page, re.DOTALL):
        yield [line[2:] for line in block.replace("\\\n", " ").splitlines() if line.startswith("$ ")]


class Newcomer:
    """Somebody with a checkout, a kubeconfig and the programs that the page names, who types what the page says.

    Args:
        plane: the cluster.
        home: the directory to work in.
    """

    def __init__(self, plane: ControlPlane, home: Path) -> None:
        self._home = home
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
        if TAKES_A_NODE in line:
            return ""
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
        wanted = (0, 1, 3) if SAYS_SOMETHING.search(line) else (0,)
        assert process.returncode in wanted, f"{line}\nexit status {process.returncode}\n{seen}"
        return seen


@pytest.fixture
async def bare(
    fresh_control_plane: Callable[..., ControlPlane], tmp_path: Path
) -> AsyncIterator[Installation]:
    """A whole control plane with the kinds of the Prometheus Operator, two claims of a driver, and nothing of ours."""
    plane = await asyncio.to_thread(lambda: fresh_control_plane(whole=True))
    installed = Installation(plane, tmp_path)
    (plane.home / "installed").touch()  # by the page, not by the fixture
    async with installed:
        kinds = [
            one for one in yaml.safe_load_all(STANDINS.read_text()) if PROMETHEUS in one["spec"]["group"]
        ]
        await installed.kubectl("apply", "-f", "-", text=yaml.safe_dump_all(kinds))
        await installed.objects.make_namespace("shop")
        for name in ("orders", "cache"):
            await installed.objects.make_claim("shop", name, driver="csi.example.com", handle=name)
        yield installed


async def test_the_first_hour_goes_as_its_page_says(bare: Installation, tmp_path: Path) -> None:
    newcomer = Newcomer(bare.plane, tmp_path)
    before = await newcomer.go_on()
    assert "csi.example.com" in before

    await newcomer.go_on()
    rule = await bare.kubectl("get", "prometheusrule", "-n", SYSTEM, "-o", "yaml")
    (shipped,) = yaml.safe_load(rule)["items"]
    assert shipped["spec"]["groups"] == yaml.safe_load(RULES.read_text())["groups"]
    token = await asyncio.to_thread(bare.plane.create_token, SYSTEM, ACCOUNT)
    bare.plane.write_kubeconfig(bare.kubeconfig, token, user=ACCOUNT)
    operator = await bare.operator()
    await operator.ready()
    metrics = operator.metrics_url.removeprefix("http://").removesuffix("/metrics")
    async with Monitoring(tmp_path / "monitoring", [metrics]) as monitoring:
        claim = {"namespace": DRILL.namespace, "persistentvolumeclaim": DRILL.name, "reason": "ClaimLost"}

        async def delivered(state: str) -> None:
            took = await monitoring.paged("VolumeHealthInaccessible", state, **claim)
            newcomer.note(f"# {took:.1f} s later Alertmanager delivers: {state}\n")
            monitoring.pages.clear()

        async def checked() -> bool:
            return bool((await bare.status("storage")).get("lastCheckTime"))

        await until(checked, "the policy is checked")
        seen = await newcomer.go_on()
        assert "NOT MONITORED 2 claims: csi.example.com" in seen

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
            return "PersistentVolumeClaim/volumehealth-drill" in await bare.told(
                "default", "VolumeConditionNormal"
            )

        await until(told, "the recovery is told")
        seen = await newcomer.go_on()
        assert "Recovered" in seen

        await newcomer.go_on()
        assert newcomer.is_through()

        async def gone() -> bool:
            return await bare.record(DRILL) is None

        await until(gone, "nothing is left of the drill", within=60)
        spec = await bare.kubectl("get", "vhp", "storage", "-o", "jsonpath={.spec}")
        assert json.loads(spec) == {}
    assert bare.log_problems() == []
