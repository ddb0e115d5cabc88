"""Every fault that was found once names tests that exist."""

import ast
import re
from functools import lru_cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
LINE = re.compile(r"^\| (?P<row>[A-I]\d+|field \d+) \| (?P<what>[^|]+) \| (?P<tests>[^|]+) \|$")
LINES = [
    found for line in (TESTS / "known_faults.md").read_text().splitlines() if (found := LINE.match(line))
]
FAULTS = {
    f"{letter}{number}"
    for letter, numbers in {
        "A": range(1, 4),
        "B": range(4, 7),
        "C": range(7, 10),
        "D": range(10, 13),
        "E": range(13, 16),
        "F": range(16, 20),
        "G": range(20, 22),
        "H": range(22, 30),
        "I": range(30, 32),
    }.items()
    for number in numbers
}
"""Rows of the list of wrong verdicts and lost words."""
FIELD = {f"field {number}" for number in (*range(1, 13), 14, 15, 16, 18, 19, 20, 21, 23, 24, 26, 27, 28, 30)}
"""Rows of the list of cases from the field."""


@lru_cache
def names_in(path: str) -> frozenset[str]:
    """Return the names of the tests in a file."""
    tree = ast.parse((TESTS / path).read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, functions))


def test_every_fault_has_its_row() -> None:
    rows = [line["row"] for line in LINES]
    assert len(rows) == len(set(rows))
    assert set(rows) == FAULTS | FIELD


@pytest.mark.parametrize("line", LINES, ids=[line["row"] for line in LINES])
def test_a_row_names_tests_that_exist(line: "re.Match[str]") -> None:
    named = re.findall(r"`([^`]+)`", line["tests"])
    assert named
    for test in named:
        path, _, name = test.partition("::")
        assert name in names_in(path), f"{test} does not exist"
