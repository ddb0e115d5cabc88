"""Notifications: one CloudEvent for each end of an episode, sent until the receiver has it, in nobody's way."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from aiohttp import web

from support.health import (
    START,
    SteppedClock,
    cleared,
    found,
    make_claim,
    make_finding,
    make_health,
    make_policy,
    make_result,
)
from support.notifying import reporter_with
from volumehealth.judge.result import CheckResult
from volumehealth.model.cluster import Claim, SilenceAsked
from volumehealth.model.health import Source, Transition, TransitionKind
from volumehealth.model.steps import at_once
from volumehealth.policy.silence import Silences
from volumehealth.report.chat import Words, words_of
from volumehealth.report.notifications import HttpSession, Notifications, Target, Targets
from volumehealth.report.outbox import Outbox
from volumehealth.report.records import resume

CLAIM, FINDING = make_claim(), make_finding()
SECRET = "Bearer very-secret"


class Receiver:
    """Takes messages in memory, and answers as the test says."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.headers: list[Mapping[str, str]] = []
        self.answers: list[int | Exception] = []
        self.said: list[tuple[str, Words]] = []

    async def __call__(self, target: Target, body: bytes, headers: Mapping[str, str]) -> tuple[int, float]:
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, Exception):
            raise answer
        if answer == 200:
            self.messages.append(json.loads(body))
            self.headers.append(headers)
        return answer, 0.0

    async def say(self, address: str, words: Words) -> bool:
        taken = not self.answers or self.answers.pop(0) == 200
        if taken:
            self.said.append((address, words))
        return taken

    async def close(self) -> None:
        """There is nothing to close."""


class World:
    """Notifications, their outbox, and a receiver."""

    def __init__(self, directory: Path, receiver: Any = None, *, gather: float = 2.0) -> None:
        self.directory = directory
        self.clock = SteppedClock()
        self.receiver = receiver or Receiver()
        self.gather = gather
        self.target("default", "https://example.com/hook")
        self.start()

    def start(self) -> None:
        self.outbox = Outbox(clock=self.clock)
        self.output = Notifications(
            Targets(self.directory),
            outbox=self.outbox,
            random=Random(1),
            send=self.receiver,
            say=self.receiver.say,
            runbooks="https://r.example.com",
            gather=self.gather,
        )

    def target(self, policy: str, url: str) -> None:
        text = json.dumps({"url": url, "headers": {"Authorization": SECRET}})
        (self.directory / f"{policy}.yaml").write_text(text)

    def check(self, result: CheckResult, *, recorded: bool = True) -> None:
        at_once(self.outbox.enter(result))
        list(self.output.publish(result))
        for ref in result.claims if recorded else ():
            self.outbox.unrecordable(ref)

    async def live(self, seconds: float = 60) -> None:
        running = asyncio.create_task(self.output.run())
        await asyncio.sleep(seconds)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def came(*claims: Claim, **changes: Any) -> CheckResult:
    return make_result(
        [(claim, make_health(claim, FINDING)) for claim in claims],
        turns=[found(claim, FINDING) for claim in claims],
        **changes,
    )


def went(*claims: Claim) -> CheckResult:
    return make_result(
        [(claim, make_health(claim, recovered=START)) for claim in claims],
        turns=[cleared(claim, FINDING) for claim in claims],
    )


@pytest.fixture
async def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.looptime
async def test_both_ends_of_an_episode_are_sent_once(world: World) -> None:
    world.check(came(CLAIM))
    await world.live()
    world.check(went(CLAIM))
    world.check(make_result([(CLAIM, make_health(CLAIM, recovered=START))]))
    await world.live()
    first, second = world.receiver.messages
    assert first["id"].startswith(
        "uid-shop-orders-db|Controller||Inaccessible|VolumeNotFound|1|2026-11-23T03:02:11Z|"
    )
    assert (first["id"][-8:], second["id"][-6:]) == ("Abnormal", "Normal")
    assert (first["type"], second["type"]) == ("dev.volumehealth.abnormal", "dev.volumehealth.normal")
    assert first["subject"] == "shop/orders-db"
    assert first["data"]["persistentVolumeClaim"] == "orders-db"
    assert first["data"]["runbook"] == "https://r.example.com#volumenotfound"
    assert world.receiver.headers[0]["Authorization"] == SECRET


