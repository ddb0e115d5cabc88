"""`volumehealth explain`: one page that fits, the same words before and after confirmation."""

import subprocess
import sys
from dataclasses import replace
from datetime import timedelta

import pytest
from click.testing import CliRunner

from support.health import START
from volumehealth.cli.explain import explain
from volumehealth.cli.explainoutput import length, show_explanation, show_node
from volumehealth.cli.reading import camel_case
from volumehealth.model.explanation import DriverWord, Explanation, Heard, Known, Said, Turn
from volumehealth.model.origin import Observer, Source
from volumehealth.oneshot.explainnode import ClaimThere, NodeStory

NOW = START + timedelta(minutes=3)
HEARD = Heard("Degraded", "Slow", "a rebuild is under way", "spec.rules[1]", "Pending", START, None, 300, 120)
PLAIN = Explanation(
    "shop/orders-db",
    "uid",
    NOW,
    told_by="Operator",
    phase="Bound",
    volume="pv-1",
    policy="storage",
    why="the only policy that selects it is storage",
    verdict="Healthy",
    basis="Driver",
    driver=DriverWord("d.example.com", "Answering", START, "VolumeCondition", ("ListVolumes",)),
    statements=(Said(Source.CONTROLLER, Observer.DRIVER, "", "Operator", "Healthy", NOW),),
)


def page(told: Explanation, width: int = 80) -> str:
    return show_explanation(told, width=width)


def test_what_waits_says_for_how_long_it_was_said_and_for_how_long_it_must_still_be() -> None:
    said = replace(PLAIN.statements[0], says="Adverse", conditions=(HEARD,))
    text = page(replace(PLAIN, statements=(said,)), 200)
    assert "said for 3m; confirmed if it is still said in 2m (waits 5m)" in text
    assert "rule: spec.rules[1]" in text
    assert text.endswith(
        "RUNBOOK\n  docs/runbooks.md\n"
    )  # Slow is a word of the driver: no section is about it
    people = replace(PLAIN, statements=(said,), runbooks="https://docs.example.com/runbooks.html")
    assert page(people, 200).endswith("RUNBOOK\n  https://docs.example.com/runbooks.html\n")


def test_a_text_of_others_steers_no_terminal_and_a_finding_without_an_origin_has_no_colon() -> None:
    finding = Known(Source.NODE, (), "w", "Degraded", "Slow", "bad \x1b[31mred \x9b2J", START, None)
    text = page(replace(PLAIN, told_by="Record", findings=(finding,)))
    assert all(line.isprintable() for line in text.split("\n"))
    assert "(Node w) since" in text


def test_what_is_looked_at_once_promises_no_time() -> None:
    said = replace(PLAIN.statements[0], says="Adverse", conditions=(replace(HEARD, left_seconds=None),))
    text = page(replace(PLAIN, told_by="Objects", statements=(said,)), 200)
    assert "the operator confirms what is said for 5m" in text
    assert "The operator was not reached" in text


def test_a_finding_says_when_it_was_confirmed_and_told_and_when_it_will_be_cleared() -> None:
    finding = Known(
        Source.NODE,
        (Observer.MOUNT_TABLE,),
        "worker-2",
        "Inaccessible",
        "VolumeUnmounted",
        "nothing is mounted",
        START,
        START + timedelta(minutes=1),
        clearing_since=NOW,
        clears_in_seconds=300,
    )
    text = page(replace(PLAIN, verdict="Unhealthy", findings=(finding,)), 200)
    assert "Inaccessible/VolumeUnmounted (Node worker-2: MountTable) since 23 Nov 03:02Z, 3m ago" in text
    assert "not told yet" in text
    assert "cleared if it stays so for 5m more" in text


def test_an_unmonitored_claim_says_where_it_stands_what_would_monitor_it() -> None:
    text = page(replace(PLAIN, verdict="Unmonitored", basis="", statements=()))
    assert "nothing here can say that it is healthy" in text
    assert "LAST WORDS" not in text


def test_a_clock_that_stands_is_shown_as_such() -> None:
    text = page(replace(PLAIN, waiting=(replace(HEARD, left_seconds=45),)), 200)
    assert "its source is silent, so its clock stands with 45s left" in text


@pytest.mark.parametrize("width", [40, 80, 132])
def test_the_page_fits_the_terminal_and_never_needs_more_than_80_columns(width: int) -> None:
    long = "a driver with a lot to say " * 12
    told = replace(
        PLAIN,
        why=long,
        unknown_message=long,
        statements=(replace(PLAIN.statements[0], says="Silent", reason="DriverUnreachable", message=long),),
        history=(Turn(START, long),),
        not_known=(long,),
    )
    assert max(map(len, page(told, width).splitlines())) <= max(80, width)


def test_a_node_says_whether_its_agent_lives_and_what_is_wrong_there_first() -> None:
    story = NodeStory(
        "worker-2",
        NOW,
        "Ready since 23 Nov 03:02Z",
        planned="cordoned since 23 Nov 03:02Z (kubectl cordon or drain): planned work",
        agent="alive 12 s ago",
        claims=(
            ClaimThere("shop/bad", ("bad-0",), "Unhealthy", "Inaccessible/IOError"),
            ClaimThere("shop/good", ()),
        ),
    )
    text = show_node(story, width=80)
    assert text.index("shop/bad  Unhealthy  Inaccessible/IOError") < text.index("1 of 2 claims")
    assert "PLANNED" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["orders-db"], "give the namespace with -n"),
        (["shop/orders/db"], "is not NAMESPACE/NAME"),
        (["shop/orders-db", "-n", "other"], "is not in the namespace other"),
        (["secret", "shop/a"], "is none of these"),
    ],
)
def test_a_wrong_name_is_a_sentence_with_a_way_out(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(explain, arguments)
    assert result.exit_code == 2
    assert words in result.output


def test_lengths_have_two_units_at_most() -> None:
    assert [length(seconds) for seconds in (0, 45, 80, 3600, 90061)] == ["0s", "45s", "1m20s", "1h", "1d1h"]


def test_data_has_names_as_kubernetes_writes_them() -> None:
    assert camel_case({"unknown_reason": [{"left_seconds": 1}]}) == {"unknownReason": [{"leftSeconds": 1}]}


@pytest.mark.parametrize(
    "module",
    ["volumehealth.cli.explain", "volumehealth.oneshot.explain", "volumehealth.oneshot.overview"],
)
def test_the_command_is_light(module: str) -> None:
    code = f"import sys, {module}; print([m for m in ('grpc', 'kopf', 'aiohttp', 'prometheus_client') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
