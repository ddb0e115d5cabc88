"""The pure parts of the benchmark: what it says of what it saw."""

from benchmarks.bench import Request
from benchmarks.bulkdriver import BulkDriver
from benchmarks.lines.burst import most_at_once
from benchmarks.table import Line, as_json, markdown

from volumehealth.csi.client import volume_entries
from volumehealth.csi.pb import csi_pb2 as pb


def a_request(begun: float, ended: float) -> Request:
    return Request("create", "events", "e", 201, begun, ended)


def test_requests_that_meet_are_not_at_once() -> None:
    assert most_at_once([a_request(0, 1), a_request(1, 2)]) == 1


def test_the_most_at_once_is_counted() -> None:
    assert most_at_once([a_request(0, 3), a_request(1, 4), a_request(2, 5), a_request(6, 7)]) == 3
    assert most_at_once([]) == 0


def test_the_table_is_markdown_with_a_word_on_each_goal() -> None:
    lines = [
        Line("fast", "at most 2 x", "1 s", "1.5 s", 1.5, True),
        Line("slow", "at most 2 x", "1 s", "3 s", 3.0, False, {"n": 1}),
        Line("told", "-", "", "4", None, None),
    ]
    head, rule, *rows = markdown(lines).splitlines()
    assert head.startswith("| line ")
    assert set(rule) == {"|", "-"}
    assert [row.split("|")[-2].strip() for row in rows] == ["met", "MISSED", ""]
    assert len({len(row) for row in (head, rule, *rows)}) == 1
    assert as_json(lines)[1]["detail"] == {"n": 1}


def test_the_bulk_driver_speaks_the_protocol_that_the_product_reads() -> None:
    driver = BulkDriver("bulk.example.com", "vol-", 3, lists=True)
    driver._make_up_its_mind(1)
    entries = volume_entries(pb.ListVolumesResponse.FromString(driver._list).entries)
    assert [(handle, bool(conditions)) for handle, conditions in entries] == [
        ("vol-1", True),
        ("vol-2", False),
        ("vol-3", False),
    ]
