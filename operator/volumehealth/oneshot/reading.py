"""Reading objects of the API once, with the rights of whoever asks."""

import contextlib
from collections.abc import Awaitable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from volumehealth.errors import ApiError, Forbidden, Gone, NotFound, NotServed
from volumehealth.kube.api import Api
from volumehealth.kube.bodies import read_body
from volumehealth.kube.lists import Page
from volumehealth.model.ids import ClaimRef
from volumehealth.model.vocabulary import API_VERSION, RECORDS

Object = Mapping[str, Any]
Answer = TypeVar("Answer")


async def read_one(api: Api, path: str) -> Object | None:
    """Return an object; None if it is not there. Raises ApiError if it may not be read."""
    try:
        body = await api.request("GET", path)
    except NotFound:
        return None
    return _checked(read_body(body, dict[str, Any], what=f"the answer to GET {path}"))


async def read_answer(api: Api, path: str) -> Object:
    """Return an answer that is no object with a name, such as the version. Raises ApiError if it cannot be read."""
    return read_body(await api.request("GET", path), dict[str, Any], what=f"the answer to GET {path}")


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
    token, limit = "", {"limit": "500"}
    while True:
        pages = limit | ({"continue": token} if token else {})
        try:
            body = await api.request("GET", path, query={**query, **pages})
        except Gone:
            if not token:
                raise
            # The list is too old to be gone on with: all at once, as client-go does.
            items.clear()
            token, limit = "", {}
            continue
        page = read_body(body, Page[dict[str, Any]], what=f"the list of {path.rpartition('/')[2]}")
        items += map(_checked, page.items or ())
        token = page.metadata.token or ""
        if not token:
            return items


async def if_allowed(
    reading: Awaitable[Answer], refused: list[str] | None = None, what: str = ""
) -> Answer | None:
    """Return what is read; None if it may not be read, or the API server does not have or serve it.

    Args:
        reading: what reads it.
        refused: takes a sentence if it may not be read.
        what: what is read, to begin that sentence.

    Raises:
        ApiError: if it cannot be read for another reason.
    """
    try:
        return await reading
    except Forbidden as error:
        if refused is not None:
            refused.append(f"{what}: {error}" if what else str(error))
    except (NotFound, NotServed):
        pass
    return None


async def list_if_allowed(api: Api, path: str) -> list[Object] | None:
    """Return the objects of a collection by name; None if they may not be read, or are not served.

    Raises:
        ApiError: if the API server cannot be reached.
    """
    found = await if_allowed(read_items(api, path))
    return None if found is None else sorted(found, key=lambda one: str(one["metadata"]["name"]))


NOT_INSTALLED = "NOT INSTALLED: this cluster does not serve volumehealth.dev; see docs/install.md"


async def read_record(api: Api, ref: ClaimRef) -> Object | None:
    """Return a claim's record; None if it has none.

    Raises:
        NotFound: if the API server says that the API is not there.
        ApiError: if it cannot be read.
    """
    try:
        return await read_one(api, f"/apis/{API_VERSION}/namespaces/{ref.namespace}/{RECORDS}/{ref.name}")
    except NotServed:
        await read_answer(api, "/version")  # else it is no API server that says so
        raise NotFound(NOT_INSTALLED) from None


async def check_claim(api: Api, ref: ClaimRef) -> None:
    """Make sure that a claim is there, as far as it may be read.

    Raises:
        NotFound: if it does not exist.
        ApiError: if the API server cannot be reached.
    """
    path = f"/api/v1/namespaces/{ref.namespace}/persistentvolumeclaims/{ref.name}"
    with contextlib.suppress(Forbidden):
        if await read_one(api, path) is None:
            raise NotFound(f"the claim {ref} does not exist; see: kubectl get pvc -n {ref.namespace}")


async def check_namespace(api: Api, name: str) -> None:
    """Make sure that a namespace is there, as far as it may be read.

    Raises:
        NotFound: if it does not exist.
        ApiError: if the API server cannot be reached.
    """
    with contextlib.suppress(Forbidden):
        if await read_one(api, f"/api/v1/namespaces/{name}") is None:
            raise NotFound(f"the namespace {name} does not exist; see: kubectl get namespaces")


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
