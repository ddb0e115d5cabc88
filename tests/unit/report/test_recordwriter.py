"""Records on the server are as they should be: made, changed and removed when needed, and never without need."""

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from support.fakeapi import FakeApi, merged
from support.health import (
    START,
    SteppedClock,
    found,
    make_claim,
    make_finding,
    make_health,
    make_pod,
    make_policy,
    make_result,
)
from volumehealth import errors
from volumehealth.judge.result import CheckResult
from volumehealth.kube.writes import WriteQueue
from volumehealth.model.clock import rfc3339
from volumehealth.model.cluster import Pod, SilenceAsked
from volumehealth.model.health import Finding
from volumehealth.model.ids import ClaimRef
from volumehealth.model.steps import at_once
from volumehealth.policy.silence import Silences
from volumehealth.report.outbox import Due, Edge, Outbox, episode_of
from volumehealth.report.recordwriter import RecordWriter

pytestmark = pytest.mark.looptime

CLAIM, FINDING = make_claim(), make_finding()
HEALTH = make_health(CLAIM, FINDING)
BAD = (CLAIM, HEALTH)
PATH = "/apis/volumehealth.dev/v1alpha1/namespaces/shop/volumehealths/orders-db"


@dataclass
class Stored:
    """A record as the view has it."""

    labels: dict[str, str]
    owner_uid: str
    status: bytes
    other_owners: bool = False
    version: int = 0


class World:
    """A RecordWriter and the API server it writes to."""

    def __init__(self, api: FakeApi, queue: WriteQueue, clock: SteppedClock) -> None:
        self.api, self.queue, self.clock = api, queue, clock
        self.notified: datetime | None = START
        self.owners: dict[ClaimRef, str] = {}
        self.pods: list[Pod] = []
        self.looked_at: list[ClaimRef] = []
        self.restart()

    def restart(self) -> None:
        self.outbox = Outbox(clock=self.clock)
        self.records = RecordWriter(
            self.queue,
            clock=self.clock,
            outbox=self.outbox,
            notified=lambda *_: self.notified,
            pods_of=self.pods_of,
            owner_of=self.owners.get,
        )
        self.shown: dict[ClaimRef, Stored] = {}

    def pods_of(self, ref: ClaimRef) -> tuple[Pod, ...]:
        self.looked_at.append(ref)
        return tuple(self.pods)

    def view(self) -> dict[ClaimRef, Stored]:
        """What the view shows of the server."""
        return {
            ClaimRef(one["metadata"]["namespace"], one["metadata"]["name"]): Stored(
                one["metadata"].get("labels", {}),
                next((owner["uid"] for owner in one["metadata"].get("ownerReferences", ())), ""),
                msgspec.json.encode(one.get("status", {})),
                len(one["metadata"].get("ownerReferences", ())) > 1,
                int(one["metadata"]["resourceVersion"]),
            )
            for one in self.api.of_kind("VolumeHealth")
        }

    async def check(self, result: CheckResult | None = None, *, seconds: float = 1) -> None:
        """Keep records as a check does, with a view that shows the server as it is."""
        before, self.shown = self.shown, self.view()
        self.records.sweep(self.shown, {"storage"})
        both = before.keys() | self.shown.keys()
        self.records.look_again({ref for ref in both if before.get(ref) != self.shown.get(ref)})
        await self.keep(result or make_result([BAD]), seconds=seconds)

    async def keep(self, result: CheckResult, *, seconds: float = 1) -> None:
        list(self.records.publish(result))
        await self.write(seconds)

    async def write(self, seconds: float = 1) -> None:
        task = asyncio.create_task(self.queue.run())
        await asyncio.sleep(seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def world(api: FakeApi, queue: WriteQueue, clock: SteppedClock) -> World:
    return World(api, queue, clock)


async def test_the_first_finding_makes_a_record(world: World) -> None:
    await world.keep(make_result([BAD]))
    assert world.api.objects[PATH]["status"]["health"] == "Unhealthy"


async def test_a_silence_is_in_the_record_while_it_holds_and_no_longer(world: World) -> None:
    claim, _ = BAD

    def silenced(until: str) -> CheckResult:
        asked = {claim.ref: SilenceAsked(until, "array work", claim.uid)}
        return make_result([BAD], silences=Silences(asked, {claim.ref: claim}, {}, {}))

    await world.check(silenced("2026-11-23T06:00Z"))
    assert world.api.objects[PATH]["status"]["silenced"]["until"] == "2026-11-23T06:00:00Z"
    await world.check(silenced("2026-11-23T07:00Z"))
    assert world.api.objects[PATH]["status"]["silenced"]["until"] == "2026-11-23T07:00:00Z"
    await world.check(silenced("2026-11-20T06:00Z"))
    assert "silenced" not in world.api.objects[PATH]["status"]


async def test_what_was_owed_about_a_claim_is_not_owed_about_one_that_is_made_anew_under_its_name(
    world: World,
) -> None:
    """Else an operator that is started anew reads it as the new claim's, and tells of a recovery that never was."""
    due = Due("Events", Edge.NORMAL, CLAIM.uid, FINDING, START)
    world.outbox.restore(CLAIM.ref, [due])
    await world.keep(make_result([BAD]))
    assert world.api.objects[PATH]["status"]["owed"]
    anew = replace(CLAIM, uid="uid-anew")
    await world.keep(make_result([(anew, make_health(anew, FINDING))]))
    assert "owed" not in world.api.objects[PATH]["status"]
    assert world.outbox.dues_of("Events") == []


async def test_a_check_that_finds_the_same_writes_nothing(world: World) -> None:
    for _ in range(5):
        await world.keep(make_result([(CLAIM, replace(HEALTH))]))
    assert world.api.count("PATCH") == 1


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"findings": (make_finding(message="another text"),)}, id="another message"),
        pytest.param({"findings": (make_finding(stale=True),)}, id="its source fell silent"),
        pytest.param({"findings": (), "recovered": START}, id="recovery"),
    ],
)
async def test_what_is_new_is_written(world: World, change: dict[str, Any]) -> None:
    await world.keep(make_result([BAD]))
    await world.keep(make_result([(CLAIM, replace(HEALTH, **change))]))
    assert world.api.count("PATCH") == 2


