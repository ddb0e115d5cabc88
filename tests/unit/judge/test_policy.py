"""A policy's claims judged together: counts, groups, and the same verdicts as one by one."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit.judge.harness import DEAD, DRIVER, LOST, MINUTE, SLOW, START, adverse, healthy, settings, silent
from volumehealth.judge.claim import JudgeSettings, judge_claim
from volumehealth.judge.explain import explain_answers
from volumehealth.judge.policy import PolicyJudgement, answers_about, judge_policy
from volumehealth.judge.rules import CompiledRules, Ruled
from volumehealth.model.cluster import Claim
from volumehealth.model.health import (
    Answer,
    Basis,
    ClaimHealth,
    Condition,
    DriverAnswers,
    DriverState,
    Evidence,
    HealthyOnNodes,
    Outcome,
    Source,
    SourceState,
    Transition,
    Verdict,
)
from volumehealth.model.ids import ClaimRef, VolumeId
from volumehealth.model.origin import Observer, Origin
from volumehealth.model.policy import Policy, PolicySpec, Rule, RuleMatch
from volumehealth.model.steps import at_once
from volumehealth.policy.select import Members, Selection

AT_ONCE = settings(unhealthy_after=0, healthy_after=0)


def claims_of(number: int, *, driver: str = DRIVER, shared: int = 1) -> dict[ClaimRef, Claim]:
    """Return claims `shop/c000` and so on; `shared` of them on one volume."""
    refs = [ClaimRef("shop", f"c{index:03}") for index in range(number)]
    return {
        ref: Claim(ref, f"uid-{ref.name}", {}, "fast", "Bound", "pv", driver, f"v{index // shared:03}")
        for index, ref in enumerate(refs)
    }


def members_of(claims: Mapping[ClaimRef, Claim]) -> Members:
    selection = Selection()
    at_once(selection.update({"uid": Policy("storage", "uid", 1, START, PolicySpec())}, claims, {}, None))
    return selection.members("uid")


def says(
    healthy: set[str] | frozenset[str] = frozenset(),
    others: Mapping[str, Answer] | None = None,
    *,
    at: datetime = START,
    state: SourceState = SourceState.ANSWERING,
    silence: Answer | None = None,
) -> DriverAnswers:
    driver = DriverState(DRIVER, state, START)
    return DriverAnswers(
        driver, at, frozenset(healthy), others or {}, silence or silent(reason="NotYetAsked")
    )


class Bench:
    """A policy's claims through time."""

    def __init__(self, claims: Mapping[ClaimRef, Claim], given: JudgeSettings = AT_ONCE) -> None:
        self.claims = dict(claims)
        self.members = members_of(claims)
        self.settings = given
        self.now = START
        self.last: PolicyJudgement | None = None

    def judges(
        self,
        answers: DriverAnswers | None = None,
        *,
        after: int = 0,
        claims: Mapping[ClaimRef, tuple[Answer, ...]] | None = None,
        volumes: Mapping[VolumeId, tuple[Answer, ...]] | None = None,
        stale_reason: str = "",
    ) -> PolicyJudgement:
        self.now += MINUTE * after
        evidence = Evidence({DRIVER: answers} if answers else {}, claims or {}, volumes or {}, stale_reason)
        self.last = at_once(
            judge_policy(
                self.last.healths if self.last else {},
                self.members,
                self.claims,
                evidence,
                settings=self.settings,
                now=self.now,
                last=self.last,
            )
        )
        return self.last


def verdicts(judgement: PolicyJudgement) -> tuple[int, int, int, int]:
    counts = judgement.counts
    assert counts.selected == counts.healthy + counts.unhealthy + counts.unknown + counts.unmonitored
    return (counts.healthy, counts.unhealthy, counts.unknown, counts.unmonitored)


