"""How far the view can be trusted; pure."""

from collections.abc import Iterable
from datetime import datetime
from typing import Protocol

from volumehealth.model.clock import rfc3339
from volumehealth.model.cluster import ViewState


class Followed(Protocol):
    """What is known of one resource (`reflector.Reflector`)."""

    @property
    def name(self) -> str:
        """Of the resource."""

    synced: bool
    confirmed: float
    confirmed_at: datetime | None
    error: str


def trust(
    resources: Iterable[Followed],
    *,
    now: float,
    stale_after: float,
    started: tuple[float, datetime],
) -> ViewState:
    """Sum up all resources: the view is as old as the oldest of them.

    Args:
        resources: all that are followed.
        now: monotonic seconds.
        stale_after: seconds without a word after which a resource is stale.
        started: when following began, by the monotonic and by the wall clock.
    """
    followed = list(resources)
    oldest = min(followed, key=lambda one: one.confirmed if one.synced else float("-inf"))
    since, since_at = (oldest.confirmed, oldest.confirmed_at) if oldest.synced else started
    age = now - since
    complete = all(one.synced for one in followed)
    if age <= stale_after:
        return ViewState(complete=complete, age=age)
    others = sum(1 for one in followed if not one.synced or now - one.confirmed > stale_after) - 1
    return ViewState(
        complete=complete, age=age, stale=_reason(oldest, others, since_at), stale_since=since_at
    )


def _reason(resource: Followed, others: int, since: datetime | None) -> str:
    more = f" and {others} more" if others else ""
    never = "" if resource.synced else "never read, tried "
    when = f" since {rfc3339(since)}" if since else ""
    why = f": {resource.error}" if resource.error else ""
    return f"{resource.name}{more} {never or 'not confirmed'}{when}{why}".replace("  ", " ")