async def test_a_change_that_the_record_does_not_show_is_not_written(world: World) -> None:
    await world.keep(make_result([BAD]))
    await world.keep(make_result([(CLAIM, replace(HEALTH, ignored=True))]))
    assert world.api.count("PATCH") == 1


async def test_pods_that_come_and_go_are_written(world: World) -> None:
    await world.keep(make_result([BAD]))
    world.pods = [make_pod()]
    await world.keep(make_result([BAD]))
    assert world.api.objects[PATH]["status"]["pods"] == ["orders-db-0"]


async def test_when_retention_is_over_the_record_goes(world: World) -> None:
    await world.keep(make_result([BAD]))
    await world.keep(make_result([], others=[CLAIM]), seconds=20)
    assert PATH not in world.api.objects


async def test_the_record_of_a_claim_that_is_gone_goes_at_once(world: World) -> None:
    await world.keep(make_result([BAD]))
    await world.keep(make_result([]))
    assert PATH not in world.api.objects


async def test_a_hand_over_between_policies_keeps_the_record(world: World) -> None:
    other = make_policy("other")
    await world.keep(make_result([BAD]))
    await world.keep(make_result([], others=[CLAIM]))
    await world.keep(make_result([BAD], policy=other), seconds=60)
    assert world.api.count("DELETE") == 0
    assert world.api.objects[PATH]["status"]["policy"] == "other"


async def test_a_deleted_policy_takes_its_records_back(world: World) -> None:
    await world.keep(make_result([BAD]))
    at_once(world.records.forget(make_policy()))
    await world.write(seconds=3)
    assert PATH not in world.api.objects


async def test_a_deleted_policy_whose_claims_another_takes_over_leaves_their_records(world: World) -> None:
    await world.keep(make_result([BAD]))
    at_once(world.records.forget(make_policy()))
    await world.write()
    await world.keep(make_result([BAD], policy=make_policy("other")), seconds=60)
    assert world.api.count("DELETE") == 0
    assert world.api.objects[PATH]["status"]["policy"] == "other"


