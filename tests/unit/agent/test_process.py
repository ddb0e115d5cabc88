"""What the command takes, and what its process must not load."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from volumehealth.agent.settings import parse_node_settings
from volumehealth.cli.main import cli
from volumehealth.errors import SettingsError


def test_every_bad_value_is_reported_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        parse_node_settings(
            {"kubelet_dir": "kubelet", "mount_table": "/none", "node_name": "Worker_1", "log_level": "loud"}
        )
    assert [fault.partition(":")[0] for fault in caught.value.faults] == [
        "--log-level",
        "--kubelet-dir",
        "--mount-table",
        "--node-name",
    ]


def test_a_node_is_named_after_its_host_as_the_kubelet_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kubelet writes the host's name in small letters."""
    table = tmp_path / "mountinfo"
    table.touch()
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(nodename="Worker-1.example"))
    assert parse_node_settings({"mount_table": str(table)}).node == "worker-1.example"


def test_the_defaults_are_those_of_a_daemonset(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.touch()
    settings = parse_node_settings({"node_name": "worker-1", "mount_table": str(table)})
    assert settings.node == "worker-1"
    assert settings.kubelet_dir == "/var/lib/kubelet"
    assert settings.common.namespace == "volumehealth-system"


def test_the_command_says_what_it_does() -> None:
    result = CliRunner().invoke(cli, ["agent", "node", "--help"])
    assert result.exit_code == 0
    assert "--kubelet-dir" in result.output


PROCESSES = ("volumehealth.agent.process", "volumehealth.agent.controller_process")
TOO_LARGE = (
    "kubernetes",
    "kopf",
    "aiohttp",
    "rich",
    "yaml",
    "prometheus_client",
    "websocket",
    "requests_oauthlib",
)


@pytest.mark.parametrize("process", PROCESSES)
def test_what_an_agent_does_not_need_is_not_in_its_memory(process: str) -> None:
    program = (
        f"import sys, volumehealth.cli.main, volumehealth.cli.agent, {process};"
        f"print([name for name in {TOO_LARGE} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
