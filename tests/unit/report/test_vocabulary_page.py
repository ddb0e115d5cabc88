"""docs/vocabulary.md and docs/events.md say what the code says."""

import re
from enum import StrEnum
from pathlib import Path

import pytest

from volumehealth.model import health, vocabulary
from volumehealth.report.eventobjects import NORMAL

DOCS = Path(__file__).parents[3] / "docs"
LISTS: list[type[vocabulary.Described]] = [
    one
    for one in vars(vocabulary).values()
    if isinstance(one, type) and issubclass(one, vocabulary.Described) and one is not vocabulary.Described
]
STATES: list[type[StrEnum]] = [health.SourceState, health.HealthAPI, health.Verdict, health.Source]


def table(page: str, heading: str) -> list[tuple[str, ...]]:
    """Return the rows of the table under a heading."""
    section = re.split(r"^## ", (DOCS / page).read_text(), flags=re.MULTILINE)
    (body,) = [one for one in section if one.split("\n", 1)[0].endswith(f"`{heading}`")]
    rows = re.findall(r"^\| `(\S+)` \|(.*)\|$", body, re.MULTILINE)
    return [(name, *(cell.strip() for cell in cells.split("|"))) for name, cells in rows]


@pytest.mark.parametrize("names", LISTS, ids=lambda names: names.__name__)
def test_the_page_lists_every_name_with_its_sentence(names: type[vocabulary.Described]) -> None:
    assert table("vocabulary.md", names.__name__) == [(str(one), one.description) for one in names]


@pytest.mark.parametrize("names", STATES, ids=lambda names: names.__name__)
def test_the_page_lists_every_state(names: type[StrEnum]) -> None:
    assert [row[0] for row in table("vocabulary.md", names.__name__)] == [str(one) for one in names]


def test_the_page_of_events_lists_each_with_its_type() -> None:
    rows = table("events.md", "EventReason")
    assert [(row[0], row[1]) for row in rows] == [
        (str(reason), "Normal" if reason in NORMAL else "Warning") for reason in vocabulary.EventReason
    ]