class TestCounts:
    def test_the_four_verdicts_add_up_to_what_is_selected(self) -> None:
        bench = Bench(claims_of(6))
        others = {"v000": adverse(LOST), "v001": silent(reason="NoCondition")}
        judgement = bench.judges(says({"v002", "v003"}, others))
        assert verdicts(judgement) == (2, 1, 3, 0)
        assert judgement.drivers[DRIVER].claims == 6

    @pytest.mark.parametrize("state", [SourceState.UNSUPPORTED, SourceState.NOT_CONNECTED])
    def test_claims_of_a_driver_that_cannot_tell_are_unmonitored(self, state: SourceState) -> None:
        judgement = Bench(claims_of(3)).judges(says(state=state))
        assert verdicts(judgement) == (0, 0, 0, 3)
        assert judgement.unmonitored == {DRIVER: 3}
        assert judgement.unknown == ()

    def test_claims_of_a_driver_that_nobody_knows_are_unmonitored(self) -> None:
        assert verdicts(Bench(claims_of(3)).judges()) == (0, 0, 0, 3)

    def test_another_source_that_may_acquit_makes_such_a_claim_monitored(self) -> None:
        ref = ClaimRef("shop", "c001")
        judgement = Bench(claims_of(3)).judges(claims={ref: (healthy(Source.NODE, "n1"),)})
        assert verdicts(judgement) == (1, 0, 0, 2)

    def test_claims_on_one_volume_share_its_fate(self) -> None:
        judgement = Bench(claims_of(6, shared=3)).judges(says({"v001"}, {"v000": adverse(LOST)}))
        assert verdicts(judgement) == (3, 3, 0, 0)
        assert len(judgement.transitions) == 3

    def test_an_answer_about_a_volume_counts_for_every_claim_on_it(self) -> None:
        bench = Bench(claims_of(4, shared=2))
        told = {VolumeId(DRIVER, "v000"): (adverse(LOST, source=Source.NODE, node="n1"),)}
        assert verdicts(bench.judges(says({"v000", "v001"}), volumes=told)) == (2, 2, 0, 0)

    def test_ignored_overridden_and_unsupported_are_counted_beside(self) -> None:
        bench = Bench(claims_of(2), settings(rules=[Rule(RuleMatch(reason="Slow"), ignore=True)]))
        bench.members = replace(bench.members, overridden={"team-a": 4}, not_csi=2)
        judgement = bench.judges(says({"v000"}, {"v001": adverse(SLOW)}))
        counts = judgement.counts
        assert verdicts(judgement) == (2, 0, 0, 0)
        assert (counts.ignored, counts.overridden, counts.not_csi) == (1, 4, 2)

    def test_a_claim_that_the_view_lost_since_the_selection_is_not_counted(self) -> None:
        bench = Bench(claims_of(3))
        del bench.claims[ClaimRef("shop", "c001")]
        said = {f"v00{index}": adverse(LOST) for index in range(3)}
        assert verdicts(bench.judges(says(others=said))) == (0, 2, 0, 0)

    def test_a_claim_that_the_view_loses_while_others_are_judged_is_not_counted(self) -> None:
        claims = claims_of(4)
        answers = says(others={f"v00{index}": adverse(LOST) for index in range(4)})
        steps = judge_policy(
            {}, members_of(claims), claims, Evidence({DRIVER: answers}), settings=AT_ONCE, now=START
        )
        judgement: PolicyJudgement | None = None
        for taken in itertools.count():
            try:
                next(steps)
            except StopIteration as end:
                judgement = end.value
                break
            if taken == 3:
                del claims[ClaimRef("shop", "c003")]
        assert judgement is not None
        assert verdicts(judgement) == (0, 3, 0, 0)

    def test_in_a_stale_view_no_claim_is_healthy(self) -> None:
        judgement = Bench(claims_of(3)).judges(says({"v000", "v001", "v002"}), stale_reason="no watch")
        assert verdicts(judgement) == (0, 0, 3, 0)
        assert [(group.reason, group.claims) for group in judgement.unknown] == [("ViewStale", 3)]


