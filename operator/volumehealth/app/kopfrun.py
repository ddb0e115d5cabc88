"""Kopf in our process: started when its resource is served, stopped by its flag.

Kopf cancels every task that was created after it started, so whoever calls this has started all else before. When the
CRD is deleted Kopf ends with an error, and cancels those tasks as well: the process must then start over.
"""

import asyncio
import logging
import signal
from collections.abc import Callable
from functools import partial

import kopf

from volumehealth.app.engine import Engine
from volumehealth.app.handlers import make_registry
from volumehealth.app.kopfsession import session_of
from volumehealth.errors import ApiError, NotServed
from volumehealth.kube.api import Api
from volumehealth.kube.discovery import serves
from volumehealth.model.vocabulary import API_VERSION, GROUP, POLICIES
from volumehealth.settings import identity

log = logging.getLogger(__name__)

STOP_SECONDS = 1.0
"""How long Kopf may take to stop. It is done at once, but then waits 5 seconds for each task that was created after its
own start, whoever created it: a pause of ours between two calls to a driver is one. Cancelled, it waits no longer."""
_LOOK_FOR_CRD = 2.0


async def policies_served(api: Api) -> None:
    """Wait until our CRD is there: Kopf looks for it once, at its start, and never again."""
    told = False
    while True:
        try:
            await api.request("GET", f"/apis/{API_VERSION}/{POLICIES}", query={"limit": "1"})
        except NotServed:
            if not told:
                log.warning(
                    "waiting for the CustomResourceDefinition", extra={"resource": f"{POLICIES}.{GROUP}"}
                )
            told = True
        except ApiError as error:
            log.warning("policies cannot be read yet", extra={"error": str(error)})
        else:
            return
        await asyncio.sleep(_LOOK_FOR_CRD)


class KopfRun:
    """One run of Kopf.

    Args:
        engine: what its timers drive.
        api: whose server and credentials it uses.
        stop: set when the process is to stop; Kopf's end sets it too.
    """

    def __init__(self, engine: Engine, api: Api, *, stop: asyncio.Event) -> None:
        self._stop = stop
        self._flag, self._ready = asyncio.Event(), asyncio.Event()
        self._task = asyncio.create_task(
            kopf.operator(
                registry=make_registry(engine, lambda: session_of(api.access, partial(serves, api))),
                clusterwide=True,
                standalone=True,
                ready_flag=self._ready,
                stop_flag=self._flag,
                # Kopf would ask who owns the process, and an arbitrary uid has no passwd entry to answer with.
                identity=identity(),  # type: ignore[arg-type]  # a NewType of str that Kopf does not export
            )
        )
        self._task.add_done_callback(self._ended)

    async def until_stop(self, on_signals: Callable[[], None]) -> None:
        """Wait until the process is to stop.

        Args:
            on_signals: takes SIGTERM and SIGINT back from Kopf, which takes them at its start.
        """
        await self._ready.wait()
        on_signals()
        await self._stop.wait()

    async def end(self) -> bool:
        """Stop it; tell whether all went well: False if it had failed by itself."""
        self._flag.set()
        await asyncio.wait([self._task], timeout=STOP_SECONDS)
        if not self._task.done():
            self._task.cancel()
            return True
        error = None if self._task.cancelled() else self._task.exception()
        if error is not None:
            log.error(
                "policies cannot be followed any more: starting over", extra={"error": _innermost(error)}
            )
        return error is None

    def _ended(self, _: object) -> None:
        self._ready.set()
        self._stop.set()


def _innermost(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return " ".join(str(error).split()) or type(error).__name__


def on_signals(stop: asyncio.Event) -> None:
    """Set an event on SIGTERM and SIGINT."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
