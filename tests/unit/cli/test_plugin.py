"""`kubectl volumehealth` is `status`; completion scripts are Click's; colours only where they are wanted."""

import pytest
from click.testing import CliRunner

from volumehealth.cli.completion import completion
from volumehealth.cli.main import arguments
from volumehealth.cli.reading import screen


@pytest.mark.parametrize(
    ("line", "called"),
    [
        (["/usr/bin/kubectl-volumehealth"], ["status"]),
        (["kubectl-volumehealth", "-n", "shop"], ["status", "-n", "shop"]),
        (["kubectl-volumehealth", "-A"], ["status", "-A"]),
        (["kubectl-volumehealth", "--help"], ["--help"]),
        (["kubectl-volumehealth", "explain", "shop/a"], ["explain", "shop/a"]),
        (["volumehealth"], []),
        (["volumehealth", "-h"], ["-h"]),
    ],
)
def test_the_plugin_shows_the_status_where_no_command_is_named(line: list[str], called: list[str]) -> None:
    assert arguments(line) == called


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_a_script_that_asks_this_program(shell: str) -> None:
    result = CliRunner().invoke(completion, [shell])
    assert result.exit_code == 0
    assert "_VOLUMEHEALTH_COMPLETE" in result.output


def test_another_shell_is_refused_with_those_that_are_known() -> None:
    result = CliRunner().invoke(completion, ["csh"])
    assert result.exit_code == 2
    assert "bash" in result.output


def test_there_are_no_colours_with_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    assert screen()["color"] is False