@pytest.mark.looptime
async def test_what_is_closed_because_nobody_monitors_it_any_more_is_not_sent_as_recovered(
    world: World,
) -> None:
    """Faults C8."""
    world.check(came(CLAIM))
    await world.live()
    closed = Transition(TransitionKind.CLOSED, CLAIM.ref, CLAIM.uid, FINDING, START)
    world.check(make_result([(CLAIM, make_health(CLAIM, recovered=START, closed=True))], turns=[closed]))
    await world.live()
    assert [message["data"]["edge"] for message in world.receiver.messages] == ["Abnormal"]
    assert world.outbox.owed(CLAIM.ref) == ()


@pytest.mark.looptime
async def test_what_a_deleted_policy_owed_is_sent_by_the_policy_that_holds_the_claim_next(
    world: World,
) -> None:
    """Faults C7 and E13: the receiver was away while the policy was replaced."""
    world.receiver.answers = [503] * 100
    world.check(came(CLAIM))
    await world.live(30)
    at_once(world.output.forget(make_policy()))
    world.receiver.answers = []
    await world.live(600)
    assert world.receiver.messages == []
    world.check(make_result([(CLAIM, make_health(CLAIM, FINDING))], policy=make_policy("next")))
    await world.live()
    assert [message["data"]["policy"] for message in world.receiver.messages] == ["next"]


@pytest.mark.looptime
async def test_chat_and_mail_are_told_in_words_grouped_and_sent_again_like_events(world: World) -> None:
    (world.directory / "default.yaml").write_text("apprise: tgram://token/chat")
    world.receiver.answers = [503] * 3
    claims = [make_claim(f"c{number}", namespace=f"ns{number % 7}") for number in range(1000)]
    world.check(came(CLAIM, *claims))
    await world.live()
    world.check(went(CLAIM))
    await world.live()
    assert world.receiver.messages == []
    assert [address for address, _ in world.receiver.said] == ["tgram://token/chat"] * 2
    assert [(words.title, words.bad) for _, words in world.receiver.said] == [
        ("1001 claims of csi-powerstore.dellemc.com in 8 namespaces: Inaccessible/VolumeNotFound", True),
        ("shop/orders-db: recovered from Inaccessible/VolumeNotFound", False),
    ]
    assert world.outbox.dues_of("Notifications") == []


@pytest.mark.looptime
async def test_nothing_is_sent_before_the_record_shows_it(world: World) -> None:
    world.check(came(CLAIM), recorded=False)
    await world.live(5)
    assert world.receiver.messages == []
    world.outbox.unrecordable(CLAIM.ref)
    await world.live(5)
    assert len(world.receiver.messages) == 1


@pytest.mark.looptime
async def test_a_driver_wide_problem_is_one_message(world: World) -> None:
    claims = [make_claim(f"c{number}", namespace=f"ns{number % 7}") for number in range(1000)]
    world.check(came(*claims))
    await world.live()
    (message,) = world.receiver.messages
    assert (message["data"]["claims"], message["data"]["namespaces"]) == (1000, 7)
    assert len(message["data"]["examples"]) == 3
    assert world.outbox.dues_of("Notifications") == []


@pytest.mark.looptime
async def test_many_different_problems_are_sent_at_a_bounded_rate(world: World) -> None:
    claims = [make_claim(f"c{number}") for number in range(100)]
    for number, claim in enumerate(claims):
        finding = make_finding(reason=f"Reason{number}")
        world.check(make_result([(claim, make_health(claim, finding))], turns=[found(claim, finding)]))
    await world.live(10)
    assert 20 <= len(world.receiver.messages) <= 45
    await world.live(120)
    assert len(world.receiver.messages) == 100


@pytest.mark.looptime
@pytest.mark.parametrize("fault", [500, 503, 429, 401, 404, 302, TimeoutError(), ConnectionError(SECRET)])
async def test_what_the_receiver_does_not_take_is_sent_again_ever_more_rarely_and_not_lost(
    world: World, fault: int | Exception, caplog: pytest.LogCaptureFixture
) -> None:
    world.receiver.answers = [fault] * 1000
    world.check(came(CLAIM))
    await world.live(3600)
    tries = 1000 - len(world.receiver.answers)
    assert 10 <= tries <= 30
    world.receiver.answers = []
    await world.live(700)
    assert len(world.receiver.messages) == 1
    assert "secret" not in caplog.text.lower()
    assert "example.com" not in caplog.text


