"""How long a source must go on, counted between its answers and by no wall clock."""

from datetime import timedelta

from unit.judge.harness import (
    CLOSED,
    DEAD,
    FOUND,
    LOST,
    RECOVERED,
    SLOW,
    START,
    Court,
    adverse,
    healthy,
    settings,
    silent,
)
from volumehealth.judge.claim import judge_claim, not_after, resumed
from volumehealth.model.health import Answer, ClaimHealth, Condition, Source, Verdict
from volumehealth.model.ids import ClaimRef
from volumehealth.model.origin import Observer, Origin
from volumehealth.model.policy import Rule, RuleMatch
from volumehealth.sources.origins import unused

NOT_ATTACHED = Condition("Inaccessible", "NotAttached", "host h is not attached to volume v")
INITIALIZING = Condition("Degraded", "BackendError", "Volume v is in Initializing state")
TEXT = Condition("Degraded", "VolumeConditionAbnormal", "offline")
IGNORED = Condition("Degraded", "VolumeConditionAbnormal", "resizing")
IGNORE = Rule(RuleMatch(message="^resizing$"), ignore=True)
TWO_RULES = [
    Rule(RuleMatch(reason="NotAttached"), unhealthy_after=timedelta(minutes=15)),
    Rule(RuleMatch(reason="BackendError"), unhealthy_after=timedelta(minutes=60)),
]


