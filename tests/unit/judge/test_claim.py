"""What is confirmed of one claim, and when."""

from dataclasses import replace
from datetime import timedelta
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit.judge.harness import (
    CLOSED,
    DEAD,
    DRIVER,
    FOUND,
    LOST,
    MINUTE,
    ORDERS,
    RECOVERED,
    SLOW,
    START,
    Court,
    adverse,
    healthy,
    settings,
    silent,
)
from volumehealth.judge.claim import Judgement, hand_over, judge_claim
from volumehealth.model.health import Answer, ClaimHealth, Condition, Source, Verdict, Via
from volumehealth.model.origin import Observer
from volumehealth.model.policy import Rule, RuleMatch, RuleSet

AT_ONCE = settings(unhealthy_after=0, healthy_after=0)
NODE = Source.NODE


class TestVerdict:
    VERDICTS: ClassVar[list[tuple[str, list[Answer], Verdict]]] = [
        ("a driver's healthy answer", [healthy()], Verdict.HEALTHY),
        ("silence is never health", [silent()], Verdict.UNKNOWN),
        ("no source that could answer", [], Verdict.UNMONITORED),
        (
            "the mount table may not acquit",
            [healthy(NODE, "n1", observer=Observer.MOUNT_TABLE)],
            Verdict.UNMONITORED,
        ),
        ("a source that speaks beside one that is silent", [silent(), healthy(NODE, "n1")], Verdict.HEALTHY),
        (
            "the mount table beside a silent driver",
            [silent(), healthy(NODE, observer=Observer.MOUNT_TABLE)],
            Verdict.UNKNOWN,
        ),
        ("an adverse statement of a claim that is new", [adverse(SLOW)], Verdict.UNKNOWN),
        ("a loss of data", [adverse(DEAD)], Verdict.UNHEALTHY),
        ("one source well, one that lost data", [healthy(), adverse(DEAD, source=NODE)], Verdict.UNHEALTHY),
    ]

    @pytest.mark.parametrize(
        ("answers", "verdict"), [row[1:] for row in VERDICTS], ids=[r[0] for r in VERDICTS]
    )
    def test_of_what_is_said_first(self, answers: list[Answer], verdict: Verdict) -> None:
        assert Court().hears(*answers).verdict is verdict

    def test_a_healthy_claim_stays_healthy_while_a_statement_pends(self) -> None:
        court = Court()
        court.hears(healthy())
        assert court.hears(adverse(SLOW), after=1).verdict is Verdict.HEALTHY
        assert court.hears(adverse(SLOW), after=2).verdict is Verdict.UNHEALTHY

    def test_a_claim_is_not_healthy_for_as_long_as_a_patient_rule_waits(self) -> None:
        rule = Rule(RuleMatch(reason="Slow"), unhealthy_after=timedelta(hours=1))
        court = Court(replace(settings(rules=[rule]), fresh=timedelta(minutes=3)))
        court.hears(healthy())
        said = [court.hears(adverse(SLOW), after=1).verdict for _ in range(65)]
        assert said[:3] == [Verdict.HEALTHY] * 3, "its last healthy answer is fresh"
        assert set(said[3:60]) == {Verdict.UNKNOWN}, "it is not, and what is said is not confirmed"
        assert said[60:] == [Verdict.UNHEALTHY] * 5

    def test_words_that_change_all_the_time_keep_no_claim_healthy(self) -> None:
        court = Court(replace(settings(unhealthy_after=30), fresh=timedelta(minutes=3)))
        court.hears(healthy())
        said = [
            court.hears(adverse(replace(SLOW, reason=f"Slow{minute}")), after=1).verdict
            for minute in range(30)
        ]
        assert said[:3] == [Verdict.HEALTHY] * 3
        assert set(said[3:]) == {Verdict.UNKNOWN}

    def test_a_healthy_claim_is_unknown_when_its_source_falls_silent_before_the_statement_lasted(
        self,
    ) -> None:
        court = Court()
        court.hears(healthy())
        court.hears(adverse(SLOW), after=1)
        assert court.hears(silent(), after=1).verdict is Verdict.UNKNOWN

    def test_an_unknown_names_the_reason_and_the_sentence_of_the_silence(self) -> None:
        judgement = Court().hears(silent(reason="DeadlineExceeded"))
        assert (judgement.unknown_reason, judgement.unknown_message) == (
            "DeadlineExceeded",
            "it does not answer",
        )

    def test_a_new_claim_with_a_pending_statement_says_so(self) -> None:
        judgement = Court().hears(adverse(SLOW))
        assert judgement.unknown_reason == "NotYetConfirmed"
        assert judgement.unknown_message == "Degraded/Slow: reads take long"

    def test_with_all_findings_frozen_it_is_still_unhealthy(self) -> None:
        court = Court(AT_ONCE)
        court.hears(adverse(LOST))
        assert court.hears(silent(), after=60).verdict is Verdict.UNHEALTHY
        assert court.health is not None
        assert court.health.frozen

    def test_a_source_that_is_there_no_more_freezes_its_findings(self) -> None:
        court = Court(AT_ONCE)
        court.hears(adverse(LOST))
        assert court.hears(after=60).verdict is Verdict.UNHEALTHY
        assert court.health is not None
        assert court.health.frozen

    def test_of_one_node_told_differently_the_worse_is_heard(self) -> None:
        court = Court()
        agent, kubelet = adverse(SLOW, source=NODE, node="n1", via=Via.AGENT), healthy(NODE, "n1")
        assert court.hears(agent, kubelet).verdict is Verdict.UNKNOWN
        assert court.hears(agent, kubelet, after=2).verdict is Verdict.UNHEALTHY

    def test_a_plainly_healthy_claim_leaves_nothing_to_remember(self) -> None:
        assert Court().hears(healthy()).health is None
        assert Court().hears().health is None


