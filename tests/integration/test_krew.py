"""The plugin of kubectl, made as `make release` makes it and installed from its archive as krew does.

It runs with a Python that has none of its libraries: what is missing in the archive is missing.
"""

import asyncio
import hashlib
import os
import platform
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from support.command import run
from support.installation import Installation, until
from support.script import load
from volumehealth import __version__
from volumehealth_sandbox.controlplane import ControlPlane
from volumehealth_sandbox.driver import SimulatedDriver
from volumehealth_sandbox.driver_faults import Fault

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(300),
    pytest.mark.skipif(sys.platform != "linux", reason="the archive of another system cannot run here"),
]


@pytest.fixture(scope="module")
def krew() -> ModuleType:
    """`charts/krew.py`, which belongs to no package."""
    return load(ROOT / "charts" / "krew.py")


@pytest.fixture(scope="module")
def manifest(krew: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifest, with the archive for this machine and its Python beside it."""
    made = tmp_path_factory.mktemp("release")
    build = (sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", made)
    subprocess.run(build, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    arch = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    here = [one for one in krew.PLATFORMS if (one.os, one.arch) == ("linux", arch)]
    python = ".".join(map(str, sys.version_info[:2]))
    written: Path = krew.make(made, next(made.glob("*.whl")), platforms=here, pythons=[python])
    return written


def install(manifest: Path, home: Path) -> Path:
    """Install as krew does: compare the sum, unpack, and link the program into a directory of PATH."""
    plugin = yaml.safe_load(manifest.read_text())
    (made,) = plugin["spec"]["platforms"]
    archive = manifest.with_name(made["uri"].rpartition("/")[2])
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == made["sha256"]
    store = home / "store" / plugin["metadata"]["name"] / plugin["spec"]["version"]
    with tarfile.open(archive) as packed:
        packed.extractall(store, filter="data")
    programs = home / "bin"
    programs.mkdir(parents=True)
    (programs / f"kubectl-{plugin['metadata']['name']}").symlink_to(store / made["bin"])
    return programs


class Plugin:
    """`kubectl volumehealth`, with no library but those of the archive."""

    def __init__(self, programs: Path, plane: ControlPlane) -> None:
        self._kubectl = plane.kubectl_path
        bare = Path(sys.base_prefix) / "bin"
        self._environment: Mapping[str, str] = {
            "PATH": f"{programs}:{bare}:/usr/bin:/bin",
            "HOME": str(programs.parent),
            "KUBECONFIG": str(plane.kubeconfig),
            "PYTHONNOUSERSITE": "1",
        }

    async def __call__(self, *arguments: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            str(self._kubectl),
            "volumehealth",
            *arguments,
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await process.communicate()
        if kept := os.environ.get("VOLUMEHEALTH_TRANSCRIPTS"):
            _keep(Path(kept), f"$ kubectl volumehealth {' '.join(arguments)}\n{out.decode()}\n")
        return process.returncode or 0, out.decode()


def _keep(file: Path, text: str) -> None:
    with file.open("a") as pages:
        pages.write(text)


def test_the_archive_holds_neither_grpc_nor_kopf(manifest: Path) -> None:
    (archive,) = manifest.parent.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        names = packed.getnames()
    tops = {name.split("/")[1] for name in names if name.startswith("lib/")}
    assert {"volumehealth", "click", "msgspec"} <= tops
    assert not {"grpc", "kopf", "google", "prometheus_client", "apprise", "volumehealth_sandbox"} & tops
    assert {"LICENSE", "kubectl-volumehealth"} == {name for name in names if "/" not in name}


async def test_what_krew_installs_says_the_same_as_the_whole_package(
    installed: Installation, manifest: Path, tmp_path: Path
) -> None:
    admin = installed.plane.kubeconfig
    plugin = Plugin(install(manifest, tmp_path), installed.plane)
    assert await plugin("--version") == (0, f"volumehealth, version {__version__}\n")
    async with SimulatedDriver(name="krew.example.com", volumes=["v1"]) as driver:
        await installed.objects.make_namespace("krew")
        await installed.objects.make_claim("krew", "data", driver=driver.name, handle="v1")
        await installed.policy(
            "krew", selector={"drivers": [driver.name]}, interval="5s", unhealthyAfter="0s"
        )
        operator = await installed.operator([driver.endpoint])
        driver.fault("v1", Fault.IO_ERRORS)

        async def unhealthy() -> bool:
            return (await plugin())[0] == 1

        await until(unhealthy, "the fault is told", within=60)
        await operator.stop()  # what is compared must not change meanwhile
        for command in (
            ["drivers"],
            ["history", "krew/data"],
            ["status", "-o", "json"],
            ["preflight"],
        ):
            assert await plugin(*command) == await run(admin, *command)
        for command in (["completion", "bash"], ["--help"]):
            assert (await plugin(*command))[0] == 0
        status, page = await plugin("explain", "krew/data")
        assert (status, "VERDICT    Unhealthy" in page) == (0, True)
        assert (await plugin("report", "-o", str(tmp_path / "report.html")))[0] == 0
        assert (await plugin("support", "-o", str(tmp_path / "support.tar.gz")))[0] == 0
        assert (await plugin("silence", "krew/data", "--for", "1h", "--reason", "a test"))[0] == 0


@pytest.mark.parametrize("command", ["check", "operator", "sandbox"])
async def test_a_command_that_is_left_out_says_where_it_is(
    installed: Installation, manifest: Path, tmp_path: Path, command: str
) -> None:
    plugin = Plugin(install(manifest, tmp_path), installed.plane)
    status, page = await plugin(command, *(["demo"] if command == "sandbox" else []))
    assert status != 0
    assert "is not part of" in page
    assert "Traceback" not in page


def test_the_requirements_are_those_of_the_lock_with_their_hashes(krew: ModuleType) -> None:
    lock = (ROOT / "requirements.lock").read_text()
    wanted = krew.requirements(lock)
    pinned = {line.partition("==")[0]: line for line in lock.splitlines() if "==" in line and line[0] != " "}
    assert pinned.keys() >= krew.LEFT_OUT
    for name, line in pinned.items():
        assert (line in wanted.splitlines()) == (name not in krew.LEFT_OUT), name
    assert wanted.count("--hash=") > len(pinned)


def test_every_platform_has_a_name_of_its_own(krew: ModuleType) -> None:
    made: list[Any] = [one.archive for one in krew.PLATFORMS]
    assert len(set(made)) == 4