@pytest.mark.looptime
async def test_a_message_that_the_receiver_will_never_take_does_not_hold_up_others(world: World) -> None:
    world.receiver.answers = [422]
    world.check(came(CLAIM, make_claim("other")))
    await world.live()
    assert [message["subject"] for message in world.receiver.messages] == ["shop/other"]
    assert world.outbox.dues_of("Notifications") == []


@pytest.mark.looptime
@pytest.mark.parametrize("form", ["url: https://example.com/hook", "apprise: tgram://token/chat"])
async def test_a_message_that_the_receiver_fails_on_each_time_does_not_hold_up_others(
    world: World, form: str
) -> None:
    """A gateway that answers 500 to one text kept all later messages of the policy from being sent."""
    (world.directory / "default.yaml").write_text(form)
    receiver = world.receiver = FailsOn("orders-db")
    world.start()
    others = [make_claim(f"other-{number}") for number in range(3)]
    world.check(came(CLAIM, *others[:2]))
    await world.live(600)
    assert receiver.subjects == ["shop/other-0", "shop/other-1"]
    world.check(came(others[2]))
    world.check(went(CLAIM, others[0]))
    await world.live(600)
    assert sorted(receiver.subjects[2:]) == ["shop/other-0", "shop/other-2"]
    receiver.word = "nothing"
    await world.live(600)
    assert receiver.subjects[4:] == ["shop/orders-db"] * 2
    assert receiver.edges[4:] == ["Abnormal", "Normal"]


class FailsOn(Receiver):
    """Fails on each message about a claim with a word in its name."""

    def __init__(self, word: str) -> None:
        super().__init__()
        self.word = word
        self.subjects: list[str] = []
        self.edges: list[str] = []

    async def __call__(self, target: Target, body: bytes, headers: Mapping[str, str]) -> tuple[int, float]:
        message = json.loads(body)
        if self.word in message["subject"]:
            return 500, 0.0
        self.take(message["subject"], message["data"]["edge"])
        return 200, 0.0

    async def say(self, address: str, words: Words) -> bool:
        if self.word in words.title:
            return False
        self.take(words.title.partition(":")[0], "Abnormal" if words.bad else "Normal")
        return True

    def take(self, subject: str, edge: str) -> None:
        self.subjects.append(subject)
        self.edges.append(edge)


@pytest.mark.looptime
async def test_a_receiver_that_is_away_delays_no_other_policy(world: World) -> None:
    world.target("slow", "https://slow.example.com")
    other = make_claim("other")

    class Picky(Receiver):
        async def __call__(
            self, target: Target, body: bytes, headers: Mapping[str, str]
        ) -> tuple[int, float]:
            if "slow" in target.url:
                await asyncio.sleep(3600)
            return await super().__call__(target, body, headers)

    world.receiver = Picky()
    world.start()
    world.check(came(CLAIM, policy=make_policy("slow")))
    running = asyncio.create_task(world.output.run())
    await asyncio.sleep(10)
    world.check(came(other, policy=make_policy("quick")))
    await asyncio.sleep(10)
    assert [message["subject"] for message in world.receiver.messages] == ["shop/other"]
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


@pytest.mark.looptime
async def test_what_was_owed_when_the_operator_died_is_sent_by_the_next_with_the_same_id(
    world: World,
) -> None:
    world.receiver.answers = [503] * 5
    world.check(came(CLAIM))
    await world.live(5)
    owed = world.outbox.owed(CLAIM.ref)
    world.start()
    world.receiver.answers = []
    world.outbox.restore(CLAIM.ref, owed)
    world.check(make_result([(CLAIM, make_health(CLAIM, FINDING))]))
    await world.live()
    (message,) = world.receiver.messages
    assert message["id"].endswith("|1|2026-11-23T03:02:11Z|Abnormal")