class TestMemory:
    def test_healthy_claims_leave_nothing_to_remember(self) -> None:
        assert Bench(claims_of(3)).judges(says({"v000", "v001", "v002"})).healths == {}

    def test_a_claim_that_was_healthy_stays_so_while_a_statement_pends(self) -> None:
        bench = Bench(claims_of(2), settings())
        bench.judges(says({"v000", "v001"}))
        judgement = bench.judges(says({"v001"}, {"v000": adverse(LOST)}, at=START + MINUTE), after=1)
        assert verdicts(judgement) == (2, 0, 0, 0)

    def test_a_claim_judged_healthy_by_another_source_stays_so_as_well(self) -> None:
        bench = Bench(claims_of(1), settings())
        ref, node = ClaimRef("shop", "c000"), Source.NODE
        bench.judges(claims={ref: (healthy(node, "n1"),)})
        judgement = bench.judges(claims={ref: (adverse(LOST, source=node, node="n1"),)}, after=1)
        assert verdicts(judgement) == (1, 0, 0, 0)

    def test_a_claim_that_nobody_asked_about_yet_is_unknown_while_a_statement_pends(self) -> None:
        bench = Bench(claims_of(1), settings())
        bench.judges(says())
        assert verdicts(bench.judges(says(others={"v000": adverse(LOST)}), after=1)) == (0, 0, 1, 0)

    def test_what_belongs_to_no_member_any_more_is_left_out(self) -> None:
        bench = Bench(claims_of(2))
        bench.judges(says(others={"v000": adverse(LOST), "v001": adverse(LOST)}))
        bench.members = members_of({ref: claim for ref, claim in bench.claims.items() if ref.name == "c001"})
        judgement = bench.judges(says(others={"v000": adverse(LOST), "v001": adverse(LOST)}))
        assert [ref.name for ref in judgement.healths] == ["c001"]
        assert judgement.transitions == ()

    def test_claims_that_are_only_unknown_leave_nothing_to_remember(self) -> None:
        silences = {"v000": silent(reason="NoCondition"), "v001": silent(reason="CallFailed")}
        judgement = Bench(claims_of(4)).judges(says({"v003"}, silences))
        assert verdicts(judgement) == (1, 0, 3, 0)
        assert judgement.healths == {}

    def test_what_a_driver_goes_on_saying_is_sorted_once(self) -> None:
        bench = Bench(claims_of(3))
        told = says({"v000"}, {"v001": adverse(LOST)})
        first = bench.judges(told).judged[DRIVER].quiet
        assert bench.judges(replace(told, at=START + MINUTE), after=1).judged[DRIVER].quiet is first
        assert bench.judges(says({"v000"}), after=1).judged[DRIVER].quiet is not first

    def test_claims_that_recovered_rest_until_they_are_forgotten(self) -> None:
        bench = Bench(claims_of(3))
        bench.judges(says({"v001", "v002"}, {"v000": adverse(LOST)}))
        well = says({"v000", "v001", "v002"})
        bench.judges(well, after=1)
        recovered = bench.judges(well, after=1)
        assert bench.judges(well, after=1).judged[DRIVER].healths is recovered.judged[DRIVER].healths
        week = 7 * 24 * 60
        assert bench.judges(well, after=week).healths == {}

    def test_a_claim_that_is_created_anew_does_not_inherit_what_rests(self) -> None:
        bench = Bench(claims_of(1))
        ref, told = ClaimRef("shop", "c000"), says(others={"v000": adverse(LOST)})
        bench.judges(told)
        bench.claims[ref] = replace(bench.claims[ref], uid="another")
        judgement = bench.judges(told, after=1)
        assert (judgement.healths[ref].uid, len(judgement.transitions)) == ("another", 1)


