"""What the tests of the judge share: a moment, statements, and a claim that is judged again and again."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from volumehealth.judge.claim import Judgement, JudgeSettings, judge_claim, resumed, running
from volumehealth.judge.rules import compile_rules
from volumehealth.model.health import (
    DEGRADED,
    Answer,
    ClaimHealth,
    Condition,
    Identity,
    Origins,
    Outcome,
    Source,
    TransitionKind,
    Verdict,
    Via,
)
from volumehealth.model.ids import ClaimRef
from volumehealth.model.origin import Observer
from volumehealth.model.policy import Rule

START = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
ORDERS = ClaimRef("shop", "orders-db")
DRIVER = "csi.example.com"
MINUTE = timedelta(minutes=1)

SLOW = Condition(DEGRADED, "Slow", "reads take long")
LOST = Condition("Inaccessible", "VolumeNotFound", "volume is not found")
DEAD = Condition("DataLoss", "DiskFailed", "two disks of one mirror failed")


def settings(
    *, unhealthy_after: int = 2, healthy_after: int = 5, rules: Sequence[Rule] = ()
) -> JudgeSettings:
    """Return settings; times in minutes, a week of retention."""
    return JudgeSettings(
        timedelta(minutes=unhealthy_after),
        timedelta(minutes=healthy_after),
        compile_rules(tuple(rules)),
        timedelta(days=7),
    )


def healthy(
    source: Source = Source.CONTROLLER, node: str = "", *, observer: Observer = Observer.DRIVER
) -> Answer:
    return Answer(source, Outcome.HEALTHY, START, node, observer=observer)


def silent(source: Source = Source.CONTROLLER, node: str = "", reason: str = "DriverUnreachable") -> Answer:
    return Answer(source, Outcome.SILENT, START, node, reason=reason, message="it does not answer")


def adverse(
    *conditions: Condition,
    source: Source = Source.CONTROLLER,
    node: str = "",
    via: Via = Via.OPERATOR,
    observer: Observer = Observer.DRIVER,
) -> Answer:
    return Answer(source, Outcome.ADVERSE, START, node, via, conditions, observer=observer)


class Court:
    """One claim through time. Answers are heard at the moment they are judged."""

    def __init__(
        self, given: JudgeSettings | None = None, *, driver: str = DRIVER, before: Verdict = Verdict.UNKNOWN
    ) -> None:
        self.ref = ORDERS
        self.settings = given or settings()
        self.driver = driver
        self.before = before
        self.now = START
        self.monotonic = 0.0
        self.health: ClaimHealth | None = None
        self.notified: list[tuple[str, str, int]] = []
        self.turns: list[tuple[TransitionKind, Identity, int]] = []

    def hears(
        self,
        *answers: Answer,
        after: float = 0,
        uid: str = "uid-1",
        stale_reason: str = "",
        by_node: bool = False,
        origins: Origins | None = None,
        ago: float = 0,
    ) -> Judgement:
        """Judge what is said `after` so many more minutes, and was answered so many minutes `ago`."""
        return self.hears_each(
            *((answer, ago) for answer in answers),
            after=after,
            uid=uid,
            stale_reason=stale_reason,
            by_node=by_node,
            origins=origins,
        )

    def hears_each(
        self,
        *answers: tuple[Answer, float],
        after: float = 0,
        uid: str = "uid-1",
        stale_reason: str = "",
        by_node: bool = False,
        origins: Origins | None = None,
    ) -> Judgement:
        """Judge what is said `after` so many more minutes; each was answered so many minutes ago as stands beside it."""
        self.now += MINUTE * after
        self.monotonic += 60.0 * after
        judgement = judge_claim(
            self.health,
            [replace(answer, at=self.now - MINUTE * ago) for answer, ago in answers],
            ref=ORDERS,
            uid=uid,
            driver=self.driver,
            settings=self.settings,
            now=self.now,
            monotonic=self.monotonic,
            stale_reason=stale_reason,
            before=self.before,
            by_node=by_node,
            origins=origins,
        )
        self.health, self.before = judgement.health, judgement.verdict
        self.notified += [
            (str(turn.kind), turn.finding.reason, turn.finding.episode) for turn in judgement.transitions
        ]
        self.turns += [
            (turn.kind, turn.finding.identity, turn.finding.episode) for turn in judgement.transitions
        ]
        return judgement

    def runs_out(self) -> list[float]:
        """Return when the delays that are running are complete, in monotonic seconds."""
        health = self.health
        return (
            []
            if health is None
            else [one.complete_at for one in running(health, self.settings.healthy_after)]
        )

    def sets_wall_clock(self, minutes: float) -> None:
        """Set the wall clock ahead, or back; no time passes."""
        self.now += MINUTE * minutes

    def restarts(self) -> None:
        """Forget what is not written into a record."""
        self.before = Verdict.UNKNOWN
        if self.health is None or not (self.health.findings or self.health.recovered):
            self.health = None
            return
        self.health = replace(resumed(self.health), ignored=False)


FOUND = str(TransitionKind.FOUND)
RECOVERED = str(TransitionKind.RECOVERED)
CLOSED = str(TransitionKind.CLOSED)
