"""docs/walk.md tells the way of one answer as it is now: its stations are there, and its sums are right."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRODUCT = ROOT / "operator" / "volumehealth"
PAGE = (ROOT / "docs" / "walk.md").read_text()
SECTIONS = [part for part in PAGE.split("\n## ")[1:] if "| What happens |" in part]
STATION = re.compile(r"`([a-z_/]+\.py)`: ((?:`\w+`(?:, )?)+)")


def defined_in(path: Path) -> set[str]:
    """Return the classes and functions of a module, methods apart."""
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.parse(path.read_text()).body if isinstance(node, kinds)}


def stations(section: str) -> Iterator[tuple[str, str]]:
    """Yield file and name of each station of the last column."""
    for line in section.splitlines():
        if line.startswith("| ") and "**" not in line:
            for file, names in STATION.findall(line.rsplit(" | ", 1)[1]):
                for name in re.findall(r"`(\w+)`", names):
                    yield file, name


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.splitlines()[0])
def test_every_station_is_where_the_page_says(section: str) -> None:
    found = list(stations(section))
    assert len(found) > 5
    assert [(file, name) for file, name in found if name not in defined_in(PRODUCT / file)] == []


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.splitlines()[0])
def test_the_sums_of_the_page_are_right(section: str) -> None:
    found = list(stations(section))
    types = re.findall(r"`(\w+)`", section.partition("Types now: ")[2].partition(".\n")[0])
    last = next(line for line in section.splitlines() if line.startswith("| **Stations; files; types**"))
    told = last.rsplit(" | ", 1)[1].strip(" |*")
    assert told == f"{len(found)}; {len({file for file, _ in found})}; {len(types)}"


def test_every_type_is_a_class_of_the_product() -> None:
    modules = [path for path in PRODUCT.rglob("*.py") if "/pb/" not in str(path)]
    classes = set[str]().union(*map(defined_in, modules)) | {"ListVolumesResponse"}
    named = [
        name
        for section in SECTIONS
        for name in re.findall(r"`(\w+)`", section.partition("Types now: ")[2].partition(".\n")[0])
    ]
    assert len(SECTIONS) == 3
    assert [name for name in named if name not in classes] == []