class TestVolumesWithoutAHandle:
    """Field case 19: of some migrated volumes nobody knows how their driver calls them."""

    def bench(self) -> Bench:
        claims = claims_of(4)
        for name in ("c000", "c001"):
            ref = ClaimRef("shop", name)
            claims[ref] = replace(claims[ref], handle="")
        return Bench(claims)

    def test_a_driver_that_cannot_be_asked_about_them_leaves_them_unmonitored(self) -> None:
        judgement = self.bench().judges(says({"v002", "v003"}))
        assert verdicts(judgement) == (2, 0, 0, 2)
        assert judgement.unknown == ()

    def test_what_others_say_of_them_counts(self) -> None:
        bench = self.bench()
        ref = ClaimRef("shop", "c000")
        bad = adverse(LOST, source=Source.KUBERNETES, observer=Observer.API)
        assert verdicts(bench.judges(says({"v002", "v003"}), claims={ref: (bad,)})) == (2, 1, 0, 1)

    def test_their_nodes_can_say_that_they_are_healthy(self) -> None:
        bench = self.bench()
        ref = ClaimRef("shop", "c001")
        evidence = Evidence(
            {DRIVER: says({"v002", "v003"})},
            healthy_on_nodes=HealthyOnNodes(START, complete={DRIVER: frozenset([ref])}),
        )
        for stale, expected in (("", (3, 0, 0, 1)), ("watches are silent", (0, 0, 3, 1))):
            judgement = at_once(
                judge_policy(
                    {},
                    bench.members,
                    bench.claims,
                    replace(evidence, stale_reason=stale),
                    settings=AT_ONCE,
                    now=START,
                )
            )
            assert verdicts(judgement) == expected
            assert judgement.counts.healthy_by_node == (0 if stale else 1)


class BrokenRules(CompiledRules):
    """Rules with a fault that shows at one text only."""

    def apply(self, driver: str, source: Source, condition: Condition) -> Ruled:
        if condition.message == "the text that breaks them":
            raise ZeroDivisionError("division by zero")
        return super().apply(driver, source, condition)


class TestABoundaryAroundEachClaim:
    """Faults G: whatever is said of one claim costs that claim only, and is shown."""

    BREAKS = replace(LOST, message="the text that breaks them")

    def bench(self) -> Bench:
        return Bench(claims_of(3), replace(AT_ONCE, rules=BrokenRules(())))

    def test_a_claim_that_cannot_be_judged_is_unknown_and_the_others_are_judged(self) -> None:
        said = {"v000": adverse(self.BREAKS), "v001": adverse(LOST)}
        judgement = self.bench().judges(says({"v002"}, said))
        assert verdicts(judgement) == (1, 1, 1, 0)
        (group,) = judgement.unknown
        assert (group.reason, group.claims) == ("JudgingFailed", 1)
        assert "ZeroDivisionError" in group.message
        assert [turn.claim.name for turn in judgement.transitions] == ["c001"]

    def test_what_was_found_of_it_stays_stale_and_nothing_is_told(self) -> None:
        bench = self.bench()
        bench.judges(says({"v001", "v002"}, {"v000": adverse(LOST)}))
        for _ in range(3):
            said = {"v000": adverse(self.BREAKS)}
            judgement = bench.judges(says({"v001", "v002"}, said, at=bench.now + MINUTE), after=1)
            assert verdicts(judgement) == (2, 1, 0, 0)
            assert judgement.transitions == ()
            (finding,) = judgement.healths[ClaimRef("shop", "c000")].findings
            assert (finding.reason, finding.stale) == ("VolumeNotFound", True)
        judgement = bench.judges(says({"v000", "v001", "v002"}, at=bench.now + MINUTE), after=1)
        judgement = bench.judges(says({"v000", "v001", "v002"}, at=bench.now + MINUTE), after=1)
        assert verdicts(judgement) == (3, 0, 0, 0)


