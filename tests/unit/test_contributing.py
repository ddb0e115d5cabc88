"""CONTRIBUTING.md says where an addition goes, and the code is so: nothing but its list knows a source or an output."""

import ast
import re
import shutil
import subprocess
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

from volumehealth.report import notifications, outputs
from volumehealth.report.output import Output
from volumehealth.sources import sourcelist
from volumehealth.sources.context import ContextSource

LISTS = (outputs, notifications, sourcelist)
"""Imported so that every source and output is there."""

ROOT = Path(__file__).parents[2]
PRODUCT = ROOT / "operator" / "volumehealth"
ROWS = {
    cells[0]: cells[1:]
    for line in (ROOT / "CONTRIBUTING.md").read_text().splitlines()
    if line.startswith(("| a ", "| an "))
    for cells in [[cell.strip() for cell in line.strip("|").split("|")]]
}
ALWAYS = ("CHANGELOG.md", "pyproject.toml", "requirements.lock", "requirements-dev.lock")
PROOFS = {
    "a source": "Read what other health monitors write into annotations of claims and volumes",
    "an output": "Send notifications as CloudEvents over HTTP, owed in the record until the receiver has them",
}


def paths_of(row: str) -> list[str]:
    """Return the paths that a row names, as patterns below the root of the repository."""
    named = re.findall(r"`([^`]+\.(?:py|md))`", " ".join(ROWS[row]))
    rooms = {room.name for room in PRODUCT.iterdir()}
    return [
        (f"operator/volumehealth/{path}" if path.split("/")[0] in rooms else path).replace("NAME", "*")
        for path in named
    ]


@cache
def imports() -> dict[str, set[str]]:
    """Return the files of the product that import a module, by the module's name."""
    found: dict[str, set[str]] = {}
    for path in PRODUCT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module is not None:
                found.setdefault(node.module, set()).add(str(path.relative_to(PRODUCT)))
    return found


def importers(module: str) -> set[str]:
    """Return the files of the product that import a module of it."""
    return imports()[module]


@pytest.mark.parametrize("row", ROWS)
def test_the_files_that_a_row_names_are_there(row: str) -> None:
    missing = [path for path in paths_of(row) if not list(ROOT.glob(path))]
    assert missing == []
    assert paths_of(row)


@pytest.mark.parametrize("source", ContextSource.__subclasses__(), ids=lambda source: str(source.name))
def test_nothing_but_the_list_knows_a_source(source: type[ContextSource]) -> None:
    assert importers(source.__module__) == {"sources/sourcelist.py"}


@pytest.mark.parametrize(
    "output",
    [one for one in Output.__subclasses__() if one.__module__.startswith("volumehealth.report")],
    ids=lambda output: str(output.name),
)
def test_nothing_but_the_list_knows_an_output(output: type[Output]) -> None:
    assert importers(output.__module__) - {"report/reporter.py"} <= {"report/outputs.py"}


def test_built_in_rules_and_known_drivers_are_tables_that_a_new_entry_needs_no_reader_for() -> None:
    assert importers("volumehealth.judge.builtin") == {"judge/rules.py"}
    assert importers("volumehealth.model.known_drivers") == {"report/drivers.py", "oneshot/preflight.py"}


@pytest.mark.parametrize("row", PROOFS)
def test_a_real_addition_touched_what_its_row_says(row: str) -> None:
    """The proof commits, where the history is there."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("no history")
    log = ["log", "--name-only", "--format=", "--fixed-strings", f"--grep={PROOFS[row]}", "-1"]
    said = subprocess.run([git, "-C", str(ROOT), *log], capture_output=True, text=True, check=False)
    files = said.stdout.split()
    if not files:
        pytest.skip("a clone without the whole history")
    allowed = (*paths_of(row), *ALWAYS)
    assert [path for path in files if not any(fnmatch(path, one) for one in allowed)] == []
