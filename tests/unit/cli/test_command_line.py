"""The command line as a person meets it: a separate process, its output and its exit status."""

import subprocess
import sys

import click
import pytest

from volumehealth import __version__
from volumehealth.cli.main import cli


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


@pytest.mark.parametrize(
    ("command", "has"), [(["operator"], True), (["agent", "controller"], True), (["check"], False)]
)
def test_only_who_asks_again_and_again_can_be_told_how_busy_to_keep_a_driver(
    command: list[str], has: bool
) -> None:
    assert ("--csi-busy-percent" in run(*command, "--help").stdout) is has


def test_bad_flags_stop_it_at_start_with_every_fault() -> None:
    result = run("operator", "--csi-endpoint", "x", "--log-level", "loud", "--metrics-address", "y")

    assert result.returncode == 2
    assert result.stderr.count("Error: --") == 3
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", [["operator"], ["check"], ["agent", "node"], ["agent", "controller"]])
def test_a_socket_that_nobody_can_open_is_a_bad_flag_and_says_nothing_of_volumes(command: list[str]) -> None:
    result = run(*command, "--csi-endpoint", f"a.example=unix:///{'x' * 200}")

    assert result.returncode == 2
    assert "107 bytes at most" in result.stderr
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


@pytest.mark.parametrize(
    "words",
    [
        ["history", "shop/my claim"],
        ["history", "shop/.."],
        ["explain", "node", "a b"],
        ["explain", "node", "ä"],
        ["explain", "pv", "pvc-1?watch=1"],
        ["explain", "pv", "a/b"],
        ["explain", "db 0", "-n", "shop"],
        ["explain", "db", "-n", "shop/pods"],
        ["status", "-n", "a b"],
        ["report", "-n", "a b"],
        ["support", "--operator-namespace", "a\r\nb"],
        ["check", "--explain", "shop/a b"],
        ["silence", "node", "a\r\nX: y", "--for", "1h"],
        ["unsilence", "namespace", "shop/persistentvolumeclaims/db"],
    ],
    ids=" ".join,
)
def test_what_can_be_no_name_is_refused_before_it_becomes_part_of_a_path(words: list[str]) -> None:
    """It ended in a traceback and exit status 1, or asked for another object."""
    result = run(*words)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert "no credentials" not in result.stderr


@pytest.mark.parametrize(
    ("error", "status"),
    [(KeyboardInterrupt(), 130), (BrokenPipeError(), 141), (click.ClickException("x cannot be written"), 2)],
)
def test_what_is_ended_from_outside_says_nothing_of_volumes(
    error: BaseException, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.dup2", lambda *_: None)

    @click.command()
    def ends() -> None:
        raise error

    monkeypatch.setattr(type(cli), "get_command", lambda *_: ends)
    with pytest.raises(SystemExit) as ended:
        cli.main(["ends"], standalone_mode=True)
    assert ended.value.code == status


def test_a_letter_that_the_terminal_does_not_have_is_no_traceback() -> None:
    """Where texts of others are shown: with a locale of Latin 1 their first other letter ended the command with 1."""
    code = (
        "import sys; sys.argv = ['volumehealth', '--version']\n"
        "from volumehealth.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: print('\\u6570')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONIOENCODING": "latin-1"},
    )
    assert done.stdout.endswith("\\u6570\n")


def test_a_closed_pipe_is_no_traceback() -> None:
    line = f"{sys.executable} -m volumehealth completion bash"
    ended = subprocess.run(
        ["bash", "-c", f"{line} | true; echo ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.stdout.strip() in ("0", "141")
    assert ended.stderr == ""


def test_a_claim_to_explain_needs_its_namespace() -> None:
    result = run("check", "--explain", "orders-db", "--wait", "soon")

    assert result.returncode == 2
    assert "--explain: 'orders-db' is not NAMESPACE/CLAIM" in result.stderr
    assert "--wait: 'soon'" in result.stderr