@pytest.mark.looptime
async def test_a_policy_without_a_target_owes_nothing_and_a_deleted_one_neither(world: World) -> None:
    (world.directory / "default.yaml").unlink()
    world.check(came(CLAIM))
    assert world.outbox.owed(CLAIM.ref) == ()
    world.target("storage", "https://example.com")
    world.check(came(CLAIM))
    at_once(world.output.forget(make_policy()))
    await world.live()
    assert world.receiver.messages == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "url: 7",
        pytest.param("[" * 5000, id="deep"),
        "headers: {a: b}",
        "url: ftp://x",
        "url: {a: very-secret}",
        "apprise: very-secret",
        "{url: https://very-secret, apprise: tgram://very-secret}",
    ],
)
def test_a_target_that_cannot_be_used_is_none_and_not_quoted(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "default.yaml").write_text(text)
    assert Targets(tmp_path).of("storage") is None
    assert "secret" not in caplog.text


def test_a_header_is_sent_as_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "default.yaml").write_text("url: https://x\nheaders: {X-Key: 0123, X-On: yes}")
    target = Targets(tmp_path).of("storage")
    assert target is not None
    assert target.headers == {"X-Key": "0123", "X-On": "yes"}


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
    """A real HTTP server that fails once and then takes everything."""
    taken: list[dict[str, Any]] = []
    failures = [503]

    async def take(request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != SECRET:
            return web.Response(status=401)
        if failures:
            return web.Response(status=failures.pop())
        assert request.content_type == "application/cloudevents+json"
        taken.append(await request.json())
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/hook", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    yield f"http://127.0.0.1:{port}/hook", taken
    await runner.cleanup()


async def test_a_real_receiver_gets_what_the_whole_reporter_publishes(
    tmp_path: Path, receiver: tuple[str, list[dict[str, Any]]]
) -> None:
    url, taken = receiver
    target = json.dumps({"url": url, "headers": {"Authorization": SECRET}})
    async with reporter_with(target, tmp_path) as (reporter, api):
        reporter.report(came(CLAIM))
        async with asyncio.timeout(20):
            while not taken:  # noqa: ASYNC110 - a real server's time
                await asyncio.sleep(0.05)
            (record,) = api.of_kind("VolumeHealth")
            assert [due["output"] for due in record["status"]["owed"]] == ["Notifications"]
            read = resume(CLAIM.ref, CLAIM.uid, json.dumps(record["status"]).encode())
            assert read is not None
            assert [due.output for due in read.owed] == ["Notifications"]
            while "owed" in api.of_kind("VolumeHealth")[0]["status"]:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.05)
    assert [message["subject"] for message in taken] == ["shop/orders-db"]


def test_a_session_is_made_when_it_is_used() -> None:
    assert HttpSession()._session is None


def quiet(hours: float = 1.0) -> Silences:
    until = START + timedelta(hours=hours)
    asked = SilenceAsked(f"{until:%Y-%m-%dT%H:%M:%SZ}", "", "uid")
    return Silences({CLAIM.ref: asked}, {CLAIM.ref: CLAIM}, {}, {})


