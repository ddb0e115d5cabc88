"""What the simulator calls right and wrong about telling: the judge of the judge."""

import pytest

from simulation.observe import Told
from simulation.telling import Mode, Patience, Segment, TellingChecker, calm, united

PATIENCE = Patience(ill=60.0, well=120.0, interval=10.0, timeout=5.0)
ILL = "VolumeConditionAbnormal"
WELL = "VolumeConditionNormal"


def told(at: float, reason: str, *, again: bool = False, name: str = "") -> Told:
    return Told(at, "uid", reason, name or f"event-{at}", "", again)


def story(*ends: float) -> list[Segment]:
    """Make segments, beginning well, from the moments of change."""
    starts = (0.0, *ends[:-1])
    return [
        Segment(start, end, bool(number % 2), PATIENCE)
        for number, (start, end) in enumerate(zip(starts, ends, strict=True))
    ]


def complaint(segments: list[Segment], *events: Told, disturbed: tuple[tuple[float, float], ...] = ()) -> str:
    return TellingChecker(segments, events, disturbed).complaint()


ONE_EPISODE = story(1000.0, 2000.0, 4000.0)


def test_one_episode_told_once_with_its_end_is_right() -> None:
    assert complaint(ONE_EPISODE, told(1070.0, ILL), told(2130.0, WELL)) == ""


@pytest.mark.parametrize(
    "events",
    [
        (),
        (told(1070.0, ILL),),
        (told(1070.0, ILL), told(1400.0, ILL), told(2130.0, WELL)),
        (told(1070.0, ILL), told(2130.0, WELL), told(2500.0, WELL)),
        (told(1020.0, ILL), told(2130.0, WELL)),
        (told(1070.0, ILL), told(2010.0, WELL)),
        (told(1900.0, ILL), told(2130.0, WELL)),
        (told(1070.0, ILL), told(1500.0, WELL), told(1700.0, ILL), told(2130.0, WELL)),
    ],
    ids=["nothing", "no end", "twice", "its end twice", "too soon", "end too soon", "late", "between"],
)
def test_an_episode_told_otherwise_is_wrong(events: tuple[Told, ...]) -> None:
    assert complaint(ONE_EPISODE, *events)


def test_an_end_is_told_again_only_where_its_receipt_may_be_lost_and_a_user_deleted_its_event() -> None:
    episode = told(1070.0, ILL), told(2130.0, WELL, name="end")
    again = told(2500.0, WELL, again=True, name="end")
    assert complaint(ONE_EPISODE, *episode, again)
    assert complaint(ONE_EPISODE, *episode, again, disturbed=((2100.0, 2400.0),))
    assert complaint(ONE_EPISODE, *episode, again, disturbed=((2100.0, 2600.0),)) == ""
    other = told(2500.0, WELL, again=True)
    assert complaint(ONE_EPISODE, *episode, other, disturbed=((2100.0, 2600.0),))


def test_what_is_short_is_never_told() -> None:
    short = story(1000.0, 1030.0, 4000.0)
    assert complaint(short) == ""
    assert complaint(short, told(1020.0, ILL), told(2000.0, WELL))


def test_what_is_between_may_be_told_or_not() -> None:
    between = story(1000.0, 1075.0, 4000.0)
    assert complaint(between) == ""
    assert complaint(between, told(1070.0, ILL), told(1210.0, WELL)) == ""


def test_a_disturbance_excuses_lateness_but_no_repetition() -> None:
    disturbed = ((1000.0, 1500.0),)
    assert complaint(ONE_EPISODE, told(1590.0, ILL), told(2130.0, WELL), disturbed=disturbed) == ""
    twice = (told(1100.0, ILL), told(1590.0, ILL), told(2130.0, WELL))
    assert complaint(ONE_EPISODE, *twice, disturbed=disturbed)


