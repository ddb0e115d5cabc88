"""Legacy texts are compared without what changes from poll to poll (facts, D11)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volumehealth.judge.text import normalise, same_text

SAME = {
    "a growing duration in words (ceph-csi #6540)": (
        "health-check has not responded for 61 seconds",
        "health-check has not responded for 3601.25 seconds",
    ),
    "a duration as Go prints it": ("stuck for 59.9s", "stuck for 1h2m3s"),
    "a time at the end (PowerFlex)": (
        "Volume is not found at 2026-11-24T03:02:11Z",
        "Volume is not found at 2026-11-24T03:03:11.123456+01:00",
    ),
    "Go's time with its monotonic part": (
        "Volume is not found at 2026-11-24 03:02:11.5 +0000 UTC m=+12.25",
        "Volume is not found at 2026-11-25 13:02:11.75 +0000 UTC m=+1244.5",
    ),
    "a time as date prints it": (
        "seen Tue Nov 24 02:13:50 UTC 2026",
        "seen Wed Dec  2 12:13:50 UTC 2026",
    ),
    "a time as HTTP prints it": (
        "seen Tue, 24 Nov 2026 02:13:50 GMT",
        "seen Wed, 02 Dec 2026 12:13:50 GMT",
    ),
    "a UUID": (
        "volume 3b241101-e2bb-4255-8caf-4136c566a962 is gone",
        "volume aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee is gone",
    ),
    "a hex id": ("request 9f86d081884c failed", "request 0x2c26b46b68ff failed"),
    "a counter and an address": ("4 of 9 paths to 10.0.0.7:3260 lost", "3 of 9 paths to 10.0.0.8:3260 lost"),
    "blanks": ("path  lost\n", "path lost"),
}
DIFFERENT = {
    "another state": ("Volume X is in Failed state", "Volume X is in Offline state"),
    "a word that merely looks like hex": ("deadbeef feedface", "feedface deadbeef"),
    "another case": ("Offline", "offline"),
    "a month is a word when no date is around it": ("it may fail", "it june fail"),
}


@pytest.mark.parametrize("pair", SAME.values(), ids=SAME.keys())
def test_texts_that_say_the_same_normalise_to_the_same(pair: tuple[str, str]) -> None:
    assert same_text(*pair)


@pytest.mark.parametrize("pair", DIFFERENT.values(), ids=DIFFERENT.keys())
def test_texts_that_say_something_else_stay_different(pair: tuple[str, str]) -> None:
    assert not same_text(*pair)


def test_the_normalised_text_still_reads_like_the_text() -> None:
    assert normalise("health-check has not responded for 61 seconds") == (
        "health-check has not responded for # seconds"
    )


@given(st.text(alphabet="0123456789abcdefxT:-.,+ #ZsmhµUTCNovTue\n", max_size=80))
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)