class TestBelieving:
    def test_a_statement_is_believed_when_it_was_still_said_after_unhealthy_after(self) -> None:
        court = Court()
        court.hears(adverse(LOST))
        court.hears(adverse(LOST), after=1.9)
        assert court.notified == []
        judgement = court.hears(adverse(LOST), after=0.1)
        assert court.notified == [(FOUND, "VolumeNotFound", 1)]
        (finding,) = judgement.health.findings if judgement.health else ()
        assert (finding.since, finding.confirmed) == (START, court.now)
        assert finding.last_notified_at is None

    def test_since_when_it_is_so_is_remembered_as_it_is_written(self) -> None:
        """In whole seconds: after a restart, lists that are sorted by it stay as they are."""
        court = Court()
        court.now += timedelta(milliseconds=700)
        judgement = court.hears(adverse(DEAD))
        (finding,) = judgement.health.findings if judgement.health else ()
        assert (finding.since, finding.confirmed) == (START, START)

    def test_the_same_old_answer_is_no_proof_that_it_lasted(self) -> None:
        court = Court()
        court.hears(adverse(LOST))
        judgement = judge_claim(
            court.health,
            [adverse(LOST)],
            ref=ORDERS,
            uid="uid-1",
            driver=court.driver,
            settings=court.settings,
            now=START + 60 * MINUTE,
        )
        assert judgement.transitions == ()

    def test_an_answer_that_knows_since_when_it_is_so_is_taken_at_its_word(self) -> None:
        court = Court()
        court.hears(replace(adverse(LOST), since=START - 3 * MINUTE))
        assert court.notified == [(FOUND, "VolumeNotFound", 1)]

    def test_a_loss_of_data_is_believed_at_once(self) -> None:
        court = Court(settings(unhealthy_after=60))
        court.hears(adverse(DEAD))
        assert court.notified == [(FOUND, "DiskFailed", 1)]

    def test_a_rule_for_losses_of_data_may_ask_for_patience(self) -> None:
        rule = Rule(RuleMatch(status="DataLoss"), unhealthy_after=timedelta(minutes=10))
        court = Court(settings(rules=[rule]))
        court.hears(adverse(DEAD))
        court.hears(adverse(DEAD), after=9)
        assert court.notified == []
        court.hears(adverse(DEAD), after=1)
        assert court.notified == [(FOUND, "DiskFailed", 1)]

    def test_a_rule_has_its_own_patience(self) -> None:
        court = Court(settings(rules=[Rule(RuleMatch(reason="Slow"), unhealthy_after=timedelta(minutes=15))]))
        court.hears(adverse(SLOW, LOST))
        court.hears(adverse(SLOW, LOST), after=14)
        assert court.notified == [(FOUND, "VolumeNotFound", 1)]
        court.hears(adverse(SLOW, LOST), after=1)
        assert court.notified[1:] == [(FOUND, "Slow", 1)]

    def test_a_healthy_answer_drops_a_pending_statement(self) -> None:
        court = Court()
        court.hears(adverse(LOST))
        court.hears(healthy(), after=1)
        court.hears(adverse(LOST), after=1)
        assert court.notified == []

    def test_silence_neither_drops_nor_believes(self) -> None:
        court = Court()
        court.hears(adverse(LOST))
        court.hears(adverse(LOST), after=1)
        court.hears(silent(), after=60)
        court.hears(adverse(LOST), after=1)
        assert court.notified == []
        court.hears(adverse(LOST), after=1)
        assert court.notified == [(FOUND, "VolumeNotFound", 1)]

    def test_a_healthy_word_of_another_source_drops_nothing(self) -> None:
        court = Court()
        court.hears(adverse(LOST), healthy(NODE, "n1"))
        court.hears(adverse(LOST), healthy(NODE, "n1"), after=2)
        assert court.notified == [(FOUND, "VolumeNotFound", 1)]

    def test_an_answer_from_the_future_was_heard_now(self) -> None:
        court = Court(AT_ONCE)
        ahead = replace(adverse(LOST), since=START + 60 * MINUTE)
        judgement = court.hears(ahead)
        assert judgement.health is not None
        assert judgement.health.findings[0].since == START

    def test_the_worst_finding_comes_first(self) -> None:
        judgement = Court(AT_ONCE).hears(adverse(SLOW, Condition("Sleepy", "New"), LOST, DEAD))
        assert judgement.health is not None
        found = [finding.status for finding in judgement.health.findings]
        assert found == ["DataLoss", "Inaccessible", "Sleepy", "Degraded"]

    def test_agent_and_kubelet_that_tell_the_same_make_one_finding(self) -> None:
        court = Court(AT_ONCE)
        agent = adverse(replace(LOST, message="b"), source=NODE, node="n1", via=Via.AGENT)
        kubelet = adverse(replace(LOST, message="a"), source=NODE, node="n1", via=Via.KUBELET)
        judgement = court.hears(kubelet, agent)
        assert court.notified == [(FOUND, "VolumeNotFound", 1)]
        assert judgement.health is not None
        assert (judgement.health.findings[0].via, judgement.health.findings[0].message) == (Via.AGENT, "b")

    def test_two_nodes_that_tell_the_same_make_two_findings(self) -> None:
        court = Court(AT_ONCE)
        court.hears(*(adverse(LOST, source=NODE, node=node) for node in ("n1", "n2")))
        assert len(court.notified) == 2

    def test_a_message_that_changes_in_a_number_only_is_kept(self) -> None:
        court = Court(AT_ONCE)
        court.hears(adverse(replace(LOST, message="gone for 10s")))
        judgement = court.hears(adverse(replace(LOST, message="gone for 70s")), after=1)
        assert judgement.health is not None
        assert judgement.health.findings[0].message == "gone for 10s"

    def test_another_message_replaces_the_old_one_and_is_no_new_finding(self) -> None:
        court = Court(AT_ONCE)
        court.hears(adverse(LOST))
        judgement = court.hears(adverse(replace(LOST, message="no such LUN")), after=1)
        assert judgement.health is not None
        assert judgement.health.findings[0].message == "no such LUN"
        assert len(court.notified) == 1

    def test_no_more_than_sixteen_of_a_severity_are_taken_up_and_a_worse_one_always_is(self) -> None:
        court = Court(AT_ONCE)
        court.hears(adverse(*(Condition("Degraded", f"R{number:03}") for number in range(100))))
        assert len(court.notified) == 16
        court.hears(
            adverse(DEAD, *(Condition("Degraded", f"R{number:03}") for number in range(100))), after=1
        )
        assert court.notified[16:] == [(FOUND, "DiskFailed", 1)]

    def test_a_volume_that_is_broken_on_many_nodes_is_told_of_each_and_is_well_only_if_it_is_on_all(
        self,
    ) -> None:
        """Once it was mended on the first 16 it was Healthy by its driver's word, and told as recovered."""
        court = Court()
        nodes = [f"worker-{number:02}" for number in range(40)]
        for minute in range(4):
            court.hears(
                healthy(), *(adverse(LOST, source=Source.NODE, node=one) for one in nodes), after=minute
            )
        assert len(court.notified) == 40
        for _ in range(8):
            mended = (healthy(Source.NODE, one) for one in nodes[:30])
            bad = (adverse(LOST, source=Source.NODE, node=one) for one in nodes[30:])
            judgement = court.hears(healthy(), *mended, *bad, after=1)
            assert judgement.verdict is Verdict.UNHEALTHY
        assert court.health is not None
        assert [finding.node for finding in court.health.findings] == nodes[30:]
        assert len(court.notified) == 40 + 30