async def test_a_policy_deleted_while_the_operator_was_down_takes_its_records_back_too(world: World) -> None:
    await world.keep(make_result([BAD]))
    world.restart()
    at_once(world.records.learn(world.view()))
    world.records.sweep(world.view(), {"other"})
    await world.write()
    assert PATH not in world.api.objects


async def test_a_restart_writes_no_equal_record_again(world: World) -> None:
    await world.keep(make_result([BAD]))
    world.restart()
    world.clock.advance(minutes=10)
    resumed = at_once(world.records.learn(world.view()))
    health = resumed[CLAIM.ref].health
    assert health.findings == (make_finding(last_notified_at=START),)
    await world.keep(make_result([(CLAIM, health)]))
    assert world.api.count("PATCH") == 1


async def test_records_wait_for_a_crd_that_is_not_there(world: World) -> None:
    world.api.refuse = lambda *_: errors.NotServed("no such resource", status=404)
    for _ in range(40):
        await world.keep(make_result([BAD]), seconds=15)
    assert 2 <= len(world.api.requests) <= 30
    world.api.refuse = lambda *_: None
    await world.keep(make_result([BAD]), seconds=40)
    assert PATH in world.api.objects


async def test_a_check_without_a_judgement_changes_nothing(world: World) -> None:
    await world.keep(make_result([BAD]))
    await world.keep(replace(make_result([]), judgement=None))
    assert PATH in world.api.objects
    assert len(world.api.requests) == 1


# Whoever changes or deletes a record: the next check puts it right.


def edited(status: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    """Build a merge patch, as `kubectl edit` sends it."""
    return {"status": status, "metadata": metadata}


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(edited({"health": "Recovered"}), id="health flipped"),
        pytest.param(edited({"findings": None}), id="findings removed"),
        pytest.param(edited({"findings": []}), id="findings emptied"),
        pytest.param(edited({"findings": [{"source": "Node"}]}), id="findings replaced"),
        pytest.param(edited({"since": "2031-01-01T00:00:00Z"}), id="since in the future"),
        pytest.param(edited({"recovered": "9999-12-31T23:59:59Z"}), id="recovered at the end of time"),
        pytest.param(edited({"reason": "BecauseISaySo", "message": "x"}), id="fields added"),
        pytest.param(edited({"policy": "other"}), id="another policy"),
        pytest.param(edited({"history": None, "episodes": None, "podSummary": "none"}), id="past removed"),
        pytest.param({"status": None}, id="status removed"),
        pytest.param(edited({}, labels={"volumehealth.dev/policy": "other"}), id="label changed"),
        pytest.param(edited({}, labels=None), id="labels removed"),
        pytest.param(edited({}, ownerReferences=None), id="owner removed"),
        pytest.param(edited({}, ownerReferences=[{"uid": "another"}]), id="another owner"),
        pytest.param(
            edited({}, ownerReferences=[{"uid": CLAIM.uid}, {"uid": "another"}]), id="a second owner"
        ),
    ],
)
async def test_a_record_edited_by_hand_is_put_right_by_the_next_check(
    world: World, edit: dict[str, Any]
) -> None:
    await world.check()
    right = world.api.objects[PATH]
    world.api.objects[PATH] = merged(right, edit)
    world.api.objects[PATH]["metadata"]["resourceVersion"] = "1000"
    world.api.foreign = set(edit.get("status") or {}) - set(right["status"])
    await world.check()
    for part in ("labels", "ownerReferences"):
        assert world.api.objects[PATH]["metadata"][part] == right["metadata"][part]
    assert world.api.objects[PATH]["status"] == right["status"]
    world.api.requests.clear()
    await world.check()
    assert world.api.requests == []


