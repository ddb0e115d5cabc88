"""Every Kopf decorator, in one file. Handlers are wiring: each makes one call into the engine."""

import asyncio
import dataclasses
import logging
from collections.abc import Callable
from typing import Any, Protocol

import kopf

from volumehealth.app.kopfsession import BACKOFFS
from volumehealth.model.vocabulary import COMPONENT, GROUP, POLICIES, VERSION

TICK_SECONDS = 0.1
"""Pause between two turns of a policy. A turn itself waits until the policy is due, so this costs nothing and does
not limit `spec.interval` (Kopf's own interval is fixed when the handler is declared)."""


class Turns(Protocol):
    """What the timers drive."""

    async def turn(self, uid: str, /) -> bool:
        """Wait until the policy is due and check it once; False if the policy is gone for good."""


def make_registry(engine: Turns, connection: Callable[[], kopf.AiohttpSession]) -> kopf.OperatorRegistry:
    """Make the handlers of one operator process.

    Args:
        engine: what the timers drive.
        connection: the server and the credentials that Kopf shall use; asked again after they were refused.

    The timer puts no finalizer on a policy: an operator that is gone must never block `kubectl delete`.
    """
    registry = kopf.OperatorRegistry()

    @kopf.on.startup(registry=registry)
    def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
        settings.posting.enabled = False  # log lines are no events
        settings.posting.reporting_component = COMPONENT
        settings.scanning.disabled = True  # one known resource: no cluster-wide discovery rights
        settings.networking.error_backoffs = BACKOFFS
        settings.execution.default_backoff = 5  # a turn that failed is tried again soon
        settings.queueing.exit_timeout = 0.1  # nothing waits in there: who takes over should not wait either
        settings.process.ultimate_exiting_timeout = 10

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.AiohttpSession:
        return connection()

    @kopf.timer(GROUP, VERSION, POLICIES, interval=TICK_SECONDS, registry=registry)
    async def check(uid: str, **_: Any) -> None:
        if not await engine.turn(uid):
            _end_own_timer()

    _without_finalizer(registry)
    logging.getLogger("kopf.objects").addFilter(_is_news)
    return registry


def _end_own_timer() -> None:
    """End the timer that calls this.

    Without a finalizer Kopf forgets a deleted object but not its timer, which would tick for ever. Cancelling the
    task from inside is the one way out of its loop: a PermanentError only ends the turn.
    """
    raise asyncio.CancelledError


def _is_news(record: logging.LogRecord) -> bool:
    """Leave out that Kopf warns of every timer that ended itself: a deleted policy is no trouble."""
    return not record.getMessage().endswith("is cancelled. Will escalate.")


def _without_finalizer(registry: kopf.OperatorRegistry) -> None:
    """Turn off the finalizer that Kopf puts on objects with timers; no public option of Kopf 1.45 does.

    `tests/integration/test_kopf_timer.py` holds what we rely on.
    """
    handlers = registry._spawning._handlers
    handlers[:] = [dataclasses.replace(handler, requires_finalizer=False) for handler in handlers]
