"""The simulated driver is a CSI driver: it passes the conformance test of Kubernetes' own drivers, as a process."""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from volumehealth.errors import SandboxError
from volumehealth_sandbox.driver_state import Generation
from volumehealth_sandbox.tools import find_or_build

RUN = "from volumehealth_sandbox.cli_driver import driver; driver()"
SUMMARY = re.compile(r"(\d+) Passed.*?(\d+) Failed", re.DOTALL)
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
pytestmark = pytest.mark.timeout(900)  # the first run ever builds csi-sanity


@pytest.fixture(scope="session")
def csi_sanity() -> Path:
    """The program, found or built."""
    try:
        return find_or_build("csi-sanity", print, module_dir=Path(__file__).parent / "csi_sanity")
    except SandboxError as error:
        pytest.skip(f"csi-sanity cannot be had: {error}")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory whose path is short enough for a socket."""
    path = Path(tempfile.mkdtemp(prefix="csi-"))
    yield path
    shutil.rmtree(path)


@contextmanager
def driver_process(folder: Path, generation: Generation) -> Iterator[str]:
    """Run the driver, with volumes of its own already there; gives its endpoint."""
    endpoint = f"unix://{folder}/csi.sock"
    command = [
        sys.executable,
        "-c",
        RUN,
        "--endpoint",
        endpoint,
        "--generation",
        generation,
        "--volumes",
        "5",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert "answers at" in process.stdout.readline()
            yield endpoint
        finally:
            process.terminate()
    assert process.returncode == 0


@pytest.mark.parametrize("access", ["mount", "block"])
@pytest.mark.parametrize("generation", list(Generation), ids=str)
def test_passes_csi_sanity(generation: Generation, access: str, csi_sanity: Path, folder: Path) -> None:
    """Every test that its capabilities call for; the others are about what it does not claim, such as snapshots."""
    with driver_process(folder, generation) as endpoint:
        result = subprocess.run(
            [
                csi_sanity,
                f"--csi.endpoint={endpoint}",
                f"--csi.testvolumeaccesstype={access}",
                f"--csi.mountdir={folder}/mount",
                f"--csi.stagingdir={folder}/staging",
            ],
            capture_output=True,
            text=True,
            timeout=120,
        )
    told = COLOURS.sub("", result.stdout)
    summary = SUMMARY.search(told)
    assert summary is not None, told
    passed, failed = map(int, summary.groups())
    assert failed == 0, told
    assert result.returncode == 0
    assert passed >= (64 if generation is Generation.V1_13 else 58)
