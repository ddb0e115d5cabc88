"""What the house promises of itself: the pipeline fits on one screen, and no computation in steps is left untaken."""

import ast
from pathlib import Path

import pytest
from mypy import api

ROOT = Path(__file__).parents[2]
PRODUCT = ROOT / "operator" / "volumehealth"
SCREEN = 80
"""Lines."""
A_COMPUTATION = """
from volumehealth.model.steps import Steps, at_once

class Computation:
    def run(self) -> Steps[int]:
        yield
        return 1

def whole(one: Computation) -> Steps[int]:
    return (yield from one.run()) + at_once(one.run())

def use(one: Computation) -> None:
    {call}
"""


def imports_of(path: Path) -> set[str]:
    """Return the modules that a file imports from."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module is not None}


def test_the_pipeline_fits_on_one_screen() -> None:
    assert len((PRODUCT / "pipeline.py").read_text().splitlines()) <= SCREEN


def test_a_day_is_written_for_a_person_in_one_place() -> None:
    writers = [path.name for path in PRODUCT.rglob("*.py") if "%b" in path.read_text()]
    assert writers == ["clock.py"]


@pytest.mark.parametrize("caller", ["app/assembly.py", "oneshot/check.py", "oneshot/standing.py"])
def test_the_operator_and_the_command_check_call_the_same_pipeline(caller: str) -> None:
    assert "volumehealth.pipeline" in imports_of(PRODUCT / caller)


@pytest.mark.parametrize(
    ("call", "errors"),
    [("one.run()", 1), ("whole(one)", 1), ("at_once(one.run())", 0), ("steps = one.run(); next(steps)", 0)],
)
def test_lint_refuses_a_computation_that_is_called_and_whose_steps_nobody_takes(
    call: str, errors: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plugin works inside the project's own packages, so the file is named as if it were one of them."""
    monkeypatch.chdir(ROOT)
    path = tmp_path / "support_example.py"
    path.write_text(A_COMPUTATION.format(call=call))
    said, wrong, _ = api.run(["--config-file", "pyproject.toml", str(path)])
    assert wrong == ""
    assert said.count("error:") == errors, said
    assert said.count("[unused-awaitable]") == errors