class TestRecovering:
    def test_a_finding_is_cleared_when_it_was_gone_for_healthy_after(self) -> None:
        court = Court()
        court.hears(adverse(DEAD))
        court.hears(healthy(), after=1)
        court.hears(healthy(), after=4.9)
        assert court.notified == [(FOUND, "DiskFailed", 1)]
        judgement = court.hears(healthy(), after=0.1)
        assert court.notified[1:] == [(RECOVERED, "DiskFailed", 1)]
        assert judgement.verdict is Verdict.HEALTHY
        assert judgement.health is not None
        assert judgement.health.recovered == court.now

    def test_another_statement_of_the_same_source_without_it_clears_it_too(self) -> None:
        court = Court(AT_ONCE)
        court.hears(adverse(LOST, SLOW))
        court.hears(adverse(SLOW), after=1)
        assert court.notified[2:] == [(RECOVERED, "VolumeNotFound", 1)]

    NO_PROOFS: ClassVar[list[tuple[str, list[Answer]]]] = [
        ("silence", [silent()]),
        ("no answer at all", []),
        ("another source's healthy word", [silent(), healthy(NODE, "n1")]),
        ("another node's healthy word", [healthy(NODE, "n2")]),
    ]

    @pytest.mark.parametrize("answers", [row[1] for row in NO_PROOFS], ids=[row[0] for row in NO_PROOFS])
    def test_what_clears_nothing(self, answers: list[Answer]) -> None:
        court = Court(AT_ONCE)
        court.hears(adverse(LOST))
        court.hears(*answers, after=60)
        court.hears(*answers, after=60)
        assert court.notified == [(FOUND, "VolumeNotFound", 1)]

    def test_the_mount_table_clears_nothing_that_a_silent_driver_said(self) -> None:
        court = Court(AT_ONCE)
        court.hears(adverse(LOST, source=NODE, node="n1"))
        court.hears(silent(NODE, "n1"), healthy(NODE, "n1", observer=Observer.MOUNT_TABLE), after=60)
        court.hears(
            silent(NODE, "n1"), adverse(SLOW, source=NODE, node="n1", observer=Observer.MOUNT_TABLE), after=60
        )
        assert (RECOVERED, "VolumeNotFound", 1) not in court.notified

    def test_the_mount_table_clears_what_it_said_itself(self) -> None:
        court = Court(AT_ONCE)
        court.hears(adverse(LOST, source=NODE, node="n1", observer=Observer.MOUNT_TABLE))
        court.hears(healthy(NODE, "n1", observer=Observer.MOUNT_TABLE), after=1)
        assert court.notified[1:] == [(RECOVERED, "VolumeNotFound", 1)]

    def test_a_full_answer_may_have_left_some_out_and_clears_nothing(self) -> None:
        court = Court(AT_ONCE)
        court.hears(adverse(SLOW))
        court.hears(adverse(*(Condition("Inaccessible", f"R{number}") for number in range(16))), after=1)
        assert (RECOVERED, "Slow", 1) not in court.notified

    def test_said_again_while_clearing_it_is_the_same_episode(self) -> None:
        court = Court()
        court.hears(adverse(DEAD))
        court.hears(healthy(), after=4)
        court.hears(adverse(DEAD), after=4)
        court.hears(healthy(), after=4)
        court.hears(healthy(), after=4)
        assert court.notified == [(FOUND, "DiskFailed", 1)]
        court.hears(healthy(), after=1)
        assert court.notified[1:] == [(RECOVERED, "DiskFailed", 1)]

    def test_back_after_recovery_it_is_a_new_episode(self) -> None:
        court = Court(AT_ONCE)
        for answer in (adverse(LOST), healthy(), adverse(LOST)):
            court.hears(answer, after=1)
        assert court.notified[2:] == [(FOUND, "VolumeNotFound", 2)]
        assert court.health is not None
        assert court.health.recovered is None

    def test_silence_while_clearing_stops_the_clock_and_does_not_reset_it(self) -> None:
        court = Court()
        court.hears(adverse(DEAD))
        court.hears(healthy(), after=1)
        court.hears(healthy(), after=4)
        judgement = court.hears(silent(), after=60)
        assert judgement.health is not None
        assert judgement.health.findings[0].clear_since == START + MINUTE
        assert judgement.health.findings[0].stale
        court.hears(healthy(), after=1)
        assert court.notified == [(FOUND, "DiskFailed", 1)]
        court.hears(healthy(), after=1)
        assert court.notified[1:] == [(RECOVERED, "DiskFailed", 1)]

    def test_since_when_it_is_not_said_any_more_is_known_over_a_restart_and_the_delay_begins_anew(
        self,
    ) -> None:
        court = Court()
        court.hears(adverse(DEAD))
        court.hears(healthy(), after=1)
        court.hears(healthy(), after=4)
        court.restarts()
        judgement = court.hears(silent(), after=1)
        assert judgement.health is not None
        assert judgement.health.findings[0].clear_since == START + MINUTE
        court.hears(healthy(), after=1)
        court.hears(healthy(), after=4)
        assert court.notified == [(FOUND, "DiskFailed", 1)]
        court.hears(healthy(), after=1)
        assert court.notified[1:] == [(RECOVERED, "DiskFailed", 1)]

    def test_a_recovered_claim_is_remembered_for_its_retention(self) -> None:
        court = Court(AT_ONCE)
        court.hears(adverse(LOST))
        court.hears(healthy(), after=1)
        week = 7 * 24 * 60
        assert court.hears(healthy(), after=week - 1).health is not None
        assert court.hears(healthy(), after=1).health is None

    def test_without_retention_it_is_forgotten_at_once(self) -> None:
        court = Court(replace(AT_ONCE, record_retention=timedelta(0)))
        court.hears(adverse(LOST))
        assert court.hears(healthy(), after=1).health is None
        assert len(court.notified) == 2