class TestFreshness:
    def test_unhealthy_for_the_same_reasons_is_the_same_object(self) -> None:
        bench = Bench(claims_of(1))
        ref = ClaimRef("shop", "c000")
        said = {"v000": adverse(LOST, SLOW)}
        first = bench.judges(says(others=said))
        second = bench.judges(says(others=said, at=START + MINUTE), after=1)
        assert second.healths[ref] is first.healths[ref]
        assert not second.transitions

    def test_a_rule_that_is_new_is_heard_although_the_driver_says_the_same(self) -> None:
        bench = Bench(claims_of(1))
        said = {"v000": adverse(LOST)}
        bench.judges(says(others=said))
        ignoring = (Rule(RuleMatch(reason=LOST.reason), ignore=True),)
        bench.settings = settings(unhealthy_after=0, healthy_after=0, rules=ignoring)
        assert verdicts(bench.judges(says(others=said, at=START + MINUTE), after=1)) == (1, 0, 0, 0)

    def test_a_driver_that_goes_on_saying_the_same_keeps_one_answer_and_is_believed(self) -> None:
        bench = Bench(claims_of(1), settings())
        same = {"v000": adverse(LOST)}
        bench.judges(says(others=same))
        judgement = bench.judges(says(others=same, at=START + 2 * MINUTE), after=2)
        assert len(judgement.transitions) == 1
        assert judgement.transitions[0].finding.since == START

    def test_a_driver_that_was_not_heard_again_is_not_believed(self) -> None:
        bench = Bench(claims_of(1), settings())
        bench.judges(says(others={"v000": adverse(LOST)}))
        assert bench.judges(says(others={"v000": adverse(LOST)}), after=60).transitions == ()

    @pytest.mark.parametrize("state", [SourceState.UNREACHABLE, SourceState.CIRCUIT_OPEN])
    def test_what_a_driver_said_before_it_went_down_is_frozen(self, state: SourceState) -> None:
        bench = Bench(claims_of(2))
        said = {"v000": adverse(LOST)}
        bench.judges(says({"v001"}, said))
        judgement = bench.judges(says(others=said, state=state, silence=silent()), after=60)
        assert verdicts(judgement) == (0, 1, 1, 0)
        assert judgement.healths[ClaimRef("shop", "c000")].frozen

    def test_what_it_says_while_half_of_its_volumes_fail_at_once_counts(self) -> None:
        down = says(
            others={"v000": adverse(DEAD)}, state=SourceState.UNREACHABLE, silence=silent(reason="SourceDown")
        )
        assert verdicts(Bench(claims_of(2)).judges(down)) == (0, 1, 1, 0)

    def test_a_driver_that_is_heard_no_more_leaves_its_findings_frozen(self) -> None:
        bench = Bench(claims_of(2))
        bench.judges(says({"v001"}, {"v000": adverse(LOST)}))
        judgement = bench.judges(says(state=SourceState.NOT_CONNECTED), after=60)
        assert verdicts(judgement) == (0, 1, 0, 1)
        assert judgement.healths[ClaimRef("shop", "c000")].frozen

    def test_one_healthy_answer_clears_nothing_however_long_it_stands(self) -> None:
        """A driver that is asked volume by volume may take longer for a round than `healthyAfter`."""
        bench = Bench(claims_of(2), settings(unhealthy_after=0, healthy_after=5))
        bench.judges(says({"v001"}, {"v000": adverse(LOST)}))
        well = {"v000": replace(healthy(), at=START + MINUTE)}
        for after in (1, 5, 5):
            at = bench.now + after * MINUTE
            assert verdicts(bench.judges(says({"v000", "v001"}, well, at=at), after=after)) == (1, 1, 0, 0)
        again = {"v000": replace(healthy(), at=START + 12 * MINUTE)}
        at = START + 12 * MINUTE
        assert verdicts(bench.judges(says({"v000", "v001"}, again, at=at), after=1)) == (2, 0, 0, 0)


class TestGroups:
    def test_unknown_claims_are_grouped_by_reason_and_text_without_numbers(self) -> None:
        failed = {
            f"v{number:03}": replace(silent(reason="CallFailed"), message=f"volume {number} timed out")
            for number in range(5)
        }
        judgement = Bench(claims_of(7)).judges(says(others=failed))
        first, second = judgement.unknown
        assert (first.driver, first.reason, first.claims) == (DRIVER, "CallFailed", 5)
        assert first.message == "volume 0 timed out"
        assert [ref.name for ref in first.examples] == ["c000", "c001", "c002"]
        assert (second.reason, second.claims) == ("NotYetAsked", 2)

    WIDE = (
        ("twenty claims of forty", 20, 40, True),
        ("nineteen of nineteen", 19, 19, False),
        ("twenty of forty-one", 20, 41, False),
    )

    @pytest.mark.parametrize(("bad", "of", "wide"), [row[1:] for row in WIDE], ids=[row[0] for row in WIDE])
    def test_a_driver_wide_problem(self, bad: int, of: int, wide: bool) -> None:
        others = {f"v{number:03}": adverse(LOST, SLOW) for number in range(bad)}
        judgement = Bench(claims_of(of)).judges(says({f"v{number:03}" for number in range(bad, of)}, others))
        aggregates = [
            (story.status, story.claims, story.of, story.namespaces) for story in judgement.driver_wide
        ]
        assert aggregates == ([("Inaccessible", bad, of, 1), ("Degraded", bad, of, 1)] if wide else [])

    def test_transitions_come_in_the_order_of_claims(self) -> None:
        others = {f"v{number:03}": adverse(LOST) for number in range(30)}
        judgement = Bench(claims_of(30)).judges(says(others=others))
        told = [turn.claim for turn in judgement.transitions]
        assert told == sorted(told)


