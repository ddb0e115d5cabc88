"""Whatever a legacy driver says in whatever order: nothing is healthy but what it last called healthy."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from volumehealth.csi.types import GET_VOLUME, LIST_VOLUMES, VOLUME_CONDITION, DriverInfo
from volumehealth.model.health import Condition, Outcome
from volumehealth.probing.lists import ListAccumulator
from volumehealth.probing.moment import Moment
from volumehealth.probing.plan import make_plan
from volumehealth.probing.spec import ProbeLimits
from volumehealth.probing.store import VolumeStore

HANDLES = ("a", "b", "c")
START = Moment(datetime(2026, 11, 24, 3, 0, tzinfo=UTC), 0.0)
GOOD, BAD, NIL, ABSENT, NOT_FOUND, FAILED = "good", "bad", "nil", "absent", "not found", "failed"
WORDS: dict[str, tuple[Condition, ...]] = {GOOD: (), BAD: (Condition("Degraded", "VolumeConditionAbnormal"),)}

lists = st.tuples(
    st.just("list"), st.tuples(*[st.sampled_from([GOOD, BAD, NIL, ABSENT])] * len(HANDLES)), st.booleans()
)
gets = st.tuples(
    st.just("get"), st.sampled_from(HANDLES), st.sampled_from([GOOD, BAD, NIL, NOT_FOUND, FAILED])
)
capabilities = st.sampled_from([{LIST_VOLUMES}, {GET_VOLUME}, {LIST_VOLUMES, GET_VOLUME}])


def take_list(board: VolumeStore, words: tuple[str, ...], *, whole: bool, now: Moment) -> None:
    tally = ListAccumulator(frozenset(HANDLES))
    pairs = zip(HANDLES, words, strict=True)
    tally.add(tuple((handle, WORDS.get(word)) for handle, word in pairs if word != ABSENT))
    board.listed(tally.reading("" if whole else "cut"), now)


def take_get(board: VolumeStore, handle: str, word: str, *, now: Moment) -> None:
    if word == NOT_FOUND:
        board.gets.not_found(handle, now, "gone", enough=3)
    elif word == FAILED:
        board.gets.failed(handle, now, "INTERNAL")
    else:
        board.got(handle, WORDS.get(word), now)


@given(capabilities, st.lists(st.one_of(lists, gets), max_size=12))
def test_only_what_was_last_called_healthy_is_healthy(
    able: set[str], events: list[tuple[str, tuple[str, ...] | str, bool | str]]
) -> None:
    info = DriverInfo("sim", "1", True, True, frozenset({*able, VOLUME_CONDITION}))
    board = VolumeStore(make_plan(info), ProbeLimits())
    board.want(frozenset(HANDLES), frozenset())
    last: dict[str, str] = {}
    for number, (kind, what, more) in enumerate(events):
        now = START.later(float(number))
        if kind == "list" and LIST_VOLUMES in able and isinstance(what, tuple):
            take_list(board, what, whole=bool(more), now=now)
            # Where get can be asked, a list entry without a condition takes nothing back from what get said.
            unsaid = (ABSENT, NIL) if GET_VOLUME in able else (ABSENT,)
            last.update(
                (handle, word) for handle, word in zip(HANDLES, what, strict=True) if word not in unsaid
            )
        elif kind == "get" and isinstance(what, str) and what in board.targets:
            take_get(board, what, str(more), now=now)
            if more != NOT_FOUND:
                last[what] = str(more)
        view = board.view(now)
        assert not view.healthy & view.others.keys()
        assert all(last.get(handle) == GOOD for handle in view.healthy)
        assert all(handle in view.others for handle, word in last.items() if word == BAD)
        silent = [one for one in view.others.values() if one.outcome is Outcome.SILENT]
        assert all(one.reason for one in silent)