class TestIgnoring:
    TEXT = Condition("Degraded", "VolumeConditionAbnormal", "resizing")
    RULE = Rule(RuleMatch(message="^resizing$"), ignore=True)

    def test_an_ignored_statement_is_never_believed_and_counts_as_a_driver_that_answers(self) -> None:
        court = Court(settings(unhealthy_after=0, rules=[self.RULE]))
        judgement = court.hears(adverse(self.TEXT))
        assert judgement.verdict is Verdict.HEALTHY
        assert court.notified == []
        assert judgement.health is not None
        assert judgement.health.ignored

    def test_an_ignored_text_may_hide_another_and_clears_nothing(self) -> None:
        court = Court(settings(unhealthy_after=0, healthy_after=0, rules=[self.RULE]))
        court.hears(adverse(replace(self.TEXT, message="offline")))
        judgement = court.hears(adverse(self.TEXT), after=60)
        assert judgement.verdict is Verdict.UNHEALTHY
        assert len(court.notified) == 1

    def test_a_statement_with_a_reason_of_its_own_hides_none_so_the_others_can_recover(self) -> None:
        court = Court(
            settings(unhealthy_after=0, healthy_after=0, rules=[Rule(RuleMatch(reason="Slow"), True)])
        )
        court.hears(adverse(SLOW, LOST))
        court.hears(adverse(SLOW), after=1)
        assert court.notified == [(FOUND, "VolumeNotFound", 1), (RECOVERED, "VolumeNotFound", 1)]

    @pytest.mark.parametrize("reason", ["VolumeConditionAbnormal", "Busy"])
    def test_a_finding_whose_very_text_a_new_rule_ignores_is_closed_and_has_not_recovered(
        self, reason: str
    ) -> None:
        """Faults C8: people were told that it is not reported any more, and it is."""
        said = replace(self.TEXT, reason=reason)
        court = Court(settings(unhealthy_after=0))
        court.hears(adverse(said))
        court.settings = settings(unhealthy_after=0, rules=[self.RULE])
        judgement = court.hears(adverse(said), after=1)
        assert court.notified[1:] == [(CLOSED, reason, 1)]
        assert judgement.verdict is Verdict.HEALTHY
        assert judgement.health is not None
        assert judgement.health.history[-1].what.endswith("closed: a rule ignores it")

    @pytest.mark.parametrize("restart", [False, True], ids=["an edited rule", "another built-in rule"])
    def test_a_finding_whose_very_text_the_rules_call_otherwise_now_goes_on_under_that_name(
        self, restart: bool
    ) -> None:
        """Faults C8: people were told that it is not reported any more, and it is."""
        court = Court(settings())
        for _ in range(4):
            court.hears(adverse(self.TEXT), after=1)
        before = court.health
        assert before is not None
        made = RuleSet(status="Inaccessible", reason="Offline")
        court.settings = settings(rules=[Rule(RuleMatch(message="^resizing$"), set=made)])
        if restart:
            court.restarts()
        judgement = court.hears(adverse(self.TEXT), after=1)
        assert judgement.verdict is Verdict.UNHEALTHY, "there is no moment in which it counts as healthy"
        assert judgement.health is not None
        (finding,) = judgement.health.findings
        assert (finding.status, finding.reason) == ("Inaccessible", "Offline")
        assert finding.since == before.findings[0].since
        for _ in range(10):
            court.hears(adverse(self.TEXT), after=1)
        assert court.notified == [
            (FOUND, "VolumeConditionAbnormal", 1),
            (CLOSED, "VolumeConditionAbnormal", 1),
            (FOUND, "Offline", 1),
        ]

    def test_what_one_reason_says_in_the_text_that_is_ignored_of_another_must_be_well_for_as_long_as_ever(
        self,
    ) -> None:
        """A driver that has one sentence for all that it says."""
        noise = Condition("Degraded", "Noise", self.TEXT.message)
        real = Condition("Inaccessible", "Real", self.TEXT.message)
        court = Court(settings(unhealthy_after=0, rules=[Rule(RuleMatch(reason="Noise"), ignore=True)]))
        court.hears(adverse(real, noise))
        court.hears(adverse(noise), after=1)
        court.hears(adverse(real, noise), after=1)
        assert court.notified == [(FOUND, "Real", 1)]
        for _ in range(7):
            court.hears(adverse(noise), after=1)
        assert court.notified == [(FOUND, "Real", 1), (RECOVERED, "Real", 1)]

    @pytest.mark.parametrize(
        "made", [RuleSet(status="Inaccessible", reason="AlmostFull"), None], ids=["set", "ignored"]
    )
    def test_a_text_whose_number_goes_to_and_fro_over_the_border_of_a_rule_is_told_once(
        self, made: RuleSet | None
    ) -> None:
        match = RuleMatch(message="^usage 9[5-9]%$" if made else "^usage 8[0-9]%$")
        court = Court(settings(unhealthy_after=0, rules=[Rule(match, set=made, ignore=made is None)]))
        for percent in (96, 94 if made else 89) * 6:
            court.hears(adverse(replace(self.TEXT, message=f"usage {percent}%")), after=1)
        assert [kind for kind, *_ in court.notified].count(CLOSED) == 0
        assert len(court.notified) <= 2

    def test_a_loss_of_data_that_a_rule_calls_otherwise_now_goes_on_without_a_wait(self) -> None:
        def rules(status: str, reason: str) -> list[Rule]:
            return [Rule(RuleMatch(message="^resizing$"), set=RuleSet(status=status, reason=reason))]

        court = Court(settings(rules=rules("DataLoss", "Rotten")))
        court.hears(adverse(self.TEXT))
        court.settings = settings(rules=rules("Inaccessible", "Away"))
        assert court.hears(adverse(self.TEXT), after=1).verdict is Verdict.UNHEALTHY

    def test_what_another_reason_says_in_an_ignored_text_of_its_own_recovers_as_ever(self) -> None:
        court = Court(settings(unhealthy_after=0, rules=[self.RULE]))
        court.hears(adverse(LOST))
        court.hears(adverse(replace(self.TEXT, reason="Busy")), after=1)
        court.hears(adverse(replace(self.TEXT, reason="Busy")), after=4)
        assert len(court.notified) == 1
        court.hears(adverse(replace(self.TEXT, reason="Busy")), after=2)
        assert court.notified[1:] == [(RECOVERED, "VolumeNotFound", 1)]


