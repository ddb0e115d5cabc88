"""The command line as a person meets it: a separate process, its output and its exit status."""

import subprocess
import sys

import pytest

from volumehealth import __version__


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "volumehealth", *arguments]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"HOME": "/nonexistent", **environment},
    )


def test_it_tells_its_version() -> None:
    assert __version__ in run("--version").stdout


@pytest.mark.parametrize(
    "command",
    [[], ["operator"], ["check"], ["sandbox"], ["explain"], ["completion"]],
    ids=" ".join,
)
def test_every_command_explains_itself(command: list[str]) -> None:
    result = run(*command, "--help")

    assert result.returncode == 0
    assert "Usage: volumehealth" in result.stdout
    assert r"\b" not in result.stdout, "a paragraph whose lines are to stay as they are"


def test_bad_flags_stop_it_at_start_with_every_fault() -> None:
    result = run("operator", "--csi-endpoint", "x", "--log-level", "loud", "--metrics-address", "y")

    assert result.returncode == 2
    assert result.stderr.count("Error: --") == 3
    assert "Traceback" not in result.stderr


def test_a_flag_may_come_from_the_environment() -> None:
    result = run("operator", VOLUMEHEALTH_LOG_LEVEL="loud")

    assert result.returncode == 2
    assert "--log-level: 'loud'" in result.stderr


def test_a_flag_wins_over_the_environment() -> None:
    result = run("operator", "--log-level", "quiet", VOLUMEHEALTH_LOG_LEVEL="loud")

    assert "'quiet'" in result.stderr


@pytest.mark.parametrize("command", ["operator", "check"])
def test_no_credentials_is_one_sentence(command: str) -> None:
    result = run(command, *(["--metrics-address=", "--health-address="] if command == "operator" else []))

    assert result.returncode == 2
    assert "no credentials for the API server" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_claim_to_explain_needs_its_namespace() -> None:
    result = run("check", "--explain", "orders-db", "--wait", "soon")

    assert result.returncode == 2
    assert "--explain: 'orders-db' is not NAMESPACE/CLAIM" in result.stderr
    assert "--wait: 'soon'" in result.stderr
