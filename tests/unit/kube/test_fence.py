"""A process that may not lead any more sends no write, whatever it has in hand."""

import pytest

from support.fakeapi import FakeApi
from volumehealth import errors
from volumehealth.kube.fence import WhileLeading

pytestmark = pytest.mark.looptime


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


async def test_a_leader_that_wakes_up_late_sends_no_write(api: FakeApi) -> None:
    leads = True
    fenced = WhileLeading(api, lambda: leads)
    await fenced.request("PATCH", "/things/a", body={}, content_type="application/apply-patch+yaml")
    leads = False
    with pytest.raises(errors.ApiUnreachable, match="another process may lead"):
        await fenced.request("DELETE", "/things/a")
    assert list(api.objects) == ["/things/a"]


async def test_it_may_still_look(api: FakeApi) -> None:
    api.objects["/things/a"] = {"kind": "Thing"}
    assert await WhileLeading(api, lambda: False).request("GET", "/things/a")
