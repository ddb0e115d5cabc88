"""What drivers say is cleaned before anybody sees it (facts C3, D12)."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volumehealth.model.text import (
    MESSAGE_BYTES,
    REASON_BYTES,
    STATUS_BYTES,
    clean_message,
    clean_reason,
    clean_status,
)
from volumehealth.report.text import fit

KUBERNETES_REASON = re.compile(r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?")

MESSAGES = {
    "plain text stays": ("The volume isn't mounted", "The volume isn't mounted"),
    "other scripts stay": ("卷未找到 – volume perdu", "卷未找到 – volume perdu"),
    "the edges are trimmed": ("  gone \n", "gone"),
    "lines become one": ("gone\r\n\tfor good", "gone for good"),
    "terminal colours lose their power": ("\x1b[31mred\x1b[0m", "[31mred [0m"),
    "nulls go": ("a\x00b", "a b"),
    "what turns the line around goes": ("abc\u202edef", "abc def"),
    "nothing stays nothing": ("", ""),
}


@pytest.mark.parametrize(("said", "kept"), MESSAGES.values(), ids=MESSAGES.keys())
def test_message(said: str, kept: str) -> None:
    assert clean_message(said) == kept


def test_a_long_message_is_cut_between_characters_and_says_so() -> None:
    kept = clean_message("é" * 600)
    assert kept == "é" * 510 + "…"
    assert len(kept.encode()) <= MESSAGE_BYTES


def test_a_message_of_just_the_right_length_is_not_cut() -> None:
    assert clean_message("x" * MESSAGE_BYTES) == "x" * MESSAGE_BYTES


REASONS = {
    "CamelCase stays": ("VolumeNotFound", "VolumeNotFound"),
    "what Kubernetes takes stays": ("disk_failure:raid,5", "disk_failure:raid,5"),
    "words become CamelCase": ("disk is full", "DiskIsFull"),
    "dashes and dots go": ("io-error.read", "IoErrorRead"),
    "a number in front goes": ("404 not found", "NotFound"),
    "no letters at all": ("!!! 12", "VolumeConditionAbnormal"),
    "nothing": ("", "VolumeConditionAbnormal"),
    "a colon at the end goes": ("Degraded:", "Degraded"),
    "other scripts cannot be a reason": ("卷", "VolumeConditionAbnormal"),
}


@pytest.mark.parametrize(("said", "kept"), REASONS.values(), ids=REASONS.keys())
def test_reason(said: str, kept: str) -> None:
    assert clean_reason(said) == kept


@given(st.text(max_size=300))
def test_any_status_is_one_that_a_record_holds_as_it_is_or_none(said: str) -> None:
    kept = clean_status(said)
    assert kept == fit(kept, STATUS_BYTES) == clean_status(kept)
    assert kept.isprintable()


@given(st.text(max_size=3000))
def test_any_message_becomes_one_printable_bounded_line(said: str) -> None:
    kept = clean_message(said)
    assert kept.isprintable()
    assert len(kept.encode()) <= MESSAGE_BYTES
    assert clean_message(kept) == kept


@given(st.text(max_size=1000))
def test_any_reason_becomes_one_that_kubernetes_takes(said: str) -> None:
    kept = clean_reason(said)
    assert KUBERNETES_REASON.fullmatch(kept)
    assert len(kept.encode()) <= REASON_BYTES
    assert clean_reason(kept) == kept
