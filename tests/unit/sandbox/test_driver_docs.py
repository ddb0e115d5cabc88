"""`docs/simulated-driver.md` tells what the driver can do, no more and no less."""

import re
from pathlib import Path

import pytest

from volumehealth.model.vocabulary import Described
from volumehealth_sandbox.driver_faults import SYMPTOMS, Fault
from volumehealth_sandbox.driver_quirks import Quirk

PAGE = (Path(__file__).parents[3] / "docs/simulated-driver.md").read_text()
ROW = re.compile(r"^\| `(\w+)` \| ([^|]+) \|", re.MULTILINE)


@pytest.mark.parametrize(
    ("kinds", "title"), [(Fault, "## Faults"), (Quirk, "## Bad habits")], ids=["faults", "habits"]
)
def test_the_table_is_the_enum(kinds: type[Described], title: str) -> None:
    section = PAGE.split(title)[1].split("\n## ")[0]
    assert ROW.findall(section) == [(kind.value, kind.description) for kind in kinds]


@pytest.mark.parametrize("fault", list(Fault), ids=str)
def test_the_table_has_the_drivers_words(fault: Fault) -> None:
    assert f"| {SYMPTOMS[fault].message} |" in PAGE