async def test_a_patch_that_got_409_is_not_taken_for_written(world: World) -> None:
    await world.check()
    over = make_result([(CLAIM, make_health(CLAIM, recovered=START))])
    world.api.refusals = [errors.Conflict("another field manager", status=409)]
    await world.check(over, seconds=5)
    assert world.api.objects[PATH]["status"]["health"] == "Unhealthy"
    await world.check(over, seconds=5)
    assert world.api.objects[PATH]["status"]["health"] == "Recovered"


async def test_a_finding_whose_record_met_a_conflict_is_told_once_the_record_is_there(world: World) -> None:
    result = make_result([BAD], turns=[found(CLAIM, FINDING)])
    episode = episode_of(CLAIM.uid, FINDING)
    at_once(world.outbox.enter(result))
    world.api.refusals = [errors.Conflict("another field manager", status=409)]
    await world.check(result, seconds=5)
    assert not world.outbox.may_tell(CLAIM.ref, Edge.ABNORMAL, episode)
    await world.check(result, seconds=5)
    assert world.outbox.may_tell(CLAIM.ref, Edge.ABNORMAL, episode)


async def test_a_patch_whose_answer_got_lost_is_written_once_more_and_then_never(world: World) -> None:
    world.api.lose_answers = 1
    await world.check()
    for _ in range(5):
        await world.check()
    assert world.api.count("PATCH") == 2


async def test_a_record_that_somebody_deleted_is_there_again_after_the_next_check(world: World) -> None:
    await world.check()
    await world.check()
    del world.api.objects[PATH]
    await world.check()
    assert PATH in world.api.objects


async def test_a_record_that_is_as_it_should_be_is_looked_at_again_only_once_something_changes(
    world: World,
) -> None:
    result = make_result([BAD])
    for _ in range(3):
        await world.check(result)
    world.looked_at.clear()
    await world.check(result)
    await world.check(replace(result, now=result.now + timedelta(minutes=1)))
    assert world.looked_at == []
    await world.check(make_result([(CLAIM, replace(HEALTH))]))
    assert world.looked_at == [CLAIM.ref], "it was judged anew"


async def test_a_record_says_who_uses_the_claim_as_soon_as_that_changes(world: World) -> None:
    result = make_result([BAD])
    for _ in range(3):
        await world.check(result)
    world.pods.append(make_pod())
    world.records.look_again([CLAIM.ref])
    await world.check(result)
    assert world.api.objects[PATH]["status"]["pods"] == [make_pod().name]


async def test_a_record_is_looked_at_in_each_check_while_it_is_not_taken(world: World) -> None:
    world.api.refuse = lambda *_: errors.ApiError("it is not taken", status=422)
    result = make_result([BAD])
    for _ in range(3):
        await world.check(result)
    world.looked_at.clear()
    await world.check(result)
    assert world.looked_at == [CLAIM.ref]


async def test_the_end_of_a_silence_is_written_down_though_nothing_else_changes(world: World) -> None:
    result = make_result([BAD])
    asked = {CLAIM.ref: SilenceAsked((result.now + timedelta(minutes=5)).isoformat(), "", CLAIM.uid)}
    silenced = replace(result, silences=Silences(asked, {}, {}, {}))
    for _ in range(3):
        await world.check(result)
    for _ in range(3):
        await world.check(silenced)
    assert "silenced" in world.api.objects[PATH]["status"]
    await world.check(replace(silenced, now=result.now + timedelta(minutes=6)))
    assert "silenced" not in world.api.objects[PATH]["status"]


async def test_a_record_that_was_deleted_before_the_view_ever_showed_it_comes_back(world: World) -> None:
    await world.check()
    del world.api.objects[PATH]
    await world.check()
    world.clock.advance(seconds=6)
    await world.check()
    assert PATH in world.api.objects


async def test_a_view_that_is_late_makes_no_second_write(world: World) -> None:
    world.records.sweep({}, {"storage"})
    for _ in range(4):
        await world.keep(make_result([BAD]))
        world.clock.advance(seconds=1)
    assert world.api.count("PATCH") == 1