class TestInWhateverWords:
    def test_a_driver_that_says_two_reasons_in_turn_for_ten_hours_is_unhealthy(self) -> None:
        court = Court()
        court.hears(healthy())
        verdicts = [court.hears(adverse((SLOW, LOST)[poll % 2]), after=1).verdict for poll in range(600)]
        assert verdicts[:2] == [Verdict.HEALTHY] * 2
        assert set(verdicts[2:]) == {Verdict.UNHEALTHY}
        assert len(court.notified) <= 2

    def test_of_two_texts_that_two_rules_map_the_shorter_delay_is_waited_for(self) -> None:
        court = Court(settings(rules=TWO_RULES))
        for poll in range(16):
            court.hears(adverse((NOT_ATTACHED, INITIALIZING)[poll % 2]), after=1)
            assert bool(court.notified) is (poll == 15)
        assert court.notified == [(FOUND, "BackendError", 1)]  # what is said in the sixteenth poll
        court.hears(adverse(NOT_ATTACHED), after=1)
        assert court.notified[1:] == [(FOUND, "NotAttached", 1)]  # it is worse

    def test_a_delay_counts_from_when_its_words_were_first_said(self) -> None:
        court = Court(settings(rules=TWO_RULES[:1]))
        for _ in range(14):
            court.hears(adverse(NOT_ATTACHED), after=1)
        court.hears(adverse(SLOW), after=1)
        assert court.notified == []

    def test_a_driver_with_a_new_reason_at_every_poll_is_unhealthy_and_told_of_once(self) -> None:
        court = Court()
        for poll in range(5):
            judgement = court.hears(adverse(Condition("Degraded", f"Code{poll}")), after=1)
        assert judgement.verdict is Verdict.UNHEALTHY
        assert court.notified == [(FOUND, "Code2", 1)]
        assert judgement.health is not None
        assert judgement.health.findings[0].since == START + timedelta(minutes=1)

    def test_a_driver_with_a_new_reason_at_every_poll_is_told_of_once_however_long_it_lasts(self) -> None:
        court = Court()
        records = set()
        for poll in range(120):
            judgement = court.hears(adverse(Condition("Degraded", f"Code{poll}")), after=1)
            if poll > 2:
                assert judgement.health is not None
                records.add(judgement.health.findings)
        assert court.notified == [(FOUND, "Code2", 1)]
        assert {(one.reason, one.clear_since) for found in records for one in found} == {("Code2", None)}
        for _ in range(5):
            court.hears(healthy(), after=1)
        assert court.notified == [(FOUND, "Code2", 1)], "it was said for four minutes that it is well"
        court.hears(healthy(), after=1)
        assert court.notified[1:] == [(RECOVERED, "Code2", 1)]

    def test_a_word_that_lasts_takes_the_place_of_one_that_is_said_no_more(self) -> None:
        court = Court()
        for poll in range(10):
            court.hears(adverse(Condition("Degraded", f"Code{poll}")), after=1)
        for _ in range(10):
            court.hears(adverse(SLOW), after=1)
        assert court.notified == [
            (FOUND, "Code2", 1),
            (FOUND, "Slow", 1),
            (RECOVERED, "Code2", 1),
        ]

    def test_a_word_with_a_delay_of_its_own_takes_the_place_once_it_lasted_as_long_as_a_recovery(
        self,
    ) -> None:
        court = Court(settings(rules=[Rule(RuleMatch(reason="Slow"), unhealthy_after=timedelta(hours=1))]))
        for poll in range(10):
            court.hears(adverse(Condition("Degraded", f"Code{poll}")), after=1)
        for _ in range(15):
            court.hears(adverse(SLOW), after=1)
        assert court.notified == [
            (FOUND, "Code2", 1),
            (RECOVERED, "Code2", 1),
            (FOUND, "Slow", 1),
        ]

    def test_a_finding_that_gives_way_to_other_words_leaves_no_healthy_moment(self) -> None:
        court = Court(settings(rules=[Rule(RuleMatch(reason="Slow"), unhealthy_after=timedelta(hours=1))]))
        for _ in range(4):
            court.hears(adverse(LOST), after=1)
        verdicts = {court.hears(adverse(SLOW), after=1).verdict for _ in range(10)}
        assert verdicts == {Verdict.UNHEALTHY}
        assert court.notified == [
            (FOUND, "VolumeNotFound", 1),
            (RECOVERED, "VolumeNotFound", 1),
            (FOUND, "Slow", 1),
        ]

    def test_a_healthy_answer_between_the_words_begins_anew(self) -> None:
        court = Court()
        for poll in range(20):
            court.hears((adverse(SLOW), adverse(LOST), healthy())[poll % 3], after=1)
        assert court.notified == []

    def test_a_finding_that_is_said_again_after_a_clean_answer_lends_its_time_to_a_worse_word(self) -> None:
        court = Court()
        for _ in range(3):
            court.hears(adverse(SLOW), after=1)
        court.hears(healthy(), after=1)
        for _ in range(3):
            court.hears(adverse(SLOW), after=1)
        court.hears(adverse(LOST), after=1)
        assert court.notified == [(FOUND, "Slow", 1), (FOUND, "VolumeNotFound", 1)]

    def test_one_place_lends_no_time_to_another(self) -> None:
        court = Court()
        for node in ("n1", "n2", "n3", "n4"):
            court.hears(adverse(SLOW, source=Source.NODE, node=node), after=1)
        assert court.notified == []

    def test_a_loss_of_data_that_is_confirmed_at_once_lends_no_time_to_other_words(self) -> None:
        court = Court(settings(healthy_after=0))
        court.hears(adverse(DEAD))
        court.hears(adverse(SLOW), after=1)
        assert court.notified == [(FOUND, "DiskFailed", 1), (RECOVERED, "DiskFailed", 1)]

    def test_an_ignored_text_stops_the_clock_and_does_not_reset_it(self) -> None:
        court = Court(settings(rules=[IGNORE]))
        court.hears(adverse(TEXT))
        court.hears(adverse(TEXT), after=1)
        for _ in range(10):
            court.hears(adverse(IGNORED), after=1)
        assert court.notified == []
        court.hears(adverse(TEXT), after=1)
        assert court.notified == []
        court.hears(adverse(TEXT), after=1)
        assert court.notified == [(FOUND, "VolumeConditionAbnormal", 1)]

    def test_a_nil_answer_stops_the_clock_and_does_not_reset_it(self) -> None:
        court = Court()
        for answer in (adverse(LOST), adverse(LOST), silent(reason="NoCondition"), adverse(SLOW)):
            court.hears(answer, after=1)
        assert court.notified == []
        court.hears(adverse(LOST), after=1)
        assert court.notified == [(FOUND, "VolumeNotFound", 1)]


