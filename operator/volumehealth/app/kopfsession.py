"""Kopf's connection to the API server: what a proxy in front of it answers is an outage, which Kopf waits out.

Left to itself Kopf ends on every refusal that it does not know, and the process would have to start over for a fault
outside of it.
"""

import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import aiohttp
import kopf

from volumehealth.errors import ApiError, ApiUnreachable, NotServed
from volumehealth.kube.answers import error_of

log = logging.getLogger(__name__)

Served = Callable[[str], Awaitable[bool]]
"""Tells of a path whether the API server serves it; raises ApiError if it does not tell."""


BACKOFFS = (0.5, 1.0, 2.0, 3.0, *(5.0,) * 17_280)
"""Seconds between tries of one request of Kopf: a day of them, for a fault of the API server must not end it."""


def session_of(connection: kopf.ConnectionInfo, served: Served) -> kopf.AiohttpSession:
    """Make the session that Kopf uses; Kopf closes it.

    Args:
        connection: the server and the credentials.
        served: asked when a path is said not to be there.
    """

    async def check(response: aiohttp.ClientResponse) -> None:
        if response.status >= HTTPStatus.BAD_REQUEST:
            await _refuse_what_is_not_kubernetes(response, served)

    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=connection.as_ssl_context()),
        headers=connection.as_http_headers(),
        proxy=connection.proxy_url,
        raise_for_status=check,
    )
    return kopf.AiohttpSession(server=connection.server, aiohttp_session=session)


async def _refuse_what_is_not_kubernetes(response: aiohttp.ClientResponse, served: Served) -> None:
    """Raise ClientConnectionError, which Kopf waits out, if an answer is not the API server's own."""
    body = await response.read()
    error = error_of(response.status, body, request=f"{response.method} {response.url.path}")
    if not isinstance(error, ApiUnreachable):
        return
    if isinstance(error, NotServed):
        try:
            if not await served(response.url.path):
                return
        except ApiError:
            pass
    raise aiohttp.ClientConnectionError(str(error))
