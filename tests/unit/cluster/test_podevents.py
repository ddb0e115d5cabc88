"""Events of Pods that wait: read Pod by Pod, and one that cannot be read keeps nobody waiting."""

import asyncio
from collections.abc import Mapping
from random import Random

import msgspec
import pytest

from support.clock import START, LoopClock
from volumehealth.cluster.podevents import PodEvents
from volumehealth.errors import ApiError
from volumehealth.model.cluster import Pod, PodWait
from volumehealth.model.ids import ClaimRef

pytestmark = pytest.mark.looptime

MOUNT = {"items": [{"reason": "FailedMount", "message": 'MountVolume.SetUp failed for volume "pv-db"'}]}


class PlainEvents:
    """An API server that cannot say what Events there are of one Pod."""

    def __init__(self, unreadable: str) -> None:
        self.unreadable = f"involvedObject.uid={unreadable}"
        self.asked: list[str] = []

    async def request(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, timeout: float = 30.0
    ) -> bytes:
        assert query is not None
        self.asked.append(query["fieldSelector"])
        if query["fieldSelector"] == self.unreadable:
            raise ApiError("the list of Events cannot be read")
        return msgspec.json.encode(MOUNT)


def waiting(uid: str) -> Pod:
    return Pod("shop", uid, uid, "a", "Pending", ("db",), waits=PodWait(START, (("data", "db"),)))


async def test_a_pod_whose_events_cannot_be_read_keeps_no_other_waiting() -> None:
    pods = {ClaimRef("shop", uid): waiting(uid) for uid in ("first", "second", "third")}
    api = PlainEvents(unreadable="first")
    events = PodEvents(api, pods, clock=LoopClock(), random=Random(1))
    reading = asyncio.create_task(events.run())
    await asyncio.sleep(60)
    reading.cancel()
    assert events.events.keys() == {"second", "third"}
    assert api.asked.count(api.unreadable) <= 3, "it waits for its turn like the others"
