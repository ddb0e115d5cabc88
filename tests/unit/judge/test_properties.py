"""What holds for the judge whatever is said, in whatever order, and whenever the process restarts."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from unit.judge.harness import DEAD, LOST, SLOW, Court, adverse, healthy, settings, silent
from volumehealth.judge.claim import judge_claim
from volumehealth.model.health import (
    Answer,
    Condition,
    Identity,
    Outcome,
    Source,
    TransitionKind,
    Verdict,
    Via,
    severity,
)
from volumehealth.model.ids import ClaimRef
from volumehealth.model.policy import Rule, RuleMatch

PLACES = ((Source.CONTROLLER, ""), (Source.NODE, "n1"), (Source.NODE, "n2"))
CONDITIONS = st.lists(st.sampled_from([SLOW, LOST, DEAD]), min_size=1, max_size=3, unique=True)
Key = tuple[Source, str]


@dataclass(frozen=True)
class Step:
    """What is said, so many minutes after the step before."""

    after: float
    answers: tuple[Answer, ...]
    stale_reason: str = ""
    restart: bool = False


def answers_of(place: Key) -> st.SearchStrategy[list[Answer]]:
    source, node = place
    said = CONDITIONS.map(lambda found: adverse(*found, source=source, node=node))
    one = st.one_of(said, st.just(healthy(source, node)), st.just(silent(source, node)))
    return st.lists(
        st.tuples(one, st.sampled_from(Via)).map(lambda told: replace(told[0], via=told[1])), max_size=2
    )


ANSWERS = st.tuples(*map(answers_of, PLACES)).map(
    lambda told: tuple(answer for some in told for answer in some)
)
STEPS = st.builds(
    Step,
    st.sampled_from([0, 0.5, 1, 2, 5]),
    ANSWERS,
    st.sampled_from(["", "", "", "the view is stale"]),
    st.booleans(),
)
STORIES = st.lists(STEPS, min_size=1, max_size=12)
SETTINGS = st.builds(
    lambda unhealthy, healthy: settings(unhealthy_after=unhealthy, healthy_after=healthy),
    st.sampled_from([0, 1, 2]),
    st.sampled_from([0, 1, 5]),
)
ORDERS = ClaimRef("shop", "orders-db")


def heard_at(step: Step, place: Key) -> list[Answer]:
    """Return what a place answers in a step; nothing if it is silent."""
    return [
        answer
        for answer in step.answers
        if (answer.source, answer.node) == place and answer.outcome is not Outcome.SILENT
    ]


def says(answers: list[Answer], identity: Identity) -> bool:
    """Tell whether answers say it."""
    return any(
        (condition.status, condition.reason) == identity[2:]
        for answer in answers
        for condition in answer.conditions
    )


def answered(past: list[tuple[datetime, bool | None]]) -> timedelta:
    """Add up how long something held at the end: True where it held, False where not, None where nobody answered."""
    total, later = timedelta(0), None
    for moment, held in reversed(past):
        if held is False:
            break
        if held and later is not None:
            total += later - moment
        later = moment if held else None
    return total


@given(SETTINGS, STORIES)
def test_nothing_is_found_or_recovered_without_cause(given: object, story: list[Step]) -> None:
    """Told from the story alone; silence counts for neither.

    Found only if its place said something adverse for unhealthyAfter, in whatever words; recovered only if its place
    answered without it for healthyAfter.
    """
    court = Court(given)  # type: ignore[arg-type] # hypothesis does not know what a lambda returns
    past: list[tuple[datetime, Step]] = []
    for step in story:
        judgement = court.hears(*step.answers, after=step.after, stale_reason=step.stale_reason)
        past.append((court.now, step))
        for turn in judgement.transitions:
            identity = turn.finding.identity
            found = turn.kind is TransitionKind.FOUND
            held: list[tuple[datetime, bool | None]] = []
            for moment, earlier in past:
                answers = heard_at(earlier, identity[:2])
                if not answers:
                    held.append((moment, None))
                elif found:
                    held.append((moment, any(answer.conditions for answer in answers)))
                elif says(answers, identity):
                    held.append((moment, False))
                else:  # in a stale view a denial is not heard
                    held.append((moment, None if earlier.stale_reason else True))
            assert says(heard_at(step, identity[:2]), identity) is found
            delay = court.settings.unhealthy_after if found else court.settings.healthy_after
            if not (found and identity.status == "DataLoss"):
                assert answered(held) >= delay


WORDS = [
    adverse(SLOW),
    adverse(LOST),
    adverse(Condition("Degraded", "VolumeConditionAbnormal", "offline")),
    adverse(Condition("Degraded", "VolumeConditionAbnormal", "resizing")),  # a rule ignores this one
    healthy(),
    silent(),
    silent(reason="NoCondition"),
]
IGNORE = Rule(RuleMatch(message="^resizing$"), ignore=True)


@given(st.lists(st.tuples(st.sampled_from([0.5, 1, 10]), st.sampled_from(WORDS)), min_size=1, max_size=30))
def test_a_source_that_goes_on_saying_something_adverse_is_unhealthy_in_whatever_words(
    story: list[tuple[float, Answer]],
) -> None:
    """The whole truth about one source: whoever adds up its answered time knows the verdict."""
    court = Court(settings(rules=[IGNORE]))
    past: list[tuple[datetime, bool | None]] = []
    for after, answer in story:
        judgement = court.hears(answer, after=after)
        ignored = any(one.message == "resizing" for one in answer.conditions)
        open_now = ignored or answer.outcome is Outcome.SILENT
        past.append((court.now, None if open_now else bool(answer.conditions)))
        if past[-1][1] and answered(past) >= court.settings.unhealthy_after:
            assert judgement.verdict is Verdict.UNHEALTHY
            (worst, *_) = judgement.health.findings if judgement.health else ()
            assert severity(worst.status) >= severity(answer.conditions[0].status)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.5, 1, 3]), st.sampled_from(WORDS), st.sampled_from([0, 0, 0, -60, 60, 1440])
        ),
        min_size=1,
        max_size=20,
    )
)
def test_a_wall_clock_that_is_set_changes_no_verdict_and_no_transition(
    story: list[tuple[float, Answer, int]],
) -> None:
    steady, jumping = Court(settings(rules=[IGNORE])), Court(settings(rules=[IGNORE]))
    for after, answer, jump in story:
        jumping.sets_wall_clock(jump)
        one, other = steady.hears(answer, after=after), jumping.hears(answer, after=after)
        assert one.verdict is other.verdict
        assert steady.turns == jumping.turns
        for finding in other.health.findings if other.health else ():
            assert finding.since <= finding.confirmed <= jumping.now


@given(SETTINGS, STORIES)
def test_findings_come_and_go_in_turn_and_count_their_episodes(given: object, story: list[Step]) -> None:
    court = Court(given)  # type: ignore[arg-type] # as above
    episodes: dict[Identity, int] = {}
    present: set[Identity] = set()
    for step in story:
        for turn in court.hears(*step.answers, after=step.after, stale_reason=step.stale_reason).transitions:
            identity = turn.finding.identity
            if turn.kind is TransitionKind.FOUND:
                assert identity not in present
                episodes[identity] = episodes.get(identity, 0) + 1
                present.add(identity)
            else:
                present.remove(identity)
            assert turn.finding.episode == episodes[identity]
        assert present == {finding.identity for finding in (court.health.findings if court.health else ())}


@given(SETTINGS, STORIES)
def test_identical_input_gives_no_output(given: object, story: list[Step]) -> None:
    court = Court(given)  # type: ignore[arg-type] # as above
    for step in story:
        first = court.hears(*step.answers, after=step.after, stale_reason=step.stale_reason)
        again = court.hears(*step.answers, stale_reason=step.stale_reason)
        assert again.transitions == ()
        assert again.health is first.health
        assert replace(again, transitions=first.transitions) == first


@given(SETTINGS, STORIES, st.randoms(use_true_random=False))
def test_the_order_of_answers_changes_nothing(given: object, story: list[Step], random: object) -> None:
    one, other = Court(given), Court(given)  # type: ignore[arg-type] # as above
    for step in story:
        shuffled = list(step.answers)
        random.shuffle(shuffled)  # type: ignore[attr-defined] # hypothesis' own kind of Random
        assert one.hears(*step.answers, after=step.after) == other.hears(*shuffled, after=step.after)


def settled(story: list[Step], court: Court, *, restarts: bool) -> None:
    """Tell a story and then its last words for a long time, with every place speaking."""
    for step in story:
        if restarts and step.restart:
            court.restarts()
        court.hears(*step.answers, after=step.after, stale_reason=step.stale_reason)
    speaking = {
        (answer.source, answer.node) for answer in story[-1].answers if answer.outcome is not Outcome.SILENT
    }
    rest = [healthy(*place) for place in PLACES if place not in speaking]
    for _ in range(10):
        court.hears(*story[-1].answers, *rest, after=2)


@given(SETTINGS, STORIES)
def test_a_restart_never_repeats_or_loses_a_transition(given: object, story: list[Step]) -> None:
    """Whatever the restarts: each episode is found once and recovered once, and the end is the same."""
    through, restarted = Court(given), Court(given)  # type: ignore[arg-type] # as above
    settled(story, through, restarts=False)
    settled(story, restarted, restarts=True)
    assert len(restarted.turns) == len(set(restarted.turns))
    left = {finding.identity for finding in (through.health.findings if through.health else ())}
    assert left == {finding.identity for finding in (restarted.health.findings if restarted.health else ())}
    for kind, identity, episode in restarted.turns:
        if kind is TransitionKind.RECOVERED:
            assert (TransitionKind.FOUND, identity, episode) in restarted.turns
        elif episode > 1:
            assert (TransitionKind.RECOVERED, identity, episode - 1) in restarted.turns


@given(st.lists(st.text(max_size=8), max_size=20), st.lists(st.text(max_size=8), max_size=20))
def test_whatever_a_driver_calls_its_faults_it_is_judged(statuses: list[str], reasons: list[str]) -> None:
    conditions = tuple(Condition(status, reason, status) for status in statuses for reason in reasons)
    court = Court(settings(unhealthy_after=0))
    judgement = court.hears(adverse(*conditions) if conditions else healthy())
    assert (judgement.health is None) is (not conditions)
    assert len(court.notified) <= 64


def test_what_is_remembered_of_another_claim_of_that_name_is_no_past() -> None:
    court = Court(settings(unhealthy_after=0))
    court.hears(adverse(LOST))
    judgement = judge_claim(
        court.health,
        [healthy()],
        ref=ORDERS,
        uid="another",
        driver=court.driver,
        settings=court.settings,
        now=court.now,
    )
    assert (judgement.health, judgement.transitions) == (None, ())