HANDLES = [f"v{number:03}" for number in range(4)]
SAID = st.sampled_from(
    [adverse(LOST), adverse(DEAD, SLOW), silent(reason="NoCondition"), silent(reason="CallFailed"), healthy()]
)
DRIVERS = st.builds(
    lambda good, others, state: says(good, others, state=state),
    st.frozensets(st.sampled_from(HANDLES)),
    st.dictionaries(st.sampled_from(HANDLES), SAID),
    st.sampled_from([*SourceState, SourceState.ANSWERING]),
)
NODES = st.sampled_from([healthy(Source.NODE, "n1"), silent(Source.NODE, "n1")])
ELSEWHERE = st.lists(NODES | st.just(adverse(SLOW, source=Source.NODE, node="n1")), max_size=2).map(tuple)
REFS = st.frozensets(st.sampled_from([ClaimRef("shop", f"c{number:03}") for number in range(8)]), max_size=3)


def covered_by(
    well: frozenset[ClaimRef], complete: frozenset[ClaimRef]
) -> dict[ClaimRef, tuple[Origin, ...]]:
    """Return what covers claims: the driver on n2, and the mount table there."""
    driver, mounts = (
        Origin(Source.NODE, Observer.DRIVER, "n2"),
        Origin(Source.NODE, Observer.MOUNT_TABLE, "n2"),
    )
    return {ref: (driver,) * (ref in well) + (mounts,) * (ref in complete) for ref in well | complete}


@dataclass(frozen=True)
class PlainOrigins:
    """Origins whose state follows from their node."""

    states: dict[str, Outcome]
    now: datetime = START

    def state_of(self, claim: ClaimRef, origin: Origin, reason: str) -> Answer:
        outcome = self.states.get(origin.node, Outcome.SILENT)
        return Answer(origin.source, outcome, self.now, origin.node, observer=origin.observer)


EVIDENCE = st.builds(
    lambda driver, claims, volumes, stale_reason, well, complete, states: Evidence(
        {DRIVER: driver},
        {ClaimRef("shop", name): told for name, told in claims.items() if told},
        {VolumeId(DRIVER, handle): told for handle, told in volumes.items() if told},
        stale_reason,
        HealthyOnNodes(START, {DRIVER: well}, {DRIVER: complete}, covered_by(well, complete)),
        PlainOrigins(states),
    ),
    DRIVERS,
    st.dictionaries(st.sampled_from(["c000", "c004", "gone"]), ELSEWHERE, max_size=2),
    st.dictionaries(st.sampled_from(["v000", "v003", "v999"]), ELSEWHERE, max_size=2),
    st.sampled_from(["", "", "no watch"]),
    REFS,
    REFS,
    st.dictionaries(st.sampled_from(["", "n1", "n2"]), st.sampled_from([Outcome.HEALTHY, Outcome.ENDED])),
)


ROUNDS = st.lists(EVIDENCE, min_size=1, max_size=3).flatmap(
    # The same objects come again and again: that is what the short cuts look for.
    lambda some: st.lists(
        st.tuples(st.sampled_from(some), st.integers(0, 3), st.sampled_from(["", "", "", "c000", "c005"])),
        min_size=1,
        max_size=8,
    )
)


