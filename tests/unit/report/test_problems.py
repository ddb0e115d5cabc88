"""Problems come worst first: by severity, within one what may cost data, then how many claims have it."""

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from support.health import make_claim, make_finding, make_health, make_result
from unit.report.scenes import pods_of
from volumehealth.model.health import MAY_COST_DATA, urgency
from volumehealth.report.problems import find_problems

ROOT = Path(__file__).parents[3]


def order(found: Iterable[tuple[str, str, int]]) -> list[str]:
    """Return the reasons of problems in their order.

    Args:
        found: status, reason, and on how many claims.
    """
    bad = []
    for status, reason, claims in found:
        for number in range(claims):
            claim = make_claim(f"{reason.lower()}-{number}")
            bad.append((claim, make_health(claim, make_finding(status=status, reason=reason))))
    return [problem.group.reason for problem in find_problems(make_result(bad), pods_of)]


def test_one_corrupt_filesystem_comes_before_a_node_with_six_volumes() -> None:
    assert order([("Inaccessible", "NodeFailed", 6), ("Inaccessible", "FilesystemCorrupted", 1)]) == [
        "FilesystemCorrupted",
        "NodeFailed",
    ]


def test_severity_comes_before_what_may_cost_data() -> None:
    assert order([("Degraded", "ReplicaLost", 9), ("Inaccessible", "NodeFailed", 1)]) == [
        "NodeFailed",
        "ReplicaLost",
    ]


def test_among_what_may_cost_data_and_among_the_rest_the_most_claims_come_first() -> None:
    found = [
        ("Inaccessible", "VolumeNotFound", 1),
        ("Inaccessible", "BackendError", 3),
        ("Inaccessible", "IOError", 2),
        ("Inaccessible", "ServerNotResponding", 4),
    ]
    assert order(found) == ["IOError", "VolumeNotFound", "ServerNotResponding", "BackendError"]


@pytest.mark.parametrize("reason", ["VolumeNotFound", "AWordOfADriver", ""])
def test_a_worse_status_is_more_urgent_whatever_the_reason(reason: str) -> None:
    ranks = [urgency(status, reason) for status in ("DataLoss", "Inaccessible", "ANewerWord", "Degraded")]
    assert ranks == sorted(ranks, reverse=True)
    assert urgency("Inaccessible", "NodeFailed") > urgency("ANewerWord", "VolumeNotFound")


def test_the_page_names_what_may_cost_data() -> None:
    page = (ROOT / "docs/judging.md").read_text()
    (section,) = re.findall(r"^## What comes first\n(.*?)(?=^## )", page, re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"^- `(\w+)`:", section, re.MULTILINE)) == MAY_COST_DATA