async def test_a_refused_record_costs_a_few_requests_an_hour_however_often_it_is_checked(
    world: World,
) -> None:
    world.api.refuse = lambda *_: errors.Forbidden("volumehealths is forbidden", status=403)
    for _ in range(240):
        await world.check(seconds=15)
        world.clock.advance(seconds=15)
    assert len(world.api.requests) <= 12
    world.api.refuse = lambda *_: None
    for _ in range(45):
        await world.check(seconds=15)
    assert PATH in world.api.objects


async def test_a_record_goes_with_its_claim_to_the_next_policy_however_late_that_checks(world: World) -> None:
    await world.check()
    world.owners[CLAIM.ref] = "other"
    for _ in range(60):
        await world.keep(make_result([], others=[CLAIM]), seconds=10)
        assert PATH in world.api.objects
    at_once(world.records.forget(make_policy()))
    await world.write(seconds=30)
    await world.keep(make_result([BAD], policy=make_policy("other")))
    assert world.api.count("DELETE") == 0
    assert world.api.objects[PATH]["status"]["policy"] == "other"


@pytest.mark.parametrize("deleted", [False, True])
async def test_a_record_stays_if_its_claim_is_back_however_late_its_policy_looks(
    world: World, deleted: bool
) -> None:
    """Faults C7: relabelled away and back, or its policy made anew under the same name: it was gone until the next check."""
    await world.check()
    if deleted:
        at_once(world.records.forget(make_policy()))
    else:
        await world.keep(make_result([], others=[CLAIM]))
    world.owners[CLAIM.ref] = "storage"
    await world.write(seconds=600)
    assert world.api.count("DELETE") == 0
    await world.check()
    await world.keep(make_result([], others=[CLAIM]))  # its policy has no use for it
    assert PATH not in world.api.objects


async def test_a_record_that_goes_to_a_policy_that_has_no_use_for_it_is_removed_by_that(world: World) -> None:
    await world.check()
    world.owners[CLAIM.ref] = "other"
    await world.keep(make_result([], others=[CLAIM]))
    await world.keep(make_result([], others=[CLAIM], policy=make_policy("other")))
    assert PATH not in world.api.objects


async def test_an_error_in_one_record_costs_that_record_only(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    other = make_claim("other")

    def pods_of(ref: ClaimRef) -> tuple[Pod, ...]:
        if ref == CLAIM.ref:
            raise OverflowError("date value out of range")
        return ()

    world.records._pods_of = pods_of
    for _ in range(3):
        await world.keep(make_result([BAD, (other, make_health(other, FINDING))]))
    assert PATH not in world.api.objects
    assert len(world.api.objects) == 1
    assert [one.message for one in caplog.records] == ["a record cannot be handled"]


async def test_an_error_in_what_was_delivered_of_one_claim_costs_that_claim_only(world: World) -> None:
    """Faults G20: it ended the process, and what was delivered of others was not written down."""
    other = make_claim("other")
    await world.keep(make_result([BAD, (other, make_health(other, FINDING))]))

    moment = START + timedelta(minutes=1)

    def notified(ref: ClaimRef, uid: str, finding: Finding) -> datetime:
        if ref == CLAIM.ref:
            raise OverflowError("date value out of range")
        return moment

    world.records._notified = notified
    for claim in (CLAIM, other):
        world.outbox.touch(claim.ref)
    at_once(world.records.take_receipts())
    await world.write()
    (written,) = (one for one in world.api.of_kind("VolumeHealth") if one["metadata"]["name"] == "other")
    assert written["status"]["findings"][0]["lastNotifiedAt"] == rfc3339(moment)


async def test_what_was_found_of_a_claim_that_went_before_it_had_a_record_is_forgotten(world: World) -> None:
    """But not what was found in this moment: its record is written next."""
    gone, here = make_claim("gone"), make_claim("here")
    told = make_result([(gone, make_health(gone, FINDING))], turns=[found(gone, FINDING)], claims={})
    at_once(world.outbox.enter(told))
    await world.check(make_result())
    told = make_result([(here, make_health(here, FINDING))], turns=[found(here, FINDING)])
    at_once(world.outbox.enter(told))
    await world.check(make_result())
    assert list(world.outbox.claims) == [here.ref]
