"""All probers of a process: demand goes to them by driver name, answers come back by driver name."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any

from volumehealth.csi.endpoint import Endpoint
from volumehealth.model.clock import Clock
from volumehealth.model.health import DriverAnswers
from volumehealth.probing.calls import ProbeMetrics
from volumehealth.probing.prober import ControllerProber
from volumehealth.probing.spec import ProbeLimits, ProbeSpec


class Probers:
    """The probers of all endpoints; each runs for itself, so that a driver that hangs delays nobody else.

    Of several endpoints of one driver the first is asked, in the order they were given.

    Args:
        endpoints: each with the driver's name if that was given.
        clock: the time.
        on_news: called with the name of a driver whose answers differ materially from before.
        metrics: counts calls.
        secrets: by driver name, for CSI 1.13's calls.
        random: for jitter.
        limits: how much a driver may be burdened.
        options: further arguments of each ControllerProber.
    """

    def __init__(
        self,
        endpoints: Iterable[tuple[Endpoint, str]],
        *,
        clock: Clock,
        on_news: Callable[[str], None],
        metrics: ProbeMetrics,
        secrets: Callable[[str], Mapping[str, str]],
        random: Random,
        limits: ProbeLimits | None = None,
        **options: Any,
    ) -> None:
        self._on_news = on_news
        self._wanted: Mapping[str, ProbeSpec] = {}
        self._probers: Sequence[ControllerProber] = [
            ControllerProber(
                endpoint,
                clock=clock,
                on_news=partial(self._news, number),
                metrics=metrics,
                secrets=secrets,
                random=random,
                limits=limits,
                driver_name=name,
                **options,
            )
            for number, (endpoint, name) in enumerate(endpoints)
        ]

    async def run(self) -> None:
        """Run all probers until cancelled."""
        async with asyncio.TaskGroup() as group:
            for prober in self._probers:
                group.create_task(prober.run())

    def demand(self, wanted: Mapping[str, ProbeSpec]) -> None:
        """Set what is wanted, by driver name; a driver that is not named rests. Unknown names are kept for later."""
        self._wanted = wanted
        self._spread()

    def answers(self) -> Mapping[str, DriverAnswers]:
        """Return the newest answers by driver name; a driver that no endpoint is known for is missing."""
        seconds = self._seconds()
        return {
            name: _with_note(prober.answers(), seconds.get(name, ()))
            for name, prober in self._firsts().items()
        }

    @property
    def unresolved(self) -> tuple[str, ...]:
        """Addresses of endpoints whose driver is not known yet."""
        return tuple(str(prober.endpoint) for prober in self._probers if prober.driver_name is None)

    def _news(self, number: int) -> None:
        prober = self._probers[number]
        name = prober.driver_name
        self._spread()  # the name may have become known with this news
        if name is not None and self._firsts()[name] is prober:
            self._on_news(name)

    def _spread(self) -> None:
        firsts = self._firsts()
        for prober in self._probers:
            name = prober.driver_name
            asked = name is not None and firsts[name] is prober
            prober.demand(self._wanted.get(name) if asked and name is not None else None)

    def _firsts(self) -> dict[str, ControllerProber]:
        firsts: dict[str, ControllerProber] = {}
        for prober in self._probers:
            if prober.driver_name is not None:
                firsts.setdefault(prober.driver_name, prober)
        return firsts

    def _seconds(self) -> dict[str, list[str]]:
        firsts = self._firsts()
        others: dict[str, list[str]] = {}
        for prober in self._probers:
            name = prober.driver_name
            if name is not None and firsts[name] is not prober:
                others.setdefault(name, []).append(str(prober.endpoint))
        return others


def _with_note(answers: DriverAnswers, others: Sequence[str]) -> DriverAnswers:
    if not others:
        return answers
    note = f"not asked, being of the same driver: {', '.join(others)}"
    message = "; ".join(text for text in (answers.driver.message, note) if text)
    return replace(answers, driver=replace(answers.driver, message=message))
