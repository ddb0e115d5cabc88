"""Whether the API server serves a resource at all, by its own word: a list of its groups, a list of a group's resources.

An answer of 404 to a path that is not served is plain text, which a proxy may give as well.
"""

from typing import Protocol

import msgspec

from volumehealth import errors
from volumehealth.kube.bodies import read_body

DISCOVERY = "/apis"


class _Version(msgspec.Struct, rename="camel"):
    group_version: str = ""


class _Group(msgspec.Struct):
    name: str = ""
    versions: list[_Version] = []


class _Groups(msgspec.Struct):
    kind: str
    groups: list[_Group] | None


class _Resource(msgspec.Struct):
    name: str = ""


class _Resources(msgspec.Struct):
    kind: str
    resources: list[_Resource] | None


class Requests(Protocol):
    """What is needed of `kube.api.Api`."""

    async def request(self, method: str, path: str, /) -> bytes:
        """Send one request and return the body of a 2xx answer."""


async def serves(api: Requests, path: str) -> bool:
    """Tell whether the API server serves a resource of a group, or a version of it; the lists of these it always serves.

    Args:
        api: a connection.
        path: of the collection: `/apis/GROUP/VERSION/RESOURCE`; or what is above it: `/apis/GROUP/VERSION`, `/apis`, `/api`.

    Raises:
        ApiError: it does not tell, or what answers is no API server.
    """
    first, *parts = path.strip("/").split("/")
    if f"/{first}" != DISCOVERY or len(parts) < 2:
        return True
    group, version, *below = parts
    wanted = f"{group}/{version}"
    groups = read_body(await api.request("GET", DISCOVERY), _Groups, what="the list of API groups")
    _require(groups.kind == "APIGroupList")
    if not any(one.group_version == wanted for found in groups.groups or () for one in found.versions):
        return False
    if not below:
        return True
    where = f"{DISCOVERY}/{wanted}"
    served = read_body(await api.request("GET", where), _Resources, what=f"the list of resources of {wanted}")
    _require(served.kind == "APIResourceList")
    return any(one.name == below[-1] for one in served.resources or ())


def _require(itself: bool) -> None:
    if not itself:
        raise errors.ApiUnreachable("what answers is not the API server")
