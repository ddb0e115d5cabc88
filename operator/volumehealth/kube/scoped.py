"""A connection that asks for less: a field selector added to every query, or another form of the same objects."""

from collections.abc import AsyncGenerator, Mapping
from types import MappingProxyType

from volumehealth.kube.api import Api
from volumehealth.kube.discovery import DISCOVERY

METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
"""Lists of objects without their spec and status."""
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
"""Single objects, as in a watch, without their spec and status."""

_GROUP_VERSION = 3
"""Slashes in `/apis/GROUP/VERSION`."""


class ScopedApi:
    """What a reflector needs of a connection, narrowed.

    Args:
        api: the connection.
        query: added to every request, such as a `fieldSelector`.
        metadata_only: ask for `metadata` alone.
    """

    def __init__(
        self, api: Api, *, query: Mapping[str, str] = MappingProxyType({}), metadata_only: bool = False
    ) -> None:
        self._api = api
        self._query = dict(query)
        self._metadata_only = metadata_only

    async def request(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, timeout: float = 30.0
    ) -> bytes:
        """See `Api.request`. What the server serves at all (`/apis...` as a whole) is asked without narrowing."""
        if path.startswith(DISCOVERY) and path.count("/") <= _GROUP_VERSION:
            return await self._api.request(method, path, timeout=timeout)
        accept = METADATA_LIST if self._metadata_only else ""
        return await self._api.request(
            method, path, query={**self._query, **(query or {})}, timeout=timeout, accept=accept
        )

    def stream(
        self, path: str, *, query: Mapping[str, str], idle_timeout: float
    ) -> AsyncGenerator[bytes, None]:
        """See `Api.stream`."""
        accept = METADATA if self._metadata_only else ""
        return self._api.stream(
            path, query={**self._query, **query}, idle_timeout=idle_timeout, accept=accept
        )
