"""Every reason that this project gives has a runbook, with the same six parts."""

import re
from pathlib import Path

import pytest

from volumehealth.model.runbooks import runbook
from volumehealth.model.vocabulary import Reason

PAGE = (Path(__file__).parents[3] / "docs" / "runbooks.md").read_text()
SECTIONS = dict(
    re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", PAGE.split("## Reasons")[1], re.MULTILINE | re.DOTALL)
)
PARTS = ("How sure", "Look at", "First", "Call the storage vendor", "Do not")


@pytest.mark.parametrize("reason", list(Reason), ids=str)
def test_every_reason_has_a_runbook(reason: Reason) -> None:
    assert str(reason) in SECTIONS


@pytest.mark.parametrize("name", SECTIONS)
def test_every_runbook_says_how_sure_it_is_what_to_do_and_what_not(name: str) -> None:
    assert re.findall(r"^- ([^:]+):", SECTIONS[name], re.MULTILINE) == list(PARTS)


@pytest.mark.parametrize("reason", list(Reason), ids=str)
def test_the_address_of_a_runbook_is_a_section_of_the_page(reason: Reason) -> None:
    page, _, section = runbook(reason, "https://docs.example.com/runbooks.html").partition("#")
    assert page == "https://docs.example.com/runbooks.html"
    assert section in {name.lower() for name in SECTIONS}


def test_a_reason_that_a_driver_chose_leads_to_the_page() -> None:
    assert runbook("VendorWord") == "docs/runbooks.md"
