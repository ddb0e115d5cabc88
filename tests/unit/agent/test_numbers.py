"""What the agent exports: as documented, of the volumes in use only; and when a volume will be full."""

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from support.nodetree import Node
from volumehealth.agent.exposition import NodeNumbers, exposition
from volumehealth.agent.numbers import node_numbers
from volumehealth.agent.usage import UsageBook, robust_slope
from volumehealth.csi.types import Unit, Usage
from volumehealth.model.ids import ClaimRef
from volumehealth.model.policy import CapacityCheck

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"
REF = ClaimRef("shop", "data")
GIB = 1024**3


def full(used: int, total: int = 10 * GIB) -> tuple[Usage, ...]:
    return (Usage(Unit.BYTES, total, used, total - used), Usage(Unit.INODES, 1000, 10, 990))


def growing(hours: float = 2.0, each: int = GIB // 12) -> UsageBook:
    book = UsageBook()
    for number in range(int(hours * 12)):
        book.note(REF, full(GIB + number * each), now=number * 300.0)
    return book


def everything() -> NodeNumbers:
    node = Node()
    node.files.disk("sda", "8:0")
    node.files.ext4("sda")
    node.volume()
    node.look(2)
    node.files.count("sda", reads=50, writes=50)
    return node_numbers([REF], growing(), {REF: node.look()["data"]}, log_gaps=2)


def test_names_and_labels_are_those_of_the_page() -> None:
    of_agent = PAGE.read_text().partition("## Of the node agent")[2]
    written = {
        (name, kind, frozenset(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \|", of_agent, re.MULTILINE)
    }
    exported = set()
    for family in text_string_to_metric_families(exposition(everything()).decode()):
        if family.name.startswith("volumehealth_"):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            (sample,) = family.samples
            exported.add((name, family.type, frozenset(sample.labels)))
    assert written == exported


def test_a_volume_that_is_not_in_use_any_more_has_no_series() -> None:
    book = growing()
    book.keep([])
    assert b"volumehealth_volume_capacity_bytes{" not in exposition(node_numbers([], book, {}, log_gaps=0))
    assert book.usage(REF) == ()


def test_a_volume_that_grows_by_a_gibibyte_an_hour_is_full_when_the_rest_is_used() -> None:
    hours = (growing().seconds_until_full(REF) or 0) / 3600
    assert hours == pytest.approx(10 - 1 - 23 / 12, rel=0.01)


def test_a_clean_up_does_not_turn_the_growth() -> None:
    book = growing()
    book.note(REF, full(GIB // 2), now=24 * 300.0)
    assert (book.seconds_until_full(REF) or 0) / 3600 == pytest.approx(9.5, rel=0.05)


@pytest.mark.parametrize("each", [0, -1000])
def test_a_volume_that_does_not_grow_has_no_end(each: int) -> None:
    assert growing(each=each).seconds_until_full(REF) is None


def test_growth_is_not_judged_by_few_samples() -> None:
    assert growing(hours=0.4).seconds_until_full(REF) is None
    assert robust_slope([(0.0, 1), (1.0, 2)]) == 0


def test_numbers_that_a_driver_does_not_know_are_not_exported() -> None:
    book = UsageBook()
    unknown = (Usage(Unit.BYTES, 0, 0, 0), Usage(Unit.INODES, 1000, 0, 0))
    book.note(REF, unknown, now=0, check=CapacityCheck())
    assert node_numbers([REF], book, {}, log_gaps=0).volumes[0].values == {}


@pytest.mark.parametrize(
    ("check", "percent"),
    [
        pytest.param(None, 0, id="of a volume whose space is not looked at"),
        pytest.param(CapacityCheck(), 10, id="of a policy that gives none"),
        pytest.param(CapacityCheck(warning_percent_free=25), 25, id="of a policy that gives one"),
    ],
)
def test_the_threshold_of_a_warning_is_exported(check: CapacityCheck | None, percent: int) -> None:
    book = UsageBook()
    book.note(REF, full(GIB), now=0, check=check)
    assert node_numbers([REF], book, {}, log_gaps=0).volumes[0].values["warning_percent_free"] == percent