class TestAnsweredTime:
    def test_two_adverse_answers_with_an_hour_of_silence_between_are_not_an_hour(self) -> None:
        court = Court()
        court.hears(adverse(LOST))
        for _ in range(60):
            court.hears(silent(), after=1)
        court.hears(adverse(LOST))
        assert court.notified == []

    def test_two_adverse_answers_an_hour_apart_that_nobody_looked_between_are_not_an_hour(self) -> None:
        court = Court()
        court.hears(adverse(LOST))
        court.hears(adverse(LOST), after=60)
        assert court.notified == []

    def test_two_healthy_answers_with_an_hour_of_silence_between_are_no_recovery(self) -> None:
        court = Court()
        court.hears(adverse(DEAD))
        court.hears(healthy(), after=1)
        for _ in range(60):
            court.hears(silent(), after=1)
        court.hears(healthy())
        assert court.notified == [(FOUND, "DiskFailed", 1)]

    def test_an_answer_that_is_seen_late_counts_until_it_was_given_and_no_longer(self) -> None:
        court = Court()
        court.hears(adverse(LOST))
        court.hears(adverse(LOST), after=2, ago=1)
        assert court.notified == [], "adverse for a minute is all that was answered"
        court.hears(adverse(LOST), after=1, ago=1)
        assert court.notified == [(FOUND, "VolumeNotFound", 1)]

    def test_a_recovery_counts_until_the_last_healthy_answer_and_no_longer(self) -> None:
        court = Court()
        court.hears(adverse(DEAD))
        court.hears(healthy(), after=1)
        court.hears(healthy(), after=5, ago=1)
        assert court.notified == [(FOUND, "DiskFailed", 1)]
        court.hears(healthy(), after=1)
        assert court.notified[1:] == [(RECOVERED, "DiskFailed", 1)]

    def test_what_runs_out_is_known_with_the_moment_from_which_an_answer_completes_it(self) -> None:
        court = Court()
        assert court.runs_out() == []
        court.hears(adverse(LOST), after=1)
        assert court.runs_out() == [60.0 + 120.0]
        court.hears(adverse(LOST), after=1)
        assert court.runs_out() == [180.0], "the delay goes on"
        court.hears(adverse(LOST), after=1)
        assert court.runs_out() == [], "confirmed"
        court.hears(healthy(), after=1)
        assert court.runs_out() == [240.0 + 300.0]
        court.hears(silent(), after=1)
        assert court.runs_out() == [], "its clock stands"

    def test_one_healthy_answer_is_no_recovery_while_another_who_said_the_same_answers_on(self) -> None:
        """A driver that is asked every ten minutes, and the kubelet, whose object is looked at in every check."""
        court = Court()
        by_kubelet = adverse(LOST, source=Source.NODE, node="n1", observer=Observer.API)
        for _ in range(4):
            court.hears(adverse(LOST, source=Source.NODE, node="n1"), by_kubelet, after=1)
        assert court.notified == [(FOUND, "VolumeNotFound", 1)]
        driver, kubelet = healthy(Source.NODE, "n1"), healthy(Source.NODE, "n1", observer=Observer.API)
        for minute in range(10):
            court.hears_each((driver, minute), (kubelet, 0), after=1)
        assert court.notified == [(FOUND, "VolumeNotFound", 1)]
        court.hears_each((driver, 0), (kubelet, 0), after=1)
        assert court.notified[1:] == [(RECOVERED, "VolumeNotFound", 1)]

    def test_two_healthy_answers_with_a_restart_between_are_no_recovery(self) -> None:
        court = Court()
        court.hears(adverse(DEAD))
        court.hears(healthy(), after=1)
        court.restarts()
        court.hears(healthy(), after=60)
        assert court.notified == [(FOUND, "DiskFailed", 1)]
        court.hears(healthy(), after=5)
        assert court.notified[1:] == [(RECOVERED, "DiskFailed", 1)]