class TestDistrust:
    STALE = "watching pods failed since 03:00Z"

    def test_nothing_is_healthy_in_a_stale_view(self) -> None:
        judgement = Court().hears(healthy(), stale_reason=self.STALE)
        assert judgement.verdict is Verdict.UNKNOWN
        assert (judgement.unknown_reason, judgement.unknown_message) == ("ViewStale", self.STALE)

    def test_what_nobody_can_answer_stays_unmonitored(self) -> None:
        assert Court().hears(stale_reason=self.STALE).verdict is Verdict.UNMONITORED

    def test_nothing_recovers_in_a_stale_view(self) -> None:
        court = Court(AT_ONCE)
        court.hears(adverse(LOST))
        judgement = court.hears(healthy(), after=60, stale_reason=self.STALE)
        assert len(court.notified) == 1
        assert judgement.health is not None
        assert judgement.health.frozen

    def test_explicit_statements_still_count_in_a_stale_view(self) -> None:
        court = Court()
        court.hears(adverse(LOST), stale_reason=self.STALE)
        judgement = court.hears(adverse(LOST), after=2, stale_reason=self.STALE)
        assert court.notified == [(FOUND, "VolumeNotFound", 1)]
        assert judgement.health is not None
        assert not judgement.health.frozen


class TestMemory:
    def test_a_claim_that_was_created_anew_starts_with_a_clean_slate(self) -> None:
        court = Court(AT_ONCE)
        court.hears(adverse(LOST))
        judgement = court.hears(silent(), uid="uid-2", after=1)
        assert judgement.verdict is Verdict.UNKNOWN
        assert (judgement.health, len(court.notified)) == (None, 1)

    def test_history_keeps_the_last_ten_turns_as_sentences(self) -> None:
        court = Court(AT_ONCE)
        for _ in range(7):
            court.hears(adverse(LOST), after=1)
            court.hears(healthy(), after=1)
        assert court.health is not None
        turns = [turn.what for turn in court.health.history]
        assert len(turns) == 10
        assert turns[-2:] == [
            "Inaccessible/VolumeNotFound (Controller): volume is not found",
            "Inaccessible/VolumeNotFound (Controller) recovered",
        ]

    def test_history_quotes_the_beginning_of_a_long_message(self) -> None:
        court = Court(AT_ONCE)
        court.hears(adverse(replace(LOST, message="abcd" * 100)))
        assert court.health is not None
        quoted = "abcd" * 50
        assert court.health.history[-1].what == f"Inaccessible/VolumeNotFound (Controller): {quoted[:-1]}…"

    def test_a_hand_over_adds_a_line_of_history_and_changes_nothing_else(self) -> None:
        court = Court(AT_ONCE)
        court.hears(adverse(LOST))
        assert court.health is not None
        moved = hand_over(court.health, "team-a", START + MINUTE)
        assert moved.history[-1].what == "handed over to policy team-a"
        assert replace(moved, history=court.health.history) == court.health

    def test_when_people_were_told_is_kept(self) -> None:
        court = Court(AT_ONCE)
        court.hears(adverse(LOST))
        assert court.health is not None
        told = replace(court.health.findings[0], last_notified_at=START)
        court.health = replace(court.health, findings=(told,))
        judgement = court.hears(adverse(LOST), after=1)
        assert judgement.health is not None
        assert judgement.health.findings[0].last_notified_at == START

    def test_nothing_new_gives_the_same_object(self) -> None:
        court = Court(AT_ONCE)
        first = court.hears(adverse(LOST)).health
        assert court.hears(adverse(LOST), after=1).health is first

    def test_a_driver_that_invents_reasons_does_not_fill_the_memory(self) -> None:
        court = Court(AT_ONCE)
        for number in range(200):
            court.hears(adverse(Condition("Degraded", f"R{number}")), after=1)
        assert court.health is not None
        assert len(court.health.episodes) == 64
        assert len(court.health.findings) == 1


UNACCUSED = st.lists(
    st.sampled_from(
        [
            healthy(),
            silent(),
            silent(reason="NotYetAsked"),
            healthy(Source.NODE, "n1"),
            silent(Source.NODE, "n1"),
            silent(Source.NODE, "n2", reason="AgentSilent"),
            healthy(Source.KUBERNETES, observer=Observer.API),
        ]
    ),
    max_size=4,
)


@given(UNACCUSED, st.sampled_from(list(Verdict)), st.sampled_from(["", "no watch"]))
def test_a_claim_that_nobody_accuses_needs_no_past_to_be_judged(
    said: list[Answer], before: Verdict, stale_reason: str
) -> None:
    """The short cut for such claims gives what the long way gives."""

    def judged(previous: ClaimHealth | None) -> Judgement:
        return judge_claim(
            previous,
            said,
            ref=ORDERS,
            uid="uid-1",
            driver=DRIVER,
            settings=settings(),
            now=START,
            stale_reason=stale_reason,
            before=before,
        )

    assert judged(None) == judged(ClaimHealth("uid-1", verdict=before))