@pytest.mark.looptime
async def test_a_silenced_claim_sends_nothing_and_what_is_still_wrong_at_the_end_is_sent_once(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    world.check(came(CLAIM, now=START, silences=quiet()))
    await world.live()
    assert world.receiver.messages == []
    world.check(make_result([(CLAIM, make_health(CLAIM, FINDING))], now=START + timedelta(hours=2)))
    await world.live()
    assert [one["type"] for one in world.receiver.messages] == ["dev.volumehealth.abnormal"]


@pytest.mark.looptime
async def test_a_silence_holds_while_its_policy_is_suspended(tmp_path: Path) -> None:
    world = World(tmp_path)
    found = came(CLAIM, now=START, silences=quiet())
    world.check(found)
    await world.live()
    for hours, sent in ((0.5, 0), (1.5, 1)):
        world.check(
            CheckResult.unjudged(
                found.policy,
                START + timedelta(hours=hours),
                claims=found.claims,
                view=found.view,
                silences=quiet(),
                remembered=found.healths,
            )
        )
        await world.live()
        assert len(world.receiver.messages) == sent


@pytest.mark.looptime
async def test_what_began_and_ended_within_a_silence_is_never_sent(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.check(came(CLAIM, now=START, silences=quiet()))
    well = [(CLAIM, make_health(CLAIM))]
    world.check(make_result(well, turns=[cleared(CLAIM, FINDING)], now=START, silences=quiet()))
    await world.live()
    world.check(make_result(well, now=START + timedelta(hours=2)))
    await world.live()
    assert world.receiver.messages == []


class Slow(Receiver):
    """Takes a minute for each message."""

    async def __call__(self, target: Target, body: bytes, headers: Mapping[str, str]) -> tuple[int, float]:
        answer = await super().__call__(target, body, headers)
        await asyncio.sleep(60)
        return answer


@pytest.mark.looptime
@pytest.mark.parametrize("change", ["deleted", "handed over", "silenced", "record gone"])
async def test_what_is_not_to_be_sent_any_more_is_not_sent_by_a_round_that_has_begun(
    tmp_path: Path, change: str
) -> None:
    """A slow receiver makes a round last: a policy was gone, and went on telling for minutes."""
    world = World(tmp_path, Slow())
    claims = [make_claim(f"claim-{number}") for number in range(5)]
    bad = came(*claims)
    world.check(bad)
    running = asyncio.create_task(world.output.run())
    await asyncio.sleep(30)
    if change == "deleted":
        at_once(world.output.forget(bad.policy))
    elif change == "handed over":
        (tmp_path / "next.yaml").write_text("apprise: json://next.example.com")
        world.check(replace(bad, policy=make_policy("next")), recorded=False)
    elif change == "silenced":
        asked = {claim.ref: SilenceAsked("2026-11-23T04:00Z", "", claim.uid) for claim in claims}
        world.check(replace(bad, silences=Silences(asked, bad.claims, {}, {}), now=START))
    else:
        for claim in claims:
            world.outbox.forget(claim.ref)
    await asyncio.sleep(600)
    assert len(world.receiver.messages) == 1
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


@pytest.mark.looptime
async def test_what_comes_while_a_round_goes_on_is_sent_after_it_and_not_with_the_next_check(
    tmp_path: Path,
) -> None:
    world = World(tmp_path, Slow())
    world.check(came(make_claim("first")))
    running = asyncio.create_task(world.output.run())
    await asyncio.sleep(30)
    world.check(came(make_claim("second")))
    await asyncio.sleep(60)
    assert [one["subject"] for one in world.receiver.messages] == ["shop/first", "shop/second"]
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


@pytest.mark.looptime
async def test_an_end_is_not_sent_before_the_beginning_where_the_record_could_not_be_written_between(
    tmp_path: Path,
) -> None:
    """An etcd that is full takes no writes: the receiver's last word was that the volume is bad."""
    world = World(tmp_path)
    world.check(came(CLAIM), recorded=False)
    over = went(CLAIM)
    world.check(over, recorded=False)
    world.outbox.recorded(CLAIM.ref, world.outbox.waiting(CLAIM.ref, over.healths[CLAIM.ref]))
    await world.live()
    sent = [one["type"] for one in world.receiver.messages]
    assert sent == ["dev.volumehealth.abnormal", "dev.volumehealth.normal"]


@pytest.mark.looptime
async def test_claims_that_come_and_go_are_not_remembered_once_all_of_them_was_sent(world: World) -> None:
    for number in range(5):
        claim = make_claim(f"claim-{number}")
        world.check(came(claim))
        world.check(went(claim))
        await world.live()
    world.check(make_result())
    assert world.output._holders == {}
    assert len(world.receiver.messages) == 10


@pytest.mark.looptime
async def test_a_claim_that_is_bad_on_many_nodes_counts_once(world: World) -> None:
    """Faults H26: it was called as many claims, and named three times."""
    findings = [make_finding(source=Source.NODE, node=f"worker-{number}") for number in range(30)]
    turns = [found(CLAIM, finding) for finding in findings]
    world.check(make_result([(CLAIM, make_health(CLAIM, *findings))], turns=turns))
    await world.live()
    (message,) = world.receiver.messages
    assert (message["data"]["claims"], message["data"]["examples"]) == (1, ["shop/orders-db"])
    assert words_of("csi.example.com", message["data"]).title.startswith("1 claim of csi.example.com in ")
