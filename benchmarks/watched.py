"""The operator as it is, with a watch on it: `python -m benchmarks.watched SOCKET FLAGS...` of `volumehealth operator`.

A thread answers on a unix socket with JSON: how long the event loop's longest steps took and whose they were, how
long checks and probes took, CPU and memory. Watching costs about a microsecond for each step of the event loop.
"""

import asyncio
import functools
import gc
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

_BEGUN = time.monotonic()

import msgspec  # noqa: E402 - imports are part of what is measured

_LONG = 0.010
_MOST = 200


class Step(msgspec.Struct):
    """A step of the event loop that took long: by the clock, and the processor time of its thread in it."""

    seconds: float
    cpu: float
    what: str


class Watch(msgspec.Struct):
    """What was seen since the last reset. Seconds; `verdict` and `view` are monotonic moments, 0 until they come.

    Attributes:
        imports: from the first line of this program until the operator is imported.
        begun: when imports were done.
        view: when the cluster view was complete.
        verdict: when a check first had a verdict other than Unknown of every claim, and at least one claim.
        checks: how long each check took, by policy.
        probes: how long each turn of a prober took that asked for a list, its bookkeeping included.
        longest: the longest steps of the event loop, longest first.
        cpu: of the process, all threads, since it began.
        rss, peak: resident memory in MB, now and at most.
        now: when this was written.
        reports: how long telling took, within a check.
    """

    imports: float = 0.0
    begun: float = 0.0
    view: float = 0.0
    verdict: float = 0.0
    checks: dict[str, list[float]] = {}
    probes: list[float] = []
    longest: list[Step] = []
    cpu: float = 0.0
    rss: float = 0.0
    peak: float = 0.0
    now: float = 0.0
    reports: list[float] = []


_seen = Watch()
_wake: list[Callable[[], None]] = []


def _watch_loop() -> None:
    run = asyncio.events.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        begun, worked = time.perf_counter(), time.thread_time()
        callback: object = handle._callback  # type: ignore[attr-defined]
        run(handle)
        seconds = time.perf_counter() - begun
        if seconds > _LONG:
            _seen.longest.append(Step(seconds, time.thread_time() - worked, step_name(callback)))
            if len(_seen.longest) > _MOST:
                _seen.longest = sorted(_seen.longest, key=lambda step: -step.cpu)[: _MOST // 2]

    setattr(asyncio.events.Handle, "_run", timed)  # noqa: B010 - the type checker would not have it otherwise


def step_name(callback: object) -> str:
    """Name the task that a step of the event loop belongs to, and what it waits for."""
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        coroutine: Any = owner.get_coro()
        frames: list[str] = []
        while coroutine is not None and len(frames) < 8:
            frames.append(getattr(coroutine, "__qualname__", type(coroutine).__name__))
            coroutine = getattr(coroutine, "cr_await", None)
        return " > ".join(frames)
    return getattr(callback, "__qualname__", repr(callback))


def _watch_product() -> None:
    from volumehealth.app.engine import Engine
    from volumehealth.cluster.view import ClusterView
    from volumehealth.probing.poller import Poller
    from volumehealth.report.metrics import Metrics
    from volumehealth.report.reporter import Reporter

    def after(owner: type, method: str, note: Callable[..., None]) -> None:
        real: Callable[..., Any] = getattr(owner, method)

        @functools.wraps(real)
        def call(*args: Any, **kwargs: Any) -> Any:
            begun = time.perf_counter()
            result = real(*args, **kwargs)
            if not asyncio.iscoroutine(result):
                note(time.perf_counter() - begun, *args)
                return result

            async def finish() -> Any:
                value = await result
                note(time.perf_counter() - begun, *args)
                return value

            return finish()

        setattr(owner, method, call)

    def reported(seconds: float, _: object, result: Any, *rest: object) -> None:
        _seen.reports.append(seconds)
        counts = result.judgement.counts if result.judgement else None
        if counts is not None and counts.selected and not counts.unknown and not _seen.verdict:
            _seen.verdict = time.monotonic()

    def viewed(*_: object) -> None:
        _seen.view = _seen.view or time.monotonic()

    def woken(seconds: float, engine: Any, *_: object) -> None:
        def wake() -> None:
            for uid, slot in list(engine._slots.items()):
                slot.rest_until = slot.pause = 0.0  # no rest: this is news that somebody waits for
                engine._wake(uid)

        _wake[:] = [wake]

    after(Reporter, "report", reported)
    after(ClusterView, "complete", viewed)
    after(
        Metrics,
        "check_finished",
        lambda _, __, policy, seconds, at: _seen.checks.setdefault(policy, []).append(seconds),
    )
    after(Poller, "_list", lambda seconds, *_: _seen.probes.append(seconds))
    after(Engine, "_start", woken)


def _answer(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        while True:
            with server.accept()[0] as client:
                order = client.recv(64).decode()
                if order == "check" and _wake:
                    _loop[0].call_soon_threadsafe(_wake[0])
                if order == "collect":
                    gc.collect()
                _seen.cpu = time.process_time()
                _seen.rss, _seen.peak = _memory()
                _seen.now = time.monotonic()
                _seen.longest.sort(key=lambda step: -step.cpu)
                client.sendall(msgspec.json.encode(_seen))
                if order == "reset":
                    _seen.checks, _seen.probes, _seen.longest = {}, [], []
                    _seen.reports = []


_loop: list[asyncio.AbstractEventLoop] = []


def _memory() -> tuple[float, float]:
    with open("/proc/self/status", encoding="ascii") as file:
        fields = dict(line.split(":", 1) for line in file)
    return int(fields["VmRSS"].split()[0]) / 1024, int(fields["VmHWM"].split()[0]) / 1024


def _main() -> None:
    from volumehealth.app import operator
    from volumehealth.cli.main import main

    _seen.imports = time.monotonic() - _BEGUN
    real = operator.run

    async def run(settings: Any) -> int:
        _loop.append(asyncio.get_running_loop())
        _seen.begun = time.monotonic()
        return await real(settings)

    operator.run = run
    _watch_loop()
    _watch_product()
    threading.Thread(target=_answer, args=(sys.argv[1],), daemon=True).start()
    sys.argv = ["volumehealth", "operator", *sys.argv[2:]]
    main()


if __name__ == "__main__":
    _main()
