"""`volumehealth sandbox`: each command is run as a person runs it, and leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from volumehealth_sandbox.processes import Running, recorded

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

COMMAND = (sys.executable, "-m", "volumehealth", "sandbox")


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with a short path for a sandbox; whatever a failed test left in it is ended."""
    home = tmp_path_factory.mktemp("s") / "s"
    yield home
    run("down", home)


@pytest.fixture
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a short path for what a demo makes."""
    return tmp_path_factory.mktemp("d")


def run(command: str, home: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*COMMAND, command, f"--dir={home}"], capture_output=True, text=True, check=False, timeout=200
    )


def processes(home: Path) -> list[Running]:
    return [one for file in sorted((home / "pids").iterdir()) if (one := recorded(file))]


def test_up_outlives_its_command_status_shows_it_and_down_leaves_nothing(home: Path) -> None:
    up = run("up", home)
    assert up.returncode == 0, up.stderr
    assert f"source {home}/env" in up.stdout
    started = processes(home)
    assert len(started) == 6

    status = run("status", home)
    assert status.returncode == 0, status.stdout
    assert status.stdout.count("running  pid") == 6

    seen = subprocess.run(
        ["sh", "-c", f". {home}/env && kubectl get vhp -o json"], capture_output=True, text=True, check=True
    )
    (policy,) = json.loads(seen.stdout)["items"]
    assert policy["status"]["claims"]["selected"] == 7

    again = run("up", home)
    assert again.returncode == 2
    assert "sandbox down" in again.stderr

    started[-1].signal(signal.SIGKILL)
    started[-1].wait(10)
    assert run("status", home).returncode == 3

    down = run("down", home)
    assert down.returncode == 0, down.stderr
    assert not any(one.alive for one in started)
    assert not home.exists()
    assert run("status", home).returncode == 3


@pytest.mark.timeout(480)
def test_the_demo_tells_its_whole_story_and_leaves_nothing(scratch: Path) -> None:
    told = subprocess.run(
        [*COMMAND, "demo", "--once"],
        capture_output=True,
        text=True,
        check=False,
        timeout=450,  # as root a real disk hangs, and is let go, at the end of it
        env=os.environ | {"TMPDIR": str(scratch), "COLUMNS": "200"},
    )
    assert told.returncode == 0, told.stdout + told.stderr
    for word in ("DataLoss/DiskFailure", "Inaccessible/VolumeNotFound", "VolumeConditionNormal", "Recovered"):
        assert word in told.stdout
    assert "Inaccessible/IOStalled (Node worker-3)" in told.stdout or "Left out: " in told.stdout
    assert list(scratch.iterdir()) == []


def test_a_demo_that_is_interrupted_leaves_nothing(scratch: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "demo"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(scratch), "PYTHONUNBUFFERED": "1"},
    ) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "Installing the APIs" in line:
                break
        (home,) = scratch.glob("*/sandbox")
        started = processes(home)
        demo.send_signal(signal.SIGINT)
        demo.send_signal(signal.SIGTERM)
        rest = demo.stdout.read()
    assert "nothing is left behind" in rest
    assert demo.returncode == 130
    assert started
    assert not any(one.alive for one in started)
    assert list(scratch.iterdir()) == []