def test_an_event_that_expired_may_be_written_again_while_it_is_true() -> None:
    again = told(1900.0, ILL, again=True)
    assert complaint(ONE_EPISODE, told(1070.0, ILL), again, told(2130.0, WELL)) == ""
    assert complaint(ONE_EPISODE, told(1070.0, ILL), told(2130.0, WELL), told(3000.0, ILL, again=True))


def test_calm_is_what_disturbances_leave() -> None:
    disturbed = united([(10.0, 20.0), (15.0, 30.0), (50.0, 60.0)])
    assert calm(0.0, 70.0, disturbed) == [(0.0, 10.0), (30.0, 50.0), (60.0, 70.0)]
    assert calm(12.0, 18.0, disturbed) == []


def modes(mode: Mode) -> list[Segment]:
    """Make an episode in whose middle the claim is watched in another way."""
    well, ill, healed = ONE_EPISODE
    begins = Segment(ill.start, 1500.0, True, PATIENCE)
    other = Segment(1500.0, 1800.0, True, PATIENCE, mode)
    ends = Segment(1800.0, ill.end, True, PATIENCE)
    return [well, begins, other, ends, healed]


def test_what_nobody_watches_any_more_ends_without_a_word_and_is_another_episode_later() -> None:
    first, second, end = told(1070.0, ILL), told(1870.0, ILL), told(2130.0, WELL)
    assert complaint(modes(Mode.OFF), first, second, end) == ""
    assert complaint(modes(Mode.OFF), first, end)
    assert complaint(modes(Mode.OFF), first, told(1520.0, WELL), second, end)


def test_what_may_not_be_watched_while_it_is_well_may_end_without_a_word() -> None:
    well, ill, healed = ONE_EPISODE
    begins = Segment(healed.start, 2050.0, False, PATIENCE)
    unsure = Segment(2050.0, 3000.0, False, PATIENCE, Mode.UNSURE)
    later = Segment(3000.0, healed.end, False, PATIENCE)
    assert complaint([well, ill, begins, unsure, later], told(1070.0, ILL)) == ""
    watched = Segment(2050.0, 3000.0, False, PATIENCE)
    assert complaint([well, ill, begins, watched, later], told(1070.0, ILL))


def test_what_may_have_no_health_call_for_a_while_may_be_told_anew_and_what_has_one_may_not() -> None:
    well, ill, healed = ONE_EPISODE
    first, second, end = told(1070.0, ILL), told(1800.0, ILL), told(2130.0, WELL)
    begins, ends = Segment(1000.0, 1200.0, True, PATIENCE), Segment(1700.0, 2000.0, True, PATIENCE)
    unsure = Segment(1200.0, 1700.0, True, PATIENCE, Mode.UNSURE)
    assert complaint([well, begins, unsure, ends, healed], first, told(1600.0, ILL), end) == ""
    assert complaint([well, begins, unsure, ends, healed], first, second, end) == ""
    assert complaint([well, ill, healed], first, second, end)


def test_what_was_told_is_not_forgotten_while_the_spec_cannot_be_used() -> None:
    first, second, end = told(1070.0, ILL), told(1870.0, ILL), told(2130.0, WELL)
    assert complaint(modes(Mode.UNUSABLE), first, end) == ""
    assert complaint(modes(Mode.UNUSABLE), first, second, end)


def test_a_suspended_policy_leaves_everything_as_it_is() -> None:
    assert complaint(modes(Mode.PAUSED), told(1070.0, ILL), told(2130.0, WELL)) == ""
    assert complaint(modes(Mode.PAUSED), told(1070.0, ILL), told(1870.0, ILL), told(2130.0, WELL))


def test_what_was_forgotten_in_between_may_be_told_once_more() -> None:
    events = (told(1070.0, ILL), told(1580.0, ILL), told(2130.0, WELL))
    assert TellingChecker(ONE_EPISODE, events, (), [1500.0]).complaint() == ""
    assert TellingChecker(ONE_EPISODE, events, (), [1700.0]).complaint()
