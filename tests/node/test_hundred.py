"""What a round of looks at a hundred volumes takes: a hundred real filesystems on a hundred devices."""

import asyncio
import logging
import resource
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.agent import make_claim, make_pod
from support.realdisk import run
from volumehealth.agent.looks import NodeLooks, NodeSights
from volumehealth.agent.state import ReportState
from volumehealth.agent.targets import KnownClaim, find_targets, used_claims
from volumehealth.model.clock import SystemClock
from volumehealth.model.ids import ClaimRef
from volumehealth.model.steps import at_once
from volumehealth.node.files import RealFiles
from volumehealth.policy.parse import parse_policy
from volumehealth.policy.select import Selection

log = logging.getLogger(__name__)
pytestmark = [pytest.mark.node, pytest.mark.timeout(300)]

VOLUMES = 100
SECONDS = 0.05
"""Of processor time for one round."""
ROUNDS = 20


class CountingFiles(RealFiles):
    """The machine's files, and how often each was read."""

    def __init__(self) -> None:
        self.reads: Counter[str] = Counter()
        self._lock = threading.Lock()

    def read(self, path: str) -> str:
        """Count and read."""
        with self._lock:
            self.reads[path] += 1
        return super().read(path)


@pytest.fixture
def looks(tmp_path: Path) -> Iterator[tuple[NodeLooks, CountingFiles]]:
    """An agent's looks at a hundred claims, each on an ext4 of its own."""
    kubelet, clock, files = tmp_path / "kubelet", SystemClock(), CountingFiles()
    pods, known = [], {}
    with ExitStack() as stack:
        for number in range(VOLUMES):
            name = f"data-{number}"
            pod = make_pod(f"{name}-0", name, since=clock.now(), containers_since=clock.now())
            disk = tmp_path / f"{name}.img"
            with disk.open("wb") as file:
                file.truncate(8 * 1024 * 1024)
            run("mkfs.ext4", "-q", str(disk))
            point = kubelet / f"pods/{pod.uid}/volumes/kubernetes.io~csi/pv-{name}/mount"
            point.mkdir(parents=True)
            run("mount", "-o", "loop", str(disk), str(point))
            stack.callback(subprocess.run, ["umount", str(point)], check=False, capture_output=True)
            pods.append(pod)
            known[ClaimRef("shop", name)] = KnownClaim(make_claim(name))
        policy = parse_policy({"metadata": {"name": "all", "uid": "p"}, "spec": {"interval": "5s"}})
        selection = Selection()
        at_once(selection.update({"p": policy}, {ref: found.claim for ref, found in known.items()}, {}, None))
        found = find_targets(
            used_claims(pods, clock.now()),
            known,
            selection=selection,
            policies={"p": policy},
            kubelet=str(kubelet),
        )
        looks = NodeLooks(
            node="n1",
            kubelet=str(kubelet),
            mount_table="/proc/self/mountinfo",
            ledger=ReportState(),
            clock=clock,
            news=lambda: None,
            sights=NodeSights(files=files),
        )
        looks.demand(found.values())
        yield looks, files


async def test_a_round_takes_little_and_reads_no_file_twice(looks: tuple[NodeLooks, CountingFiles]) -> None:
    look, files = looks
    for _ in range(3):
        await look.look()
    assert sum(sight.healthy for sight in look.seen.values()) == VOLUMES
    files.reads.clear()
    await look.look()
    assert [path for path, times in files.reads.items() if times > 1] == []
    reads = files.reads.total()
    took = []
    for _ in range(ROUNDS):
        before = _processor()
        await look.look()
        took.append(_processor() - before)
        await asyncio.sleep(0.05)
    took.sort()
    log.info("a round reads %d files and takes %.0f ms of processor time", reads, took[ROUNDS // 2] * 1000)
    assert took[ROUNDS // 2] < SECONDS


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
