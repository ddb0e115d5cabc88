"""HTTP as the connection needs it: a request goes out, a status, headers and chunks of bytes come back.

Everything that reads an answer (JSON, `Status` objects, lines of a watch, what a proxy sends instead) is above this
seam, so a simulation that puts its own server below it runs the code that runs in production.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from volumehealth.kube.access import Access

CONNECT = 10.0
"""Seconds for a TCP connection."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request.

    Attributes:
        method: such as GET.
        path: absolute, such as `/api/v1/pods`.
        query: parameters; None if there are none.
        headers: as they are sent.
        body: None if there is none.
        idle: seconds without a byte of the answer after which reading it ends with TimeoutError; None is no limit.
    """

    method: str
    path: str
    query: Mapping[str, str] | None
    headers: Mapping[str, str]
    body: bytes | None
    idle: float | None = None


class HttpAnswer(Protocol):
    """An answer whose body is still to be read."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers."""

    async def chunk(self) -> bytes:
        """Return what came of the body; nothing at its end.

        Raises:
            TimeoutError: if nothing came for the request's `idle` seconds.
            OSError: if the connection broke.
        """

    def abort(self) -> None:
        """Drop the connection unless the body was read to its end."""


class Transport(Protocol):
    """A way to one API server."""

    async def send(self, request: HttpRequest, access: Access) -> HttpAnswer:
        """Send a request and return the answer once its headers are there.

        Args:
            request: what to send.
            access: the server, and how to reach it.

        Raises:
            OSError: if there is no connection, or it broke.
        """

    async def aclose(self) -> None:
        """Close every connection; requests that wait for an answer fail."""


Connect = Callable[[Access], Transport]
"""Makes a transport with the TLS files of an access. Raises ApiError if they cannot be used."""
