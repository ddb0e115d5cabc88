"""The page of harmless situations names tests that exist, and says of none that it was seen for real if it was not."""

import re
from pathlib import Path

import pytest

from unit.test_known_faults import names_in

PAGE = (Path(__file__).parents[2] / "docs" / "node-quiet.md").read_text()
ROW = re.compile(
    r"^\| (?P<cells>[^|]+(?: \| [^|]+)*) \| (?P<seen>[a-z, ]+) \| (?P<tests>`[^|]+) \|$", re.MULTILINE
)
ROWS = list(ROW.finditer(PAGE))
HARMLESS = {1, 2, *range(4, 8), *range(9, 29), *range(30, 38)}
"""Numbers of the list of harmless situations."""


def test_every_harmless_situation_has_its_row() -> None:
    numbers = [cells[0] for row in ROWS if (cells := row["cells"].split(" | "))[0].isdigit()]
    assert sorted(map(int, numbers)) == sorted(HARMLESS)
    assert len(ROWS) - len(numbers) == 11


@pytest.mark.parametrize("row", ROWS, ids=[row["cells"].partition(" | ")[0][:40] for row in ROWS])
def test_a_row_names_tests_that_exist_and_says_how_it_was_seen(row: "re.Match[str]") -> None:
    named = re.findall(r"`([^`]+)`", row["tests"])
    for test in named:
        path, _, name = test.partition("::")
        assert name in names_in(path), f"{test} does not exist"
    seen = {"real" if test.startswith(("node/", "e2e/")) else "recorded" for test in named}
    assert set(row["seen"].split(", ")) == seen