@given(ROUNDS, st.sampled_from([0, 2]), st.sampled_from([2, 7 * 24 * 60]))
def test_judging_together_is_judging_one_by_one(
    rounds: list[tuple[Evidence, int, str]], unhealthy_after: int, retention: int
) -> None:
    """The short cuts change nothing: same verdicts, same memory, same transitions."""
    claims = claims_of(8, shared=2)
    members = members_of(claims)
    given = settings(unhealthy_after=unhealthy_after, healthy_after=1)
    given = replace(given, record_retention=timedelta(minutes=retention))
    now = START
    last: PolicyJudgement | None = None
    alone: dict[ClaimRef, ClaimHealth] = {}
    was: dict[ClaimRef, Verdict] = {}
    for evidence, minutes, anew in rounds:
        now += timedelta(minutes=minutes)
        if anew:
            ref = ClaimRef("shop", anew)
            claims[ref] = replace(claims[ref], uid=f"{claims[ref].uid}+")
        told = replace(evidence.drivers[DRIVER], at=now)
        evidence = replace(evidence, drivers={DRIVER: told})
        last = at_once(
            judge_policy(
                last.healths if last else {}, members, claims, evidence, settings=given, now=now, last=last
            )
        )
        turns: list[Transition] = []
        by_node = 0
        for ref, claim in claims.items():
            judgement = judge_claim(
                alone.get(ref),
                answers_about(claim, evidence),
                ref=ref,
                uid=claim.uid,
                driver=DRIVER,
                settings=given,
                now=now,
                stale_reason=evidence.stale_reason,
                before=was.get(ref, Verdict.UNKNOWN),
                by_node=ref in evidence.healthy_on_nodes.complete[DRIVER],
                origins=evidence.origins,
            )
            by_node += judgement.basis is Basis.NODE
            was[ref] = judgement.verdict
            turns += judgement.transitions
            alone.pop(ref, None)
            if judgement.health is not None:
                alone[ref] = judgement.health
        assert last.healths == alone
        assert last.transitions == tuple(turns)
        assert last.counts.healthy_by_node == by_node
        assert verdicts(last) == tuple(
            sum(verdict is wanted for verdict in was.values())
            for wanted in (Verdict.HEALTHY, Verdict.UNHEALTHY, Verdict.UNKNOWN, Verdict.UNMONITORED)
        )


@pytest.mark.parametrize("state", [SourceState.NOT_CONNECTED, SourceState.ANSWERING])
def test_who_does_not_repeat_its_word_clears_it_and_has_said_nothing_good_of_the_volume(
    state: SourceState,
) -> None:
    """What makes a claim healthy is an answer about it."""
    claims, ref = claims_of(1), ClaimRef("shop", "c000")
    bad = {ref: (adverse(SLOW, source=Source.NODE, node="n1"),)}
    last: PolicyJudgement | None = None
    for minute, said in enumerate((bad, {}, {})):
        now = START + minute * MINUTE
        origins = PlainOrigins({"n1": Outcome.HEALTHY}, now)
        last = at_once(
            judge_policy(
                last.healths if last else {},
                members_of(claims),
                claims,
                Evidence({DRIVER: says(state=state, at=now)}, said, origins=origins),
                settings=settings(unhealthy_after=0, healthy_after=1),
                now=now,
                last=last,
            )
        )
    assert last is not None
    assert last.healths[ref].recovered == START + 2 * MINUTE
    connected = state is SourceState.ANSWERING
    assert verdicts(last) == (0, 0, int(connected), int(not connected))


def test_an_explanation_names_the_rule_and_the_time_left() -> None:
    given = settings(rules=[Rule(RuleMatch(reason="Slow"), ignore=True)])
    bench = Bench(claims_of(1), given)
    told = says(others={"v000": adverse(LOST, SLOW, DEAD)})
    bench.judges(told)
    judgement = bench.judges(replace(told, at=START + MINUTE), after=1)
    ref = ClaimRef("shop", "c000")
    (explained,) = explain_answers(
        judgement.healths[ref],
        answers_about(bench.claims[ref], judgement.evidence),
        driver=DRIVER,
        settings=given,
    )
    lost, slow, dead = explained.conditions
    assert (lost.since, lost.left_seconds, lost.rule) == (START, 60, "")
    assert (slow.belief, slow.rule, slow.left_seconds) == ("Ignored", "spec.rules[0]", None)
    assert (dead.confirmed, dead.after_seconds, dead.left_seconds) == (START, 0, None)
    assert explained.says == Outcome.ADVERSE
