"""Notifications to chat and mail: what a CloudEvent says, in words, to an address in the form of Apprise.

Apprise and its plugins take 40 MB, so it is imported when the first message is sent, and only where such an address is
configured. Its calls block, so each is made in a thread. What it logs is dropped, because it may hold the address.
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

from volumehealth.model.text import count

_TIMEOUT = 10.0
_HARMLESS = str.maketrans({"@": "@\u200b", "<": "<\u200b"})
"""A driver's text must mention nobody (`@everyone`, `<!channel>`) and make no link."""


@dataclass(frozen=True, slots=True)
class Words:
    """What people read.

    Attributes:
        title, body: plain text.
        bad: whether something is wrong; else it has recovered.
    """

    title: str
    body: str
    bad: bool


def words_of(subject: str, data: dict[str, Any]) -> Words:
    """Say in words what a CloudEvent says.

    Args:
        subject: of the event: the claim; of many claims, the driver.
        data: of the event (docs/notifications.md).
    """
    bad, problem = data["edge"] == "Abnormal", f"{data['status']}/{data['reason']}"
    many = data.get("claims")
    who = (
        f"{count(many, 'claim')} of {subject} in {count(data['namespaces'], 'namespace')}"
        if many
        else subject
    )
    place = {"driver": data["driver"], "node": data.get("node", ""), "policy": data["policy"]}
    known = ", ".join(f"{name} {value}" for name, value in place.items() if value)
    lines = [
        data["message"],
        f"Since {data['since']}: {known}.",
        f"Among them: {', '.join(data['examples'])}." if many else "",
    ]
    body = "\n".join(line for line in lines if line).translate(_HARMLESS)
    first = f"\nWhat to do: {data['runbook']}" if bad else ""
    title = f"{who}: {problem}" if bad else f"{who}: recovered from {problem}"
    return Words(title.translate(_HARMLESS), f"{body}{first}", bad)


class AppriseSession:
    """Sends with Apprise; follows no redirect, and keeps nothing between two messages."""

    async def __call__(self, address: str, words: Words) -> bool:
        """Send it; return whether it was taken."""
        return await asyncio.to_thread(_notify, address, words)


def _notify(address: str, words: Words) -> bool:
    import apprise  # only where somebody is notified this way, and not on the event loop

    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    service = apprise.Apprise(asset=apprise.AppriseAsset(app_id="volumehealth", http_redirects=False))
    if not service.add(address):
        return False
    kind = apprise.NotifyType.FAILURE if words.bad else apprise.NotifyType.SUCCESS
    told = service.notify(
        words.body,
        title=words.title,
        notify_type=kind,
        body_format=apprise.NotifyFormat.TEXT,
        timeout=_TIMEOUT,
    )
    return told.status is apprise.AppriseResultStatus.SUCCESS
