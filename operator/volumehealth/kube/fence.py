"""Requests that only a leader may send, refused at the last moment if it may not lead any more.

A process that stood still for longer than its Lease lasts, and goes on, has writes in hand that are older than what
the next leader has written since. It must not send them in the moment before it sees that its Lease is lost.
"""

from collections.abc import Callable, Mapping

from volumehealth.errors import ApiUnreachable
from volumehealth.kube.writes import Requests


class WhileLeading:
    """Sends what `Requests` sends, but writes only while this process surely leads.

    Args:
        api: a connection.
        leads: whether the Lease is surely ours now (`LeaseElector.holds`).
    """

    def __init__(self, api: Requests, leads: Callable[[], bool]) -> None:
        self._api = api
        self._leads = leads

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content_type: str = "application/json",
        timeout: float = 30.0,
    ) -> bytes:
        """Send one request, as `Requests` does; nothing is awaited between the look at the Lease and the sending.

        Raises:
            ApiUnreachable: for a write, if another process may lead by now. It is tried again if this one leads on.
        """
        if method != "GET" and not self._leads():
            raise ApiUnreachable("the Lease was not renewed in time, another process may lead now")
        return await self._api.request(
            method, path, query=query, body=body, content_type=content_type, timeout=timeout
        )
