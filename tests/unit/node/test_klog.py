"""How the kernel log is read, and what is new in it."""

import ctypes
import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volumehealth.node.klog import Line, LogTail, parse_line, read_kernel_log

BOOT = "<5>[    0.000000] Linux version 6.18.0"


@pytest.mark.parametrize(
    ("raw", "line"),
    {
        "a level and a time": ("<3>[   12.345678] I/O error, dev sda", Line("I/O error, dev sda", 12.345678)),
        "the thread that wrote it": ("<3>[   12.345678][ T123] gone", Line("gone", 12.345678)),
        "the processor that wrote it": ("<3>[   12.345678][    C7] gone", Line("gone", 12.345678)),
        "no time": ("<6>XFS (sda): Ending clean mount", Line("XFS (sda): Ending clean mount")),
        "a process wrote it": ("<12>[   12.3] I/O error, dev sda, sector 0", None),
        "a daemon wrote it": ("<30>[   12.3] systemd[1]: started", None),
        "the rest of a line that was cut": ("or, dev sda, sector 0", None),
        "nothing": ("", None),
    }.values(),
)
def test_a_line_is_the_kernels_or_none(raw: str, line: Line | None) -> None:
    assert parse_line(raw) == line


def texts(tail: LogTail, *raw: str) -> list[str]:
    return [line.text for line in tail.take("\n".join(raw) + "\n").lines]


def test_the_first_look_takes_all_and_knows_whether_it_reaches_back_to_the_boot() -> None:
    news = LogTail().take(f"{BOOT}\n<6>[    1.5] a\n")
    assert (news.first, news.lost, len(news.lines)) == (True, False, 2)
    assert LogTail().take("<6>[  500.5] a\n").lost


def test_later_looks_take_what_is_new() -> None:
    tail = LogTail()
    texts(tail, BOOT, "<6>[ 1.5] a")
    assert texts(tail, BOOT, "<6>[ 1.5] a", "<6>[ 1.5] b", "<6>[ 1.5] c") == ["b", "c"]
    assert texts(tail, BOOT, "<6>[ 1.5] a", "<6>[ 1.5] b", "<6>[ 1.5] c") == []


def test_lines_that_share_a_stamp_are_told_apart() -> None:
    tail = LogTail()
    texts(tail, "<6>[ 1.5] a", "<6>[ 1.5] b")
    assert texts(tail, "<6>[ 1.5] a", "<6>[ 1.5] b", "<6>[ 1.5] a") == ["a"]


def test_lines_without_time_are_told_apart_by_those_before_them() -> None:
    tail = LogTail()
    texts(tail, "<6>x", "<6>a")
    assert texts(tail, "<6>x", "<6>a", "<6>b", "<6>a") == ["b", "a"]


def test_the_place_is_found_while_the_last_line_is_there() -> None:
    tail = LogTail()
    texts(tail, *(f"<6>[ 1.{number}] {number}" for number in range(20)))
    news = tail.take("<6>[ 1.19] 19\n<6>[ 2.0] new\n")
    assert ([line.text for line in news.lines], news.lost) == (["new"], False)


def test_a_ring_that_wrapped_lost_lines() -> None:
    tail = LogTail()
    texts(tail, "<6>[ 1.5] a")
    news = tail.take("<6>[ 9.5] z\n")
    assert ([line.text for line in news.lines], news.lost, news.first) == (["z"], True, False)


def test_a_log_that_was_cleared_may_have_lost_lines_once() -> None:
    tail = LogTail()
    texts(tail, "<6>[ 1.5] a")
    assert tail.take("").lost
    assert not tail.take("<6>[ 2.5] b\n").lost


@given(st.lists(st.sampled_from("abc"), max_size=30), st.lists(st.sampled_from("abc"), max_size=30))
def test_nothing_is_seen_twice_where_the_kernel_prints_times(before: list[str], after: list[str]) -> None:
    raw = [f"<6>[    1.{number:06}] {text}" for number, text in enumerate([*before, *after])]
    tail = LogTail()
    texts(tail, *raw[: len(before)])
    assert texts(tail, *raw) == after


@given(st.text(max_size=200))
def test_no_text_makes_it_fail(text: str) -> None:
    tail = LogTail()
    tail.take(text)
    tail.take(text + "\n" + text)


def test_reading_takes_nothing_away_and_never_opens_kmsg(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        first = read_kernel_log()
    except OSError as error:
        assert error.errno in (errno.EPERM, errno.ENOSYS)  # noqa: PT017 - without the right there is nothing to read
        return
    assert first.startswith("<")
    assert read_kernel_log()[: len(first) // 2] == first[: len(first) // 2]
    assert not any(
        "kmsg" in os.readlink(one)
        for one in Path("/proc/self/fd").iterdir()
        if one.is_symlink() and one.exists()
    )


def test_a_refusal_keeps_its_errno(monkeypatch: pytest.MonkeyPatch) -> None:
    class Library:
        @staticmethod
        def klogctl(kind: int, buffer: object, size: int) -> int:
            ctypes.set_errno(errno.EPERM)
            return -1

    monkeypatch.setattr(ctypes, "CDLL", lambda *arguments, **options: Library())
    with pytest.raises(OSError, match="not permitted") as refused:
        read_kernel_log()
    assert refused.value.errno == errno.EPERM
