"""Reading objects of the API once, with the rights of whoever asks."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from volumehealth.errors import ApiError, NotFound
from volumehealth.kube.api import Api
from volumehealth.kube.bodies import read_body
from volumehealth.kube.lists import Page
from volumehealth.model.ids import ClaimRef
from volumehealth.model.vocabulary import API_VERSION, RECORDS

Object = Mapping[str, Any]


async def read_one(api: Api, path: str) -> Object | None:
    """Return an object; None if it is not there. Raises ApiError if it may not be read."""
    try:
        body = await api.request("GET", path)
    except NotFound:
        return None
    return _checked(read_body(body, dict[str, Any], what=f"the answer to GET {path}"))


async def read_items(api: Api, path: str, query: Mapping[str, str] = MappingProxyType({})) -> list[Object]:
    """Return all objects of a collection, page by page.

    Args:
        api: a connection.
        path: of the collection.
        query: selectors.

    Raises:
        ApiError: if it cannot be read.
    """
    items: list[Object] = []
    token = ""
    while True:
        pages = {"limit": "500"} | ({"continue": token} if token else {})
        body = await api.request("GET", path, query={**query, **pages})
        page = read_body(body, Page[dict[str, Any]], what=f"the list of {path.rpartition('/')[2]}")
        items += map(_checked, page.items or ())
        token = page.metadata.token or ""
        if not token:
            return items


async def read_record(api: Api, ref: ClaimRef) -> Object | None:
    """Return a claim's record; None if it has none, or the API is not there."""
    return await read_one(api, f"/apis/{API_VERSION}/namespaces/{ref.namespace}/{RECORDS}/{ref.name}")


def claims_of(pod: Object) -> list[str]:
    """Name the claims that a Pod uses; those of generic ephemeral volumes have its name before them."""
    found = []
    for one in (pod.get("spec") or {}).get("volumes") or ():
        if "ephemeral" in one:
            found.append(f"{pod['metadata']['name']}-{one['name']}")
        elif one.get("persistentVolumeClaim"):
            found.append(str(one["persistentVolumeClaim"].get("claimName", "")))
    return found


def _checked(one: dict[str, Any]) -> Object:
    """Return an object whose metadata and status are of the right kind: a proxy may answer in place of the API server.

    Raises:
        ApiError: if it is no object of the API server.
    """
    metadata, status = one.get("metadata"), one.get("status")
    named = isinstance(metadata, dict) and isinstance(metadata.get("name"), str)
    if not named or not (status is None or isinstance(status, dict)):
        raise ApiError("what answers is not the API server: an object has no name")
    return one