class TestWallClock:
    def test_set_back_by_an_hour_it_delays_no_confirmation(self) -> None:
        court = Court()
        court.hears(adverse(LOST))
        court.sets_wall_clock(-60)
        court.hears(adverse(LOST), after=1)
        judgement = court.hears(adverse(LOST), after=1)
        assert court.notified == [(FOUND, "VolumeNotFound", 1)]
        assert judgement.health is not None
        assert judgement.health.findings[0].since <= court.now

    def test_set_back_by_an_hour_it_delays_no_recovery(self) -> None:
        court = Court()
        court.hears(adverse(DEAD))
        court.hears(healthy(), after=1)
        court.sets_wall_clock(-60)
        court.hears(healthy(), after=5)
        assert court.notified[1:] == [(RECOVERED, "DiskFailed", 1)]

    def test_set_ahead_by_an_hour_it_confirms_and_clears_nothing(self) -> None:
        court = Court()
        court.hears(adverse(LOST))
        court.sets_wall_clock(60)
        court.hears(adverse(LOST))
        assert court.notified == []

    def test_an_old_answer_is_not_made_new_by_a_clock_that_is_set(self) -> None:
        court = Court()
        court.hears(adverse(LOST))
        for minute in range(1, 10):
            court.sets_wall_clock(-60)
            judgement = judge_claim(
                court.health, [adverse(LOST)], ref=court.ref, uid="uid-1", driver=court.driver,
                settings=court.settings, now=court.now, monotonic=60.0 * minute,
            )  # fmt: skip
            court.health = judgement.health
            assert judgement.transitions == ()

    def test_times_of_a_record_that_lie_ahead_are_now(self) -> None:
        court = Court()
        judgement = court.hears(adverse(DEAD))
        assert judgement.health is not None
        past = START - timedelta(days=400)
        clamped = not_after(resumed(judgement.health), past)
        finding = clamped.findings[0]
        assert (finding.since, finding.confirmed) == (past, past)
        assert all(change.time == past for change in clamped.history)

    def test_what_lies_ahead_begins_with_the_second_as_the_next_process_will_read_it(self) -> None:
        """Findings are shown in the order of `since`: a restart changes none of it."""
        court = Court()
        judgement = court.hears(adverse(DEAD))
        assert judgement.health is not None
        past = START - timedelta(hours=2)
        clamped = not_after(judgement.health, past + timedelta(milliseconds=400))
        assert [finding.since for finding in clamped.findings] == [past]

    def test_a_recovery_that_lies_ahead_was_now(self) -> None:
        health = ClaimHealth("uid-1", recovered=START + timedelta(days=2_000_000))
        assert not_after(health, START).recovered == START


class TestOfAnOriginThatEnded:
    def test_what_it_says_when_it_comes_back_must_last_anew(self) -> None:
        """A volume came back to a node where it had been broken: what was said of it first was told at once."""

        class Unused:
            def state_of(self, _claim: ClaimRef, origin: Origin, _reason: str) -> Answer:
                return unused(origin, START)

        court = Court()
        for _ in range(3):
            court.hears(adverse(SLOW, source=Source.NODE, node="n1"), after=1)
        for _ in range(6):
            court.hears(origins=Unused(), after=1)
        assert court.notified == [(FOUND, "Slow", 1), (CLOSED, "Slow", 1)]
        for _ in range(2):
            court.hears(adverse(LOST, source=Source.NODE, node="n1"), after=1)
            assert court.notified[2:] == []
        court.hears(adverse(LOST, source=Source.NODE, node="n1"), after=1)
        assert court.notified[2:] == [(FOUND, "VolumeNotFound", 1)]
