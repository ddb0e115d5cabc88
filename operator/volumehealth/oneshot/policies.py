"""The cluster's own policies, read once with the rights of whoever asks."""

from volumehealth.errors import InvalidSpec
from volumehealth.kube.api import Api
from volumehealth.model.policy import Policy
from volumehealth.model.vocabulary import API_VERSION, POLICIES
from volumehealth.oneshot.reading import if_allowed, read_items
from volumehealth.policy.parse import parse_policy


async def read_policies(api: Api, unusable: list[str]) -> list[Policy] | None:
    """Return the policies that can be used; None if they may not be read, or the API is not there.

    Args:
        api: a connection.
        unusable: takes a sentence on each of the others: what the operator does by their last good spec only it knows.

    Raises:
        ApiError: if the API server cannot be reached.
    """
    objects = await if_allowed(read_items(api, f"/apis/{API_VERSION}/{POLICIES}"))
    if objects is None:
        return None
    found = []
    for one in objects:
        try:
            found.append(parse_policy(one))
        except InvalidSpec as error:
            name = one["metadata"]["name"]
            unusable.append(
                f"whether the policy {name} holds it by its last good spec; its spec cannot be used: {error}"
            )
    return found
