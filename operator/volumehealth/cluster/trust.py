"""How far the view can be trusted; pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Protocol

from volumehealth.model.clock import rfc3339
from volumehealth.model.cluster import ViewState


class Followed(Protocol):
    """What is known of one resource (`reflector.Reflector`)."""

    @property
    def name(self) -> str:
        """Of the resource."""

    @property
    def synced(self) -> bool:
        """Whether it was read at least once."""

    @property
    def confirmed(self) -> float:
        """When it was last known to be current, in monotonic seconds."""

    @property
    def confirmed_at(self) -> datetime:
        """The same by the wall clock."""

    @property
    def error(self) -> str:
        """What went wrong last; empty while it is followed."""


_confirmed = attrgetter("confirmed")


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
        started: when following began, by the monotonic and by the wall clock; a view that was not read yet is not
            trusted either.
    """
    followed = list(resources)
    unread = [one for one in followed if not one.synced]
    if unread:
        return ViewState(
            complete=False, age=now - started[0], stale=_why("not read yet", unread), stale_since=started[1]
        )
    oldest = min(followed, key=_confirmed)
    age = now - oldest.confirmed
    if age <= stale_after:
        return ViewState(complete=True, age=age)
    late = [one for one in followed if now - one.confirmed > stale_after]
    since = f"not confirmed since {rfc3339(oldest.confirmed_at)}"
    return ViewState(complete=True, age=age, stale=_why(since, late), stale_since=oldest.confirmed_at)


def _why(what: str, resources: Sequence[Followed]) -> str:
    """Name the resources, and what went wrong with the first that knows."""
    names = ", ".join(one.name for one in resources)
    error = next((one.error for one in resources if one.error), "")
    return f"{names} {what}" + (f": {error}" if error else "")
